package ingress

import (
	"net/netip"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/senders"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/webhook"
)

// Topics returns the topics of a configuration that take webhooks, but for those with a profile of somebody else's; t is
// its topology.
func Topics(c *config.Config, t *topology.Topology) map[string]Topic {
	topics := make(map[string]Topic, len(c.Topics))
	for name, topic := range c.Topics {
		if _, custom := topic.CustomProfile(); custom || topic.From == config.FromPublish || topic.Queue != "" {
			continue
		}
		topics[name] = made(topic, senders.Profile(topic, t.SubTopicRules(name), t.DeliveryID(name)), t.Limit(name))
	}
	return topics
}

// made returns a topic of the configuration with its profile.
func made(t config.Topic, p webhook.Profile, limit int) Topic {
	topic := Topic{From: t.From, Profile: p, Secrets: t.Secrets, Limit: limit, RepeatWindow: t.RepeatFor()}
	if t.Verify == config.VerifyNone {
		topic.Profile = webhook.Unverified{Profile: p}
	}
	for _, p := range t.Allow {
		topic.Allow = append(topic.Allow, netip.MustParsePrefix(p)) // the configuration has no others
	}
	return topic
}
