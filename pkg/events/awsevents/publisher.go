package awsevents

import (
	"cmp"
	"context"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/pkg/events"
)

const (
	// maxBatch is how many messages one PublishBatch takes
	// (https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html).
	maxBatch = 10
	// concurrency is how many requests one Publish makes at the same time.
	concurrency = 8
)

// Publisher publishes events to SNS topics, those of one topic in as few requests as possible. The function may use
// sns:Publish on the topics.
type Publisher struct {
	Client *sns.Client
	// ARNPrefix and what Name returns for the topic of an event are the ARN of its SNS topic:
	// "arn:aws:sns:<region>:<account>:" and "callboard-github_push". Where Name returns false nobody can subscribe to
	// the topic, and its events are not sent.
	ARNPrefix string
	Name      func(topic string) (string, bool)
	// Limit returns what a topic takes, in bytes as AWS counts them; nil and 0 mean [events.MaxMessageSize]. Both a
	// message and a request are bounded by it.
	Limit func(topic string) int
	// Bucket takes the payloads of events that are larger than that. Without one such an event is refused, unless it
	// came as a claim check and goes on as the same. The function may use s3:PutObject on its keys.
	Bucket *events.Bucket
	// OnClaimCheck is told of each event that was published as a claim check, which not every subscriber takes; nil tells
	// nobody.
	OnClaimCheck func(ctx context.Context, e events.Event)
}

var _ events.Publisher = (*Publisher)(nil)

// batch is what one request publishes.
type batch struct {
	arn     string
	entries []types.PublishBatchRequestEntry
	events  []int // entries[i] is the event with the index events[i]
	size    int
}

// Publish implements [events.Publisher]. After an error of the network it is not known whether an event was published;
// it then counts as one that was not.
func (p *Publisher) Publish(ctx context.Context, es ...events.Event) error {
	errs := make(events.PublishError, len(es))
	batches := p.batches(ctx, es, errs)

	slots := make(chan struct{}, concurrency)
	var wg sync.WaitGroup
	for _, b := range batches {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			p.publish(ctx, b, errs) // every event is in one batch, so each error has one writer
		})
	}
	wg.Wait()
	p.tell(ctx, batches, es, errs)
	for _, err := range errs {
		if err != nil {
			return errs
		}
	}
	return nil
}

// tell calls OnClaimCheck.
func (p *Publisher) tell(ctx context.Context, batches []*batch, es []events.Event, errs events.PublishError) {
	if p.OnClaimCheck == nil {
		return
	}
	for _, b := range batches {
		for n, i := range b.events {
			if _, is := b.entries[n].MessageAttributes[events.AttributeExtendedSize]; is && errs[i] == nil {
				p.OnClaimCheck(ctx, es[i])
			}
		}
	}
}

// batches distributes the events over requests. Those that cannot be encoded get their error.
func (p *Publisher) batches(ctx context.Context, es []events.Event, errs events.PublishError) []*batch {
	var all []*batch
	open := make(map[string]*batch) // by topic
	for i, e := range es {
		name, ok := p.Name(e.Topic)
		if !ok {
			continue
		}
		limit := p.limit(e.Topic)
		m, err := events.Encoder{MaxSize: limit, Bucket: p.Bucket}.Offload(ctx, e)
		if err != nil {
			errs[i] = err
			continue
		}
		b := open[e.Topic]
		if b == nil || len(b.entries) == maxBatch || b.size+m.Size() > limit {
			b = &batch{arn: p.ARNPrefix + name}
			open[e.Topic] = b
			all = append(all, b)
		}
		b.entries = append(b.entries, entry(strconv.Itoa(len(b.entries)), m))
		b.events = append(b.events, i)
		b.size += m.Size()
	}
	return all
}

// limit returns what a topic takes.
func (p *Publisher) limit(topic string) int {
	if p.Limit == nil {
		return events.MaxMessageSize
	}
	return cmp.Or(p.Limit(topic), events.MaxMessageSize)
}

func entry(id string, m events.Message) types.PublishBatchRequestEntry {
	attributes := make(map[string]types.MessageAttributeValue, len(m.Attributes))
	for name, a := range m.Attributes {
		attributes[name] = types.MessageAttributeValue{DataType: &a.DataType, StringValue: &a.StringValue}
	}
	return types.PublishBatchRequestEntry{Id: &id, Message: &m.Body, MessageAttributes: attributes, MessageGroupId: &m.GroupID}
}

// publish makes one request. Its answer names the entries that were published and those that were not; one that it
// does not name was not.
func (p *Publisher) publish(ctx context.Context, b *batch, errs events.PublishError) {
	what := "the event was not published to " + b.arn
	out, err := p.Client.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: &b.arn, PublishBatchRequestEntries: b.entries})
	if err != nil {
		for _, i := range b.events {
			errs[i] = refused(err, what)
		}
		return
	}
	for _, i := range b.events {
		errs[i] = events.Errorf(events.CodeUnavailable, "%s: AWS says nothing about it", what)
	}
	for _, ok := range out.Successful {
		if i, known := b.event(ok.Id); known {
			errs[i] = nil
		}
	}
	for _, f := range out.Failed {
		if i, known := b.event(f.Id); known {
			errs[i] = refused(&smithy.GenericAPIError{Code: text(f.Code), Message: text(f.Message)}, what)
		}
	}
}

// refused makes an [events.Error] of an error of SNS. Every message is measured against the limit of its topic before it is
// sent. So a topic that finds one too large has another limit than this program knows, for a moment of a deployment, and
// the event is not to blame.
func refused(err error, what string) error {
	e := failed(err, what)
	if events.ErrorCode(e) != events.CodeTooLarge {
		return e
	}
	return events.Wrap(err, events.CodeUnavailable,
		"%s: it fits what the configuration says that the topic takes, and the topic takes less; is it being deployed? If this stays, deploy again", what)
}

// event returns the index of the event that was sent with this entry id.
func (b *batch) event(id *string) (int, bool) {
	n, err := strconv.Atoi(text(id))
	if err != nil || n < 0 || n >= len(b.events) {
		return 0, false
	}
	return b.events[n], true
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
