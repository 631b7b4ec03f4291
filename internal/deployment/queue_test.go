package deployment_test

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/pkg/events"
)

const queuesConfig = `{"topics": {
	"builds": {"from": "queue", "queue": "arn:aws:sqs:eu-west-1:000000000000:builds"},
	"far": {"from": "queue", "queue": "arn:aws:sqs:us-west-2:000000000000:far", "poll": {}}
}}`

// The program of sqs-publisher reads queues of others: a batch that Lambda hands over, and one that it asks for itself.
func TestLambda_QueuesOfOthers(t *testing.T) {
	t.Parallel()
	r := &runtime{events: make(chan string, 1), answers: make(chan answer, 1)}
	api := httptest.NewServer(r)
	defer api.Close()
	c := &cloud{}
	world := httptest.NewServer(c)
	defer world.Close()
	path := filepath.Join(t.TempDir(), "events-config.json")
	if err := os.WriteFile(path, []byte(queuesConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	program := build(t, "sqs-publisher")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd, log := exec.CommandContext(ctx, program), &buffer{}
	cmd.Env = append(variables(api.URL, world.URL), "CALLBOARD_CONFIG="+path)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()

	m := events.Message{Body: `{"build":7}`}.SQS("m-1", "receipt", 1)
	m.EventSourceARN = "arn:aws:sqs:eu-west-1:000000000000:builds"
	batch, err := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{m}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ event, answer, asks string }{
		{string(batch), `{"batchItemFailures":[]}`, "builds:m-1"},
		{`{"source":"callboard.schedule","detail-type":"poll-far"}`, `{"received":0,"deleted":0}`, "https://sqs.us-west-2.amazonaws.com/000000000000/far"},
	} {
		r.events <- test.event
		select {
		case got := <-r.answers:
			if got.body != test.answer {
				t.Errorf("%.60s is answered with the %s %s, want %s\n%s", test.event, got.kind, got.body, test.answer, log)
			}
		case <-time.After(patience):
			t.Fatalf("the function does not answer:\n%s", log)
		}
		if asked := c.requests(); !strings.Contains(asked, test.asks) {
			t.Errorf("AWS is not asked about %s, but for\n%s", test.asks, asked)
		}
	}
	if asked := c.requests(); !strings.Contains(asked, "DynamoDB_20120810.PutItem") || !strings.Contains(asked, "poll#far") {
		t.Errorf("the poll has no lease:\n%s", asked)
	}

	// Without the table it says so and ends.
	without := exec.CommandContext(ctx, program)
	for _, variable := range cmd.Env {
		if !strings.HasPrefix(variable, "CALLBOARD_TABLE=") {
			without.Env = append(without.Env, variable)
		}
	}
	if out, err := without.CombinedOutput(); err == nil || !strings.Contains(string(out), "CALLBOARD_TABLE is not set") {
		t.Errorf("%v: %s", err, out)
	}
}
