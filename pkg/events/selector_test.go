package events_test

import (
	"strings"
	"testing"

	"github.com/callboard/callboard/pkg/events"
)

func TestParseSelector(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"header:X-GitHub-Event": "metadata:x-github-event",
		"metadata:a":            "metadata:a",
		"body:type":             "body:type",
		"body:event.type":       "body:event.type",
		"body:Type":             "body:Type",
		"body:a:b":              "body:a:b",
	} {
		s, err := events.ParseSelector(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := s.String(); got != want {
			t.Errorf("%q reads as %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"", ":", "header:", "metadata:", "body:", "body:.", "body:a.", "body:.a", "body:a..b", "type", "query:a", "Body:a"} {
		if s, err := events.ParseSelector(text); events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("%q reads as %q, %v; want code %q", text, s, err, events.CodeInvalid)
		}
	}
}

func TestSelector_Select(t *testing.T) {
	t.Parallel()
	metadata := events.Metadata{"x-type": "push", "x-empty": ""}
	const payload = ` {"type": "a", "event": {"type": "b", "deep": {"er": "c"}}, "list": [{"type": "x"}], "n": 1, "null": null,
		"empty": "", "twice": "first", "twice": "last", "gone": "text", "gone": 7, "esc\u0061pe": "\u0041\n",
		"half": "\ud83d", "after": "z"}`
	for _, test := range []struct{ selector, want string }{
		{"header:X-Type", "push"},
		{"metadata:x-type", "push"},
		{"metadata:x-empty", ""},
		{"metadata:x-absent", ""},
		{"body:type", "a"},
		{"body:event.type", "b"},
		{"body:event.deep.er", "c"},
		{"body:event", ""},
		{"body:event.deep", ""},
		{"body:type.more", ""},
		{"body:list.type", ""},
		{"body:n", ""},
		{"body:null", ""},
		{"body:empty", ""},
		{"body:absent", ""},
		{"body:twice", "last"},
		{"body:gone", ""},
		{"body:escape", "A\n"},
		{"body:after", "z"},
	} {
		s, err := events.ParseSelector(test.selector)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := s.Select(metadata, []byte(payload)); got != test.want || ok != (test.want != "") {
			t.Errorf("%s selects %q, %v; want %q", test.selector, got, ok, test.want)
		}
	}
}

func TestSelector_SelectOfOtherDocuments(t *testing.T) {
	t.Parallel()
	s, err := events.ParseSelector("body:a.b")
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{
		"", "null", "[]", `"a"`, "1", "{", `{"a"`, `{"a":{"b":"x"`, `{"a":{"b":"x"},}`, `{"a":{"b":"x"}`, `{"a":{"b":"x",`, "\xff",
		strings.Repeat("[", 20_000), `{"a":` + strings.Repeat("[", 20_000),
	} {
		if got, ok := s.Select(nil, []byte(payload)); ok || got != "" {
			t.Errorf("it selects %q of %.40q", got, payload)
		}
	}
}

func FuzzSelector(f *testing.F) {
	f.Add("body:event.type", "x-type", "push", []byte(`{"event":{"type":"a"}}`))
	f.Add("header:X-Type", "x-type", "push", []byte(`{"event":`))
	f.Add("body:a", "", "", []byte(`{"a":"0"`))
	f.Add("body:a", "", "", []byte(`{"a":"\ud800","a":[{"a":"b"}]}`))
	f.Fuzz(func(t *testing.T, text, name, value string, payload []byte) {
		s, err := events.ParseSelector(text)
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid {
				t.Fatalf("error code %q, want %q", code, events.CodeInvalid)
			}
			return
		}
		again, err := events.ParseSelector(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q reads as %q, and that as %q, %v", text, s, again, err)
		}
		metadata := events.Metadata{}
		metadata.Set(name, value)
		before := string(payload)
		got, ok := s.Select(metadata, payload)
		if ok != (got != "") {
			t.Fatalf("it selects %q and says %v", got, ok)
		}
		if other, _ := again.Select(metadata, payload); other != got || string(payload) != before {
			t.Fatalf("it selects %q, then %q, of %q, then %q", got, other, before, payload)
		}
	})
}
