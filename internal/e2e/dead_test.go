package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// letter is what `callboard dead` says of a dead letter.
type letter struct {
	Queue  string   `json:"queue"`
	ID     string   `json:"id"`
	Event  string   `json:"event"`
	Reason string   `json:"reason"`
	To     []string `json:"to"`
	Body   string   `json:"body"`
}

// letters returns what is in all dead-letter queues, or those that are asked for.
func (p *Process) letters(tb testing.TB, args ...string) []letter {
	tb.Helper()
	if len(args) == 0 {
		args = []string{"list", "--all"}
	}
	var list []letter
	if err := json.Unmarshal([]byte(p.mustDead(tb, append(args, "--json")...)), &list); err != nil {
		tb.Fatal(err)
	}
	return list
}

func (p *Process) mustDead(tb testing.TB, args ...string) (stdout string) {
	tb.Helper()
	stdout, stderr, code := p.Dead(tb, args...)
	if code != 0 {
		tb.Fatalf("callboard dead %v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

// deadFrob is an event of a frob as it lies in a dead-letter queue.
func deadFrob(tb testing.TB, topic, delivery, title string, more map[string]string) events.Message {
	tb.Helper()
	m, err := events.Encode(events.Event{
		ID: events.NewID("frobs", delivery), Topic: topic, Time: time.Now(), Payload: fmt.Appendf(nil, "{ \"type\":\"add\",\n \"n\":%q }", title),
	})
	if err != nil {
		tb.Fatal(err)
	}
	for name, value := range more {
		m.Attributes[name] = events.Attribute{DataType: "String", StringValue: value}
	}
	return m
}

func parkedBy(function string) map[string]string {
	return map[string]string{
		events.AttributeParkedFunction: function, events.AttributeParkedReason: "a cause that is gone", events.AttributeParkedTime: "2026-01-02T03:04:05.006Z",
	}
}

// What a function cannot understand is a dead letter, whole and with the reason. A person finds it, reads it, sees it come
// back while its cause is there, and drops it.
func TestDeadLetter_Parked(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	body := []byte(`{ "ref":"refs/heads/main", "repository":{"full_name":"acme/petstore"},` + "\n" + ` "commits":"none" }`)
	delivery := uuid.NewString()
	response, answer := p.Do(t, http.MethodPost, "/events/http/github", p.gitHub(t, "push", delivery, body), body)
	if response.StatusCode != http.StatusAccepted {
		t.Fatalf("the webhook was answered %s %s", response.Status, answer)
	}
	p.Settle(t)
	list := p.letters(t)
	if len(list) != 1 || list[0].Queue != "catalog-sync-dlq" || list[0].Event != events.NewID("github", delivery) || !strings.Contains(list[0].Reason, "is not that of a github.push event") {
		t.Fatalf("the dead letters are %+v", list)
	}
	if out := p.mustDead(t, "list"); !regexp.MustCompile(`(?s)catalog-sync-dlq +1 .*\nnotify-dlq +0 `).MatchString(out) {
		t.Errorf("the counts are\n%s", out)
	}
	if whole := p.letters(t, "show", list[0].ID); len(whole) != 1 || whole[0].Body != string(body) {
		t.Errorf("the letter is %+v, want the body as it was sent", whole)
	}
	p.mustDead(t, "replay", "--id", list[0].ID)
	p.Settle(t)
	again := p.letters(t)
	if len(again) != 1 || again[0].ID == list[0].ID || again[0].Event != list[0].Event {
		t.Errorf("after a replay there is %+v, want the same event as a new letter", again)
	}
	p.mustDead(t, "drop", "--reason", "is not that of a github.push event")
	if left := p.letters(t); len(left) != 0 {
		t.Errorf("after the drop there is %+v", left)
	}
}

// Once the cause is gone a replay does what was left undone, wherever on the path that was. What is done already is not
// done twice, unless that is wanted.
func TestDeadLetter_Replayed(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	sns := map[string]string{"RequestID": uuid.NewString(), "ErrorCode": "AccessDenied", "ErrorMessage": "no"}
	for _, step := range []struct {
		name, queue string
		letter      events.Message
		args        string
		want        map[string]int
	}{
		{"parked by notify", "notify-dlq", deadFrob(t, "frobs.add", "1", "one", parkedBy(topology.Notify)), "", map[string]int{"one": 1}},
		{"the same again", "notify-dlq", deadFrob(t, "frobs.add", "1", "one", parkedBy(topology.Notify)), "", map[string]int{"one": 1}},
		{"once more", "notify-dlq", deadFrob(t, "frobs.add", "1", "one", parkedBy(topology.Notify)), "--again", map[string]int{"one": 2}},
		{"once more, from the start", "sqs-publisher-dlq", deadFrob(t, "frobs", "1", "one", parkedBy(topology.SQSPublisher)), "--again", map[string]int{"one": 3}},
		{"failed too often in the router", "router-dlq", deadFrob(t, "frobs", "2", "two", nil), "", map[string]int{"one": 3, "two": 1}},
		{"not delivered by SNS", topology.QueueSubscriptionsDLQ, deadFrob(t, "frobs", "3", "three", sns), "", map[string]int{"one": 3, "two": 1, "three": 1}},
	} {
		p = p.put(t, step.queue, step.letter)
		list := p.letters(t)
		if len(list) != 1 || list[0].Queue != step.queue || len(list[0].To) != 1 {
			t.Fatalf("%s: the dead letters are %+v", step.name, list)
		}
		p.mustDead(t, append([]string{"replay", "--all"}, strings.Fields(step.args)...)...)
		p.Settle(t)
		if diff := cmp.Diff(step.want, p.titles(t, "counter-token")); diff != "" {
			t.Errorf("%s: notifications (-want +got):\n%s", step.name, diff)
		}
		if left := p.letters(t); len(left) != 0 {
			t.Errorf("%s: there is still %+v", step.name, left)
		}
	}
}
