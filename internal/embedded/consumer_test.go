package embedded

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

func exportQueues(t *testing.T) *Queues {
	t.Helper()
	q, err := OpenQueues(openDB(t, filepath.Join(t.TempDir(), "db")), []QueueSpec{
		{Name: "function", Visibility: time.Minute},
		{Name: "dlq", Visibility: time.Minute},
		{Name: "export", Visibility: time.Minute, MaxReceives: 2, DeadLetter: "dlq", WithoutClaimChecks: true},
	}, map[string][]string{"github": {"function", "export"}})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// A consumer that is no function gets a message, and gets it again unless it deletes it in time.
func TestReceive(t *testing.T) {
	t.Parallel()
	q := exportQueues(t)
	for i := range 3 {
		if err := q.Publish(t.Context(), eventstest.NewEvent("github", i)); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(messages []events.SQSMessage) (list []string) {
		for _, m := range messages {
			list = append(list, m.MessageAttributes[events.AttributeID].StringValue)
		}
		return list
	}
	receive := func(n int) []events.SQSMessage {
		t.Helper()
		messages, err := q.Receive(t.Context(), "export", n)
		if err != nil {
			t.Fatal(err)
		}
		return messages
	}
	first := receive(2)
	if diff := cmp.Diff([]string{eventstest.NewEvent("github", 0).ID, eventstest.NewEvent("github", 1).ID}, ids(first)); diff != "" {
		t.Errorf("the first two (-want +got):\n%s", diff)
	}
	if n, err := q.Delete("export", first[0].ReceiptHandle, "unknown", first[0].ReceiptHandle); n != 1 || err != nil {
		t.Errorf("Delete = %d, %v", n, err)
	}
	if n, err := q.Delete("export", first[0].ReceiptHandle); n != 0 || err != nil {
		t.Errorf("a second Delete = %d, %v", n, err)
	}
	if got := receive(10); len(got) != 1 {
		t.Errorf("%d messages are handed out, want the third", len(got))
	}
	if got := receive(10); len(got) != 0 {
		t.Errorf("%d messages are handed out while all are hidden", len(got))
	}
	if err := q.hide("export", first[1].ReceiptHandle, 0); err != nil {
		t.Fatal(err)
	}
	again := receive(10)
	if len(again) != 1 || again[0].Receives() != 2 || !slices.Equal(ids(again), ids(first[1:])) {
		t.Errorf("what was not deleted comes again as %v", again)
	}
	if err := q.hide("export", again[0].ReceiptHandle, 0); err != nil {
		t.Fatal(err)
	}
	var givenUp []string
	q.OnGivenUp = func(_ context.Context, queue string, m events.Message) {
		givenUp = append(givenUp, queue+" "+m.Attributes[events.AttributeID].StringValue)
	}
	if got := receive(10); len(got) != 0 || q.Depths()["dlq"] != 1 {
		t.Errorf("what was received too often is handed out %d times, and %d are dead letters", len(got), q.Depths()["dlq"])
	}
	if diff := cmp.Diff([]string{"export " + ids(again)[0]}, givenUp); diff != "" {
		t.Errorf("it is told of (-want +got):\n%s", diff)
	}
	if got := q.Depths(); got["export"] != 1 || got["function"] != 3 {
		t.Errorf("depths %v", got)
	}
	for what, err := range map[string]error{
		"receive": second(q.Receive(t.Context(), "other", 1)), "delete": second(q.Delete("other", "x")),
	} {
		if events.ErrorCode(err) != events.CodeNotFound {
			t.Errorf("%s of a queue that does not exist: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A claim check goes to those who resolve it.
func TestDeliveries_ClaimChecks(t *testing.T) {
	t.Parallel()
	q := exportQueues(t)
	inline, err := events.Encode(eventstest.NewEvent("github", 1))
	if err != nil {
		t.Fatal(err)
	}
	claim := events.Message{Body: "[]", Attributes: map[string]events.Attribute{events.AttributeExtendedSize: {DataType: "Number", StringValue: "2000000"}}}
	for name, test := range map[string]struct {
		m    events.Message
		want []string
	}{
		"inline": {inline, []string{"function", "export"}}, "claim check": {claim, []string{"function"}},
	} {
		var got []string
		for _, p := range q.deliveries("github", test.m) {
			got = append(got, p.queue)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s goes to (-want +got):\n%s", name, diff)
		}
	}
}

// A topic that takes more gets more, and nothing inline is told of.
func TestPublish_Limit(t *testing.T) {
	t.Parallel()
	q := exportQueues(t)
	q.Limit = func(topic string) int {
		if topic == "github" {
			return events.MaxSQSMessageSize
		}
		return events.MaxMessageSize
	}
	q.OnClaimCheck = func(_ context.Context, e events.Event) { t.Errorf("%s is told of as a claim check", e.ID) }
	large := eventstest.NewEvent("github", 1)
	large.Payload = []byte(`"` + strings.Repeat("x", 3*events.MaxMessageSize) + `"`)
	other := large
	other.Topic = "gitlab"
	err := q.Publish(t.Context(), large, other)
	if first, second := events.PublishErrorOf(err, 0), events.PublishErrorOf(err, 1); first != nil || events.ErrorCode(second) != events.CodeTooLarge {
		t.Errorf("errors %v and %v", first, second)
	}
	if got := q.Depths()["export"]; got != 1 {
		t.Errorf("%d messages are exported, want 1", got)
	}
}
