//go:build deployed

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/callboard/callboard/pkg/events"
)

const (
	consumer    = "../../tools/backstage/consume.js"
	exportQueue = "export-backstage-github"
)

// backstageEvent is an event as a subscriber in Backstage gets it.
type backstageEvent struct {
	Topic    string            `json:"topic"`
	Payload  any               `json:"eventPayload"`
	Metadata map[string]string `json:"metadata"`
}

// reader makes a user who may do what docs/backstage.md says that Backstage needs, and nothing else, and returns the
// variables for its programs.
func (s *stage) reader(tb testing.TB, queueURL string) []string {
	tb.Helper()
	answer, err := sqs.NewFromConfig(s.aws).GetQueueAttributes(tb.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &queueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		tb.Fatal(err)
	}
	client, name := iam.NewFromConfig(s.aws), aws.String(s.topo.Prefix+"-backstage")
	if _, err := client.CreateUser(tb.Context(), &iam.CreateUserInput{UserName: name}); err != nil {
		tb.Fatal(err)
	}
	actions := `"sqs:ReceiveMessage","sqs:DeleteMessage"`
	if s.emulated() { // in AWS the right to delete covers batches
		actions += `,"sqs:DeleteMessageBatch"`
	}
	policy := aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[%s],"Resource":[%q]}]}`, actions, answer.Attributes["QueueArn"]))
	_, err = client.PutUserPolicy(tb.Context(), &iam.PutUserPolicyInput{UserName: name, PolicyName: name, PolicyDocument: policy})
	if err != nil {
		tb.Fatal(err)
	}
	made, err := client.CreateAccessKey(tb.Context(), &iam.CreateAccessKeyInput{UserName: name})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx := context.WithoutCancel(tb.Context())
		_, keyErr := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: made.AccessKey.AccessKeyId})
		_, policyErr := client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: name})
		_, userErr := client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name})
		for _, err := range []error{keyErr, policyErr, userErr} {
			if err != nil {
				tb.Error(err)
			}
		}
	})
	return append(os.Environ(), "AWS_ACCESS_KEY_ID="+*made.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+*made.AccessKey.SecretAccessKey)
}

// backstage starts Backstage's own SQS consumer on a queue, with the configuration of docs/backstage.md, and returns what it
// publishes until the test ends.
func (s *stage) backstage(tb testing.TB, topic, queueURL string) <-chan backstageEvent {
	tb.Helper()
	command := exec.CommandContext(context.WithoutCancel(tb.Context()), "node", consumer)
	command.Env = s.reader(tb, queueURL)
	command.Stdin = strings.NewReader(fmt.Sprintf(`{"events":{"modules":{"awsSqs":{"awsSqsConsumingEventPublisher":{"topics":{%q:{
		"queue":{"url":%q,"region":%q,"waitTime":{"seconds":1},"visibilityTimeout":{"minutes":2}},
		"timeout":{"minutes":5},"waitTimeAfterEmptyReceive":{"seconds":0}
	}}}}}}}`, topic, queueURL, s.aws.Region))
	errs := newLog(tb)
	command.Stderr = errs.File
	stdout, err := command.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := command.Start(); err != nil {
		tb.Fatal(err)
	}
	published := make(chan backstageEvent, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 4*events.MaxSQSMessageSize)
		for lines.Scan() {
			var e backstageEvent
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				tb.Errorf("the consumer wrote %.200q: %v", lines.Text(), err)
				continue
			}
			published <- e
		}
	}()
	tb.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		_ = command.Wait()
		if tb.Failed() {
			tb.Logf("the consumer says:\n%s", errs)
		}
	})
	return published
}

// Backstage's own SQS consumer reads an export and publishes payload and metadata as they are, in AWS those of more than SNS
// takes by default too, and deletes what it has read. It may do no more than docs/backstage.md says.
func TestBackstage(t *testing.T) {
	t.Parallel()
	p, s := Start(t, config, ""), deployed(t)
	url := s.queue(t, exportQueue)
	published := s.backstage(t, "github", url)
	payloads := map[string]string{
		"plain": `{"zen": "Keep it logically awesome.", "repository": {"full_name": "acme/plain"}}`,
		"odd": ` {"zen": "Ä \u2028 \ufffe 𝄞 <&>", "hook": {"big": 12345678901234567890.5e-3, "list": [null, true, {}]}, "ref": "refs/heads/x",
			"repository": {"full_name": "acme/odd"}}`,
		"large": `{"zen": "` + strings.Repeat("x", events.MaxMessageSize-2000) + `", "repository": {"full_name": "acme/large"}}`,
	}
	if !s.emulated() { // the topics of the emulator take 262,144 bytes, whatever is set
		payloads["larger"] = `{"zen": "` + strings.Repeat("x", 3*events.MaxMessageSize) + `", "repository": {"full_name": "acme/larger"}}`
	}
	for name, payload := range payloads {
		delivery := uuid.NewString()
		response, answer := p.Do(t, http.MethodPost, "/events/http/github", p.gitHub(t, "ping", delivery, []byte(payload)), []byte(payload))
		if response.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: the webhook is answered %s %s", name, response.Status, answer)
		}
		want := backstageEvent{Topic: "github"}
		if err := json.Unmarshal([]byte(payload), &want.Payload); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-published:
			var ours map[string]any
			if err := json.Unmarshal([]byte(got.Metadata[events.AttributeEvents]), &ours); err != nil || ours["v"] != 1.0 {
				t.Errorf("%s: the attribute %s is %q, %v", name, events.AttributeEvents, got.Metadata[events.AttributeEvents], err)
			}
			delete(got.Metadata, events.AttributeEvents)
			want.Metadata = map[string]string{
				"x-github-event": "ping", "x-github-delivery": delivery,
				events.AttributeTopic: "github", events.AttributeID: response.Header.Get("X-Events-Id"),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: event (-want +got):\n%.2000s", name, diff)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the consumer publishes nothing", name)
		}
	}
	eventually(t, func() (bool, string) {
		n := s.exported(t, url)
		return n == 0, fmt.Sprintf("%d messages are left in the queue of the export", n)
	})
}

// exported returns how many messages are in a queue.
func (s *stage) exported(tb testing.TB, url string) int {
	tb.Helper()
	answer, err := sqs.NewFromConfig(s.aws).GetQueueAttributes(tb.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible},
	})
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for _, value := range answer.Attributes {
		one := 0
		if _, err := fmt.Sscan(value, &one); err != nil {
			tb.Fatal(err)
		}
		n += one
	}
	return n
}

// exported takes the events of GitHub that wait for the consumer of the export, of which there has to be one, and returns
// their ids.
func (p *Process) exported(tb testing.TB) []string {
	tb.Helper()
	s := deployed(tb)
	var ids []string
	eventually(tb, func() (bool, string) {
		for messages := s.take(tb, exportQueue); len(messages) > 0; messages = s.take(tb, exportQueue) {
			for _, m := range messages {
				ids = append(ids, m.attributes[events.AttributeID])
			}
		}
		return len(ids) > 0, "nothing is in the queue of the export"
	})
	return ids
}
