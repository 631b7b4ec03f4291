package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

const shipped = "../../events-config.json"

// stateWith returns a state folder with messages in the queues.
func stateWith(t *testing.T, queues map[string][]events.Message) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "state")
	_, topo, _, err := load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := embedded.Open(folder, queueSpecs(topo), subscriptions(topo))
	if err != nil {
		t.Fatal(err)
	}
	for queue, messages := range queues {
		for _, m := range messages {
			if err := engine.Queues.Send(t.Context(), queue, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	return folder
}

// dead is an event that notify has parked.
func dead(t *testing.T, n int, reason string) events.Message {
	t.Helper()
	e := eventstest.NewEvent("frobs.add", n)
	e.Payload = fmt.Appendf(nil, `{"type": "add", "n": %d}`, n)
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		events.AttributeParkedFunction: "notify", events.AttributeParkedReason: reason, events.AttributeParkedTime: fmt.Sprintf("2026-01-02T03:04:%02d.006Z", n),
	} {
		m.Attributes[name] = events.Attribute{DataType: "String", StringValue: value}
	}
	return m
}

// startDev runs callboard dev on a state folder until the test ends, or stop is called.
func startDev(t *testing.T, state string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, lines := io.Pipe()
	var running sync.WaitGroup
	var stderr bytes.Buffer
	running.Go(func() {
		code := run(ctx, []string{"dev", "--config", shipped, "--state", state, "--addr", "127.0.0.1:0", "--log", "json"}, lines, &stderr)
		if code != 0 {
			t.Errorf("callboard dev: exit code %d\n%s", code, &stderr)
		}
		_ = lines.Close()
	})
	ready := bufio.NewScanner(out)
	if !ready.Scan() {
		t.Fatal("callboard dev is not ready")
	}
	running.Go(func() { _, _ = io.Copy(io.Discard, out) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// The commands do the same with a running engine as with a folder that none has open.
func TestDead(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T, state string) (stop func()){
		"engine": startDev,
		"folder": func(*testing.T, string) func() { return func() {} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := stateWith(t, map[string][]events.Message{"notify-dlq": {dead(t, 1, "no idea"), dead(t, 2, "no idea, either"), dead(t, 3, "too late")}})
			stop := start(t, state)
			dead := func(wantCode int, args ...string) (stdout, stderr string) {
				t.Helper()
				stdout, stderr, code := call(t, append([]string{"dead", args[0], "--state", state, "--config", shipped}, args[1:]...)...)
				if code != wantCode {
					t.Fatalf("callboard dead %v: exit code %d\n%s%s", args, code, stdout, stderr)
				}
				return stdout, stderr
			}
			if out, _ := dead(0, "list"); !strings.Contains(out, "\nnotify-dlq         3        2026-01-02T03:04:01Z\n") || !strings.Contains(out, "\nrouter-dlq         0        -\n") {
				t.Errorf("the counts are\n%s", out)
			}
			var letters []deadletter.Letter
			out, _ := dead(0, "list", "--all", "--json")
			if err := json.Unmarshal([]byte(out), &letters); err != nil || len(letters) != 3 {
				t.Fatalf("%v\n%s", err, out)
			}
			out, _ = dead(0, "list", "--queue", "notify-dlq", "--reason", "no idea")
			for _, l := range letters[:2] {
				if want := strings.Join([]string{moment(l.Time), "notify-dlq", l.ID, l.Event, "frobs.add", "notify"}, "  "); !strings.Contains(out, want) {
					t.Errorf("the list has no %q:\n%s", want, out)
				}
			}
			if strings.Contains(out, "too late") {
				t.Errorf("the list has more than was asked for:\n%s", out)
			}
			if out, errOut := dead(0, "list", "--limit", "1"); strings.Count(out, "\n") != 2 || !strings.Contains(errOut, "--limit") {
				t.Errorf("one letter of three:\n%s%s", out, errOut)
			}
			if out, _ := dead(0, "show", letters[1].ID); !strings.Contains(out, "\n"+`{"type": "add", "n": 2}`+"\n") || !strings.Contains(out, "replay to  notify\n") || !strings.Contains(out, "  x-type (String) test\n") {
				t.Errorf("the letter is shown as\n%s", out)
			}
			out, errOut := dead(1, "replay", "--all")
			if strings.Count(out, "would be replayed to notify") != 3 || !strings.Contains(errOut, "nothing was done: add --yes") {
				t.Errorf("before three letters are replayed:\n%s%s", out, errOut)
			}
			if out, _ := dead(0, "replay", "--id", letters[0].ID); out != letters[0].ID+" "+letters[0].Event+" replayed to notify\n" {
				t.Errorf("replay says %q", out)
			}
			if out, _ := dead(0, "drop", "--id", letters[1].Event); out != letters[1].ID+" "+letters[1].Event+" dropped\n" {
				t.Errorf("drop says %q", out)
			}
			if out, _ := dead(0, "replay", "--queue", "notify-dlq", "--all", "--again", "--yes", "--to", "catalog-sync", "--json"); !strings.Contains(out, `"done": true`) || !strings.Contains(out, `"catalog-sync"`) {
				t.Errorf("replay says %s", out)
			}
			if out, _ := dead(0, "list", "--all"); strings.Count(out, "\n") != 1 {
				t.Errorf("there are letters left:\n%s", out)
			}
			if _, errOut := dead(1, "drop", "--all", "--yes"); !strings.Contains(errOut, "no letter fits") {
				t.Errorf("drop of nothing says %q", errOut)
			}
			stop()
			for queue, want := range map[string]int{"notify-dlq": 0, "catalog-sync-dlq": 0} {
				if got := depths(t, state)[queue]; got != want {
					t.Errorf("%s holds %d messages, want %d", queue, got, want)
				}
			}
			if name == "folder" {
				if got := depths(t, state); got["notify"] != 1 || got["catalog-sync"] != 1 {
					t.Errorf("the queues hold %v, want one message for each of the two that were replayed", got)
				}
			}
		})
	}
}

// depths returns how many messages are in the queues of a folder that no engine has open.
func depths(t *testing.T, state string) map[string]int {
	t.Helper()
	_, topo, _, err := load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := embedded.Open(state, queueSpecs(topo), subscriptions(topo))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = engine.Close() }()
	return engine.Queues.Depths()
}

// Nobody without the token of the engine sees a letter.
func TestDead_Token(t *testing.T) {
	t.Parallel()
	state := stateWith(t, map[string][]events.Message{"notify-dlq": {dead(t, 1, "no idea")}})
	startDev(t, state)
	engine, err := front.Find(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"queues", "list", "replay", "drop"} {
		for token, want := range map[string]int{"": http.StatusForbidden, "Bearer x": http.StatusForbidden} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, engine.URL+"/_local/dead/"+name, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", token)
			response, err := front.LocalClient(time.Minute).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("%s with the token %q: %s, want %d", name, token, response.Status, want)
			}
		}
	}
	l := local{engine: engine}
	if err := l.call(t.Context(), http.MethodPost, "/dead/burn", struct{}{}, &struct{}{}); err == nil || !strings.Contains(err.Error(), "/dead/burn") {
		t.Errorf("a route that is not there: %v", err)
	}
	if err := l.call(t.Context(), http.MethodPost, "/dead/drop", map[string]int{"soon": 1}, &struct{}{}); err == nil || !strings.Contains(err.Error(), "same version") {
		t.Errorf("an order that is not understood: %v", err)
	}
}

func TestDead_Failures(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	state := stateWith(t, nil)
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"", exitUsage, `expected one of "list"`},
		{"replay", exitUsage, "say which letters: --id, --reason, or --all"},
		{"replay --queue notify-dlq", exitUsage, "say which letters"},
		{"replay --all --id x", exitUsage, "cannot be used with --id"},
		{"drop --limit 1", exitUsage, "say which letters"},
		{"drop --all --limit=-1", exitUsage, "--limit is how many"},
		{"list --env dev", exitUsage, "--env is for --aws"},
		{"list --aws --state s", exitUsage, "cannot be used with --aws"},
		{"show", exitUsage, "<id>"},
		{"list --state " + folder, exitFailure, "there is no state in the folder " + folder},
		{"list --queue notify --config " + shipped + " --state " + state, exitFailure, "--queue takes one of sqs-publisher-dlq"},
		{"replay --all --to notify-dlq --config " + shipped + " --state " + state, exitFailure, "--to takes one of ingest"},
		{"list --config none.json --state " + state, exitFailure, "none.json does not exist"},
		{"show x --config " + shipped + " --state " + state, exitFailure, "no letter fits"},
	} {
		stdout, stderr, code := call(t, append([]string{"dead"}, strings.Fields(test.args)...)...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("callboard dead %s: exit code %d, want %d\n%s%s\nwant it to say %q", test.args, code, test.code, stdout, stderr, test.want)
		}
	}
}

// queueServer answers as SQS does for queues that exist, by the name of the action.
func queueServer(t *testing.T, answer func(action string, in map[string]any) (status int, body string)) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]any
		if err := json.UnmarshalRead(r.Body, &in); err != nil {
			return // whoever asks has given up, after the failure of another request
		}
		action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		status, body := answer(action, in)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestDead_AWS(t *testing.T) {
	var received sync.Map
	server := queueServer(t, func(action string, in map[string]any) (int, string) {
		switch action {
		case "GetQueueUrl":
			return 200, fmt.Sprintf(`{"QueueUrl":"https://sqs/1/%v"}`, in["QueueName"])
		case "GetQueueAttributes":
			return 200, `{"Attributes":{"ApproximateNumberOfMessages":"0"}}`
		case "ReceiveMessage":
			if in["WaitTimeSeconds"] != 1.0 || in["VisibilityTimeout"] != 60.0 {
				t.Errorf("%v is asked for, want all servers of SQS asked, and a short visibility timeout", in)
			}
			if _, again := received.LoadOrStore(in["QueueUrl"], true); again || in["QueueUrl"] != "https://sqs/1/callboard-dev-notify-dlq" {
				return 200, `{}`
			}
			return 200, `{"Messages":[{"MessageId":"m1","ReceiptHandle":"r1","Body":"{}","Attributes":{"ApproximateReceiveCount":"6","SentTimestamp":"1767323045006",
				"DeadLetterQueueSourceArn":"arn:aws:sqs:eu-west-1:1:callboard-dev-notify"},"MessageAttributes":{"x-events-id":{"DataType":"String","StringValue":"frobs:7"}}}]}`
		}
		return 200, `{}`
	})
	setAWS(t, server.URL)
	t.Setenv("AWS_ENDPOINT_URL_SQS", server.URL)
	stdout, stderr, code := call(t, strings.Fields("dead list --all --aws --env dev --config "+shipped)...)
	want := "TIME                  QUEUE       ID  EVENT    TOPIC  FUNCTION  RECEIVES  REASON\n" +
		"2026-01-02T03:04:05Z  notify-dlq  m1  frobs:7  -      notify    6         failed too often\n"
	if code != 0 || stderr != "" || stdout != want {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", code, stdout, stderr, want)
	}

	// More come back than there are new ones: that has an end too.
	same := queueServer(t, func(action string, _ map[string]any) (int, string) {
		if action == "ReceiveMessage" {
			return 200, `{"Messages":[{"MessageId":"m1","ReceiptHandle":"r1","Body":"{}"}]}`
		}
		return 200, `{"QueueUrl":"https://sqs/1/q"}`
	})
	t.Setenv("AWS_ENDPOINT_URL_SQS", same.URL)
	if stdout, stderr, code := call(t, strings.Fields("dead list --queue notify-dlq --aws --config "+shipped)...); code != 0 || strings.Count(stdout, "m1") != 1 {
		t.Errorf("the same letter again and again: exit code %d\n%s%s", code, stdout, stderr)
	}

	denied := queueServer(t, func(string, map[string]any) (int, string) {
		return 400, `{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"no"}`
	})
	t.Setenv("AWS_ENDPOINT_URL_SQS", denied.URL)
	if _, stderr, code := call(t, strings.Fields("dead list --aws --config "+shipped)...); code != exitFailure || !strings.Contains(stderr, "you need the permission sqs:GetQueueUrl for the queue callboard-") {
		t.Errorf("without rights: exit code %d\n%s", code, stderr)
	}
	absent := queueServer(t, func(string, map[string]any) (int, string) {
		return 400, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}`
	})
	t.Setenv("AWS_ENDPOINT_URL_SQS", absent.URL)
	if _, stderr, code := call(t, strings.Fields("dead list --aws --config "+shipped)...); code != exitFailure || !strings.Contains(stderr, "choose another --env") {
		t.Errorf("without queues: exit code %d\n%s", code, stderr)
	}
}

// What people read. Nothing that came in from outside can colour the terminal, move its cursor or begin a line.
func TestDead_Golden(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	letters := []deadletter.Letter{
		{
			Queue: "notify-dlq", ID: "0199f0a2-0001", Event: "frobs:1", Topic: "frobs.add", Reason: "no\nidea", Function: "notify", Time: at, Receives: 1,
			Group: "frobs", Bytes: 8, To: []string{"notify"}, Body: "{\n\"a\":1}",
			Attributes: map[string]events.SQSAttribute{"x-events-topic": {DataType: "String", StringValue: "frobs.add"}, "bytes": {DataType: "Binary", BinaryValue: []byte("abc")}},
		},
		{
			Queue: "router-dlq", ID: "0199f0a2-0002", Reason: "\x1b[31mred", Receives: 6, Bytes: 6000, Unknown: "it does not say where it came from; say it with --to",
			Body: "\x1b[2J\r\u202e" + strings.Repeat("é", 3000), Error: "it does not say where it came from; say it with --to",
		},
		{Queue: "subscriptions-dlq", ID: "0199f0a2-0003", Event: "github:3", Topic: "github.push", Function: "SNS", Reason: "E: m", Time: at, To: []string{"catalog-sync", "notify"}},
	}
	var b bytes.Buffer
	if err := printQueues(&b, []deadletter.Queue{{Name: "notify-dlq", Letters: 2, Looked: 2, Oldest: at}, {Name: "router-dlq"}, {Name: "ingest-dlq", Letters: 9000, Looked: 1000, Oldest: at}}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	if err := printLetters(&b, letters); err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		b.WriteString("\n")
		printLetter(&b, l, false)
	}
	for _, r := range []deadletter.Result{{Letters: letters, Done: true, More: true}, {Letters: letters[:1], Done: true}, {Letters: append([]deadletter.Letter(nil), letters[0], letters[2])}} {
		b.WriteString("\n")
		if err := printResult(streams{&b, &b}, r, false, "replayed"); err != nil {
			report(&b, err)
		}
	}
	golden(t, "dead.golden", b.String())
	var full bytes.Buffer
	printLetter(&full, letters[1], true)
	if !strings.Contains(full.String(), strings.Repeat("é", 3000)+"\n") {
		t.Error("--full does not print all of a body")
	}
	if diff := cmp.Diff("2026-01-02T03:04:05Z", moment(at.In(time.FixedZone("x", 3600)))); diff != "" {
		t.Errorf("times are not in UTC:\n%s", diff)
	}
}
