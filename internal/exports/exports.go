// Package exports tells of what the consumer of an export does not get, or does not take, so that it is seen and counted.
package exports

import (
	"context"
	"time"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// Topology says who does not get claim checks.
type Topology interface {
	// Withheld returns the names of the exports that get the events of a topic, but no claim checks.
	Withheld(topic string) []string
}

// Watch returns what a publisher calls for each event that it has published as a claim check. It gives o a hop for each
// export that did not get the event: it was dropped by the function [topology.ExportHop] of that name.
func Watch(t Topology, o events.Observer) func(ctx context.Context, e events.Event) {
	return func(ctx context.Context, e events.Event) {
		for _, name := range t.Withheld(e.Topic) {
			o.Observe(ctx, events.Hop{
				Time: time.Now().UTC(), Event: e.ID, Topic: e.Topic, Function: topology.ExportHop + name,
				Outcome: events.OutcomeDropped, Reason: "too large for a message, and the consumer does not resolve claim checks",
				Accepted: e.Time, TraceParent: e.TraceParent,
			})
		}
	}
}

// WatchGivenUp returns what is called for each message that went to the dead-letter queue because the consumer of an export
// has received it too often. It gives o a hop: the function [topology.ExportHop] of that name has parked the event. In AWS
// nobody is told of that but the alarm on dead letters.
func WatchGivenUp(t *topology.Topology, o events.Observer) func(ctx context.Context, queue string, m events.Message) {
	names := map[string]string{}
	for _, q := range t.Queues {
		if q.Export != "" {
			names[q.Name] = q.Export
		}
	}
	return func(ctx context.Context, queue string, m events.Message) {
		name, exported := names[queue]
		if !exported {
			return
		}
		h := events.Hop{
			Time: time.Now().UTC(), Event: m.Attributes[events.AttributeID].StringValue, Topic: m.Attributes[events.AttributeTopic].StringValue,
			Function: topology.ExportHop + name, Outcome: events.OutcomePark,
			Reason: "received too often and not deleted; it is in the dead-letter queue",
		}
		if e, err := events.Decode(m); err == nil {
			h.Accepted, h.TraceParent = e.Time, e.TraceParent
		}
		o.Observe(ctx, h)
	}
}
