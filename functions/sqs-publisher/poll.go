package sqspublisher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// Queue is a queue that is asked for messages.
type Queue interface {
	// Receive waits for up to 10 messages, which are then hidden from others for a while.
	Receive(ctx context.Context, wait, hidden time.Duration) ([]events.SQSMessage, error)
	// Delete deletes messages that were received.
	Delete(ctx context.Context, list []events.SQSMessage) error
}

// Leases is the part of the table that holds leases.
type Leases interface {
	Put(ctx context.Context, item table.Item, conditions ...table.Condition) error
	Delete(ctx context.Context, key table.Key, conditions ...table.Condition) error
}

// Poll asks the queue of a topic for messages until it is empty, or the time is over.
type Poll struct {
	Topic string
	Queue Queue
	// Handle publishes a batch and says which messages have to come again: [events.Batch.Handle].
	Handle func(ctx context.Context, batch events.SQSEvent) events.SQSResponse
	Leases Leases
	// WaitTime is how long one request waits for messages, VisibilityTimeout how long those are hidden from others.
	WaitTime, VisibilityTimeout time.Duration
	// Reserve is how long before the deadline of the invocation the last request has ended; 0 means 10 seconds. That is
	// enough to publish what it brought and to delete it.
	Reserve time.Duration
}

// Polled says what a [Poll] did.
type Polled struct {
	// Busy tells that another run asks the queue at the moment, so that this one did nothing.
	Busy bool `json:"busy,omitzero"`
	// Received counts messages, Deleted those of them that are done with.
	Received int `json:"received"`
	Deleted  int `json:"deleted"`
}

// Run asks the queue, unless another run does. What could not be published stays in the queue and comes again.
func (p *Poll) Run(ctx context.Context) (done Polled, err error) {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return Polled{}, events.Errorf(events.CodeInternal, "a poll needs a deadline")
	}
	release, err := p.claim(ctx, deadline)
	if err != nil {
		return Polled{}, err
	}
	if release == nil {
		return Polled{Busy: true}, nil
	}
	defer release()
	reserve := p.Reserve
	if reserve == 0 {
		reserve = 10 * time.Second
	}
	for {
		// Whole seconds are what a queue can be asked to wait for.
		wait := min(p.WaitTime, time.Until(deadline)-reserve).Truncate(time.Second)
		if wait <= 0 {
			return done, nil
		}
		batch, err := p.Queue.Receive(ctx, wait, p.VisibilityTimeout)
		if err != nil || len(batch) == 0 {
			return done, err
		}
		done.Received += len(batch)
		deleted, err := p.batch(ctx, batch)
		done.Deleted += deleted
		if err != nil {
			return done, err
		}
	}
}

// batch publishes messages, deletes those that are done with, and returns how many these are.
func (p *Poll) batch(ctx context.Context, batch []events.SQSMessage) (deleted int, err error) {
	e := events.SQSEvent{Records: make([]events.SQSMessage, len(batch))}
	for i, m := range batch {
		e.Records[i] = sealed.Seal(p.Topic, m)
	}
	again := map[string]bool{}
	for _, f := range p.Handle(ctx, e).BatchItemFailures {
		again[f.ItemIdentifier] = true
	}
	var finished []events.SQSMessage
	for _, m := range batch {
		if !again[m.MessageID] {
			finished = append(finished, m)
		}
	}
	if len(finished) == 0 {
		return 0, nil
	}
	return len(finished), p.Queue.Delete(ctx, finished)
}

// claim takes the lease of the queue until the deadline. It returns nil if another run has it.
func (p *Poll) claim(ctx context.Context, deadline time.Time) (release func(), err error) {
	lease := table.Item{
		Key: table.Key{PK: "poll#" + p.Topic, SK: "lease"}, Expires: deadline, Attrs: table.Attrs{"owner": uuid.NewString()},
	}
	if err := p.Leases.Put(ctx, lease, table.NotExists()); err != nil {
		if errors.Is(err, table.ErrCondition) || errors.Is(err, table.ErrConflict) {
			return nil, nil
		}
		return nil, events.Wrap(err, events.CodeUnavailable, "the lease of the queue of %s cannot be taken", p.Topic)
	}
	return func() {
		ctx := context.WithoutCancel(ctx)
		if err := p.Leases.Delete(ctx, lease.Key, table.Equal("owner", lease.Attrs["owner"])); err != nil {
			slog.WarnContext(ctx, "a lease could not be released; it ends with the time of this invocation", "topic", p.Topic, "error", err)
		}
	}, nil
}
