package config

import "github.com/callboard/callboard/pkg/webhook"

// profile is what the configuration has to know of a sender's profile.
type profile struct {
	// subTopic are the sub-topic rules of a topic that has none of its own.
	subTopic []string
	// described is true for a profile that the file itself describes, with signature, deliveryId and metadata.
	described bool
}

// The names of the profiles, the values of [Topic.From].
const (
	FromGitHub = "github"
	FromHMAC   = "hmac"
)

var profiles = map[string]profile{
	FromGitHub: {subTopic: []string{webhook.GitHubSubTopic}},
	FromHMAC:   {described: true},
}
