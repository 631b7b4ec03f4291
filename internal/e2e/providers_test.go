package e2e

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/htmlindex"
)

// arrived waits until everything is done and returns the titles in the inbox of the counter, with how often each is there.
func (p *Process) arrived(tb testing.TB) map[string]int {
	tb.Helper()
	p.Settle(tb)
	return p.titles(tb, "counter-token")
}

// The samples of every provider, and of every sender that no provider is, come to their sub-topics.
func TestProviders(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	want := map[string]int{}
	for _, hook := range []struct{ profile, event, topic string }{
		{"gitlab", "push", "gitlab"},
		{"bitbucket-cloud", "repo:push", "bitbucket-cloud"},
		{"bitbucket-data-center", "repo:refs_changed", "bitbucket-data-center"},
		{"azure-devops", "git.push", "azure-devops"},
		{"gerrit", "change-merged", "gerrit"},
		{"gitea", "push", "gitea"},
		{"standard-webhooks", "add", "standard-webhooks"},
		{"basic", "add", "basic"},
		{"token", "add", "token"},
		{"token", "add", "address"},
		{"hmac", "other", "frobs"},
	} {
		id := p.Send(t, hook.profile, hook.event, "--topic", hook.topic)
		if !strings.HasPrefix(id, hook.topic+":") {
			t.Errorf("%s: the event is %q", hook.topic, id)
		}
		if hook.event != "other" { // which nobody listens to
			want[hook.topic+"."+hook.event] = 1
		}
	}
	if diff := cmp.Diff(want, p.arrived(t)); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
}

// A secret in the address lets in, another one or none does not, and it is in no log.
func TestSecretInAddress(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	secret := p.Secret(t, "address-webhook") // letters and digits, which mean nothing in an address
	for path, want := range map[string]int{
		"/events/http/address/" + secret: 202, "/api/events/http/address/" + secret: 202, "/events/http/address/" + secret + "x": 403,
		"/events/http/address": 403, "/events/http/address/" + secret + "/more": 404,
	} {
		headers := map[string]string{"Content-Type": "application/json"}
		if got, answer := p.Do(t, http.MethodPost, path, headers, []byte(`{"type":"add"}`)); got.StatusCode != want {
			t.Errorf("%s: %s %s, want %d", strings.ReplaceAll(path, secret, "SECRET"), got.Status, answer, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"address.add": 2}, p.arrived(t)); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
	if code := p.Interrupt(t); code != 0 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
	if strings.Contains(p.Log(t), secret) {
		t.Error("the log holds the secret in the address")
	}
}

func TestAllowedAddresses(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	for topic, want := range map[string]int{"anywhere": 202, "outside": 403} {
		headers := map[string]string{"Content-Type": "application/json", "X-Forwarded-For": "192.0.2.1", "X-Real-Ip": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
		if got, answer := p.Do(t, http.MethodPost, "/events/http/"+topic, headers, []byte(`{}`)); got.StatusCode != want {
			t.Errorf("%s: %s %s, want %d", topic, got.Status, answer, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"anywhere": 1}, p.arrived(t)); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
}

// compressed is a body as it is sent with a Content-Encoding.
func compressed(tb testing.TB, coding string, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	default:
		return data
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// However a document is written, compressed and packed: it arrives. The types are those that the gateway leaves alone.
func TestBodies(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	const form = "application/x-www-form-urlencoded"
	want := map[string]int{}
	for i, test := range []struct{ contentType, charset, coding, text string }{
		{"application/json", "", "", "plain ä 日本 😀"},
		{"application/vnd.frobs+json", "", "gzip", "gzip ä 日本 😀"},
		{"application/vnd.frobs+json", "", "deflate", "deflate ä"},
		{"application/vnd.frobs+json", "iso-8859-1", "", "latin café"},
		{"application/vnd.frobs+json", "shift_jis", "gzip", "日本 表"},
		{"application/vnd.frobs+json", "utf-16be", "", "sixteen 😀"},
		{"application/cloudevents+json", "gb18030", "deflate", "中文 😀"},
		{form, "windows-1251", "", "форма Привет"},
		{form, "", "gzip", "form ä"},
	} {
		document := []byte(fmt.Sprintf(`{"type":"add","n":%q}`, test.text))
		contentType := test.contentType
		if test.charset != "" {
			charset, err := htmlindex.Get(test.charset)
			if err != nil {
				t.Fatal(err)
			}
			if document, err = charset.NewEncoder().Bytes(document); err != nil {
				t.Fatal(err)
			}
			contentType += "; charset=" + test.charset
		}
		if test.contentType == form {
			document = []byte("payload=" + url.QueryEscape(string(document)))
		}
		sent := compressed(t, test.coding, document)
		headers := p.frob(t, fmt.Sprint("body-", i), sent)
		headers["Content-Type"] = contentType
		if test.coding != "" {
			headers["Content-Encoding"] = test.coding
		}
		if got, answer := p.Do(t, http.MethodPost, "/events/http/frobs", headers, sent); got.StatusCode != http.StatusAccepted {
			t.Errorf("%s, %s, %q: %s %s", contentType, test.coding, test.text, got.Status, answer)
		}
		want[test.text] = 1
	}
	bomb := compressed(t, "gzip", bytes.Repeat([]byte(" "), 50<<20))
	headers := p.frob(t, "bomb", bomb)
	headers["Content-Type"], headers["Content-Encoding"] = "application/vnd.frobs+json", "gzip"
	if got, answer := p.Do(t, http.MethodPost, "/events/http/frobs", headers, bomb); got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a bomb: %s %s, want 413", got.Status, answer)
	}
	if diff := cmp.Diff(want, p.arrived(t)); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
}

// A recorded webhook with another delivery id is recognised; the same delivery again is published, as somebody may want it.
func TestRepeatWindow(t *testing.T) {
	t.Parallel()
	Start(t, config, "").checkRepeats(t)
}

// checkRepeats sends a body again and again, to the topic that recognises it.
func (p *Process) checkRepeats(t *testing.T) {
	t.Helper()
	body := []byte(`{"a":1}`)
	for i, step := range []struct {
		delivery string
		want     int
	}{{"1", 202}, {"2", 200}, {"1", 202}, {"3", 200}} {
		response, answer := p.Do(t, http.MethodPost, "/events/http/once", p.frob(t, step.delivery, body), body)
		if response.StatusCode != step.want {
			t.Errorf("request %d, delivery %s: %s %s, want %d", i, step.delivery, response.Status, answer, step.want)
		}
	}
	p.Settle(t)
	if _, stderr, code := p.Trace(t, "once:2"); code != 1 {
		t.Errorf("the repeated delivery was published: trace has exit code %d, %s", code, stderr)
	}
	if out, _, code := p.Trace(t, "once:1"); code != 0 || !strings.Contains(out, "sqs-publisher") {
		t.Errorf("the trace of the first: exit code %d\n%s", code, out)
	}
}
