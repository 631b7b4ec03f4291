package webhook

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Custom is a profile of somebody else's, held to the rules that ours keep: no secret is empty, the payload is JSON, and
// no credential becomes metadata.
func Custom(p Profile) Profile { return custom{p} }

type custom struct{ Profile }

// Verify hands on the secrets that are not empty, and refuses if there is none.
func (c custom) Verify(r Request, secrets []string) error {
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return s == "" })
	if len(secrets) == 0 {
		return events.Errorf(events.CodeForbidden, "the secret of the topic has no value: set it, at the sender too")
	}
	return c.Profile.Verify(r, secrets)
}

// Describe checks the document, and what the profile says about it.
func (c custom) Describe(r Request, payload []byte) (Delivery, error) {
	if !jsontext.Value(payload).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		return Delivery{}, events.Errorf(events.CodeInvalid, "the body is not valid JSON")
	}
	d, err := c.Profile.Describe(r, payload)
	if err != nil {
		return Delivery{}, err
	}
	chosen := events.Metadata{}
	for name, value := range d.Metadata.Sorted() {
		if lower := strings.ToLower(name); value != "" && !SecretHeader(lower) { // whatever the case, it is the same header
			chosen[lower] = value
		}
	}
	d.Metadata = chosen
	return d, nil
}
