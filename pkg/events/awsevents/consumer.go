package awsevents

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/pkg/events"
)

// maxReceive is how many messages one ReceiveMessage returns at most
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html).
const maxReceive = 10

// Consumer asks one queue for messages, in the place of an event source mapping. It is the [events.Queue] of their batch
// too. Who uses it may use sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility on the queue.
type Consumer struct {
	Client *sqs.Client // for the region of the queue
	URL    string
	ARN    string
	// DeadLetters is where messages are parked.
	DeadLetters *Sender
}

var _ events.Queue = (*Consumer)(nil)

// Receive waits for up to 10 messages, as Lambda would hand them over. They are hidden from others for a while. Both
// times are whole seconds.
func (c *Consumer) Receive(ctx context.Context, wait, hidden time.Duration) ([]events.SQSMessage, error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl: &c.URL, MaxNumberOfMessages: maxReceive, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		WaitTimeSeconds:             int32(wait / time.Second),   // #nosec G115 -- at most 20
		VisibilityTimeout:           int32(hidden / time.Second), // #nosec G115 -- at most 43,200
	}
	out, err := c.Client.ReceiveMessage(ctx, in)
	if err != nil {
		return nil, failed(err, "the queue "+c.URL+" was not asked for messages")
	}
	list := make([]events.SQSMessage, len(out.Messages))
	for i, m := range out.Messages {
		list[i] = Received(m)
		list[i].EventSourceARN = c.ARN
	}
	return list, nil
}

// Received returns a message that SQS has answered with as Lambda hands it to a function, but for the ARN of its queue.
func Received(m types.Message) events.SQSMessage {
	r := events.SQSMessage{
		MessageID: text(m.MessageId), ReceiptHandle: text(m.ReceiptHandle), Body: text(m.Body), MD5OfBody: text(m.MD5OfBody),
		Attributes: m.Attributes, MessageAttributes: make(map[string]events.SQSAttribute, len(m.MessageAttributes)), EventSource: "aws:sqs",
	}
	for name, a := range m.MessageAttributes {
		r.MessageAttributes[name] = events.SQSAttribute{DataType: text(a.DataType), StringValue: text(a.StringValue), BinaryValue: a.BinaryValue}
	}
	return r
}

// Delete deletes up to 10 received messages. One that SQS does not delete is logged: it comes again.
func (c *Consumer) Delete(ctx context.Context, list []events.SQSMessage) error {
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &c.URL, Entries: make([]types.DeleteMessageBatchRequestEntry, len(list))}
	for i, m := range list {
		id := strconv.Itoa(i)
		in.Entries[i] = types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: &m.ReceiptHandle}
	}
	out, err := c.Client.DeleteMessageBatch(ctx, in)
	if err != nil {
		return failed(err, "messages of the queue "+c.URL+" were handled, but not deleted: they come again")
	}
	for _, f := range out.Failed {
		slog.WarnContext(ctx, "a message was handled, but not deleted: it comes again", "queue", c.URL,
			"error", failed(&smithy.GenericAPIError{Code: text(f.Code), Message: text(f.Message)}, "not deleted"))
	}
	return nil
}

// ChangeVisibility implements [events.Queue].
func (c *Consumer) ChangeVisibility(ctx context.Context, m events.SQSMessage, hidden time.Duration) error {
	return changeVisibility(ctx, c.Client, c.URL, m, hidden)
}

// Park implements [events.Queue].
func (c *Consumer) Park(ctx context.Context, m events.Message) error {
	return c.DeadLetters.Send(ctx, m)
}
