package webhook

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// HMAC is the profile of any sender that signs the body with HMAC-SHA-256, described by its configuration.
type HMAC struct {
	Signature Signature
	// DeliveryID says what identifies a delivery; nil if nothing does.
	DeliveryID *events.Selector
	// Metadata are the names of the headers that subscribers may see, or patterns that end in "*".
	Metadata []string
	// Promoted are names of metadata that deserve an attribute of their own.
	Promoted []string
}

var _ Profile = HMAC{}

// Verify checks the configured header.
func (p HMAC) Verify(r Request, secrets []string) error { return p.Signature.verify(r, secrets) }

// Describe follows the configuration.
func (p HMAC) Describe(r Request, payload []byte) (Delivery, error) {
	if err := members(payload, func(*jsontext.Decoder, string) error { return nil }); err != nil {
		return Delivery{}, err
	}
	d := Delivery{Metadata: pick(r.Headers, slices.Concat(p.Metadata, p.Promoted), p.Signature.Header), Promoted: p.Promoted}
	if p.DeliveryID != nil {
		// An ID is seen by everybody, so nothing secret can be one.
		d.ID, _ = p.DeliveryID.Select(pick(r.Headers, []string{"*"}, p.Signature.Header), payload)
	}
	return d, nil
}
