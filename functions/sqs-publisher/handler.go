// Package sqspublisher is the function behind the ingest queue, and behind queues that others fill: it publishes each
// event to its topic.
package sqspublisher

import (
	"context"
	"log/slog"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/pkg/events"
)

// New returns the subscriber of the ingest queue.
func New(p events.Publisher) *events.Router {
	return &events.Router{
		Publisher: p,
		Route:     func(e events.Event) (string, error) { return e.Topic, nil },
		Reads:     func(events.Event) bool { return false },
	}
}

// Handler handles batches of the ingest queue and of queues that others fill, and the schedules that ask some of the
// latter for messages.
type Handler struct {
	// Batch publishes; its Foreign is [Reader.Read].
	Batch *events.Batch
	// Queues are the topics of the queues that others fill, by the ARN of the queue.
	Queues map[string]string
	// Own is the name in AWS of the ingest queue. What comes from neither that nor one of Queues stays where it is: while a
	// topic is removed, its queue is still read for a moment, by a function that does not know it any more. With ""
	// everything that is not in Queues is from the ingest queue.
	Own string
	// Polls are by the name of their schedule.
	Polls map[string]*Poll
}

// Invoke answers an invocation: the Handler interface of aws-lambda-go.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var in struct {
		events.SQSEvent `json:",inline"`

		Schedule string `json:"detail-type"`
	}
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, events.Wrap(err, events.CodeInvalid, "the invocation is neither an SQS event nor one of a schedule")
	}
	if in.Records == nil {
		p := h.Polls[in.Schedule]
		if p == nil {
			return nil, events.Errorf(events.CodeInvalid, "the schedule %q asks no queue of the configuration", in.Schedule)
		}
		done, err := p.Run(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(done)
	}
	var ours []events.SQSMessage
	var others []events.SQSItemFailure
	for _, m := range in.Records {
		switch topic, foreign := h.Queues[m.EventSourceARN]; {
		case foreign:
			ours = append(ours, sealed.Seal(topic, m))
		case h.Own == "" || strings.HasSuffix(m.EventSourceARN, ":"+h.Own):
			ours = append(ours, m)
		default:
			slog.WarnContext(ctx, "a message of a queue that is not in the configuration stays there", "queue", m.EventSourceARN, "event", m.MessageID)
			others = append(others, events.SQSItemFailure{ItemIdentifier: m.MessageID})
		}
	}
	response := h.Batch.Handle(ctx, events.SQSEvent{Records: ours})
	response.BatchItemFailures = append(response.BatchItemFailures, others...)
	return json.Marshal(response)
}
