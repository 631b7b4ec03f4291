// Command sync is a subscriber: it reads the queue of the function frobs-sync.
package main

import (
	"context"
	"os"

	"example.com/frobs"

	"github.com/callboard/callboard/functions/subscriber"
	"github.com/callboard/callboard/pkg/events"
)

func main() {
	subscriber.Start(func(f *subscriber.Function) (events.Subscriber, error) {
		sync := &frobs.Sync{
			URL: os.Getenv("FROBS_URL"), Publisher: f.Publisher,
			Token: func(ctx context.Context) (string, error) {
				values, err := f.Secrets.Values(ctx, "frobs-api")
				if err != nil {
					return "", err
				}
				return values[0], nil
			},
		}
		return events.Once("frobs-sync", f.Once, sync), nil // Frobs would write to the owner each time
	})
}
