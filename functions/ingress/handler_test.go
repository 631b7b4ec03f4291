package ingress_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/callboard/callboard/functions/ingress"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
	"github.com/callboard/callboard/pkg/webhook/body"
)

var update = flag.Bool("update", false, "rewrite what the fixtures expect")

func TestMain(m *testing.M) {
	// Every check has a database of its own; -rapid.checks asks for more of them.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // injected faults are no news
	os.Exit(m.Run())
}

// The secrets of the fixtures. None of them may be seen anywhere behind the ingress.
const (
	secret       = "canary-live-secret"
	secondSecret = "canary-second-live-secret"
	wrongSecret  = "canary-retired-secret"
	signingToken = "whsec_Y2FuYXJ5IHNpZ25pbmcgdG9rZW4gb2YgR2l0TGFi"
	retiredToken = "whsec_Y2FuYXJ5IHRva2VuIHRoYXQgaXMgcmV0aXJlZCEh"
)

// canaries finds secrets and credentials; fixtures write the latter with this word.
var canaries = regexp.MustCompile(`(?i)canary[\w-]*|whsec_\w*`)

// world is what a fixture's handler works with, and what becomes of it.
type world struct {
	queueDown, secretsDown, bucketDown bool

	messages []events.Message
	hops     []events.Hop
	payloads map[string][]byte // in the bucket
}

func (w *world) Put(_ context.Context, key string, data []byte) error {
	if w.bucketDown {
		return events.Errorf(events.CodeInvalid, "a code that says nothing about the webhook")
	}
	if w.payloads == nil {
		w.payloads = map[string][]byte{}
	}
	w.payloads[key] = data
	return nil
}

func (w *world) Get(_ context.Context, key string) ([]byte, error) { return w.payloads[key], nil }

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
	return map[string][]string{"hook": {secret, secondSecret, signingToken}}[name], nil
}

func (w *world) Observe(_ context.Context, h events.Hop) { w.hops = append(w.hops, h) }

func newHandler(w *world) *ingress.Handler {
	deliveryID, err := events.ParseSelector("header:x-frobs-delivery")
	if err != nil {
		panic(err)
	}
	described := webhook.Generic{DeliveryID: &deliveryID, Metadata: []string{"x-frobs-*"}, Promoted: []string{"x-frobs-type"}}
	topics := map[string]ingress.Topic{}
	for name, profile := range map[string]webhook.Profile{
		config.FromGitHub: webhook.GitHub{}, config.FromGitLab: webhook.GitLab{}, config.FromBitbucketCloud: webhook.BitbucketCloud{},
		config.FromBitbucketDataCenter: webhook.BitbucketDataCenter{}, config.FromAzureDevOps: webhook.AzureDevOps{},
		config.FromGerrit: webhook.Gerrit{}, config.FromGitea: webhook.Gitea{},
		config.FromHMAC:             webhook.HMAC{Generic: described, Signature: webhook.Signature{Header: "x-frobs-signature", Prefix: "v0=", Encoding: "base64"}},
		config.FromStandardWebhooks: webhook.StandardWebhooks{Generic: webhook.Generic{Metadata: []string{"x-frobs-*"}}},
		config.FromBasic:            webhook.Basic{Generic: described}, config.FromNone: webhook.None{Generic: described},
		config.FromToken: webhook.Token{Generic: described, Header: "authorization", Prefix: "Bearer "},
	} {
		topics[name] = ingress.Topic{From: name, Profile: profile, Secrets: []string{"hook"}}
	}
	topics["frobs"] = topics[config.FromHMAC]
	delete(topics, config.FromHMAC)
	topics["address"] = ingress.Topic{From: config.FromToken, Profile: webhook.Token{Generic: described}, Secrets: []string{"hook"}}
	topics["inside"] = ingress.Topic{
		From: config.FromBitbucketDataCenter, Profile: webhook.Unverified{Profile: webhook.BitbucketDataCenter{}},
		Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
	}
	return &ingress.Handler{Queue: w, Secrets: w, Observer: w, Topics: topics, Bucket: &events.Bucket{Name: "blobs", Store: w}}
}

// signer is a profile that can do what its sender does.
type signer interface {
	Sign(r *webhook.Request, secret string)
}

// fixture is a request and how it comes about.
type fixture struct {
	method, topic string
	headers       map[string]string
	body, plain   []byte // plain is what body was before it was compressed
	base64        bool
	token, source string
	clock         time.Duration // of the sender
	w             *world
}

// readFixture reads the files "request" (directives, an empty line, headers) and "body" of an archive. Directives:
//
//	POST github                 method and topic
//	base64                      the body comes base64-encoded
//	body: "a\xff"               the body as a Go string
//	fill: +1                    a JSON string of the largest size that fits, and so many bytes more
//	nest: 20000                 so many lists in one another
//	compress: gzip|deflate      compress the body
//	add: "x"                    put this behind the body, a Go string
//	headers: 60                 so many further headers
//	from: 192.0.2.1             the address of the sender
//	clock: -6m                  how wrong the sender's clock is; before sign
//	sign: live|second|wrong     do what the sender does with this secret, or these, as "wrong,live"; "token" and
//	                            "wrong-token" are signing tokens of GitLab
//	sign-payload: live          the same, over the document in a form
//	token: x                    the segment behind the topic
//	flip: 3                     change this byte of the body after signing
//	queue: down, secrets: down, bucket: down  the service is not there
func readFixture(t *testing.T, a *txtar.Archive) fixture {
	t.Helper()
	f := fixture{headers: make(map[string]string), w: &world{}}
	directives, headers, _ := strings.Cut(file(a, "request"), "\n\n")
	for line := range strings.Lines(headers) {
		name, value, _ := strings.Cut(line, ":")
		f.headers[strings.ToLower(name)] = strings.TrimSpace(value)
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
	case "nest":
		f.body = []byte(strings.Repeat("[", number()) + strings.Repeat("]", number()))
	case "compress":
		f.plain, f.body = f.body, compressed(t, value, f.body)
	case "add":
		text, err := strconv.Unquote(value)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		f.body = append(f.body, text...)
	case "headers":
		for i := range number() {
			f.headers[fmt.Sprintf("x-frobs-%02d", i)] = fmt.Sprintf("value %d", i)
		}
	case "from":
		f.source = value
	case "clock":
		clock, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		f.clock = clock
	case "token":
		f.token = value
	case "sign":
		f.sign(t, f.body, value)
	case "sign-payload":
		payload, err := body.Reader{Limit: events.MaxPayloadSize}.Read(webhook.Request{Headers: f.headers, Body: f.body})
		if err != nil {
			t.Fatal(err)
		}
		f.sign(t, payload, value)
	case "flip":
		f.body[number()] ^= 1
	case "queue":
		f.w.queueDown = true
	case "secrets":
		f.w.secretsDown = true
	case "bucket":
		f.w.bucketDown = true
	default:
		t.Fatalf("unknown directive %q", line)
	}
}

func (f *fixture) sign(t *testing.T, signed []byte, key string) {
	t.Helper()
	r := webhook.Request{Headers: f.headers, Body: signed, Time: time.Now().Add(f.clock)}
	var signatures []string
	for key := range strings.SplitSeq(key, ",") {
		key = map[string]string{"live": secret, "second": secondSecret, "wrong": wrongSecret, "token": signingToken, "wrong-token": retiredToken}[key]
		newHandler(f.w).Topics[f.topic].Profile.(signer).Sign(&r, key)
		signatures = append(signatures, f.headers["webhook-signature"])
	}
	if len(signatures) > 1 {
		f.headers["webhook-signature"] = strings.Join(signatures, " ")
	}
	if r.Token != "" {
		f.token = r.Token
	}
}

func compressed(t *testing.T, coding string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&b)
	if coding == "gzip" {
		w = gzip.NewWriter(&b)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func filled(n int) []byte { return []byte(`"` + strings.Repeat("x", n-2) + `"`) }

// largest finds out how large a body can be with the headers of f: what is left when the attributes, with the
// longest topic, are taken from what the path takes.
func largest(t *testing.T, f fixture) int {
	t.Helper()
	probe := fixture{method: f.method, topic: f.topic, headers: maps.Clone(f.headers), body: filled(10), w: &world{}}
	delete(probe.headers, "content-encoding")
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
	r := request{Method: f.method, Topic: f.topic, Token: f.token, Source: f.source, Headers: f.headers, Body: f.body, Base64: f.base64}
	payload := r.invocation()
	answer, err := newHandler(f.w).Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// request is what API Gateway takes.
type request struct {
	Method, Topic, Token, Source string
	Headers                      map[string]string
	Body                         []byte
	Base64                       bool
}

// invocation is an HTTP API request of payload format 2.0.
func invocation(method, topic string, headers map[string]string, body []byte, encode bool) []byte {
	return request{Method: method, Topic: topic, Headers: headers, Body: body, Base64: encode}.invocation()
}

func (r request) invocation() []byte {
	text := strings.ToValidUTF8(string(r.Body), "\ufffd")
	if r.Base64 {
		text = base64.StdEncoding.EncodeToString(r.Body)
	}
	path, route := "/events/http/"+r.Topic, "ANY /events/http/{topic}"
	parameters := map[string]string{"topic": r.Topic}
	if r.Token != "" {
		path, route, parameters["token"] = path+"/"+r.Token, route+"/{token}", r.Token
	}
	payload, err := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": "", "headers": r.Headers,
		"requestContext": map[string]any{"http": map[string]any{"method": r.Method, "path": path, "sourceIp": cmp.Or(r.Source, "192.0.2.1")}},
		"pathParameters": parameters, "body": text, "isBase64Encoded": r.Base64,
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
	{regexp.MustCompile(`\bmsg_[0-9a-z]{8,}\b`), "MESSAGE"},
	{regexp.MustCompile(`\bevents/[A-Z2-7]{26}\b`), "events/KEY"},
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
			fmt.Fprintf(&b, "\nunchanged, at most the limit: %v\n", m.Body == cmp.Or(string(f.plain), string(f.body)) && m.Size() <= events.MaxMessageSize)
		} else {
			fmt.Fprintf(&b, "\n%s\n", m.Body)
		}
		files = append(files, txtar.File{Name: "message", Data: []byte(b.String())}, txtar.File{Name: "topics", Data: []byte(f.w.topics(t, m))})
	}
	for _, data := range f.w.payloads {
		files = append(files, txtar.File{Name: "payload", Data: fmt.Appendf(nil, "in the bucket, unchanged: %v\n", string(data) == cmp.Or(string(f.plain), string(f.body)))})
	}
	for _, h := range f.w.hops {
		line := fmt.Sprintf("%s %s topic=%q event=%q reason=%q\n", h.Function, h.Outcome, h.Topic, h.Event, h.Reason)
		for _, n := range h.Notes {
			line += n.Kind + " " + n.Value + "\n"
		}
		files = append(files, txtar.File{Name: "hop", Data: []byte(line)})
	}
	for i := range files {
		for _, u := range unstable {
			files[i].Data = u.pattern.ReplaceAll(files[i].Data, []byte(u.by))
		}
	}
	return files
}

// topics returns the names of the SNS topics that the event in a message comes to, one a line, where somebody wants its
// sub-topic.
func (w *world) topics(t *testing.T, m events.Message) string {
	t.Helper()
	e, err := events.Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range w.payloads { // the message is a claim check
		e.Payload = data
	}
	from, more := e.Topic, `"secrets": ["hook"]`
	const typed = `, "subTopic": ["header:x-frobs-type"]`
	switch e.Topic {
	case "frobs":
		from, more = config.FromHMAC, more+`, "signature": {"header": "x-frobs-signature"}`+typed
	case config.FromToken, "address", config.FromBasic:
		from, more = cmp.Or(map[string]string{"address": config.FromToken}[from], from), more+typed
	case config.FromNone:
		more = `"verify": "none"` + typed
	case "inside":
		from = config.FromBitbucketDataCenter
	}
	names := ""
	for _, topic := range []string{e.Topic, sub(topologyOf(t, e.Topic, from, more).SubTopicRules(e.Topic), e)} {
		wanted := more
		if rest, ok := strings.CutPrefix(topic, e.Topic+"."); ok {
			wanted += fmt.Sprintf(`, "publish": [%q]`, rest)
		}
		if topic != "" {
			name, _ := topologyOf(t, e.Topic, from, wanted).SNSName(topic)
			names += name + "\n"
		}
	}
	return names
}

// sub returns the sub-topic that the first rule finds, with its root, or "".
func sub(rules []events.Selector, e events.Event) string {
	for _, rule := range rules {
		if found, ok := rule.Select(e.Metadata, e.Payload); ok && events.ValidTopic(e.Topic+"."+found) {
			return e.Topic + "." + found
		}
	}
	return ""
}

// topologyOf returns the topology of a configuration with one topic.
func topologyOf(t *testing.T, name, from, more string) *topology.Topology {
	t.Helper()
	conf, err := config.Parse(fmt.Appendf(nil, `{"topics": {%q: {"from": %q, %s}}}`, name, from, more))
	if err != nil {
		t.Fatal(err)
	}
	topo, err := topology.Build(conf)
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// leaks returns the secrets that are seen in an answer, in what is queued, or in what is logged.
func (w *world) leaks(answer []byte) []string {
	var b bytes.Buffer
	b.Write(answer)
	fmt.Fprintf(&b, "%+v %+v", w.messages, w.hops)
	for key, data := range w.payloads {
		fmt.Fprintf(&b, " %s %s", key, data)
	}
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
			if diff := gocmp.Diff(string(txtar.Format(a)), string(txtar.Format(got))); diff != "" {
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
		"payload":   {world{payloads: map[string][]byte{"events/A": []byte(planted)}}, ""},
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

// A body of a type that somebody's own parser reads becomes an event; what that makes of it has to be JSON.
func TestHandler_Parsers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"name: x": 202, "cut off": 400} {
		w := &world{}
		h := newHandler(w)
		h.Parsers = map[string]webhook.BodyParser{"application/yaml": func(_ map[string]string, data []byte, _ int) ([]byte, error) {
			name, value, ok := strings.Cut(string(data), ": ")
			if !ok {
				return []byte("{"), nil
			}
			return fmt.Appendf(nil, "{%q:%q}", name, value), nil
		}}
		answer, err := h.Invoke(t.Context(), invocation("POST", "none", map[string]string{"content-type": "application/yaml"}, []byte(text), true))
		if err != nil || !bytes.Contains(answer, fmt.Appendf(nil, `"statusCode":%d`, want)) {
			t.Errorf("%q is answered %s, %v; want %d", text, answer, err, want)
		}
		if want == 202 && (len(w.messages) != 1 || w.messages[0].Body != `{"name":"x"}`) {
			t.Errorf("%q became %+v", text, w.messages)
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
