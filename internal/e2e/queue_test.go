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
