// Package eventstest is the conformance suite of transports: whoever publishes and delivers Callboard's events
// has to pass it, so that a subscriber need not know which transport it is fed by.
package eventstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
)

// patience is how long an event may take to arrive before a test fails. It is no measure of speed.
const patience = 2 * time.Minute

// Transport is a publisher and what is needed to see that it works.
type Transport interface {
	events.Publisher
	// Subscribe delivers the events of the topics to s from now on.
	Subscribe(t testing.TB, id string, topics []string, s events.Subscriber)
	// Drain waits until nothing that was published is waiting, resting or being handled.
	Drain(ctx context.Context) error
	// DeadLetters returns the messages that the subscriber did not handle.
	DeadLetters(t testing.TB, id string) []events.Message
}

// Run runs the suite. open returns a new, empty transport that is closed by t.Cleanup. Its retries should come
// quickly; after five deliveries an event has to be a dead letter.
func Run(t *testing.T, open func(t *testing.T) Transport) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, tr Transport)
	}{
		{"Intact", testIntact},
		{"ExactTopics", testExactTopics},
		{"FanOut", testFanOut},
		{"NoSubscribers", testNoSubscribers},
		{"Many", testMany},
		{"Retry", testRetry},
		{"Panic", testPanic},
		{"GiveUp", testGiveUp},
		{"Park", testPark},
		{"Poison", testPoison},
		{"Drop", testDrop},
		{"Defer", testDefer},
		{"PartialPublish", testPartialPublish},
		{"SizeLimit", testSizeLimit},
		{"Duplicates", testDuplicates},
		{"Parallel", testParallel},
		{"PartialFailures", testPartialFailures},
		{"LargeBatch", testLargeBatch},
		{"UnusualMetadata", testUnusualMetadata},
		{"Groups", testGroups},
		{"TraceParent", testTraceParent},
		{"OutOfTime", testOutOfTime},
		{"Troubles", testTroubles},
		{"LargeRouted", testLargeRouted},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

// Recorder is a subscriber that remembers what it got and answers as told.
type Recorder struct {
	// Answer returns the error for the n-th delivery (from 1) of an event; nil accepts everything.
	Answer func(e events.Event, n int) error

	mu    sync.Mutex
	got   []events.Event
	times map[string]int
}

// OnEvent records e.
func (r *Recorder) OnEvent(_ context.Context, e events.Event) error {
	r.mu.Lock()
	if r.times == nil {
		r.times = make(map[string]int)
	}
	r.times[e.ID]++
	n := r.times[e.ID]
	r.got = append(r.got, e)
	r.mu.Unlock()
	if r.Answer == nil {
		return nil
	}
	return r.Answer(e, n)
}

// Events returns the first delivery of every event that arrived, by ID.
func (r *Recorder) Events() map[string]events.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := make(map[string]events.Event)
	for _, e := range r.got {
		if _, ok := first[e.ID]; !ok {
			first[e.ID] = e
		}
	}
	return first
}

// Deliveries returns how often the event was delivered.
func (r *Recorder) Deliveries(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.times[id]
}

// NewEvent returns a valid event of a topic, different for each n.
func NewEvent(topic string, n int) events.Event {
	return events.Event{
		ID:          events.NewID(topic, fmt.Sprintf("delivery-%d", n)),
		Topic:       topic,
		Payload:     []byte(fmt.Sprintf(`{"n": %d}`, n)),
		Metadata:    events.Metadata{"x-type": "test", "x-number": fmt.Sprint(n)},
		Promoted:    []string{"x-type"},
		Time:        time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Group:       events.Group("example.com", fmt.Sprint(n%3)),
	}
}

func publish(t *testing.T, tr Transport, es ...events.Event) {
	t.Helper()
	if err := tr.Publish(t.Context(), es...); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

func drain(t *testing.T, tr Transport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := tr.Drain(ctx); err != nil {
		t.Fatalf("drain: %v", err)
	}
}

func testIntact(t *testing.T, tr Transport) {
	want := NewEvent("github.push", 1)
	want.Payload = []byte("{ \"a\":1, \"a\" : 2,\n\t\"big\":12345678901234567890.10, \"text\":\"\\u0000 \\ud83d\\ude00 \u00e4 \u2028 \U0001F600\"}\r\n")
	want.Metadata = events.Metadata{"x-github-event": "push", "x-odd": "\" \\ \t\u00e4", "x-empty": ""}
	want.Promoted = []string{"x-github-event"}
	r := &Recorder{}
	tr.Subscribe(t, "intact", []string{"github.push"}, r)
	publish(t, tr, want)
	drain(t, tr)
	got := r.Events()[want.ID]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the event arrived changed (-sent +received):\n%s", diff)
	}
}

func testExactTopics(t *testing.T, tr Transport) {
	root, sub := &Recorder{}, &Recorder{}
	tr.Subscribe(t, "root", []string{"github"}, root)
	tr.Subscribe(t, "sub", []string{"github.push"}, sub)
	publish(t, tr, NewEvent("github", 1), NewEvent("github.push", 2), NewEvent("github.push.x", 3))
	drain(t, tr)
	if got := root.Events(); len(got) != 1 || got["github:delivery-1"].ID == "" {
		t.Errorf("the subscriber of github got %v, want only delivery-1", got)
	}
	if got := sub.Events(); len(got) != 1 || got["github.push:delivery-2"].ID == "" {
		t.Errorf("the subscriber of github.push got %v, want only delivery-2", got)
	}
}

func testFanOut(t *testing.T, tr Transport) {
	a, b := &Recorder{}, &Recorder{}
	tr.Subscribe(t, "a", []string{"one"}, a)
	tr.Subscribe(t, "b", []string{"one", "two"}, b)
	publish(t, tr, NewEvent("one", 1), NewEvent("two", 2))
	drain(t, tr)
	if got := len(a.Events()); got != 1 {
		t.Errorf("the first subscriber got %d events, want 1", got)
	}
	if got := len(b.Events()); got != 2 {
		t.Errorf("the second subscriber got %d events, want 2", got)
	}
}

func testNoSubscribers(t *testing.T, tr Transport) {
	publish(t, tr, NewEvent("nobody", 1))
	drain(t, tr)
}

func testMany(t *testing.T, tr Transport) {
	const publishers, each = 8, 50
	r := &Recorder{}
	tr.Subscribe(t, "many", []string{"many"}, r)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			es := make([]events.Event, each)
			for i := range es {
				es[i] = NewEvent("many", p*each+i)
			}
			if err := tr.Publish(t.Context(), es...); err != nil {
				t.Errorf("publish: %v", err)
			}
		})
	}
	wg.Wait()
	drain(t, tr)
	if got, want := len(r.Events()), publishers*each; got != want {
		t.Errorf("%d different events arrived, want %d", got, want)
	}
}

func testRetry(t *testing.T, tr Transport) {
	failing := NewEvent("retry", 3)
	r := &Recorder{Answer: func(e events.Event, n int) error {
		if e.ID == failing.ID && n < 3 {
			return errors.New("not yet")
		}
		return nil
	}}
	tr.Subscribe(t, "retry", []string{"retry"}, r)
	publish(t, tr, NewEvent("retry", 1), NewEvent("retry", 2), failing, NewEvent("retry", 4))
	drain(t, tr)
	if got := r.Deliveries(failing.ID); got < 3 {
		t.Errorf("the failing event was delivered %d times, want at least 3", got)
	}
	if got := len(r.Events()); got != 4 {
		t.Errorf("%d events arrived, want 4: a failing event must not hold up the others", got)
	}
	if dead := tr.DeadLetters(t, "retry"); len(dead) != 0 {
		t.Errorf("%d dead letters, want none: the event succeeded in the end", len(dead))
	}
}

func testPanic(t *testing.T, tr Transport) {
	bad := NewEvent("panic", 1)
	r := &Recorder{Answer: func(e events.Event, n int) error {
		if e.ID == bad.ID && n == 1 {
			panic("boom")
		}
		return nil
	}}
	tr.Subscribe(t, "panic", []string{"panic"}, r)
	publish(t, tr, bad, NewEvent("panic", 2))
	drain(t, tr)
	if got := r.Deliveries(bad.ID); got < 2 {
		t.Errorf("the event was delivered %d times, want again after the panic", got)
	}
	if got := len(r.Events()); got != 2 {
		t.Errorf("%d events arrived, want 2", got)
	}
}

func testGiveUp(t *testing.T, tr Transport) {
	bad := NewEvent("give-up", 1)
	r := &Recorder{Answer: func(events.Event, int) error { return errors.New("never") }}
	tr.Subscribe(t, "give-up", []string{"give-up"}, r)
	publish(t, tr, bad)
	drain(t, tr)
	dead := tr.DeadLetters(t, "give-up")
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want 1", len(dead))
	}
	if got, err := events.Decode(dead[0]); err != nil || !got.Equal(bad) {
		t.Errorf("the dead letter is %+v, %v; want the event as it was published", got, err)
	}
	if got := r.Deliveries(bad.ID); got < 5 {
		t.Errorf("given up after %d deliveries, want at least 5", got)
	}
}

func testPark(t *testing.T, tr Transport) {
	bad := NewEvent("park", 1)
	r := &Recorder{Answer: func(e events.Event, _ int) error {
		if e.ID == bad.ID {
			return events.Errorf(events.CodeInvalid, "cannot be understood: \x01")
		}
		return nil
	}}
	tr.Subscribe(t, "park", []string{"park"}, r)
	publish(t, tr, bad, NewEvent("park", 2))
	drain(t, tr)
	if got := r.Deliveries(bad.ID); got != 1 {
		t.Errorf("the event was delivered %d times, want once: it is parked", got)
	}
	dead := tr.DeadLetters(t, "park")
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want 1", len(dead))
	}
	if got := dead[0].Body; got != string(bad.Payload) {
		t.Errorf("the body of the dead letter is %q, want %q", got, bad.Payload)
	}
	if got := dead[0].Attributes[events.AttributeParkedReason].StringValue; !strings.Contains(got, "cannot be understood") {
		t.Errorf("the reason is %q, want what the subscriber said", got)
	}
	for _, name := range []string{events.AttributeParkedFunction, events.AttributeParkedTime} {
		if dead[0].Attributes[name].StringValue == "" {
			t.Errorf("the dead letter has no attribute %s", name)
		}
	}
	if got := len(dead[0].Attributes); got > 10 {
		t.Errorf("the dead letter has %d attributes, AWS allows 10", got)
	}
}

// One of ten cannot be understood. The others are delivered, and once: nothing crashes here.
func testPoison(t *testing.T, tr Transport) {
	var es []events.Event
	for n := range 10 {
		es = append(es, NewEvent("poison", n))
	}
	bad := es[4]
	r := &Recorder{Answer: func(e events.Event, _ int) error {
		if e.ID == bad.ID {
			return events.Park(errors.New("no use"))
		}
		return nil
	}}
	tr.Subscribe(t, "poison", []string{"poison"}, r)
	publish(t, tr, es...)
	drain(t, tr)
	for _, e := range es {
		if got := r.Deliveries(e.ID); got != 1 {
			t.Errorf("event %s was delivered %d times, want once", e.ID, got)
		}
	}
	if dead := tr.DeadLetters(t, "poison"); len(dead) != 1 || dead[0].Attributes[events.AttributeID].StringValue != bad.ID {
		t.Errorf("the dead letters are %+v, want only the one of %s", dead, bad.ID)
	}
}

func testDrop(t *testing.T, tr Transport) {
	r := &Recorder{Answer: func(events.Event, int) error { return events.Drop("not for us") }}
	tr.Subscribe(t, "drop", []string{"drop"}, r)
	publish(t, tr, NewEvent("drop", 1))
	drain(t, tr)
	if got := r.Deliveries("drop:delivery-1"); got != 1 {
		t.Errorf("the event was delivered %d times, want once", got)
	}
	if dead := tr.DeadLetters(t, "drop"); len(dead) != 0 {
		t.Errorf("%d dead letters, want none", len(dead))
	}
}

func testDefer(t *testing.T, tr Transport) {
	var at time.Time
	var early bool
	r := &Recorder{}
	r.Answer = func(_ events.Event, n int) error {
		if n == 1 {
			at = time.Now().Add(300 * time.Millisecond)
			return &events.Error{Code: events.CodeRateLimited, Message: "later", RetryAt: at}
		}
		early = time.Now().Before(at)
		return nil
	}
	tr.Subscribe(t, "defer", []string{"defer"}, r)
	publish(t, tr, NewEvent("defer", 1))
	drain(t, tr)
	if got := r.Deliveries("defer:delivery-1"); got != 2 {
		t.Errorf("the event was delivered %d times, want 2", got)
	}
	if early {
		t.Error("the event came again before the time it was deferred to")
	}
}

func testPartialPublish(t *testing.T, tr Transport) {
	r := &Recorder{}
	tr.Subscribe(t, "partial", []string{"partial"}, r)
	es := []events.Event{NewEvent("partial", 1), NewEvent("partial", 2), NewEvent("partial", 3)}
	es[1].Payload = []byte("{\"a\":\"\x01\"}")
	err := tr.Publish(t.Context(), es...)
	for i, want := range []events.Code{"", events.CodeInvalid, ""} {
		if got := events.ErrorCode(events.PublishErrorOf(err, i)); got != want {
			t.Errorf("event %d: error code %q, want %q", i, got, want)
		}
	}
	drain(t, tr)
	if got := r.Events(); len(got) != 2 || got[es[1].ID].ID != "" {
		t.Errorf("%d events arrived, want the two good ones", len(got))
	}
}
