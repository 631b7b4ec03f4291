package webhook

import (
	"slices"

	"github.com/callboard/callboard/pkg/events"
)

// Generic is what the configuration says about webhooks that no profile knows.
type Generic struct {
	// DeliveryID says what identifies a delivery; nil if nothing does.
	DeliveryID *events.Selector
	// Metadata are the names of the headers that subscribers may see, or patterns that end in "*".
	Metadata []string
	// Promoted are names of metadata that deserve an attribute of their own.
	Promoted []string
}

// describe follows the configuration; the header called never holds the secret or signature.
func (g Generic) describe(r Request, payload []byte, never string) (Delivery, error) {
	if _, err := read(payload); err != nil {
		return Delivery{}, err
	}
	d := Delivery{Metadata: pick(r.Headers, slices.Concat(g.Metadata, g.Promoted), never), Promoted: g.Promoted}
	if g.DeliveryID != nil {
		// An ID is seen by everybody, so nothing secret can be one.
		d.ID, _ = g.DeliveryID.Select(pick(r.Headers, []string{"*"}, never), payload)
	}
	return d, nil
}
