package webhook

import (
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// BitbucketDataCenter is the profile of Bitbucket Data Center, once called Bitbucket Server
// (https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html).
type BitbucketDataCenter struct{}

var _ Profile = BitbucketDataCenter{}

// bitbucketPing is the event of the button that tests the connection; it is not signed.
const bitbucketPing = "diagnostics:ping"

var bitbucketDataCenterShapes = map[string]shape{
	"repo:refs_changed": {needs: []string{"changes", "repository"}},
	"repo:modified":     {needs: []string{"old", "new"}},
	"repo":              {lacks: []string{"pullRequest"}},
	"pr":                {needs: []string{"pullRequest"}},
	"mirror":            {lacks: []string{"pullRequest"}},
}

// Verify checks X-Hub-Signature, or the password of Basic authentication in requests that are not signed. The
// connection test is [ErrTest], signed or not; where it is signed, the signature has to be right.
func (BitbucketDataCenter) Verify(r Request, secrets []string) error {
	err := verifyDataCenter(r, secrets)
	if r.Headers[bitbucketEvent] == bitbucketPing && (err == nil || !hasCredentials(r)) {
		return ErrTest
	}
	return err
}

func verifyDataCenter(r Request, secrets []string) error {
	if r.Headers[BitbucketSignature.Header] == "" && r.Headers["authorization"] != "" {
		return verifyBasic(r, secrets)
	}
	return BitbucketSignature.verify(r, secrets)
}

func hasCredentials(r Request) bool {
	return r.Headers[BitbucketSignature.Header] != "" || r.Headers["authorization"] != ""
}

// Sign sets X-Hub-Signature.
func (BitbucketDataCenter) Sign(r *Request, secret string) {
	if r.Headers[bitbucketEvent] != bitbucketPing {
		BitbucketSignature.set(r, secret)
	}
}

// Describe takes the delivery id from X-Request-Id.
func (BitbucketDataCenter) Describe(r Request, payload []byte) (Delivery, error) {
	var key, project, repository, self string
	names, err := read(payload, field{"eventKey", &key},
		field{"pullRequest.toRef.repository.project.key", &project}, field{"repository.project.key", &project},
		field{"pullRequest.toRef.repository.slug", &repository}, field{"repository.slug", &repository},
		field{"pullRequest.toRef.repository.links.self.href", &self}, field{"repository.links.self.href", &self})
	if err != nil {
		return Delivery{}, err
	}
	if event := r.Headers[bitbucketEvent]; event != "" && key != "" && dataCenterEvent(event) != dataCenterEvent(key) {
		return Delivery{}, events.Errorf(events.CodeInvalid, "the header X-Event-Key is %.50q, but the eventKey of the body is %.50q: does something change the headers on their way?", event, key)
	}
	if err := fitsBitbucket(r, bitbucketDataCenterShapes, names); err != nil {
		return Delivery{}, err
	}
	d := Delivery{
		ID:       r.Headers["x-request-id"],
		Metadata: pick(r.Headers, []string{bitbucketEvent, "x-request-id"}, BitbucketSignature.Header),
		Promoted: []string{bitbucketEvent, "x-request-id"},
		Host:     hostOf(self),
	}
	if project != "" && repository != "" {
		d.Repository = project + "/" + repository
	}
	return d, nil
}

// dataCenterEvent returns the event of a key. Atlassian's documentation and its servers have two keys for the same one.
func dataCenterEvent(key string) string {
	if key == "pr:reviewer:needs_work" {
		return "pr:reviewer:changes_requested"
	}
	return key
}

// fitsBitbucket checks the shape of an event key, or of the family it belongs to.
func fitsBitbucket(r Request, shapes map[string]shape, names []string) error {
	event := r.Headers[bitbucketEvent]
	family, _, _ := strings.Cut(event, ":")
	if s, ok := shapes[event]; ok {
		return s.fits(event, names)
	}
	return shapes[family].fits(event, names)
}
