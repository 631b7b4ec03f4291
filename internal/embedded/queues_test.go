package embedded

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

func openDB(t *testing.T, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func openQueues(t *testing.T, db *bolt.DB, specs ...QueueSpec) *Queues {
	t.Helper()
	q, err := OpenQueues(db, specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// transport is the embedded engine's queues, topics and mappings for the conformance suite.
type transport struct {
	*Queues
	ctx context.Context
	wg  *sync.WaitGroup

	mu   sync.Mutex
	subs []string
}

func (tr *transport) Subscribe(t testing.TB, id string, topics []string, s events.Subscriber) {
	t.Helper()
	tr.SubscribeWithin(t, time.Minute, id, topics, s)
}

func (tr *transport) SubscribeWithin(t testing.TB, limit time.Duration, id string, topics []string, s events.Subscriber) {
	t.Helper()
	for _, spec := range []QueueSpec{
		{Name: id + "-dlq", Visibility: time.Minute},
		{Name: id, Visibility: time.Minute, MaxReceives: 5, DeadLetter: id + "-dlq"},
	} {
		if err := tr.add(spec); err != nil {
			t.Fatal(err)
		}
	}
	tr.Queues.mu.Lock()
	for _, topic := range topics {
		tr.subscriptions[topic] = append(tr.subscriptions[topic], id)
	}
	tr.Queues.mu.Unlock()
	tr.mu.Lock()
	tr.subs = append(tr.subs, id)
	tr.mu.Unlock()
	m := &mapping{
		queues: tr.Queues, queue: id, function: id, timeout: limit, batchSize: 10, concurrency: 2,
		observer: events.LogObserver{Logger: discard},
		handler: &events.Batch{
			Function: id, Subscriber: s, Queue: control{tr.Queues, id + "-dlq"},
			Backoff: []time.Duration{time.Millisecond}, Observer: events.LogObserver{Logger: discard}, Bucket: tr.Bucket,
		},
	}
	tr.wg.Go(func() { m.run(tr.ctx, context.WithoutCancel(tr.ctx)) })
}

func (tr *transport) Drain(ctx context.Context) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.Queues.Drain(ctx, tr.subs)
}

func (tr *transport) DeadLetters(t testing.TB, id string) []events.Message {
	t.Helper()
	list, err := tr.Messages(id + "-dlq")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestConformance(t *testing.T) {
	t.Parallel()
	eventstest.Run(t, func(t *testing.T) eventstest.Transport {
		q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "queues.db")))
		blobs, err := blob.Open(filepath.Join(t.TempDir(), "blobs"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = blobs.Close() })
		q.Bucket = &events.Bucket{Name: "blobs", Store: blobs}
		ctx, cancel := context.WithCancel(context.Background())
		tr := &transport{Queues: q, ctx: ctx, wg: &sync.WaitGroup{}}
		t.Cleanup(func() { cancel(); tr.wg.Wait() })
		return tr
	})
}

var sample = events.Message{
	Body: `{"a":1}`, GroupID: "g",
	Attributes: map[string]events.Attribute{"x-events-id": {DataType: "String", StringValue: "t:1"}},
}

func never(t *testing.T) func(events.Message) {
	t.Helper()
	return func(m events.Message) { t.Errorf("message %v was given up", m) }
}

func mustReceive(t *testing.T, q *Queues, name string) []*received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	batch, err := q.receive(ctx, name, 10, never(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(batch) == 0 {
		t.Fatal("nothing was received")
	}
	return batch
}

// What a process had received when it died is visible at once for the next one, and that receive does not count;
// failures that were reported do.
func TestQueues_Restart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queues.db")
	spec := QueueSpec{Name: "q", Visibility: time.Hour, MaxReceives: 5, DeadLetter: "d"}
	db := openDB(t, path)
	q := openQueues(t, db, QueueSpec{Name: "d"}, spec)
	if err := q.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	failed := mustReceive(t, q, "q")
	if err := q.hide("q", failed[0].receipt, 0); err != nil {
		t.Fatal(err)
	}
	if err := q.settle("q", failed, func(*received) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if got := mustReceive(t, q, "q")[0].message.Receives(); got != 2 {
		t.Fatalf("the second receive has the count %d, want 2", got)
	}
	_ = db.Close() // the process dies with the message in flight

	q = openQueues(t, openDB(t, path), QueueSpec{Name: "d"}, spec)
	batch := mustReceive(t, q, "q")
	if got := batch[0].message.Receives(); got != 2 {
		t.Errorf("after the restart the receive has the count %d, want 2: that of the dead process does not count", got)
	}
	if got := batch[0].message.Message(); got.Body != sample.Body || got.GroupID != sample.GroupID {
		t.Errorf("after the restart the message is %+v, want %+v", got, sample)
	}
	if err := q.settle("q", batch, func(*received) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if got := q.Depths()["q"]; got != 0 {
		t.Errorf("%d messages are left, want 0", got)
	}
}

// A time to rest survives a restart.
func TestQueues_HiddenAfterRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queues.db")
	db := openDB(t, path)
	q := openQueues(t, db, QueueSpec{Name: "q", Visibility: time.Hour})
	if err := q.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	batch := mustReceive(t, q, "q")
	if err := q.hide("q", batch[0].receipt, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := q.settle("q", batch, func(*received) bool { return false }); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	q = openQueues(t, openDB(t, path), QueueSpec{Name: "q", Visibility: time.Hour})
	if batch, wait := q.take(q.get("q"), 10); len(batch) != 0 || wait < 50*time.Minute {
		t.Errorf("%d messages are visible after %v, want none for an hour", len(batch), wait)
	}
}

// An old receipt cannot delete a message that was handed out again.
func TestQueues_StaleReceipt(t *testing.T) {
	t.Parallel()
	q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "queues.db")), QueueSpec{Name: "q", Visibility: time.Hour})
	if err := q.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	first := mustReceive(t, q, "q")
	if err := q.hide("q", first[0].receipt, 0); err != nil {
		t.Fatal(err)
	}
	second := mustReceive(t, q, "q")
	if err := q.settle("q", first, func(*received) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if got := q.Depths()["q"]; got != 1 {
		t.Fatalf("%d messages are left, want the one that is in flight", got)
	}
	if err := q.hide("q", first[0].receipt, 0); events.ErrorCode(err) != events.CodeNotFound {
		t.Errorf("the old receipt hides a message: %v", err)
	}
	if err := q.settle("q", second, func(*received) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if got := q.Depths()["q"]; got != 0 {
		t.Errorf("%d messages are left, want 0", got)
	}
}

func TestQueues_RefusesWhatAWSRefuses(t *testing.T) {
	t.Parallel()
	q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "queues.db")), QueueSpec{Name: "q"})
	for name, m := range map[string]events.Message{
		"empty":             {},
		"control character": {Body: "\x01"},
		"empty attribute":   {Body: "{}", Attributes: map[string]events.Attribute{"a": {DataType: "String"}}},
		"attribute name":    {Body: "{}", Attributes: map[string]events.Attribute{"a b": {DataType: "String", StringValue: "x"}}},
		"attribute type":    {Body: "{}", Attributes: map[string]events.Attribute{"a": {DataType: "Text", StringValue: "x"}}},
		"group":             {Body: "{}", GroupID: "a b"},
		"size":              {Body: string(make([]byte, events.MaxSQSMessageSize+1))},
	} {
		if err := q.Send(t.Context(), "q", m); err == nil {
			t.Errorf("%s: the message was accepted", name)
		}
	}
	if err := q.Send(t.Context(), "nowhere", sample); events.ErrorCode(err) != events.CodeNotFound {
		t.Errorf("a queue that does not exist: %v", err)
	}
}

func FuzzDecodeStored(f *testing.F) {
	good, _ := encodeStored(stored{ID: "a"}, "body")
	f.Add(good)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, body, err := decodeStored(data)
		if err != nil {
			return
		}
		again, err := encodeStored(s, string(body))
		if err != nil {
			t.Fatal(err)
		}
		if _, b, err := decodeStored(again); err != nil || string(b) != string(body) {
			t.Errorf("%q does not survive: %q, %v", data, b, err)
		}
	})
}

// A message has the id that its sender was told, and says when it was sent, also after a restart.
func TestQueues_Enqueue(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "q.db")
	db := openDB(t, path)
	q := openQueues(t, db, QueueSpec{Name: "theirs", Visibility: time.Minute})
	before := time.Now().Truncate(time.Millisecond)
	id, err := q.Enqueue(t.Context(), "theirs", events.Message{Body: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Enqueue(t.Context(), "theirs", events.Message{}); events.ErrorCode(err) != events.CodeInvalid {
		t.Errorf("an empty message: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	q = openQueues(t, openDB(t, path), QueueSpec{Name: "theirs", Visibility: time.Minute})
	batch, err := q.receive(t.Context(), "theirs", 10, nil)
	if err != nil || len(batch) != 1 {
		t.Fatalf("received %d messages: %v", len(batch), err)
	}
	m := batch[0].message
	ms, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64)
	if sent := time.UnixMilli(ms); err != nil || m.MessageID != id || m.EventSourceARN != QueueARN("theirs") || sent.Before(before) || sent.After(time.Now()) {
		t.Errorf("the message is %+v, want the id %s", m, id)
	}
}
