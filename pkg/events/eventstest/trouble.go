package eventstest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/callboard/callboard/pkg/events"
)

// SeedVariable is the environment variable that repeats the random decisions of a test run that failed.
const SeedVariable = "CALLBOARD_TEST_SEED"

var newSeed = sync.OnceValue(rand.Uint64)

// Seed returns the seed of a test's random decisions: that of [SeedVariable], or one of this run. When the test fails
// it logs how to repeat them.
func Seed(tb testing.TB) uint64 {
	tb.Helper()
	seed := newSeed()
	if text := os.Getenv(SeedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("%s is not a number: %v", SeedVariable, err)
		}
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("repeat with %s=%d", SeedVariable, seed)
		}
	})
	return seed
}

// Trouble is what transports may do to events, and processes to themselves: see [Subscriber] and [Publisher].
type Trouble struct {
	kind  kind
	share float64
	at    []int
}

type kind string

const (
	duplicated kind = "duplicated"
	reordered  kind = "reordered"
	failed     kind = "failed"
	crashed    kind = "crashed"
)

// Duplicate delivers or publishes a share of the events, 0 to 1, twice: one after the other or at the same time.
func Duplicate(share float64) Trouble { return Trouble{kind: duplicated, share: share} }

// Reorder lets a share of the events, 0 to 1, come later than those that follow them. A subscriber gets them when they
// are delivered the next time; a publisher publishes them in another order.
func Reorder(share float64) Trouble { return Trouble{kind: reordered, share: share} }

// FailRandomly fails a share of the calls, 0 to 1: half of them before anything was done, the others when all was
// done, so that only the answer is lost. It fails no event that has failed or crashed twice.
func FailRandomly(share float64) Trouble { return Trouble{kind: failed, share: share} }

// CrashAt lets the n-th call, from 1, be the last thing that a process does: it panics when all was done. A test in
// which the call is not made fails.
func CrashAt(n ...int) Trouble { return Trouble{kind: crashed, at: n} }

// mostFailures is how often an event fails by [FailRandomly], crashes included. With one reordering that leaves two of
// the five deliveries that a transport makes at least.
const mostFailures = 2

// troubles decides what happens. The same seed, test and events make the same decisions, whatever the order of calls.
type troubles struct {
	list []Trouble
	salt string

	mu       sync.Mutex
	calls    int
	seen     map[string]int // deliveries by topic and ID
	failures map[string]int
	made     map[kind]int
}

func newTroubles(tb testing.TB, list []Trouble) *troubles {
	tb.Helper()
	tr := &troubles{
		list: list, salt: fmt.Sprintf("%d %s ", Seed(tb), tb.Name()),
		seen: map[string]int{}, failures: map[string]int{}, made: map[kind]int{},
	}
	tb.Cleanup(func() {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, k := range slices.Sorted(maps.Keys(tr.made)) {
			tb.Logf("%d %s", tr.made[k], k)
		}
		for _, t := range list {
			for _, n := range t.at {
				if n < 1 || n > tr.calls {
					tb.Errorf("the process should crash in call %d, and there were %d", n, tr.calls)
				}
			}
		}
	})
	return tr
}

// delivery is one event on its way and what happens to it.
type delivery struct {
	troubles *troubles
	key      string // topic and ID
	n        int    // of this event, from 1
}

func (tr *troubles) deliver(e events.Event) delivery {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	key := e.Topic + " " + e.ID
	tr.seen[key]++
	return delivery{tr, key, tr.seen[key]}
}

// chance tells whether a random decision, one of those that are named by what, falls so.
func (d delivery) chance(what kind, share float64) bool {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s%s %d %s", d.troubles.salt, what, d.n, d.key))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11)/(1<<53) < share
}

// happens tells whether a trouble happens to the delivery, and counts it.
func (d delivery) happens(what kind) bool {
	for _, t := range d.troubles.list {
		if t.kind != what || !d.chance(what, t.share) {
			continue
		}
		if what == reordered && d.n > 1 {
			continue
		}
		if what == failed && !d.troubles.fail(d.key) {
			continue
		}
		d.troubles.count(what)
		return true
	}
	return false
}

// coin is one of two ways in which something can happen.
func (d delivery) coin(what kind) bool { return d.chance("coin of "+what, 0.5) }

func (tr *troubles) fail(key string) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.failures[key]++
	return tr.failures[key] <= mostFailures
}

func (tr *troubles) count(what kind) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.made[what]++
}

// call counts a call and tells whether the process crashes at its end.
func (tr *troubles) call() crash {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.calls++
	for _, t := range tr.list {
		if slices.Contains(t.at, tr.calls) {
			return crash{tr, tr.calls}
		}
	}
	return crash{}
}

// crash is the end of a call; the zero value is one like all others.
type crash struct {
	troubles *troubles
	call     int
}

// comes tells whether the process crashes. No other trouble keeps it from getting there.
func (c crash) comes() bool { return c.troubles != nil }

// end crashes the process that has worked on these deliveries.
func (c crash) end(ds ...delivery) {
	if !c.comes() {
		return
	}
	for _, d := range ds {
		c.troubles.fail(d.key)
	}
	c.troubles.count(crashed)
	panic(fmt.Sprintf("eventstest: the process crashes in call %d", c.call))
}

func trouble(what kind) error {
	return events.Errorf(events.CodeUnavailable, "eventstest: the event is %s", what)
}

// Subscriber puts troubles between a transport and a subscriber. The subscriber should do its work all the same, and
// only once. It gets several events at once if s does.
func Subscriber(tb testing.TB, s events.Subscriber, list ...Trouble) events.Subscriber {
	tb.Helper()
	troubled := &subscriber{newTroubles(tb, list), s}
	if batch, ok := s.(events.BatchSubscriber); ok {
		return &batchSubscriber{troubled, batch}
	}
	return troubled
}

type subscriber struct {
	*troubles
	next events.Subscriber
}

// OnEvent hands an event on, with the troubles that it has.
func (s *subscriber) OnEvent(ctx context.Context, e events.Event) error {
	last, d := s.call(), s.deliver(e)
	if !last.comes() && d.happens(reordered) {
		return trouble(reordered)
	}
	fails := !last.comes() && d.happens(failed)
	if fails && d.coin(failed) {
		return trouble(failed)
	}
	err := s.hand(ctx, e, d)
	last.end(d)
	if fails {
		return trouble(failed)
	}
	return err
}

// hand delivers the event, perhaps twice. It is handled if one of the two is: the other one is none the wiser.
func (s *subscriber) hand(ctx context.Context, e events.Event, d delivery) error {
	if !d.happens(duplicated) {
		return s.next.OnEvent(ctx, e)
	}
	if d.coin(duplicated) {
		err := s.next.OnEvent(ctx, e)
		if again := s.next.OnEvent(ctx, e); again == nil {
			return nil
		}
		return err
	}
	var errs [2]error
	var panics [2]any
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			defer func() { panics[i] = recover() }()
			errs[i] = s.next.OnEvent(ctx, e)
		})
	}
	wg.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	// Who was told to wait for the other one says nothing of the event.
	if errs[0] == nil || events.ErrorCode(errs[1]) == events.CodeRateLimited {
		return errs[0]
	}
	return errs[1]
}

type batchSubscriber struct {
	*subscriber
	batch events.BatchSubscriber
}

// OnEvents hands events on, with the troubles that they have.
func (s *batchSubscriber) OnEvents(ctx context.Context, es []events.Event) []error {
	last := s.call()
	errs := make([]error, len(es))
	lost := make([]bool, len(es)) // the answer
	deliveries := make([]delivery, len(es))
	var handed []events.Event
	var origin []int // handed[i] is es[origin[i]]
	for i, e := range es {
		d := s.deliver(e)
		deliveries[i] = d
		if !last.comes() && d.happens(reordered) {
			errs[i] = trouble(reordered)
			continue
		}
		lost[i] = !last.comes() && d.happens(failed)
		if lost[i] && d.coin(failed) {
			errs[i] = trouble(failed)
			continue
		}
		handed, origin = append(handed, e), append(origin, i)
		if d.happens(duplicated) {
			handed, origin = append(handed, e), append(origin, i)
		}
	}
	if len(handed) == 0 {
		return errs
	}
	answers := s.batch.OnEvents(ctx, handed)
	last.end(deliveries...)
	if len(answers) != len(handed) {
		return nil
	}
	fill(errs, origin, answers)
	for i := range errs {
		if lost[i] {
			errs[i] = trouble(failed)
		}
	}
	return errs
}

// fill sets the errors of events from the answers to their copies: one that is good will do.
func fill(errs []error, origin []int, answers []error) {
	answered := make([]bool, len(errs))
	for i, err := range answers {
		if o := origin[i]; !answered[o] || err == nil {
			errs[o], answered[o] = err, true
		}
	}
}

// Publisher puts troubles between a program and its publisher. What was refused should be published again.
func Publisher(tb testing.TB, p events.Publisher, list ...Trouble) events.Publisher {
	tb.Helper()
	return &publisher{newTroubles(tb, list), p}
}

type publisher struct {
	*troubles
	next events.Publisher
}

// Publish publishes events, with the troubles that they have.
func (p *publisher) Publish(ctx context.Context, es ...events.Event) error {
	last := p.call()
	errs := make(events.PublishError, len(es))
	lost := make([]bool, len(es)) // the answer
	deliveries := make([]delivery, len(es))
	var first, later []int // indexes of what is published
	for i, e := range es {
		d := p.deliver(e)
		deliveries[i] = d
		lost[i] = !last.comes() && d.happens(failed)
		if lost[i] && d.coin(failed) {
			errs[i] = trouble(failed)
			continue
		}
		if d.happens(reordered) {
			later = append([]int{i}, later...)
		} else {
			first = append(first, i)
		}
		if d.happens(duplicated) {
			later = append(later, i)
		}
	}
	origin := slices.Concat(first, later)
	if len(origin) > 0 {
		handed := make([]events.Event, len(origin))
		for i, o := range origin {
			handed[i] = es[o]
		}
		err := p.next.Publish(ctx, handed...)
		answers := make([]error, len(handed))
		for i := range answers {
			answers[i] = events.PublishErrorOf(err, i)
		}
		fill(errs, origin, answers)
	}
	last.end(deliveries...)
	for i := range errs {
		if lost[i] {
			errs[i] = trouble(failed)
		}
	}
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return errs
	}
	return nil
}
