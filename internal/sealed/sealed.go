// Package sealed keeps what SQS says about a message of a queue of others while the message is in our own queues, so that
// it can be parked whatever attributes it has, read again in the same way, and sent back as it was.
package sealed

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Attribute is what a sealed message has in the place of its own attributes: a JSON object with all that SQS says about it.
const Attribute = events.AttributeEvents + "-message"

// Content is what a sealed message keeps beside its body.
type Content struct {
	ID         string                         `json:"id"`   // of the message
	Sent       time.Time                      `json:"sent"` // to the queue
	Attributes map[string]events.SQSAttribute `json:"attributes,omitempty"`
}

// folded is what the bucket holds of a sealed message that is too large for a queue.
type folded struct {
	Body       string                         `json:"body"`
	Attributes map[string]events.SQSAttribute `json:"attributes,omitempty"`
}

// pack writes what consists of texts, bytes and times, which never fails.
func pack(v any) []byte {
	data, _ := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	return data
}

// Seal returns a message of the queue of a topic with [Attribute].
func Seal(topic string, m events.SQSMessage) events.SQSMessage {
	c := Content{ID: m.MessageID, Sent: time.Now().UTC().Truncate(time.Millisecond), Attributes: m.MessageAttributes}
	if ms, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64); err == nil {
		c.Sent = time.UnixMilli(ms).UTC()
	}
	m.MessageAttributes = map[string]events.SQSAttribute{
		events.AttributeTopic: {DataType: "String", StringValue: topic},
		// What it has in the log until it is read, so that a person finds the dead letter by it.
		events.AttributeID: {DataType: "String", StringValue: events.NewID(topic, m.MessageID)},
		Attribute:          {DataType: "String", StringValue: string(pack(c))},
	}
	return m
}

// Is tells whether a message is sealed.
func Is(m events.SQSMessage) bool {
	_, is := m.MessageAttributes[Attribute]
	return is
}

// Folded tells whether a message is sealed and a claim check: its body and its attributes are in the bucket.
func Folded(m events.SQSMessage) bool {
	_, claimed := m.MessageAttributes[events.AttributeExtendedSize]
	return claimed && Is(m)
}

// Open returns what is in a sealed message, and its body. The bucket is asked only for one that is folded. With an error
// that is about the bucket, what is known without it is returned.
func Open(ctx context.Context, bucket *events.Bucket, m events.SQSMessage) (c Content, body string, err error) {
	if err := json.Unmarshal([]byte(m.MessageAttributes[Attribute].StringValue), &c); err != nil {
		return Content{}, "", events.Wrap(err, events.CodeInvalid, "the attribute %s of the message is not valid", Attribute)
	}
	if !Folded(m) {
		return c, m.Body, nil
	}
	check, _, err := m.Message().ClaimCheck()
	if err != nil {
		return c, "", err
	}
	data, err := bucket.Read(ctx, check)
	if err != nil {
		return c, "", err
	}
	var f folded
	if err := json.Unmarshal(data, &f); err != nil {
		return c, "", events.Wrap(err, events.CodeInvalid, "what the bucket has in %s is no message", check.Key)
	}
	c.Attributes = f.Attributes
	return c, f.Body, nil
}

// Original returns a sealed message as its sender sent it.
func Original(ctx context.Context, bucket *events.Bucket, m events.SQSMessage) (events.SQSMessage, error) {
	c, body, err := Open(ctx, bucket, m)
	if err != nil {
		return m, err
	}
	m.Body, m.MessageAttributes = body, c.Attributes
	return m, nil
}

// Unfold returns a sealed message, with what was added to it since, as it would be if no queue had a limit.
func Unfold(ctx context.Context, bucket *events.Bucket, m events.SQSMessage) (events.SQSMessage, error) {
	c, body, err := Open(ctx, bucket, m)
	if err != nil {
		return m, err
	}
	m.Body, m.MessageAttributes = body, maps.Clone(m.MessageAttributes)
	delete(m.MessageAttributes, events.AttributeExtendedSize)
	m.MessageAttributes[Attribute] = events.SQSAttribute{DataType: "String", StringValue: string(pack(c))}
	return m, nil
}

// Queue parks sealed messages of any size. One may fit into the queue of others and not into ours: it is sealed, which
// takes room, and parking adds to it. Then body and attributes go into the bucket, and what is parked is a claim check.
type Queue struct {
	events.Queue

	Bucket *events.Bucket
}

// Park implements [events.Queue].
func (q Queue) Park(ctx context.Context, m events.Message) error {
	if _, is := m.Attributes[Attribute]; !is || m.Size() <= events.MaxSQSMessageSize {
		return q.Queue.Park(ctx, m)
	}
	var c Content
	if err := json.Unmarshal([]byte(m.Attributes[Attribute].StringValue), &c); err != nil {
		return events.Wrap(err, events.CodeInvalid, "the attribute %s of the message is not valid", Attribute)
	}
	claim, err := q.Bucket.Keep(ctx, pack(folded{m.Body, c.Attributes}))
	if err != nil {
		return err
	}
	c.Attributes = nil
	small := events.Message{Body: claim.Body, Attributes: maps.Clone(m.Attributes), GroupID: m.GroupID}
	maps.Copy(small.Attributes, claim.Attributes)
	small.Attributes[Attribute] = events.Attribute{DataType: "String", StringValue: string(pack(c))}
	return q.Queue.Park(ctx, small)
}
