// Package senders makes the profile of a topic's sender from its configuration.
package senders

import (
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// Profile returns the profile of a topic's sender, by the name it has in the configuration. DeliveryID is what the
// topic's configuration selects, nil for nothing, and subTopic where its sub-topic is found. Messages of a queue have their attributes in the place of headers, and
// all of these become metadata.
func Profile(t config.Topic, subTopic []events.Selector, deliveryID *events.Selector) webhook.Profile {
	if t.Queue == "" {
		return profile(t, subTopic, deliveryID)
	}
	if t.Metadata == nil {
		t.Metadata = []string{"*"}
	}
	p := profile(t, subTopic, deliveryID)
	if t.From != config.FromQueue && t.From != config.FromHMAC && t.From != config.FromStandardWebhooks {
		p = webhook.Message{Profile: p}
	}
	if t.Secrets == nil {
		return webhook.Unverified{Profile: p}
	}
	return p
}

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
	case config.FromNone, config.FromQueue:
		return webhook.None{Generic: g}
	}
	return webhook.HMAC{Generic: g, Signature: webhook.Signature(*t.Signature)}
}
