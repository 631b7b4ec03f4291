package sqspublisher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	sqspublisher "github.com/callboard/callboard/functions/sqs-publisher"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
)

// hops collects hops.
type hops []events.Hop

func (h *hops) Observe(_ context.Context, hop events.Hop) { *h = append(*h, hop) }

// publisher answers with an error and remembers how it was called.
type publisher struct {
	err   error
	calls [][]events.Event
}

func (p *publisher) Publish(_ context.Context, es ...events.Event) error {
	p.calls = append(p.calls, es)
	return p.err
}

func batchOf(t *testing.T, n int) events.SQSEvent {
	t.Helper()
	var batch events.SQSEvent
	for i := range n {
		m, err := events.Encode(eventstest.NewEvent("github", i))
		if err != nil {
			t.Fatal(err)
		}
		batch.Records = append(batch.Records, m.SQS(fmt.Sprint("m", i), "r", 1))
	}
	return batch
}

func TestPublisher_AttributesBecomeMetadata(t *testing.T) {
	t.Parallel()
	broker := memory.New()
	defer func() { _ = broker.Close() }()
	r := &eventstest.Recorder{}
	if err := broker.Subscribe("s", []string{"github"}, r); err != nil {
		t.Fatal(err)
	}
	const payload = "{ \"a\" : 1.50, \"a\":2}\n"
	text := func(s string) events.SQSAttribute { return events.SQSAttribute{DataType: "String", StringValue: s} }
	batch := events.SQSEvent{Records: []events.SQSMessage{{
		MessageID: "m", Body: payload, Attributes: map[string]string{"MessageGroupId": "group", "ApproximateReceiveCount": "1"},
		MessageAttributes: map[string]events.SQSAttribute{
			events.AttributeTopic:  text("github"),
			events.AttributeID:     text("github:1"),
			events.AttributeEvents: text(`{"v":1,"time":"2026-01-02T03:04:05.006Z","traceparent":"trace","metadata":{"x-hook":"7"}}`),
			"X-GitHub-Event":       text("push"),
			"number":               {DataType: "Number", StringValue: "42"},
		},
	}}}
	b := &events.Batch{Function: topology.SQSPublisher, Observer: &hops{}, Subscriber: sqspublisher.New(broker)}
	if got := b.Handle(t.Context(), batch); len(got.BatchItemFailures) != 0 {
		t.Errorf("failures %v, want none", got)
	}
	if err := broker.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]events.Event{"github:1": {
		ID: "github:1", Topic: "github", Payload: []byte(payload), TraceParent: "trace", Group: "group",
		Time:     time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC),
		Metadata: events.Metadata{"x-hook": "7", "x-github-event": "push", "number": "42"},
		Promoted: []string{"number", "x-github-event"},
	}}
	if diff := cmp.Diff(want, r.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestPublisher_Failures(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	tooLarge := events.Errorf(events.CodeTooLarge, "too large")
	for name, test := range map[string]struct {
		err      error
		failed   []events.SQSItemFailure
		outcomes []events.Outcome
	}{
		"none": {nil, []events.SQSItemFailure{}, []events.Outcome{events.OutcomeOK, events.OutcomeOK, events.OutcomeOK}},
		"one": {
			events.PublishError{nil, refused, nil},
			[]events.SQSItemFailure{{ItemIdentifier: "m1"}},
			[]events.Outcome{events.OutcomeOK, events.OutcomeRetry, events.OutcomeOK},
		},
		"all": {
			refused,
			[]events.SQSItemFailure{{ItemIdentifier: "m0"}, {ItemIdentifier: "m1"}, {ItemIdentifier: "m2"}},
			[]events.Outcome{events.OutcomeRetry, events.OutcomeRetry, events.OutcomeRetry},
		},
		"one that never fits": {
			events.PublishError{nil, nil, tooLarge},
			[]events.SQSItemFailure{},
			[]events.Outcome{events.OutcomeOK, events.OutcomeOK, events.OutcomePark},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, h := &publisher{err: test.err}, &hops{}
			b := &events.Batch{Queue: queue{}, Observer: h, Subscriber: sqspublisher.New(p)}
			got := b.Handle(t.Context(), batchOf(t, 3))
			if diff := cmp.Diff(test.failed, got.BatchItemFailures); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
			for i, hop := range *h {
				if hop.Outcome != test.outcomes[i] {
					t.Errorf("message %d: outcome %q, want %q", i, hop.Outcome, test.outcomes[i])
				}
			}
			if len(p.calls) != 1 || len(p.calls[0]) != 3 {
				t.Errorf("published in %d calls, want all in one", len(p.calls))
			}
		})
	}
}

// queue accepts everything.
type queue struct{}

func (queue) ChangeVisibility(context.Context, events.SQSMessage, time.Duration) error { return nil }

func (queue) Park(context.Context, events.Message) error { return nil }
