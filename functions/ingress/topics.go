package ingress

import (
	"slices"
	"strings"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// Topics returns the topics of a configuration that take webhooks.
func Topics(c *config.Config) (map[string]Topic, error) {
	topics := make(map[string]Topic, len(c.Topics))
	for name, t := range c.Topics {
		p, err := profile(t)
		if err != nil {
			return nil, err
		}
		topics[name] = Topic{Profile: p, Secrets: t.Secrets}
	}
	return topics, nil
}

func profile(t config.Topic) (webhook.Profile, error) {
	if t.From == config.FromGitHub {
		return webhook.GitHub{}, nil
	}
	p := webhook.HMAC{
		Signature: webhook.Signature(*t.Signature),
		Metadata:  t.Metadata,
	}
	if t.DeliveryID != "" {
		s, err := events.ParseSelector(t.DeliveryID)
		if err != nil {
			return nil, err
		}
		p.DeliveryID = &s
	}
	// What a router or a person will look for deserves an attribute of its own.
	for _, rule := range slices.Concat(t.SubTopic, []string{t.DeliveryID}) {
		kind, name, _ := strings.Cut(rule, ":")
		if kind == "header" || kind == "metadata" {
			p.Promoted = append(p.Promoted, strings.ToLower(name))
		}
	}
	return p, nil
}
