package memory_test

import (
	"testing"
	"time"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
)

type transport struct{ *memory.Broker }

func newTransport(t *testing.T) *transport {
	t.Helper()
	b := memory.New(memory.WithBackoff(time.Millisecond))
	t.Cleanup(func() { _ = b.Close() })
	return &transport{b}
}

// SubscribeWithin is for the first subscriber: the limit is that of a broker.
func (tr *transport) SubscribeWithin(t testing.TB, limit time.Duration, id string, topics []string, s events.Subscriber) {
	t.Helper()
	_ = tr.Close()
	*tr = transport{memory.New(memory.WithBackoff(time.Millisecond), memory.WithTimeout(limit))}
	t.Cleanup(func() { _ = tr.Close() })
	tr.Subscribe(t, id, topics, s)
}

func (tr *transport) Subscribe(t testing.TB, id string, topics []string, s events.Subscriber) {
	t.Helper()
	if err := tr.Broker.Subscribe(id, topics, s); err != nil {
		t.Fatal(err)
	}
}

func (tr *transport) DeadLetters(_ testing.TB, id string) []events.Message {
	return tr.Broker.DeadLetters(id)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	eventstest.Run(t, func(t *testing.T) eventstest.Transport {
		return newTransport(t)
	})
}

func TestSubscribe_SameID(t *testing.T) {
	t.Parallel()
	b := memory.New()
	defer func() { _ = b.Close() }()
	if err := b.Subscribe("a", []string{"x"}, &eventstest.Recorder{}); err != nil {
		t.Fatal(err)
	}
	if got := events.ErrorCode(b.Subscribe("a", []string{"y"}, &eventstest.Recorder{})); got != events.CodeConflict {
		t.Errorf("error code %q, want %q", got, events.CodeConflict)
	}
}

func TestPublish_Closed(t *testing.T) {
	t.Parallel()
	b := memory.New()
	_ = b.Close()
	if got := events.ErrorCode(b.Publish(t.Context(), eventstest.NewEvent("x", 1))); got != events.CodeUnavailable {
		t.Errorf("error code %q, want %q", got, events.CodeUnavailable)
	}
}
