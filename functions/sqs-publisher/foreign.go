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
	"strings"

	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

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
	// Bucket is where [sealed.Queue] has put what was too large to be parked.
	Bucket *events.Bucket
}

// Read makes an event of a message that is [sealed]; it returns false for any other. It is [events.Batch.Foreign].
// What can never become an event is an error that parks.
func (r *Reader) Read(ctx context.Context, m events.SQSMessage) (e events.Event, foreign bool, err error) {
	if !sealed.Is(m) {
		return events.Event{}, false, nil
	}
	e.Topic = m.MessageAttributes[events.AttributeTopic].StringValue
	source, known := r.Sources[e.Topic]
	if !known {
		return e, true, events.Errorf(events.CodeInvalid, "the message is of the queue of the topic %q, which the configuration does not have", e.Topic)
	}
	s, body, err := sealed.Open(ctx, r.Bucket, m)
	if s.ID != "" {
		e.ID, e.Time, e.TraceParent = events.NewID(e.Topic, s.ID), s.Sent, newTrace(s.ID)
	}
	if err != nil {
		return e, true, err
	}
	m.Body = body
	read, err := r.event(ctx, e, source, s, m)
	if err != nil {
		return e, true, err
	}
	return read, true, nil
}

// event completes e with what is in the message.
func (r *Reader) event(ctx context.Context, e events.Event, source Source, s sealed.Content, m events.SQSMessage) (events.Event, error) {
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
