// Package sqspublisher is the function behind the ingest queue: it publishes each event to its topic.
package sqspublisher

import "github.com/callboard/callboard/pkg/events"

// New returns the subscriber of the ingest queue.
func New(p events.Publisher) *events.Router {
	return &events.Router{
		Publisher: p,
		Route:     func(e events.Event) (string, error) { return e.Topic, nil },
		Reads:     func(events.Event) bool { return false },
	}
}
