package events_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
)

// publisherFunc is a function as a publisher.
type publisherFunc func(es []events.Event) error

func (f publisherFunc) Publish(_ context.Context, es ...events.Event) error { return f(es) }

func TestRouter_PartialFailuresAreMappedBack(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	var published []string
	r := &events.Router{
		Publisher: publisherFunc(func(es []events.Event) error {
			for _, e := range es {
				published = append(published, e.ID+" to "+e.Topic)
			}
			return events.PublishError{nil, refused}
		}),
		Route: func(e events.Event) (string, error) {
			if e.ID == "t:2" {
				return "", events.Drop("not for us")
			}
			return e.Topic + ".x", nil
		},
	}
	h := &hops{}
	b := &events.Batch{Queue: &fakeQueue{}, Observer: h, Subscriber: r}
	if got := failures(b.Handle(t.Context(), sqsEvent(t, 3, 1))); got != "m3" {
		t.Errorf("messages %q are reported, want m3: its event was not published", got)
	}
	if diff := cmp.Diff([]string{"t:1 to github.x", "t:3 to github.x"}, published); diff != "" {
		t.Errorf("published events (-want +got):\n%s", diff)
	}
	want := map[string]events.Outcome{"t:1": events.OutcomeOK, "t:2": events.OutcomeDropped, "t:3": events.OutcomeRetry}
	if diff := cmp.Diff(want, h.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestRouter_PublisherFails(t *testing.T) {
	t.Parallel()
	route := func(e events.Event) (string, error) { return e.Topic, nil }
	for name, p := range map[string]publisherFunc{
		"entirely":             func([]events.Event) error { return errors.New("no connection") },
		"with too few answers": func([]events.Event) error { return events.PublishError{} },
		"with a panic":         func([]events.Event) error { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &events.Batch{Queue: &fakeQueue{}, Observer: &hops{}, Subscriber: &events.Router{Publisher: p, Route: route}}
			if got := failures(b.Handle(t.Context(), sqsEvent(t, 2, 1))); got != "m1 m2" {
				t.Errorf("messages %q are reported, want all: nothing is known to be published", got)
			}
		})
	}
}

func TestRouter_NothingToPublish(t *testing.T) {
	t.Parallel()
	r := events.SubTopicRouter(
		publisherFunc(func(es []events.Event) error { t.Errorf("%d events were published", len(es)); return nil }),
		func(events.Event) (string, bool) { return "", false },
		func(string) bool { return true },
	)
	h := &hops{}
	b := &events.Batch{Observer: h, Subscriber: r}
	if got := failures(b.Handle(t.Context(), sqsEvent(t, 2, 1))); got != "" {
		t.Errorf("messages %q are reported, want none", got)
	}
	for _, hop := range h.list {
		if hop.Outcome != events.OutcomeDropped || hop.Reason != "no sub-topic" {
			t.Errorf("the hop is %+v, want dropped for it has no sub-topic", hop)
		}
	}
}
