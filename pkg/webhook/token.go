package webhook

import (
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// Token is the profile of any sender that shows a secret and signs nothing: in a header, or in the address.
type Token struct {
	Generic
	// Header has the secret; lower-case name. If it is "", the last segment of the path has it.
	Header string
	// Prefix is what stands before the secret in the header, such as "Bearer ".
	Prefix string
}

var _ Profile = Token{}

// Verify checks header or path, whichever is configured.
func (p Token) Verify(r Request, secrets []string) error {
	if p.Header == "" {
		return verifyPath(r, secrets)
	}
	value, _ := r.Headers.Get(p.Header)
	if value == "" {
		return events.Errorf(events.CodeForbidden, "the header %s is missing: set it to the secret of this topic at the sender", p.Header)
	}
	given, ok := strings.CutPrefix(value, p.Prefix)
	if !ok {
		return errSecret
	}
	return verifySecret(given, secrets)
}

// Sign sets the header or the last segment of the path.
func (p Token) Sign(r *Request, secret string) {
	if p.Header == "" {
		r.Token = secret
		return
	}
	r.Headers.Set(p.Header, p.Prefix+secret)
}

// Describe follows the configuration.
func (p Token) Describe(r Request, payload []byte) (Delivery, error) {
	return p.describe(r, payload, p.Header)
}

// verifyPath checks the last segment of the path.
func verifyPath(r Request, secrets []string) error {
	if r.Token == "" {
		return events.Errorf(events.CodeForbidden, "the address has no secret: add \"/\" and the secret of this topic to it at the sender")
	}
	return verifySecret(r.Token, secrets)
}
