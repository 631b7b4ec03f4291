// Package demo is an own subscriber: it says what it was told. It is the counterpart of the demo event-based entity
// provider of Backstage's documentation, and all that somebody has to write to get events from a queue.
package demo

import (
	"context"
	"log/slog"

	"github.com/callboard/callboard/pkg/events"
)

// Handler handles the batches of a queue that is subscribed to any topics. In AWS its main function is
//
//	lambda.Start(demo.Handler())
func Handler() *events.Batch {
	return &events.Batch{Function: "demo", Subscriber: events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
		slog.InfoContext(ctx, "demo event", "topic", e.Topic, "id", e.ID, "metadata", e.Metadata, "payload", string(e.Payload))
		return nil
	})}
}
