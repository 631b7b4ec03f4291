package events

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	// onceGrace is how long a claim outlives the context of its work: a function has this time left to tell the
	// queue what became of its batch, and clocks differ.
	onceGrace = 5 * time.Second
	// onceLease is how long a claim lasts where the context has no deadline: as long as Lambda lets a function run
	// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html).
	onceLease = 15 * time.Minute
	// onceWrapUp is how long the last word to the store may take when the context of the work has ended.
	onceWrapUp = 2 * time.Second
)

// ErrDone is the error of [OnceStore.Claim] for work that was completed before.
var ErrDone = errors.New("the event was handled before")

// OnceStore remembers for [Once] which work is claimed and which is completed. Keys are text of any length.
// eventstest.RunOnceStore is what every store has to pass.
type OnceStore interface {
	// Claim takes the key for a time, after which it is free again, and returns a token that proves it. Of many
	// that claim a key at the same time one gets it. Where the key is completed the error is [ErrDone]. Where
	// somebody else has it the error has [CodeRateLimited] and, as its RetryAt, the time at which it is free.
	Claim(ctx context.Context, key string, lease time.Duration) (token string, err error)
	// Complete remembers that the work was done for at least 21 days, whoever has claimed it since.
	Complete(ctx context.Context, key string) error
	// Release frees a key for the next one. It is no error, and does nothing, where the claim is not the one that
	// the token was given for.
	Release(ctx context.Context, key, token string) error
}

// Once makes a subscriber that hands each event to s until s has handled it, and never again: what the queue, the
// topic or a provider delivers another time is dropped. It is for effects outside of the table, an e-mail for
// example; an effect inside goes into one transaction with the record that it was made. The name identifies the
// subscriber in the store.
//
// While one call works on an event, another one that gets the same event fails, so that it comes again when the claim
// of the first ends: with its context, or after 15 minutes where that has no deadline. A call that fails or panics
// gives its claim back. An event that is parked may be handled when it is sent again.
//
// A process that dies after the effect and before it is recorded leaves a claim that ends by itself, and the effect is
// made again: for what is outside of the store "once" means at least once, and not twice at the same time.
func Once(name string, store OnceStore, s Subscriber) Subscriber {
	o := &once{name: name, store: store, subscriber: s}
	if batch, ok := s.(BatchSubscriber); ok {
		return &onceBatch{once: o, batch: batch}
	}
	return o
}

// onceKey identifies the work of a subscriber on an event: the same event on two topics is work twice.
func onceKey(subscriber string, e Event) (string, error) {
	key, err := json.Marshal([]string{subscriber, e.Topic, e.Key()})
	if err != nil {
		return "", Wrap(err, CodeInvalid, "the event cannot be identified")
	}
	return string(key), nil
}

// once is [Once] for a subscriber that takes one event at a time.
type once struct {
	name       string
	store      OnceStore
	subscriber Subscriber
}

// OnEvent handles an event unless it was handled before.
func (o *once) OnEvent(ctx context.Context, e Event) (err error) {
	c, err := o.claim(ctx, e)
	if err != nil {
		return err
	}
	defer c.release(ctx) // also after a panic, which goes on
	return c.settle(ctx, o.subscriber.OnEvent(ctx, e))
}

// ReadsPayload implements [PayloadReader] for a subscriber that does.
func (o *once) ReadsPayload(e Event) bool {
	reader, ok := o.subscriber.(PayloadReader)
	return !ok || reader.ReadsPayload(e)
}

// work is what a subscriber has claimed: to handle one event.
type work struct {
	store      OnceStore
	key, token string
	ended      bool
}

func (o *once) claim(ctx context.Context, e Event) (*work, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	lease := onceLease
	if deadline, ok := ctx.Deadline(); ok {
		lease = time.Until(deadline) + onceGrace
	}
	key, err := onceKey(o.name, e)
	if err != nil {
		return nil, err
	}
	token, err := o.store.Claim(ctx, key, lease)
	if errors.Is(err, ErrDone) {
		return nil, Drop(ErrDone.Error())
	}
	if err != nil {
		return nil, err
	}
	return &work{store: o.store, key: key, token: token}, nil
}

// settle records what the subscriber did, if that was the last word on the event.
func (w *work) settle(ctx context.Context, err error) error {
	if outcome := decide(err); outcome != OutcomeOK && outcome != OutcomeDropped {
		return err
	}
	w.ended = true // what was done must not be done again, so the claim stays even if it cannot be recorded
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), onceWrapUp)
	defer cancel()
	if failed := w.store.Complete(ctx, w.key); failed != nil {
		return Wrap(failed, CodeUnavailable, "the event was handled, but that could not be recorded; it will be handled again")
	}
	return err
}

// release gives the claim back unless the work is done.
func (w *work) release(ctx context.Context) {
	if w.ended {
		return
	}
	w.ended = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), onceWrapUp)
	defer cancel()
	if err := w.store.Release(ctx, w.key, w.token); err != nil {
		slog.WarnContext(ctx, "a claim could not be given back; the event is handled when it ends", "error", err)
	}
}

// onceBatch is [Once] for a subscriber that takes several events at once.
type onceBatch struct {
	*once
	batch BatchSubscriber
}

var _ BatchSubscriber = (*onceBatch)(nil)

// OnEvents handles those events together that nobody has handled before or is handling now. Of two that are the same
// one is handled, and the other comes again.
func (o *onceBatch) OnEvents(ctx context.Context, es []Event) []error {
	errs := make([]error, len(es))
	var claimed []Event
	var claims []*work
	var origin []int // claimed[i] is es[origin[i]]
	defer func() {   // also after a panic, which goes on
		for _, c := range claims {
			c.release(ctx)
		}
	}()
	for i, e := range es {
		c, err := o.claim(ctx, e)
		if err != nil {
			errs[i] = err
			continue
		}
		claimed, claims, origin = append(claimed, e), append(claims, c), append(origin, i)
	}
	if len(claimed) == 0 {
		return errs
	}
	results := o.batch.OnEvents(ctx, claimed)
	if len(results) != len(claimed) {
		return nil // the caller tries each event alone
	}
	for i, err := range results {
		errs[origin[i]] = claims[i].settle(ctx, err)
	}
	return errs
}
