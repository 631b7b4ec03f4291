package events_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// Whatever an event is: its message is one that AWS takes, and the same event again, or there is none.
func FuzzEncode(f *testing.F) {
	f.Add([]byte(`{"a":1}`), "github.push", "github:1", "x-github-event", "push", "group", int64(1767323045))
	f.Add([]byte("\"\ufffe\uffff\""), "a", "b", "x-events-id", "\ufffe", "", int64(-1<<40))
	f.Add([]byte("\xff"), "a..b", " ", "", "\x00", "\x7f", int64(1<<40))
	f.Fuzz(func(t *testing.T, payload []byte, topic, id, name, value, group string, seconds int64) {
		e := events.Event{
			ID: id, Topic: topic, Payload: payload, Group: group, Time: time.Unix(seconds, 0).UTC(),
			Metadata: events.Metadata{}, Promoted: []string{name},
		}
		e.Metadata.Set(name, value)
		m, err := events.Encode(e)
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid && code != events.CodeTooLarge {
				t.Fatalf("error code %q", code)
			}
			return
		}
		if err := m.Validate(events.MaxMessageSize); err != nil || len(m.Attributes) > 7 {
			t.Fatalf("the message has %d attributes, %v", len(m.Attributes), err)
		}
		again, err := events.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := e.Metadata.Get(name)
		if got, _ := again.Metadata.Get(name); again.ID != id || again.Topic != topic || !again.Time.Equal(e.Time) || got != want {
			t.Fatalf("%+v became %+v", e, again)
		}
		if again.Group != group && group != "" || !bytes.Equal(again.Payload, escaped(payload)) {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}
