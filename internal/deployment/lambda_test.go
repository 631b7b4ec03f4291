package deployment_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

// patience is how long a function may take before a test fails. It is no measure of speed.
const patience = 60 * time.Second

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

// variables are those of every function; AWS is a server that fails.
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

func batch(t *testing.T) string {
	t.Helper()
	m, err := events.Encode(eventstest.NewEvent("github", 1))
	if err != nil {
		t.Fatal(err)
	}
	good, foreign := m.SQS("ours", "receipt", 1), events.Message{Body: "x"}.SQS("foreign", "receipt", 1)
	good.EventSourceARN = "arn:aws:sqs:eu-west-1:000000000000:queue"
	foreign.EventSourceARN = good.EventSourceARN
	data, err := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{good, foreign}})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func request(path string) string {
	return `{"version":"2.0","rawPath":"` + path + `","headers":{"content-type":"application/json","x-hub-signature-256":"sha256=00"},` +
		`"pathParameters":{"topic":"github"},"requestContext":{"http":{"method":"POST"}},"body":"{}","isBase64Encoded":false}`
}

// Every function starts, answers, and survives an event that makes no sense, all while AWS fails.
func TestLambda(t *testing.T) {
	t.Parallel()
	for function, test := range map[string]struct {
		event string
		want  string // in the answer
	}{
		"ingress":           {request("/events/http/github"), `"statusCode":503`},
		"sqs-publisher":     {batch(t), `"itemIdentifier":"ours"`},
		"router":            {batch(t), `"itemIdentifier":"foreign"`},
		"catalog-sync":      {batch(t), `"itemIdentifier":"foreign"`},
		"notify":            {batch(t), `"itemIdentifier":"foreign"`},
		"catalog-api":       {request("/catalog/entities"), `"statusCode":401`},
		"notifications-api": {request("/notifications"), `"statusCode":401`},
	} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			r := &runtime{events: make(chan string, 3), answers: make(chan answer, 3)}
			api := httptest.NewServer(r)
			defer api.Close()
			aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
			defer aws.Close()

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cmd := exec.CommandContext(ctx, build(t, function))
			cmd.Env = append(variables(api.URL, aws.URL), "CALLBOARD_CONFIG=../../events-config.json")
			log := &buffer{}
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { cancel(); _ = cmd.Wait() }()

			for _, e := range []struct{ event, kind, want string }{
				{test.event, "response", test.want}, {`"nonsense"`, "", ""}, {test.event, "response", test.want},
			} {
				r.events <- e.event
				select {
				case got := <-r.answers:
					if e.kind != "" && (got.kind != e.kind || !strings.Contains(got.body, e.want)) {
						t.Errorf("%.80s is answered with the %s %s, want the %s %s", e.event, got.kind, got.body, e.kind, e.want)
					}
				case <-time.After(patience):
					t.Fatalf("the function does not answer %.80s:\n%s", e.event, log)
				}
			}
			for line := range strings.Lines(log.String()) {
				if value := jsontext.Value(line); strings.HasPrefix(line, "{") && !value.IsValid() {
					t.Errorf("the log has a line that is no JSON: %s", line)
				}
			}
		})
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
	for _, want := range []string{"CALLBOARD_TABLE", "CALLBOARD_BUCKET", "CALLBOARD_DEAD_LETTER_QUEUE_URL", "CALLBOARD_PREFIX", "AWS_REGION", "events-config.json"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the log does not mention %s:\n%s", want, out)
		}
	}
}
