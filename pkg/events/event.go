// Package events is the library of Callboard's event system: the event, its wire format on SQS and SNS,
// publishers, subscribers and routers, and the handler of an SQS batch.
//
// It imports nothing of AWS. Transports are in sub-packages: [memory] for one process, the embedded engine
// of the callboard command, and adapters for AWS.
//
// [memory]: https://pkg.go.dev/github.com/callboard/callboard/pkg/events/memory
package events

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Event is something that happened, as every subscriber gets it. An event may arrive more than once and in
// any order.
type Event struct {
	// ID is "<topic>:<delivery id>" with the topic at which the event came in. The same delivery always has
	// the same ID, whatever topic it is read from.
	ID string
	// Topic is the topic or sub-topic it is published to, for example "github" or "github.push".
	Topic string
	// Payload is the JSON document as its sender wrote it. It is empty only where a subscriber has said that it does
	// not read it, see [PayloadReader].
	Payload jsontext.Value
	// Metadata are the allow-listed headers of the request, or the attributes of the message, it came with.
	Metadata Metadata
	// Time is when the event was accepted; UTC, in milliseconds.
	Time time.Time
	// TraceParent is the W3C trace context the event belongs to, or "".
	TraceParent string
	// Promoted names the metadata, at most [MaxPromoted], that travel as message attributes of their own, so
	// that filter policies and consumers other than Callboard see them. Names have no case, as in Metadata.
	Promoted []string
	// Group names the tenant whose events should not delay those of others: the MessageGroupId of the
	// message. See [Group]; "" stands for the topic.
	Group string
	// Again is set where a person had a dead letter replayed for subscribers that are done with it. The same event
	// with another value is to be handled once more; "" is what everybody else sends. See [Event.Key].
	Again string

	claim *claim // nil unless the event came as a claim check
}

// Key is what tells a subscriber whether it has handled an event, beside its own name and the topic: the ID, and
// Again where it is set.
func (e Event) Key() string {
	if e.Again == "" {
		return e.ID
	}
	return e.ID + " " + e.Again // no ID has a space
}

// Metadata maps lower-case names to values. Look values up with [Metadata.Get]; an absent name is absent,
// it is not an empty value.
//
// Names have no case: an event that is published with other names arrives with lower-case ones. Of names that differ in
// case only the last in the order of their bytes counts, so that of "X-Type" and "x-type" it is the second.
type Metadata map[string]string

// Get returns the value of a name in any case, and whether there is one.
func (m Metadata) Get(name string) (string, bool) {
	v, ok := m[strings.ToLower(name)]
	return v, ok
}

// Set stores a value under the lower-case form of name.
func (m Metadata) Set(name, value string) { m[strings.ToLower(name)] = value }

// lower returns the metadata with lower-case names; m itself if it has no others.
func (m Metadata) lower() Metadata {
	is := true
	for name := range m {
		is = is && name == lowerName(name)
	}
	if is {
		return m
	}
	all := make(Metadata, len(m))
	for name, value := range m.Sorted() {
		all[lowerName(name)] = value
	}
	return all
}

// lowerName returns a name in lower case. One that is not UTF-8 stays as it is, so that it is refused and does not become
// another one.
func lowerName(s string) string {
	if !utf8.ValidString(s) {
		return s
	}
	return strings.ToLower(s)
}

// Sorted iterates over names and values in the order of the names.
func (m Metadata) Sorted() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}
