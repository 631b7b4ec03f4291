package eventstest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/callboard/callboard/pkg/events"
)

// sized returns an event whose payload has n bytes.
func sized(topic string, number, n int) events.Event {
	e := NewEvent(topic, number)
	e.Payload = []byte(`"` + strings.Repeat("x", n-2) + `"`)
	return e
}

// largestInline returns how large the payload of a sized event can be in a message of the default size.
func largestInline(topic string) int {
	low, high := 3, events.MaxMessageSize // low fits, high does not
	for high-low > 1 {
		mid := (low + high) / 2
		if _, err := events.Encode(sized(topic, 0, mid)); err == nil {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// testSizeLimit shows that events of every size arrive whole, as messages or as claim checks, and that none is
// published that could not be read.
func testSizeLimit(t *testing.T, tr Transport) {
	r := &Recorder{}
	tr.Subscribe(t, "size", []string{"size"}, r)
	limit := largestInline("size")
	var sent []events.Event
	for i, n := range []int{limit, limit + 1, events.MaxMessageSize, events.MaxSQSMessageSize, events.MaxPayloadSize - 1000} {
		sent = append(sent, sized("size", i, n))
	}
	publish(t, tr, sent...)
	above := sized("size", len(sent), events.MaxPayloadSize+1)
	if err := tr.Publish(t.Context(), above); events.ErrorCode(events.PublishErrorOf(err, 0)) != events.CodeTooLarge {
		t.Errorf("an event above the limit was published: %.200v", err)
	}
	drain(t, tr)
	for _, e := range sent {
		if got := r.Events()[e.ID]; !got.Equal(e) {
			t.Errorf("the event of %d bytes did not arrive whole: it has %d", len(e.Payload), len(got.Payload))
		}
	}
	if got := len(r.Events()); got != len(sent) {
		t.Errorf("%d events arrived, want %d", got, len(sent))
	}
}

// testLargeRouted shows that a large event crosses a router, comes again whole after a failure, and that a router can
// change the payload of some events of a batch and leave others.
func testLargeRouted(t *testing.T, tr Transport) {
	const first, second, changed = "large.first", "large.second", "large.changed"
	large, small := sized("large", 1, 2*events.MaxMessageSize), NewEvent("large", 2)
	r := &Recorder{Answer: func(_ events.Event, n int) error {
		if n == 1 {
			return errors.New("not yet")
		}
		return nil
	}}
	tr.Subscribe(t, "end", []string{second}, r)
	other := &Recorder{}
	tr.Subscribe(t, "other", []string{changed}, other)
	to := func(topic string, reads bool) *events.Router {
		return &events.Router{
			Publisher: tr, Route: func(events.Event) (string, error) { return topic, nil }, Reads: func(events.Event) bool { return reads },
		}
	}
	tr.Subscribe(t, "start", []string{"large"}, to(first, false))
	tr.Subscribe(t, "middle", []string{first}, to(second, true))
	tr.Subscribe(t, "editor", []string{first}, events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
		e.Topic, e.Payload = changed, []byte(`"changed"`)
		return tr.Publish(ctx, e)
	}))
	publish(t, tr, large, small)
	drain(t, tr)
	for _, e := range []events.Event{large, small} {
		want := e
		want.Topic = second
		if got := r.Events()[e.ID]; !got.Equal(want) {
			t.Errorf("the event of %d bytes did not arrive whole: it has %d", len(e.Payload), len(got.Payload))
		}
		if n := r.Deliveries(e.ID); n < 2 {
			t.Errorf("%s was delivered %d times, want again after the failure", e.ID, n)
		}
		if got := string(other.Events()[e.ID].Payload); got != `"changed"` {
			t.Errorf("the payload that was changed arrived as %.100s", got)
		}
	}
}
