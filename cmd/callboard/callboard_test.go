package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/functions/ingress"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// call runs the program and returns what it printed and its exit code.
func call(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return out.String(), err.String(), code
}

func TestRun_Failures(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty, two := filepath.Join(folder, "empty"), filepath.Join(folder, "two")
	for path, text := range map[string]string{empty: "\n", two: "one\ntwo\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	taken := httptest.NewServer(nil)
	defer taken.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no\x1b[2J", http.StatusForbidden)
	}))
	defer refusing.Close()
	const conf = "../../events-config.json"
	state := filepath.Join(folder, "state")
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"", exitUsage, `expected one of "dev"`},
		{"nonsense", exitUsage, "nonsense"},
		{"dev --log loud", exitUsage, "--log"},
		{"dev --config " + folder + "/none.json", exitFailure, "none.json does not exist"},
		{"dev --config " + file, exitFailure, "$.topics"},
		{"dev --config " + conf + " --state " + file, exitFailure, "the state folder " + file + " cannot be created"},
		{"dev --config " + conf + " --state " + state + " --addr " + taken.Listener.Addr().String(), exitFailure, "choose another address with --addr"},
		{"dev --config " + conf + " --state " + state + " --addr nonsense", exitFailure, "cannot listen on nonsense"},
		{"send subversion push", exitUsage, `"github","gitlab","hmac"`},
		{"send gitlab push --config " + conf + " --state " + state, exitFailure, "no topic from gitlab"},
		{"send github", exitUsage, "<event>"},
		{"send github push --config " + conf + " --state " + state, exitFailure, "no callboard runs on the state folder"},
		{"send github nope --config " + conf + " --state " + state + " --url " + refusing.URL, exitFailure, "push-unrelated"},
		{"send github push --topic frobs --config " + conf + " --state " + state, exitFailure, `no topic "frobs" from github`},
		{"send hmac add --wait --config " + conf + " --state " + state + " --url " + refusing.URL, exitFailure, "no callboard runs"},
		{"send hmac add --secret s --config " + conf + " --state " + state + " --url " + refusing.URL, exitFailure, "refused with 403 Forbidden: no\uFFFD[2J\n"},
		{"send hmac add --secret s --config " + conf + " --url http://127.0.0.1:1", exitFailure, "cannot be reached"},
		{"send hmac add --secret s --config " + conf + " --url ://", exitFailure, "the URL is not valid"},
		{"trace x --state " + folder, exitFailure, "there is no state in the folder"},
		{"trace github:x --state " + state, exitFailure, "event github:x is not known"},
		{"trace x --url http://127.0.0.1:1 --state " + state, exitFailure, "no callboard runs"},
		{"secrets", exitUsage, "list"},
		{"secrets show", exitUsage, "<name>"},
		{"secrets list --env dev", exitUsage, "--env is for --aws"},
		{"secrets list --aws --state " + state, exitUsage, "--state is for an engine"},
		{"secrets show frobs-webhook --config " + folder + "/none.json", exitFailure, "none.json does not exist"},
		{"secrets show nope --config " + conf + " --state " + state, exitFailure, `no secret "nope" that a function needs; its secrets are frobs-webhook,`},
		{"secrets rotate frobs-webhook --value-file " + folder + "/none --config " + conf + " --state " + state, exitFailure, "the value cannot be read"},
		{"secrets rotate frobs-webhook --value-file " + empty + " --config " + conf + " --state " + state, exitFailure, "there are 0 values"},
		{"secrets rotate frobs-webhook --value-file " + two + " --config " + conf + " --state " + state, exitFailure, "there are 2 values"},
		{"secrets retire frobs-webhook --config " + conf + " --state " + folder + "/unused", exitFailure, "the secret frobs-webhook has no value"},
		{"validate " + folder + "/none.json", exitFailure, "none.json does not exist"},
	} {
		stdout, stderr, code := call(t, strings.Fields(test.args)...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("callboard %s: exit code %d, want %d\n%s%s\nwant it to say %q", test.args, code, test.code, stdout, stderr, test.want)
		}
	}
}

func TestValidate_Golden(t *testing.T) {
	t.Parallel()
	out, stderr, code := call(t, "validate", "../../events-config.json")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	golden(t, "validate.golden", out)
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 5_000_000, time.Local)

// The lines that a person reads. Nothing that came in from outside can colour the terminal, move its cursor or
// begin a line.
func TestLog_Golden(t *testing.T) {
	t.Parallel()
	hops := []events.Hop{
		{
			Time: noon, Event: "github:1", Topic: "github.push", Function: "catalog-sync", Outcome: events.OutcomeOK, Milliseconds: 12.34,
			Notes: []events.Note{{Kind: events.NoteEntity, Value: "+component:default/a"}, {Kind: events.NotePublished, Value: "catalog.changed:2"}},
		},
		{Time: noon, Function: "ingress", Outcome: events.OutcomeRefused, Reason: "the signature does not fit"},
		{Time: noon, Event: "frobs:1", Topic: "frobs", Function: "router", Outcome: events.OutcomePark, Attempt: 5, Reason: "panic: no\ngoroutine 1\nmain.go"},
		{
			Time: noon, Event: "frobs:\x1b[31mred\r", Topic: "frobs.\u202Eno", Function: "notify", Outcome: events.OutcomeRetry, Attempt: 2,
			Reason: "\x07\u009b2J\xff " + strings.Repeat("long ", 200), Notes: []events.Note{{Kind: events.NoteEntity, Value: "+a\n12:00:00.000 forged"}},
		},
	}
	var plain, coloured, trace bytes.Buffer
	observer, _ := newLog(&plain, "pretty")
	for _, h := range hops {
		observer.Observe(t.Context(), h)
		(&prettyObserver{w: &coloured, colours: true}).Observe(t.Context(), h)
	}
	printTrace(&trace, "frobs:\x1b[31m", hops)
	golden(t, "log.golden", plain.String())
	golden(t, "trace.golden", trace.String())
	if !strings.Contains(coloured.String(), "\x1b[31mpark    \x1b[0m") {
		t.Errorf("on a terminal what is parked is not red:\n%q", coloured.String())
	}
}

func TestLog_JSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	observer, logger := newLog(&b, "json")
	observer.Observe(t.Context(), events.Hop{Event: "a\x1b:1", Function: "f", Outcome: events.OutcomeOK})
	logger.Info("two")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"event":"a\u001b:1"`) || !strings.Contains(lines[1], `"msg":"two"`) {
		t.Errorf("the log is\n%s", b.String())
	}
}

func TestGenericHook(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		topic   config.Topic
		body    string
		headers map[string]string
	}{
		{"nothing is configured", config.Topic{}, `{"message":"sent by callboard send"}`, map[string]string{}},
		{
			"type in the body",
			config.Topic{SubTopic: []string{"body:type", "header:x-type"}, DeliveryID: "header:x-delivery"},
			`{"message":"sent by callboard send","type":"add"}`,
			map[string]string{"x-delivery": "7"},
		},
		{
			"all in the body",
			config.Topic{SubTopic: []string{"body:event.type"}, DeliveryID: "body:event.id"},
			`{"event":{"id":"7","type":"add"},"message":"sent by callboard send"}`,
			map[string]string{},
		},
		{
			"all in headers",
			config.Topic{SubTopic: []string{"metadata:x-type"}, DeliveryID: "metadata:x-id"},
			`{"message":"sent by callboard send"}`,
			map[string]string{"x-type": "add", "x-id": "7"},
		},
	} {
		got, err := genericHook(test.topic, "add", "7")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(hook{Event: "add", Payload: []byte(test.body), Headers: test.headers}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// A sample has its type where a template or the path into an array looks for it; where nothing says so there is none.
func TestGenericHook_Derived(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rules           []string
		delivery, event string
		body            string // "" if there is no sample
		headers         map[string]string
	}{
		{[]string{"${header:X-Event}"}, "", "add", `{"message":"sent by callboard send"}`, map[string]string{"x-event": "add"}},
		{[]string{"frob-${body:type}"}, "", "frob-add", `{"message":"sent by callboard send","type":"add"}`, map[string]string{}},
		{[]string{"frob-${body:type}"}, "", "add", "", nil},
		{[]string{"frob-${body:type}", "body:kind"}, "", "add", `{"kind":"add","message":"sent by callboard send"}`, map[string]string{}},
		{
			[]string{"${header:x-event}.${body:changes.1.action}"},
			"header:x-id", "pull.opened",
			`{"changes":[null,{"action":"opened"}],"message":"sent by callboard send"}`,
			map[string]string{"x-event": "pull", "x-id": "7"},
		},
		{[]string{"${header:x-event}.${body:action}"}, "", "pull", "", nil},
		{[]string{"${header:x-event}${body:action}"}, "", "pull", "", nil},
		{[]string{"body:changes[0].type"}, "body:changes[1].id", "add", `{"changes":[{"type":"add"},{"id":"7"}],"message":"sent by callboard send"}`, map[string]string{}},
		{[]string{"body:0.type"}, "", "add", `[{"type":"add"}]`, map[string]string{}},
		{
			[]string{`body:labels["app.kubernetes.io/name"]["0"]`},
			"${body:id}-${header:x-try}", "add",
			`{"id":"7","labels":{"app.kubernetes.io/name":{"0":"add"}},"message":"sent by callboard send"}`,
			map[string]string{"x-try": "7"},
		},
		{[]string{"body:999999"}, "", "add", `{"999999":"add","message":"sent by callboard send"}`, map[string]string{}},
		{[]string{"body:id.type"}, "body:id", "add", "", nil},
	} {
		got, err := genericHook(config.Topic{SubTopic: test.rules, DeliveryID: test.delivery}, test.event, "7")
		if test.body == "" {
			if events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(err.Error(), "--file") {
				t.Errorf("%q as %q: %v, want an error that names --file", test.rules, test.event, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q as %q: %v", test.rules, test.event, err)
			continue
		}
		if diff := cmp.Diff(hook{Event: test.event, Payload: []byte(test.body), Headers: test.headers}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.rules, diff)
		}
	}
}

// A message from a file gets the attributes in which its type is looked for.
func TestAttributes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule, event string
		want        map[string]string
	}{
		{"metadata:x-state", "failed", map[string]string{"x-state": "failed"}},
		{"header:x-state", "failed", map[string]string{"x-state": "failed"}},
		{"build.${metadata:X-State}", "build.failed", map[string]string{"x-state": "failed"}},
		{"${metadata:x-kind}.${body:state}", "build.failed", map[string]string{"x-kind": "build"}},
		{"build.${metadata:x-state}", "failed", map[string]string{}},
		{"body:state", "failed", map[string]string{}},
	} {
		if diff := cmp.Diff(test.want, attributes(test.rule, test.event)); diff != "" {
			t.Errorf("%s as %s (-want +got):\n%s", test.rule, test.event, diff)
		}
	}
}

// send signs what a file holds, byte for byte, as the provider would, and prints the id of the event.
func TestSend_Flags(t *testing.T) {
	t.Parallel()
	const payload = "{ \"a\":\t1 }\n"
	file := filepath.Join(t.TempDir(), "payload.json")
	if err := os.WriteFile(file, []byte(payload), 0o600); err != nil {
		t.Fatal(err)
	}
	var got *http.Request
	var body bytes.Buffer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body.Reset()
		_, _ = body.ReadFrom(r.Body)
		w.Header().Set("X-Events-Id", "the:id")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"accepted"}`)
	}))
	defer server.Close()
	frobs := webhook.Signature{Header: "x-frobs-signature", Prefix: "sha256=", Encoding: "hex"}
	for _, test := range []struct {
		args    []string
		path    string
		headers map[string]string
	}{
		{[]string{"github", "issues", "--delivery", "7", "--url", server.URL + "/"}, "/events/http/github", map[string]string{
			"X-GitHub-Event": "issues", "X-GitHub-Delivery": "7", "Content-Type": "application/json",
			"X-Hub-Signature-256": webhook.GitHubSignature.Sign([]byte(payload), "s3cret"),
		}},
		{[]string{"hmac", "add", "--topic", "frobs", "--url", server.URL + "/base"}, "/base/events/http/frobs", map[string]string{
			"X-Frobs-Signature": frobs.Sign([]byte(payload), "s3cret"), "X-GitHub-Event": "",
		}},
	} {
		args := append([]string{"send", "--config", "../../events-config.json", "--state", t.TempDir(), "--secret", "s3cret", "--file", file}, test.args...)
		stdout, stderr, code := call(t, args...)
		if code != 0 || stdout != "the:id\n" {
			t.Fatalf("%v: exit code %d\n%s%s", test.args, code, stdout, stderr)
		}
		if got.Method != http.MethodPost || got.URL.Path != test.path || body.String() != payload {
			t.Errorf("%v: the request is %s %s with %q", test.args, got.Method, got.URL, body.String())
		}
		for name, want := range test.headers {
			if value := got.Header.Get(name); value != want {
				t.Errorf("%v: the header %s is %q, want %q", test.args, name, value, want)
			}
		}
	}
}

// What send sends is taken by the ingress of the same topic, for every profile and every sample; and nothing of the secret
// is printed.
func TestSend_IsAccepted(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	const secret = "canary-of-the-sender"
	file := filepath.Join(folder, "events-config.json")
	if err := os.WriteFile(file, []byte(`{"topics": {
		"github": {"from": "github", "secrets": ["a"]}, "gitlab": {"from": "gitlab", "secrets": ["a"]},
		"bitbucket": {"from": "bitbucket-cloud", "secrets": ["a"]}, "bitbucketServer": {"from": "bitbucket-data-center", "secrets": ["a"]},
		"azure": {"from": "azure-devops", "secrets": ["a"]}, "gerrit": {"from": "gerrit", "secrets": ["a"]}, "gitea": {"from": "gitea", "secrets": ["a"]},
		"hmac": {"from": "hmac", "secrets": ["a"], "signature": {"header": "x-signature"}, "deliveryId": "header:x-id", "subTopic": ["header:x-type"]},
		"standard": {"from": "standard-webhooks", "secrets": ["a"]}, "basic": {"from": "basic", "secrets": ["a"], "deliveryId": "body:id"},
		"made": {"from": "basic", "secrets": ["a"], "subTopic": ["frob.${body:changes.0.type}"]},
		"token": {"from": "token", "secrets": ["a"]}, "none": {"from": "none", "verify": "none"}
	}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	topo, err := topology.Build(conf)
	if err != nil {
		t.Fatal(err)
	}
	topics := ingress.Topics(conf, topo)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		name, token, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/events/http/"), "/")
		hook := webhook.Request{Headers: events.Metadata{}, Body: body, Token: token, Time: time.Now()}
		for name := range r.Header {
			hook.Headers.Set(name, r.Header.Get(name))
		}
		switch err := topics[name].Profile.Verify(hook, []string{secret}); {
		case errors.Is(err, webhook.ErrTest):
			_, _ = io.WriteString(w, `{"status":"ignored"}`)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		d, err := topics[name].Profile.Describe(hook, body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		sub := ""
		for _, rule := range topo.SubTopicRules(name) {
			if found, ok := rule.Select(d.Metadata, body); ok {
				sub = "." + found
				break
			}
		}
		w.Header().Set("X-Events-Id", name+sub+" "+d.ID+" "+d.Host+" "+d.Repository)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"accepted"}`)
	}))
	defer server.Close()
	send := func(t *testing.T, args ...string) string {
		t.Helper()
		args = append([]string{"send", "--config", file, "--state", folder, "--secret", secret, "--delivery", "d1", "--url", server.URL}, args...)
		out, stderr, code := call(t, args...)
		if code != 0 || strings.Contains(out+stderr, secret) {
			t.Errorf("%v: exit code %d\n%s%s", args, code, out, stderr)
		}
		return strings.TrimSpace(out)
	}
	roots := map[string]string{"gitlab": "gitlab", "bitbucket-cloud": "bitbucket", "bitbucket-data-center": "bitbucketServer", "azure-devops": "azure", "gerrit": "gerrit", "gitea": "gitea"}
	for provider, samples := range providerSamples {
		for event := range samples {
			got := send(t, provider, event)
			if event == "diagnostics:ping" {
				if got != `{"status":"ignored"}` {
					t.Errorf("%s %s: %s", provider, event, got)
				}
				continue
			}
			topic, rest, _ := strings.Cut(got, " ")
			if topic != roots[provider]+"."+event {
				t.Errorf("%s %s arrives at %q", provider, event, topic)
			}
			if id, _, _ := strings.Cut(rest, " "); id != "d1" && provider != config.FromGerrit || id == "" {
				t.Errorf("%s %s has the delivery id %q", provider, event, id)
			}
			if !strings.Contains(rest, "petstore") && event != "project_create" {
				t.Errorf("%s %s is of no repository: %s", provider, event, rest)
			}
		}
	}
	for provider, want := range map[string]string{"hmac": "hmac.add d1", "standard-webhooks": "standard.add d1", "basic": "basic d1", "token": "token", "none": "none"} {
		if got := send(t, provider, "add"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", provider, got, want)
		}
	}
	if got := send(t, "basic", "frob.add", "--topic", "made"); !strings.HasPrefix(got, "made.frob.add") {
		t.Errorf("a template: %q", got)
	}
	payload := filepath.Join(folder, "payload.json")
	if err := os.WriteFile(payload, []byte(`{"object_kind":"pipeline"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := send(t, "gitlab", "pipeline", "--file", payload); !strings.HasPrefix(got, "gitlab.pipeline d1") {
		t.Errorf("a file arrives as %q", got)
	}
}

// The printed commands work as they are, whatever the folders are called.
func TestDev_Greet(t *testing.T) {
	t.Parallel()
	conf, err := config.Load("../../events-config.json")
	if err != nil {
		t.Fatal(err)
	}
	onlyHMAC := *conf
	onlyHMAC.Topics = map[string]config.Topic{"frobs": conf.Topics["frobs"]}
	onlyGitHub := *conf
	onlyGitHub.Topics = map[string]config.Topic{"github": conf.Topics["github"]}
	onlyGitea := *conf
	onlyGitea.Topics = map[string]config.Topic{"forge": {From: config.FromGitea, Secrets: []string{"a"}}}
	for _, test := range []struct {
		command devCommand
		conf    *config.Config
		want    []string
	}{
		{devCommand{Config: "events-config.json", State: ".callboard", Sample: "auto"}, conf, []string{
			" send --wait github push)\n", `$(cat .callboard/secrets/portal-token)" http://h:1/notifications`, " trace $id\n",
		}},
		{devCommand{Config: "my conf.json", State: "it's", Sample: "on"}, conf, []string{
			` send --wait github push --state 'it'\''s' --config 'my conf.json')`, `$(cat 'it'\''s/secrets/portal-token')`, ` trace --state 'it'\''s' $id`,
		}},
		{devCommand{Config: "events-config.json", State: ".callboard", Sample: "off"}, conf, []string{" send --wait hmac test)"}},
		{devCommand{Config: "events-config.json", State: ".callboard", Sample: "on"}, &onlyHMAC, []string{" send --wait hmac test)"}},
		{devCommand{Config: "events-config.json", State: ".callboard", Sample: "off"}, &onlyGitHub, []string{" send --wait github push --file PAYLOAD.json)"}},
		{devCommand{Config: "events-config.json", State: ".callboard", Sample: "on"}, &onlyGitea, []string{" send --wait gitea pull_request)"}},
	} {
		var b bytes.Buffer
		test.command.greet(&b, test.conf, "http://h:1")
		if !strings.HasPrefix(b.String(), "ready http://h:1\n") {
			t.Errorf("the first line is not the one that says it is ready:\n%s", b.String())
		}
		for _, want := range test.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%+v: the greeting has no %q:\n%s", test.command, want, b.String())
			}
		}
	}
}

// Two checks of one configuration report together.
func TestTogether(t *testing.T) {
	t.Parallel()
	one, two := config.Errors{{Path: "$.a", Message: "x"}}, config.Errors{{Path: "$.b", Message: "y"}}
	if diff := cmp.Diff(config.Errors{one[0], two[0]}, together(one, nil, two)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := together(nil, nil); err != nil {
		t.Errorf("nothing is wrong: %v", err)
	}
	if err := together(one, context.Canceled); err != context.Canceled { //nolint:errorlint // this one
		t.Errorf("another error is lost: %v", err)
	}
}
