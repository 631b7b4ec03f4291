package events_test

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
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/memory"
)

// effects is a subscriber that counts what it did, and answers as told.
type effects struct {
	answer func(e events.Event) error

	mu   sync.Mutex
	made []string // IDs, in order
}

func (f *effects) OnEvent(_ context.Context, e events.Event) error {
	f.mu.Lock()
	f.made = append(f.made, e.ID)
	f.mu.Unlock()
	if f.answer == nil {
		return nil
	}
	return f.answer(e)
}

func (f *effects) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.made)
}

func TestOnce_WhatIsDone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want int // effects of two deliveries
	}{
		"success":      {nil, 1},
		"dropped":      {events.Drop("not for us"), 1},
		"failed":       {errors.New("not yet"), 2},
		"parked":       {events.Park(errors.New("odd")), 2},
		"invalid":      {events.Errorf(events.CodeInvalid, "odd"), 2},
		"rate-limited": {&events.Error{Code: events.CodeRateLimited, RetryAt: time.Now().Add(time.Hour)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &effects{answer: func(events.Event) error { return test.err }}
			s := events.Once("mailer", &memory.OnceStore{}, f)
			if err := s.OnEvent(t.Context(), validEvent()); !errors.Is(err, test.err) {
				t.Errorf("the first delivery: %v, want what the subscriber says", err)
			}
			_ = s.OnEvent(t.Context(), validEvent())
			if f.count() != test.want {
				t.Errorf("%d effects, want %d", f.count(), test.want)
			}
		})
	}
}

// What is handled is identified by subscriber, topic and event, and by nothing else.
func TestOnce_Key(t *testing.T) {
	t.Parallel()
	f, store := &effects{}, &memory.OnceStore{}
	deliver := func(name string, change func(*events.Event)) {
		t.Helper()
		e := validEvent()
		change(&e)
		if err := events.Once(name, store, f).OnEvent(t.Context(), e); err != nil && err.Error() != events.ErrDone.Error() {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		what   string
		name   string
		change func(*events.Event)
		want   int
	}{
		{"an event", "mailer", func(*events.Event) {}, 1},
		{"the same with other headers", "mailer", func(e *events.Event) { e.Metadata, e.Group, e.Time = nil, "g", time.Time{} }, 1},
		{"the same on a sub-topic", "mailer", func(e *events.Event) { e.Topic += ".push" }, 2},
		{"another one", "mailer", func(e *events.Event) { e.ID += "0" }, 3},
		{"the first for another subscriber", "chat", func(*events.Event) {}, 4},
		{"what looks alike", "mailer\",\"" + validEvent().Topic, func(e *events.Event) { e.Topic = "x" }, 5},
		{"the first again", "mailer", func(*events.Event) {}, 5},
	} {
		if deliver(step.name, step.change); f.count() != step.want {
			t.Errorf("%s: %d effects, want %d", step.what, f.count(), step.want)
		}
	}
}

// The queue is told that a repeated event is dropped, and why.
func TestOnce_InABatch(t *testing.T) {
	t.Parallel()
	f, h := &effects{}, &hops{}
	b := &events.Batch{Function: "f", Queue: &fakeQueue{}, Observer: h, Subscriber: events.Once("f", &memory.OnceStore{}, f)}
	for range 2 {
		if got := failures(b.Handle(t.Context(), sqsEvent(t, 3, 1))); got != "" {
			t.Errorf("%s is reported as failed", got)
		}
	}
	if f.count() != 3 {
		t.Errorf("%d effects, want 3", f.count())
	}
	for _, hop := range h.list[3:] {
		if hop.Outcome != events.OutcomeDropped || hop.Reason != events.ErrDone.Error() {
			t.Errorf("the second delivery of %s: %s, %q", hop.Event, hop.Outcome, hop.Reason)
		}
	}
}

// While one invocation works on an event, another one neither does the same nor acknowledges it: the event comes again
// when the claim of the first has certainly ended.
func TestOnce_LiveLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const remaining = 30 * time.Second
		started, release := make(chan struct{}), make(chan struct{})
		f := &effects{answer: func(events.Event) error {
			close(started)
			<-release
			return errors.New("did not work")
		}}
		s := events.Once("f", &memory.OnceStore{}, f)
		first := make(chan error)
		begin := time.Now()
		ctx, cancel := context.WithDeadline(t.Context(), begin.Add(remaining))
		defer cancel()
		go func() { first <- s.OnEvent(ctx, sqsEventOf(t, 1)) }()
		<-started

		q, h := &fakeQueue{}, &hops{}
		b := &events.Batch{Function: "f", Queue: q, Observer: h, Subscriber: s}
		if got := failures(b.Handle(t.Context(), sqsEvent(t, 1, 1))); got != "m1" {
			t.Errorf("%q is reported as failed, want the event that somebody else works on", got)
		}
		if got := q.hidden["m1"]; got < remaining || got > remaining+10*time.Second {
			t.Errorf("the event is hidden for %v, want a little more than the %v that the other one has", got, remaining)
		}
		close(release)
		if err := <-first; err == nil || f.count() != 1 {
			t.Errorf("%d effects, %v", f.count(), err)
		}
		f.answer = nil
		if err := s.OnEvent(t.Context(), sqsEventOf(t, 1)); err != nil || f.count() != 2 {
			t.Errorf("after the failure: %v, %d effects; want it done", err, f.count())
		}
	})
}

// sqsEventOf returns the event of the n-th message of sqsEvent.
func sqsEventOf(t *testing.T, n int) events.Event {
	t.Helper()
	e, err := events.Decode(sqsEvent(t, n, 1).Records[n-1].Message())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestOnce_NoDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &memory.OnceStore{}
		s := events.Once("f", store, events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
			// Nobody else can have it as long as a function can run.
			time.Sleep(15*time.Minute - time.Second)
			err := events.Once("f", store, &effects{}).OnEvent(ctx, e)
			if events.ErrorCode(err) != events.CodeRateLimited {
				t.Errorf("a second claim: %v", err)
			}
			return nil
		}))
		if err := s.OnEvent(t.Context(), validEvent()); err != nil {
			t.Error(err)
		}
	})
}

// A panic gives the claim back and goes on to who isolates it.
func TestOnce_Panic(t *testing.T) {
	t.Parallel()
	f := &effects{answer: func(e events.Event) error {
		if e.ID == "t:2" {
			panic("boom")
		}
		return nil
	}}
	b := &events.Batch{Function: "f", Observer: &hops{}, Subscriber: events.Once("f", &memory.OnceStore{}, f)}
	for range 2 {
		if got := failures(b.Handle(t.Context(), sqsEvent(t, 3, 1))); got != "m2" {
			t.Errorf("%q is reported as failed, want m2", got)
		}
	}
	if diff := cmp.Diff([]string{"t:1", "t:2", "t:3", "t:2"}, f.made); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// A subscriber that runs out of time gives its claim back, although its context has ended; one that is ready in the
// last moment is done. Nothing is claimed when the time is over.
func TestOnce_OutOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &memory.OnceStore{}
		calls := 0
		s := events.Once("f", store, events.SubscriberFunc(func(ctx context.Context, _ events.Event) error {
			<-ctx.Done()
			if calls++; calls == 1 {
				return ctx.Err()
			}
			return nil
		}))
		deliver := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return s.OnEvent(ctx, validEvent())
		}
		if err := deliver(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first: %v", err)
		}
		if err := deliver(); err != nil {
			t.Errorf("the second: %v, want it done", err)
		}
		if err := deliver(); err == nil || calls != 2 {
			t.Errorf("the third: %v, %d calls; want it dropped", err, calls)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		other := validEvent()
		other.ID += "0"
		if err := s.OnEvent(ended, other); !errors.Is(err, context.Canceled) || calls != 2 {
			t.Errorf("when the time is over: %v, %d calls", err, calls)
		}
	})
}

// broken is a store that fails as told.
type broken struct {
	events.OnceStore
	claim, complete error
}

func (b *broken) Claim(ctx context.Context, key string, lease time.Duration) (string, error) {
	if b.claim != nil {
		return "", b.claim
	}
	return b.OnceStore.Claim(ctx, key, lease)
}

func (b *broken) Complete(ctx context.Context, key string) error {
	if b.complete != nil {
		return b.complete
	}
	return b.OnceStore.Complete(ctx, key)
}

func TestOnce_StoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &broken{OnceStore: &memory.OnceStore{}, claim: errors.New("no table")}
		f := &effects{}
		s := events.Once("f", store, f)
		deliver := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return s.OnEvent(ctx, validEvent())
		}
		if err := deliver(); !errors.Is(err, store.claim) || f.count() != 0 {
			t.Errorf("without a claim: %v, %d effects; want none", err, f.count())
		}
		store.claim, store.complete = nil, errors.New("no table")
		if err := deliver(); events.ErrorCode(err) != events.CodeUnavailable || f.count() != 1 {
			t.Errorf("not recorded: %v, %d effects; want it to come again", err, f.count())
		}
		store.complete = nil
		if err := deliver(); events.ErrorCode(err) != events.CodeRateLimited || f.count() != 1 {
			t.Errorf("at once: %v, %d effects; want nothing while the claim is live", err, f.count())
		}
		time.Sleep(2 * time.Minute)
		if err := deliver(); err != nil || f.count() != 2 {
			t.Errorf("after the claim: %v, %d effects; at least once means again", err, f.count())
		}
	})
}

// batcher is a BatchSubscriber that answers all events of a batch as told.
type batcher struct {
	effects
	batches [][]string
	all     func(es []events.Event) []error
}

func (b *batcher) OnEvents(_ context.Context, es []events.Event) []error {
	var ids []string
	for _, e := range es {
		ids = append(ids, e.ID)
	}
	b.batches = append(b.batches, ids)
	if b.all == nil {
		return make([]error, len(es))
	}
	return b.all(es)
}

func TestOnce_BatchSubscriber(t *testing.T) {
	t.Parallel()
	if _, ok := events.Once("f", &memory.OnceStore{}, &effects{}).(events.BatchSubscriber); ok {
		t.Error("a subscriber of single events gets batches")
	}
	b := &batcher{all: func(es []events.Event) []error {
		errs := make([]error, len(es))
		for i, e := range es {
			if e.ID == "t:2" {
				errs[i] = errors.New("not yet")
			}
		}
		return errs
	}}
	s := events.Once("f", &memory.OnceStore{}, b)
	if err := s.OnEvent(t.Context(), sqsEventOf(t, 3)); err != nil {
		t.Fatal(err)
	}
	batch := &events.Batch{Function: "f", Observer: &hops{}, Subscriber: s}
	for range 3 { // the last has only one event left, which is no batch
		if got := failures(batch.Handle(t.Context(), sqsEvent(t, 4, 1))); got != "m2" {
			t.Errorf("%q is reported as failed, want m2", got)
		}
	}
	if diff := cmp.Diff([][]string{{"t:1", "t:2", "t:4"}, {"t:2"}, {"t:2"}}, b.batches); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	b.all = nil
	for range 2 { // nothing is left in the second
		if got := failures(batch.Handle(t.Context(), sqsEvent(t, 4, 1))); got != "" {
			t.Errorf("%q is reported as failed", got)
		}
	}
	if len(b.batches) != 4 {
		t.Errorf("the batches are %v, want one more", b.batches)
	}
}

// Of the same event twice in a batch one is handled; the other waits for it.
func TestOnce_TwiceInABatch(t *testing.T) {
	t.Parallel()
	b := &batcher{}
	twice := sqsEvent(t, 2, 1)
	again := twice.Records[0]
	again.MessageID = "again"
	twice.Records = append(twice.Records, again)
	batch := &events.Batch{Function: "f", Queue: &fakeQueue{}, Observer: &hops{}, Subscriber: events.Once("f", &memory.OnceStore{}, b)}
	if got := failures(batch.Handle(t.Context(), twice)); got != "again" {
		t.Errorf("%q is reported as failed, want the second", got)
	}
	if got := failures(batch.Handle(t.Context(), twice)); got != "" {
		t.Errorf("%q is reported as failed", got)
	}
	if diff := cmp.Diff([][]string{{"t:1", "t:2"}}, b.batches); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
}

// Where a batch cannot be blamed on one of its events each is tried alone, and not twice.
func TestOnce_BatchGoesWrong(t *testing.T) {
	t.Parallel()
	for name, all := range map[string]func([]events.Event) []error{
		"panic":            func([]events.Event) []error { panic("boom") },
		"too few answers":  func(es []events.Event) []error { return make([]error, len(es)-1) },
		"too many answers": func(es []events.Event) []error { return make([]error, len(es)+1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &batcher{all: all}
			batch := &events.Batch{Function: "f", Observer: &hops{}, Subscriber: events.Once("f", &memory.OnceStore{}, b)}
			if got := failures(batch.Handle(t.Context(), sqsEvent(t, 3, 1))); got != "" {
				t.Errorf("%q is reported as failed", got)
			}
			if diff := cmp.Diff([]string{"t:1", "t:2", "t:3"}, b.made); diff != "" {
				t.Errorf("alone (-want +got):\n%s", diff)
			}
		})
	}
}

// process is one that works on events until it crashes: then it does not reach the store any more.
type process struct {
	events.OnceStore
	crashed bool
}

var errCrashed = errors.New("the process is dead")

func (p *process) Complete(ctx context.Context, key string) error {
	if p.crashed {
		return errCrashed
	}
	return p.OnceStore.Complete(ctx, key)
}

func (p *process) Release(ctx context.Context, key, token string) error {
	if p.crashed {
		return errCrashed
	}
	return p.OnceStore.Release(ctx, key, token)
}

// ways are the ways in which the work on an event can end.
var ways = []string{"success", "failure", "panic", "out of time", "crash before the effect", "crash after the effect", "success without a record"}

// delivery is one try to handle an event.
type delivery struct {
	after time.Duration // since the one before
	time  time.Duration // that the invocation has
	work  time.Duration
	way   string
}

// world is what can be seen of the work on one event.
type world struct {
	store events.OnceStore

	mu       sync.Mutex
	working  time.Time // until when somebody works under a live claim
	effects  int
	mayRest  int // effects that were not recorded
	recorded bool
	problems []string
}

func (w *world) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// deliver hands the event to a new process and tells whether that acknowledges it.
func (w *world) deliver(d delivery) (acknowledged bool) {
	p := &process{OnceStore: w.store}
	ctx, cancel := context.WithTimeout(context.Background(), d.time)
	defer cancel()
	s := events.Once("s", p, events.SubscriberFunc(func(ctx context.Context, _ events.Event) error { return w.work(ctx, d, p) }))
	defer func() {
		if v := recover(); v != nil {
			acknowledged = false
		}
	}()
	err := s.OnEvent(ctx, events.Event{ID: "t:1", Topic: "t"})
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.crashed {
		return false // nobody hears what a dead process says
	}
	done := err == nil || err.Error() == events.ErrDone.Error()
	if err == nil {
		w.recorded = true
	}
	if done && !w.recorded {
		w.problem("an event was acknowledged whose effect is not recorded")
	}
	return done
}

// work makes the effect, or dies.
func (w *world) work(ctx context.Context, d delivery, p *process) error {
	w.mu.Lock()
	if time.Now().Before(w.working) {
		w.problem("two work on the event at the same time")
	}
	if w.recorded {
		w.problem("the effect is made again although it is recorded")
	}
	deadline, _ := ctx.Deadline()
	w.working = deadline
	w.mu.Unlock()

	select {
	case <-time.After(d.work):
	case <-ctx.Done():
	}
	if d.way == "out of time" {
		<-ctx.Done()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.working = time.Time{}
	switch d.way {
	case "failure":
		return errors.New("not yet")
	case "panic":
		panic("boom")
	case "out of time":
		return ctx.Err()
	case "crash before the effect":
		p.crashed, w.working = true, deadline
		return nil
	}
	w.effects++
	switch d.way {
	case "crash after the effect":
		p.crashed, w.working = true, deadline
		w.mayRest++
	case "success without a record":
		p.crashed = true
		w.mayRest++
	}
	return nil
}

// However deliveries overlap, fail, crash and outlive their time: two never work on an event under a live claim, an
// effect that is recorded is never made again, and the event is not lost.
func TestOnce_Interleavings(t *testing.T) {
	t.Parallel()
	seconds := func(from, to int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(from, to), func(n int) time.Duration { return time.Duration(n) * time.Second })
	}
	deliveries := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) delivery {
		return delivery{
			after: seconds(0, 20).Draw(rt, "after"), time: seconds(1, 30).Draw(rt, "time"),
			work: seconds(0, 40).Draw(rt, "work"), way: rapid.SampledFrom(ways).Draw(rt, "way"),
		}
	}), 1, 12)
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		plan := deliveries.Draw(rt, "deliveries")
		w := &world{}
		synctest.Test(t, func(*testing.T) {
			w.store = &memory.OnceStore{}
			var wg sync.WaitGroup
			for _, d := range plan {
				time.Sleep(d.after)
				wg.Go(func() { w.deliver(d) })
			}
			wg.Wait()
			// The queue delivers until somebody acknowledges.
			last := delivery{time: time.Second, way: "success"}
			for tries := 0; !w.deliver(last); tries++ {
				if tries == 60 {
					w.problem("the event is never handled")
					return
				}
				time.Sleep(time.Second)
			}
		})
		if w.effects == 0 {
			w.problem("the event is lost")
		}
		if w.effects > w.mayRest+1 {
			w.problem("%d effects, %d of them not recorded", w.effects, w.mayRest)
		}
		if len(w.problems) > 0 {
			rt.Fatalf("%q after %+v", slices.Compact(w.problems), plan)
		}
		seen[fmt.Sprint("effects: ", min(w.effects, 2))]++
	})
	if seen["effects: 1"] == 0 || seen["effects: 2"] == 0 {
		t.Errorf("%v: the test shows nothing", seen)
	}
}
