// Package sqsletters gives a person at a terminal the dead-letter queues of a deployed stack.
package sqsletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

const (
	maxBatch = 10 // messages of one request
	// maxStale is how often SQS may answer with nothing but messages that were there before: more are coming back
	// meanwhile than there are new ones.
	maxStale = 5
)

// Store has the queues of a stack in SQS. It needs no right but those on the queues that are used:
// sqs:GetQueueUrl, GetQueueAttributes, ReceiveMessage, ChangeMessageVisibility and DeleteMessage on dead-letter
// queues, and GetQueueUrl and SendMessage on those that letters are sent to. A queue may also be named by an ARN. For a
// message of a queue of others that was too large to be parked it needs s3:GetObject on the payloads in the bucket.
type Store struct {
	cfg    aws.Config
	client *sqs.Client
	prefix string
	names  map[string]string // in SQS, by the name in the topology; ARNs of queues of others
	// wait makes SQS ask all of its servers, so that an empty answer means an empty queue
	// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html).
	wait int32 // seconds

	mu   sync.Mutex
	urls map[string]string // by the name in the topology, or the ARN
}

var _ deadletter.Store = (*Store)(nil)

// New returns the queues of a topology in the account and region of cfg.
func New(cfg aws.Config, t *topology.Topology) *Store {
	s := &Store{cfg: cfg, client: sqs.NewFromConfig(cfg), prefix: t.Prefix, names: map[string]string{}, urls: map[string]string{}}
	if cfg.BaseEndpoint == nil { // AWS itself, and no emulator
		s.wait = 1
	}
	for _, q := range t.Queues {
		s.names[q.Name] = q.AWSName
	}
	for _, q := range t.Foreign {
		s.names[q.Name] = q.ARN
	}
	return s
}

// arn returns the parts of the ARN of a queue, if it is known by one.
func (s *Store) arn(queue string) (parts []string, ok bool) {
	parts = strings.Split(cmp.Or(s.names[queue], queue), ":")
	return parts, len(parts) == 6 && parts[2] == "sqs"
}

// at lets a request go to the region of a queue.
func (s *Store) at(queue string) func(*sqs.Options) {
	return func(o *sqs.Options) {
		if arn, ok := s.arn(queue); ok {
			o.Region = arn[3]
		}
	}
}

// Bucket implements [deadletter.Store]: it is that of the stack, in the account of the queue.
func (s *Store) Bucket(ctx context.Context, queue string) (*events.Bucket, error) {
	url, err := s.url(ctx, queue)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(*url, "/") // it ends with "/<account>/<name>"
	return s3blob.Bucket(s.cfg, topology.BucketName(s.prefix, parts[max(len(parts)-2, 0)], s.cfg.Region)), nil
}

// url returns the URL of a queue.
func (s *Store) url(ctx context.Context, queue string) (*string, error) {
	s.mu.Lock()
	url, ok := s.urls[queue]
	s.mu.Unlock()
	if ok {
		return &url, nil
	}
	name := s.names[queue]
	in := &sqs.GetQueueUrlInput{QueueName: &name}
	if arn, ok := s.arn(queue); ok {
		in.QueueName, in.QueueOwnerAWSAccountId = &arn[5], &arn[4]
	}
	if *in.QueueName == "" {
		return nil, events.Errorf(events.CodeInvalid, "%q is not a queue of the configuration, nor the ARN of one", queue)
	}
	out, err := s.client.GetQueueUrl(ctx, in, s.at(queue))
	if err != nil {
		return nil, failed(err, "sqs:GetQueueUrl", *in.QueueName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.urls[queue] = aws.ToString(out.QueueUrl)
	return out.QueueUrl, nil
}

// failed explains an error of SQS.
func failed(err error, action, queue string) error {
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case ok && (strings.HasSuffix(api.ErrorCode(), "NonExistentQueue") || strings.HasSuffix(api.ErrorCode(), "QueueDoesNotExist")):
		return events.Wrap(err, events.CodeNotFound, "there is no queue %s: choose another --env, --config, profile or region", queue)
	case ok && strings.HasPrefix(api.ErrorCode(), "AccessDenied"):
		return events.Wrap(err, events.CodeForbidden, "you need the permission %s for the queue %s", action, queue)
	}
	return events.Wrap(err, events.CodeUnavailable, "%s failed on the queue %s", action, queue)
}

// Count implements [deadletter.Store].
func (s *Store) Count(ctx context.Context, queue string) (int, error) {
	url, err := s.url(ctx, queue)
	if err != nil {
		return 0, err
	}
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}
	out, err := s.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: names}, s.at(queue))
	if err != nil {
		return 0, failed(err, "sqs:GetQueueAttributes", queue)
	}
	n := 0
	for _, name := range names {
		count, _ := strconv.Atoi(out.Attributes[string(name)]) // absent is none
		n += count
	}
	return n, nil
}

// Receive implements [deadletter.Store].
func (s *Store) Receive(ctx context.Context, queue string, hidden time.Duration) iter.Seq2[events.SQSMessage, error] {
	return func(yield func(events.SQSMessage, error) bool) {
		url, err := s.url(ctx, queue)
		if err != nil {
			yield(events.SQSMessage{}, err)
			return
		}
		seen := map[string]bool{}
		for stale := 0; stale < maxStale; {
			out, err := s.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
				QueueUrl: url, MaxNumberOfMessages: maxBatch, WaitTimeSeconds: s.wait, VisibilityTimeout: seconds(hidden),
				MessageAttributeNames:       []string{"All"},
				MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			}, s.at(queue))
			if err != nil {
				yield(events.SQSMessage{}, failed(err, "sqs:ReceiveMessage", queue))
				return
			}
			if len(out.Messages) == 0 {
				return
			}
			stale++
			for i, m := range out.Messages {
				if id := aws.ToString(m.MessageId); seen[id] {
					continue
				}
				seen[aws.ToString(m.MessageId)], stale = true, 0
				if !yield(awsevents.Received(m), nil) {
					s.leave(ctx, queue, out.Messages[i+1:])
					return
				}
			}
		}
	}
}

// leave releases what was received with the others and nobody asked for.
func (s *Store) leave(ctx context.Context, queue string, rest []types.Message) {
	ms := make([]events.SQSMessage, len(rest))
	for i, m := range rest {
		ms[i] = awsevents.Received(m)
	}
	_ = s.Release(ctx, queue, ms) // else they come back by themselves
}

func seconds(d time.Duration) int32 { return int32(d / time.Second) } // #nosec G115 -- at most minutes

// notHidden are parts of the codes of SQS for a message that is visible, was received by somebody else or is gone
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html).
var notHidden = []string{"MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"}

// Renew implements [deadletter.Store].
func (s *Store) Renew(ctx context.Context, queue string, m events.SQSMessage, hidden time.Duration) error {
	url, err := s.url(ctx, queue)
	if err != nil {
		return err
	}
	in := &sqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: &m.ReceiptHandle, VisibilityTimeout: seconds(hidden)}
	if _, err := s.client.ChangeMessageVisibility(ctx, in, s.at(queue)); err != nil {
		if api, ok := errors.AsType[smithy.APIError](err); ok && slices.ContainsFunc(notHidden, func(code string) bool { return strings.Contains(api.ErrorCode(), code) }) {
			return events.Wrap(err, events.CodeNotFound, "somebody else has received it meanwhile, or it is gone; list the queue again")
		}
		return failed(err, "sqs:ChangeMessageVisibility", queue)
	}
	return nil
}

// Release implements [deadletter.Store].
func (s *Store) Release(ctx context.Context, queue string, ms []events.SQSMessage) error {
	url, err := s.url(ctx, queue)
	if err != nil {
		return err
	}
	var errs []error
	for batch := range slices.Chunk(ms, maxBatch) {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: url}
		for i, m := range batch {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.ReceiptHandle, VisibilityTimeout: 0})
		}
		out, err := s.client.ChangeMessageVisibilityBatch(ctx, in, s.at(queue))
		if err != nil {
			errs = append(errs, failed(err, "sqs:ChangeMessageVisibility", queue))
		} else if len(out.Failed) > 0 {
			errs = append(errs, fmt.Errorf("%d messages of %s were not released: %s", len(out.Failed), queue, aws.ToString(out.Failed[0].Message)))
		}
	}
	return errors.Join(errs...)
}

// Send implements [deadletter.Store].
func (s *Store) Send(ctx context.Context, queue string, m events.SQSMessage) error {
	url, err := s.url(ctx, queue)
	if err != nil {
		return err
	}
	in := &sqs.SendMessageInput{QueueUrl: url, MessageBody: &m.Body, MessageAttributes: make(map[string]types.MessageAttributeValue, len(m.MessageAttributes))}
	for name, a := range m.MessageAttributes {
		value := types.MessageAttributeValue{DataType: &a.DataType, BinaryValue: a.BinaryValue}
		if a.BinaryValue == nil {
			value.StringValue = &a.StringValue
		}
		in.MessageAttributes[name] = value
	}
	if group := m.Attributes["MessageGroupId"]; group != "" {
		in.MessageGroupId = &group
	}
	if _, err := s.client.SendMessage(ctx, in, s.at(queue)); err != nil {
		return failed(err, "sqs:SendMessage", queue)
	}
	return nil
}

// Delete implements [deadletter.Store].
func (s *Store) Delete(ctx context.Context, queue string, m events.SQSMessage) error {
	url, err := s.url(ctx, queue)
	if err != nil {
		return err
	}
	if _, err := s.client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: &m.ReceiptHandle}, s.at(queue)); err != nil {
		return failed(err, "sqs:DeleteMessage", queue)
	}
	return nil
}
