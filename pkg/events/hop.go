package events

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Outcome is how a function ended its work on one event.
type Outcome string

// The outcomes of a hop.
const (
	OutcomeOK      Outcome = "ok"      // done, with all its effects
	OutcomeDropped Outcome = "dropped" // understood, and not for us
	OutcomeRetry   Outcome = "retry"   // failed; comes again
	OutcomeDefer   Outcome = "defer"   // comes again at a known time
	OutcomePark    Outcome = "park"    // moved to the dead-letter queue
	OutcomeRefused Outcome = "refused" // not let in; the sender knows
)

// Hop is one step on the path of an event: what one function made of it.
type Hop struct {
	Time     time.Time `json:"time"`
	Event    string    `json:"event"` // ID, or the queue's message id where the ID is not readable
	Topic    string    `json:"topic,omitempty"`
	Function string    `json:"function"`
	Outcome  Outcome   `json:"outcome"`
	Reason   string    `json:"reason,omitempty"`
	Code     Code      `json:"code,omitempty"`    // of the error, if there is one
	Accepted time.Time `json:"accepted,omitzero"` // when the event came in
	Attempt  int       `json:"attempt,omitempty"` // receive count of the message
	// TraceParent is the W3C trace context of the event, where it is known.
	TraceParent string `json:"traceparent,omitempty"`
	// Milliseconds is how long the function worked on it.
	Milliseconds float64 `json:"ms"`
	Notes        []Note  `json:"notes,omitempty"`
}

// Since returns the milliseconds since t, for [Hop.Milliseconds].
func Since(t time.Time) float64 { return float64(time.Since(t)) / float64(time.Millisecond) }

// Note says what a function did with an event, for example {"entity", "component:default/petstore"}.
type Note struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// Kinds of notes that tools know about.
const (
	NotePublished    = "published"    // ID of an event that was published because of this one
	NoteEntity       = "entity"       // "+", "~" or "-" and an entityRef: added, changed, removed
	NoteNotification = "notification" // ID and recipient of a stored notification
	NoteCount        = "count"        // something worth counting
	NoteClaimCheck   = "claim check"  // key of the payload of an event that is too large for a message
)

// Observer is told of every hop.
type Observer interface {
	Observe(ctx context.Context, h Hop)
}

// LogObserver writes every hop as one line to a logger: the message "hop" and all fields of the [Hop] that are not
// empty. Time is called start there, since the line has a time of its own.
type LogObserver struct {
	Logger *slog.Logger
}

// Observe logs h: at level error if it was parked, warning if it will be tried again, else info.
func (l LogObserver) Observe(ctx context.Context, h Hop) {
	level := slog.LevelInfo
	switch h.Outcome {
	case OutcomePark:
		level = slog.LevelError
	case OutcomeRetry, OutcomeDefer:
		level = slog.LevelWarn
	case OutcomeOK, OutcomeDropped, OutcomeRefused:
	}
	attrs := []slog.Attr{
		slog.String("event", h.Event), slog.String("function", h.Function), slog.String("topic", h.Topic),
		slog.String("outcome", string(h.Outcome)), slog.Float64("ms", h.Milliseconds),
	}
	if h.Attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", h.Attempt))
	}
	if h.Code != "" {
		attrs = append(attrs, slog.String("code", string(h.Code)))
	}
	if h.Reason != "" {
		attrs = append(attrs, slog.String("reason", h.Reason))
	}
	if !h.Time.IsZero() {
		attrs = append(attrs, slog.String("start", h.Time.UTC().Format(time.RFC3339Nano)))
	}
	if !h.Accepted.IsZero() {
		attrs = append(attrs, slog.String("accepted", h.Accepted.UTC().Format(time.RFC3339Nano)))
	}
	if h.TraceParent != "" {
		attrs = append(attrs, slog.String("traceparent", h.TraceParent))
	}
	if len(h.Notes) > 0 {
		attrs = append(attrs, slog.Any("notes", loggedNotes(h.Notes)))
	}
	l.Logger.LogAttrs(ctx, level, "hop", attrs...)
}

// loggedNotes are notes in a log: a JSON array in every format, so that they can be read again.
type loggedNotes []Note

// MarshalJSON implements json.Marshaler.
func (n loggedNotes) MarshalJSON() ([]byte, error) {
	// What comes from outside need not be text, and a note must not take the others with it.
	return json.Marshal([]Note(n), jsontext.AllowInvalidUTF8(true))
}

// MarshalText implements encoding.TextMarshaler.
func (n loggedNotes) MarshalText() ([]byte, error) { return n.MarshalJSON() }

type notesKey struct{}

// notes collects the notes of one event; its subscriber may take them from several goroutines.
type notes struct {
	mu   sync.Mutex
	list []Note
}

// AddNote adds a note to the hop that ctx belongs to. Without one it does nothing.
func AddNote(ctx context.Context, kind, value string) {
	if n, ok := ctx.Value(notesKey{}).(*notes); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.list = append(n.list, Note{kind, value})
	}
}

func withNotes(ctx context.Context) (context.Context, *notes) {
	n := &notes{}
	return context.WithValue(ctx, notesKey{}, n), n
}

func (n *notes) take() []Note {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.list
}
