package webhook

// HMAC is the profile of any sender that signs the body with HMAC-SHA-256, described by its configuration.
type HMAC struct {
	Generic
	Signature Signature
}

var _ Profile = HMAC{}

// Verify checks the configured header.
func (p HMAC) Verify(r Request, secrets []string) error { return p.Signature.verify(r, secrets) }

// Sign sets the configured header.
func (p HMAC) Sign(r *Request, secret string) { p.Signature.set(r, secret) }

// Describe follows the configuration.
func (p HMAC) Describe(r Request, payload []byte) (Delivery, error) {
	return p.describe(r, payload, p.Signature.Header)
}
