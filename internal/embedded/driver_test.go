package embedded

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.etcd.io/bbolt"

	"github.com/callboard/callboard/pkg/events"
)

const allDone = `{"batchItemFailures":[]}`

// receives returns the receive count of the only message of an invocation.
func receives(t *testing.T, payload []byte) int {
	t.Helper()
	var e events.SQSEvent
	if err := json.Unmarshal(payload, &e); err != nil || len(e.Records) != 1 {
		t.Errorf("the invocation is %s, want one message: %v", payload, err)
		return 0
	}
	return e.Records[0].Receives()
}

// drive feeds h from a queue until the test is over.
func drive(t *testing.T, q *Queues, h Handler, observer events.Observer) {
	t.Helper()
	driveBy(t, q, 2, h, observer)
}

// driveBy is drive with so many handlers at a time.
func driveBy(t *testing.T, q *Queues, concurrency int, h Handler, observer events.Observer) {
	t.Helper()
	m := &mapping{queues: q, queue: "q", function: "f", handler: h, timeout: time.Minute, batchSize: 10, concurrency: concurrency, observer: observer}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { m.run(ctx, context.WithoutCancel(ctx)) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func mustDrain(t *testing.T, q *Queues) {
	t.Helper()
	empty := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { empty <- q.Drain(ctx, []string{"q"}) }()
	select {
	case <-empty:
	case <-time.After(2 * time.Minute):
		t.Fatal("the queue does not become empty")
	}
}

// A function that takes longer than the visibility timeout has its message handed out again, by a receiver that
// had nothing to wait for when the message came; only the last receive can delete it.
func TestMapping_VisibilityTimeout(t *testing.T) {
	t.Parallel()
	q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "q.db")), QueueSpec{Name: "q", Visibility: 20 * time.Millisecond})
	again := make(chan struct{})
	var once sync.Once
	drive(t, q, handlerFunc(func(_ context.Context, payload []byte) ([]byte, error) {
		if receives(t, payload) > 1 {
			once.Do(func() { close(again) })
			return []byte(allDone), nil
		}
		select {
		case <-again:
			return []byte(allDone), nil
		case <-time.After(2 * time.Minute):
			return nil, errors.New("the message was not handed out again")
		}
	}), events.LogObserver{Logger: discard})
	if err := q.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	mustDrain(t, q)
	select {
	case <-again:
	default:
		t.Error("the message was deleted by the receive whose time was over")
	}
}

// A batch ends before it is larger than an invocation can be, and what did not fit comes with the next one, as if nobody had
// received it.
func TestMapping_LargeBatches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string // repeated up to the largest message
		most int    // messages in a batch
	}{
		"text": {"x", 5}, "quotes, which are twice as long in JSON": {`"`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "q.db")), QueueSpec{Name: "dead"}, QueueSpec{Name: "q", Visibility: time.Minute, MaxReceives: 1, DeadLetter: "dead"})
			const messages = 10
			for range messages {
				m := sample
				m.Body = strings.Repeat(test.body, events.MaxSQSMessageSize-(sample.Size()-len(sample.Body)))
				if err := q.Send(t.Context(), "q", m); err != nil {
					t.Fatal(err)
				}
			}
			var mu sync.Mutex
			handled, largest := map[string]bool{}, 0
			drive(t, q, handlerFunc(func(_ context.Context, payload []byte) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				var e events.SQSEvent
				if err := json.Unmarshal(payload, &e); err != nil {
					return nil, err
				}
				if len(payload) > maxInvocation {
					t.Errorf("an invocation has %d bytes with %d messages, where Lambda takes %d", len(payload), len(e.Records), maxInvocation)
				}
				for _, m := range e.Records {
					if handled[m.MessageID] || m.Receives() != 1 {
						t.Errorf("a message comes for the %d. time", m.Receives())
					}
					handled[m.MessageID] = true
				}
				largest = max(largest, len(e.Records))
				return []byte(allDone), nil
			}), events.LogObserver{Logger: discard})
			mustDrain(t, q)
			mu.Lock()
			defer mu.Unlock()
			if len(handled) != messages || largest != test.most || q.Depths()["dead"] > 0 {
				t.Errorf("%d messages were handled in batches of up to %d, %d are dead letters; want all %d in batches of up to %d",
					len(handled), largest, q.Depths()["dead"], messages, test.most)
			}
		})
	}
}

// What did not fit keeps its place in the queue: newer messages do not overtake it again and again.
func TestQueues_ReleasedKeepsItsPlace(t *testing.T) {
	t.Parallel()
	q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "q.db")), QueueSpec{Name: "q", Visibility: time.Minute})
	send := func(body string) {
		t.Helper()
		if err := q.Send(t.Context(), "q", events.Message{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	send("first")
	one := q.get("q")
	batch, _ := q.take(one, 1)
	q.release(one, batch)
	send("second")
	if got := mustReceive(t, q, "q"); len(got) != 2 || got[0].message.Body != "first" || got[0].count != 1 {
		t.Errorf("received %d messages, the first of which is %+v", len(got), got[0].message)
	}
}

// hops collects what an observer is told.
type hops struct {
	mu   sync.Mutex
	list []events.Hop
}

func (h *hops) Observe(_ context.Context, hop events.Hop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, hop)
}

// A function that panics every time does not end the engine; the message goes to the dead-letter queue after so
// many receives, and the trace says so.
func TestMapping_Panic(t *testing.T) {
	t.Parallel()
	q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "q.db")),
		QueueSpec{Name: "dead"}, QueueSpec{Name: "q", Visibility: time.Millisecond, MaxReceives: 3, DeadLetter: "dead"})
	var mu sync.Mutex
	var counts []int
	var seen hops
	// One at a time: a second receiver could give the message up while the first one is about to hand it out.
	driveBy(t, q, 1, handlerFunc(func(_ context.Context, payload []byte) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		counts = append(counts, receives(t, payload))
		panic("no")
	}), &seen)
	if err := q.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	mustDrain(t, q)
	mu.Lock()
	defer mu.Unlock()
	if len(counts) != 3 {
		t.Errorf("the message was handed out with the counts %v, want three times", counts)
	}
	dead, err := q.Messages("dead")
	if err != nil || len(dead) != 1 || dead[0].Body != sample.Body {
		t.Errorf("the dead-letter queue has %+v, want the message: %v", dead, err)
	}
	for { // the hop is told of after the move
		seen.mu.Lock()
		list := seen.list
		seen.mu.Unlock()
		if len(list) > 0 {
			if list[0].Outcome != events.OutcomePark || list[0].Event != "t:1" || len(list) != 1 {
				t.Errorf("the hops are %+v, want one that parks", list)
			}
			return
		}
	}
}

// One receive may name a message at most once, also where nothing hides it.
func TestQueues_NoVisibility(t *testing.T) {
	t.Parallel()
	q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "q.db")), QueueSpec{Name: "q"})
	if err := q.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	first := mustReceive(t, q, "q")
	second := mustReceive(t, q, "q")
	if len(first) != 1 || len(second) != 1 || second[0].count != 2 {
		t.Fatalf("%d and %d messages were received, want one each time", len(first), len(second))
	}
	for _, batch := range [][]*received{first, second, second} {
		if err := q.settle("q", batch, func(*received) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	if got := q.Depths()["q"]; got != 0 {
		t.Errorf("%d messages are left", got)
	}
}

// A message whose deletion cannot be written comes again when its visibility timeout says so, and a receive that
// cannot read hands nothing out and counts nothing.
func TestQueues_FailingDisk(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "q.db"))
	q := openQueues(t, db, QueueSpec{Name: "q", Visibility: time.Minute})
	for range 2 {
		if err := q.Send(t.Context(), "q", sample); err != nil {
			t.Fatal(err)
		}
	}
	one := q.get("q")
	taken, _ := q.take(one, 1)
	batch, err := q.load(t.Context(), one, taken, never(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if err := q.settle("q", batch, func(*received) bool { return true }); err == nil {
		t.Fatal("the deletion was written to a closed file")
	}
	if _, err := q.receive(t.Context(), "q", 10, never(t)); err == nil {
		t.Fatal("a message was read from a closed file")
	}
	if batch, _ := q.take(one, 10); len(batch) != 1 || batch[0].count != 1 {
		t.Errorf("%d messages are visible, want the one that was not handed out, for the first time", len(batch))
	}
	if wait := time.Until(batch[0].entry.visible); wait <= 0 || wait > time.Minute {
		t.Errorf("the other message is visible after %v, want within its minute", wait)
	}
}

// Who waits with a deadline does not wait for messages that rest beyond it, but for everything else.
func TestQueues_Drain(t *testing.T) {
	t.Parallel()
	q := openQueues(t, openDB(t, filepath.Join(t.TempDir(), "q.db")), QueueSpec{Name: "q", Visibility: time.Hour})
	if err := q.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	ended := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		return q.Drain(ctx, []string{"q"})
	}
	if ended() == nil {
		t.Error("the queue is drained with a message that is visible")
	}
	batch := mustReceive(t, q, "q")
	if ended() == nil {
		t.Error("the queue is drained with a message in flight")
	}
	if err := q.settle("q", batch, func(*received) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if err := ended(); err != nil {
		t.Errorf("the queue is not drained with a message that rests for an hour: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if q.Drain(ctx, []string{"q"}) == nil {
		t.Error("without a deadline the queue is drained with a message that rests")
	}
}

// The end of an earlier receive may be written after that of a later one; it does not take the count back.
func TestQueues_LateCount(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "q.db")
	db := openDB(t, path)
	q := openQueues(t, db, QueueSpec{Name: "q"})
	if err := q.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{2, 1} {
		if err := db.Update(func(tx *bbolt.Tx) error { return rewrite(tx, "q", 1, count, time.Time{}) }); err != nil {
			t.Fatal(err)
		}
	}
	_ = db.Close()
	q = openQueues(t, openDB(t, path), QueueSpec{Name: "q"})
	if got := mustReceive(t, q, "q")[0].count; got != 3 {
		t.Errorf("the next receive is the %d., want the third", got)
	}
}

// A message that cannot be read steps back behind the others, so that it holds nobody up for ever.
func TestQueues_DamagedStepsBack(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "q.db"))
	q := openQueues(t, db, QueueSpec{Name: "q", Visibility: time.Minute})
	for range 2 {
		if err := q.Send(t.Context(), "q", sample); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(queuesBucket).Bucket([]byte("q")).Put(key(1), []byte{0xff}) }); err != nil {
		t.Fatal(err)
	}
	discard := func(events.Message) {}
	if _, err := q.receive(t.Context(), "q", 1, discard); err == nil {
		t.Fatal("the damaged message can be read")
	}
	if batch, err := q.receive(t.Context(), "q", 1, discard); err != nil || len(batch) != 1 {
		t.Errorf("then come %d messages, %v; want the other one", len(batch), err)
	}
}
