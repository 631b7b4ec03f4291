//go:build deployed

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// eventually waits until something is as it should be, and fails the test with what it was last if it never is.
func eventually(tb testing.TB, is func() (ok bool, last string)) {
	tb.Helper()
	end := time.Now().Add(patience)
	for {
		ok, last := is()
		if ok {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("after %s: %s", patience, last)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// putBatch sends messages of the frobs topic to a queue, all at once.
func (s *stage) putBatch(tb testing.TB, queue string, messages []message) {
	tb.Helper()
	url := s.queue(tb, queue)
	in := &sqs.SendMessageBatchInput{QueueUrl: &url}
	for i, m := range messages {
		entry := types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: aws.String(m.body), MessageAttributes: map[string]types.MessageAttributeValue{}}
		for name, value := range m.attributes {
			entry.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
		}
		in.Entries = append(in.Entries, entry)
	}
	answer, err := sqs.NewFromConfig(s.aws).SendMessageBatch(tb.Context(), in)
	if err != nil || len(answer.Failed) > 0 {
		tb.Fatalf("%v %+v", err, answer)
	}
}

// frobMessage is an event of the frobs topic as it lies in a queue.
func frobMessage(tb testing.TB, topic, delivery, body string) message {
	tb.Helper()
	m, err := events.Encode(events.Event{ID: events.NewID("frobs", delivery), Topic: topic, Time: time.Now(), Payload: []byte(body)})
	if err != nil {
		tb.Fatal(err)
	}
	attributes := map[string]string{}
	for name, a := range m.Attributes {
		attributes[name] = a.StringValue
	}
	return message{m.Body, attributes}
}

// One message of ten cannot be understood: it is parked, whole and with the reason, and harms none of the others.
func TestPartialFailure(t *testing.T) {
	t.Parallel()
	p, s := Start(t, config, ""), deployed(t)
	for _, test := range []struct{ queue, deadLetters, topic string }{
		{topology.QueueIngest, "sqs-publisher-dlq", "frobs"},
		{"router-frobs", "router-dlq", "frobs"},
		{"notify", "notify-dlq", "frobs.add"},
	} {
		var batch []message
		want := map[string]int{}
		for n := range 9 {
			title := fmt.Sprint(test.queue, " ", n)
			want[title] = 1
			batch = append(batch, frobMessage(t, test.topic, uuid.NewString(), fmt.Sprintf(`{"type":"add","n":%q}`, title)))
		}
		poison := message{body: `{"type":"add","n":"nobody says of which topic"}`, attributes: map[string]string{"x-mark": test.queue}}
		s.putBatch(t, test.queue, append(batch, poison))
		p.Settle(t)
		got := p.titles(t, "counter-token")
		for title := range got {
			if !strings.HasPrefix(title, test.queue) {
				delete(got, title)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: notifications (-want +got):\n%s", test.queue, diff)
		}
		parked := s.take(t, test.deadLetters)
		if len(parked) != 1 || parked[0].body != poison.body || parked[0].attributes["x-mark"] != test.queue || parked[0].attributes[events.AttributeParkedReason] == "" {
			t.Errorf("%s has %+v, want the message that cannot be understood, with a reason", test.deadLetters, parked)
		}
	}
}

// What fails as often as it may be tried is in the dead-letter queue, whole.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	p, s := Start(t, config, ""), deployed(t)

	mend := s.revoke(t, topology.SQSPublisher, "Publish", "sns:Publish", "sns:PublishBatch")
	defer mend()
	s.change(t, topology.QueueIngest, types.QueueAttributeNameRedrivePolicy, tries(1))
	lost := frobMessage(t, "frobs", uuid.NewString(), `{"type":"add","n":"lost"}`)
	s.putBatch(t, topology.QueueIngest, []message{lost})
	eventually(t, func() (bool, string) {
		got := s.take(t, "sqs-publisher-dlq")
		return len(got) == 1 && got[0].body == lost.body && got[0].attributes[events.AttributeID] == lost.attributes[events.AttributeID],
			fmt.Sprintf("the dead-letter queue of sqs-publisher gave %+v", got)
	})
	p.Settle(t)
}

var maxReceiveCount = regexp.MustCompile(`"maxReceiveCount": *"?\d+"?`)

// tries changes how often a message may be received.
func tries(n int) func(policy string) string {
	return func(policy string) string {
		return maxReceiveCount.ReplaceAllString(policy, fmt.Sprintf(`"maxReceiveCount":%d`, n))
	}
}

// change sets an attribute of a queue until the test ends.
func (s *stage) change(tb testing.TB, queue string, name types.QueueAttributeName, to func(string) string) {
	tb.Helper()
	client, url := sqs.NewFromConfig(s.aws), s.queue(tb, queue)
	answer, err := client.GetQueueAttributes(tb.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{name}})
	if err != nil {
		tb.Fatal(err)
	}
	before := answer.Attributes[string(name)]
	after := to(before)
	if after == before {
		tb.Fatalf("%s of %s is %s before and after", name, queue, before)
	}
	set := func(ctx context.Context, value string) error {
		_, err := client.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{string(name): value}})
		return err
	}
	if err := set(tb.Context(), after); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := set(context.WithoutCancel(tb.Context()), before); err != nil {
			tb.Error(err)
		}
	})
}

// processes returns the processes that run a function, or all functions of the stage if it is "". Only an emulator on
// this machine has any.
func (s *stage) processes(tb testing.TB, function string) []int {
	tb.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		tb.Skip("the processes of functions can be seen on Linux only") // where the emulator of aws-local does not run either
	}
	name := "\x00AWS_LAMBDA_FUNCTION_NAME=" + s.topo.Prefix + "-"
	if function != "" {
		name += function + "\x00"
	}
	endpoint := "\x00AWS_ENDPOINT_URL=" + aws.ToString(s.aws.BaseEndpoint) + "\x00" // another emulator may be here too
	var list []int
	for _, entry := range entries {
		var pid int
		if _, err := fmt.Sscan(entry.Name(), &pid); err != nil {
			continue
		}
		environment, err := os.ReadFile("/proc/" + entry.Name() + "/environ")
		if text := "\x00" + string(environment); err == nil && strings.Contains(text, name) && strings.Contains(text, endpoint) {
			list = append(list, pid)
		}
	}
	return list
}

// kill ends all processes of a function as `kill -9` does and returns how many there were.
func (s *stage) kill(tb testing.TB, function string) int {
	tb.Helper()
	killed := 0
	for _, pid := range s.processes(tb, function) {
		process, err := os.FindProcess(pid)
		if err == nil && process.Kill() == nil {
			killed++
		}
	}
	return killed
}

// worked returns how many messages of the queues of a function are being worked on.
func (s *stage) worked(tb testing.TB, function string) int {
	tb.Helper()
	return s.count(tb, func(q topology.Queue) bool { return q.Function == function }, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
}

// waiting returns how many messages wait for a function or are being worked on.
func (s *stage) waiting(tb testing.TB) int {
	tb.Helper()
	return s.count(tb, func(q topology.Queue) bool { return q.Function != "" },
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
}

func (s *stage) count(tb testing.TB, of func(topology.Queue) bool, attributes ...types.QueueAttributeName) (n int) {
	tb.Helper()
	for _, q := range s.topo.Queues {
		if !of(q) {
			continue
		}
		url := s.queue(tb, q.Name)
		answer, err := sqs.NewFromConfig(s.aws).GetQueueAttributes(tb.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: attributes})
		if err != nil {
			tb.Fatal(err)
		}
		for _, value := range answer.Attributes {
			one, _ := strconv.Atoi(value)
			n += one
		}
	}
	return n
}

// While events flow, the processes of the functions are killed again and again. Every event that was accepted has its
// effect, and none has it twice.
func TestFunctionsKilled(t *testing.T) {
	t.Parallel()
	const (
		total   = 60
		senders = 4
	)
	p, s := Start(t, config, ""), deployed(t)
	if !s.emulated() {
		t.Skip("nobody can kill functions in AWS")
	}
	for _, q := range s.topo.Queues {
		if q.Function != "" { // what a killed function had comes again after this
			s.change(t, q.Name, types.QueueAttributeNameVisibilityTimeout, func(string) string { return "3" })
			s.change(t, q.Name, types.QueueAttributeNameRedrivePolicy, tries(100))
		}
	}
	want := map[string]int{}
	for n := range total {
		want[fmt.Sprint("event ", n)] = 1
	}
	var sent sync.WaitGroup
	var next atomic.Int64
	for range senders {
		sent.Go(func() {
			for n := next.Add(1) - 1; n < total; n = next.Add(1) - 1 {
				body := fmt.Appendf(nil, `{"type":"add","n":"event %d"}`, n)
				headers := p.frob(t, uuid.NewString(), body)
				for since := time.Now(); time.Since(since) < patience; {
					response, _, err := p.try(t.Context(), http.MethodPost, "/events/http/frobs", headers, body)
					if err == nil && response.StatusCode == http.StatusAccepted {
						break
					} // else a person delivers it again
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { sent.Wait(); close(done) }()

	functions := []string{topology.Ingress, topology.SQSPublisher, topology.Router, topology.Notify}
	kills, inFlight, kept := 0, 0, true
	var w push
	for i := 0; kept; i++ {
		select {
		case <-done:
			kept = false
		default:
		}
		f := functions[i%len(functions)]
		before := s.worked(t, f)
		if n := s.kill(t, f); n > 0 {
			kills += n
			if before > 0 && s.worked(t, f) > 0 {
				inFlight++
			}
		}
		if i%5 == 0 {
			w = p.commit(t, change{Files: map[string]*string{"catalog-info.yaml": component("petstore", fmt.Sprint("commit ", i))}})
			p.accept(t, w)
			kills += s.kill(t, topology.CatalogSync)
		}
	}
	last := p.commit(t, change{Files: map[string]*string{"catalog-info.yaml": component("petstore", "last")}})
	p.accept(t, last)
	p.Settle(t)
	t.Logf("%d events and the pushes accepted, %d processes killed, %d times while they worked", total, kills, inFlight)
	if inFlight == 0 {
		t.Error("no kill hit a function at work: the test shows nothing")
	}
	if diff := cmp.Diff(want, p.titles(t, "counter-token")); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"petstore": "last"}, p.components(t)); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
}

// accept delivers a webhook of GitHub until it is accepted, as a person does who delivers it again.
func (p *Process) accept(tb testing.TB, w push) {
	tb.Helper()
	headers := p.gitHub(tb, w.Event, uuid.NewString(), w.Payload)
	eventually(tb, func() (bool, string) {
		response, answer, err := p.try(tb.Context(), http.MethodPost, "/events/http/github", headers, w.Payload)
		if err != nil {
			return false, err.Error()
		}
		return response.StatusCode == http.StatusAccepted, response.Status + " " + string(answer)
	})
}
