package ingress_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/callboard/callboard/functions/ingress"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

var update = flag.Bool("update", false, "rewrite what the fixtures expect")

// The secrets of the fixtures. None of them may be seen anywhere behind the ingress.
const (
	secret       = "canary-live-secret"
	secondSecret = "canary-second-live-secret"
	wrongSecret  = "canary-retired-secret"
)

// canaries finds secrets and credentials; fixtures write the latter with this word.
var canaries = regexp.MustCompile(`(?i)canary[\w-]*`)

// world is what a fixture's handler works with, and what becomes of it.
type world struct {
	queueDown, secretsDown bool

	messages []events.Message
	hops     []events.Hop
}

func (w *world) Send(_ context.Context, m events.Message) error {
	if w.queueDown {
		return errors.New("dial tcp: connection refused")
	}
	w.messages = append(w.messages, m)
	return nil
}

func (w *world) Values(_ context.Context, name string) ([]string, error) {
	if w.secretsDown {
		return nil, events.Errorf(events.CodeNotFound, "secret %q does not exist", name)
	}
	return map[string][]string{"hook": {secret, secondSecret}}[name], nil
}

func (w *world) Observe(_ context.Context, h events.Hop) { w.hops = append(w.hops, h) }

func newHandler(w *world) *ingress.Handler {
	deliveryID, err := events.ParseSelector("header:x-frobs-delivery")
	if err != nil {
		panic(err)
	}
	return &ingress.Handler{Queue: w, Secrets: w, Observer: w, Topics: map[string]ingress.Topic{
		"github": {Profile: webhook.GitHub{}, Secrets: []string{"hook"}},
		"frobs": {Secrets: []string{"hook"}, Profile: webhook.HMAC{
			Signature:  webhook.Signature{Header: "x-frobs-signature", Prefix: "v0=", Encoding: "base64"},
			DeliveryID: &deliveryID, Metadata: []string{"x-frobs-*"}, Promoted: []string{"x-frobs-type"},
		}},
	}}
}

// fixture is a request and how it comes about.
type fixture struct {
	method, topic string
	headers       map[string]string
	body          []byte
	base64        bool
	w             *world
}

// readFixture reads the files "request" (directives, an empty line, headers) and "body" of an archive. Directives:
//
//	POST github                 method and topic
//	base64                      the body comes base64-encoded
//	body: "a\xff"               the body as a Go string
//	fill: +1                    a JSON string of the largest size that fits, and so many bytes more
//	headers: 60                 so many further headers
//	sign: live|second|wrong     add the right header with this secret
//	flip: 3                     change this byte of the body after signing
//	queue: down, secrets: down  the service is not there
func readFixture(t *testing.T, a *txtar.Archive) fixture {
	t.Helper()
	f := fixture{headers: make(map[string]string), w: &world{}}
	directives, headers, _ := strings.Cut(file(a, "request"), "\n\n")
	for line := range strings.Lines(headers) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		f.headers[strings.ToLower(name)] = value
	}
	f.body = []byte(strings.TrimSuffix(file(a, "body"), "\n"))
	for i, line := range strings.Split(strings.TrimSpace(directives), "\n") {
		if i == 0 {
			f.method, f.topic, _ = strings.Cut(line, " ")
			continue
		}
		f.direct(t, line)
	}
	return f
}

func (f *fixture) direct(t *testing.T, line string) {
	t.Helper()
	name, value, _ := strings.Cut(line, ": ")
	number := func() int {
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	switch name {
	case "base64":
		f.base64 = true
	case "body":
		text, err := strconv.Unquote(value)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		f.body = []byte(text)
	case "fill":
		f.body = filled(largest(t, *f) + number())
	case "headers":
		for i := range number() {
			f.headers[fmt.Sprintf("x-frobs-%02d", i)] = fmt.Sprintf("value %d", i)
		}
	case "sign":
		key := map[string]string{"live": secret, "second": secondSecret, "wrong": wrongSecret}[value]
		signature := webhook.GitHubSignature
		if f.topic == "frobs" {
			signature = webhook.Signature{Header: "x-frobs-signature", Prefix: "v0=", Encoding: "base64"}
		}
		f.headers[signature.Header] = signature.Sign(f.body, key)
	case "flip":
		f.body[number()] ^= 1
	case "queue":
		f.w.queueDown = true
	case "secrets":
		f.w.secretsDown = true
	default:
		t.Fatalf("unknown directive %q", line)
	}
}

func filled(n int) []byte { return []byte(`"` + strings.Repeat("x", n-2) + `"`) }

// largest finds out how large a body can be with the headers of f: what is left when the attributes, with the
// longest topic, are taken from what the path takes.
func largest(t *testing.T, f fixture) int {
	t.Helper()
	probe := fixture{method: f.method, topic: f.topic, headers: maps.Clone(f.headers), body: filled(10), w: &world{}}
	probe.direct(t, "sign: live")
	probe.invoke(t)
	if len(probe.w.messages) != 1 {
		t.Fatal("a small body was not accepted")
	}
	m := probe.w.messages[0]
	return events.MaxMessageSize - (m.Size() - 10) - (events.MaxTopicLength - len(f.topic))
}

func (f *fixture) invoke(t *testing.T) []byte {
	t.Helper()
	payload := invocation(f.method, f.topic, f.headers, f.body, f.base64)
	answer, err := newHandler(f.w).Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// invocation is an HTTP API request of payload format 2.0.
func invocation(method, topic string, headers map[string]string, body []byte, encode bool) []byte {
	text := string(body)
	if encode {
		text = base64.StdEncoding.EncodeToString(body)
	}
	path := "/events/http/" + topic
	payload, err := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "ANY /events/http/{topic}", "rawPath": path, "rawQueryString": "", "headers": headers,
		"requestContext": map[string]any{"http": map[string]any{"method": method, "path": path, "sourceIp": "192.0.2.1"}},
		"pathParameters": map[string]string{"topic": topic}, "body": text, "isBase64Encoded": encode,
	}, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return payload
}

func file(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// unstable replaces what is different each time.
var unstable = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`), `"time":"TIME"`},
	{regexp.MustCompile(`00-[0-9a-f]{32}-[0-9a-f]{16}-01`), "TRACEPARENT"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`), "RANDOM"},
}

// outcome writes what became of a fixture as the files it expects.
func (f *fixture) outcome(t *testing.T, answer []byte) []txtar.File {
	t.Helper()
	var r httpapi.Response
	if err := json.Unmarshal(answer, &r); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", r.StatusCode)
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		fmt.Fprintf(&b, "%s: %s\n", name, r.Headers[name])
	}
	fmt.Fprintf(&b, "\n%s\n", r.Body)
	files := []txtar.File{{Name: "response", Data: []byte(b.String())}}

	for _, m := range f.w.messages {
		b.Reset()
		fmt.Fprintf(&b, "group: %s\n", m.GroupID)
		for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
			fmt.Fprintf(&b, "%s: %s: %s\n", name, m.Attributes[name].DataType, m.Attributes[name].StringValue)
		}
		if len(m.Body) > 2000 {
			fmt.Fprintf(&b, "\nunchanged, at most the limit: %v\n", m.Body == string(f.body) && m.Size() <= events.MaxMessageSize)
		} else {
			fmt.Fprintf(&b, "\n%s\n", m.Body)
		}
		files = append(files, txtar.File{Name: "message", Data: []byte(b.String())})
	}
	for _, h := range f.w.hops {
		line := fmt.Sprintf("%s %s topic=%q event=%q reason=%q\n", h.Function, h.Outcome, h.Topic, h.Event, h.Reason)
		files = append(files, txtar.File{Name: "hop", Data: []byte(line)})
	}
	for i := range files {
		for _, u := range unstable {
			files[i].Data = u.pattern.ReplaceAll(files[i].Data, []byte(u.by))
		}
	}
	return files
}

// leaks returns the secrets that are seen in an answer, in what is queued, or in what is logged.
func (w *world) leaks(answer []byte) []string {
	var b bytes.Buffer
	b.Write(answer)
	fmt.Fprintf(&b, "%+v %+v", w.messages, w.hops)
	return canaries.FindAllString(b.String(), -1)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 30 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f := readFixture(t, a)
			answer := f.invoke(t)
			got := &txtar.Archive{Comment: a.Comment, Files: slices.DeleteFunc(slices.Clone(a.Files), func(f txtar.File) bool {
				return f.Name != "request" && f.Name != "body"
			})}
			got.Files = append(got.Files, f.outcome(t, answer)...)
			if leaked := f.w.leaks(answer); len(leaked) > 0 {
				t.Errorf("secrets are seen behind the ingress: %q", leaked)
			}
			for _, m := range f.w.messages {
				if err := m.Validate(events.MaxMessageSize); err != nil || len(m.Attributes) > 7 {
					t.Errorf("the message has %d attributes, %v", len(m.Attributes), err)
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(a)), string(txtar.Format(got))); diff != "" {
				t.Errorf("run with -update if this is right (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLeaks_AreFound(t *testing.T) {
	t.Parallel()
	const planted = "Bearer canary-token"
	for name, test := range map[string]struct {
		w      world
		answer string
	}{
		"answer":    {world{}, planted},
		"body":      {world{messages: []events.Message{{Body: planted}}}, ""},
		"attribute": {world{messages: []events.Message{{Attributes: map[string]events.Attribute{"a": {StringValue: planted}}}}}, ""},
		"hop":       {world{hops: []events.Hop{{Reason: planted}}}, ""},
		"note":      {world{hops: []events.Hop{{Notes: []events.Note{{Value: planted}}}}}, ""},
	} {
		if got := test.w.leaks([]byte(test.answer)); len(got) != 1 {
			t.Errorf("%s: found %q, want the planted secret", name, got)
		}
	}
	if got := (&world{}).leaks([]byte("nothing")); len(got) != 0 {
		t.Errorf("found %q where there is nothing", got)
	}
}

// Every accepted request without a delivery id is a new event; the same delivery is always the same one.
func TestHandler_EventIDs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		headers map[string]string
		same    bool
	}{
		"with delivery id":    {map[string]string{"content-type": "application/json", "x-frobs-delivery": "d1"}, true},
		"without delivery id": {map[string]string{"content-type": "application/json"}, false},
	} {
		f := fixture{method: "POST", topic: "frobs", headers: test.headers, body: []byte("{}"), w: &world{}}
		f.direct(t, "sign: live")
		f.invoke(t)
		f.invoke(t)
		if len(f.w.messages) != 2 {
			t.Fatalf("%s: %d messages, want 2: a person may have asked for the redelivery", name, len(f.w.messages))
		}
		a, b := f.w.messages[0].Attributes[events.AttributeID], f.w.messages[1].Attributes[events.AttributeID]
		if (a == b) != test.same {
			t.Errorf("%s: the ids are %q and %q", name, a.StringValue, b.StringValue)
		}
	}
}

func FuzzHandle(f *testing.F) {
	headers := map[string]string{"content-type": "application/json", "x-github-delivery": "1", "x-github-event": "push"}
	for _, body := range []string{`{"repository":{"full_name":"a/b"}}`, "{", "\"\ufffe\""} {
		headers["x-hub-signature-256"] = webhook.GitHubSignature.Sign([]byte(body), secret)
		f.Add(invocation("POST", "github", headers, []byte(body), false))
		f.Add(invocation("POST", "github", headers, []byte(body), true))
	}
	f.Add([]byte(`{"requestContext":{"http":{"method":"POST"}},"pathParameters":{"topic":"frobs"},"headers":null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		w := &world{}
		answer, err := newHandler(w).Invoke(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		var r httpapi.Response
		if err := json.Unmarshal(answer, &r); err != nil || r.StatusCode < 200 || r.StatusCode > 503 {
			t.Fatalf("the answer is %s, %v", answer, err)
		}
		if (r.StatusCode == http.StatusAccepted) != (len(w.messages) == 1) {
			t.Fatalf("status %d with %d messages queued", r.StatusCode, len(w.messages))
		}
		for _, m := range w.messages {
			if err := m.Validate(events.MaxMessageSize); err != nil || len(m.Attributes) > 7 {
				t.Fatalf("the message has %d attributes, %v", len(m.Attributes), err)
			}
			if !jsontext.Value(m.Body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
				t.Fatalf("the body is no JSON: %q", m.Body)
			}
		}
	})
}
