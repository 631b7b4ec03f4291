package webhook

import "errors"

// None is the profile of senders that cannot prove who they are.
type None struct{ Generic }

var _ Profile = None{}

// Verify accepts everything.
func (None) Verify(Request, []string) error { return nil }

// Sign does nothing.
func (None) Sign(*Request, string) {}

// Describe follows the configuration.
func (p None) Describe(r Request, payload []byte) (Delivery, error) {
	return p.describe(r, payload, "")
}

// Unverified is a profile whose webhooks are not verified, because something before them does it: the network, a
// list of addresses, another gateway.
type Unverified struct{ Profile }

// Verify accepts everything but what is no event.
func (u Unverified) Verify(r Request, _ []string) error {
	if err := u.Profile.Verify(r, nil); errors.Is(err, ErrTest) {
		return err
	}
	return nil
}

// Sign does nothing.
func (Unverified) Sign(*Request, string) {}
