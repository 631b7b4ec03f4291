package awsstack_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
	"github.com/callboard/callboard/internal/awsstack"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// account is an endpoint of AWS with one stack and its queues. Requests for another host are for its API.
type account struct {
	mu      sync.Mutex
	counted []string // what SQS says of the messages in the queue, one answer after the other
	sent    []string // messages
}

func (a *account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch {
	case r.Host == "abc.execute-api.example":
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	case strings.Contains(string(body), "Action=DescribeStacks") && strings.Contains(string(body), "StackName=callboard-dev"):
		_, _ = io.WriteString(w, `<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>callboard-dev</StackName>
			<CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus><Outputs><member>
			<OutputKey>ApiUrl</OutputKey><OutputValue>https://abc.execute-api.example</OutputValue></member></Outputs></member></Stacks>
			</DescribeStacksResult></DescribeStacksResponse>`)
	case strings.Contains(string(body), "Action=DescribeStacks"):
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `<ErrorResponse><Error><Code>ValidationError</Code><Message>Stack with id x does not exist</Message></Error></ErrorResponse>`)
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetQueueUrl") && strings.Contains(string(body), `"closed"`):
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"no"}`)
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".SendMessage"):
		a.mu.Lock()
		defer a.mu.Unlock()
		a.sent = append(a.sent, r.Header.Get("Authorization")+" "+string(body))
		_, _ = io.WriteString(w, `{"MessageId":"m-1","MD5OfMessageBody":"99914b932bd37a50b983c5e7c90ae93b"}`)
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetQueueUrl"):
		_, _ = fmt.Fprintf(w, `{"QueueUrl":"http://%s/0/ingest"}`, r.Host)
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetQueueAttributes"):
		a.mu.Lock()
		defer a.mu.Unlock()
		n := a.counted[0]
		a.counted = a.counted[1:]
		_, _ = fmt.Fprintf(w, `{"Attributes":{"ApproximateNumberOfMessages":"0","ApproximateNumberOfMessagesNotVisible":%q}}`, n)
	default:
		http.Error(w, "unexpected "+r.Host+r.URL.Path+" "+string(body), http.StatusTeapot)
	}
}

func config(t *testing.T, url string) aws.Config {
	t.Helper()
	cfg := awsclienttest.Config(t, url)
	cfg.Region = "eu-central-1"
	return cfg
}

func serve(t *testing.T, a *account) aws.Config {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return config(t, server.URL)
}

func topo(prefix string) *topology.Topology {
	return &topology.Topology{Prefix: prefix, Queues: []topology.Queue{
		{Name: "ingest", AWSName: prefix + "-ingest", Function: "sqs-publisher"}, {Name: "sqs-publisher-dlq", AWSName: prefix + "-sqs-publisher-dlq"},
	}}
}

// post sends a webhook to the API of a stack.
func post(t *testing.T, stack *awsstack.Stack) *httptest.ResponseRecorder {
	t.Helper()
	gateway, err := stack.Gateway()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	gateway.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:8080/events/http/github", strings.NewReader("{}")))
	return w
}

// What is asked of an API that an emulator has goes to the emulator, with the host of the API.
func TestGateway(t *testing.T) {
	t.Parallel()
	stack, err := awsstack.Find(t.Context(), serve(t, &account{}), topo("callboard-dev"))
	if err != nil {
		t.Fatal(err)
	}
	w := post(t, stack)
	if got, want := w.Body.String(), "POST /events/http/github {}"; got != want {
		t.Errorf("the API gets %q, want %q", got, want)
	}
}

// A server that speaks HTTP/2 may end a connection in the middle of a request.
func TestGateway_HTTP1(t *testing.T) {
	t.Parallel()
	var protocols []string
	a := &account{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/events/") {
			protocols = append(protocols, r.Proto)
		}
		a.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	cfg := config(t, server.URL)
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
	})
	stack, err := awsstack.Find(t.Context(), cfg, topo("callboard-dev"))
	if err != nil {
		t.Fatal(err)
	}
	w := post(t, stack)
	if w.Code != http.StatusOK || !slices.Equal(protocols, []string{"HTTP/1.1"}) {
		t.Errorf("status %d, the API was asked by %q", w.Code, protocols)
	}
}

func TestFind_NoStack(t *testing.T) {
	t.Parallel()
	_, err := awsstack.Find(t.Context(), serve(t, &account{}), topo("callboard-other"))
	if events.ErrorCode(err) != events.CodeNotFound || !strings.Contains(err.Error(), "callboard-other in eu-central-1") {
		t.Errorf("the error is %v, want one that names stack and region", err)
	}
}

// A queue is empty when it was so twice in a row.
func TestDrain(t *testing.T) {
	t.Parallel()
	a := &account{counted: []string{"2", "0", "1", "0", "0"}}
	stack, err := awsstack.Find(t.Context(), serve(t, a), topo("callboard-dev"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Drain(t.Context()); err != nil || len(a.counted) > 0 {
		t.Errorf("%v, and %d answers were not asked for", err, len(a.counted))
	}
	a.counted = []string{"1"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := stack.Drain(ctx); err == nil {
		t.Error("a drain that was given up ends without an error")
	}
}

// A message goes to the queue itself, in its region. What the queue of another account does not allow is said.
func TestSend(t *testing.T) {
	t.Parallel()
	a, x := &account{}, topo("callboard-dev")
	open := topology.ForeignQueue{Topic: "builds", ARN: "arn:aws:sqs:us-west-2:111122223333:builds"}
	closed := topology.ForeignQueue{Topic: "closed", ARN: "arn:aws:sqs:eu-central-1:111122223333:closed"}
	x.Foreign = []topology.ForeignQueue{open, closed}
	stack, err := awsstack.Find(t.Context(), serve(t, a), x)
	if err != nil {
		t.Fatal(err)
	}
	m := events.Message{Body: "{}", GroupID: "g", Attributes: map[string]events.Attribute{"X-State": {DataType: "String", StringValue: "failed"}}}
	id, err := stack.Send(t.Context(), open, m)
	if err != nil || id != "m-1" {
		t.Errorf("sent as %q: %v", id, err)
	}
	if len(a.sent) != 1 || !strings.Contains(a.sent[0], "/us-west-2/sqs/") || !strings.Contains(a.sent[0], `"X-State":{"DataType":"String","StringValue":"failed"}`) {
		t.Errorf("the request is %s", a.sent)
	}
	if _, err := stack.Send(t.Context(), closed, m); events.ErrorCode(err) != events.CodeUnavailable || !strings.Contains(err.Error(), closed.ARN) {
		t.Errorf("a queue of others that is closed: %v", err)
	}
	if _, err := stack.Send(t.Context(), open, events.Message{}); events.ErrorCode(err) != events.CodeInvalid {
		t.Errorf("an empty message: %v", err)
	}
}
