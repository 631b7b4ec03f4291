// Package awsstack is a deployed stack of Callboard, seen from a terminal: where its API is, and whether its queues are
// empty.
package awsstack

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// Stack is the stack of a topology.
type Stack struct {
	// Outputs are those of CloudFormation by name.
	Outputs map[string]string

	aws    aws.Config
	queues []string // the URLs of those that functions read
}

// Find finds the stack that has the prefix of the topology as its name. It fails with [events.CodeNotFound] if there is
// none in the account and region of cfg.
func Find(ctx context.Context, cfg aws.Config, t *topology.Topology) (*Stack, error) {
	found, err := cloudformation.NewFromConfig(cfg).DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &t.Prefix})
	if err != nil || len(found.Stacks) == 0 {
		api, ok := errors.AsType[smithy.APIError](err)
		if err == nil || ok && api.ErrorCode() == "ValidationError" { // as CloudFormation says that there is none
			return nil, events.Wrap(err, events.CodeNotFound, "there is no stack %s in %s: deploy it with \"npx cdk deploy\", or choose another --env, --config, profile or region", t.Prefix, cfg.Region)
		}
		return nil, events.Wrap(err, events.CodeUnavailable, "CloudFormation does not tell about the stack %s", t.Prefix)
	}
	s := &Stack{aws: cfg, Outputs: map[string]string{}}
	for _, o := range found.Stacks[0].Outputs {
		s.Outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	client := sqs.NewFromConfig(cfg)
	for _, q := range t.Queues {
		if q.Function == "" {
			continue
		}
		answer, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &q.AWSName})
		if err != nil {
			return nil, events.Wrap(err, events.CodeUnavailable, "the queue %s of the stack is not found: is the stack of this configuration?", q.AWSName)
		}
		s.queues = append(s.queues, aws.ToString(answer.QueueUrl))
	}
	for _, q := range t.Foreign {
		if url, err := s.foreignURL(ctx, q); err == nil && q.Poll == nil { // that of another account may not be for us to look at
			s.queues = append(s.queues, url)
		}
	}
	return s, nil
}

// Send sends a message to a queue of others and returns its id. Who runs this may do so only where the policy of the
// queue allows it.
func (s *Stack) Send(ctx context.Context, q topology.ForeignQueue, m events.Message) (id string, err error) {
	if err := m.Validate(events.MaxSQSMessageSize); err != nil {
		return "", err
	}
	url, err := s.foreignURL(ctx, q)
	if err != nil {
		return "", events.Wrap(err, events.CodeUnavailable, "the queue %s is not found, or not for you to use", q.ARN)
	}
	in := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &m.Body, MessageAttributes: map[string]types.MessageAttributeValue{}}
	for name, a := range m.Attributes {
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: &a.DataType, StringValue: &a.StringValue}
	}
	if m.GroupID != "" {
		in.MessageGroupId = &m.GroupID
	}
	out, err := s.foreign(q).SendMessage(ctx, in)
	if err != nil {
		return "", events.Wrap(err, events.CodeUnavailable, "the message was not sent to the queue %s", q.ARN)
	}
	return aws.ToString(out.MessageId), nil
}

// foreign returns a client for the region of a queue.
func (s *Stack) foreign(q topology.ForeignQueue) *sqs.Client {
	return sqs.NewFromConfig(s.aws, func(o *sqs.Options) { o.Region = q.Region() })
}

func (s *Stack) foreignURL(ctx context.Context, q topology.ForeignQueue) (string, error) {
	name, account := q.AWSName(), q.Account()
	answer, err := s.foreign(q).GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name, QueueOwnerAWSAccountId: &account})
	if err != nil {
		return "", err
	}
	return aws.ToString(answer.QueueUrl), nil
}

// Gateway hands requests on to the API of the stack. Where cfg has an endpoint of its own, an emulator, the API is asked
// there: emulators tell APIs apart by the host of the request, a name that need not lead anywhere.
func (s *Stack) Gateway() (http.Handler, error) {
	api, err := url.Parse(s.Outputs["ApiUrl"])
	if err != nil || api.Host == "" {
		return nil, events.Errorf(events.CodeInternal, "the stack has no output ApiUrl with the URL of its API: deploy it again")
	}
	target := api
	if s.aws.BaseEndpoint != nil {
		if target, err = url.Parse(*s.aws.BaseEndpoint); err != nil {
			return nil, events.Wrap(err, events.CodeInvalid, "the endpoint %q of AWS is not a URL", *s.aws.BaseEndpoint)
		}
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = api.Host
		r.Out.URL.RawQuery = r.In.URL.RawQuery // also where it is odd: that is for the API to say
	}}
	if client, ok := s.aws.HTTPClient.(*awshttp.BuildableClient); ok { // knows the certificates to trust
		proxy.Transport = awsclient.OverHTTP1(client).GetTransport()
	}
	return proxy, nil
}

// Drain waits until nothing is in the queues that functions read. They have to be empty for a while: SQS counts
// approximately, and does not see what is on its way through SNS. In AWS both may be late by more than this waits for.
func (s *Stack) Drain(ctx context.Context) error {
	const rest = 250 * time.Millisecond
	quiet := 2
	if s.aws.BaseEndpoint == nil { // AWS itself, and no emulator
		quiet = 20
	}
	client := sqs.NewFromConfig(s.aws)
	tick := time.NewTicker(rest)
	defer tick.Stop()
	for empty := 0; empty < quiet; {
		n, err := s.waiting(ctx, client)
		if err != nil {
			return err
		}
		empty++
		if n > 0 {
			empty = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// waiting returns how many messages wait or are worked on.
func (s *Stack) waiting(ctx context.Context, client *sqs.Client) (n int, err error) {
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}
	for _, queue := range s.queues {
		answer, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: names})
		if err != nil {
			return 0, events.Wrap(err, events.CodeUnavailable, "SQS does not tell how many messages are in %s", queue)
		}
		for _, name := range names {
			count, _ := strconv.Atoi(answer.Attributes[string(name)]) // absent is none
			n += count
		}
	}
	return n, nil
}
