package ingress

import (
	"net/netip"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// Topics returns the topics of a configuration that take webhooks, but for those with a profile of somebody else's; t is
// its topology.
func Topics(c *config.Config, t *topology.Topology) map[string]Topic {
	topics := make(map[string]Topic, len(c.Topics))
	for name, topic := range c.Topics {
		if _, custom := topic.CustomProfile(); custom || topic.From == config.FromPublish {
			continue
		}
		topics[name] = made(topic, profile(topic, t.SubTopicRules(name), t.DeliveryID(name)), t.Limit(name))
	}
	return topics
}

// made returns a topic of the configuration with its profile.
func made(t config.Topic, p webhook.Profile, limit int) Topic {
	topic := Topic{From: t.From, Profile: p, Secrets: t.Secrets, Limit: limit}
	if t.Verify == config.VerifyNone {
		topic.Profile = webhook.Unverified{Profile: p}
	}
	for _, p := range t.Allow {
		topic.Allow = append(topic.Allow, netip.MustParsePrefix(p)) // the configuration has no others
	}
	return topic
}

// profile returns the profile of a topic's sender, by the name it has in the configuration.
func profile(t config.Topic, subTopic []events.Selector, deliveryID *events.Selector) webhook.Profile {
	switch t.From {
	case config.FromGitHub:
		return webhook.GitHub{}
	case config.FromGitLab:
		return webhook.GitLab{}
	case config.FromBitbucketCloud:
		return webhook.BitbucketCloud{}
	case config.FromBitbucketDataCenter:
		return webhook.BitbucketDataCenter{}
	case config.FromAzureDevOps:
		return webhook.AzureDevOps{}
	case config.FromGerrit:
		return webhook.Gerrit{}
	case config.FromGitea:
		return webhook.Gitea{}
	}
	g := webhook.Generic{Metadata: t.Metadata, DeliveryID: deliveryID}
	// What a router or a person will look for deserves an attribute of its own.
	for _, rule := range subTopic {
		g.Promoted = append(g.Promoted, rule.Metadata()...)
	}
	if deliveryID != nil {
		g.Promoted = append(g.Promoted, deliveryID.Metadata()...)
	}
	switch t.From {
	case config.FromStandardWebhooks:
		return webhook.StandardWebhooks{Generic: g}
	case config.FromBasic:
		return webhook.Basic{Generic: g}
	case config.FromToken:
		if t.Token == nil {
			return webhook.Token{Generic: g}
		}
		return webhook.Token{Generic: g, Header: t.Token.Header, Prefix: t.Token.Prefix}
	case config.FromNone:
		return webhook.None{Generic: g}
	}
	return webhook.HMAC{Generic: g, Signature: webhook.Signature(*t.Signature)}
}
