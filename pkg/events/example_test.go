package events_test

import (
	"context"
	"fmt"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/memory"
)

// A subscriber needs a few lines. In AWS it is given to an events.Batch, which is the handler of its function:
//
//	lambda.StartHandler(&events.Batch{Function: "audit", Subscriber: audit})
func ExampleSubscriber() {
	audit := events.SubscriberFunc(func(_ context.Context, e events.Event) error {
		action, _ := e.Metadata.Get("X-Action")
		fmt.Println(e.Topic, action, string(e.Payload))
		return nil
	})

	broker := memory.New()
	defer func() { _ = broker.Close() }()
	ctx := context.Background()
	if err := broker.Subscribe("audit", []string{"orders"}, audit); err != nil {
		fmt.Println(err)
	}
	err := broker.Publish(ctx, events.Event{
		ID: events.NewID("orders", "1"), Topic: "orders", Payload: []byte(`{"items": 3}`), Metadata: events.Metadata{"x-action": "paid"},
	})
	if err != nil {
		fmt.Println(err)
	}
	if err := broker.Drain(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: orders paid {"items": 3}
}
