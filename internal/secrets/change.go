package secrets

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/callboard/callboard/pkg/events"
)

// New returns a random value of 256 bits, in hex: as a path, a header and a password it needs no escaping, and senders that
// follow Standard Webhooks can read it as the base64 form of a key.
func New() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return hex.EncodeToString(key)
}

// Fingerprint names a value without telling it: the first 8 hex digits of its SHA-256.
func Fingerprint(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:4])
}

// Added returns values with one more, which comes first: the newest is what Callboard itself sends and signs with. A
// value that is there already moves to the front.
func Added(values []string, value string) []string {
	return append([]string{value}, slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == value })...)
}

// Retired returns values without the one that has the fingerprint, or with the newest only if that is "". It fails with
// [events.CodeNotFound] where no value has the fingerprint, and with [events.CodeInvalid] where none would be left.
func Retired(values []string, fingerprint string) ([]string, error) {
	if fingerprint == "" {
		return slices.Clone(values[:1]), nil
	}
	kept := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return Fingerprint(v) == fingerprint })
	switch len(kept) {
	case len(values):
		return nil, events.Errorf(events.CodeNotFound, "no live value has the fingerprint %s", fingerprint)
	case 0:
		return nil, events.Errorf(events.CodeInvalid, "%s is the only live value, and without one everything would be refused: add another one first", fingerprint)
	}
	return kept, nil
}

// stored is how values are stored.
func stored(values []string) string {
	var b []byte
	for _, v := range values {
		b = append(append(b, v...), '\n')
	}
	return string(b)
}
