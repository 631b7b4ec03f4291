package eventstest_test

import (
	"context"
	"testing"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
)

// ledger is a subscriber of somebody's own.
type ledger struct{ total int }

func (l *ledger) OnEvent(context.Context, events.Event) error {
	l.total++
	return nil
}

// Does a subscriber do its work, and only once, when deliveries repeat, change their order and fail? If the test fails
// it says with which CALLBOARD_TEST_SEED to repeat it.
func ExampleSubscriber() {
	_ = func(t *testing.T) { // TestLedger
		l := &ledger{}
		s := eventstest.Subscriber(t, events.Once("ledger", &memory.OnceStore{}, l),
			eventstest.Duplicate(0.3), eventstest.Reorder(0.3), eventstest.FailRandomly(0.2), eventstest.CrashAt(10))

		broker := memory.New()
		defer func() { _ = broker.Close() }()
		if err := broker.Subscribe("ledger", []string{"orders"}, s); err != nil {
			t.Fatal(err)
		}
		for n := range 100 {
			if err := broker.Publish(t.Context(), eventstest.NewEvent("orders", n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := broker.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l.total != 100 {
			t.Errorf("%d entries for 100 orders", l.total)
		}
	}
}

// Does a program that publishes do it again when it was refused, or died before it heard the answer?
func ExamplePublisher() {
	_ = func(t *testing.T) { // TestShop
		broker := memory.New()
		defer func() { _ = broker.Close() }()
		p := eventstest.Publisher(t, broker, eventstest.FailRandomly(0.5), eventstest.Reorder(0.5))

		router := events.SubTopicRouter(p, func(events.Event) (string, bool) { return "paid", true }, func(string) bool { return true })
		paid := &eventstest.Recorder{}
		for id, s := range map[string]events.Subscriber{"orders": router, "orders.paid": paid} {
			if err := broker.Subscribe(id, []string{id}, s); err != nil {
				t.Fatal(err)
			}
		}
		if err := broker.Publish(t.Context(), eventstest.NewEvent("orders", 1)); err != nil {
			t.Fatal(err)
		}
		if err := broker.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(paid.Events()) != 1 {
			t.Error("the order is lost")
		}
	}
}
