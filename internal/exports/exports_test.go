package exports_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/callboard/callboard/internal/exports"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

type withheld map[string][]string

func (w withheld) Withheld(topic string) []string { return w[topic] }

type hops []events.Hop

func (h *hops) Observe(_ context.Context, hop events.Hop) { *h = append(*h, hop) }

func TestWatch(t *testing.T) {
	t.Parallel()
	got := &hops{}
	published := exports.Watch(withheld{"github": {"backstage", "lake"}}, got)
	accepted := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	published(t.Context(), events.Event{ID: "github:1", Topic: "github", Time: accepted, TraceParent: "trace"})
	published(t.Context(), events.Event{ID: "gitlab:1", Topic: "gitlab"})
	hop := func(function string) events.Hop {
		return events.Hop{
			Event: "github:1", Topic: "github", Function: function, Outcome: events.OutcomeDropped,
			Reason: "too large for a message, and the consumer does not resolve claim checks", Accepted: accepted, TraceParent: "trace",
		}
	}
	if diff := cmp.Diff(hops{hop("export:backstage"), hop("export:lake")}, *got, cmpopts.IgnoreFields(events.Hop{}, "Time")); diff != "" {
		t.Errorf("hops (-want +got):\n%s", diff)
	}
	for _, h := range *got {
		if h.Time.IsZero() {
			t.Error("a hop has no time")
		}
	}
}

func TestWatchGivenUp(t *testing.T) {
	t.Parallel()
	accepted := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	m, err := events.Encode(events.Event{ID: "github:1", Topic: "github", Time: accepted, TraceParent: "trace", Payload: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	got := &hops{}
	gaveUp := exports.WatchGivenUp(&topology.Topology{Queues: []topology.Queue{
		{Name: "export-backstage-github", Export: "backstage"}, {Name: "notify", Function: topology.Notify},
	}}, got)
	gaveUp(t.Context(), "export-backstage-github", m)
	delete(m.Attributes, events.AttributeEvents)
	gaveUp(t.Context(), "export-backstage-github", m) // what is no event is told of too
	gaveUp(t.Context(), "notify", m)                  // its function tells of it
	hop := events.Hop{
		Event: "github:1", Topic: "github", Function: "export:backstage", Outcome: events.OutcomePark,
		Reason: "received too often and not deleted; it is in the dead-letter queue",
	}
	whole := hop
	whole.Accepted, whole.TraceParent = accepted, "trace"
	if diff := cmp.Diff(hops{whole, hop}, *got, cmpopts.IgnoreFields(events.Hop{}, "Time")); diff != "" {
		t.Errorf("hops (-want +got):\n%s", diff)
	}
	for _, h := range *got {
		if h.Time.IsZero() {
			t.Error("a hop has no time")
		}
	}
}
