package eventstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/memory"
)

// Limited is a [Transport] whose functions have a time limit. Others skip the test that needs one.
type Limited interface {
	Transport
	// SubscribeWithin is Subscribe for a function that has the given time, at least 3 seconds, for each batch.
	SubscribeWithin(t testing.TB, limit time.Duration, id string, topics []string, s events.Subscriber)
}

func newEvents(topic string, n int) []events.Event {
	es := make([]events.Event, n)
	for i := range es {
		es[i] = NewEvent(topic, i)
	}
	return es
}

// allArrived fails the test unless exactly these events arrived, each as it was published.
func allArrived(t *testing.T, r *Recorder, es []events.Event) {
	t.Helper()
	want := make(map[string]events.Event, len(es))
	for _, e := range es {
		want[e.ID] = e
	}
	if diff := cmp.Diff(want, r.Events()); diff != "" {
		t.Errorf("events (-published +arrived):\n%s", diff)
	}
}

// An event that is published again is delivered again: a person may have asked for it, and only the subscriber knows
// whether it has done its work.
func testDuplicates(t *testing.T, tr Transport) {
	const times = 3
	r := &Recorder{}
	tr.Subscribe(t, "duplicates", []string{"duplicates"}, r)
	es := newEvents("duplicates", 5)
	publish(t, tr, slices.Concat(es, es)...)
	publish(t, tr, es...)
	drain(t, tr)
	allArrived(t, r, es)
	for _, e := range es {
		if got := r.Deliveries(e.ID); got < times {
			t.Errorf("%s was delivered %d times, want the %d it was published", e.ID, got, times)
		}
	}
}

// Subscribers of one topic do not know of each other: not of one that fails, nor of one that waits for all others.
func testParallel(t *testing.T, tr Transport) {
	const subscribers = 5
	es := newEvents("parallel", 30)
	recorders := make([]*Recorder, subscribers)
	arrived := make(chan struct{}, subscribers*len(es))
	for i := range recorders {
		recorders[i] = &Recorder{Answer: func(events.Event, int) error {
			arrived <- struct{}{}
			return nil
		}}
		tr.Subscribe(t, fmt.Sprint("parallel-", i), []string{"parallel"}, recorders[i])
	}
	bad := &Recorder{Answer: func(events.Event, int) error { return events.Park(errors.New("never")) }}
	tr.Subscribe(t, "parallel-bad", []string{"parallel"}, bad)
	var once sync.Once
	slow := &Recorder{Answer: func(events.Event, int) error {
		once.Do(func() {
			timeout := time.After(patience)
			for range subscribers * len(es) {
				select {
				case <-arrived:
				case <-timeout:
					t.Error("the others wait for a slow subscriber")
					return
				}
			}
		})
		return nil
	}}
	tr.Subscribe(t, "parallel-slow", []string{"parallel"}, slow)
	publish(t, tr, es...)
	drain(t, tr)
	for _, r := range append(recorders, slow) {
		allArrived(t, r, es)
	}
	if dead := tr.DeadLetters(t, "parallel-bad"); len(dead) != len(es) {
		t.Errorf("%d dead letters, want all %d of the subscriber that parks", len(dead), len(es))
	}
}

// Those of a batch that fail come again, and those that do not are handled once.
func testPartialFailures(t *testing.T, tr Transport) {
	fails := func(e events.Event) bool { return strings.HasSuffix(e.ID, "3") }
	r := &Recorder{Answer: func(e events.Event, n int) error {
		if fails(e) && n < 3 {
			return errors.New("not yet")
		}
		return nil
	}}
	tr.Subscribe(t, "partial-failures", []string{"partial-failures"}, r)
	es := newEvents("partial-failures", 50)
	publish(t, tr, es...)
	drain(t, tr)
	allArrived(t, r, es)
	for _, e := range es {
		want := 1
		if fails(e) {
			want = 3
		}
		if got := r.Deliveries(e.ID); got != want {
			t.Errorf("%s was delivered %d times, want %d", e.ID, got, want)
		}
	}
}

// A publisher takes more events at once than its topics do, and more bytes.
func testLargeBatch(t *testing.T, tr Transport) {
	r := &Recorder{}
	tr.Subscribe(t, "large-batch", []string{"large-batch.a", "large-batch.b"}, r)
	es := slices.Concat(newEvents("large-batch.a", 120), newEvents("large-batch.b", 120))
	for i := range es {
		size := 100
		if i%40 == 0 {
			size = 200_000
		}
		es[i].Payload = fmt.Appendf(nil, `{"n":%d,"fill":%q}`, i, strings.Repeat("x", size))
	}
	publish(t, tr, es...)
	drain(t, tr)
	allArrived(t, r, es)
}

func testUnusualMetadata(t *testing.T, tr Transport) {
	odd := events.Metadata{
		"x-empty": "", "x-space": " ", "x-json": `{"a":["b"]}`, "x-quote": `"\`, "x-text": "ä \u2028 \U0001F600",
		"x-controls": "\x00\x01\x1f\x7f", "x-nonchar": "\uffff\ufffe", "x-long": strings.Repeat("y", 8000),
		"x with space": "1", "x/slash": "2", "ünusual": "3", "": "no name", ".dot": "4", "x..y": "5", "aws.reserved": "6",
		strings.Repeat("n", 300): "long name",
	}
	many := events.Metadata{}
	for i := range 100 {
		many[fmt.Sprint("x-header-", i)] = fmt.Sprint(i)
	}
	es := newEvents("unusual-metadata", 4)
	es[0].Metadata, es[0].Promoted = odd, nil
	es[1].Metadata, es[1].Promoted = many, []string{"x-header-10", "x-header-20", "x-header-30"}
	es[2].Metadata, es[2].Promoted = events.Metadata{"x-type": strings.Repeat("t", 1000)}, []string{"x-type"}
	es[3].Metadata, es[3].Promoted = nil, nil
	r := &Recorder{}
	tr.Subscribe(t, "unusual-metadata", []string{"unusual-metadata"}, r)
	publish(t, tr, es...)
	drain(t, tr)
	got := r.Events()
	for _, want := range es {
		if got, ok := got[want.ID]; !ok || !got.Equal(want) {
			t.Errorf("the event arrived changed (-published +arrived):\n%s", cmp.Diff(want, got))
		}
	}
}

// The group of an event stays what it was, on each hop.
func testGroups(t *testing.T, tr Transport) {
	es := newEvents("groups", 6)
	for i, group := range []string{"", "one", "!#$%&'()*+,-./", strings.Repeat("g", 128), events.Group("example.com", "a/b"), "one"} {
		es[i].Group = group
	}
	r := &Recorder{}
	tr.Subscribe(t, "groups-router", []string{"groups"}, &events.Router{
		Publisher: tr, Route: func(e events.Event) (string, error) { return "groups.routed", nil },
	})
	tr.Subscribe(t, "groups", []string{"groups.routed"}, r)
	publish(t, tr, es...)
	arrives(t, tr, r, len(es))
	es[0].Group = "groups" // the topic, of the first hop
	for _, want := range es {
		if got := r.Events()[want.ID].Group; got != want.Group {
			t.Errorf("the group of %s is %q, want %q", want.ID, got, want.Group)
		}
	}
}

// arrives drains until n events have come to the end of a path of several hops.
func arrives(t *testing.T, tr Transport, r *Recorder, n int) {
	t.Helper()
	for since := time.Now(); len(r.Events()) < n && time.Since(since) < patience; {
		drain(t, tr)
	}
	if got := len(r.Events()); got != n {
		t.Fatalf("%d events arrived, want %d", got, n)
	}
}

func testTraceParent(t *testing.T, tr Transport) {
	es := newEvents("trace", 3)
	es[0].TraceParent = ""
	es[1].TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	r := &Recorder{}
	tr.Subscribe(t, "trace", []string{"trace"}, r)
	publish(t, tr, es...)
	drain(t, tr)
	allArrived(t, r, es)
}

// A function that runs out of time starts no event any more and reports those that it has not handled.
func testOutOfTime(t *testing.T, tr Transport) {
	limited, ok := tr.(Limited)
	if !ok {
		t.Skip("the transport has no functions with a time limit")
	}
	r := &Recorder{}
	var late sync.Once
	limited.SubscribeWithin(t, 3*time.Second, "out-of-time", []string{"out-of-time"}, events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the context has no deadline")
		}
		if err := r.OnEvent(ctx, e); err != nil {
			return err
		}
		var err error
		late.Do(func() {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(patience):
				t.Error("the time does not run out")
			}
		})
		return err
	}))
	es := newEvents("out-of-time", 30)
	publish(t, tr, es...)
	drain(t, tr)
	allArrived(t, r, es)
	deliveries := 0
	for _, e := range es {
		deliveries += r.Deliveries(e.ID)
	}
	if deliveries != len(es)+1 {
		t.Errorf("%d events were handled %d times, want only the first one twice", len(es), deliveries)
	}
	if dead := tr.DeadLetters(t, "out-of-time"); len(dead) != 0 {
		t.Errorf("%d dead letters, want none", len(dead))
	}
}

// Whatever fails, repeats or arrives out of order, nothing is lost, and a subscriber that remembers what it has done
// does it once.
func testTroubles(t *testing.T, tr Transport) {
	r := &Recorder{}
	s := Subscriber(t, events.Once("troubles", &memory.OnceStore{}, r), Duplicate(0.3), Reorder(0.2), FailRandomly(0.2), CrashAt(1, 10, 30))
	tr.Subscribe(t, "troubles", []string{"troubles"}, s)
	es := newEvents("troubles", 100)
	p := Publisher(t, tr, Duplicate(0.2), Reorder(0.3), FailRandomly(0.2))
	for left := es; len(left) > 0; {
		err := p.Publish(t.Context(), left...)
		var refused []events.Event
		for i, e := range left {
			if events.PublishErrorOf(err, i) != nil {
				refused = append(refused, e)
			}
		}
		left = refused
	}
	drain(t, tr)
	allArrived(t, r, es)
	for _, e := range es {
		if got := r.Deliveries(e.ID); got != 1 {
			t.Errorf("%s was handled %d times, want once", e.ID, got)
		}
	}
	if dead := tr.DeadLetters(t, "troubles"); len(dead) != 0 {
		t.Errorf("%d dead letters, want none", len(dead))
	}
}
