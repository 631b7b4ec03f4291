package webhook

// Basic is the profile of any sender that authenticates as RFC 7617 says, with a secret as the password of a user of
// any name.
type Basic struct{ Generic }

var _ Profile = Basic{}

// Verify checks the password.
func (Basic) Verify(r Request, secrets []string) error { return verifyBasic(r, secrets) }

// Sign sets user and password.
func (Basic) Sign(r *Request, secret string) { signBasic(r, secret) }

// Describe follows the configuration.
func (p Basic) Describe(r Request, payload []byte) (Delivery, error) {
	return p.describe(r, payload, "")
}
