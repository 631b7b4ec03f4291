package topology

import (
	"fmt"
	"strings"

	"github.com/callboard/callboard/internal/config"
)

// exportQueue returns the name of the queue that a topic is exported to.
func exportQueue(e config.Export, topic string) string {
	return "export-" + e.Name + "-" + snsName.Replace(topic)
}

func exportPath(i, j int) string { return fmt.Sprintf("$.exports[%d].topics[%d]", i, j) }

// exportTopics adds the topics that are exported, and the subscriptions of the queues that they are exported to.
func (b *builder) exportTopics() {
	for i, e := range b.c.Exports {
		for j, topic := range e.Topics {
			b.topic(topic, exportPath(i, j))
			b.Subscriptions = append(b.Subscriptions, Subscription{
				Topic: topic, Queue: exportQueue(e, topic), DeadLetter: QueueSubscriptionsDLQ, WithoutClaimChecks: !e.ClaimChecks,
			})
			root, _, _ := strings.Cut(topic, ".")
			b.exported[root] = true
		}
	}
}

// exportQueues adds a queue for each topic of an export, and one for the dead letters of the export.
func (b *builder) exportQueues() {
	for i, e := range b.c.Exports {
		path := fmt.Sprintf("$.exports[%d].name", i)
		deadLetters := "export-" + e.Name + "-dlq"
		b.deadLetters = append(b.deadLetters, Queue{Name: deadLetters, AWSName: b.name(kindQueue, deadLetters, path), Retention: retentionDeadLetter})
		for j, topic := range e.Topics {
			name := exportQueue(e, topic)
			b.Queues = append(b.Queues, Queue{
				Name: name, AWSName: b.name(kindQueue, name, exportPath(i, j)), Export: e.Name, Topic: topic,
				DeadLetter: deadLetters, MaxReceiveCount: maxReceiveCountExport,
				VisibilityTimeout: visibilityExport, Retention: retentionExport,
			})
		}
	}
}
