//go:build deployed

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// startQueues deploys the stack with the topics of a configuration too, whose queues it makes as others would: one in the
// region of the stack, one in another.
func startQueues(tb testing.TB, config string) *Process {
	tb.Helper()
	s, more := deployed(tb), readConfig(tb, config)
	for name, topic := range more["topics"].(map[string]any) {
		topic := topic.(map[string]any)
		topic["queue"] = s.queueOfOthers(tb, name, topic["queue"].(string))
	}
	return startWith(tb, more)
}

// queueOfOthers makes a queue for a topic, in the region of the stack if that of the ARN is the suite's own, and returns
// its ARN.
func (s *stage) queueOfOthers(tb testing.TB, topic, arn string) string {
	tb.Helper()
	client := sqs.NewFromConfig(s.aws, func(o *sqs.Options) {
		if !strings.Contains(arn, ":us-east-1:") {
			o.Region = strings.Split(arn, ":")[3]
		}
	})
	name := s.topo.Prefix + "-of-others-" + topic
	made, err := client.CreateQueue(tb.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if _, err := client.DeleteQueue(context.WithoutCancel(tb.Context()), &sqs.DeleteQueueInput{QueueUrl: made.QueueUrl}); err != nil {
			tb.Error(err)
		}
	})
	names := []types.QueueAttributeName{types.QueueAttributeNameQueueArn}
	out, err := client.GetQueueAttributes(tb.Context(), &sqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl, AttributeNames: names})
	if err != nil {
		tb.Fatal(err)
	}
	return out.Attributes["QueueArn"]
}

// arrives waits until the counter was told of these and nothing else. A queue that a schedule asks may take two minutes
// after a deployment.
func (p *Process) arrives(tb testing.TB, want ...string) {
	tb.Helper()
	end := time.Now().Add(3 * time.Minute)
	eventually(tb, func() (bool, string) {
		diff := p.told(tb, want)
		for diff != "" && time.Now().Before(end) {
			<-time.After(time.Second)
			diff = p.told(tb, want)
		}
		return diff == "", diff + "\n" + tail(p.Log(tb), 20)
	})
}
