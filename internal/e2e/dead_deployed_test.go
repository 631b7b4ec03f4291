//go:build deployed

package e2e

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// Dead runs `callboard dead --aws`.
func (p *Process) Dead(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	return Run(tb, append([]string{"dead", args[0], "--aws", "--env", deployed(tb).name, "--config", p.Config}, args[1:]...)...)
}

// put puts a message into a queue.
func (p *Process) put(tb testing.TB, queue string, m events.Message) *Process {
	tb.Helper()
	s := deployed(tb)
	in := &sqs.SendMessageInput{
		QueueUrl: aws.String(s.queue(tb, queue)), MessageBody: &m.Body, MessageGroupId: &m.GroupID, MessageAttributes: map[string]types.MessageAttributeValue{},
	}
	for name, a := range m.Attributes {
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: &a.DataType, StringValue: &a.StringValue}
	}
	if _, err := sqs.NewFromConfig(s.aws).SendMessage(tb.Context(), in); err != nil {
		tb.Fatal(err)
	}
	return p
}

// What failed as often as it may be tried goes on when the cause is gone: with attach as with the stack itself.
func TestDeadLetter_FailedTooOften(t *testing.T) {
	t.Parallel()
	p, s := Start(t, config, ""), deployed(t)
	for _, mode := range []string{"aws", "attach"} {
		mend := s.revoke(t, topology.SQSPublisher, "Publish", "sns:Publish", "sns:PublishBatch")
		s.change(t, topology.QueueIngest, types.QueueAttributeNameRedrivePolicy, tries(map[string]int{"aws": 1, "attach": 2}[mode]))
		p.put(t, topology.QueueIngest, deadFrob(t, "frobs", uuid.NewString(), mode, nil))
		eventually(t, func() (bool, string) {
			list := p.letters(t)
			return len(list) == 1 && list[0].Reason == "failed too often" && list[0].Queue == "sqs-publisher-dlq", fmt.Sprintf("the dead letters are %+v", list)
		})
		mend()
		if mode == "aws" {
			p.mustDead(t, "replay", "--all")
		} else if out, stderr, code := Run(t, "dead", "replay", "--all", "--state", p.State); code != 0 {
			t.Fatalf("with attach: exit code %d\n%s%s", code, out, stderr)
		}
		p.Settle(t)
		if got := p.titles(t, "counter-token"); got[mode] != 1 {
			t.Errorf("%s: the notifications are %v, want one of the event that was replayed", mode, got)
		}
	}
}
