package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What others put into a queue becomes events, whether it is read at once or asked for by a schedule; one bad message
// harms no other.
func TestQueuesOfOthers(t *testing.T) {
	t.Parallel()
	p := startQueues(t, "testdata/queues-config.json")
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := p.Send(t, "queue", "failed", "--topic", "builds", "--file", write("bad", "build 7 failed"))
	id := p.Send(t, "queue", "failed", "--topic", "builds", "--attribute", "X-Build-Id=7")
	notification := p.Send(t, "queue", "passed", "--topic", "builds", "--file", write("sns.json", `{"Type":"Notification","MessageId":"n-1",
		"TopicArn":"arn:aws:sns:us-east-1:111122223333:builds","Message":"{\"build\":8}","Timestamp":"2026-01-01T00:00:00Z",
		"MessageAttributes":{"x-build-state":{"Type":"String","Value":"failed"},"x-build-id":{"Type":"String","Value":"8"}}}`))
	p.Send(t, "queue", "failed", "--topic", "far")
	p.arrives(t, "build 7", "build 8", "far")
	if notification != "builds:n-1" {
		t.Errorf("the event of an SNS notification is %s, want the id of the notification", notification)
	}
	out, _, _ := p.Trace(t, id)
	for _, want := range []string{"sqs-publisher", "router", "notify", "user:default/counter"} {
		if !strings.Contains(out, want) {
			t.Errorf("the trace does not mention %q:\n%s", want, out)
		}
	}
	if out, _, _ := p.Trace(t, bad); !strings.Contains(out, "park") || strings.Contains(out, "router") {
		t.Errorf("what is no JSON is not parked:\n%s", out)
	}
	response, _ := p.Do(t, http.MethodPost, "/events/http/builds", map[string]string{"Content-Type": "application/json"}, []byte(`{}`))
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("a topic with a queue takes webhooks: %s", response.Status)
	}
	p.checkLargestIsParked(t)
}

// checkLargestIsParked sends the largest message that a queue takes, and which is no event: it is a dead letter, whole, and
// the queue of others does not hand it out for ever. A person can read it and put it back as it was.
func (p *Process) checkLargestIsParked(t *testing.T) {
	t.Helper()
	p.mustDead(t, "drop", "--all", "--yes")
	const room = 1<<20 - len("x-build-stateStringfailed")
	body := strings.Repeat("a \"b\"\n", room/6) + strings.Repeat(".", room%6)
	path := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	event := p.Send(t, "queue", "failed", "--topic", "builds", "--file", path)
	p.Settle(t)
	show := func() letter {
		t.Helper()
		list := p.letters(t)
		if len(list) != 1 || list[0].Queue != "sqs-publisher-dlq" || !strings.HasPrefix(list[0].Event, "builds:") {
			t.Fatalf("the dead letters are %+v, want one", list)
		}
		whole := p.letters(t, "show", list[0].ID)
		if len(whole) != 1 || whole[0].Body != body || !strings.Contains(whole[0].Reason, "JSON") {
			t.Fatalf("the letter has a body of %d bytes, want the %d that were sent; reason %q", len(whole[0].Body), len(body), whole[0].Reason)
		}
		return list[0]
	}
	first := show()
	if first.Event != event {
		t.Errorf("the letter is of %s, want %s", first.Event, event)
	}
	for _, to := range []string{"ingest", "queue.builds"} {
		p.mustDead(t, "replay", "--all", "--to", to)
		p.Settle(t)
		again := show()
		if again.ID == first.ID || (again.Event == event) != (to == "ingest") {
			t.Errorf("after a replay to %s there is %+v; want another letter, of the same message if it was only read again", to, again)
		}
		first = again
	}
}

// told compares what the counter was told.
func (p *Process) told(tb testing.TB, want []string) (diff string) {
	tb.Helper()
	counts := map[string]int{}
	for _, title := range want {
		counts[title]++
	}
	return cmp.Diff(counts, p.titles(tb, "counter-token"))
}
