package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/callboard/callboard/pkg/events"
)

// Gerrit is the profile of Gerrit's plugin "webhooks", which signs nothing
// (https://gerrit.googlesource.com/plugins/webhooks/+/refs/heads/master/src/main/resources/Documentation/config.md).
type Gerrit struct{}

var _ Profile = Gerrit{}

// GerritSubTopic is where the sub-topic of Gerrit's events is found: "change-merged", "ref-updated", …
const GerritSubTopic = "body:type"

const gerritOrigin = "x-origin-url"

// Verify checks the last segment of the path where there is one, else the password of Basic authentication.
func (Gerrit) Verify(r Request, secrets []string) error {
	if r.Token != "" {
		return verifyPath(r, secrets)
	}
	if r.Headers["authorization"] != "" {
		return verifyBasic(r, secrets)
	}
	return events.Errorf(events.CodeUnauthorized, "the address has no secret: add \"/\" and the secret of this topic to it in webhooks.config")
}

// Sign sets the last segment of the path.
func (Gerrit) Sign(r *Request, secret string) { r.Token = secret }

// Describe makes a delivery id of the body, because Gerrit has none. What Gerrit sends again is the same to the byte, and
// eventCreatedOn keeps apart what happens twice; without it every delivery is a new event.
func (Gerrit) Describe(r Request, payload []byte) (Delivery, error) {
	d := Delivery{Metadata: pick(r.Headers, []string{gerritOrigin}, ""), Host: hostOf(r.Headers[gerritOrigin])}
	names, err := read(payload,
		field{"project", &d.Repository}, field{"project.name", &d.Repository}, field{"projectName", &d.Repository},
		field{"change.project", &d.Repository}, field{"refUpdate.project", &d.Repository})
	if err != nil {
		return Delivery{}, err
	}
	if slices.Contains(names, "eventCreatedOn") {
		sum := sha256.Sum256(payload)
		d.ID = hex.EncodeToString(sum[:])
	}
	return d, nil
}
