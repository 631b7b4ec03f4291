package events_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/events"
)

// nastyText is any text, with what JSON, SQS and programs trip over made frequent.
func nastyText() *rapid.Generator[string] {
	special := rapid.SampledFrom([]string{
		"\x00", "\x01", "\t", "\r\n", "\x7f", `"`, `\`, "/", "\ufffe", "\uffff", "\ufffd", "\ufeff", "\u2028", "\u0085",
		"ä", "😀", "\U0010ffff", "e\u0301", "\u202e", "%00", "<script>", "${jndi:x}",
	})
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.OneOf(special, rapid.String()), 0, 6).Draw(t, "text"), "")
	})
}

func topics() *rapid.Generator[string] {
	return rapid.StringMatching(`[A-Za-z0-9_:-]{1,20}(\.[A-Za-z0-9_:-]{1,20}){0,3}`)
}

func metadataNames() *rapid.Generator[string] {
	return rapid.Map(rapid.OneOf(
		rapid.StringMatching(`x-[a-z0-9-]{1,20}`),
		rapid.SampledFrom([]string{
			"", ".", "a..b", "aws.x", "amazon.x", ".x", "x.", "a b", "ä", "x-events", "x-events-id", "x-events-more",
			"extendedpayloadsize", strings.Repeat("n", 256), strings.Repeat("n", 257), "x_y.z",
		}),
		nastyText(),
	), strings.ToLower)
}

// jsonPayload is a JSON document with odd whitespace and, like those of careless senders, names that occur twice.
func jsonPayload(t *rapid.T) []byte {
	var b []byte
	space := rapid.SampledFrom([]string{"", " ", "\n\t", "\r\n  "})
	b = append(b, space.Draw(t, "space")...)
	b = append(b, '{')
	for i, s := range rapid.SliceOfN(nastyText(), 0, 5).Draw(t, "values") {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, space.Draw(t, "space")...)
		b = append(b, `"name":`...)
		quoted, err := jsontext.AppendQuote(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, quoted...)
	}
	b = append(b, "}"...)
	return append(b, space.Draw(t, "space")...)
}

func anyEvent(t *rapid.T) events.Event {
	topic := topics().Draw(t, "topic")
	metadata := events.Metadata(rapid.MapOfN(metadataNames(), nastyText(), 0, 70).Draw(t, "metadata"))
	promoted := rapid.SliceOfN(metadataNames(), 0, 5).Draw(t, "promoted")
	for name := range metadata.Sorted() {
		if rapid.Bool().Draw(t, "promote") {
			promoted = append(promoted, name)
		}
	}
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC)
	return events.Event{
		ID:          events.NewID(topic, nastyText().Draw(t, "delivery")),
		Topic:       topic,
		Payload:     jsonPayload(t),
		Metadata:    metadata,
		Time:        time.UnixMilli(rapid.Int64Range(first.UnixMilli(), last.UnixMilli()).Draw(t, "time")).UTC(),
		TraceParent: nastyText().Draw(t, "traceparent"),
		Again:       nastyText().Draw(t, "again"),
		Promoted:    promoted,
		Group:       rapid.StringMatching(`[!-~]{1,128}`).Draw(t, "group"),
	}
}

// escaped is the JSON text with the only two code points replaced that SQS refuses and JSON can escape.
func escaped(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\ufffe"), []byte(`\ufffe`))
	return bytes.ReplaceAll(b, []byte("\uffff"), []byte(`\uffff`))
}

func TestEncode_DecodeReturnsTheEvent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		m, err := events.Encode(e)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		got, err := events.Decode(m)
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		for _, name := range got.Promoted {
			if !slices.Contains(e.Promoted, name) {
				t.Errorf("%q is promoted, which nobody asked for", name)
			}
		}
		want := e
		want.Payload, want.Promoted = escaped(e.Payload), got.Promoted
		if diff := cmp.Diff(want, got); diff != "" || !got.Equal(want) {
			t.Fatalf("the event changed (-sent +received):\n%s", diff)
		}
		again, err := events.Encode(got)
		if err != nil {
			t.Fatalf("encode again: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("the message of a received event differs from the first one:\n%s", diff)
		}
	})
}

// Names of metadata have no case, whoever publishes: they arrive in lower case, promoted ones too.
func TestEncode_NamesHaveNoCase(t *testing.T) {
	t.Parallel()
	e := validEvent()
	e.Metadata = events.Metadata{"X-Type": "push", "X-Both": "capital", "x-both": "lower", "X-Éa": "odd", "X-Other": "o", "X-OTHER": "lost"}
	e.Promoted = []string{"X-TYPE", "X-Both", "x-both"}
	published := maps.Clone(e.Metadata)
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(published, e.Metadata); diff != "" {
		t.Errorf("publishing changed the metadata of the publisher (-before +after):\n%s", diff)
	}
	for name, want := range map[string]string{"x-type": "push", "x-both": "lower"} {
		if got := m.Attributes[name].StringValue; got != want {
			t.Errorf("attribute %s is %q, want %q", name, got, want)
		}
	}
	got, err := events.Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	want := events.Metadata{"x-type": "push", "x-both": "lower", "x-éa": "odd", "x-other": "o"}
	if diff := cmp.Diff(want, got.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"x-both", "x-type"}, got.Promoted); diff != "" {
		t.Errorf("promoted (-want +got):\n%s", diff)
	}
	if v, ok := got.Metadata.Get("X-Type"); !ok || v != "push" {
		t.Errorf("X-Type is %q, %t", v, ok)
	}

	// The same of a message of somebody else, each time.
	m.Attributes[events.AttributeEvents] = events.Attribute{DataType: "String", StringValue: `{"v":1,"time":"2026-01-02T03:04:05.006Z","metadata":{"X-Éa":"odd","x-both":"packed"}}`}
	m.Attributes["X-BOTH"] = events.Attribute{DataType: "String", StringValue: "capital"}
	for range 20 {
		got, err := events.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		want := events.Metadata{"x-type": "push", "x-both": "lower", "x-éa": "odd"}
		if diff := cmp.Diff(want, got.Metadata); diff != "" || len(got.Promoted) != 2 {
			t.Fatalf("promoted are %q, metadata (-want +got):\n%s", got.Promoted, diff)
		}
	}
}

// Whatever the names are: the event that arrives is the same, with names in lower case, and stays so on later hops.
func TestEncode_AnyCase(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		names := rapid.OneOf(metadataNames(), rapid.StringMatching(`[xX]-[aAbB]{1,2}`), nastyText())
		e.Metadata = rapid.MapOfN(names, nastyText(), 0, 10).Draw(t, "metadata")
		e.Promoted = rapid.SliceOfN(names, 0, 5).Draw(t, "promoted")
		m, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := events.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		for name := range got.Metadata {
			if name != strings.ToLower(name) {
				t.Errorf("%q arrives with capital letters", name)
			}
		}
		want := e
		want.Payload, want.Promoted = escaped(e.Payload), got.Promoted
		if !got.Equal(want) {
			t.Errorf("sent %+v, received %+v", want, got)
		}
		if again, err := events.Encode(got); err != nil || !cmp.Equal(m, again) {
			t.Errorf("the message of a received event differs from the first one, %v:\n%s", err, cmp.Diff(m, again))
		}
	})
}

// An event whose names are written in another way is the same.
func TestEvent_EqualHasNoCase(t *testing.T) {
	t.Parallel()
	a, b := validEvent(), validEvent()
	a.Metadata, a.Promoted = events.Metadata{"X-Type": "push"}, []string{"X-Type"}
	b.Metadata, b.Promoted = events.Metadata{"x-type": "push"}, []string{"x-type"}
	if !a.Equal(b) {
		t.Error("they differ in case only, and are not equal")
	}
	b.Metadata["x-type"] = "Push"
	if a.Equal(b) {
		t.Error("a value that differs in case makes no difference")
	}
}

func TestEncode_PromotesWhatItIsAskedTo(t *testing.T) {
	t.Parallel()
	e := validEvent()
	e.Metadata = events.Metadata{"x-a": "1", "x-b": "2", "x-c": "3", "x-d": "4", "x-empty": "", "x-odd": "\x01", "x-events-own": "5"}
	e.Promoted = []string{"x-absent", "x-empty", "x-odd", "x-events-own", "x-d", "x-c", "x-d", "x-b", "x-a"}
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x-d": "4", "x-c": "3", "x-b": "2"} {
		if got := m.Attributes[name].StringValue; got != want {
			t.Errorf("attribute %s is %q, want %q: the first three that can be attributes are promoted", name, got, want)
		}
	}
	if len(m.Attributes) != 6 {
		t.Errorf("the message has %d attributes, want 3 of ours and 3 promoted: %v", len(m.Attributes), m.Attributes)
	}
	packed := m.Attributes[events.AttributeEvents].StringValue
	const want = `{"v":1,"time":"2026-01-02T03:04:05.006Z","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",` +
		`"metadata":{"x-a":"1","x-empty":"","x-events-own":"5","x-odd":"\u0001"}}`
	if packed != want {
		t.Errorf("attribute x-events is\n%s\nwant\n%s", packed, want)
	}
}

// Whatever Encode returns is accepted by AWS, also after somebody parks it with three more attributes.
func TestEncode_ReturnsNothingThatAWSRefuses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		switch rapid.IntRange(0, 5).Draw(t, "damage") {
		case 0:
			e.Payload = rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		case 1:
			e.Metadata[rapid.SampledFrom([]string{"x-bytes", "\xff"}).Draw(t, "name")] = string(rapid.SliceOf(rapid.Byte()).Draw(t, "value"))
		case 2:
			e.ID = nastyText().Draw(t, "id")
		case 3:
			e.Topic = nastyText().Draw(t, "topic")
		case 4:
			e.Group = nastyText().Draw(t, "group")
		}
		limit := rapid.SampledFrom([]int{0, 1000, 10_000, events.MaxSQSMessageSize}).Draw(t, "limit")
		m, err := events.Encoder{MaxSize: limit}.Encode(e)
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid && code != events.CodeTooLarge {
				t.Fatalf("error code %q of %v, want %q or %q", code, err, events.CodeInvalid, events.CodeTooLarge)
			}
			return
		}
		if limit == 0 {
			limit = events.MaxMessageSize
		}
		if err := m.Validate(limit); err != nil {
			t.Fatalf("AWS would refuse the message: %v", err)
		}
		if len(m.Attributes) > 7 {
			t.Fatalf("the message has %d attributes, more than 7", len(m.Attributes))
		}
		for _, name := range []string{events.AttributeParkedReason, events.AttributeParkedFunction, events.AttributeParkedTime} {
			m.Attributes[name] = events.Attribute{DataType: "String", StringValue: "x"}
		}
		if err := m.Validate(events.MaxSQSMessageSize + 1000); err != nil {
			t.Fatalf("the message cannot be parked: %v", err)
		}
	})
}

func TestEncode_NeverMoreThanSevenAttributes(t *testing.T) {
	t.Parallel()
	e := validEvent()
	for i := range 200 {
		name := fmt.Sprintf("x-header-%d", i)
		e.Metadata[name] = "value"
		e.Promoted = append(e.Promoted, name)
	}
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Attributes); n > 7 {
		t.Errorf("the message has %d attributes, want at most 7", n)
	}
	if got, err := events.Decode(m); err != nil || len(got.Metadata) != len(e.Metadata) {
		t.Errorf("%d metadata arrived, %v; want all %d", len(got.Metadata), err, len(e.Metadata))
	}
}

func TestEncode_EscapesWhatSQSRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ payload, body string }{
		"U+FFFE":             {"{\"a\" :\t\"x\ufffey\"}", "{\"a\" :\t\"x\\ufffey\"}"},
		"U+FFFF in a name":   {"{\"\uffff\":1.50}", `{"\uffff":1.50}`},
		"behind backslashes": {"[\"\\\\\ufffe\"]", `["\\\ufffe"]`},
		"beside U+FFFD":      {"[\"\ufffd\ufffe\uffff\ufffd\"]", "[\"\ufffd\\ufffe\\uffff\ufffd\"]"},
		"escaped already":    {`["\ufffe\uFFFF"]`, `["\ufffe\uFFFF"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := validEvent()
			e.Payload = []byte(test.payload)
			m, err := events.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if m.Body != test.body {
				t.Errorf("the body is\n%q\nwant\n%q", m.Body, test.body)
			}
			sent, received := jsontext.Value(test.payload), jsontext.Value(m.Body)
			if err := sent.Canonicalize(); err != nil {
				t.Fatal(err)
			}
			if err := received.Canonicalize(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(sent, received) {
				t.Errorf("the document means %s, want %s", received, sent)
			}
		})
	}
}

// fill returns e with a payload of n bytes.
func fill(e events.Event, n int) events.Event {
	e.Payload = []byte(`"ä` + strings.Repeat("x", n-4) + `"`)
	return e
}

func TestEncode_LargestMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		limit := rapid.SampledFrom([]int{events.MaxMessageSize, events.MaxSQSMessageSize}).Draw(t, "limit")
		enc := events.Encoder{MaxSize: limit}
		small, err := enc.Encode(fill(e, 10))
		if err != nil {
			t.Fatal(err)
		}
		room := limit - (small.Size() - 10) - (events.MaxTopicLength - len(e.Topic))

		largest, err := enc.Encode(fill(e, room))
		if err != nil {
			t.Fatalf("a payload of %d bytes has to fit: %v", room, err)
		}
		if want := limit - (events.MaxTopicLength - len(e.Topic)); largest.Size() != want {
			t.Errorf("the largest message has %d bytes, want %d", largest.Size(), want)
		}
		if _, err := enc.Encode(fill(e, room+1)); events.ErrorCode(err) != events.CodeTooLarge {
			t.Errorf("one byte more: %v, want code %q", err, events.CodeTooLarge)
		}

		routed, err := events.Decode(largest)
		if err != nil {
			t.Fatal(err)
		}
		routed.Topic += strings.Repeat("s", events.MaxTopicLength-len(e.Topic))
		m, err := enc.Encode(routed)
		if err != nil {
			t.Fatalf("the message does not fit any more when a router has given it the longest topic: %v", err)
		}
		if err := m.Validate(limit); err != nil || m.Size() != limit {
			t.Errorf("the routed message has %d bytes, %v; want exactly %d", m.Size(), err, limit)
		}
	})
}

func TestEncode_CountsEscapes(t *testing.T) {
	t.Parallel()
	e := validEvent()
	e.Payload = []byte(`"` + strings.Repeat("\uffff", events.MaxMessageSize/4) + `"`)
	if _, err := events.Encode(e); events.ErrorCode(err) != events.CodeTooLarge {
		t.Errorf("error %v, want code %q: each code point takes six bytes", err, events.CodeTooLarge)
	}
}

func TestEncode_Refuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*events.Event){
		"no topic":          func(e *events.Event) { e.Topic = "" },
		"empty segment":     func(e *events.Event) { e.Topic = "a..b" },
		"topic with space":  func(e *events.Event) { e.Topic = "a b" },
		"long topic":        func(e *events.Event) { e.Topic = strings.Repeat("t", events.MaxTopicLength+1) },
		"no id":             func(e *events.Event) { e.ID = "" },
		"id with space":     func(e *events.Event) { e.ID = "a b" },
		"long id":           func(e *events.Event) { e.ID = strings.Repeat("i", 513) },
		"group with space":  func(e *events.Event) { e.Group = "a b" },
		"long group":        func(e *events.Event) { e.Group = strings.Repeat("g", 129) },
		"no payload":        func(e *events.Event) { e.Payload = nil },
		"control character": func(e *events.Event) { e.Payload = []byte("\"\x0b\"") },
		"invalid UTF-8":     func(e *events.Event) { e.Payload = []byte("\"\xff\"") },
		"half a character":  func(e *events.Event) { e.Payload = []byte("\"\xed\xa0\x80\"") },
		"metadata value":    func(e *events.Event) { e.Metadata["x"] = "\xff" },
		"metadata name":     func(e *events.Event) { e.Metadata["\xff"] = "x" },
		"traceparent":       func(e *events.Event) { e.TraceParent = "\xff" },
		"year 0":            func(e *events.Event) { e.Time = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) },
		"year 10000":        func(e *events.Event) { e.Time = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := validEvent()
			change(&e)
			if _, err := events.Encode(e); events.ErrorCode(err) != events.CodeInvalid {
				t.Errorf("error %v, want code %q", err, events.CodeInvalid)
			}
		})
	}
}

func TestEncode_GroupOfTheTopic(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 128, 129, events.MaxTopicLength} {
		e := validEvent()
		e.Topic, e.Group = strings.Repeat("t", n), ""
		m, err := events.Encode(e)
		if err != nil {
			t.Errorf("topic of %d bytes: %v", n, err)
			continue
		}
		if n <= 128 && m.GroupID != e.Topic || m.GroupID == "" || len(m.GroupID) > 128 {
			t.Errorf("topic of %d bytes: the group is %q", n, m.GroupID)
		}
	}
}

func TestEncode_TimeInMilliseconds(t *testing.T) {
	t.Parallel()
	e := validEvent()
	e.Time = time.Date(2026, 1, 2, 3, 4, 5, 678_999_999, time.FixedZone("", 2*60*60))
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.Decode(m)
	if want := time.Date(2026, 1, 2, 1, 4, 5, 678_000_000, time.UTC); err != nil || got.Time != want {
		t.Errorf("the time is %v, %v; want %v", got.Time, err, want)
	}
}

func TestDecode_Refuses(t *testing.T) {
	t.Parallel()
	packed := func(s string) func(events.Message) {
		return func(m events.Message) {
			m.Attributes[events.AttributeEvents] = events.Attribute{DataType: "String", StringValue: s}
		}
	}
	without := func(name string) func(events.Message) {
		return func(m events.Message) { delete(m.Attributes, name) }
	}
	for name, change := range map[string]func(events.Message){
		"no topic":      without(events.AttributeTopic),
		"no id":         without(events.AttributeID),
		"no x-events":   without(events.AttributeEvents),
		"no attributes": func(m events.Message) { clear(m.Attributes) },
		"version 0":     packed(`{"v":0,"time":"2026-01-02T03:04:05.006Z"}`),
		"version 2":     packed(`{"v":2,"time":"2026-01-02T03:04:05.006Z"}`),
		"no version":    packed(`{"time":"2026-01-02T03:04:05.006Z"}`),
		"version text":  packed(`{"v":"1","time":"2026-01-02T03:04:05.006Z"}`),
		"no time":       packed(`{"v":1}`),
		"not a time":    packed(`{"v":1,"time":"yesterday"}`),
		"not JSON":      packed(`v=1`),
		"not an object": packed(`[1]`),
		"metadata type": packed(`{"v":1,"time":"2026-01-02T03:04:05.006Z","metadata":{"a":1}}`),
		"claim check": func(m events.Message) {
			m.Attributes[events.AttributeExtendedSize] = events.Attribute{DataType: "Number", StringValue: "300000"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := events.Encode(validEvent())
			if err != nil {
				t.Fatal(err)
			}
			change(m)
			if e, err := events.Decode(m); events.ErrorCode(err) != events.CodeInvalid {
				t.Errorf("decoded to %+v, %v; want code %q", e, err, events.CodeInvalid)
			}
		})
	}
}

func TestDecode_OfANewerMinorWriter(t *testing.T) {
	t.Parallel()
	m, err := events.Encode(validEvent())
	if err != nil {
		t.Fatal(err)
	}
	m.Attributes[events.AttributeEvents] = events.Attribute{
		DataType: "String", StringValue: `{"v":1,"time":"2026-01-02T03:04:05.006Z","later":{"a":1}}`,
	}
	m.Attributes["X-Foreign"] = events.Attribute{DataType: "Number", StringValue: "7"}
	m.Attributes["x-events-later"] = events.Attribute{DataType: "String", StringValue: "ours"}
	got, err := events.Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := got.Metadata.Get("X-FOREIGN"); !ok || v != "7" {
		t.Errorf("the metadata x-foreign is %q, %v; want the attribute", v, ok)
	}
	if v, ok := got.Metadata.Get("x-events-later"); ok {
		t.Errorf("an attribute of ours became the metadata %q", v)
	}
}

func TestMessage_Validate(t *testing.T) {
	t.Parallel()
	attribute := func(name, kind, value string) events.Message {
		return events.Message{Body: "x", Attributes: map[string]events.Attribute{name: {DataType: kind, StringValue: value}}}
	}
	many := events.Message{Body: "x", Attributes: map[string]events.Attribute{}}
	for i := range 11 {
		many.Attributes[string(rune('a'+i))] = events.Attribute{DataType: "String", StringValue: "x"}
	}
	for name, test := range map[string]struct {
		message events.Message
		want    events.Code
	}{
		"plain":                {events.Message{Body: "\t\r\n x\ud7ff\ue000\ufffd\U00010000\U0010ffff"}, ""},
		"at the limit":         {events.Message{Body: strings.Repeat("x", 100)}, ""},
		"above the limit":      {events.Message{Body: strings.Repeat("x", 101)}, events.CodeTooLarge},
		"attributes count":     {attribute("name", "String", strings.Repeat("x", 90)), events.CodeTooLarge},
		"attributes fit":       {attribute("name", "String", strings.Repeat("x", 89)), ""},
		"empty":                {events.Message{}, events.CodeInvalid},
		"control":              {events.Message{Body: "\x00"}, events.CodeInvalid},
		"U+FFFE":               {events.Message{Body: "\ufffe"}, events.CodeInvalid},
		"U+FFFF":               {events.Message{Body: "\uffff"}, events.CodeInvalid},
		"not UTF-8":            {events.Message{Body: "\xc3"}, events.CodeInvalid},
		"eleven attributes":    {many, events.CodeInvalid},
		"custom type":          {attribute("A_b-c.1", "Number.int", "1"), ""},
		"binary":               {attribute("a", "Binary", "x"), events.CodeInvalid},
		"no type":              {attribute("a", "", "x"), events.CodeInvalid},
		"empty value":          {attribute("a", "String", ""), events.CodeInvalid},
		"odd value":            {attribute("a", "String", "\x1f"), events.CodeInvalid},
		"no name":              {attribute("", "String", "x"), events.CodeInvalid},
		"name with space":      {attribute("a b", "String", "x"), events.CodeInvalid},
		"name with umlaut":     {attribute("ä", "String", "x"), events.CodeInvalid},
		"name starts with dot": {attribute(".a", "String", "x"), events.CodeInvalid},
		"name ends with dot":   {attribute("a.", "String", "x"), events.CodeInvalid},
		"name with two dots":   {attribute("a..b", "String", "x"), events.CodeInvalid},
		"name of AWS":          {attribute("AWS.a", "String", "x"), events.CodeInvalid},
		"name of Amazon":       {attribute("Amazon.a", "String", "x"), events.CodeInvalid},
		"group":                {events.Message{Body: "x", GroupID: strings.Repeat("!", 128)}, ""},
		"long group":           {events.Message{Body: "x", GroupID: strings.Repeat("g", 129)}, events.CodeInvalid},
		"group with space":     {events.Message{Body: "x", GroupID: "a b"}, events.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := test.message.Validate(100); events.ErrorCode(err) != test.want {
				t.Errorf("error %v, want code %q", err, test.want)
			}
		})
	}
}

func TestNewID(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ delivery, want string }{
		{"72d3162e-cc78-11e3", "t:72d3162e-cc78-11e3"},
		{strings.Repeat("d", 128), "t:" + strings.Repeat("d", 128)},
		{strings.Repeat("d", 129), "t:52d77ea29c16e8be3ec4b5f629160683a291b79b5ff83f11d7e01a8a5a6e5a72"},
		{"", "t:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"a b", "t:c8687a08aa5d6ed2044328fa6a697ab8e96dc34291e8c2034ae8c38e6fcc6d65"},
	} {
		if got := events.NewID("t", test.delivery); got != test.want {
			t.Errorf("NewID(%q) = %q, want %q", test.delivery, got, test.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := nastyText().Draw(t, "a"), nastyText().Draw(t, "b")
		if (events.NewID("t", a) == events.NewID("t", b)) != (a == b) {
			t.Errorf("deliveries %q and %q: the ids are %q and %q", a, b, events.NewID("t", a), events.NewID("t", b))
		}
	})
}

func TestGroup(t *testing.T) {
	t.Parallel()
	got := events.Group("GitHub.com", "Acme/Shop")
	if want := "c566806a55dcd4dd646cf711e6a18103"; got != want { // of the SHA-256 of github.com/acme/shop
		t.Errorf("Group = %q, want %q", got, want)
	}
	if got == events.Group("github.com", "acme/shop2") {
		t.Error("two repositories have the same group")
	}
}

func TestValidTopic(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]bool{
		"github": true, "github.push": true, "gerrit.patchset-created": true, "a_b.c:d.E9": true,
		strings.Repeat("t", 200): true, strings.Repeat("t", 201): false,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, "a b": false, "a/b": false, "ä": false, "a\n": false, "*": false,
	} {
		if got := events.ValidTopic(topic); got != want {
			t.Errorf("ValidTopic(%q) = %v, want %v", topic, got, want)
		}
	}
}

func validEvent() events.Event {
	return events.Event{
		ID:          "github:1",
		Topic:       "github",
		Payload:     []byte(`{"a": 1}`),
		Metadata:    events.Metadata{"x-github-event": "push"},
		Promoted:    []string{"x-github-event"},
		Time:        time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Group:       "group",
	}
}

func FuzzDecode(f *testing.F) {
	m, err := events.Encode(validEvent())
	if err != nil {
		f.Fatal(err)
	}
	packed := m.Attributes[events.AttributeEvents].StringValue
	f.Add(m.Body, "github", "github:1", packed, "x-github-event", "push", "group")
	f.Add("{\"\ufffe\":1}", "github.push", "x", `{"v":1,"time":"0000-01-02T03:04:05.006+23:59","metadata":{"X":"\uffff"}}`, "Number", "", "")
	f.Add("", "", "", `{"v":1,"v":1}`, "ExtendedPayloadSize", "1", "a b")
	f.Fuzz(func(t *testing.T, body, topic, id, packed, name, value, group string) {
		in := events.Message{Body: body, GroupID: group, Attributes: map[string]events.Attribute{
			name:                   {DataType: "String", StringValue: value},
			events.AttributeTopic:  {DataType: "String", StringValue: topic},
			events.AttributeID:     {DataType: "String", StringValue: id},
			events.AttributeEvents: {DataType: "String", StringValue: packed},
		}}
		e, err := events.Decode(in)
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid {
				t.Fatalf("error code %q, want %q", code, events.CodeInvalid)
			}
			return
		}
		m, err := events.Encode(e)
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid && code != events.CodeTooLarge {
				t.Fatalf("a decoded event cannot be encoded: %v", err)
			}
			return
		}
		if err := m.Validate(events.MaxMessageSize); err != nil {
			t.Fatalf("AWS would refuse the message: %v", err)
		}
		again, err := events.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		want := e
		want.Payload, want.Promoted = escaped(e.Payload), again.Promoted
		if want.Group == "" {
			want.Group = again.Group
		}
		// The time is kept in milliseconds.
		want.Time = e.Time.Truncate(time.Millisecond)
		if diff := cmp.Diff(want, again); diff != "" {
			t.Fatalf("the event changed (-first +second):\n%s", diff)
		}
		if !utf8.ValidString(m.Body) {
			t.Fatal("the body is not UTF-8")
		}
	})
}

// A replay says that subscribers should handle the event once more, and changes nothing else of it.
func TestSetAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		m, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		want, err := events.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		want.Again = rapid.StringMatching(`[A-Z0-9]{1,26}`).Draw(t, "nonce")
		packed := m.Attributes[events.AttributeEvents]
		if packed.StringValue, err = events.SetAgain(packed.StringValue, want.Again); err != nil {
			t.Fatal(err)
		}
		m.Attributes[events.AttributeEvents] = packed
		if err := m.Validate(events.MaxSQSMessageSize); err != nil {
			t.Errorf("AWS would refuse the message: %v", err)
		}
		got, err := events.Decode(m)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

func TestSetAgain_KeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	got, err := events.SetAgain(`{"v":1, "time":"t", "later":{"a": [1.50,1]}, "again":"old"}`, "new")
	if want := `{"again":"new","later":{"a":[1.50,1]},"time":"t","v":1}`; got != want || err != nil {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	for _, value := range []string{"", "{}", "1", "null", "{", `{"v":1,"v":2}`} {
		if _, err := events.SetAgain(value, "new"); events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("%s: %v, want it refused", value, err)
		}
	}
}

// Readers that do not know what a replay adds ignore it: so does this version with what a later one may add.
func TestDecode_UnknownMembers(t *testing.T) {
	t.Parallel()
	e, err := events.Decode(events.Message{Body: "{}", Attributes: map[string]events.Attribute{
		events.AttributeID: {DataType: "String", StringValue: "t:1"}, events.AttributeTopic: {DataType: "String", StringValue: "t"},
		events.AttributeEvents: {DataType: "String", StringValue: `{"v":1,"time":"2026-01-02T03:04:05.006Z","later":{"a":1}}`},
	}})
	if err != nil || e.ID != "t:1" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestEvent_Key(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{}
	for _, e := range []events.Event{{ID: "t:1"}, {ID: "t:1", Again: "x"}, {ID: "t:1", Again: "y"}, {ID: "t:1x"}, {ID: "t:2"}} {
		keys[e.Key()] = true
	}
	if len(keys) != 5 || !keys["t:1"] {
		t.Errorf("the keys are %v, want five, with the ID of what was not replayed", keys)
	}
}
