package sqspublisher

import (
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/senders"
	"github.com/callboard/callboard/internal/topology"
)

// Sources returns the queues of a configuration that others fill; t is its topology. Objects returns what reads from the
// buckets of a queue.
func Sources(c *config.Config, t *topology.Topology, objects func(topology.ForeignQueue) Objects) map[string]Source {
	sources := make(map[string]Source, len(t.Foreign))
	for _, q := range t.Foreign {
		topic := c.Topics[q.Topic]
		s := Source{Profile: senders.Profile(topic, t.SubTopicRules(q.Topic), t.DeliveryID(q.Topic)), Secrets: topic.Secrets, Buckets: q.Buckets}
		if len(q.Buckets) > 0 {
			s.Objects = objects(q)
		}
		sources[q.Topic] = s
	}
	return sources
}
