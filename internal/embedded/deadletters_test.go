package embedded

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/internal/deadletter/deadlettertest"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

func openTopology(t *testing.T, path string, topo *topology.Topology) *Queues {
	t.Helper()
	specs := make([]QueueSpec, len(topo.Queues))
	for i, q := range topo.Queues {
		specs[i] = QueueSpec{Name: q.Name, Visibility: time.Minute, MaxReceives: q.MaxReceiveCount, DeadLetter: q.DeadLetter}
	}
	for _, q := range topo.Foreign {
		specs = append(specs, QueueSpec{Name: q.Name, Visibility: time.Minute})
	}
	return openQueues(t, openDB(t, path), specs...)
}

func TestDeadLetters_Conformance(t *testing.T) {
	t.Parallel()
	deadlettertest.Run(t, func(t *testing.T, topo *topology.Topology) deadletter.Store {
		t.Helper()
		q := openTopology(t, filepath.Join(t.TempDir(), "q.db"), topo)
		blobs, err := blob.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = blobs.Close() })
		q.Bucket = &events.Bucket{Name: bucketName, Store: blobs}
		return DeadLetters{q}
	})
}

// Whatever was parked and replayed arrives as it was at first.
func TestDeadLetters_ReplayRestores(t *testing.T) {
	t.Parallel()
	topo := deadlettertest.Topology(t)
	q := openTopology(t, filepath.Join(t.TempDir(), "q.db"), topo)
	desk := &deadletter.Desk{Topology: topo, Store: DeadLetters{q}}
	rapid.Check(t, func(t *rapid.T) {
		f := topo.Functions[rapid.SampledFrom([]int{1, 2, 3, 4}).Draw(t, "function")]
		queue := rapid.SampledFrom(f.Queues).Draw(t, "queue")
		promoted := rapid.SliceOfNDistinct(rapid.StringMatching(`x-[a-z0-9]{1,8}`), 0, events.MaxPromoted, rapid.ID).Draw(t, "promoted")
		e := events.Event{
			Topic: rapid.StringMatching(`[a-z]{1,8}(\.[a-z]{1,8})?`).Draw(t, "topic"), Time: time.UnixMilli(rapid.Int64Range(0, 1e13).Draw(t, "time")),
			Payload:     rapid.SliceOfN(rapid.SampledFrom([]byte(" \t\r\n{}\"\\uaé0:,")), 1, 200).Filter(func(b []byte) bool { return string(b) == string([]rune(string(b))) }).Draw(t, "payload"),
			TraceParent: rapid.String().Draw(t, "traceparent"), Again: rapid.SampledFrom([]string{"", "before"}).Draw(t, "again"),
			Group: rapid.StringMatching(`[!-~]{1,128}`).Draw(t, "group"), Promoted: promoted, Metadata: events.Metadata{"x-other": rapid.String().Draw(t, "value")},
		}
		e.ID = events.NewID(e.Topic, rapid.String().Draw(t, "delivery"))
		for _, name := range promoted {
			e.Metadata[name] = rapid.StringMatching(`[ -~]{1,20}`).Draw(t, "value")
		}
		m, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		record := m.SQS("m", "r", rapid.IntRange(1, 5).Draw(t, "receives"))
		record.EventSourceARN = arnPrefix + queue
		b := &events.Batch{
			Function: f.Name, Queue: control{q, f.DeadLetter}, Observer: events.LogObserver{Logger: discard},
			Subscriber: events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
				return events.Park(errors.New(rapid.String().Draw(t, "reason")))
			}),
		}
		if failed := b.Handle(t.Context(), events.SQSEvent{Records: []events.SQSMessage{record}}).BatchItemFailures; len(failed) > 0 {
			t.Fatal("the message was not parked")
		}
		r, err := desk.Replay(t.Context(), deadletter.Order{})
		if err != nil || !r.Done || r.Letters[0].Error != "" {
			t.Fatalf("%+v, %v", r, err)
		}
		if to := r.Letters[0].To; to[0] != queue {
			t.Fatalf("replayed to %v, want %s", to, queue)
		}
		got, err := q.Messages(queue)
		if diff := cmp.Diff([]events.Message{m}, got); diff != "" || err != nil {
			t.Fatalf("%s: %v (-sent +replayed):\n%s", queue, err, diff)
		}
		for s := range (DeadLetters{q}).Receive(t.Context(), queue, 0) {
			if err := (DeadLetters{q}).Delete(t.Context(), queue, s); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A message that was received too often knows where, and how often.
func TestDeadLetters_Redriven(t *testing.T) {
	t.Parallel()
	topo := deadlettertest.Topology(t)
	path := filepath.Join(t.TempDir(), "q.db")
	q := openTopology(t, path, topo)
	sent := events.Message{Body: "{}", Attributes: map[string]events.Attribute{"x-mark": {DataType: "String", StringValue: "no event"}}}
	if err := q.Send(t.Context(), "router-frobs", sent); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		batch, _ := q.take(q.get("router-frobs"), 1)
		if _, err := q.load(t.Context(), q.get("router-frobs"), batch, nil); err != nil {
			t.Fatal(err)
		}
		if err := q.settle("router-frobs", batch, func(*received) bool { return false }); err != nil {
			t.Fatal(err)
		}
		q.mu.Lock()
		for _, e := range q.queues["router-frobs"].entries {
			q.queues["router-frobs"].show(e, time.Time{})
		}
		q.mu.Unlock()
	}
	batch, _ := q.take(q.get("router-frobs"), 1)
	if _, err := q.load(t.Context(), q.get("router-frobs"), batch, func(events.Message) {}); err != nil {
		t.Fatal(err)
	}
	desk := &deadletter.Desk{Topology: topo, Store: DeadLetters{q}}
	r, err := desk.Replay(t.Context(), deadletter.Order{})
	if err != nil || len(r.Letters) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	l := r.Letters[0]
	want := deadletter.Letter{
		Queue: "router-dlq", ID: l.ID, Reason: "failed too often", Function: topology.Router, Time: l.Time, Receives: 5, Bytes: 2, To: []string{"router-frobs"},
	}
	if diff := cmp.Diff(want, l); diff != "" || l.Time.IsZero() {
		t.Errorf("the letter (-want +got):\n%s", diff)
	}
	if got, err := q.Messages("router-frobs"); err != nil || len(got) != 1 || got[0].Body != "{}" {
		t.Errorf("the queue has %v, %v", got, err)
	}
}

// Letters of a folder that was closed are replayed and dropped like those of a running engine.
func TestDeadLetters_Reopened(t *testing.T) {
	t.Parallel()
	topo := deadlettertest.Topology(t)
	path := filepath.Join(t.TempDir(), "q.db")
	db := openDB(t, path)
	q := openQueues(t, db, QueueSpec{Name: "notify-dlq"})
	const letters = 250 // several pages
	for range letters {
		if err := q.Send(t.Context(), "notify-dlq", events.Message{Body: "{}"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	q = openTopology(t, path, topo)
	desk := &deadletter.Desk{Topology: topo, Store: DeadLetters{q}}
	if r, err := desk.Drop(t.Context(), deadletter.Order{Selection: deadletter.Selection{Limit: letters / 2}, Confirmed: true}); err != nil || len(r.Letters) != letters/2 || !r.More {
		t.Errorf("%d letters were dropped, more %v, %v", len(r.Letters), r.More, err)
	}
	if r, err := desk.Replay(t.Context(), deadletter.Order{Confirmed: true}); err != nil || len(r.Letters) != letters/2 || r.More {
		t.Errorf("%d letters were replayed, more %v, %v", len(r.Letters), r.More, err)
	}
	if got := q.Depths(); got["notify-dlq"] != 0 || got["notify"] != letters/2 {
		t.Errorf("the queues hold %v", got)
	}
}
