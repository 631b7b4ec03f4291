package awsevents

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/callboard/callboard/pkg/events"
)

// Sender sends messages to one queue.
type Sender struct {
	Client *sqs.Client
	URL    string // of the queue
}

// Send returns when the message is durable. It fails with [events.CodeInvalid] or [events.CodeTooLarge] for a message
// that SQS would refuse, and with [events.CodeUnavailable] for everything that may be better later.
func (s *Sender) Send(ctx context.Context, m events.Message) error {
	if err := m.Validate(events.MaxSQSMessageSize); err != nil {
		return err
	}
	in := &sqs.SendMessageInput{QueueUrl: &s.URL, MessageBody: &m.Body, MessageAttributes: queueAttributes(m)}
	if m.GroupID != "" {
		in.MessageGroupId = &m.GroupID
	}
	if _, err := s.Client.SendMessage(ctx, in); err != nil {
		return failed(err, "the message was not sent to the queue "+s.URL)
	}
	return nil
}

func queueAttributes(m events.Message) map[string]types.MessageAttributeValue {
	attributes := make(map[string]types.MessageAttributeValue, len(m.Attributes))
	for name, a := range m.Attributes {
		attributes[name] = types.MessageAttributeValue{DataType: &a.DataType, StringValue: &a.StringValue}
	}
	return attributes
}

// Queue is the queue, or the queues, that a function reads, for [events.Batch]. The function may use
// sqs:ChangeMessageVisibility on them and sqs:SendMessage on its dead-letter queue.
type Queue struct {
	Client *sqs.Client
	// DeadLetterURL is the URL of the function's dead-letter queue. URLs of the queues that it reads follow from it:
	// they are in the same region, behind the same endpoint.
	DeadLetterURL string
}

var _ events.Queue = (*Queue)(nil)

// maxVisibility is the longest that a message can be hidden
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html).
const maxVisibility = 12 * time.Hour

// ChangeVisibility implements [events.Queue]. SQS counts whole seconds; a part of one counts as one, so that nothing
// comes too early.
func (q *Queue) ChangeVisibility(ctx context.Context, m events.SQSMessage, hidden time.Duration) error {
	url, err := q.url(m.EventSourceARN)
	if err != nil {
		return err
	}
	return changeVisibility(ctx, q.Client, url, m, hidden)
}

func changeVisibility(ctx context.Context, client *sqs.Client, url string, m events.SQSMessage, hidden time.Duration) error {
	hidden = min(max(hidden, 0), maxVisibility)
	in := &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &url, ReceiptHandle: &m.ReceiptHandle,
		VisibilityTimeout: int32((hidden + time.Second - 1) / time.Second), // #nosec G115 -- at most 43,200
	}
	if _, err := client.ChangeMessageVisibility(ctx, in); err != nil {
		return failed(err, "the visibility of message "+m.MessageID+" in the queue "+url+" was not changed")
	}
	return nil
}

// Park implements [events.Queue].
func (q *Queue) Park(ctx context.Context, m events.Message) error {
	return (&Sender{Client: q.Client, URL: q.DeadLetterURL}).Send(ctx, m)
}

// url returns the URL of the queue with this ARN, "arn:<partition>:sqs:<region>:<account>:<name>". A URL of SQS ends
// with "/<account>/<name>".
func (q *Queue) url(arn string) (string, error) {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[2] != "sqs" || parts[4] == "" || parts[5] == "" {
		return "", events.Errorf(events.CodeInvalid, "%q is not the ARN of an SQS queue", arn)
	}
	base := q.DeadLetterURL
	for range 2 {
		i := strings.LastIndexByte(base, '/')
		if i < 0 {
			return "", events.Errorf(events.CodeInvalid, "%q is not the URL of an SQS queue", q.DeadLetterURL)
		}
		base = base[:i]
	}
	return base + "/" + parts[4] + "/" + parts[5], nil
}
