//go:build deployed

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/awsclient/profile"
	"github.com/callboard/callboard/internal/awsstack"
	configuration "github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
)

// The stack is deployed with one configuration.
const (
	shippedConfig = ""
	shippedReader = "guest-token"
)

// metrics tells whether the functions write metrics.
const metrics = true

// stage is the deployed stack. The script tools/services/aws-stage deploys it and sets the variables.
type stage struct {
	name, config, addr string

	aws     aws.Config
	topo    *topology.Topology
	outputs map[string]string
	since   time.Time // the start of the test that uses it
}

// theStage reads the variables and looks at the stack, once.
var theStage = sync.OnceValues(func() (*stage, error) {
	s := &stage{name: os.Getenv("CALLBOARD_E2E_STAGE"), config: os.Getenv("CALLBOARD_E2E_CONFIG"), addr: os.Getenv("CALLBOARD_E2E_ADDR")}
	ctx := context.Background()
	var err error
	if s.topo, err = topologyOf(s.config, s.name); err != nil {
		return nil, err
	}
	if s.aws, err = profile.Config(ctx); err != nil {
		return nil, err
	}
	if client, ok := s.aws.HTTPClient.(*awshttp.BuildableClient); ok {
		s.aws.HTTPClient = awsclient.OverHTTP1(client)
	}
	stack, err := awsstack.Find(ctx, s.aws, s.topo)
	if err != nil {
		return nil, err
	}
	s.outputs = stack.Outputs
	return s, nil
})

// topologyOf returns the topology of a configuration as it is deployed on a stage.
func topologyOf(path, stage string) (*topology.Topology, error) {
	c, err := configuration.Load(path)
	if err != nil {
		return nil, err
	}
	c.AWS.Prefix = c.AWS.PrefixIn(stage)
	return topology.Build(c)
}

func deployed(tb testing.TB) *stage {
	tb.Helper()
	s, err := theStage()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// alone is held by the test that uses the stack: there is one for all.
var alone sync.Mutex

// Start empties the stack and attaches to it, with its own configuration, until the test ends.
func Start(tb testing.TB, _, _ string) *Process {
	tb.Helper()
	s := deployed(tb)
	s.occupy(tb)
	return s.start(tb)
}

// occupy empties the stack, which is then the test's alone until it ends.
func (s *stage) occupy(tb testing.TB) {
	tb.Helper()
	alone.Lock()
	tb.Cleanup(alone.Unlock)
	s.empty(tb)
	s.since = time.Now()
}

// start attaches to the stack until the test ends, and then looks for what nobody may see.
func (s *stage) start(tb testing.TB) *Process {
	tb.Helper()
	p := s.attach(tb)
	tb.Cleanup(func() { p.scan(tb, s.places(tb, p)) })
	return p
}

// Where a scan finds what is in the table and the bucket.
const (
	tablePlace  = "the table"
	bucketPlace = "the bucket"
)

// queuePlace is where a scan finds what is in a queue.
func queuePlace(name string) string { return "the queue " + name }

// always returns the places where something must be. The table and the bucket may be empty. No emulator has the access log,
// and nothing that a test sends is in it.
func (p *Process) always(tb testing.TB) []string {
	tb.Helper()
	list := []string{"the output"}
	if p.accepted {
		list = append(list, "the log")
	}
	if len(p.planted) > 0 && !deployed(tb).emulated() {
		list = append(list, "the access log")
	}
	return list
}

// places returns everything that the stack and the process in front of it have left behind.
func (s *stage) places(tb testing.TB, p *Process) map[string][]byte {
	tb.Helper()
	places := map[string][]byte{"the log of attach": []byte(p.log.String()), "the output": []byte(p.Output)}
	look := func() {
		places["the log"], places["the access log"] = []byte(s.logged(tb, s.functionLogs())), []byte(s.logged(tb, s.accessLog()))
	}
	look()
	for end := time.Now().Add(patience); len(empty(places, p.always(tb))) > 0 && time.Now().Before(end); look() {
		<-time.After(time.Second) // AWS shows what was logged some time later
	}
	for _, q := range s.topo.Queues {
		for messages := s.take(tb, q.Name); len(messages) > 0; messages = s.take(tb, q.Name) {
			places[queuePlace(q.Name)] = fmt.Append(places[queuePlace(q.Name)], messages)
		}
	}
	ctx, table := lasting(tb), dynamodb.NewFromConfig(s.aws)
	items := dynamodb.NewScanPaginator(table, &dynamodb.ScanInput{TableName: aws.String(s.outputs["TableName"])})
	for items.HasMorePages() {
		page, err := items.NextPage(ctx)
		if err != nil {
			tb.Fatal(err)
		}
		for _, item := range page.Items {
			places[tablePlace] = appendText(places[tablePlace], &dynamodbtypes.AttributeValueMemberM{Value: item})
		}
	}
	bucket := s3.NewFromConfig(s.aws, func(o *s3.Options) { o.UsePathStyle = s.emulated() })
	objects := s3.NewListObjectsV2Paginator(bucket, &s3.ListObjectsV2Input{Bucket: aws.String(s.outputs["BucketName"])})
	for objects.HasMorePages() {
		page, err := objects.NextPage(ctx)
		if err != nil {
			tb.Fatal(err)
		}
		for _, o := range page.Contents {
			object, err := bucket.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.outputs["BucketName"]), Key: o.Key})
			if err != nil {
				tb.Fatal(err)
			}
			data, err := io.ReadAll(object.Body)
			if err := errors.Join(err, object.Body.Close()); err != nil {
				tb.Fatal(err)
			}
			places[bucketPlace] = append(places[bucketPlace], data...)
		}
	}
	return places
}

// appendText appends all text and bytes of a value.
func appendText(text []byte, v dynamodbtypes.AttributeValue) []byte {
	switch v := v.(type) {
	case *dynamodbtypes.AttributeValueMemberS:
		return append(text, v.Value...)
	case *dynamodbtypes.AttributeValueMemberB:
		return append(text, v.Value...)
	case *dynamodbtypes.AttributeValueMemberSS:
		return fmt.Append(text, v.Value)
	case *dynamodbtypes.AttributeValueMemberL:
		for _, one := range v.Value {
			text = appendText(text, one)
		}
	case *dynamodbtypes.AttributeValueMemberM:
		for name, one := range v.Value {
			text = appendText(append(text, name...), one)
		}
	}
	return text
}

// attach runs `callboard attach` with a new state folder.
func (s *stage) attach(tb testing.TB) *Process {
	tb.Helper()
	state := filepath.Join(tb.TempDir(), "state")
	return launch(tb, &Process{State: state, Config: s.config}, "attach", "--env", s.name, "--config", s.config, "--addr", s.addr, "--state", state)
}

// empty deletes all items of the table and all messages that wait.
func (s *stage) empty(tb testing.TB) {
	tb.Helper()
	ctx, table := tb.Context(), dynamodb.NewFromConfig(s.aws)
	name := s.outputs["TableName"]
	pages := dynamodb.NewScanPaginator(table, &dynamodb.ScanInput{TableName: &name, ProjectionExpression: aws.String("pk, sk")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			tb.Fatal(err)
		}
		for some := range slices.Chunk(page.Items, 25) { // as many as a request may delete
			deletions := make([]dynamodbtypes.WriteRequest, len(some))
			for i, key := range some {
				deletions[i].DeleteRequest = &dynamodbtypes.DeleteRequest{Key: key}
			}
			for left := map[string][]dynamodbtypes.WriteRequest{name: deletions}; len(left) > 0; {
				answer, err := table.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: left})
				if err != nil {
					tb.Fatal(err)
				}
				left = answer.UnprocessedItems
			}
		}
	}
	s.emptyQueues(tb)
}

// emptyQueues deletes all messages, on an emulator also those that wait for their next try. In AWS a purge goes on for a
// minute and takes what is sent meanwhile.
func (s *stage) emptyQueues(tb testing.TB) {
	tb.Helper()
	client := sqs.NewFromConfig(s.aws)
	for _, q := range s.topo.Queues {
		if !s.emulated() {
			for len(s.take(tb, q.Name)) > 0 {
			}
			continue
		}
		if _, err := client.PurgeQueue(tb.Context(), &sqs.PurgeQueueInput{QueueUrl: aws.String(s.queue(tb, q.Name))}); err != nil {
			tb.Fatal(err)
		}
	}
}

// lasting is the context of a test that is good for what follows it too.
func lasting(tb testing.TB) context.Context { return context.WithoutCancel(tb.Context()) }

// emulated tells whether the stack is on an emulator.
func (s *stage) emulated() bool { return s.aws.BaseEndpoint != nil }

// queue returns the URL of a queue.
func (s *stage) queue(tb testing.TB, name string) string {
	tb.Helper()
	for _, q := range s.topo.Queues {
		if q.Name != name {
			continue
		}
		answer, err := sqs.NewFromConfig(s.aws).GetQueueUrl(lasting(tb), &sqs.GetQueueUrlInput{QueueName: &q.AWSName})
		if err != nil {
			tb.Fatal(err)
		}
		return aws.ToString(answer.QueueUrl)
	}
	tb.Fatalf("there is no queue %s", name)
	return ""
}

// take receives and deletes up to 10 messages of a queue, and returns them. One that is gone before it is deleted was deleted
// by a try whose answer was lost.
func (s *stage) take(tb testing.TB, name string) []message {
	tb.Helper()
	client, url := sqs.NewFromConfig(s.aws), s.queue(tb, name)
	in := &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}}
	if !s.emulated() {
		in.WaitTimeSeconds = 1 // else AWS asks a part of its servers only
	}
	answer, err := client.ReceiveMessage(lasting(tb), in)
	if err != nil {
		tb.Fatal(err)
	}
	var list []message
	for _, m := range answer.Messages {
		if _, err := client.DeleteMessage(lasting(tb), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
			tb.Fatal(err)
		}
		one := message{body: aws.ToString(m.Body), attributes: map[string]string{}}
		for k, v := range m.MessageAttributes {
			one.attributes[k] = aws.ToString(v.StringValue)
		}
		list = append(list, one)
	}
	return list
}

// message is one of a queue.
type message struct {
	body       string
	attributes map[string]string
}

// Trace runs `callboard trace --aws`.
func (p *Process) Trace(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	return Run(tb, append([]string{"trace", "--aws", "--env", deployed(tb).name, "--config", p.Config}, args...)...)
}

// Secrets runs a command of `callboard secrets --aws`.
func (p *Process) Secrets(tb testing.TB, verb string, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	return Run(tb, append([]string{"secrets", verb, "--aws", "--env", deployed(tb).name, "--config", p.Config}, args...)...)
}

// Log returns what the functions and the API have logged since the start.
func (p *Process) Log(tb testing.TB) string {
	tb.Helper()
	s := deployed(tb)
	return s.logged(tb, s.functionLogs()) + s.logged(tb, s.accessLog())
}

// functionLogs and accessLog are how the names of the log groups begin.
func (s *stage) functionLogs() string { return "/aws/lambda/" + s.topo.Prefix + "-" }
func (s *stage) accessLog() string    { return "/aws/vendedlogs/" + s.topo.Prefix + "/" }

// logged returns what is in log groups since the start of the test.
func (s *stage) logged(tb testing.TB, prefix string) string {
	tb.Helper()
	client := cloudwatchlogs.NewFromConfig(s.aws)
	var text strings.Builder
	groups, err := client.DescribeLogGroups(lasting(tb), &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &prefix})
	if err != nil {
		tb.Fatal(err)
	}
	for _, group := range groups.LogGroups {
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(client, &cloudwatchlogs.FilterLogEventsInput{
			LogGroupName: group.LogGroupName, StartTime: aws.Int64(s.since.UnixMilli()),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(lasting(tb))
			if err != nil {
				tb.Fatal(err)
			}
			for _, line := range page.Events {
				text.WriteString(aws.ToString(line.Message) + "\n")
			}
		}
	}
	return text.String()
}
