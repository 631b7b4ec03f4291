//go:build services

package awsevents_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

// service is an emulator.
type service struct {
	name string
	// losesGroups is for a service whose standard topics do not pass the MessageGroupId on to queues. SNS does
	// (https://docs.aws.amazon.com/sns/latest/api/API_PublishBatchRequestEntry.html); the poller puts it back.
	losesGroups bool
}

var services = []service{
	{name: emulator.MiniStack, losesGroups: true},
	{name: emulator.Moto},
	{name: emulator.LocalStack},
}

// TestConformance runs the suite of transports.
func TestConformance(t *testing.T) {
	for _, s := range services {
		t.Run(s.name, func(t *testing.T) {
			cfg := emulator.Config(t, s.name)
			eventstest.Run(t, func(t *testing.T) eventstest.Transport { return newTransport(t, s, cfg) })
		})
	}
}

// transport delivers events as the deployed stack does: topics, raw subscriptions, queues with redrive, and a poller
// where Lambda has its event source mapping.
type transport struct {
	*awsevents.Publisher
	sqs     *sqs.Client
	service service
	prefix  string // of all names

	mu        sync.Mutex
	topics    map[string]bool
	queues    map[string]*queue // by the id of the subscriber
	changed   chan struct{}     // closed when a queue has changed
	published map[string]int    // how often an event was published, by topic and ID
	groups    map[string]string // of the messages of events, by ID
}

func newTransport(t *testing.T, s service, cfg aws.Config) *transport {
	t.Helper()
	tr := &transport{
		sqs: sqs.NewFromConfig(cfg), service: s, prefix: "callboard-" + rand.Text() + "-",
		topics: map[string]bool{}, queues: map[string]*queue{}, published: map[string]int{}, groups: map[string]string{},
		changed: make(chan struct{}),
	}
	tr.Publisher = &awsevents.Publisher{Client: sns.NewFromConfig(cfg), Name: tr.name, Bucket: newBucket(t, cfg)}
	return tr
}

// objects are the objects of a bucket.
type objects struct {
	client *s3.Client
	bucket string
}

func newBucket(t *testing.T, cfg aws.Config) *events.Bucket {
	t.Helper()
	o := objects{s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), "callboard-" + strings.ToLower(rand.Text())}
	if _, err := o.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &o.bucket}); err != nil {
		t.Fatal(err)
	}
	return &events.Bucket{Name: o.bucket, Store: o}
}

func (o objects) Put(ctx context.Context, key string, data []byte) error {
	_, err := o.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &o.bucket, Key: &key, Body: bytes.NewReader(data)})
	return err
}

func (o objects) Get(ctx context.Context, key string) ([]byte, error) {
	out, err := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Body.Close() }()
	return io.ReadAll(out.Body)
}

func (tr *transport) name(topic string) (string, bool) {
	return tr.prefix + strings.ReplaceAll(topic, ".", "_"), true
}

// topic creates the SNS topic of a topic and returns its ARN.
func (tr *transport) topic(ctx context.Context, topic string) (string, error) {
	name, _ := tr.name(topic)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !tr.topics[topic] {
		out, err := tr.Client.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name})
		if err != nil {
			return "", err
		}
		tr.topics[topic], tr.ARNPrefix = true, strings.TrimSuffix(*out.TopicArn, name)
	}
	return tr.ARNPrefix + name, nil
}

func (tr *transport) Publish(ctx context.Context, es ...events.Event) error {
	for _, e := range es {
		if _, err := tr.topic(ctx, e.Topic); err != nil {
			return err
		}
		if m, err := (events.Encoder{MaxSize: events.MaxPayloadSize}).Encode(e); err == nil {
			tr.mu.Lock()
			tr.groups[e.ID] = m.GroupID
			tr.mu.Unlock()
		}
	}
	err := tr.Publisher.Publish(ctx, es...)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i, e := range es {
		if events.PublishErrorOf(err, i) == nil {
			tr.published[e.Topic+" "+e.ID]++
		}
	}
	return err
}

// queue is the queue of one subscriber and what has become of its messages.
type queue struct {
	transport *transport
	topics    []string
	url, arn  string
	deadURL   string
	batch     *events.Batch
	limit     time.Duration // of an invocation; 0 for none

	handled map[string]int // how many messages of an event were deleted, by topic and ID
	parked  int            // messages that the function has sent to the dead-letter queue
	dead    []events.Message
}

// parking counts what is parked.
type parking struct {
	events.Queue
	queue *queue
}

func (p parking) Park(ctx context.Context, m events.Message) error {
	err := p.Queue.Park(ctx, m)
	if err == nil {
		p.queue.change(func() { p.queue.parked++ })
	}
	return err
}

func (tr *transport) createQueue(t testing.TB, name string, attributes map[string]string) (url, arn string) {
	t.Helper()
	created, err := tr.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: new(tr.prefix + name), Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	out, err := tr.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: created.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *created.QueueUrl, out.Attributes["QueueArn"]
}

func (tr *transport) Subscribe(t testing.TB, id string, topics []string, s events.Subscriber) {
	t.Helper()
	tr.SubscribeWithin(t, 0, id, topics, s)
}

func (tr *transport) SubscribeWithin(t testing.TB, limit time.Duration, id string, topics []string, s events.Subscriber) {
	t.Helper()
	deadURL, deadARN := tr.createQueue(t, id+"-dlq", nil)
	url, arn := tr.createQueue(t, id, map[string]string{
		"VisibilityTimeout": "60",
		"RedrivePolicy":     fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"5"}`, deadARN),
	})
	q := &queue{transport: tr, topics: topics, url: url, arn: arn, deadURL: deadURL, limit: limit, handled: map[string]int{}}
	q.batch = &events.Batch{
		Function: id, Subscriber: s, Backoff: []time.Duration{0}, // at once: the default would take minutes
		Queue: parking{&awsevents.Queue{Client: tr.sqs, DeadLetterURL: deadURL}, q}, Bucket: tr.Bucket,
	}
	for _, topic := range topics {
		topicARN, err := tr.topic(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tr.Client.Subscribe(t.Context(), &sns.SubscribeInput{
			TopicArn: &topicARN, Protocol: new("sqs"), Endpoint: &arn, Attributes: map[string]string{"RawMessageDelivery": "true"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tr.mu.Lock()
	tr.queues[id] = q
	tr.mu.Unlock()

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, poll := range []func(context.Context) error{q.poll, q.pollDead} {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := poll(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("the poller of %s: %v", id, err)
					return
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func (q *queue) receive(ctx context.Context, url string) ([]types.Message, error) {
	out, err := q.transport.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// poll does what Lambda does: it hands a batch to the function and deletes what did not fail.
func (q *queue) poll(ctx context.Context) error {
	messages, err := q.receive(ctx, q.url)
	if err != nil || len(messages) == 0 {
		return err
	}
	var batch events.SQSEvent
	for _, m := range messages {
		batch.Records = append(batch.Records, q.record(m))
	}
	response := q.handle(ctx, batch)
	var entries []types.DeleteMessageBatchRequestEntry
	var ids []string
	for i, r := range batch.Records {
		if !slices.Contains(response.BatchItemFailures, events.SQSItemFailure{ItemIdentifier: r.MessageID}) {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: new(fmt.Sprint(i)), ReceiptHandle: &r.ReceiptHandle})
			ids = append(ids, eventOf(r.Message()))
		}
	}
	if len(entries) == 0 {
		return nil
	}
	out, err := q.transport.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: entries})
	if err != nil {
		return err
	}
	if len(out.Failed) > 0 {
		return fmt.Errorf("%d messages were not deleted: %s", len(out.Failed), aws.ToString(out.Failed[0].Message))
	}
	q.change(func() {
		for _, id := range ids {
			q.handled[id]++
		}
	})
	return nil
}

func (q *queue) handle(ctx context.Context, batch events.SQSEvent) events.SQSResponse {
	if q.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.limit)
		defer cancel()
	}
	return q.batch.Handle(ctx, batch)
}

// eventOf names the event of a message, by topic and ID.
func eventOf(m events.Message) string {
	return m.Attributes[events.AttributeTopic].StringValue + " " + m.Attributes[events.AttributeID].StringValue
}

// pollDead empties the dead-letter queue into q.dead.
func (q *queue) pollDead(ctx context.Context) error {
	messages, err := q.receive(ctx, q.deadURL)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if _, err := q.transport.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &q.deadURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
			return err
		}
		dead := q.record(m).Message()
		q.change(func() { q.dead = append(q.dead, dead) })
	}
	return nil
}

func (q *queue) record(m types.Message) events.SQSMessage {
	r := events.SQSMessage{
		MessageID: *m.MessageId, ReceiptHandle: *m.ReceiptHandle, Body: *m.Body, Attributes: m.Attributes,
		EventSource: "aws:sqs", EventSourceARN: q.arn, MessageAttributes: map[string]events.SQSAttribute{},
	}
	for name, a := range m.MessageAttributes {
		r.MessageAttributes[name] = events.SQSAttribute{DataType: aws.ToString(a.DataType), StringValue: aws.ToString(a.StringValue)}
	}
	if q.transport.service.losesGroups {
		q.transport.mu.Lock()
		defer q.transport.mu.Unlock()
		r.Attributes["MessageGroupId"] = q.transport.groups[r.MessageAttributes[events.AttributeID].StringValue]
	}
	return r
}

func (q *queue) change(f func()) {
	q.transport.mu.Lock()
	defer q.transport.mu.Unlock()
	f()
	close(q.transport.changed)
	q.transport.changed = make(chan struct{})
}

// done tells whether everything that was published is handled or a dead letter, and every dead letter is in q.dead.
// A parked message is both: it is parked before it is deleted from its queue. There may be more messages than were
// published, for a publish that is tried again makes two of one.
func (q *queue) done() bool {
	parked, redriven := 0, map[string]int{}
	for _, m := range q.dead {
		if m.Attributes[events.AttributeParkedReason].StringValue != "" {
			parked++
		} else {
			redriven[eventOf(m)]++
		}
	}
	for event, want := range q.transport.published {
		topic, _, _ := strings.Cut(event, " ")
		if slices.Contains(q.topics, topic) && q.handled[event]+redriven[event] < want {
			return false
		}
	}
	return parked == q.parked
}

func (tr *transport) Drain(ctx context.Context) error {
	for {
		tr.mu.Lock()
		done, changed := true, tr.changed
		for _, q := range tr.queues {
			done = done && q.done()
		}
		tr.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (tr *transport) DeadLetters(_ testing.TB, id string) []events.Message {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.queues[id].dead)
}
