package webhook

import "maps"

// Message is the profile of a provider whose webhooks come as messages of a queue: the attributes of a message stand in
// the place of headers. Whoever fills the queue chose them, so all of them become metadata and not only those that the
// profile allows. Credentials and signatures never do.
type Message struct{ Profile }

var _ Profile = Message{}

// Describe adds the attributes to what the profile says.
func (m Message) Describe(r Request, payload []byte) (Delivery, error) {
	d, err := m.Profile.Describe(r, payload)
	if err != nil {
		return Delivery{}, err
	}
	all := pick(r.Headers, []string{"*"}, "")
	maps.Copy(all, d.Metadata)
	d.Metadata = all
	return d, nil
}

// Sign signs as the sender does, where its profile can.
func (m Message) Sign(r *Request, secret string) {
	if s, ok := m.Profile.(interface {
		Sign(r *Request, secret string)
	}); ok {
		s.Sign(r, secret)
	}
}
