package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Publisher publishes events to the topics they name.
type Publisher interface {
	// Publish publishes each event to its topic and returns when all are durable. Where some were refused it
	// returns a [PublishError], which says which; any other error means that none is known to be published.
	Publish(ctx context.Context, events ...Event) error
}

// PublishError is what [Publisher.Publish] returns when some events were not published: one error for each
// event in the order of the arguments, nil for those that were.
type PublishError []error

// Error is the text for the log.
func (p PublishError) Error() string {
	var failed []string
	for _, err := range p {
		if err != nil {
			failed = append(failed, err.Error())
		}
	}
	return fmt.Sprintf("%d of %d events were not published: %s", len(failed), len(p), strings.Join(failed, "; "))
}

// Unwrap returns the errors of the events that were not published.
func (p PublishError) Unwrap() []error { return p }

// PublishErrorOf returns what an error of [Publisher.Publish] says about the i-th event.
func PublishErrorOf(err error, i int) error {
	if partial, ok := errors.AsType[PublishError](err); ok {
		return partial[i]
	}
	return err
}

// Subscriber handles events one at a time. What its error means is decided by its [Code]: an invalid event is
// parked, a rate-limited one deferred, everything else tried again. [Park] and [Drop] say it directly.
// OnEvent is called concurrently, more than once for some events, and in no order.
type Subscriber interface {
	OnEvent(ctx context.Context, e Event) error
}

// SubscriberFunc is a function as a [Subscriber].
type SubscriberFunc func(ctx context.Context, e Event) error

// OnEvent calls f.
func (f SubscriberFunc) OnEvent(ctx context.Context, e Event) error { return f(ctx, e) }

// BatchSubscriber is a [Subscriber] that does better with several events at once.
type BatchSubscriber interface {
	Subscriber
	// OnEvents handles the events and returns one error for each, nil where it succeeded.
	OnEvents(ctx context.Context, es []Event) []error
}

// Router is a subscriber that republishes events on another topic. Payload, metadata and ID stay as they are.
type Router struct {
	Publisher Publisher
	// Route returns the topic an event goes to, or an error, usually from [Drop], if it goes nowhere.
	Route func(e Event) (topic string, err error)
	// Reads tells whether Route looks into the payload of an event; nil means that it does. Where it does not, large
	// payloads need not be fetched.
	Reads func(e Event) bool
}

var (
	_ BatchSubscriber = (*Router)(nil)
	_ PayloadReader   = (*Router)(nil)
)

// ReadsPayload implements [PayloadReader].
func (r *Router) ReadsPayload(e Event) bool { return r.Reads == nil || r.Reads(e) }

// OnEvent routes one event.
func (r *Router) OnEvent(ctx context.Context, e Event) error { return r.OnEvents(ctx, []Event{e})[0] }

// OnEvents routes the events and publishes those that go somewhere together.
func (r *Router) OnEvents(ctx context.Context, es []Event) []error {
	errs := make([]error, len(es))
	routed := make([]Event, 0, len(es))
	origin := make([]int, 0, len(es)) // routed[i] is es[origin[i]]
	for i, e := range es {
		if e.Topic, errs[i] = r.Route(e); errs[i] == nil {
			routed, origin = append(routed, e), append(origin, i)
		}
	}
	if len(routed) == 0 {
		return errs
	}
	if err := r.Publisher.Publish(ctx, routed...); err != nil {
		for i, o := range origin {
			errs[o] = PublishErrorOf(err, i)
		}
	}
	return errs
}

// Why the router to sub-topics drops an event: the reasons of its hops.
const (
	NoSubTopic       = "no sub-topic"
	SubTopicNotAName = "sub-topic is not a name"
	SubTopicTooLong  = "sub-topic is too long"
	SubTopicUnwanted = "nobody subscribes to the sub-topic"
)

// SubTopicRouter returns a router to sub-topics: an event of topic "github" whose sub-topic is "push" goes to
// "github.push". subTopic finds the sub-topic of an event; wanted tells whether anybody subscribes to a topic.
// Events without a sub-topic, with one that is no name (see [ValidTopic]), or with one that nobody wants, are dropped: no
// part of a name is left out or changed.
func SubTopicRouter(p Publisher, subTopic func(e Event) (string, bool), wanted func(topic string) bool) *Router {
	return &Router{Publisher: p, Route: func(e Event) (string, error) {
		sub, ok := subTopic(e)
		if !ok {
			return "", Drop(NoSubTopic)
		}
		topic := e.Topic + "." + sub
		if len(topic) > MaxTopicLength {
			return "", Drop(SubTopicTooLong)
		}
		if !ValidTopic(topic) {
			return "", Drop(SubTopicNotAName)
		}
		if !wanted(topic) {
			return "", Drop(SubTopicUnwanted)
		}
		return topic, nil
	}}
}
