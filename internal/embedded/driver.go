package embedded

import (
	"context"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/pkg/events"
)

// Handler is a function as Lambda sees it: what an invocation carries in, what it answers out. It is the Handler
// interface of aws-lambda-go.
type Handler interface {
	Invoke(ctx context.Context, payload []byte) ([]byte, error)
}

// mapping feeds a function from a queue, as an event source mapping does.
type mapping struct {
	queues      *Queues
	queue       string
	function    string
	handler     Handler
	timeout     time.Duration // of the function
	batchSize   int
	concurrency int
	observer    events.Observer
}

// run invokes the function until ctx ends, and returns when the invocations that were running have ended. Those
// are not cut off by ctx but by abort.
func (m *mapping) run(ctx, abort context.Context) {
	var wg sync.WaitGroup
	for range m.concurrency {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := m.poll(ctx, abort); err != nil {
					slog.ErrorContext(ctx, "a queue cannot be used", "queue", m.queue, "error", err)
					sleep(ctx, time.Second)
				}
			}
		})
	}
	wg.Wait()
}

// poll receives one batch and hands it to the function.
func (m *mapping) poll(ctx, abort context.Context) error {
	batch, err := m.queues.receive(ctx, m.queue, m.batchSize, m.gaveUp)
	if err != nil || len(batch) == 0 {
		return err
	}
	failed, err := m.invoke(abort, batch)
	if err != nil {
		slog.ErrorContext(ctx, "a function failed; its whole batch comes again", "function", m.function, "queue", m.queue, "error", err)
	}
	return m.queues.settle(m.queue, batch, func(r *received) bool { return err == nil && !failed[r.message.MessageID] })
}

// carried splits a batch into what one invocation carries and the rest. Lambda ends a batch before its messages are larger,
// as JSON; it has at least one
// (https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching).
func carried(batch []*received) (fits, rest []*received, err error) {
	// Escapes at most double a text that SQS takes, and everything beside body and attributes is short.
	const beside = 2048
	most := 0
	for _, r := range batch {
		most += 2*r.size + beside
	}
	if most <= maxInvocation {
		return batch, nil, nil
	}
	n := len(`{"Records":[]}`)
	for i, r := range batch {
		data, err := json.Marshal(r.message)
		if err != nil {
			return nil, nil, err
		}
		if i > 0 {
			n++ // a comma
		}
		if n += len(data); i > 0 && n > maxInvocation {
			return batch[:i], batch[i:], nil
		}
	}
	return batch, nil, nil
}

// invoke returns which messages of the batch have to come again. An error, a panic or an answer that names a
// message that is not in the batch means all of them
// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
func (m *mapping) invoke(ctx context.Context, batch []*received) (failed map[string]bool, err error) {
	e := events.SQSEvent{Records: make([]events.SQSMessage, len(batch))}
	known := make(map[string]bool, len(batch))
	for i, r := range batch {
		e.Records[i] = r.message
		known[r.message.MessageID] = true
	}
	payload, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	answer, err := invoke(ctx, m.handler, payload)
	if err != nil {
		return nil, err
	}
	var response events.SQSResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return nil, events.Wrap(err, events.CodeInternal, "the answer is not a batch response")
	}
	failed = make(map[string]bool, len(response.BatchItemFailures))
	for _, f := range response.BatchItemFailures {
		if !known[f.ItemIdentifier] {
			return nil, events.Errorf(events.CodeInternal, "the answer names the message %q, which is not in the batch", f.ItemIdentifier)
		}
		failed[f.ItemIdentifier] = true
	}
	return failed, nil
}

// gaveUp reports a message that was moved to the dead-letter queue because it failed too often.
func (m *mapping) gaveUp(message events.Message) {
	m.observer.Observe(context.Background(), events.Hop{
		Time: time.Now().UTC(), Event: message.Attributes[events.AttributeID].StringValue,
		Topic: message.Attributes[events.AttributeTopic].StringValue, Function: m.function,
		Outcome: events.OutcomePark, Reason: "failed too often; it is in the dead-letter queue",
	})
}

// control is what a function's batch handler may do with the queues it is fed from.
type control struct {
	queues     *Queues
	deadLetter string
}

var _ events.Queue = control{}

// ChangeVisibility implements [events.Queue].
func (c control) ChangeVisibility(_ context.Context, m events.SQSMessage, hidden time.Duration) error {
	return c.queues.hide(strings.TrimPrefix(m.EventSourceARN, arnPrefix), m.ReceiptHandle, hidden)
}

// Park implements [events.Queue].
func (c control) Park(ctx context.Context, m events.Message) error {
	return c.queues.Send(ctx, c.deadLetter, m)
}

// invoke calls a function; a panic is an error of the function.
func invoke(ctx context.Context, h Handler, payload []byte) (answer []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = events.Errorf(events.CodeInternal, "panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h.Invoke(ctx, payload)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
