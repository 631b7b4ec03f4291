// Package router is the function behind the router queues: it republishes the events of a topic to sub-topics.
package router

import "github.com/callboard/callboard/pkg/events"

// Topology says how events are routed.
type Topology interface {
	// SubTopicRules returns where the sub-topic of a topic's events is looked for, best first.
	SubTopicRules(topic string) []events.Selector
	// Wanted tells whether anything subscribes to a topic.
	Wanted(topic string) bool
}

// New returns the subscriber of the router queues. The first rule that finds a sub-topic counts.
func New(p events.Publisher, t Topology) *events.Router {
	r := events.SubTopicRouter(p, func(e events.Event) (string, bool) {
		for _, rule := range t.SubTopicRules(e.Topic) {
			if sub, ok := rule.Select(e.Metadata, e.Payload); ok {
				return sub, true
			}
		}
		return "", false
	}, t.Wanted)
	// A large payload is fetched only if no rule before it finds a sub-topic in the metadata.
	r.Reads = func(e events.Event) bool {
		for _, rule := range t.SubTopicRules(e.Topic) {
			if rule.ReadsPayload() {
				return true
			}
			if _, ok := rule.Select(e.Metadata, nil); ok {
				return false
			}
		}
		return false
	}
	return r
}
