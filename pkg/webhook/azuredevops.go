package webhook

import (
	"net/url"
	"strings"
)

// AzureDevOps is the profile of the service hooks of Azure DevOps, which sign nothing
// (https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks).
type AzureDevOps struct{}

var _ Profile = AzureDevOps{}

// AzureDevOpsSubTopic is where the sub-topic of Azure DevOps' events is found: "git.push", …
const AzureDevOpsSubTopic = "body:eventType"

// azureDevOpsSecret is the header that may hold the secret. Backstage uses the same.
const azureDevOpsSecret = "x-ado-webhook-secret" //nolint:gosec // the name of a header

var azureDevOpsMetadata = []string{"x-vss-activityid", "x-vss-subscriptionid", "request-id"}

// Verify checks the header X-Ado-Webhook-Secret where there is one, else the password of Basic authentication.
func (AzureDevOps) Verify(r Request, secrets []string) error {
	if secret := r.Headers[azureDevOpsSecret]; secret != "" {
		return verifySecret(secret, secrets)
	}
	return verifyBasic(r, secrets)
}

// Sign sets user and password.
func (AzureDevOps) Sign(r *Request, secret string) { signBasic(r, secret) }

// Describe takes the delivery id from the member "id" of the body, which names the event.
func (AzureDevOps) Describe(r Request, payload []byte) (Delivery, error) {
	var remote string
	d := Delivery{Metadata: pick(r.Headers, azureDevOpsMetadata, azureDevOpsSecret)}
	if _, err := read(payload, field{"id", &d.ID}, field{"resource.repository.remoteUrl", &remote}); err != nil {
		return Delivery{}, err
	}
	if u, err := url.Parse(remote); err == nil {
		d.Host, d.Repository = u.Host, strings.Trim(u.Path, "/")
	}
	return d, nil
}
