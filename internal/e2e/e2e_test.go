package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

const (
	config   = "testdata/events-config.json"
	petstore = "/catalog/entities/by-name/component/default/petstore"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// push is a webhook as the sample repository server made it.
type push struct {
	Event   string         `json:"event"`
	Payload jsontext.Value `json:"payload"`
}

// change is what a push does to the sample repository; a nil file is removed.
type change struct {
	Repo    string             `json:"Repo,omitempty"`
	Files   map[string]*string `json:"Files"`
	Message string             `json:"Message,omitempty"`
	Force   bool               `json:"Force,omitempty"`
	Base    string             `json:"Base,omitempty"`
}

// commit pushes to the sample repository and returns the webhook, which is not sent.
func (p *Process) commit(tb testing.TB, c change) push {
	tb.Helper()
	var made push
	p.local(tb, http.MethodPost, "/sample/commit", c, &made)
	return made
}

// commitOn is commit for a process that may be killed meanwhile.
func commitOn(ctx context.Context, p *Process, token string, c change) (made push, err error) {
	data, err := json.Marshal(c)
	if err != nil {
		return push{}, err
	}
	response, answer, err := p.try(ctx, http.MethodPost, "/_local/sample/commit", map[string]string{"Authorization": "Bearer " + token}, data)
	if err != nil {
		return push{}, err
	}
	if response.StatusCode != http.StatusOK {
		return push{}, fmt.Errorf("%s %s", response.Status, answer)
	}
	err = json.Unmarshal(answer, &made)
	return made, err
}

// gitHub returns the headers of a signed webhook.
func (p *Process) gitHub(tb testing.TB, event, delivery string, body []byte) map[string]string {
	tb.Helper()
	return map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": delivery,
		"X-Hub-Signature-256": webhook.GitHubSignature.Sign(body, p.Secret(tb, "github-webhook")),
	}
}

// deliver sends a webhook of GitHub and expects it to be accepted.
func (p *Process) deliver(tb testing.TB, w push) (id string) {
	tb.Helper()
	response, body := p.Do(tb, http.MethodPost, "/events/http/github", p.gitHub(tb, w.Event, uuid.NewString(), w.Payload), w.Payload)
	if response.StatusCode != http.StatusAccepted {
		tb.Fatalf("the webhook was answered %s %s", response.Status, body)
	}
	return response.Header.Get("X-Events-Id")
}

type entity struct {
	Metadata struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"metadata"`
}

type inbox struct {
	TotalCount    int            `json:"totalCount"`
	Notifications []notification `json:"notifications"`
}

type notification struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Created time.Time `json:"created"`
	Payload struct {
		Title string `json:"title"`
		Link  string `json:"link"`
	} `json:"payload"`
}

func (p *Process) inbox(tb testing.TB, token string) inbox {
	tb.Helper()
	var in inbox
	if status := p.Get(tb, token, "/notifications", &in); status != http.StatusOK {
		tb.Fatalf("GET /notifications: status %d", status)
	}
	return in
}

// all returns all notifications of an inbox.
func (p *Process) all(tb testing.TB, token string) []notification {
	tb.Helper()
	const limit = 500
	var list []notification
	for offset := 0; ; offset += limit {
		var in inbox
		if status := p.Get(tb, token, fmt.Sprintf("/notifications?limit=%d&offset=%d", limit, offset), &in); status != http.StatusOK {
			tb.Fatalf("GET /notifications: status %d", status)
		}
		if list = append(list, in.Notifications...); len(in.Notifications) < limit {
			return list
		}
	}
}

// titles returns how often each title is in an inbox.
func (p *Process) titles(tb testing.TB, token string) map[string]int {
	tb.Helper()
	found := map[string]int{}
	for _, n := range p.all(tb, token) {
		found[n.Payload.Title]++
	}
	return found
}

func component(name, description string) *string {
	s := fmt.Sprintf(`apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: %s, description: %s}
spec: {type: service, lifecycle: production, owner: user:guest}
`, name, description)
	return &s
}

// components returns the descriptions of all components of the catalog by name.
func (p *Process) components(tb testing.TB) map[string]string {
	tb.Helper()
	var list []entity
	if status := p.Get(tb, "guest-token", "/catalog/entities?filter=kind=component", &list); status != http.StatusOK {
		tb.Fatalf("GET /catalog/entities: status %d", status)
	}
	found := map[string]string{}
	for _, e := range list {
		found[e.Metadata.Name] = e.Metadata.Description
	}
	return found
}

// notKnown is what the program says of an event that it has never seen.
var notKnown = regexp.MustCompile(`event github:\S+ is not (known|in the logs)`)

var printedRequest = regexp.MustCompile(`curl -H "Authorization: Bearer \$\(cat ([^)]+)\)" (http://[^/]+)(/\S+)`)

// What `make run` prints leads from the first webhook to the entity, the notification and the trace.
func TestFirstWebhook(t *testing.T) {
	t.Parallel()
	p := Start(t, shippedConfig, "")
	id := p.Send(t, "github", "push")
	p.Settle(t)
	requests := printedRequest.FindAllStringSubmatch(p.Output, -1)
	if len(requests) != 2 {
		t.Fatalf("two requests should be printed:\n%s", p.Output)
	}
	for i, want := range []string{`"name":"petstore"`, `"title":"3 new in the catalog"`} {
		token, err := os.ReadFile(requests[i][1])
		if err != nil {
			t.Fatal(err)
		}
		response, body := p.Do(t, http.MethodGet, requests[i][3], map[string]string{"Authorization": "Bearer " + strings.TrimSpace(string(token))}, nil)
		if response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %s %s, want it to contain %s", requests[i][3], response.Status, body, want)
		}
	}
	out, _, code := p.Trace(t, id)
	for _, want := range []string{
		"ingress", "sqs-publisher", "router", "catalog-sync", "github.push", "published catalog.changed:", "notify",
		"+component:default/petstore", "user:default/guest",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the trace does not mention %q:\n%s", want, out)
		}
	}
	if code != 0 {
		t.Errorf("trace: exit code %d", code)
	}
	if _, stderr, code := p.Trace(t, "github:unknown"); code != 1 || !notKnown.MatchString(stderr) {
		t.Errorf("trace of an unknown event: exit code %d, want 1", code)
	}
	if code := p.Interrupt(t); code != 0 {
		t.Errorf("Ctrl-C: exit code %d, want 0", code)
	}
	if out, _, code := p.Trace(t, id); code != 0 || !strings.Contains(out, "+component:default/petstore") {
		t.Errorf("trace without an engine: exit code %d\n%s", code, out)
	}
}

// The trace of the sender leads through everything that its webhook caused.
func TestTraceParent(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	const trace = "0af7651916cd43dd8448eb211c80319c"
	w := p.commit(t, change{Files: map[string]*string{"catalog-info.yaml": component("petstore", "one")}})
	headers := p.gitHub(t, w.Event, uuid.NewString(), w.Payload)
	headers["Traceparent"] = "00-" + trace + "-b7ad6b7169203331-01"
	response, _ := p.Do(t, http.MethodPost, "/events/http/github", headers, w.Payload)
	p.Settle(t)
	out, _, _ := p.Trace(t, "--json", response.Header.Get("X-Events-Id"))
	var hops []events.Hop
	if err := json.Unmarshal([]byte(out), &hops); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	functions := map[string]bool{}
	for _, h := range hops {
		functions[h.Function] = true
		if !strings.Contains(h.TraceParent, trace) {
			t.Errorf("the hop of %s has the trace %q, want that of the sender", h.Function, h.TraceParent)
		}
	}
	if len(functions) != 5 {
		t.Errorf("the functions are %v, want the five of the path", functions)
	}
}

func TestSameWebhookTwice(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	w := p.commit(t, change{Files: map[string]*string{"catalog-info.yaml": component("petstore", "one")}})
	headers := p.gitHub(t, "push", uuid.NewString(), w.Payload)
	var ids []string
	for range 2 {
		response, _ := p.Do(t, http.MethodPost, "/api/events/http/github", headers, w.Payload)
		ids = append(ids, response.Header.Get("X-Events-Id"))
		p.Settle(t)
	}
	if ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("the event ids are %q, want the same twice", ids)
	}
	if diff := cmp.Diff(map[string]string{"petstore": "one"}, p.components(t)); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	if got := p.inbox(t, "guest-token"); got.TotalCount != 1 {
		t.Errorf("%d notifications, want 1", got.TotalCount)
	}
}

func TestChangedByte(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	w := p.commit(t, change{Files: map[string]*string{"catalog-info.yaml": component("petstore", "one")}})
	delivery := uuid.NewString()
	headers := p.gitHub(t, "push", delivery, w.Payload)
	changed := append([]byte(nil), w.Payload...)
	changed[len(changed)/2] ^= 1
	response, body := p.Do(t, http.MethodPost, "/events/http/github", headers, changed)
	if response.StatusCode != http.StatusForbidden || !strings.Contains(string(body), `"name":"NotAllowedError"`) {
		t.Errorf("the answer is %s %s, want 403", response.Status, body)
	}
	p.Settle(t)
	if _, stderr, code := p.Trace(t, events.NewID("github", delivery)); code != 1 || !notKnown.MatchString(stderr) {
		t.Errorf("something was queued: exit code %d, %s", code, stderr)
	}
	if got := p.components(t); len(got) != 0 {
		t.Errorf("the catalog has %v, want nothing", got)
	}
}

// Whatever happens to the webhooks, the catalog is what the branch is.
func TestCatalogFollowsBranch(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	check := func(what string, want map[string]string) {
		t.Helper()
		p.Settle(t)
		if diff := cmp.Diff(want, p.components(t)); diff != "" {
			t.Errorf("%s: components (-want +got):\n%s", what, diff)
		}
	}
	files := func(f map[string]*string) change { return change{Files: f} }

	first := p.commit(t, files(map[string]*string{"catalog-info.yaml": component("petstore", "one"), "b/catalog-info.yaml": component("b", "one")}))
	p.deliver(t, first)
	check("first push", map[string]string{"petstore": "one", "b": "one"})

	older := p.commit(t, files(map[string]*string{"catalog-info.yaml": component("petstore", "two"), "c/catalog-info.yaml": component("c", "two")}))
	newer := p.commit(t, files(map[string]*string{"catalog-info.yaml": component("petstore", "three")}))
	p.deliver(t, newer)
	check("the newer of two pushes", map[string]string{"petstore": "three", "b": "one", "c": "two"})
	p.deliver(t, older)
	check("the older push after the newer one", map[string]string{"petstore": "three", "b": "one", "c": "two"})

	p.commit(t, files(map[string]*string{"b/catalog-info.yaml": nil, "d/catalog-info.yaml": component("d", "lost")})) // never delivered
	p.deliver(t, p.commit(t, files(map[string]*string{"README.md": component("x", "y")})))
	check("a push after a lost one", map[string]string{"petstore": "three", "c": "two", "d": "lost"})

	var payload struct {
		After string `json:"after"`
	}
	if err := json.Unmarshal(first.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	p.deliver(t, p.commit(t, change{Base: payload.After, Force: true, Files: map[string]*string{"e/catalog-info.yaml": component("e", "forced")}}))
	check("a forced push", map[string]string{"petstore": "one", "b": "one", "e": "forced"})

	p.deliver(t, p.commit(t, files(map[string]*string{"catalog-info.yaml": nil})))
	check("a push that removes the file", map[string]string{"b": "one", "e": "forced"})

	broken := "kind: [\n"
	p.deliver(t, p.commit(t, files(map[string]*string{"b/catalog-info.yaml": &broken})))
	check("a broken file", map[string]string{"b": "one", "e": "forced"})
	if got := p.inbox(t, "guest-token"); !strings.HasPrefix(got.Notifications[0].Payload.Title, "Broken: https://github.com/acme/petstore/blob/main/b/") {
		t.Errorf("the newest notification is %+v, want one about the broken file", got.Notifications[0])
	}
}

// The built-in samples work in any order.
func TestSamples(t *testing.T) {
	t.Parallel()
	p := Start(t, shippedConfig, "")
	status := func() int {
		p.Settle(t)
		return p.Get(t, shippedReader, petstore, &entity{})
	}
	for _, step := range []struct {
		sample string
		want   int
	}{
		{"ping", 404},
		{"push-remove", 404},
		{"push-unrelated", 404},
		{"push-change", 200},
		{"push-unrelated", 200},
		{"push", 200},
		{"push-remove", 404},
		{"push", 200},
		{"repository-deleted", 404},
		{"push", 200},
	} {
		p.Send(t, "github", step.sample)
		if got := status(); got != step.want {
			t.Errorf("after %s the status of the entity is %d, want %d", step.sample, got, step.want)
		}
	}
}

// frob returns the headers of a signed webhook of the generic topic.
func (p *Process) frob(tb testing.TB, delivery string, body []byte) map[string]string {
	tb.Helper()
	s := webhook.Signature{Header: "x-frobs-signature", Prefix: "sha256=", Encoding: "hex"}
	return map[string]string{
		"Content-Type": "application/json", "X-Frobs-Delivery": delivery,
		s.Header: s.Sign(body, p.Secret(tb, "frobs-webhook")),
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	body := []byte(`{"type":"none"}`)
	with := func(name, value string) map[string]string {
		h := p.frob(t, "1", body)
		h[name] = value
		return h
	}
	for _, test := range []struct {
		name, method, path string
		headers            map[string]string
		want               int
	}{
		{"accepted", "POST", "/events/http/frobs", p.frob(t, "1", body), 202},
		{"unknown topic", "POST", "/events/http/other", p.frob(t, "1", body), 404},
		{"unknown path", "POST", "/events/other", nil, 404},
		{"other method", "GET", "/events/http/frobs", nil, 405},
		{"no signature", "POST", "/events/http/frobs", map[string]string{"Content-Type": "application/json"}, 403},
		{"media type", "POST", "/events/http/frobs", with("Content-Type", "text/csv"), 415},
		{"health", "GET", "/health", nil, 200},
		{"version", "GET", "/version", nil, 200},
		{"local route without token", "GET", "/_local/trace?id=x", nil, 403},
		{"no token", "GET", petstore, nil, 401},
		{"unknown token", "GET", petstore, map[string]string{"Authorization": "Bearer nobody"}, 401},
		{"missing right", "GET", petstore, map[string]string{"Authorization": "Bearer " + p.Secret(t, "service-token")}, 403},
		{"unknown entity", "GET", petstore, map[string]string{"Authorization": "Bearer " + p.Secret(t, "guest-token")}, 404},
	} {
		if got, answer := p.Do(t, test.method, test.path, test.headers, body); got.StatusCode != test.want {
			t.Errorf("%s: %s %s, want %d", test.name, got.Status, answer, test.want)
		}
	}
	many := p.frob(t, "many", body)
	for i := range 60 {
		many[fmt.Sprint("X-Frobs-", i)] = "value"
	}
	if got, answer := p.Do(t, http.MethodPost, "/events/http/frobs", many, body); got.StatusCode != http.StatusAccepted {
		t.Errorf("many headers: %s %s", got.Status, answer)
	}
}

// The inbox by the shapes of Backstage: list, status, marks, and what a service sends.
func TestNotifications(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	send := []byte(`{"recipients":{"type":"entity","entityRef":"user:default/guest"},"payload":{"title":"Hello","severity":"high"}}`)
	response, answer := p.Do(t, http.MethodPost, "/api/notifications", map[string]string{
		"Content-Type": "application/json", "Authorization": "Bearer " + p.Secret(t, "service-token"),
	}, send)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("send: %s %s", response.Status, answer)
	}
	in := p.inbox(t, "guest-token")
	if in.TotalCount != 1 || in.Notifications[0].Payload.Title != "Hello" {
		t.Fatalf("the inbox is %+v, want the notification", in)
	}
	var status struct {
		Unread int `json:"unread"`
		Read   int `json:"read"`
	}
	p.Get(t, "guest-token", "/notifications/status", &status)
	if status.Unread != 1 || status.Read != 0 {
		t.Errorf("the status is %+v, want one unread", status)
	}
	mark := fmt.Appendf(nil, `{"ids":[%q],"read":true}`, in.Notifications[0].ID)
	response, answer = p.Do(t, http.MethodPost, "/notifications/update", map[string]string{
		"Content-Type": "application/json", "Authorization": "Bearer " + p.Secret(t, "guest-token"),
	}, mark)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("update: %s %s", response.Status, answer)
	}
	p.Get(t, "guest-token", "/notifications/status", &status)
	if status.Unread != 0 || status.Read != 1 {
		t.Errorf("the status is %+v, want one read", status)
	}
	if other := p.inbox(t, "counter-token"); other.TotalCount != 0 {
		t.Errorf("somebody else sees %+v", other)
	}
}

// What must not be seen is not there, see [Process.scan]; this puts something into each place where that looks.
func TestPlantedCanary(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	p.expect(p.State, "the name of the state folder", "the output")
	delivery := p.plant("a delivery id", "the log")
	title := p.plant("a title", "an answer", tablePlace)
	dead := p.plant("the payload of a dead letter", queuePlace("export-backstage-github"), queuePlace("catalog-sync-dlq"))
	large := p.plant("a large payload", bucketPlace)

	body := fmt.Appendf(nil, `{"type":"add","n":%q}`, title)
	p.Do(t, http.MethodPost, "/events/http/frobs", p.frob(t, "1", append(body, ' ')), body)
	send := func(topic string, headers map[string]string, body []byte) {
		t.Helper()
		if response, answer := p.Do(t, http.MethodPost, "/events/http/"+topic, headers, body); response.StatusCode != http.StatusAccepted {
			t.Fatalf("%s %s", response.Status, answer)
		}
	}
	send("frobs", p.frob(t, delivery, body), body)
	fill := strings.Repeat("x", events.MaxSQSMessageSize)
	body = fmt.Appendf(nil, `{"type":"size","text":%q,"n":%q}`, fill, large)
	send("frobs", p.frob(t, "large", body), body)
	body = fmt.Appendf(nil, `{"ref":"refs/heads/main","repository":{"full_name":"acme/petstore"},"commits":%q}`, dead)
	send("github", p.gitHub(t, "push", uuid.NewString(), body), body)
	p.Settle(t)
	if log := p.Log(t); !regexp.MustCompile(`outcome"?[:=]"?refused`).MatchString(log) {
		t.Errorf("the log does not show the refused webhook:\n%s", log)
	}
	if got := p.titles(t, "counter-token"); got[title] != 1 {
		t.Errorf("the titles are %v, want the planted one", got)
	}
}

// A scan says what it finds, what it does not find, and where there is nothing to look at.
func TestScan(t *testing.T) {
	t.Parallel()
	plants := []planted{{"a title", "the table"}, {"a title", "the queue "}}
	for _, test := range []struct {
		found []leak
		want  string
	}{
		{[]leak{{"a title", "the table"}, {"a title", "the queue x"}, {"a title", "the log"}}, ""},
		{[]leak{{"a title", "the table"}}, "does not find a title, which was planted, in the queue"},
		{[]leak{{"a title", "the table"}, {"a title", "the queue x"}, {"the secret s", "the log"}}, "nobody may see the secret s, which is in the log"},
	} {
		got := strings.Join(suspect(test.found, plants), "\n")
		if !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%v: %q, want %q", test.found, got, test.want)
		}
	}
	places := map[string][]byte{"the log": []byte("a line"), "the output": {}}
	if got := empty(places, []string{"the log", "the output", "the table"}); len(got) != 2 {
		t.Errorf("empty places are %q, want the output and the table", got)
	}
}

func TestLeaks(t *testing.T) {
	t.Parallel()
	const secret = "Zm9vYmFyYmF6cXV1eA-canary"
	basic := func(before string) string {
		return base64.StdEncoding.EncodeToString([]byte(before + secret + "\n"))
	}
	for text, want := range map[string]int{
		`{"error":"no such token ` + secret + `"}`: 1,
		"Authorization: Basic " + basic(":"):       1,
		"Authorization: Basic " + basic("u:"):      1,
		"Authorization: Basic " + basic("us:"):     1,
		"Authorization: Basic " + basic("x")[:9]:   0,
		"nothing":                                  0,
	} {
		if got := leaks(map[string][]byte{"text": []byte(text)}, map[string]string{secret: "secret"}); len(got) != want {
			t.Errorf("%q: %v, want %d", text, got, want)
		}
	}
}
