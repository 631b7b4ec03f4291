package events

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// SQSEvent is what Lambda hands to a function that reads an SQS queue
// (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
type SQSEvent struct {
	Records []SQSMessage `json:"Records"`
}

// SQSMessage is one message of an [SQSEvent].
type SQSMessage struct {
	MessageID         string                  `json:"messageId"`
	ReceiptHandle     string                  `json:"receiptHandle"`
	Body              string                  `json:"body"`
	MD5OfBody         string                  `json:"md5OfBody"`
	Attributes        map[string]string       `json:"attributes"`
	MessageAttributes map[string]SQSAttribute `json:"messageAttributes"`
	EventSource       string                  `json:"eventSource"`
	EventSourceARN    string                  `json:"eventSourceARN"`
	AWSRegion         string                  `json:"awsRegion"`
}

// SQSAttribute is a message attribute as Lambda shows it.
type SQSAttribute struct {
	DataType    string `json:"dataType"`
	StringValue string `json:"stringValue,omitempty"`
	BinaryValue []byte `json:"binaryValue,omitempty"`
}

// SQSResponse tells Lambda which messages of a batch failed; the others are deleted from the queue.
type SQSResponse struct {
	BatchItemFailures []SQSItemFailure `json:"batchItemFailures"`
}

// SQSItemFailure names a message that was not handled.
type SQSItemFailure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// Message returns the message without what the queue added to it.
func (r SQSMessage) Message() Message {
	m := Message{Body: r.Body, Attributes: make(map[string]Attribute, len(r.MessageAttributes)), GroupID: r.Attributes["MessageGroupId"]}
	for name, a := range r.MessageAttributes {
		m.Attributes[name] = Attribute{DataType: a.DataType, StringValue: a.StringValue}
	}
	return m
}

// SQS returns the message as a queue hands it out: with its id, receipt handle and receive count.
func (m Message) SQS(id, receiptHandle string, receives int) SQSMessage {
	r := SQSMessage{
		MessageID: id, ReceiptHandle: receiptHandle, Body: m.Body, EventSource: "aws:sqs",
		Attributes:        map[string]string{"ApproximateReceiveCount": strconv.Itoa(receives)},
		MessageAttributes: make(map[string]SQSAttribute, len(m.Attributes)),
	}
	if m.GroupID != "" {
		r.Attributes["MessageGroupId"] = m.GroupID
	}
	for name, a := range m.Attributes {
		r.MessageAttributes[name] = SQSAttribute{DataType: a.DataType, StringValue: a.StringValue}
	}
	return r
}

// Receives is how often the queue has handed the message out, at least 1.
func (r SQSMessage) Receives() int {
	n, err := strconv.Atoi(r.Attributes["ApproximateReceiveCount"])
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// Attributes that a parked message gets, beside those it had. Their names begin with [ParkedPrefix].
const (
	ParkedPrefix = AttributeEvents + "-parked-"

	AttributeParkedReason   = "x-events-parked-reason"
	AttributeParkedFunction = "x-events-parked-function"
	AttributeParkedTime     = "x-events-parked-time"
	// AttributeParkedQueue is the ARN of the queue that the message was in. A message that has no room for it
	// goes without.
	AttributeParkedQueue = "x-events-parked-queue"
)

// Queue is what a [Batch] needs of the queue it is fed from, beyond the answer it gives.
type Queue interface {
	// ChangeVisibility hides a received message from now on for the given time, 0 to 12 hours.
	ChangeVisibility(ctx context.Context, m SQSMessage, hidden time.Duration) error
	// Park sends a message to the dead-letter queue of the function.
	Park(ctx context.Context, m Message) error
}

// Batch handles SQS batches with a subscriber. Each record is processed on its own: one that fails or panics
// harms no other. It is a Lambda handler:
//
//	lambda.Start(&events.Batch{Function: "audit", Subscriber: audit{}})
//
// What becomes of a failed record is decided by the error of the subscriber, see [Subscriber]: a retry comes
// after 5 s, 30 s, 2 min and then 10 min, a deferred record at the time that is known, a parked one goes to the
// dead-letter queue. A deferral counts as a try, as the queue counts receipts: a record that is deferred again rests at
// least as long as after a failure.
type Batch struct {
	// Function is the name of the function in logs and on parked messages.
	Function string
	// Subscriber handles the events. A [BatchSubscriber] gets all of a batch at once, but for those whose payload has to
	// be fetched from the bucket: they come one by one, so that only one large payload is in memory.
	Subscriber Subscriber
	// Bucket is where the payloads of claim checks are. A payload that is missing or forbidden is tried again; a claim
	// check that cannot be right is parked.
	Bucket *Bucket
	// Queue changes visibilities and parks. Without one a record that would be parked or deferred is reported
	// as failed, so that the queue's own redrive policy decides.
	Queue Queue
	// Foreign, unless nil, reads messages that were not sent by Callboard. It returns false for those that were, which
	// are decoded as the wire format says. With its error it may return what it knows of the event.
	Foreign func(ctx context.Context, m SQSMessage) (e Event, foreign bool, err error)
	// Observer is told of every record; nil logs to [slog.Default].
	Observer Observer
	// Reserve is how long before the deadline of the invocation no further record is started and the context
	// of a running one ends; 0 means 2 seconds.
	Reserve time.Duration
	// Backoff is how long a record rests after its first, second, … failure; empty means the times above.
	Backoff []time.Duration
}

var defaultBackoff = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// Invoke is [Batch.Handle] on JSON: the Handler interface of aws-lambda-go.
func (b *Batch) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var event SQSEvent
	if err := json.Unmarshal(payload, &event); err != nil {
		return nil, Wrap(err, CodeInvalid, "the invocation is not an SQS event")
	}
	return json.Marshal(b.Handle(ctx, event))
}

// record is one message of a batch on its way through Handle.
type record struct {
	message SQSMessage
	event   Event
	err     error
	notes   []Note
	started time.Time
	took    float64 // milliseconds
	skipped bool    // the time ran out before it was started
}

// Handle processes a batch and reports the messages that have to come again.
func (b *Batch) Handle(ctx context.Context, batch SQSEvent) SQSResponse {
	work, cancel := b.workContext(ctx)
	records := make([]*record, len(batch.Records))
	var readable []*record
	for i, m := range batch.Records {
		r := &record{message: m, started: time.Now()}
		if r.err = b.read(work, r); r.err == nil {
			readable = append(readable, r)
		}
		records[i] = r
	}

	b.process(work, readable)
	cancel()

	response := SQSResponse{BatchItemFailures: []SQSItemFailure{}}
	for _, r := range records {
		if !b.settle(ctx, r) {
			response.BatchItemFailures = append(response.BatchItemFailures, SQSItemFailure{r.message.MessageID})
		}
	}
	return response
}

// read makes the event of a message.
func (b *Batch) read(ctx context.Context, r *record) (err error) {
	foreign := false
	if b.Foreign != nil {
		err = safely(ctx, func() (err error) { r.event, foreign, err = b.Foreign(ctx, r.message); return err })
	}
	if !foreign && err == nil {
		r.event, err = Decode(r.message.Message())
	}
	return err
}

// workContext ends early enough before ctx to settle every record afterwards.
func (b *Batch) workContext(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	reserve := b.Reserve
	if reserve == 0 {
		reserve = 2 * time.Second
	}
	return context.WithDeadline(ctx, deadline.Add(-reserve))
}

func (b *Batch) process(ctx context.Context, records []*record) {
	if all, ok := b.Subscriber.(BatchSubscriber); ok && len(records) > 1 && ctx.Err() == nil {
		var together, alone []*record
		for _, r := range records {
			fetch := true // also if the subscriber panics about it: it will again, and that is this record's own failure
			_ = safely(ctx, func() error { fetch = needs(b.Subscriber, r.event); return nil })
			if fetch {
				alone = append(alone, r)
			} else {
				together = append(together, r)
			}
		}
		if len(together) > 1 {
			b.processTogether(ctx, all, together)
			records = alone
		}
	}
	for _, r := range records {
		if ctx.Err() != nil {
			r.skipped = true
			continue
		}
		r.started = time.Now()
		own, notes := withNotes(ctx)
		r.err = safely(ctx, func() error { return b.handle(own, r.event) })
		r.notes, r.took = notes.take(), Since(r.started)
	}
}

// handle hands an event to the subscriber, with its payload if it reads it.
func (b *Batch) handle(ctx context.Context, e Event) (err error) {
	if needs(b.Subscriber, e) {
		if e, err = b.Bucket.fetch(ctx, e); err != nil {
			return err
		}
	}
	return b.Subscriber.OnEvent(ctx, e)
}

// processTogether hands all records to the subscriber at once. A panic there, or an answer of the wrong length,
// cannot be blamed on one record, so each is then tried alone.
func (b *Batch) processTogether(ctx context.Context, s BatchSubscriber, records []*record) {
	es := make([]Event, len(records))
	for i, r := range records {
		es[i] = r.event
	}
	started := time.Now()
	var errs []error
	if err := safely(ctx, func() error { errs = s.OnEvents(ctx, es); return nil }); err != nil || len(errs) != len(es) {
		for _, r := range records {
			b.process(ctx, []*record{r})
		}
		return
	}
	for i, r := range records {
		r.err, r.started, r.took = errs[i], started, Since(started)
	}
}

// safely makes an error of a panic in f; the stack is for the log only.
func safely(ctx context.Context, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			slog.ErrorContext(ctx, "a subscriber panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return f()
}

// settle makes the outcome of a record happen and reports whether its message is done with.
func (b *Batch) settle(ctx context.Context, r *record) (done bool) {
	hop := Hop{
		Time: r.started.UTC(), Event: r.event.ID, Topic: r.event.Topic, Function: b.Function,
		Attempt: r.message.Receives(), Milliseconds: r.took, Notes: r.notes,
		Code: ErrorCode(r.err), Accepted: r.event.Time, TraceParent: r.event.TraceParent,
	}
	if hop.Event == "" {
		hop.Event = r.message.MessageID
	}
	if r.skipped {
		b.hide(ctx, r, 0)
		hop.Outcome, hop.Reason = OutcomeRetry, "the function ran out of time before it started this event"
		b.observe(ctx, hop)
		return false
	}

	hop.Outcome = decide(r.err)
	if r.err != nil {
		hop.Reason = r.err.Error()
	}
	if b.Queue == nil && hop.Outcome == OutcomeDefer || hop.Outcome == OutcomePark && !b.park(ctx, r) {
		hop.Outcome = OutcomeRetry
	}
	switch hop.Outcome {
	case OutcomeOK, OutcomeDropped, OutcomeRefused, OutcomePark:
		done = true
	case OutcomeDefer:
		b.hide(ctx, r, min(max(time.Until(retryAt(r.err)), b.again(r)), maxDefer))
	case OutcomeRetry:
		b.hide(ctx, r, b.rest(r))
	}
	b.observe(ctx, hop)
	return done
}

// park moves the message to the dead-letter queue and reports whether it is there.
func (b *Batch) park(ctx context.Context, r *record) bool {
	if b.Queue == nil {
		return false
	}
	m := r.message.Message()
	for name, value := range map[string]string{
		AttributeParkedReason:   attributeText(r.err.Error()),
		AttributeParkedFunction: attributeText(b.Function),
		AttributeParkedTime:     time.Now().UTC().Format(timeLayout),
	} {
		m.Attributes[name] = Attribute{"String", value}
	}
	delete(m.Attributes, AttributeParkedQueue)
	if arn := r.message.EventSourceARN; arn != "" && len(m.Attributes) < maxAttributes {
		m.Attributes[AttributeParkedQueue] = Attribute{"String", attributeText(arn)}
	}
	if err := b.Queue.Park(ctx, m); err != nil {
		slog.ErrorContext(ctx, "a message could not be parked; it will come again", "event", r.event.ID, "function", b.Function, "error", err)
		return false
	}
	return true
}

// attributeText makes any text fit for an attribute: not empty, not long, without what SQS refuses.
func attributeText(s string) string {
	const limit = 500
	if s == "" {
		return "unknown"
	}
	runes := make([]rune, 0, min(len(s), limit))
	for _, c := range s {
		if len(runes) == limit {
			break
		}
		if checkText(string(c)) != nil {
			c = '\uFFFD'
		}
		runes = append(runes, c)
	}
	return string(runes)
}

// again is how long a deferred record rests at least: what is deferred a second time was told too early a time, and only
// so many receipts are left until it is a dead letter.
func (b *Batch) again(r *record) time.Duration {
	if r.message.Receives() == 1 {
		return 0
	}
	return b.rest(r)
}

func (b *Batch) rest(r *record) time.Duration {
	backoff := b.Backoff
	if len(backoff) == 0 {
		backoff = defaultBackoff
	}
	return backoff[min(r.message.Receives(), len(backoff))-1]
}

// hide sets when a failed message comes again. If that fails the queue's visibility timeout decides.
func (b *Batch) hide(ctx context.Context, r *record, d time.Duration) {
	if b.Queue == nil {
		return
	}
	if err := b.Queue.ChangeVisibility(ctx, r.message, d); err != nil {
		slog.WarnContext(ctx, "a visibility could not be changed; the queue's timeout decides when the message comes again", "event", r.event.ID, "function", b.Function, "error", err)
	}
}

func (b *Batch) observe(ctx context.Context, h Hop) {
	if b.Observer != nil {
		b.Observer.Observe(ctx, h)
		return
	}
	LogObserver{slog.Default()}.Observe(ctx, h)
}
