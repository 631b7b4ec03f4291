package events_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/events"
)

// fakeQueue remembers what a batch did with its queue.
type fakeQueue struct {
	hidden  map[string]time.Duration // by message id
	parked  []events.Message
	parkErr error
	hideErr error
}

func (q *fakeQueue) ChangeVisibility(_ context.Context, m events.SQSMessage, hidden time.Duration) error {
	if q.hidden == nil {
		q.hidden = make(map[string]time.Duration)
	}
	q.hidden[m.MessageID] = hidden
	return q.hideErr
}

func (q *fakeQueue) Park(_ context.Context, m events.Message) error {
	if q.parkErr != nil {
		return q.parkErr
	}
	q.parked = append(q.parked, m)
	return nil
}

// hops collects hops.
type hops struct {
	mu   sync.Mutex
	list []events.Hop
}

func (h *hops) Observe(_ context.Context, hop events.Hop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, hop)
}

// outcomes returns the outcome of each hop by event.
func (h *hops) outcomes() map[string]events.Outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := make(map[string]events.Outcome)
	for _, hop := range h.list {
		m[hop.Event] = hop.Outcome
	}
	return m
}

// sqsEvent makes a batch of good messages with the events t:1, t:2, … and the message ids m1, m2, ….
func sqsEvent(tb testing.TB, n, receives int) events.SQSEvent {
	tb.Helper()
	var batch events.SQSEvent
	for i := 1; i <= n; i++ {
		e := validEvent()
		e.ID = events.NewID("t", fmt.Sprint(i))
		m, err := events.Encode(e)
		if err != nil {
			tb.Fatal(err)
		}
		batch.Records = append(batch.Records, m.SQS(fmt.Sprint("m", i), fmt.Sprint("r", i), receives))
	}
	return batch
}

func failures(r events.SQSResponse) string {
	var ids []string
	for _, f := range r.BatchItemFailures {
		ids = append(ids, f.ItemIdentifier)
	}
	return strings.Join(ids, " ")
}

// answers is a subscriber that answers each event, by its id, as told.
func answers(errs map[string]error) events.Subscriber {
	return events.SubscriberFunc(func(_ context.Context, e events.Event) error { return errs[e.ID] })
}

func TestBatch_OneRecordHarmsNoOther(t *testing.T) {
	t.Parallel()
	batch := sqsEvent(t, 7, 1)
	batch.Records[6].Body, batch.Records[6].MessageAttributes = "not ours", nil
	q, h := &fakeQueue{}, &hops{}
	b := &events.Batch{Function: "f", Queue: q, Observer: h, Subscriber: events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
		events.AddNote(ctx, events.NoteCount, "saw "+e.ID)
		switch e.ID {
		case "t:2":
			return errors.New("not yet")
		case "t:3":
			panic("boom")
		case "t:4":
			return fmt.Errorf("ctx: %w", events.Errorf(events.CodeInvalid, "cannot be understood"))
		case "t:5":
			return events.Drop("not for us")
		}
		return nil
	})}
	response := b.Handle(t.Context(), batch)
	if got, want := failures(response), "m2 m3"; got != want {
		t.Errorf("messages %q are reported, want %q", got, want)
	}
	want := map[string]events.Outcome{
		"t:1": events.OutcomeOK, "t:2": events.OutcomeRetry, "t:3": events.OutcomeRetry, "t:4": events.OutcomePark,
		"t:5": events.OutcomeDropped, "t:6": events.OutcomeOK, "m7": events.OutcomePark,
	}
	if diff := cmp.Diff(want, h.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]time.Duration{"m2": 5 * time.Second, "m3": 5 * time.Second}, q.hidden); diff != "" {
		t.Errorf("hidden messages (-want +got):\n%s", diff)
	}
	if len(q.parked) != 2 {
		t.Fatalf("%d messages are parked, want 2", len(q.parked))
	}
	for i, hop := range h.list {
		note := []events.Note{{Kind: events.NoteCount, Value: "saw " + hop.Event}}
		if hop.Event == "m7" {
			note = nil
		}
		if diff := cmp.Diff(note, hop.Notes); diff != "" {
			t.Errorf("notes of hop %d (-want +got):\n%s", i, diff)
		}
		if strings.Contains(hop.Reason, "\n") {
			t.Errorf("the reason of hop %d has several lines: %q", i, hop.Reason)
		}
	}
	if got := h.list[2].Reason; got != "panic: boom" {
		t.Errorf("the reason of the hop that panicked is %q", got)
	}
}

func TestBatch_ParkedMessage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*events.SQSMessage)
		err    error
		reason string
	}{
		"by its code":    {nil, events.Errorf(events.CodeInvalid, "bad \x01\ufffe\xff é"), "bad ��� é"},
		"directly":       {nil, events.Park(errors.New("no use")), "no use"},
		"with no reason": {nil, &events.Error{Code: events.CodeInvalid}, "unknown"},
		"at length":      {nil, events.Errorf(events.CodeTooLarge, "%s", strings.Repeat("é", 5000)), strings.Repeat("é", 500)},
		"undecodable": {
			func(m *events.SQSMessage) { delete(m.MessageAttributes, events.AttributeEvents) }, nil,
			"the message has no attribute x-events: it was not sent by Callboard",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			batch := sqsEvent(t, 1, 1)
			if test.change != nil {
				test.change(&batch.Records[0])
			}
			want := batch.Records[0].Message()
			q := &fakeQueue{}
			b := &events.Batch{Function: "audit", Queue: q, Observer: &hops{}, Subscriber: answers(map[string]error{"t:1": test.err})}
			if got := failures(b.Handle(t.Context(), batch)); got != "" {
				t.Errorf("messages %q are reported, want none: it is in the dead-letter queue", got)
			}
			if len(q.parked) != 1 {
				t.Fatalf("%d messages are parked, want 1", len(q.parked))
			}
			got := q.parked[0]
			if err := got.Validate(events.MaxSQSMessageSize); err != nil {
				t.Errorf("AWS would refuse the parked message: %v", err)
			}
			reason, at := got.Attributes[events.AttributeParkedReason].StringValue, got.Attributes[events.AttributeParkedTime].StringValue
			if reason != test.reason {
				t.Errorf("the reason is %q, want %q", reason, test.reason)
			}
			if _, err := time.Parse(time.RFC3339, at); err != nil {
				t.Errorf("the time is %q: %v", at, err)
			}
			if function := got.Attributes[events.AttributeParkedFunction].StringValue; function != "audit" {
				t.Errorf("the function is %q, want audit", function)
			}
			for _, name := range []string{events.AttributeParkedReason, events.AttributeParkedTime, events.AttributeParkedFunction} {
				delete(got.Attributes, name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the parked message differs from the received one:\n%s", diff)
			}
		})
	}
}

// A parked message says where it was, if there is room: it has ten attributes at most.
func TestBatch_ParkedQueue(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:sqs:eu-west-1:111122223333:callboard-audit"
	for _, test := range []struct {
		name, arn string
		more      int
		stale     string // what the message says already
		want      string
	}{
		{"room", arn, 0, "", arn},
		{"just enough room", arn, 2, "", arn},
		{"no room", arn, 3, "", ""},
		{"not known", "", 0, "", ""},
		{"parked before", arn, 0, "arn:aws:sqs:eu-west-1:111122223333:other", arn},
		{"parked before, not known now", "", 0, "arn:aws:sqs:eu-west-1:111122223333:other", ""},
	} {
		batch := sqsEvent(t, 1, 1)
		m := &batch.Records[0]
		m.EventSourceARN = test.arn
		for i := range test.more {
			m.MessageAttributes[fmt.Sprint("x-more-", i)] = events.SQSAttribute{DataType: "String", StringValue: "v"}
		}
		if test.stale != "" {
			m.MessageAttributes[events.AttributeParkedQueue] = events.SQSAttribute{DataType: "String", StringValue: test.stale}
		}
		q := &fakeQueue{}
		b := &events.Batch{Function: "audit", Queue: q, Observer: &hops{}, Subscriber: answers(map[string]error{"t:1": events.Park(errors.New("no use"))})}
		if got := failures(b.Handle(t.Context(), batch)); got != "" || len(q.parked) != 1 {
			t.Fatalf("%s: %q are reported, %d are parked", test.name, got, len(q.parked))
		}
		if got := q.parked[0].Attributes[events.AttributeParkedQueue].StringValue; got != test.want {
			t.Errorf("%s: the message was in %q, want %q", test.name, got, test.want)
		}
		if n := len(q.parked[0].Attributes); n > 10 {
			t.Errorf("%s: %d attributes, AWS allows 10", test.name, n)
		}
	}
}

func TestBatch_ParkingFails(t *testing.T) {
	t.Parallel()
	q, h := &fakeQueue{parkErr: errors.New("no such queue"), hideErr: errors.New("no")}, &hops{}
	b := &events.Batch{Function: "f", Queue: q, Observer: h, Subscriber: answers(map[string]error{"t:1": events.Errorf(events.CodeInvalid, "bad")})}
	if got := failures(b.Handle(t.Context(), sqsEvent(t, 2, 2))); got != "m1" {
		t.Errorf("messages %q are reported, want m1: it must not be lost", got)
	}
	if got := h.outcomes()["t:1"]; got != events.OutcomeRetry {
		t.Errorf("the outcome is %q, want %q", got, events.OutcomeRetry)
	}
	if got := q.hidden["m1"]; got != 30*time.Second {
		t.Errorf("the message rests for %v, want 30s", got)
	}
}

func TestBatch_WithoutQueue(t *testing.T) {
	t.Parallel()
	h := &hops{}
	b := &events.Batch{Observer: h, Subscriber: answers(map[string]error{
		"t:1": events.Errorf(events.CodeInvalid, "bad"),
		"t:2": &events.Error{Code: events.CodeRateLimited, RetryAt: time.Now().Add(time.Hour)},
		"t:3": errors.New("not yet"),
		"t:4": events.Drop("not for us"),
	})}
	if got, want := failures(b.Handle(t.Context(), sqsEvent(t, 5, 1))), "m1 m2 m3"; got != want {
		t.Errorf("messages %q are reported, want %q", got, want)
	}
	want := map[string]events.Outcome{
		"t:1": events.OutcomeRetry, "t:2": events.OutcomeRetry, "t:3": events.OutcomeRetry, "t:4": events.OutcomeDropped, "t:5": events.OutcomeOK,
	}
	if diff := cmp.Diff(want, h.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestBatch_Outcomes(t *testing.T) {
	t.Parallel()
	for code, want := range map[events.Code]events.Outcome{
		events.CodeInternal: events.OutcomeRetry, events.CodeUnauthorized: events.OutcomeRetry, events.CodeForbidden: events.OutcomeRetry,
		events.CodeNotFound: events.OutcomeRetry, events.CodeMethodNotAllowed: events.OutcomeRetry, events.CodeConflict: events.OutcomeRetry,
		events.CodeUnavailable: events.OutcomeRetry, events.CodeRateLimited: events.OutcomeRetry, "unheard-of": events.OutcomeRetry,
		events.CodeInvalid: events.OutcomePark, events.CodeTooLarge: events.OutcomePark, events.CodeUnsupportedMediaType: events.OutcomePark,
	} {
		h := &hops{}
		b := &events.Batch{Queue: &fakeQueue{}, Observer: h, Subscriber: answers(map[string]error{"t:1": events.Errorf(code, "x")})}
		b.Handle(t.Context(), sqsEvent(t, 1, 1))
		if got := h.outcomes()["t:1"]; got != want {
			t.Errorf("an error of code %s: outcome %q, want %q", code, got, want)
		}
	}
}

func TestBatch_Backoff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		receives int
		backoff  []time.Duration
		want     time.Duration
	}{
		{0, nil, 5 * time.Second},
		{1, nil, 5 * time.Second},
		{2, nil, 30 * time.Second},
		{3, nil, 2 * time.Minute},
		{4, nil, 10 * time.Minute},
		{5, nil, 10 * time.Minute},
		{1000, nil, 10 * time.Minute},
		{1, []time.Duration{time.Second, time.Hour}, time.Second},
		{3, []time.Duration{time.Second, time.Hour}, time.Hour},
	} {
		q, h := &fakeQueue{}, &hops{}
		b := &events.Batch{Queue: q, Observer: h, Backoff: test.backoff, Subscriber: answers(map[string]error{"t:1": errors.New("not yet")})}
		b.Handle(t.Context(), sqsEvent(t, 1, test.receives))
		if got := q.hidden["m1"]; got != test.want {
			t.Errorf("receive %d: the message rests for %v, want %v", test.receives, got, test.want)
		}
		if got := h.list[0].Attempt; got != max(1, test.receives) {
			t.Errorf("the hop is attempt %d, want %d", got, test.receives)
		}
	}
}

func TestBatch_Defer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			receives int
			in, want time.Duration
		}{
			{1, time.Hour, time.Hour},
			{4, time.Hour, time.Hour},
			{1, -time.Hour, 0},
			// What is deferred again was told too early a time.
			{2, -time.Hour, 30 * time.Second},
			{4, time.Minute, 10 * time.Minute},
			// SQS counts 12 hours from the receipt and refuses what leads beyond.
			{1, 48 * time.Hour, 11*time.Hour + 45*time.Minute},
		} {
			q, h := &fakeQueue{}, &hops{}
			err := &events.Error{Code: events.CodeRateLimited, Message: "later", RetryAt: time.Now().Add(test.in)}
			b := &events.Batch{Queue: q, Observer: h, Subscriber: answers(map[string]error{"t:1": fmt.Errorf("ctx: %w", err)})}
			if got := failures(b.Handle(t.Context(), sqsEvent(t, 1, test.receives))); got != "m1" {
				t.Errorf("messages %q are reported, want m1", got)
			}
			if got := q.hidden["m1"]; got != test.want {
				t.Errorf("deferred by %v at receipt %d: the message rests for %v, want %v", test.in, test.receives, got, test.want)
			}
			if got := h.outcomes()["t:1"]; got != events.OutcomeDefer {
				t.Errorf("the outcome is %q, want %q", got, events.OutcomeDefer)
			}
		}
	})
}

func TestBatch_RateLimitedWithoutTime(t *testing.T) {
	t.Parallel()
	q := &fakeQueue{}
	b := &events.Batch{Queue: q, Observer: &hops{}, Subscriber: answers(map[string]error{"t:1": events.Errorf(events.CodeRateLimited, "later")})}
	if got := failures(b.Handle(t.Context(), sqsEvent(t, 1, 2))); got != "m1" || q.hidden["m1"] != 30*time.Second {
		t.Errorf("messages %q are reported, m1 rests for %v; want the usual back-off of 30s", got, q.hidden["m1"])
	}
}

// A handler that runs out of time ends what it is doing, starts nothing more and reports the rest.
func TestBatch_TimeBudget(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ reserve, want time.Duration }{
		"usual reserve": {0, 28 * time.Second},
		"own reserve":   {10 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				q, h := &fakeQueue{}, &hops{}
				var started []string
				b := &events.Batch{Reserve: test.reserve, Queue: q, Observer: h, Subscriber: events.SubscriberFunc(func(ctx context.Context, e events.Event) error {
					started = append(started, e.ID)
					if e.ID == "t:1" {
						return nil
					}
					<-ctx.Done()
					return ctx.Err()
				})}
				response := b.Handle(ctx, sqsEvent(t, 4, 1))
				if got := time.Since(begin); got != test.want {
					t.Errorf("the handler took %v of 30s, want %v", got, test.want)
				}
				if ctx.Err() != nil {
					t.Error("no time was left to settle the records")
				}
				if diff := cmp.Diff([]string{"t:1", "t:2"}, started); diff != "" {
					t.Errorf("started events (-want +got):\n%s", diff)
				}
				if got, want := failures(response), "m2 m3 m4"; got != want {
					t.Errorf("messages %q are reported, want %q", got, want)
				}
				want := map[string]time.Duration{"m2": 5 * time.Second, "m3": 0, "m4": 0}
				if diff := cmp.Diff(want, q.hidden); diff != "" {
					t.Errorf("those that were not started come again at once (-want +got):\n%s", diff)
				}
				if got := h.list[3]; got.Outcome != events.OutcomeRetry || !strings.Contains(got.Reason, "ran out of time") {
					t.Errorf("the last hop is %+v, want a retry because of the time", got)
				}
			})
		})
	}
}

func TestBatch_OutOfTimeBeforeTheFirst(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := &events.Batch{Observer: &hops{}, Subscriber: &together{each: func(e events.Event) error {
		t.Errorf("event %s was started", e.ID)
		return nil
	}}}
	if got := failures(b.Handle(ctx, sqsEvent(t, 2, 1))); got != "m1 m2" {
		t.Errorf("messages %q are reported, want all", got)
	}
}

// together is a subscriber of whole batches that remembers how it was called.
type together struct {
	all  func(es []events.Event) []error
	each func(e events.Event) error

	batches, single int
}

func (s *together) OnEvent(_ context.Context, e events.Event) error {
	s.single++
	if s.each == nil {
		return nil
	}
	return s.each(e)
}

func (s *together) OnEvents(_ context.Context, es []events.Event) []error {
	s.batches++
	if s.all == nil {
		return make([]error, len(es))
	}
	return s.all(es)
}

func TestBatch_BatchSubscriber(t *testing.T) {
	t.Parallel()
	second := func(e events.Event) error {
		if e.ID == "t:2" {
			return errors.New("not yet")
		}
		return nil
	}
	for name, test := range map[string]struct {
		records         int
		all             func(es []events.Event) []error
		each            func(e events.Event) error
		batches, single int
		failed          string
	}{
		"all at once": {3, nil, second, 1, 0, ""},
		"one fails": {3, func(es []events.Event) []error {
			errs := make([]error, len(es))
			for i, e := range es {
				errs[i] = second(e)
			}
			return errs
		}, nil, 1, 0, "m2"},
		"one record":       {1, nil, second, 0, 1, ""},
		"none":             {0, nil, nil, 0, 0, ""},
		"panic":            {3, func([]events.Event) []error { panic("boom") }, second, 1, 3, "m2"},
		"panic everywhere": {2, func([]events.Event) []error { panic("boom") }, func(events.Event) error { panic("boom") }, 1, 2, "m1 m2"},
		"too few answers":  {3, func(es []events.Event) []error { return make([]error, len(es)-1) }, second, 1, 3, "m2"},
		"too many answers": {3, func(es []events.Event) []error { return make([]error, len(es)+1) }, second, 1, 3, "m2"},
		"no answer":        {3, func([]events.Event) []error { return nil }, second, 1, 3, "m2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &together{all: test.all, each: test.each}
			b := &events.Batch{Queue: &fakeQueue{}, Observer: &hops{}, Subscriber: s}
			if got := failures(b.Handle(t.Context(), sqsEvent(t, test.records, 1))); got != test.failed {
				t.Errorf("messages %q are reported, want %q", got, test.failed)
			}
			if s.batches != test.batches || s.single != test.single {
				t.Errorf("the subscriber was called %d times with all and %d times with one, want %d and %d", s.batches, s.single, test.batches, test.single)
			}
		})
	}
}

func TestBatch_BatchSubscriberGetsWhatIsReadable(t *testing.T) {
	t.Parallel()
	batch := sqsEvent(t, 3, 1)
	batch.Records[1].MessageAttributes = nil
	var got []string
	s := &together{all: func(es []events.Event) []error {
		for _, e := range es {
			got = append(got, e.ID)
		}
		return []error{nil, errors.New("not yet")}
	}}
	q := &fakeQueue{}
	b := &events.Batch{Queue: q, Observer: &hops{}, Subscriber: s}
	if failed := failures(b.Handle(t.Context(), batch)); failed != "m3" {
		t.Errorf("messages %q are reported, want m3", failed)
	}
	if diff := cmp.Diff([]string{"t:1", "t:3"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(q.parked) != 1 {
		t.Errorf("%d messages are parked, want the unreadable one", len(q.parked))
	}
}

func TestBatch_ResponseIsWhatLambdaReads(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		batch events.SQSEvent
		want  string
	}{
		"nothing failed": {sqsEvent(t, 1, 1), `{"batchItemFailures":[]}`},
		"no records":     {events.SQSEvent{}, `{"batchItemFailures":[]}`},
		"some failed":    {sqsEvent(t, 3, 1), `{"batchItemFailures":[{"itemIdentifier":"m2"},{"itemIdentifier":"m3"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payload, err := json.Marshal(test.batch)
			if err != nil {
				t.Fatal(err)
			}
			failing := map[string]error{"t:2": errors.New("x"), "t:3": errors.New("x")}
			b := &events.Batch{Observer: &hops{}, Subscriber: answers(failing)}
			got, err := b.Invoke(t.Context(), payload)
			if err != nil || string(got) != test.want {
				t.Errorf("the answer is %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestBatch_InvokeRefusesWhatIsNoSQSEvent(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{"", "1", `{"Records":1}`, `{"Records":[{"body":{}}]}`} {
		b := &events.Batch{Observer: &hops{}, Subscriber: answers(nil)}
		if got, err := b.Invoke(t.Context(), []byte(payload)); events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("%s is answered with %s, %v; want code %q", payload, got, err, events.CodeInvalid)
		}
	}
}

func TestBatch_RecordedEvent(t *testing.T) {
	t.Parallel()
	payload, err := os.ReadFile("testdata/sqs-event.json")
	if err != nil {
		t.Fatal(err)
	}
	var got []events.Event
	q, h := &fakeQueue{}, &hops{}
	b := &events.Batch{Function: "f", Queue: q, Observer: h, Subscriber: events.SubscriberFunc(func(_ context.Context, e events.Event) error {
		got = append(got, e)
		return errors.New("not yet")
	})}
	answer, err := b.Invoke(t.Context(), payload)
	if want := `{"batchItemFailures":[{"itemIdentifier":"059f36b4-87a3-44ab-83d2-661975830a7d"}]}`; err != nil || string(answer) != want {
		t.Errorf("the answer is %s, %v; want %s", answer, err, want)
	}
	want := []events.Event{{
		ID:          "github:72d3162e-cc78-11e3-81ab-4c9367dc0958",
		Topic:       "github",
		Payload:     []byte(`{ "ref": "refs/heads/main" }`),
		Metadata:    events.Metadata{"x-github-event": "push", "x-github-hook-id": "292430182"},
		Promoted:    []string{"x-github-event"},
		Time:        time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Group:       "0123456789abcdef0123456789abcdef",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := q.hidden["059f36b4-87a3-44ab-83d2-661975830a7d"]; got != 2*time.Minute {
		t.Errorf("the message rests for %v, want 2m: it is its third receive", got)
	}
	if len(q.parked) != 1 || q.parked[0].Body != "Test message." {
		t.Errorf("parked: %+v, want the message of somebody else", q.parked)
	}

	// What is written is read the same.
	var first, second events.SQSEvent
	if err := json.Unmarshal(payload, &first); err != nil {
		t.Fatal(err)
	}
	written, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(written, &second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the event changed (-read +written):\n%s", diff)
	}
	if got := first.Records[1].MessageAttributes["blob"].BinaryValue; string(got) != "\x00\x01\x02" {
		t.Errorf("the binary attribute is %x, want 000102", got)
	}
}

func TestMessage_SQS(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, err := events.Encode(anyEvent(t))
		if err != nil {
			t.Fatal(err)
		}
		receives := rapid.IntRange(1, 100).Draw(t, "receives")
		r := m.SQS("id", "handle", receives)
		if diff := cmp.Diff(m, r.Message()); diff != "" || r.Receives() != receives {
			t.Errorf("receive %d, want %d; the message changed:\n%s", r.Receives(), receives, diff)
		}
	})
}

func FuzzBatchInvoke(f *testing.F) {
	recorded, err := os.ReadFile("testdata/sqs-event.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(recorded)
	f.Add([]byte(`{"Records":[null,{"messageAttributes":{"x-events":null}}]}`))
	f.Add([]byte(`{"Records":[{"messageId":"\ud800","attributes":{"ApproximateReceiveCount":"-1"}}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := &events.Batch{Queue: &fakeQueue{}, Observer: &hops{}, Subscriber: events.SubscriberFunc(func(_ context.Context, e events.Event) error {
			if len(e.Payload)%2 == 1 {
				return errors.New("odd")
			}
			return nil
		})}
		answer, err := b.Invoke(t.Context(), payload)
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid {
				t.Fatalf("error code %q, want %q", code, events.CodeInvalid)
			}
			return
		}
		var in events.SQSEvent
		var out events.SQSResponse
		if err := json.Unmarshal(payload, &in); err != nil {
			t.Fatalf("%v was answered", err)
		}
		if err := json.Unmarshal(answer, &out); err != nil || out.BatchItemFailures == nil {
			t.Fatalf("the answer is %s, %v", answer, err)
		}
		if len(out.BatchItemFailures) > len(in.Records) {
			t.Fatalf("%d of %d records failed", len(out.BatchItemFailures), len(in.Records))
		}
	})
}

// What is not of Callboard is read by whoever knows it, each message on its own.
func TestBatch_Foreign(t *testing.T) {
	t.Parallel()
	ours, err := events.Encode(events.Event{ID: "ours:1", Topic: "ours", Payload: []byte(`{}`), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	handled := map[string]string{}
	b := &events.Batch{
		Function: "f", Observer: &hops{},
		Subscriber: events.SubscriberFunc(func(_ context.Context, e events.Event) error {
			handled[e.ID] = e.Topic
			return nil
		}),
		Foreign: func(_ context.Context, m events.SQSMessage) (events.Event, bool, error) {
			switch m.Body {
			case "theirs":
				return events.Event{ID: "theirs:1", Topic: "theirs"}, true, nil
			case "wrong":
				return events.Event{ID: "theirs:2", Topic: "theirs"}, true, errors.New("wrong")
			case "panic":
				panic("panic")
			}
			return events.Event{}, false, nil
		},
	}
	records := []events.SQSMessage{ours.SQS("ours", "r", 1)}
	for _, body := range []string{"theirs", "wrong", "panic", "neither"} {
		records = append(records, events.Message{Body: body}.SQS(body, "r", 1))
	}
	var failed []string
	for _, f := range b.Handle(t.Context(), events.SQSEvent{Records: records}).BatchItemFailures {
		failed = append(failed, f.ItemIdentifier)
	}
	if diff := cmp.Diff([]string{"wrong", "panic", "neither"}, failed); diff != "" {
		t.Errorf("messages that come again (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"ours:1": "ours", "theirs:1": "theirs"}, handled); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
