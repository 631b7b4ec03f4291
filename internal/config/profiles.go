package config

import (
	"slices"

	"github.com/callboard/callboard/pkg/webhook"
)

// profile is what the configuration has to know of a sender's profile.
type profile struct {
	// subTopic are the sub-topic rules of a topic that has none of its own.
	subTopic []string
	// takes are those keys of a topic, of signature, token, deliveryId and metadata, that describe its sender.
	takes []string
}

// The names of the profiles, the values of [Topic.From].
const (
	FromGitHub              = "github"
	FromGitLab              = "gitlab"
	FromBitbucketCloud      = "bitbucket-cloud"
	FromBitbucketDataCenter = "bitbucket-data-center"
	FromAzureDevOps         = "azure-devops"
	FromGerrit              = "gerrit"
	FromGitea               = "gitea"
	FromHMAC                = "hmac"
	FromStandardWebhooks    = "standard-webhooks"
	FromBasic               = "basic"
	FromToken               = "token"
	FromNone                = "none"
	// FromQueue is a sender that fills a queue, without a signature.
	FromQueue = "queue"
)

// VerifyNone is the value of [Topic.Verify] that lets everybody send.
const VerifyNone = "none"

const (
	keySignature  = "signature"
	keyToken      = "token"
	keyDeliveryID = "deliveryId"
	keyMetadata   = "metadata"
)

var profiles = map[string]profile{
	FromGitHub:              {subTopic: []string{webhook.GitHubSubTopic}},
	FromGitLab:              {subTopic: webhook.GitLabSubTopics},
	FromBitbucketCloud:      {subTopic: []string{webhook.BitbucketSubTopic}},
	FromBitbucketDataCenter: {subTopic: []string{webhook.BitbucketSubTopic}},
	FromAzureDevOps:         {subTopic: []string{webhook.AzureDevOpsSubTopic}},
	FromGerrit:              {subTopic: []string{webhook.GerritSubTopic}},
	FromGitea:               {subTopic: webhook.GiteaSubTopics},
	FromHMAC:                {takes: []string{keySignature, keyDeliveryID, keyMetadata}},
	FromStandardWebhooks:    {takes: []string{keyMetadata}, subTopic: []string{webhook.StandardWebhooksSubTopic}},
	FromBasic:               {takes: []string{keyDeliveryID, keyMetadata}},
	FromToken:               {takes: []string{keyToken, keyDeliveryID, keyMetadata}},
	FromNone:                {takes: []string{keyDeliveryID, keyMetadata}},
	FromQueue:               {takes: []string{keyDeliveryID, keyMetadata}},
}

// Senders returns the names of all profiles in order.
func Senders() []string { return sortedKeys(profiles) }

// SecretInAddress tells whether senders may show the secret as the last segment of the address.
func (t Topic) SecretInAddress() bool {
	return t.Verify == "" && (t.From == FromGerrit || t.From == FromToken && t.Token == nil)
}

// describes tells whether a profile is described by a key of the topic.
func (p profile) describes(key string) bool { return slices.Contains(p.takes, key) }
