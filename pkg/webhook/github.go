package webhook

import (
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
)

// GitHub is the profile of github.com and GitHub Enterprise Server
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads).
type GitHub struct{}

var _ Profile = GitHub{}

// GitHubSignature is how GitHub signs; its older SHA-1 header is not accepted
// (https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries).
var GitHubSignature = Signature{Header: "x-hub-signature-256", Prefix: "sha256=", Encoding: "hex"}

// GitHubSubTopic is where the sub-topic of GitHub's events is found: "push", "repository", …
const GitHubSubTopic = "metadata:x-github-event"

var gitHubMetadata = []string{
	"x-github-event", "x-github-delivery", "x-github-hook-id",
	"x-github-hook-installation-target-id", "x-github-hook-installation-target-type",
	"x-github-enterprise-host", "x-github-enterprise-version",
}

// Verify checks X-Hub-Signature-256.
func (GitHub) Verify(r Request, secrets []string) error { return GitHubSignature.verify(r, secrets) }

// Describe takes the delivery id from X-GitHub-Delivery, which GitHub keeps when a delivery is sent again.
func (GitHub) Describe(r Request, payload []byte) (Delivery, error) {
	d := Delivery{
		Metadata: pick(r.Headers, gitHubMetadata, GitHubSignature.Header),
		Promoted: []string{"x-github-event", "x-github-delivery"},
	}
	d.ID, _ = r.Headers.Get("x-github-delivery")

	var address string
	err := members(payload, func(dec *jsontext.Decoder, name string) error {
		if name != "repository" {
			return nil
		}
		return walk(dec, func(dec *jsontext.Decoder, name string) error {
			switch name {
			case "full_name":
				return stringMember(dec, &d.Repository)
			case "html_url":
				return stringMember(dec, &address)
			}
			return nil
		})
	})
	if err != nil {
		return Delivery{}, err
	}
	if u, err := url.Parse(address); err == nil {
		d.Host = u.Host
	}
	return d, nil
}
