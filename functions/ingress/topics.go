package ingress

import (
	"slices"
	"strings"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// Topics returns the topics of a configuration that take webhooks; t is its topology.
func Topics(c *config.Config, t *topology.Topology) map[string]Topic {
	topics := make(map[string]Topic, len(c.Topics))
	for name, topic := range c.Topics {
		topics[name] = Topic{Profile: profile(topic, t.DeliveryID(name)), Secrets: topic.Secrets}
	}
	return topics
}

func profile(t config.Topic, deliveryID *events.Selector) webhook.Profile {
	if t.From == config.FromGitHub {
		return webhook.GitHub{}
	}
	p := webhook.HMAC{Signature: webhook.Signature(*t.Signature), Metadata: t.Metadata, DeliveryID: deliveryID}
	// What a router or a person will look for deserves an attribute of its own.
	for _, rule := range slices.Concat(t.SubTopic, []string{t.DeliveryID}) {
		kind, name, _ := strings.Cut(rule, ":")
		if kind == "header" || kind == "metadata" {
			p.Promoted = append(p.Promoted, strings.ToLower(name))
		}
	}
	return p
}
