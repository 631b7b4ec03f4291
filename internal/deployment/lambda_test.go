package deployment_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// patience is how long a function may take before a test fails. It is no measure of speed.
const patience = 2 * time.Minute

// runtime is the Runtime API of Lambda for one function
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
type runtime struct {
	events  chan string
	answers chan answer
}

type answer struct {
	kind string // "response" or "error"
	body string
}

// ServeHTTP implements http.Handler.
func (r *runtime) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if strings.HasSuffix(req.URL.Path, "/invocation/next") {
		select {
		case e := <-r.events:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "request-1")
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:000000000000:function:f")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(20*time.Second).UnixMilli()))
			_, _ = io.WriteString(w, e)
		case <-req.Context().Done():
		}
		return
	}
	body, _ := io.ReadAll(req.Body)
	r.answers <- answer{req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:], string(body)}
	w.WriteHeader(http.StatusAccepted)
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// variables are those of every function.
func variables(api, aws string) []string {
	return []string{
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(api, "http://"), "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL=" + aws,
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_LOG_FORMAT=JSON",
		"CALLBOARD_PREFIX=callboard-test", "CALLBOARD_TABLE=table", "CALLBOARD_BUCKET=bucket", "CALLBOARD_INGEST_QUEUE_URL=" + aws + "/0/ingest",
		"CALLBOARD_DEAD_LETTER_QUEUE_URL=" + aws + "/0/dlq", "CALLBOARD_TOPIC_ARN_PREFIX=arn:aws:sns:eu-west-1:000000000000:",
	}
}

func build(t *testing.T, function string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bootstrap")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc", "-o", program,
		"github.com/callboard/callboard/functions/"+function+"/lambda").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// foreign is a batch whose message no function understands.
func foreign(t *testing.T) string {
	t.Helper()
	m := events.Message{Body: "x"}.SQS("foreign", "receipt", 1)
	m.EventSourceARN = "arn:aws:sqs:eu-west-1:000000000000:callboard-test-ingest"
	data, err := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{m}})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// example reads the invocation beside a function. It is there to be used with sam local invoke; the documents say so.
func example(t *testing.T, function string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../functions", function, "event.json"))
	if err != nil {
		t.Fatal(err)
	}
	event := jsontext.Value(data)
	if err := event.Compact(); err != nil {
		t.Fatalf("the event of %s is no JSON: %v", function, err)
	}
	return strings.ReplaceAll(string(event), ":callboard-", ":callboard-test-") // queues of the prefix that functions have here
}

// examples is what becomes of the invocation beside each function, first while AWS takes everything and has nothing
// stored, then while it fails.
var examples = map[string]struct {
	answer string // a part of it
	asks   string // a part of what AWS is asked for
	failed string // a part of the answer while AWS fails
	queue  bool   // the invocation is a batch of a queue
}{
	"ingress": {
		answer: `"statusCode":202`, asks: `AmazonSQS.SendMessage`, failed: `"statusCode":503`,
	},
	"sqs-publisher": {
		answer: `{"batchItemFailures":[]}`, asks: `TopicArn=arn:aws:sns:eu-west-1:000000000000:callboard-test-github&`,
		failed: `"itemIdentifier":"059f36b4-87a3-44ab-83d2-661975830a7d"`, queue: true,
	},
	"router": {
		answer: `{"batchItemFailures":[]}`, asks: `TopicArn=arn:aws:sns:eu-west-1:000000000000:callboard-test-github_push&`,
		failed: `"itemIdentifier":"2e1424d4-f796-459a-8184-9c92662be6da"`, queue: true,
	},
	"catalog-sync": {
		answer: `{"batchItemFailures":[]}`, asks: `component:default/petstore`,
		failed: `"itemIdentifier":"8f7c3a52-6b1d-4a53-9f0e-0d3c6c7b1e21"`, queue: true,
	},
	"notify": {
		answer: `{"batchItemFailures":[]}`, asks: `callboard:rule:new-in-catalog`,
		failed: `"itemIdentifier":"c4a1d2f0-3e5b-4b6a-8d7c-9e0f1a2b3c4d"`, queue: true,
	},
	"catalog-api": {
		answer: `"statusCode":200`, asks: `DynamoDB_20120810.Query`, failed: `"statusCode":503`,
	},
	"notifications-api": {
		answer: `"statusCode":200`, asks: `DynamoDB_20120810.Query`, failed: `"statusCode":503`,
	},
}

// Every function starts, does what the invocation beside it says, and survives an event that makes no sense and a
// cloud that fails.
func TestLambda(t *testing.T) {
	t.Parallel()
	programs, err := filepath.Glob("../../functions/*/lambda")
	if err != nil || len(programs) < len(examples) {
		t.Fatalf("the functions are %q, %v", programs, err)
	}
	for _, program := range programs {
		function := filepath.Base(filepath.Dir(program))
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			event, want := example(t, function), examples[function]
			if want.answer == "" {
				t.Fatal("no test says what becomes of its event")
			}
			r := &runtime{events: make(chan string, 1), answers: make(chan answer, 1)}
			api := httptest.NewServer(r)
			defer api.Close()
			c := &cloud{}
			world := httptest.NewServer(c)
			defer world.Close()

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cmd := exec.CommandContext(ctx, build(t, function))
			cmd.Env = append(variables(api.URL, world.URL), "CALLBOARD_CONFIG="+configuration(t, world.URL))
			log := &buffer{}
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { cancel(); _ = cmd.Wait() }()

			invoke := func(event string) (got answer) {
				t.Helper()
				r.events <- event
				select {
				case got = <-r.answers:
				case <-time.After(patience):
					t.Fatalf("the function does not answer %.80s:\n%s", event, log)
				}
				return got
			}
			check := func(got answer, want string) {
				t.Helper()
				if got.kind != "response" || !strings.Contains(got.body, want) {
					t.Errorf("the answer is the %s %s, want the response %s\n%s", got.kind, got.body, want, log)
				}
			}
			got := invoke(event)
			for end := time.Now().Add(patience); strings.Contains(got.body, `"statusCode":503`) && time.Now().Before(end); {
				got = invoke(event) // a machine that is too busy looks like a cloud that does not answer in time
			}
			check(got, want.answer)
			if asked := c.requests(); !strings.Contains(asked, want.asks) {
				t.Errorf("AWS is not asked for %s, but for\n%s", want.asks, asked)
			}
			c.down.Store(true)
			invoke(`"nonsense"`)
			if want.queue {
				check(invoke(foreign(t)), `"itemIdentifier":"foreign"`)
			}
			check(invoke(event), want.failed)
			checkLog(t, log.String(), want.queue || function == "ingress")
		})
	}
}

// checkLog expects lines of JSON as Lambda filters them by level, and hops with the event and the id of the request.
func checkLog(t *testing.T, log string, hops bool) {
	t.Helper()
	found := false
	for text := range strings.Lines(log) {
		var line struct {
			Timestamp time.Time `json:"timestamp"`
			Level     string    `json:"level"`
			Message   string    `json:"message"`
			RequestID string    `json:"requestId"`
			Event     string    `json:"event"`
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.Level == "" || line.Timestamp.IsZero() {
			t.Errorf("the log has a line that is no JSON with a level and a timestamp: %s", text)
		}
		if line.Message == "hop" && line.Event != "" {
			found = true
			if !strings.HasPrefix(line.RequestID, "request-") {
				t.Errorf("a hop has no request id: %s", text)
			}
		}
	}
	if found != hops {
		t.Errorf("the log has hops of events: %t, want %t\n%s", found, hops, log)
	}
}

// A function that lacks something says all that it lacks and ends.
func TestLambda_Incomplete(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), build(t, "notify"))
	cmd.Env = []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1"}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the function starts without its variables")
	}
	for _, want := range []string{"CALLBOARD_TABLE", "CALLBOARD_DEAD_LETTER_QUEUE_URL", "CALLBOARD_PREFIX", "AWS_REGION", "events-config.json"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the log does not mention %s:\n%s", want, out)
		}
	}
}
