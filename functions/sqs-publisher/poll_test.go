package sqspublisher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	sqspublisher "github.com/callboard/callboard/functions/sqs-publisher"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// far is a queue that is asked for messages. What is received and not deleted stays hidden.
type far struct {
	messages []events.SQSMessage // still to be received
	endless  bool                // there is always one more

	waits   []time.Duration
	deleted []string
	fails   error // of Receive
	lost    error // of Delete
	busy    chan struct{}
}

func (q *far) Receive(ctx context.Context, wait, hidden time.Duration) ([]events.SQSMessage, error) {
	q.waits = append(q.waits, wait)
	if hidden != time.Minute {
		return nil, fmt.Errorf("hidden for %v", hidden)
	}
	if q.busy != nil {
		<-q.busy
	}
	if q.fails != nil {
		return nil, q.fails
	}
	if q.endless {
		q.messages = append(q.messages, message("builds", fmt.Sprint("m-", len(q.waits)), `{}`))
		time.Sleep(time.Second)
	}
	n := min(len(q.messages), 10)
	batch := q.messages[:n]
	q.messages = q.messages[n:]
	if n == 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return batch, nil
}

func (q *far) Delete(_ context.Context, list []events.SQSMessage) error {
	if q.lost != nil {
		return q.lost
	}
	for _, m := range list {
		q.deleted = append(q.deleted, m.MessageID)
	}
	return nil
}

// leases are kept as a table keeps them.
type leases struct {
	mu    sync.Mutex
	items map[table.Key]table.Item
	fails error
}

func (l *leases) Put(_ context.Context, item table.Item, _ ...table.Condition) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.items[item.Key]; ok && held.Expires.After(time.Now()) {
		return &table.ConditionError{Key: item.Key}
	}
	if l.items == nil {
		l.items = map[table.Key]table.Item{}
	}
	l.items[item.Key] = item
	return l.fails
}

func (l *leases) Delete(_ context.Context, key table.Key, conditions ...table.Condition) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.items[key].Attrs["owner"] != conditions[0].Value {
		return &table.ConditionError{Key: key}
	}
	delete(l.items, key)
	return nil
}

func (w *world) poll(q *far, l *leases) *sqspublisher.Poll {
	return &sqspublisher.Poll{
		Topic: "builds", Queue: q, Handle: w.handler().Batch.Handle, Leases: l, WaitTime: 5 * time.Second, VisibilityTimeout: time.Minute,
	}
}

// run polls as in an invocation that may take 30 seconds.
func run(tb testing.TB, p *sqspublisher.Poll) (sqspublisher.Polled, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	return p.Run(ctx)
}

// Only what is done with is deleted: published or parked. What could not be published stays.
func TestPoll_DeletesWhatIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, q, l := newWorld(t), &far{}, &leases{}
		w.refused = errors.New("refused")
		for i := range 12 {
			q.messages = append(q.messages, message("builds", fmt.Sprint("m-", i), `{}`))
		}
		q.messages[3].Body, q.messages[10].Body = `{"refuse":true}`, `no JSON`
		done, err := run(t, w.poll(q, l))
		if diff := cmp.Diff(sqspublisher.Polled{Received: 12, Deleted: 11}, done); diff != "" || err != nil {
			t.Errorf("done (-want +got), %v:\n%s", err, diff)
		}
		if len(q.deleted) != 11 || slices.Contains(q.deleted, "m-3") || len(w.parked) != 1 || len(w.published) != 10 {
			t.Errorf("deleted %q, %d parked, %d published", q.deleted, len(w.parked), len(w.published))
		}
		if w.hidden["m-3"] == 0 {
			t.Error("the message that was refused does not rest")
		}
		if diff := cmp.Diff([]time.Duration{5 * time.Second, 5 * time.Second, 5 * time.Second}, q.waits); diff != "" {
			t.Errorf("waits: a batch, another one, nothing (-want +got):\n%s", diff)
		}
		if len(l.items) > 0 {
			t.Errorf("the lease is still there: %v", l.items)
		}
	})
}

// A queue that is never empty is left before the time of the invocation ends.
func TestPoll_StopsBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, q, begin := newWorld(t), &far{endless: true}, time.Now()
		done, err := run(t, w.poll(q, &leases{}))
		if err != nil || done.Received < 10 || done.Deleted != done.Received {
			t.Errorf("%+v %v, want all that came deleted", done, err)
		}
		if left := 30*time.Second - time.Since(begin); left < 9*time.Second || left > 10*time.Second {
			t.Errorf("it ends %v before the deadline, want 10 s", left)
		}
		if last := q.waits[len(q.waits)-1]; last > time.Second {
			t.Errorf("the last request may wait %v, beyond what is left", last)
		}
	})
}

// Two runs at a time ask the queue once; the lease of one that died ends with its time.
func TestPoll_OneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(t), &leases{}
		first, second := &far{busy: make(chan struct{})}, &far{}
		ended := make(chan sqspublisher.Polled)
		go func() {
			done, err := run(t, w.poll(first, l))
			if err != nil {
				t.Error(err)
			}
			ended <- done
		}()
		synctest.Wait() // the first one waits for messages
		done, err := run(t, w.poll(second, l))
		if err != nil || !done.Busy || len(second.waits) > 0 {
			t.Errorf("%+v %v after %d requests, want it busy", done, err, len(second.waits))
		}
		close(first.busy)
		if done := <-ended; done.Busy {
			t.Error("the first one is busy")
		}
		if done, err := run(t, w.poll(second, l)); err != nil || done.Busy {
			t.Errorf("after the first: %+v %v", done, err)
		}

		key := table.Key{PK: "poll#builds", SK: "lease"}
		l.items[key] = table.Item{Key: key, Expires: time.Now().Add(30 * time.Second), Attrs: table.Attrs{"owner": "dead"}}
		if done, err := run(t, w.poll(second, l)); err != nil || !done.Busy {
			t.Errorf("while a lease lives: %+v %v", done, err)
		}
		time.Sleep(30 * time.Second)
		if done, err := run(t, w.poll(second, l)); err != nil || done.Busy {
			t.Errorf("after it: %+v %v", done, err)
		}
	})
}

func TestPoll_Failures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		queue *far
		table *leases
	}{
		"receive": {&far{fails: events.Errorf(events.CodeUnavailable, "AccessDenied")}, &leases{}},
		"delete":  {&far{lost: events.Errorf(events.CodeUnavailable, "AccessDenied"), messages: []events.SQSMessage{message("builds", "m", `{}`)}}, &leases{}},
		"lease":   {&far{}, &leases{fails: errors.New("throttled")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := run(t, newWorld(t).poll(test.queue, test.table)); events.ErrorCode(err) != events.CodeUnavailable {
				t.Errorf("error %v, so that the invocation fails and somebody is told", err)
			}
			if name != "lease" && len(test.table.items) > 0 {
				t.Error("the lease is still there")
			}
		})
	}
	if _, err := newWorld(t).poll(&far{}, &leases{}).Run(t.Context()); err == nil {
		t.Error("a poll without a deadline would never end")
	}
}
