package eventstest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
)

// defect is something that a transport does wrong.
type defect struct {
	// publish changes what is published, subscribe who gets it, dead what is left; nil for as it should be.
	publish   func(es []events.Event) []events.Event
	subscribe func(s events.Subscriber) events.Subscriber
	topics    func([]string) []string
	dead      func([]events.Message) []events.Message
	found     string // a test of the suite that has to fail
}

// change is a defect of each event.
func change(f func(*events.Event)) func([]events.Event) []events.Event {
	return func(es []events.Event) []events.Event {
		es = slices.Clone(es)
		for i := range es {
			f(&es[i])
		}
		return es
	}
}

var defects = map[string]defect{
	"loses an event": {found: "Many", publish: func(es []events.Event) []events.Event {
		return slices.DeleteFunc(slices.Clone(es), func(e events.Event) bool { return strings.HasSuffix(e.ID, "-77") })
	}},
	"loses what is large":     {found: "LargeBatch", publish: func(es []events.Event) []events.Event { return es[:min(len(es), 100)] }},
	"drops what it has seen":  {found: "Duplicates", publish: deduplicate()},
	"delivers what was done":  {found: "Drop", subscribe: twice},
	"corrupts the payload":    {found: "Intact", publish: change(compact)},
	"forgets odd metadata":    {found: "UnusualMetadata", publish: change(func(e *events.Event) { e.Metadata = plain(e.Metadata) })},
	"forgets what was first":  {found: "Intact", publish: change(func(e *events.Event) { e.Promoted = nil })},
	"forgets the group":       {found: "Groups", publish: change(func(e *events.Event) { e.Group = "" })},
	"forgets the trace":       {found: "TraceParent", publish: change(func(e *events.Event) { e.TraceParent = "" })},
	"takes a root for all":    {found: "ExactTopics", topics: func(ts []string) []string { return append(slices.Clone(ts), "github.push", "github") }},
	"does not try again":      {found: "Retry", subscribe: answering(func(error) error { return nil })},
	"tries what is hopeless":  {found: "Park", subscribe: answering(func(error) error { return errors.New("again") })},
	"fails all of a batch":    {found: "PartialFailures", subscribe: unanimous},
	"forgets the time to end": {found: "OutOfTime", subscribe: timeless},
	"loses what was parked":   {found: "Parallel", dead: func([]events.Message) []events.Message { return nil }},
	"loses what it gave up":   {found: "GiveUp", dead: func([]events.Message) []events.Message { return nil }},
	"does nothing wrong":      {},
}

func compact(e *events.Event) {
	if p := e.Payload.Clone(); p.Compact() == nil {
		e.Payload = p
	}
}

// plain returns the metadata that HTTP would take for headers.
func plain(m events.Metadata) events.Metadata {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(name, value string) bool { return name == "" || strings.ContainsAny(name, " /") })
	return m
}

// deduplicate forgets events that were published before.
func deduplicate() func([]events.Event) []events.Event {
	var mu sync.Mutex
	seen := map[string]bool{}
	return func(es []events.Event) (fresh []events.Event) {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range es {
			if key := e.Topic + " " + e.ID; !seen[key] {
				seen[key] = true
				fresh = append(fresh, e)
			}
		}
		return fresh
	}
}

// twice delivers everything once more.
func twice(s events.Subscriber) events.Subscriber {
	return events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
		_ = s.OnEvent(ctx, e)
		return s.OnEvent(ctx, e)
	})
}

// answering changes what the transport hears of errors.
func answering(change func(error) error) func(events.Subscriber) events.Subscriber {
	return func(s events.Subscriber) events.Subscriber {
		return events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
			if err := s.OnEvent(ctx, e); err != nil {
				return change(err)
			}
			return nil
		})
	}
}

// unanimous is a batch in which one failure is that of all.
type unanimousBatch struct{ events.Subscriber }

func unanimous(s events.Subscriber) events.Subscriber { return unanimousBatch{s} }

func (b unanimousBatch) OnEvents(ctx context.Context, es []events.Event) []error {
	errs := make([]error, len(es))
	var failed error
	for _, e := range es {
		if err := b.OnEvent(ctx, e); err != nil {
			failed = err
		}
	}
	for i := range errs {
		errs[i] = failed
	}
	return errs
}

// timeless hides the deadline from the subscriber.
func timeless(s events.Subscriber) events.Subscriber {
	return events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
		hidden, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		stop := context.AfterFunc(ctx, cancel)
		defer stop()
		return s.OnEvent(hidden, e)
	})
}

// transport is a broker with a defect.
type transport struct {
	*memory.Broker
	defect defect
}

func open(t *testing.T, d defect) *transport {
	t.Helper()
	tr := &transport{memory.New(memory.WithBackoff(time.Millisecond)), d}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func (tr *transport) Publish(ctx context.Context, es ...events.Event) error {
	if tr.defect.publish != nil {
		es = tr.defect.publish(es)
	}
	return tr.Broker.Publish(ctx, es...)
}

func (tr *transport) Subscribe(t testing.TB, id string, topics []string, s events.Subscriber) {
	t.Helper()
	if tr.defect.subscribe != nil {
		s = tr.defect.subscribe(s)
	}
	if tr.defect.topics != nil {
		topics = tr.defect.topics(topics)
	}
	if err := tr.Broker.Subscribe(id, topics, s); err != nil {
		t.Fatal(err)
	}
}

// SubscribeWithin is for the first subscriber: the limit is that of a broker.
func (tr *transport) SubscribeWithin(t testing.TB, limit time.Duration, id string, topics []string, s events.Subscriber) {
	t.Helper()
	_ = tr.Close()
	tr.Broker = memory.New(memory.WithBackoff(time.Millisecond), memory.WithTimeout(limit))
	t.Cleanup(func() { _ = tr.Close() })
	tr.Subscribe(t, id, topics, s)
}

func (tr *transport) DeadLetters(_ testing.TB, id string) []events.Message {
	dead := tr.Broker.DeadLetters(id)
	if tr.defect.dead != nil {
		dead = tr.defect.dead(dead)
	}
	return dead
}

// defectVariable names the defect of the transport in a process that runs the suite for another.
const defectVariable = "EVENTSTEST_DEFECT"

// TestSuite runs the suite on a transport with a defect, in a process that [TestSuite_FindsDefects] has started.
func TestSuite(t *testing.T) {
	name := os.Getenv(defectVariable)
	if name == "" {
		t.Skip("it is run by TestSuite_FindsDefects")
	}
	eventstest.Run(t, func(t *testing.T) eventstest.Transport { return open(t, defects[name]) })
}

// The suite is worth nothing if it does not fail for a transport that loses, repeats or corrupts something.
func TestSuite_FindsDefects(t *testing.T) {
	t.Parallel()
	for name, d := range defects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuite$/^"+d.found+"$", "-test.timeout=10m")
			if d.found == "" {
				cmd.Args[1] = "-test.run=^TestSuite$"
			}
			cmd.Env = append(os.Environ(), defectVariable+"="+name)
			out, err := cmd.CombinedOutput()
			failed := strings.Contains(string(out), "--- FAIL: TestSuite/"+d.found)
			switch {
			case d.found == "" && err != nil:
				t.Errorf("the suite fails: %v\n%s", err, out)
			case d.found != "" && !failed:
				t.Errorf("%s does not fail: %v\n%s", d.found, err, out)
			}
		})
	}
}
