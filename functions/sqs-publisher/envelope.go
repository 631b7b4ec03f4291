package sqspublisher

import (
	"bytes"
	"context"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// maxLayers is how many envelopes and claim checks may be around a payload: a rule of EventBridge may send to a topic,
// which puts its own envelope around that of EventBridge, and a claim check may be inside or outside of both.
const maxLayers = 4

// markers are the attributes that say that a body is a claim check, as metadata has them: the one of the AWS extended
// clients, and the one that the Java client for SQS writes unless it is told otherwise.
var markers = []string{"extendedpayloadsize", "sqslargepayloadsize"}

// content is what a message holds.
type content struct {
	body       []byte
	attributes events.Metadata // by name in lower case
	id         string          // what an envelope says identifies it
}

// open takes off the envelopes around the payload, and reads it from a bucket where the body is a claim check.
func (c *content) open(ctx context.Context, source Source) error {
	for range maxLayers {
		if c.isClaimCheck() {
			if err := c.fetch(ctx, source); err != nil {
				return err
			}
			continue
		}
		if !c.notification() && !c.busEvent() {
			return nil
		}
	}
	return events.Errorf(events.CodeInvalid, "the payload of the message is inside of %d envelopes and claim checks or more", maxLayers)
}

func (c *content) isClaimCheck() bool {
	return slices.ContainsFunc(markers, func(name string) bool { _, ok := c.attributes[name]; return ok })
}

// fetch puts what a claim check stands for into its place.
func (c *content) fetch(ctx context.Context, source Source) error {
	m := events.Message{Body: string(c.body), Attributes: map[string]events.Attribute{}}
	for _, name := range markers {
		if size, ok := c.attributes[name]; ok {
			m.Attributes[events.AttributeExtendedSize] = events.Attribute{DataType: "Number", StringValue: size}
		}
	}
	check, _, err := m.ClaimCheck()
	if err != nil {
		return err
	}
	if !slices.Contains(source.Buckets, check.Bucket) {
		return events.Errorf(events.CodeInvalid, "the body of the message is in the bucket %.100q, which the topic may not read: add it to \"buckets\" in events-config.json", check.Bucket)
	}
	body, err := source.Objects.Read(ctx, check.Bucket, check.Key, events.MaxPayloadSize)
	if err != nil {
		return err
	}
	c.body = body
	for _, name := range markers {
		delete(c.attributes, name)
	}
	return nil
}

// notification takes off the envelope of SNS, which a subscription without raw delivery puts around a message
// (https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html), and tells whether there was one. The
// attributes of the notification count, not those of the message around it.
func (c *content) notification() bool {
	var n struct {
		Type, TopicArn, Message, Subject string
		ID                               string                            `json:"MessageId"`
		Attributes                       map[string]struct{ Value string } `json:"MessageAttributes"`
	}
	if !c.member("Type", "TopicArn", "MessageId", "Message", "Timestamp") || json.Unmarshal(c.body, &n, lenient) != nil || n.Type != "Notification" {
		return false
	}
	attributes := make(map[string]events.SQSAttribute, len(n.Attributes))
	for name, a := range n.Attributes {
		attributes[name] = events.SQSAttribute{DataType: "String", StringValue: a.Value} // binary values are base64 here
	}
	c.body, c.id = []byte(n.Message), n.ID
	for name, value := range headers(attributes) {
		c.attributes[name] = value
	}
	c.say("x-amz-sns-topic-arn", n.TopicArn)
	c.say("x-amz-sns-subject", n.Subject)
	return true
}

// busEvent takes off the envelope of EventBridge
// (https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html), and tells whether there was one. The
// payload is the value of detail, to the byte.
func (c *content) busEvent() bool {
	var b struct {
		Version    string         `json:"version"`
		ID         string         `json:"id"`
		DetailType string         `json:"detail-type"`
		Source     string         `json:"source"`
		Account    string         `json:"account"`
		Region     string         `json:"region"`
		Detail     jsontext.Value `json:"detail"`
	}
	if !c.member("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail") || json.Unmarshal(c.body, &b, lenient) != nil {
		return false
	}
	c.body, c.id = b.Detail, b.ID
	c.say("detail-type", b.DetailType)
	c.say("source", b.Source)
	c.say("account", b.Account)
	c.say("region", b.Region)
	return true
}

// lenient takes what AWS takes: names that occur twice and half surrogate pairs in the payload of others.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// say sets an attribute, unless it is empty.
func (c *content) say(name, value string) {
	if value != "" {
		c.attributes.Set(name, value)
	}
}

// member tells whether the body is an object that has all of the names, without reading it twice where it is something
// else.
func (c *content) member(names ...string) bool {
	d := jsontext.NewDecoder(bytes.NewReader(c.body), lenient)
	if d.PeekKind() != '{' {
		return false
	}
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	missing := slices.Clone(names)
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return false
		}
		missing = slices.DeleteFunc(missing, func(want string) bool { return want == name.String() })
		if d.SkipValue() != nil {
			return false
		}
	}
	return len(missing) == 0
}
