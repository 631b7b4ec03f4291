//go:build deployed

package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"

	configuration "github.com/callboard/callboard/internal/config"
)

// startQueues deploys the stack with the topics of a configuration too, whose queues it makes as others would: one in the
// region of the stack, one in another. Afterwards the stack is as it was.
func startQueues(tb testing.TB, config string) *Process {
	tb.Helper()
	p, s := Start(tb, config, ""), deployed(tb)
	changed := *s
	changed.config = s.withQueues(tb, config)
	original := s.synth(tb, s.config, nil)
	with := s.synth(tb, changed.config, nil)
	tb.Cleanup(func() { s.deploy(tb, original) })
	s.deploy(tb, with)
	changed.topo = s.topology(tb, changed.config, s.name)
	p.Interrupt(tb)
	return changed.attach(tb)
}

// withQueues returns the path of the configuration of the stage with the topics and rules of another one.
func (s *stage) withQueues(tb testing.TB, path string) string {
	tb.Helper()
	read := func(path string) map[string]any {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		var c map[string]any
		if err := json.Unmarshal(data, &c); err != nil {
			tb.Fatal(err)
		}
		return c
	}
	c, more := read(s.config), read(path)
	topics := more["topics"].(map[string]any)
	for name, topic := range topics {
		topic := topic.(map[string]any)
		topic["queue"] = s.queueOfOthers(tb, name, topic["queue"].(string))
	}
	maps.Copy(c["topics"].(map[string]any), topics)
	notifications := c["notifications"].(map[string]any)
	notifications["rules"] = append(notifications["rules"].([]any), more["notifications"].(map[string]any)["rules"].([]any)...)
	data, err := json.Marshal(c)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := configuration.Parse(data); err != nil {
		tb.Fatal(err)
	}
	made := filepath.Join(tb.TempDir(), "events-config.json")
	if err := os.WriteFile(made, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return made
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
