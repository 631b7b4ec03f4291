package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// The example of
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation.
const (
	documentedSecret    = "It's a Secret to Everybody"
	documentedBody      = "Hello, World!"
	documentedSignature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
)

func signed(signature string) webhook.Request {
	return webhook.Request{Headers: events.Metadata{"x-hub-signature-256": signature}, Body: []byte(documentedBody)}
}

func TestGitHub_Verify(t *testing.T) {
	t.Parallel()
	digest := strings.TrimPrefix(documentedSignature, "sha256=")
	empty := hmac.New(sha256.New, nil)
	empty.Write([]byte(documentedBody))
	for name, test := range map[string]struct {
		signature string
		secrets   []string
		want      events.Code
	}{
		"documented":          {documentedSignature, []string{documentedSecret}, ""},
		"upper-case hex":      {"sha256=" + strings.ToUpper(digest), []string{documentedSecret}, ""},
		"second live secret":  {documentedSignature, []string{"retiring", documentedSecret}, ""},
		"first live secret":   {documentedSignature, []string{documentedSecret, "new"}, ""},
		"beside an empty one": {documentedSignature, []string{"", documentedSecret}, ""},
		"other secret":        {documentedSignature, []string{"other"}, events.CodeForbidden},
		"no secrets":          {documentedSignature, nil, events.CodeForbidden},
		"empty secret":        {"sha256=" + hex.EncodeToString(empty.Sum(nil)), []string{""}, events.CodeForbidden},
		"empty":               {"", []string{documentedSecret}, events.CodeForbidden},
		"a letter":            {"a", []string{documentedSecret}, events.CodeForbidden},
		"seven characters":    {"sha256=", []string{documentedSecret}, events.CodeForbidden},
		"digest only":         {digest, []string{documentedSecret}, events.CodeForbidden},
		"upper-case prefix":   {"SHA256=" + digest, []string{documentedSecret}, events.CodeForbidden},
		"sha1":                {"sha1=" + digest[:40], []string{documentedSecret}, events.CodeForbidden},
		"too short":           {"sha256=" + digest[:62], []string{documentedSecret}, events.CodeForbidden},
		"odd length":          {"sha256=" + digest[:63], []string{documentedSecret}, events.CodeForbidden},
		"too long":            {documentedSignature + "00", []string{documentedSecret}, events.CodeForbidden},
		"space":               {documentedSignature + " ", []string{documentedSecret}, events.CodeForbidden},
		"not ASCII":           {"sha256=" + strings.Repeat("ä", 32), []string{documentedSecret}, events.CodeForbidden},
		"sent twice":          {documentedSignature + "," + documentedSignature, []string{documentedSecret}, events.CodeForbidden},
		"huge":                {"sha256=" + strings.Repeat("ab", 5000), []string{documentedSecret}, events.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := webhook.GitHub{}.Verify(signed(test.signature), test.secrets)
			if got := events.ErrorCode(err); got != test.want {
				t.Errorf("error %v, want code %q", err, test.want)
			}
			if err != nil && len(test.signature) > 10 && strings.Contains(err.Error(), test.signature) {
				t.Errorf("the error repeats the signature: %v", err)
			}
		})
	}
}

func TestGitHub_VerifyWithoutTheHeader(t *testing.T) {
	t.Parallel()
	sha1Only := webhook.Request{Headers: events.Metadata{"x-hub-signature": "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"}, Body: []byte(documentedBody)}
	err := webhook.GitHub{}.Verify(sha1Only, []string{documentedSecret})
	if events.ErrorCode(err) != events.CodeForbidden || !strings.Contains(err.Error(), "x-hub-signature-256") {
		t.Errorf("error %v, want one that names the missing header", err)
	}
}

func signatures() *rapid.Generator[webhook.Signature] {
	return rapid.SampledFrom([]webhook.Signature{
		webhook.GitHubSignature,
		{Header: "x-frobs", Encoding: "hex"},
		{Header: "x-frobs", Prefix: "v0=", Encoding: "base64"},
		{Header: "x-frobs", Encoding: "base64"},
	})
}

// changed returns s with one byte changed.
func changed(t *rapid.T, s string) string {
	b := []byte(s)
	b[rapid.IntRange(0, len(b)-1).Draw(t, "position")] ^= rapid.ByteRange(1, 255).Draw(t, "difference")
	return string(b)
}

func TestVerify_AnyChangedByteIsRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := signatures().Draw(t, "signature")
		body := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "body")
		secret := rapid.StringN(1, 70, -1).Draw(t, "secret")
		value := s.Sign(body, secret)
		verify := func(body []byte, value, secret string) error {
			r := webhook.Request{Headers: events.Metadata{s.Header: value}, Body: body}
			return webhook.HMAC{Signature: s}.Verify(r, []string{"another", secret})
		}
		if err := verify(body, value, secret); err != nil {
			t.Fatalf("the right signature is refused: %v", err)
		}
		if verify([]byte(changed(t, string(body))), value, secret) == nil {
			t.Error("a changed body is accepted")
		}
		// HMAC fills short keys with zeros, so a zero at the end changes nothing.
		if other := changed(t, secret); strings.TrimRight(other, "\x00") != strings.TrimRight(secret, "\x00") && verify(body, value, other) == nil {
			t.Error("a changed secret is accepted")
		}
		// Hex digits mean the same in upper case.
		if other := changed(t, value); (s.Encoding != "hex" || !strings.EqualFold(other, value)) && verify(body, other, secret) == nil {
			t.Errorf("the changed signature %q is accepted for %q", other, value)
		}
	})
}

func TestFormPayload(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		form, want string
		code       events.Code
	}{
		"escapes":      {"payload=%7B%22a%22%3A+%22%C3%A4%2B%22%7D", `{"a": "ä+"}`, ""},
		"second field": {"a=b&payload=%7B%7D&payload=2", "{}", ""},
		"not escaped":  {"payload={}", "{}", ""},
		"any bytes":    {"payload=%ff", "\xff", ""},
		"no value":     {"payload", "", ""},
		"other fields": {"payloads=1&Payload=2", "", events.CodeInvalid},
		"empty":        {"", "", events.CodeInvalid},
		"bad escape":   {"payload=%7", "", events.CodeInvalid},
	} {
		got, err := webhook.FormPayload([]byte(test.form))
		if string(got) != test.want || events.ErrorCode(err) != test.code {
			t.Errorf("%s: payload %q, %v; want %q, code %q", name, got, err, test.want, test.code)
		}
	}
}

// GitHub signs a form as it is sent, not the document in it.
func TestGitHub_Form(t *testing.T) {
	t.Parallel()
	body := "payload=" + url.QueryEscape(`{"a":"b c"}`)
	r := webhook.Request{Body: []byte(body), Headers: events.Metadata{
		"content-type": "application/x-www-form-urlencoded", "x-hub-signature-256": webhook.GitHubSignature.Sign([]byte(body), "s"),
	}}
	if err := (webhook.GitHub{}).Verify(r, []string{"s"}); err != nil {
		t.Error(err)
	}
	r.Headers["x-hub-signature-256"] = webhook.GitHubSignature.Sign([]byte(`{"a":"b c"}`), "s")
	if err := (webhook.GitHub{}).Verify(r, []string{"s"}); events.ErrorCode(err) != events.CodeForbidden {
		t.Errorf("a signature of the document only: %v, want code %q", err, events.CodeForbidden)
	}
}

func TestGitHub_Describe(t *testing.T) {
	t.Parallel()
	headers := events.Metadata{
		"x-github-event": "push", "x-github-delivery": "72d3162e", "x-github-hook-id": "1",
		"x-github-hook-installation-target-id": "2", "x-github-hook-installation-target-type": "organization",
		"x-github-enterprise-host": "ghe.example", "x-github-enterprise-version": "",
		"x-hub-signature-256": "sha256=00", "x-hub-signature": "sha1=00", "authorization": "Bearer x", "cookie": "a=b",
		"x-github-webhook-secret": "s", "user-agent": "GitHub-Hookshot/1",
	}
	payload := `{"repository":1,"ref":{"repository":{"full_name":"no"}},"repository":{"owner":{"full_name":"no"},` +
		`"full_name":"acme/shop","x":[{}],"html_url":"https://ghe.example:8443/acme/shop"},"half":"\ud83d"}`
	got, err := webhook.GitHub{}.Describe(webhook.Request{Headers: headers}, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	want := webhook.Delivery{
		ID: "72d3162e", Host: "ghe.example:8443", Repository: "acme/shop",
		Promoted: []string{"x-github-event", "x-github-delivery"},
		Metadata: events.Metadata{
			"x-github-event": "push", "x-github-delivery": "72d3162e", "x-github-hook-id": "1",
			"x-github-hook-installation-target-id": "2", "x-github-hook-installation-target-type": "organization",
			"x-github-enterprise-host": "ghe.example",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
}

func TestDescribe_OddDocuments(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]events.Code{
		`{"repository":null}`: "", `{"repository":{"full_name":{},"html_url":"%zz"}}`: "", "[]": "", "1": "", "\t\r\n null ": "",
		`{"a":1,"a":2}`: "", `{"a":12345678901234567890.10e-400}`: "", `"\ud83d"`: "",
		"": events.CodeInvalid, " ": events.CodeInvalid, "{": events.CodeInvalid, "{}{}": events.CodeInvalid, "{} x": events.CodeInvalid,
		"\ufeff{}": events.CodeInvalid, `{"a":1,}`: events.CodeInvalid, "{a:1}": events.CodeInvalid, "{'a':1}": events.CodeInvalid,
		"NaN": events.CodeInvalid, "01": events.CodeInvalid, "\"\x01\"": events.CodeInvalid, `{"repository":{"full_name":`: events.CodeInvalid,
		`{"repository":[}`: events.CodeInvalid, `"\x"`: events.CodeInvalid, strings.Repeat("[", 100_000): events.CodeInvalid,
	} {
		for name, p := range map[string]webhook.Profile{"github": webhook.GitHub{}, "hmac": webhook.HMAC{}} {
			_, err := p.Describe(webhook.Request{}, []byte(payload))
			if got := events.ErrorCode(err); got != want {
				t.Errorf("%s: %.40q: error %v, want code %q", name, payload, err, want)
			}
		}
	}
}

func TestHMAC(t *testing.T) {
	t.Parallel()
	selector := func(s string) *events.Selector {
		parsed, err := events.ParseSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		return &parsed
	}
	headers := events.Metadata{
		"x-frobs-type": "add", "x-frobs-delivery": "d 1", "x-frobs-signature": "sig", "x-other": "o", "x-frobs-empty": "",
		"x-frobs-token": "canary", "x-frobs-api-key": "canary", "x-frobs-password": "canary", "x-frobs-client-secret": "canary",
		"x-frobs-authorization": "canary", "x-frobs-credentials": "canary", "authorization": "canary", "proxy-authorization": "canary",
		"cookie": "canary", "set-cookie": "canary", "x-hub-signature-256": "canary", "x-events-id": "canary",
	}
	signature := webhook.Signature{Header: "x-frobs-signature", Prefix: "v0=", Encoding: "base64"}
	for name, test := range map[string]struct {
		profile webhook.Generic
		want    webhook.Delivery
	}{
		"nothing configured": {webhook.Generic{}, webhook.Delivery{Metadata: events.Metadata{}}},
		"pattern": {
			webhook.Generic{Metadata: []string{"x-frobs-*"}, DeliveryID: selector("header:X-Frobs-Delivery")},
			webhook.Delivery{ID: "d 1", Metadata: events.Metadata{"x-frobs-type": "add", "x-frobs-delivery": "d 1"}},
		},
		"names and promoted": {
			webhook.Generic{Metadata: []string{"x-other"}, Promoted: []string{"x-frobs-type"}, DeliveryID: selector("body:event.id")},
			webhook.Delivery{ID: "b1", Metadata: events.Metadata{"x-frobs-type": "add", "x-other": "o"}, Promoted: []string{"x-frobs-type"}},
		},
		"everything": {
			webhook.Generic{Metadata: []string{"*", "cookie", "authorization"}, DeliveryID: selector("body:absent")},
			webhook.Delivery{Metadata: events.Metadata{"x-frobs-type": "add", "x-frobs-delivery": "d 1", "x-other": "o"}},
		},
		"secrets are no ids":    {webhook.Generic{DeliveryID: selector("header:x-frobs-token")}, webhook.Delivery{Metadata: events.Metadata{}}},
		"signatures are no ids": {webhook.Generic{DeliveryID: selector("header:x-frobs-signature")}, webhook.Delivery{Metadata: events.Metadata{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := webhook.HMAC{Generic: test.profile, Signature: signature}.Describe(webhook.Request{Headers: headers}, []byte(`{"event":{"id":"b1"}}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("delivery (-want +got):\n%s", diff)
			}
		})
	}
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte("body"))
	if got, want := signature.Sign([]byte("body"), "key"), "v0="+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("the signature is %q, want %q", got, want)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(documentedBody), documentedSignature, documentedSecret)
	f.Add([]byte(documentedBody), "sha256=", "")
	f.Fuzz(func(t *testing.T, body []byte, value, secret string) {
		for _, s := range []webhook.Signature{webhook.GitHubSignature, {Header: "x", Encoding: "base64"}} {
			r := webhook.Request{Headers: events.Metadata{s.Header: value}, Body: body}
			err := webhook.HMAC{Signature: s}.Verify(r, []string{secret})
			right := s.Sign(body, secret)
			fits := secret != "" && (value == right || s.Encoding == "hex" && strings.EqualFold(value[min(7, len(value)):], right[7:]) && strings.HasPrefix(value, s.Prefix))
			if s.Encoding == "base64" { // newlines in base64 mean nothing
				fits = secret != "" && strings.NewReplacer("\r", "", "\n", "").Replace(value) == right
			}
			if fits != (err == nil) || err != nil && events.ErrorCode(err) != events.CodeForbidden {
				t.Fatalf("signature %q of %q with %q: %v, want it to fit: %v", value, body, secret, err, fits)
			}
		}
	})
}

func FuzzDescribe(f *testing.F) {
	f.Add("push", "1", []byte(`{"repository":{"full_name":"a/b","html_url":"https://github.com/a/b"}}`))
	f.Add("", "", []byte(`{"repository":{"full_name":"\ud800"}} `))
	f.Fuzz(func(t *testing.T, event, delivery string, payload []byte) {
		r := webhook.Request{Headers: events.Metadata{"x-github-event": event, "x-github-delivery": delivery, "authorization": "canary"}}
		before := string(payload)
		d, err := webhook.GitHub{}.Describe(r, payload)
		_, other := webhook.HMAC{}.Describe(r, payload)
		misfit := other == nil && err != nil && strings.Contains(err.Error(), "the headers say")
		if !misfit && events.ErrorCode(err) != events.ErrorCode(other) {
			t.Fatalf("one profile says %v, the other %v", err, other)
		}
		if err != nil && events.ErrorCode(err) != events.CodeInvalid {
			t.Fatalf("error code %q, want %q", events.ErrorCode(err), events.CodeInvalid)
		}
		if string(payload) != before {
			t.Fatal("the payload was changed")
		}
		if _, leaked := d.Metadata["authorization"]; leaked || err == nil && d.ID != delivery {
			t.Fatalf("delivery %+v", d)
		}
	})
}

func FuzzFormPayload(f *testing.F) {
	f.Add([]byte("a=%&payload=%7b%7D"))
	f.Fuzz(func(t *testing.T, form []byte) {
		got, err := webhook.FormPayload(form)
		if err != nil && events.ErrorCode(err) != events.CodeInvalid {
			t.Fatalf("error %v", err)
		}
		again, againErr := webhook.FormPayload([]byte("payload=" + url.QueryEscape(string(got))))
		if len(got) > len(form) || againErr != nil || string(again) != string(got) {
			t.Fatalf("%q became %q, and %q when it was sent again, %v", form, got, again, againErr)
		}
	})
}
