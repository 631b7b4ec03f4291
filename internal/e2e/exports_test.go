//go:build !deployed

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
)

// What is exported waits for its consumer, whole and under its own names, also over a crash; a person can take it. An export
// lets a topic carry more than SNS does by default.
func TestExports(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	payloads := []string{
		" {\"zen\": \"Ä \ufffe\",\n \"n\": 1.0e2}\n",
		`{"zen": "` + strings.Repeat("x", 3*events.MaxMessageSize) + `"}`,
	}
	for n, payload := range payloads {
		response, answer := p.Do(t, http.MethodPost, "/events/http/github", p.gitHub(t, "ping", fmt.Sprint("delivery-", n), []byte(payload)), []byte(payload))
		if response.StatusCode != http.StatusAccepted {
			t.Fatalf("the webhook is answered %s %s", response.Status, answer)
		}
		p.Settle(t)
	}
	p.Kill(t)
	p = Start(t, config, p.State)

	exports := func(args ...string) string {
		t.Helper()
		out, stderr, code := Run(t, append([]string{"exports", args[0], "--state", p.State}, args[1:]...)...)
		if code != 0 {
			t.Fatalf("callboard exports %v: exit code %d\n%s", args, code, stderr)
		}
		return out
	}
	if got := exports("list"); got != "backstage  github  2 waiting\n" {
		t.Errorf("the list is %q", got)
	}
	kept := exports("read", "backstage", "--keep", "--max", "1")
	rest := exports("read", "backstage", "github")
	if got := exports("list"); got != "backstage  github  1 waiting\n" {
		t.Errorf("with one that is kept the list is %q", got)
	}
	for n, line := range []string{kept, rest} {
		var got struct {
			Topic      string                      `json:"topic"`
			Receives   int                         `json:"receives"`
			Attributes map[string]events.Attribute `json:"attributes"`
			Body       string                      `json:"body"`
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v in %.300q", err, line)
		}
		attributes := map[string]string{}
		for name, a := range got.Attributes {
			attributes[name] = a.StringValue
		}
		delete(attributes, events.AttributeEvents)
		want := map[string]string{
			"x-github-event": "ping", "x-github-delivery": fmt.Sprint("delivery-", n),
			events.AttributeTopic: "github", events.AttributeID: fmt.Sprint("github:delivery-", n),
		}
		if diff := cmp.Diff(want, attributes); diff != "" || got.Topic != "github" || got.Receives != 1 {
			t.Errorf("topic %s, %d receives, attributes (-want +got):\n%s", got.Topic, got.Receives, diff)
		}
		if body := strings.ReplaceAll(payloads[n], "\ufffe", `\ufffe`); got.Body != body {
			t.Errorf("the body is %.200q, want %.200q", got.Body, body)
		}
	}
	for _, args := range [][]string{{"read", "nobody"}, {"read", "backstage", "gitlab"}} {
		if _, stderr, code := Run(t, append([]string{"exports", args[0], "--state", p.State}, args[1:]...)...); code == 0 || !strings.Contains(stderr, "exports list") {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
}

// exported takes the events of GitHub that wait for the consumer of the export, and returns their ids.
func (p *Process) exported(tb testing.TB) []string {
	tb.Helper()
	out, stderr, code := Run(tb, "exports", "read", "backstage", "github", "--state", p.State)
	if code != 0 {
		tb.Fatalf("callboard exports read: exit code %d\n%s", code, stderr)
	}
	var ids []string
	for line := range strings.Lines(out) {
		var m struct {
			Attributes map[string]events.Attribute `json:"attributes"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			tb.Fatalf("%v in %.300q", err, line)
		}
		ids = append(ids, m.Attributes[events.AttributeID].StringValue)
	}
	return ids
}
