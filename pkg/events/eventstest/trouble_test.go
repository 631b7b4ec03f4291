package eventstest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
)

// fake is a test whose end can be looked at.
type fake struct {
	testing.TB
	failed   bool
	logged   []string
	cleanups []func()
}

func (f *fake) Helper()                      {}
func (f *fake) Name() string                 { return "Fake" }
func (f *fake) Failed() bool                 { return f.failed }
func (f *fake) Cleanup(c func())             { f.cleanups = append(f.cleanups, c) }
func (f *fake) Logf(s string, args ...any)   { f.logged = append(f.logged, fmt.Sprintf(s, args...)) }
func (f *fake) Errorf(s string, args ...any) { f.failed = true; f.Logf(s, args...) }
func (f *fake) Fatalf(s string, args ...any) { f.Errorf(s, args...) }

// end ends the test and returns what it logged.
func (f *fake) end() string {
	for _, c := range slices.Backward(f.cleanups) {
		c()
	}
	return strings.Join(f.logged, "\n")
}

func newEvents(n int) []events.Event {
	es := make([]events.Event, n)
	for i := range es {
		es[i] = eventstest.NewEvent("t", i)
	}
	return es
}

// deliver hands events to a subscriber, five times each at most, and returns those that were never handled.
func deliver(t *testing.T, s events.Subscriber, es []events.Event) (lost []events.Event) {
	t.Helper()
	for range 5 {
		var again []events.Event
		for _, e := range es {
			if err := protect(func() error { return s.OnEvent(t.Context(), e) }); err != nil {
				again = append(again, e)
			}
		}
		es = again
	}
	return es
}

// protect makes an error of a panic, as whoever calls a subscriber does.
func protect(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

func TestSubscriber_Troubles(t *testing.T) {
	t.Parallel()
	es := newEvents(300)
	for name, test := range map[string]struct {
		troubles []eventstest.Trouble
		counted  string
		twice    bool // some events are handled more than once
		late     bool // some events are handled after those that follow them
	}{
		"none":      {nil, "", false, false},
		"duplicate": {[]eventstest.Trouble{eventstest.Duplicate(0.3)}, "duplicated", true, false},
		"reorder":   {[]eventstest.Trouble{eventstest.Reorder(0.3)}, "reordered", false, true},
		"fail":      {[]eventstest.Trouble{eventstest.FailRandomly(0.5)}, "failed", true, true},
		"crash":     {[]eventstest.Trouble{eventstest.CrashAt(7, 8, 9)}, "3 crashed", true, false},
		"all": {
			[]eventstest.Trouble{eventstest.Duplicate(0.3), eventstest.Reorder(0.3), eventstest.FailRandomly(0.5), eventstest.CrashAt(7)},
			"crashed", true, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			var mu sync.Mutex
			var got []string
			times := map[string]int{}
			s := eventstest.Subscriber(f, events.SubscriberFunc(func(_ context.Context, e events.Event) error {
				mu.Lock()
				defer mu.Unlock()
				times[e.ID]++
				if times[e.ID] == 1 {
					got = append(got, e.ID)
				}
				return nil
			}), test.troubles...)
			if lost := deliver(t, s, es); len(lost) > 0 || len(times) != len(es) {
				t.Errorf("%d events arrived, %d were never acknowledged; trouble must leave one of five deliveries", len(times), len(lost))
			}
			twice := false
			for _, n := range times {
				twice = twice || n > 1
			}
			var want []string
			for _, e := range es {
				want = append(want, e.ID)
			}
			if twice != test.twice || slices.Equal(want, got) == test.late {
				t.Errorf("handled more than once: %v, in another order: %v", twice, !slices.Equal(want, got))
			}
			if log := f.end(); f.failed || !strings.Contains(log, test.counted) {
				t.Errorf("the test logs %q, want %q in it", log, test.counted)
			}
		})
	}
}

// together handles events only together and remembers the batches.
type together struct{ batches [][]string }

func (*together) OnEvent(context.Context, events.Event) error { return errors.New("alone") }

func (b *together) OnEvents(_ context.Context, es []events.Event) []error {
	var ids []string
	for _, e := range es {
		ids = append(ids, e.ID)
	}
	b.batches = append(b.batches, ids)
	return make([]error, len(es))
}

func TestSubscriber_Batch(t *testing.T) {
	t.Parallel()
	f, b := &fake{}, &together{}
	s, ok := eventstest.Subscriber(f, b, eventstest.Duplicate(0.3), eventstest.Reorder(0.3), eventstest.FailRandomly(0.3), eventstest.CrashAt(2)).(events.BatchSubscriber)
	if !ok {
		t.Fatal("a subscriber that takes batches is not one any more")
	}
	es := newEvents(200)
	left, crashes := es, 0
	for range 5 {
		var errs []error
		if err := protect(func() error { errs = s.OnEvents(t.Context(), left); return nil }); err != nil {
			crashes++
			continue
		}
		var again []events.Event
		for i, e := range left {
			if errs[i] != nil {
				again = append(again, e)
			}
		}
		if left = again; len(left) == 0 {
			break
		}
	}
	times := map[string]int{}
	for _, batch := range b.batches {
		for _, id := range batch {
			times[id]++
		}
	}
	if len(left) > 0 || len(times) != len(es) || crashes != 1 {
		t.Errorf("%d events arrived, %d were never acknowledged, %d crashes", len(times), len(left), crashes)
	}
	for _, what := range []string{"duplicated", "reordered", "failed", "crashed"} {
		if log := f.end(); !strings.Contains(log, what) {
			t.Errorf("the test logs %q, want %q in it", log, what)
		}
	}
}

// sink remembers what is published, and refuses what it is told to.
type sink struct {
	refuse func(e events.Event) error
	got    []string
}

func (s *sink) Publish(_ context.Context, es ...events.Event) error {
	errs := make(events.PublishError, len(es))
	bad := false
	for i, e := range es {
		if s.refuse != nil {
			errs[i] = s.refuse(e)
		}
		if errs[i] != nil {
			bad = true
			continue
		}
		s.got = append(s.got, e.ID)
	}
	if bad {
		return errs
	}
	return nil
}

func TestPublisher_Troubles(t *testing.T) {
	t.Parallel()
	f, s := &fake{}, &sink{}
	p := eventstest.Publisher(f, s, eventstest.Duplicate(0.3), eventstest.Reorder(0.3), eventstest.FailRandomly(0.5), eventstest.CrashAt(1))
	es := newEvents(100)
	refused := es
	for calls := 0; len(refused) > 0; calls++ {
		if calls == 5 {
			t.Fatal("some events are refused for ever")
		}
		var err error
		if crash := protect(func() error { err = p.Publish(t.Context(), refused...); return nil }); crash != nil {
			continue
		}
		var again []events.Event
		for i, e := range refused {
			if events.PublishErrorOf(err, i) != nil {
				again = append(again, e)
			}
		}
		refused = again
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(s.got)))
	if len(distinct) != len(es) {
		t.Errorf("%d of %d events were published", len(distinct), len(es))
	}
	if slices.IsSorted(s.got) || len(s.got) == len(es) {
		t.Error("nothing was published twice or in another order")
	}
	if log := f.end(); f.failed || !strings.Contains(log, "crashed") || !strings.Contains(log, "duplicated") || !strings.Contains(log, "failed") {
		t.Errorf("the test logs %q", log)
	}
}

// What the publisher itself refuses is refused, also in another order.
func TestPublisher_Refuses(t *testing.T) {
	t.Parallel()
	s := &sink{refuse: func(e events.Event) error {
		if strings.HasSuffix(e.ID, "3") {
			return errors.New("no")
		}
		return nil
	}}
	es := newEvents(50)
	err := eventstest.Publisher(t, s, eventstest.Duplicate(0.5), eventstest.Reorder(0.5)).Publish(t.Context(), es...)
	for i, e := range es {
		if got, want := events.PublishErrorOf(err, i), s.refuse(e); (got == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", e.ID, got, want)
		}
	}
	if err := eventstest.Publisher(t, &sink{}, eventstest.Duplicate(1)).Publish(t.Context(), es...); err != nil {
		t.Errorf("nothing was refused: %v", err)
	}
}

// The same seed makes the same trouble.
func TestSeed(t *testing.T) {
	run := func(seed string) (order []string, log string) {
		t.Setenv(eventstest.SeedVariable, seed)
		f, s := &fake{}, &sink{}
		p := eventstest.Publisher(f, s, eventstest.Duplicate(0.3), eventstest.Reorder(0.3), eventstest.FailRandomly(0.3))
		_ = p.Publish(t.Context(), newEvents(50)...)
		f.failed = true
		return s.got, f.end()
	}
	first, log := run("7")
	if !strings.Contains(log, "repeat with CALLBOARD_TEST_SEED=7") {
		t.Errorf("a failed test logs %q", log)
	}
	if again, _ := run("7"); !slices.Equal(first, again) {
		t.Errorf("the same seed does something else (-first +second):\n%s", cmp.Diff(first, again))
	}
	if other, _ := run("8"); slices.Equal(first, other) {
		t.Error("another seed does the same")
	}
	if _, log := run("seven"); !strings.Contains(log, "is not a number") {
		t.Errorf("a seed that is no number: %q", log)
	}
	t.Setenv(eventstest.SeedVariable, "")
	if first, second := eventstest.Seed(t), eventstest.Seed(t); first != second {
		t.Error("a run has two seeds")
	}
}

func TestCrashAt_NeverReached(t *testing.T) {
	t.Parallel()
	f := &fake{}
	s := eventstest.Subscriber(f, &eventstest.Recorder{}, eventstest.CrashAt(2))
	_ = deliver(t, s, newEvents(1))
	if log := f.end(); !f.failed || !strings.Contains(log, "crash in call 2") {
		t.Errorf("a test that shows nothing passes: %q", log)
	}
}

// A panic of the subscriber is the caller's, also when two calls run at the same time.
func TestSubscriber_Panic(t *testing.T) {
	t.Parallel()
	s := eventstest.Subscriber(t, events.SubscriberFunc(func(context.Context, events.Event) error { panic("boom") }), eventstest.Duplicate(1))
	for _, e := range newEvents(20) {
		if err := protect(func() error { return s.OnEvent(t.Context(), e) }); err == nil {
			t.Error("the panic is lost")
		}
	}
}

// mailer sends a mail for each event, and a second one for an event that it gets again.
type mailer struct {
	mu    sync.Mutex
	mails map[string]int
}

func (m *mailer) OnEvent(_ context.Context, e events.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mails[e.ID]++
	return nil
}

// A test with troubles tells a subscriber that remembers from one that does not.
func TestTroubles_TellSubscribersApart(t *testing.T) {
	t.Parallel()
	run := func(wrap func(events.Subscriber) events.Subscriber) (mails map[string]int) {
		m := &mailer{mails: map[string]int{}}
		b := memory.New(memory.WithBackoff(time.Millisecond))
		defer func() { _ = b.Close() }()
		s := eventstest.Subscriber(t, wrap(m), eventstest.Duplicate(0.3), eventstest.Reorder(0.3), eventstest.FailRandomly(0.3), eventstest.CrashAt(5))
		if err := b.Subscribe("mailer", []string{"t"}, s); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), newEvents(200)...); err != nil {
			t.Fatal(err)
		}
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		return m.mails
	}
	most := func(mails map[string]int) (n int) {
		for _, count := range mails {
			n = max(n, count)
		}
		return n
	}
	once := run(func(s events.Subscriber) events.Subscriber { return events.Once("mailer", &memory.OnceStore{}, s) })
	if len(once) != 200 || most(once) != 1 {
		t.Errorf("with Once: %d events, up to %d mails each; want 200 and 1", len(once), most(once))
	}
	naive := run(func(s events.Subscriber) events.Subscriber { return s })
	if len(naive) != 200 || most(naive) < 2 {
		t.Errorf("without Once: %d events, up to %d mails each; the troubles show nothing", len(naive), most(naive))
	}
}

// Of two deliveries at the same time one is told to wait for the other, and says nothing else of the event. So an event that
// failed comes again soon, and not when a claim would have ended.
func TestSubscriber_AtTheSameTime(t *testing.T) {
	t.Parallel()
	for _, e := range newEvents(100) {
		var worked atomic.Bool
		s := eventstest.Subscriber(&fake{}, events.SubscriberFunc(func(context.Context, events.Event) error {
			if worked.CompareAndSwap(false, true) {
				return events.Errorf(events.CodeUnavailable, "not now")
			}
			return &events.Error{Code: events.CodeRateLimited, Message: "somebody works on it", RetryAt: time.Now().Add(time.Hour)}
		}), eventstest.Duplicate(1))
		if err := s.OnEvent(t.Context(), e); events.ErrorCode(err) != events.CodeUnavailable {
			t.Fatalf("%s: %v, want the error of the one that worked", e.ID, err)
		}
	}
}
