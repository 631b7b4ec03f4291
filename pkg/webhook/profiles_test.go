package webhook_test

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

var now = time.Unix(1614265330, 0)

// signer is a profile that can do what its sender does.
type signer interface {
	webhook.Profile
	Sign(r *webhook.Request, secret string)
}

// shown is a profile whose sender does something else than Sign does.
type shown struct {
	webhook.Profile
	sign func(r *webhook.Request, secret string)
}

// Sign implements signer.
func (s shown) Sign(r *webhook.Request, secret string) { s.sign(r, secret) }

// inHeader returns a sender that signs, or shows the secret if there is no encoding, in one header.
func inHeader(p webhook.Profile, s webhook.Signature) shown {
	return shown{p, func(r *webhook.Request, secret string) {
		if s.Encoding == "" {
			r.Headers.Set(s.Header, secret)
			return
		}
		r.Headers.Set(s.Header, s.Sign(r.Body, secret))
	}}
}

// profile is how a profile is tested: with which secrets, and whether its signature covers the body.
type profile struct {
	signer
	covers bool
	// secret makes secrets of the right form.
	secret *rapid.Generator[string]
}

func profiles() map[string]profile {
	text := rapid.StringMatching(`[!-~]{1,70}`)
	// HMAC fills short keys with zeros: a zero at the end of a key, or one more in the place of padding, changes nothing.
	signingToken := rapid.Map(rapid.SliceOfN(rapid.Byte(), 24, 64), func(key []byte) string {
		key = key[:len(key)/3*3]
		key[len(key)-1] |= 1
		return "whsec_" + base64.StdEncoding.EncodeToString(key)
	})
	noColon := rapid.StringMatching(`[a-zA-Z0-9_.-]{1,70}`)
	return map[string]profile{
		"github":                {webhook.GitHub{}, true, text},
		"gitlab token":          {webhook.GitLab{}, false, noColon.Filter(func(s string) bool { return !strings.HasPrefix(s, "whsec_") })},
		"gitlab signature":      {webhook.GitLab{}, true, signingToken},
		"bitbucket cloud":       {webhook.BitbucketCloud{}, true, text},
		"bitbucket data center": {webhook.BitbucketDataCenter{}, true, text},
		"azure devops":          {webhook.AzureDevOps{}, false, text},
		"gerrit":                {webhook.Gerrit{}, false, noColon},
		"gitea":                 {webhook.Gitea{}, true, text},
		"hmac":                  {webhook.HMAC{Signature: webhook.Signature{Header: "x-frobs", Prefix: "v0=", Encoding: "base64"}}, true, text},
		"standard webhooks":     {webhook.StandardWebhooks{}, true, rapid.OneOf(signingToken, text)},
		"basic":                 {webhook.Basic{}, false, text},
		"token in a header":     {webhook.Token{Header: "authorization", Prefix: "Bearer "}, false, text},
		"token in the address":  {webhook.Token{}, false, noColon},

		"azure devops, header":         {inHeader(webhook.AzureDevOps{}, webhook.Signature{Header: "x-ado-webhook-secret"}), false, text},
		"gerrit, password":             {shown{webhook.Gerrit{}, webhook.Basic{}.Sign}, false, text},
		"bitbucket data center, basic": {shown{webhook.BitbucketDataCenter{}, webhook.Basic{}.Sign}, false, text},
		"forgejo":                      {inHeader(webhook.Gitea{}, webhook.Signature{Header: "x-forgejo-signature", Encoding: "hex"}), true, text},
		"gogs":                         {inHeader(webhook.Gitea{}, webhook.Signature{Header: "x-gogs-signature", Encoding: "hex"}), true, text},
		"gitea, like github":           {inHeader(webhook.Gitea{}, webhook.GitHubSignature), true, text},
		"hmac, hex":                    {webhook.HMAC{Signature: webhook.Signature{Header: "x-frobs-hex", Encoding: "hex"}}, true, text},
	}
}

// request returns a request before it is signed.
func request(body string) webhook.Request {
	return webhook.Request{Headers: events.Metadata{"content-type": "application/json"}, Body: []byte(body), Time: now}
}

// meansTheSame tells whether two signatures or credentials are one, written in two ways: hex digits in another case, the
// name of the scheme in another case, another user.
func meansTheSame(name, a, b string) bool {
	switch name {
	case "authorization":
		schemeA, credentialsA, _ := strings.Cut(a, " ")
		schemeB, credentialsB, _ := strings.Cut(b, " ")
		if !strings.EqualFold(schemeA, schemeB) {
			return false
		}
		textA, errA := base64.StdEncoding.Strict().DecodeString(credentialsA)
		textB, errB := base64.StdEncoding.Strict().DecodeString(credentialsB)
		_, passwordA, okA := strings.Cut(string(textA), ":")
		_, passwordB, okB := strings.Cut(string(textB), ":")
		return errA == nil && errB == nil && okA && okB && passwordA == passwordB
	case "x-hub-signature-256", "x-hub-signature", "x-gitea-signature", "x-forgejo-signature", "x-gogs-signature", "x-frobs-hex":
		return strings.EqualFold(a, b)
	default:
		return strings.TrimSpace(a) == strings.TrimSpace(b)
	}
}

// secretHeaders are the headers in which secrets and signatures are.
var secretHeaders = []string{
	"x-hub-signature-256", "x-gitlab-token", "webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature", "authorization",
	"x-gitea-signature", "x-forgejo-signature", "x-gogs-signature", "x-frobs", "x-frobs-hex", "x-ado-webhook-secret",
}

func TestProfiles_AnyChangedByteIsRefused(t *testing.T) {
	t.Parallel()
	for name, p := range profiles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				secret := p.secret.Draw(t, "secret")
				r := request(rapid.StringN(1, 200, -1).Draw(t, "body"))
				p.Sign(&r, secret)
				if err := p.Verify(r, []string{"another", "", secret}); err != nil {
					t.Fatalf("the right secret is refused: %v", err)
				}
				check := func(what string, r webhook.Request, secret string) {
					if err := p.Verify(r, []string{"another", "", secret}); err == nil {
						t.Fatalf("accepted with a changed %s", what)
					} else if code := events.ErrorCode(err); code != events.CodeForbidden && code != events.CodeUnauthorized {
						t.Fatalf("a changed %s: error %v, want code %q", what, err, events.CodeForbidden)
					}
				}
				if p.covers {
					other := r
					other.Body = []byte(changed(t, string(r.Body)))
					check("body", other, secret)
				}
				// HMAC fills short keys with zeros, so a zero at the end changes nothing.
				if other := changed(t, secret); strings.TrimRight(other, "\x00") != strings.TrimRight(secret, "\x00") {
					check("secret", r, other)
				}
				if r.Token != "" {
					other := r
					other.Token = changed(t, r.Token)
					check("token in the address", other, secret)
				}
				for _, header := range secretHeaders {
					value := r.Headers[header]
					if value == "" || name == "gitea" && header != "x-gitea-signature" {
						continue // Gitea's others count only where that is missing
					}
					other := r
					other.Headers = maps.Clone(r.Headers)
					other.Headers[header] = changed(t, value)
					if !meansTheSame(header, other.Headers[header], value) {
						check(header, other, secret)
					}
					delete(other.Headers, header)
					if name != "gitea" {
						check("header taken away: "+header, other, secret)
					}
				}
			})
		})
	}
}

// Where the document in a form is signed, the form may be written in another way, and the document may not.
func TestGitea_AnyChangedByteOfAFormIsRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		document := rapid.StringN(1, 100, -1).Draw(t, "document")
		signature := webhook.Signature{Encoding: "hex"}.Sign([]byte(document), "s")
		r := webhook.Request{Headers: events.Metadata{"content-type": webhook.FormType, "x-gogs-signature": signature}, Time: now}
		r.Body = []byte("payload=" + url.QueryEscape(document))
		if err := (webhook.Gitea{}).Verify(r, []string{"s"}); err != nil {
			t.Fatalf("the right form is refused: %v", err)
		}
		r.Body = []byte(changed(t, string(r.Body)))
		payload, err := webhook.FormPayload(r.Body)
		same := err == nil && string(payload) == document
		if err := (webhook.Gitea{}).Verify(r, []string{"s"}); same != (err == nil) || err != nil && events.ErrorCode(err) != events.CodeForbidden {
			t.Fatalf("the form %q with the document %q: %v", r.Body, payload, err)
		}
	})
}

// No secret and no empty one lets anybody in.
func TestProfiles_WithoutSecrets(t *testing.T) {
	t.Parallel()
	for name, p := range profiles() {
		for _, secrets := range [][]string{nil, {""}} {
			r := request("{}")
			p.Sign(&r, "")
			if err := p.Verify(r, secrets); err == nil {
				t.Errorf("%s: a request is accepted with the secrets %q", name, secrets)
			}
			if err := p.Verify(request("{}"), secrets); err == nil {
				t.Errorf("%s: a request without anything is accepted with the secrets %q", name, secrets)
			}
		}
	}
}

// What was published by the providers and specifications themselves.
func TestProfiles_PublishedVectors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		profile      webhook.Profile
		secret, body string
		headers      events.Metadata
	}{
		// https://github.com/standard-webhooks/standard-webhooks/tree/main/libraries
		"standard webhooks": {webhook.StandardWebhooks{}, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`, events.Metadata{
			"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
			"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		}},
		"standard webhooks, secret without prefix": {webhook.StandardWebhooks{}, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`, events.Metadata{
			"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
			"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		}},
		// GitLab signs as the same specification says.
		"gitlab": {webhook.GitLab{}, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`, events.Metadata{
			"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
			"webhook-signature": "v1a,AAAA v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= nonsense",
		}},
		// https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
		"bitbucket cloud": {webhook.BitbucketCloud{}, "It's a Secret to Everybody", "Hello World!", events.Metadata{
			"x-hub-signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
		}},
		"bitbucket data center": {webhook.BitbucketDataCenter{}, "It's a Secret to Everybody", "Hello World!", events.Metadata{
			"x-hub-signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
		}},
		// https://www.rfc-editor.org/rfc/rfc7617#section-2
		"basic":                     {webhook.Basic{}, "open sesame", "{}", events.Metadata{"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
		"azure devops":              {webhook.AzureDevOps{}, "open sesame", "{}", events.Metadata{"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
		"basic, not ASCII":          {webhook.Basic{}, "123£", "{}", events.Metadata{"authorization": "basic dGVzdDoxMjPCow=="}},
		"basic, colon and no user":  {webhook.Basic{}, "a:b", "{}", events.Metadata{"authorization": "Basic OmE6Yg=="}},
		"gerrit with a password":    {webhook.Gerrit{}, "open sesame", "{}", events.Metadata{"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
		"data center with password": {webhook.BitbucketDataCenter{}, "open sesame", "{}", events.Metadata{"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := webhook.Request{Headers: test.headers, Body: []byte(test.body), Time: now}
			if err := test.profile.Verify(r, []string{"another", test.secret}); err != nil {
				t.Error(err)
			}
			if err := test.profile.Verify(r, []string{"another"}); events.ErrorCode(err) != events.CodeForbidden {
				t.Errorf("with another secret: %v, want code %q", err, events.CodeForbidden)
			}
		})
	}
}

func TestStandardWebhooks_Time(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for timestamp, want := range map[string]events.Code{
		"0": "", "300": "", "-300": "", "301": events.CodeForbidden, "-301": events.CodeForbidden,
	} {
		seconds, err := strconv.ParseInt(timestamp, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		r := request("{}")
		r.Time = now.Add(time.Duration(seconds) * time.Second)
		webhook.GitLab{}.Sign(&r, secret)
		r.Time = now
		if err := (webhook.GitLab{}).Verify(r, []string{secret}); events.ErrorCode(err) != want {
			t.Errorf("%s seconds from now: %v, want code %q", timestamp, err, want)
		}
	}
	for _, timestamp := range []string{"", " 1614265330", "1614265330.0", "0x60380000", "9223372036854775807", "-9223372036854775808", "99999999999999999999", "now"} {
		r := request("{}")
		webhook.GitLab{}.Sign(&r, secret)
		r.Headers["webhook-timestamp"] = timestamp
		if err := (webhook.GitLab{}).Verify(r, []string{secret}); events.ErrorCode(err) != events.CodeForbidden {
			t.Errorf("time %q: %v, want code %q", timestamp, err, events.CodeForbidden)
		}
	}
}

// Which way a hook of GitLab is verified depends on one header only.
func TestGitLab_Choice(t *testing.T) {
	t.Parallel()
	const token, signing, retired = "plain", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for name, test := range map[string]struct {
		signedWith, token string
		want              events.Code
	}{
		"token":                          {"", token, ""},
		"wrong token":                    {"", "Plain", events.CodeForbidden},
		"signature":                      {signing, "", ""},
		"both":                           {signing, token, ""},
		"signature with an old token":    {signing, "old", ""},
		"wrong signature, right token":   {retired, token, events.CodeForbidden},
		"nothing":                        {"", "", events.CodeForbidden},
		"the signing token as the token": {"", signing, ""},
	} {
		r := request("{}")
		if test.signedWith != "" {
			webhook.GitLab{}.Sign(&r, test.signedWith)
		} else {
			r.Headers["webhook-id"], r.Headers["webhook-timestamp"] = "1", "1" // are on all hooks of GitLab 19
		}
		if test.token != "" {
			r.Headers["x-gitlab-token"] = test.token
		}
		if err := (webhook.GitLab{}).Verify(r, []string{token, signing}); events.ErrorCode(err) != test.want {
			t.Errorf("%s: %v, want code %q", name, err, test.want)
		}
	}
}

func TestBitbucketDataCenter_Ping(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		event, secret string
		want          error
	}{
		"unsigned ping": {"diagnostics:ping", "", webhook.ErrTest},
		"signed ping":   {"diagnostics:ping", "s", webhook.ErrTest},
		"wrong ping":    {"diagnostics:ping", "x", nil},
		"unsigned push": {"repo:refs_changed", "", nil},
	} {
		r := request(`{"test":true}`)
		r.Headers["x-event-key"] = test.event
		if test.secret != "" {
			r.Headers[webhook.BitbucketSignature.Header] = webhook.BitbucketSignature.Sign(r.Body, test.secret)
		}
		err := webhook.BitbucketDataCenter{}.Verify(r, []string{"s"})
		if isTest := errors.Is(err, webhook.ErrTest); isTest != (test.want != nil) || !isTest && events.ErrorCode(err) != events.CodeForbidden {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	ping := request(`{"test":true}`)
	ping.Headers["x-event-key"] = "diagnostics:ping"
	if err := (webhook.Unverified{Profile: webhook.BitbucketDataCenter{}}).Verify(ping, nil); !errors.Is(err, webhook.ErrTest) {
		t.Errorf("where nothing is verified a ping is %v, want %v", err, webhook.ErrTest)
	}
	if err := (webhook.BitbucketCloud{}).Verify(ping, []string{"s"}); events.ErrorCode(err) != events.CodeForbidden {
		t.Errorf("Bitbucket Cloud has no ping: %v", err)
	}
}

func TestGitea_Signatures(t *testing.T) {
	t.Parallel()
	const document = `{"ref":"refs/heads/main"}`
	hex := webhook.Signature{Encoding: "hex"}
	form := "payload=" + url.QueryEscape(document)
	const formType = "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		contentType, body string
		headers           events.Metadata
		want              events.Code
	}{
		"gitea":                  {"application/json", document, events.Metadata{"x-gitea-signature": hex.Sign([]byte(document), "s")}, ""},
		"forgejo":                {"application/json", document, events.Metadata{"x-forgejo-signature": hex.Sign([]byte(document), "s")}, ""},
		"gogs":                   {"application/json", document, events.Metadata{"x-gogs-signature": hex.Sign([]byte(document), "s")}, ""},
		"like github":            {"application/json", document, events.Metadata{"x-gitea-signature": "", "x-hub-signature-256": "sha256=" + hex.Sign([]byte(document), "s")}, ""},
		"all empty":              {"application/json", document, events.Metadata{"x-gitea-signature": "", "x-gogs-signature": "", "x-hub-signature-256": "sha256="}, events.CodeForbidden},
		"sha1 only":              {"application/json", document, events.Metadata{"x-hub-signature": "sha1=" + hex.Sign([]byte(document), "s")[:40]}, events.CodeForbidden},
		"form":                   {formType, form, events.Metadata{"x-gitea-signature": hex.Sign([]byte(form), "s")}, ""},
		"document in a form":     {formType + "; charset=utf-8", form, events.Metadata{"x-gogs-signature": hex.Sign([]byte(document), "s")}, ""},
		"another document":       {formType, form, events.Metadata{"x-gogs-signature": hex.Sign([]byte(document+" "), "s")}, events.CodeForbidden},
		"form without a payload": {formType, "a=b", events.Metadata{"x-gogs-signature": hex.Sign([]byte(document), "s")}, events.CodeForbidden},
		"form that is called json": {"application/json", form, events.Metadata{
			"x-gogs-signature": hex.Sign([]byte(document), "s"),
		}, events.CodeForbidden},
	} {
		r := webhook.Request{Headers: test.headers, Body: []byte(test.body)}
		r.Headers["content-type"] = test.contentType
		if err := (webhook.Gitea{}).Verify(r, []string{"s"}); events.ErrorCode(err) != test.want {
			t.Errorf("%s: %v, want code %q", name, err, test.want)
		}
	}
}

func TestProfiles_Describe(t *testing.T) {
	t.Parallel()
	const canary = "canary"
	for name, test := range map[string]struct {
		profile webhook.Profile
		headers events.Metadata
		body    string
		want    webhook.Delivery
	}{
		"gitlab": {
			webhook.GitLab{},
			events.Metadata{"x-gitlab-event": "Push Hook", "idempotency-key": "i1", "webhook-id": "w1", "x-gitlab-token": canary, "webhook-signature": canary},
			`{"object_kind":"push","project":{"path_with_namespace":"a/b/c","web_url":"https://gitlab.example.com/a/b/c"}}`,
			webhook.Delivery{
				ID: "w1", Host: "gitlab.example.com", Repository: "a/b/c", Promoted: []string{"x-gitlab-event", "idempotency-key"},
				Metadata: events.Metadata{"x-gitlab-event": "Push Hook", "idempotency-key": "i1", "webhook-id": "w1"},
			},
		},
		"gitlab 17.4": {
			webhook.GitLab{},
			events.Metadata{"idempotency-key": "i1", "x-gitlab-event-uuid": "e1"},
			`{"event_name":"project_create"}`,
			webhook.Delivery{ID: "i1", Promoted: []string{"x-gitlab-event", "idempotency-key"}, Metadata: events.Metadata{"idempotency-key": "i1", "x-gitlab-event-uuid": "e1"}},
		},
		"bitbucket cloud": {
			webhook.BitbucketCloud{},
			events.Metadata{"x-event-key": "issue:created", "x-request-uuid": "r1", "x-hub-signature": canary},
			`{"issue":{},"repository":{"full_name":"a/b","links":{"self":{"href":"https://api.bitbucket.org/x"},"html":{"href":"https://bitbucket.org/a/b"}}}}`,
			webhook.Delivery{
				ID: "r1", Host: "bitbucket.org", Repository: "a/b", Promoted: []string{"x-event-key", "x-request-uuid"},
				Metadata: events.Metadata{"x-event-key": "issue:created", "x-request-uuid": "r1"},
			},
		},
		"bitbucket data center": {
			webhook.BitbucketDataCenter{},
			events.Metadata{"x-event-key": "repo:refs_changed", "x-request-id": "r1", "x-hub-signature": canary, "authorization": canary},
			`{"changes":[],"repository":{"slug":"b","project":{"key":"A","owner":{"slug":"no"}},"links":{"clone":[{"href":"ssh://no"}],"self":[1,{"href":"https://bb.example.com:8443/x"}]}}}`,
			webhook.Delivery{
				ID: "r1", Host: "bb.example.com:8443", Repository: "A/b", Promoted: []string{"x-event-key", "x-request-id"},
				Metadata: events.Metadata{"x-event-key": "repo:refs_changed", "x-request-id": "r1"},
			},
		},
		"azure devops": {
			webhook.AzureDevOps{},
			events.Metadata{"x-vss-activityid": "v1", "x-ado-webhook-secret": canary, "authorization": canary},
			`{"id":"e1","eventType":"git.push","resource":{"id":"no","repository":{"remoteUrl":"https://dev.azure.com/acme/P/_git/r"}}}`,
			webhook.Delivery{ID: "e1", Host: "dev.azure.com", Repository: "acme/P/_git/r", Metadata: events.Metadata{"x-vss-activityid": "v1"}},
		},
		"azure devops, something else than git": {
			webhook.AzureDevOps{}, nil, `{"id":7,"eventType":"workitem.created","resource":[]}`, webhook.Delivery{Metadata: events.Metadata{}},
		},
		"gerrit": {
			webhook.Gerrit{},
			events.Metadata{"x-origin-url": "https://gerrit.example.com/r", "authorization": canary},
			`{"type":"ref-updated","refUpdate":{"project":"a"},"eventCreatedOn":1}`,
			webhook.Delivery{
				ID: "be349347b37b5fe0708dfc7126f3678d9ba8dd71480095079ba003a90ebf3037", Host: "gerrit.example.com", Repository: "a",
				Metadata: events.Metadata{"x-origin-url": "https://gerrit.example.com/r"},
			},
		},
		"gerrit without a time": {
			webhook.Gerrit{}, nil, `{"type":"x","project":{"name":"a/b"},"change":{"eventCreatedOn":1}}`, webhook.Delivery{Repository: "a/b", Metadata: events.Metadata{}},
		},
		"gitea": {
			webhook.Gitea{},
			events.Metadata{"x-gitea-event": "push", "x-gitea-delivery": "d1", "x-gogs-event": "push", "x-github-event": "push", "x-gitea-signature": canary},
			`{"ref":"x","repository":{"full_name":"a/b","html_url":"https://gitea.example.com/a/b"}}`,
			webhook.Delivery{
				ID: "d1", Host: "gitea.example.com", Repository: "a/b", Promoted: []string{"x-gitea-event", "x-gitea-delivery"},
				Metadata: events.Metadata{"x-gitea-event": "push", "x-gitea-delivery": "d1", "x-gogs-event": "push"},
			},
		},
		"gogs": {
			webhook.Gitea{},
			events.Metadata{"x-gogs-event": "release", "x-gogs-delivery": "d1", "x-gogs-signature": canary},
			`{"release":{}}`,
			webhook.Delivery{ID: "d1", Promoted: []string{"x-gogs-event", "x-gogs-delivery"}, Metadata: events.Metadata{"x-gogs-event": "release", "x-gogs-delivery": "d1"}},
		},
		"standard webhooks": {
			webhook.StandardWebhooks{Generic: webhook.Generic{Metadata: []string{"x-a*"}, Promoted: []string{"x-b"}}},
			events.Metadata{"webhook-id": "m1", "webhook-signature": canary, "x-a1": "1", "x-a-token": canary, "x-b": "2"},
			`{}`,
			webhook.Delivery{ID: "m1", Promoted: []string{"webhook-id", "x-b"}, Metadata: events.Metadata{"webhook-id": "m1", "x-a1": "1", "x-b": "2"}},
		},
		"token": {
			webhook.Token{Header: "x-key", Generic: webhook.Generic{Metadata: []string{"x-*"}}},
			events.Metadata{"x-key": canary, "x-a": "1"},
			`{}`,
			webhook.Delivery{Metadata: events.Metadata{"x-a": "1"}},
		},
		"basic": {
			webhook.Basic{Generic: webhook.Generic{Metadata: []string{"authorization", "x-a"}}},
			events.Metadata{"authorization": canary, "x-a": "1"},
			`{}`,
			webhook.Delivery{Metadata: events.Metadata{"x-a": "1"}},
		},
		"none": {
			webhook.None{Generic: webhook.Generic{Metadata: []string{"x-a"}}},
			events.Metadata{"cookie": canary, "x-a": "1"},
			`{}`,
			webhook.Delivery{Metadata: events.Metadata{"x-a": "1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.profile.Describe(webhook.Request{Headers: test.headers}, []byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("delivery (-want +got):\n%s", diff)
			}
		})
	}
}

// The same body is the same delivery of Gerrit; whatever is different in it makes another one.
func TestGerrit_DeliveryID(t *testing.T) {
	t.Parallel()
	id := func(body string) string {
		d, err := webhook.Gerrit{}.Describe(webhook.Request{}, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return d.ID
	}
	const body = `{"type":"ref-updated","refUpdate":{"newRev":"1"},"eventCreatedOn":1793610897}`
	if first, second := id(body), id(body); first != second || first == "" {
		t.Error("a second try is another delivery")
	}
	if id(body) == id(strings.Replace(body, "897", "898", 1)) || id(body) == id(strings.Replace(body, `"1"`, `"2"`, 1)) {
		t.Error("another event is the same delivery")
	}
}

// An event type that does not fit the body is refused: the header is not signed.
func TestProfiles_EventFitsBody(t *testing.T) {
	t.Parallel()
	const repository = `"repository":{"full_name":"a/b"}`
	for _, test := range []struct {
		profile             webhook.Profile
		header, event, body string
		fits                bool
	}{
		{webhook.GitHub{}, "x-github-event", "ping", `{"zen":"a","hook_id":1}`, true},
		{webhook.GitHub{}, "x-github-event", "ping", `{"ref":"a"}`, false},
		{webhook.GitHub{}, "x-github-event", "push", `{"ref":"a","after":"b",` + repository + `}`, true},
		{webhook.GitHub{}, "x-github-event", "push", `{` + repository + `}`, false},
		{webhook.GitHub{}, "x-github-event", "push", `{"ref":"a","ref_type":"tag",` + repository + `}`, false},
		{webhook.GitHub{}, "x-github-event", "push", `[]`, false},
		{webhook.GitHub{}, "x-github-event", "push", `{"head":{"ref":"a"}}`, false},
		{webhook.GitHub{}, "x-github-event", "create", `{"ref":"a","ref_type":"tag"}`, true},
		{webhook.GitHub{}, "x-github-event", "repository", `{"action":"deleted",` + repository + `,"sender":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "repository", `{"action":"edited",` + repository + `,"changes":{},"organization":{},"installation":{},"enterprise":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "repository", `{` + repository + `}`, false},
		{webhook.GitHub{}, "x-github-event", "repository", `{"action":"deleted","label":{},` + repository + `}`, false},
		{webhook.GitHub{}, "x-github-event", "repository", `{"action":"deleted","client_payload":{},` + repository + `}`, false},
		{webhook.GitHub{}, "x-github-event", "issues", `{"issue":{},"comment":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "delete", `{"ref":"a","ref_type":"branch","pusher_type":"user"}`, true},
		{webhook.GitHub{}, "x-github-event", "delete", `{"ref":"a","ref_type":"branch","master_branch":"main"}`, false},
		{webhook.GitHub{}, "x-github-event", "create", `{"ref":"a","ref_type":"branch","master_branch":"main"}`, true},
		{webhook.GitHub{}, "x-github-event", "check_run", `{"action":"created","check_run":{},` + repository + `}`, true},
		{webhook.GitHub{}, "x-github-event", "check_run", `{"action":"created","check_suite":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "check_suite", `{"action":"completed","check_suite":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "check_suite", `{"action":"completed","check_run":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "deployment", `{"action":"created","deployment":{},"workflow":null,"workflow_run":null}`, true},
		{webhook.GitHub{}, "x-github-event", "deployment", `{"action":"created","deployment":{},"deployment_status":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "deployment_status", `{"action":"created","deployment":{},"deployment_status":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "deployment_status", `{"action":"created","deployment":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "discussion", `{"action":"answered","discussion":{},"answer":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "discussion", `{"action":"created","discussion":{},"comment":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "discussion_comment", `{"action":"created","discussion":{},"comment":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "fork", `{"forkee":{},` + repository + `}`, true},
		{webhook.GitHub{}, "x-github-event", "fork", `{"action":"started",` + repository + `}`, false},
		{webhook.GitHub{}, "x-github-event", "installation", `{"action":"created","installation":{},"repositories":[]}`, true},
		{webhook.GitHub{}, "x-github-event", "installation", `{"ref":"a","installation":{},` + repository + `}`, false},
		{webhook.GitHub{}, "x-github-event", "label", `{"action":"created","label":{},` + repository + `}`, true},
		{webhook.GitHub{}, "x-github-event", "label", `{"action":"labeled","label":{},"issue":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "member", `{"action":"added","member":{},"changes":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "member", `{"action":"created",` + repository + `}`, false},
		{webhook.GitHub{}, "x-github-event", "milestone", `{"action":"closed","milestone":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "milestone", `{"action":"milestoned","milestone":{},"issue":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "pull_request_review", `{"action":"submitted","pull_request":{},"review":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "pull_request_review", `{"action":"opened","pull_request":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "pull_request_review_comment", `{"action":"created","pull_request":{},"comment":{}}`, true},
		{webhook.GitHub{}, "x-github-event", "pull_request_review_comment", `{"action":"created","issue":{},"comment":{}}`, false},
		{webhook.GitHub{}, "x-github-event", "whatever comes next", `{}`, true},
		{webhook.GitHub{}, "x-github-event", "", `{}`, true},
		{webhook.GitLab{}, "x-gitlab-event", "Push Hook", `{"object_kind":"push"}`, true},
		{webhook.GitLab{}, "x-gitlab-event", "Push Hook", `{"object_kind":"tag_push"}`, false},
		{webhook.GitLab{}, "x-gitlab-event", "Push Hook", `{"text":"of a template"}`, true},
		{webhook.GitLab{}, "x-gitlab-event", "Push Hook", `{"object_kind":"work_item"}`, false},
		{webhook.GitLab{}, "x-gitlab-event", "Push Hook", `{"object_kind":"a word of a template"}`, true},
		{webhook.GitLab{}, "x-gitlab-event", "Push Hook", `{"object_kind":""}`, true},
		{webhook.GitLab{}, "x-gitlab-event", "Issue Hook", `{"object_kind":"work_item"}`, true},
		{webhook.GitLab{}, "x-gitlab-event", "System Hook", `{"object_kind":"push"}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:push", `{"push":{}}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:push", `{"pullrequest":{}}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:fork", `{"fork":{},` + repository + `}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:deleted", `{"issue":{},` + repository + `}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:comment_created", `{"pullrequest":{},"comment":{}}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:fork", `{` + repository + `}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:deleted", `{"actor":{},` + repository + `}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:deleted", `{"push":{},` + repository + `}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:deleted", `{"fork":{},` + repository + `}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:transfer", `{"push":{},` + repository + `}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:transfer", `{"previous":{},` + repository + `}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:updated", `{"changes":{},` + repository + `}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:updated", `{"changes":{},"issue":{},` + repository + `}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:commit_comment_created", `{"comment":{},"commit":{},` + repository + `}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:commit_comment_created", `{"comment":{},"pullrequest":{},` + repository + `}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:commit_status_updated", `{"commit_status":{},` + repository + `}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "repo:commit_status_created", `{"push":{},` + repository + `}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:approved", `{"pullrequest":{},"approval":{}}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:approved", `{"pullrequest":{}}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:unapproved", `{"pullrequest":{},"comment":{}}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:comment_deleted", `{"pullrequest":{},"approval":{}}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:fulfilled", `{"pullrequest":{},` + repository + `}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:fulfilled", `{"pullrequest":{},"comment":{}}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:rejected", `{"pullrequest":{},"approval":{}}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:changes_request_created", `{"pullrequest":{},"changes_request":{}}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "pullrequest:what comes next", `{"pullrequest":{}}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "issue:comment_created", `{"issue":{},"comment":{}}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "issue:comment_created", `{"issue":{}}`, false},
		{webhook.BitbucketCloud{}, "x-event-key", "issue:updated", `{"issue":{},"comment":{},"changes":{}}`, true},
		{webhook.BitbucketCloud{}, "x-event-key", "project:updated", `{}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "repo:refs_changed", `{"changes":[],"repository":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "repo:refs_changed", `{"repository":{}}`, false},
		{webhook.BitbucketDataCenter{}, "x-event-key", "repo:modified", `{"old":{},"new":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "repo:comment:added", `{"pullRequest":{}}`, false},
		{webhook.BitbucketDataCenter{}, "x-event-key", "pr:comment:added", `{"pullRequest":{},"comment":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "pr:merged", `{"changes":[]}`, false},
		{webhook.BitbucketDataCenter{}, "x-event-key", "pr:merged", `{"eventKey":"pr:merged","pullRequest":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "pr:merged", `{"eventKey":"pr:opened","pullRequest":{}}`, false},
		{webhook.BitbucketDataCenter{}, "x-event-key", "pr:merged", `{"eventKey":"","pullRequest":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "", `{"eventKey":"pr:opened","pullRequest":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "pr:reviewer:needs_work", `{"eventKey":"pr:reviewer:changes_requested","pullRequest":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "pr:reviewer:changes_requested", `{"eventKey":"pr:reviewer:needs_work","pullRequest":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "mirror:repo_synchronized", `{"eventKey":"mirror:repo_synchronized","repository":{}}`, true},
		{webhook.BitbucketDataCenter{}, "x-event-key", "mirror:repo_synchronized", `{"mirrorServer":{},"repository":{}}`, true},
		{webhook.Gitea{}, "x-gitea-event", "pull_request", `{"pull_request":{},"review":null}`, true},
		{webhook.Gitea{}, "x-gitea-event", "repository", `{"action":"deleted",` + repository + `,"organization":{},"sender":{}}`, true},
		{webhook.Gitea{}, "x-gitea-event", "repository", `{"action":"deleted","issue":{},` + repository + `}`, false},
		{webhook.Gitea{}, "x-gitea-event", "fork", `{"forkee":{},` + repository + `}`, true},
		{webhook.Gitea{}, "x-gogs-event", "fork", `{"forkee":{},` + repository + `}`, true},
		{webhook.Gitea{}, "x-forgejo-event", "fork", `{"action":"deleted",` + repository + `}`, false},
		{webhook.Gitea{}, "x-gitea-event", "pull_request_approved", `{"action":"reviewed","pull_request":{},"review":{}}`, true},
		{webhook.Gitea{}, "x-gitea-event", "pull_request_approved", `{"issue":{}}`, false},
		{webhook.Gitea{}, "x-forgejo-event", "pull_request_rejected", `{"action":"reviewed","pull_request":{},"review":{}}`, true},
		{webhook.Gitea{}, "x-forgejo-event", "pull_request_rejected", `{"issue":{},"comment":{}}`, false},
		{webhook.Gitea{}, "x-gitea-event", "pull_request_comment", `{"action":"reviewed","pull_request":{},"review":{}}`, true},
		{webhook.Gitea{}, "x-gitea-event", "pull_request_comment", `{"issue":{},"comment":{}}`, false},
		{webhook.Gitea{}, "x-gitea-event", "issue_comment", `{"issue":{},"comment":{},"pull_request":{},"is_pull":true}`, true},
		{webhook.Gitea{}, "x-gogs-event", "push", `{"zen":1}`, false},
		{webhook.Gitea{}, "x-forgejo-event", "push", `{"ref":"a"}`, true},
	} {
		_, err := test.profile.Describe(webhook.Request{Headers: events.Metadata{test.header: test.event}}, []byte(test.body))
		want := events.CodeInvalid
		if test.fits {
			want = ""
		}
		if got := events.ErrorCode(err); got != want {
			t.Errorf("%T: %s with %s: error %v, want code %q", test.profile, test.event, test.body, err, want)
		}
	}
}

// A signature that does not fit says so, and why that may be where the gateway has changed the body.
func TestProfiles_SignatureOfText(t *testing.T) {
	t.Parallel()
	const hint = "application/vnd.acme+json"
	for name, test := range map[string]struct {
		contentType, body string
		hint              bool
	}{
		"plain":            {"application/json", "{}", false},
		"utf-8":            {"application/json; charset=UTF-8", "{}", false},
		"replaced":         {"application/json", "{\"\ufffd\"}", true},
		"another charset":  {"application/json; charset=iso-8859-1", "{}", true},
		"byte by byte":     {"application/a+json; charset=iso-8859-1", "{\"\ufffd\"}", false},
		"not a media type": {"; ;", "{\"\ufffd\"}", false},
	} {
		for kind, p := range map[string]signer{"github": webhook.GitHub{}, "standard": webhook.StandardWebhooks{}, "gitea": webhook.Gitea{}} {
			r := request(test.body)
			p.Sign(&r, "another")
			r.Headers["content-type"] = test.contentType
			err := p.Verify(r, []string{"s"})
			if events.ErrorCode(err) != events.CodeForbidden || !strings.HasPrefix(events.ErrorMessage(err), "the signature does not fit") || strings.Contains(err.Error(), hint) != test.hint {
				t.Errorf("%s, %s: %v; want the hint: %v", name, kind, err, test.hint)
			}
		}
	}
}

// described are all profiles, for what they must have in common.
func described() map[string]webhook.Profile {
	all := map[string]webhook.Profile{"none": webhook.None{}}
	for name, p := range profiles() {
		all[name] = p
	}
	return all
}

func TestProfiles_OddDocuments(t *testing.T) {
	t.Parallel()
	for name, p := range described() {
		for body, want := range map[string]events.Code{
			`{"repository":[[[{"full_name":1}]]],"project":null,"resource":"x","id":{},"links":[{}],"eventCreatedOn":"x"}`: "",
			`[{"repository":{}}]`: "", `"x"`: "", `{"repository":{"links":{"self":[]}},"id":"\ud83d"}`: "",
			"": events.CodeInvalid, `{"repository":[`: events.CodeInvalid, `{"repository":[}`: events.CodeInvalid, `{"project":{"name":"a"`: events.CodeInvalid,
			`{"repository":{"links":{"self":[{"href":`: events.CodeInvalid, `{} {}`: events.CodeInvalid,
		} {
			if _, err := p.Describe(webhook.Request{}, []byte(body)); events.ErrorCode(err) != want {
				t.Errorf("%s: %s: %v, want code %q", name, body, err, want)
			}
		}
	}
}

// fuzz reads anything as the webhooks of one profile. Values are those of the headers with the given names, one a line.
func fuzz(f *testing.F, p signer, names ...string) {
	f.Helper()
	f.Add([]byte("{}"), "secret", "", "")
	f.Add([]byte(`{"repository":{"full_name":"a/b","links":{"self":[{"href":"https://a"}]}},"push":{},"type":"a","eventCreatedOn":1}`), "", "token", strings.Repeat("sha256=00\n", len(names)))
	f.Add([]byte(`{"object_kind":"push","project":{"web_url":"%"}}`), "whsec_AAAA", "a", strings.Repeat("Basic YTpi\n", len(names)))
	f.Add([]byte("payload=%7B%7D"), "whsec_", "", strings.Repeat("v1,AAAA v1,\n", len(names)))
	f.Fuzz(func(t *testing.T, body []byte, secret, token, values string) {
		r := webhook.Request{Headers: events.Metadata{"content-type": "application/json", "x-canary": "canary"}, Body: body, Token: token, Time: now}
		lines := strings.Split(values, "\n")
		for i := range min(len(names), len(lines)) {
			r.Headers[names[i]] = lines[i]
		}
		before, headers := string(body), maps.Clone(r.Headers)
		err := p.Verify(r, []string{secret})
		switch code := events.ErrorCode(err); {
		case errors.Is(err, webhook.ErrTest), code == events.CodeForbidden, code == events.CodeUnauthorized:
		case err != nil:
			t.Fatalf("error %v", err)
		case secret == "":
			t.Fatal("accepted without a secret")
		}
		d, err := p.Describe(r, body)
		if code := events.ErrorCode(err); err != nil && code != events.CodeInvalid {
			t.Fatalf("error code %q, want %q", code, events.CodeInvalid)
		}
		for name, value := range d.Metadata {
			if value == "" || headers[name] != value || name == "x-canary" || strings.Contains(name, "signature") || strings.Contains(name, "token") || name == "authorization" {
				t.Fatalf("the metadata has %s: %q", name, value)
			}
		}
		if string(body) != before || !maps.Equal(headers, r.Headers) {
			t.Fatal("the request was changed")
		}
		fresh := webhook.Request{Headers: events.Metadata{"content-type": headers["content-type"]}, Body: body, Time: now}
		p.Sign(&fresh, secret)
		if err := p.Verify(fresh, []string{secret}); (err == nil) != (secret != "") {
			t.Fatalf("signed with %q: %v", secret, err)
		}
	})
}

func FuzzGitHub(f *testing.F) {
	fuzz(f, webhook.GitHub{}, "x-hub-signature-256", "x-github-event", "x-github-delivery")
}

func FuzzHMAC(f *testing.F) {
	fuzz(f, webhook.HMAC{Signature: webhook.Signature{Header: "x-frobs", Prefix: "v0=", Encoding: "base64"}}, "x-frobs", "content-type")
}

func FuzzGitLab(f *testing.F) {
	fuzz(f, webhook.GitLab{}, "x-gitlab-token", "webhook-signature", "webhook-timestamp", "webhook-id", "x-gitlab-event")
}

func FuzzBitbucketCloud(f *testing.F) {
	fuzz(f, webhook.BitbucketCloud{}, "x-hub-signature", "x-event-key", "x-request-uuid")
}

func FuzzBitbucketDataCenter(f *testing.F) {
	fuzz(f, webhook.BitbucketDataCenter{}, "x-hub-signature", "x-event-key", "authorization")
}

func FuzzAzureDevOps(f *testing.F) {
	fuzz(f, webhook.AzureDevOps{}, "authorization", "x-ado-webhook-secret")
}

func FuzzGerrit(f *testing.F) { fuzz(f, webhook.Gerrit{}, "authorization", "x-origin-url") }

func FuzzGitea(f *testing.F) {
	fuzz(f, webhook.Gitea{}, "x-gitea-signature", "x-forgejo-signature", "x-gogs-signature", "x-hub-signature-256", "x-gitea-event", "content-type")
}

func FuzzStandardWebhooks(f *testing.F) {
	fuzz(f, webhook.StandardWebhooks{}, "webhook-signature", "webhook-timestamp", "webhook-id")
}

func FuzzBasic(f *testing.F) { fuzz(f, webhook.Basic{}, "authorization") }

func FuzzToken(f *testing.F) { fuzz(f, webhook.Token{Header: "x-key", Prefix: "Bearer "}, "x-key") }

func FuzzTokenInAddress(f *testing.F) { fuzz(f, webhook.Token{}) }
