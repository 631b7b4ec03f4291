package sqspublisher

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// AttributeMessage is what a message of a queue of others has in the place of its own attributes from where it is
// received: a JSON object with all that SQS says about it. So it can be parked whatever attributes it has, and brought
// back through the ingest queue: it is read in the same way there, and becomes the same event.
const AttributeMessage = events.AttributeEvents + "-message"

// sealed is the content of [AttributeMessage].
type sealed struct {
	ID         string                         `json:"id"`   // of the message
	Sent       time.Time                      `json:"sent"` // to the queue
	Attributes map[string]events.SQSAttribute `json:"attributes,omitempty"`
}

// Seal returns a message of the queue of a topic with [AttributeMessage].
func Seal(topic string, m events.SQSMessage) events.SQSMessage {
	s := sealed{ID: m.MessageID, Sent: time.Now().UTC().Truncate(time.Millisecond), Attributes: m.MessageAttributes}
	if ms, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64); err == nil {
		s.Sent = time.UnixMilli(ms).UTC()
	}
	packed, _ := json.Marshal(s, json.Deterministic(true), jsontext.AllowInvalidUTF8(true)) // texts, bytes and a time: never fails
	m.MessageAttributes = map[string]events.SQSAttribute{
		events.AttributeTopic: {DataType: "String", StringValue: topic},
		// What it has in the log until it is read, so that a person finds the dead letter by it.
		events.AttributeID: {DataType: "String", StringValue: events.NewID(topic, m.MessageID)},
		AttributeMessage:   {DataType: "String", StringValue: string(packed)},
	}
	return m
}

// Secrets gives the live values of a secret.
type Secrets interface {
	Values(ctx context.Context, name string) ([]string, error)
}

// Objects reads objects from buckets of others.
type Objects interface {
	// Read returns an object. It fails with [events.CodeTooLarge] if it has more than limit bytes.
	Read(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
}

// Source is a queue that others fill.
type Source struct {
	// Profile says what its messages are. The attributes of a message stand in the place of headers.
	Profile webhook.Profile
	// Secrets are the names of the secrets that messages are signed with; empty if the policy of the queue is enough.
	Secrets []string
	// Buckets are those from which the bodies of large messages may be read.
	Buckets []string
	Objects Objects // of these buckets; nil if there are none
}

// Reader makes events of messages of queues that others fill.
type Reader struct {
	Sources map[string]Source // by topic
	Secrets Secrets
}

// Read makes an event of a message that [Seal] has returned; it returns false for any other. It is [events.Batch.Foreign].
// What can never become an event is an error that parks.
func (r *Reader) Read(ctx context.Context, m events.SQSMessage) (e events.Event, foreign bool, err error) {
	attribute, foreign := m.MessageAttributes[AttributeMessage]
	if !foreign {
		return events.Event{}, false, nil
	}
	e.Topic = m.MessageAttributes[events.AttributeTopic].StringValue
	source, known := r.Sources[e.Topic]
	if !known {
		return e, true, events.Errorf(events.CodeInvalid, "the message is of the queue of the topic %q, which the configuration does not have", e.Topic)
	}
	var s sealed
	if err := json.Unmarshal([]byte(attribute.StringValue), &s); err != nil {
		return e, true, events.Wrap(err, events.CodeInvalid, "the attribute %s of the message is not valid", AttributeMessage)
	}
	e.ID, e.Time, e.TraceParent = events.NewID(e.Topic, s.ID), s.Sent, newTrace(s.ID)
	read, err := r.event(ctx, e, source, s, m)
	if err != nil {
		return e, true, err
	}
	return read, true, nil
}

// event completes e with what is in the message.
func (r *Reader) event(ctx context.Context, e events.Event, source Source, s sealed, m events.SQSMessage) (events.Event, error) {
	c := content{body: []byte(m.Body), attributes: headers(s.Attributes)}
	if err := c.open(ctx, source); err != nil {
		return events.Event{}, err
	}
	hook := webhook.Request{Headers: c.attributes, Body: c.body, Time: s.Sent}
	if err := r.verify(ctx, source, hook); err != nil {
		return events.Event{}, err
	}
	d, err := source.Profile.Describe(hook, c.body)
	if err != nil {
		return events.Event{}, err
	}
	e.ID = events.NewID(e.Topic, cmp.Or(d.ID, c.id, s.ID))
	e.Payload, e.Metadata, e.Promoted = c.body, d.Metadata, d.Promoted
	if given, ok := c.attributes.Get("traceparent"); ok && events.ValidTraceParent(given) {
		e.TraceParent = given
	}
	switch group := m.Attributes["MessageGroupId"]; {
	case group != "":
		e.Group = group
	case d.Repository != "":
		e.Group = events.Group(d.Host, d.Repository)
	}
	return e, nil
}

// verify checks that a message was sent with one of the secrets. Nobody waits for an answer: what does not fit is parked,
// so that it can be brought back should the secret have been the wrong one.
func (r *Reader) verify(ctx context.Context, source Source, hook webhook.Request) error {
	err := secrets.Verify(ctx, r.Secrets, source.Secrets, func(values [][]string) error {
		return source.Profile.Verify(hook, slices.Concat(values...))
	})
	switch {
	case errors.Is(err, webhook.ErrTest):
		return events.Drop(err.Error())
	case events.ErrorCode(err) == events.CodeUnavailable:
		return err
	case err != nil:
		return events.Park(err)
	}
	return nil
}

// headers returns attributes as headers: the text of strings and numbers, binary values in base64. Names are lower-case;
// of two that differ in case only, the one that is lower-case counts, else the last in order. Those that Callboard has a
// meaning for are not the sender's to give.
func headers(attributes map[string]events.SQSAttribute) events.Metadata {
	all := events.Metadata{}
	for _, name := range slices.Sorted(maps.Keys(attributes)) { // capital letters come first
		a := attributes[name]
		value := a.StringValue
		if strings.HasPrefix(a.DataType, "Binary") {
			value = base64.StdEncoding.EncodeToString(a.BinaryValue)
		}
		if !strings.HasPrefix(strings.ToLower(name), events.AttributeEvents) {
			all.Set(name, value)
		}
	}
	return all
}

// newTrace begins a trace, the same one each time a message comes again.
func newTrace(message string) string {
	sum := sha256.Sum256([]byte(message))
	return "00-" + hex.EncodeToString(sum[:16]) + "-" + hex.EncodeToString(sum[16:24]) + "-01"
}
