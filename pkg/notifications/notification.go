// Package notifications is the library of Callboard's notifications: what a person is told, how urgent it is
// and who is meant. Names and JSON are those of Backstage's notifications, so that its user interface and
// clients understand them.
package notifications

import (
	"cmp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Notification is something that a user was told. Times are UTC; a zero one means never.
type Notification struct {
	ID      string
	User    string // entityRef in normal form
	Created time.Time
	Updated time.Time // when a later send with the same scope last replaced the payload
	Read    time.Time
	Saved   time.Time
	Origin  string // who sent it: the subject of a service, or a rule
	Payload Payload
}

// timeLayout is how Backstage writes times: UTC in milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes n as Backstage does in the answers to reads: what is missing is an explicit null.
func (n Notification) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID      string  `json:"id"`
		User    string  `json:"user"`
		Created string  `json:"created"`
		Saved   *string `json:"saved"`
		Read    *string `json:"read"`
		Updated *string `json:"updated"`
		Origin  string  `json:"origin"`
		Payload Payload `json:"payload"`
	}{
		n.ID, n.User, n.Created.UTC().Format(timeLayout), optionalTime(n.Saved), optionalTime(n.Read), optionalTime(n.Updated),
		n.Origin, n.Payload,
	})
}

func optionalTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC().Format(timeLayout))
}

// Payload is the content of a notification. Only the title is required; see [Payload.Validate] for the limits.
// In JSON read from outside null means the same as absent.
type Payload struct {
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Link        string   `json:"link"`
	Severity    Severity `json:"severity"` // "" means [SeverityNormal]
	Topic       string   `json:"topic"`
	// Scope makes a later send of the same origin to the same user replace this notification.
	Scope string `json:"scope"`
	Icon  string `json:"icon"`
	// Metadata is a JSON object for those who render the notification, or nil.
	Metadata jsontext.Value `json:"metadata"`
}

// MarshalJSON writes p with explicit nulls. Metadata are left out where there are none.
func (p Payload) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Title       string         `json:"title"`
		Description *string        `json:"description"`
		Link        *string        `json:"link"`
		Severity    Severity       `json:"severity"`
		Topic       *string        `json:"topic"`
		Scope       *string        `json:"scope"`
		Icon        *string        `json:"icon"`
		Metadata    jsontext.Value `json:"metadata,omitzero"`
	}{
		p.Title, optional(p.Description), optional(p.Link), cmp.Or(p.Severity, SeverityNormal),
		optional(p.Topic), optional(p.Scope), optional(p.Icon), p.metadata(),
	})
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// metadata is p.Metadata without the ways to say that there are none.
func (p Payload) metadata() jsontext.Value {
	if len(p.Metadata) == 0 || p.Metadata.Kind() == jsontext.KindNull {
		return nil
	}
	return p.Metadata
}

// Severity says how urgent a notification is.
type Severity string

// The severities, most severe first.
const (
	SeverityCritical Severity = "critical"
	SeverityHigh     Severity = "high"
	SeverityNormal   Severity = "normal"
	SeverityLow      Severity = "low"
)

// Rank orders severities: 0 is the most severe, and "" ranks as [SeverityNormal]. It is -1 for anything that is
// not a severity.
func (s Severity) Rank() int {
	switch s {
	case SeverityCritical:
		return 0
	case SeverityHigh:
		return 1
	case SeverityNormal, "":
		return 2
	case SeverityLow:
		return 3
	}
	return -1
}
