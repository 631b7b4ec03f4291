package events_test

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

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
		"body:a.0.b":            "body:a.0.b",
		"body:a[0].b":           "body:a.0.b",
		"body:[0]":              "body:0",
		"body:a[0][1]":          "body:a.0.1",
		"body:01":               "body:01",
		"body:1000000":          "body:1000000",
		`body:["0"]`:            `body:["0"]`,
		`body:["a"].b`:          "body:a.b",
		`body:a["b.c"]`:         `body:a["b.c"]`,
		`body:["\u0061"]["\""]`: `body:a["\""]`,
		`body:[""]`:             `body:[""]`,
		"body:a}b":              `body:["a}b"]`,
		"body:$ {":              `body:["$ \u007b"]`,

		"${body:type}":                   "${body:type}",
		"${header:X-Event}.${body:a[0]}": "${metadata:x-event}.${body:a.0}",
		"$${body:a}$":                    "$${body:a}$",
		`x${body:["}"]}}`:                `x${body:["}"]}}`,
		`${body:a["\"}"]}`:               `${body:a["\"}"]}`,
		strings.Repeat("${body:a}", 16):  strings.Repeat("${body:a}", 16),
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
	for _, text := range []string{
		"", ":", "header:", "metadata:", "body:", "body:.", "body:a.", "body:.a", "body:a..b", "type", "query:a", "Body:a",
		"body:a[", "body:a[]", "body:a[-1]", "body:a[01]", "body:a[1000000]", "body:a[x]", "body:a.[0]", "body:a[0]b", "body:[0].", "body:a]b",
		`body:a"b"`, `body:["a]`, `body:["a"`, `body:["a"x]`, `body:["\ud800"]`, `body:["a" ]`, "body:[\"a\n\"]", "body:a\xff",
		"${", "${}", "${body:a", "${type}", "on-${Body}", "a${header:}", "${body:a}${body:}", "${body:${body:a}}", `${body:["${"]}`,
		strings.Repeat("${body:a}", 17),
	} {
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
		"half": "\ud83d", "nested": ["w", ["y"], 3], "numbers": {"0": "zero"}, "dotted.name": {"a/b": "d"}, "after": "z"}`
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
		{"body:list.0.type", "x"},
		{"body:list[0].type", "x"},
		{"body:list.1.type", ""},
		{"body:list[0]", ""},
		{"body:list", ""},
		{"body:nested[1][0]", "y"},
		{"body:nested.0", "w"},
		{"body:nested.2", ""},
		{"body:numbers.0", "zero"},
		{`body:numbers["0"]`, "zero"},
		{`body:list["0"].type`, ""},
		{`body:["dotted.name"]["a/b"]`, "d"},
		{"body:dotted.name", ""},
		{"${header:x-type}", "push"},
		{"${header:X-Type}.${body:list.0.type}", "push.x"},
		{"on-${body:type}!", "on-a!"},
		{"${header:x-type}.${body:n}", ""},
		{"${header:x-absent}.${body:type}", ""},
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

// A selector finds what a walk over the decoded document finds.
func TestSelector_SelectIsAWalk(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		document := drawValue(3).Draw(t, "document")
		payload, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		keys := rapid.SliceOfN(rapid.SampledFrom(memberNames), 1, 4).Draw(t, "path")
		text := "body:"
		for i, key := range keys {
			switch {
			case key == "" || strings.ContainsAny(key, `.[]"`):
				text += "[" + strconv.Quote(key) + "]"
			case i > 0:
				text += "." + key
			default:
				text += key
			}
		}
		s, err := events.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		want := walk(document, keys)
		if got, ok := s.Select(nil, payload); got != want || ok != (want != "") {
			t.Fatalf("%s selects %q, %v of %s; want %q", text, got, ok, payload, want)
		}
		joined, err := events.ParseSelector("a-${" + text + "}.${metadata:x}")
		if err != nil {
			t.Fatal(err)
		}
		if want != "" {
			want = "a-" + want + ".y"
		}
		if got, ok := joined.Select(events.Metadata{"x": "y"}, payload); got != want || ok != (want != "") {
			t.Fatalf("%s selects %q, %v of %s; want %q", joined, got, ok, payload, want)
		}
	})
}

// memberNames are few, so that paths meet members, and odd.
var memberNames = []string{"a", "b", "0", "1", "a.b", "", "[0]", `"`, "{", "ä"}

// drawValue draws what a JSON document decodes to.
func drawValue(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.SampledFrom([]string{"", "x", "a b", "\u2028"}).AsAny(), rapid.IntRange(-1, 1).AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	inner := drawValue(depth - 1)
	return rapid.OneOf(append(leaves, rapid.MapOfN(rapid.SampledFrom(memberNames), inner, 0, 4).AsAny(), rapid.SliceOfN(inner, 0, 3).AsAny())...)
}

// walk returns the string at a path of a decoded document.
func walk(v any, path []string) string {
	for _, key := range path {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(in) {
				return ""
			}
			v = in[i]
		default:
			return ""
		}
	}
	found, _ := v.(string)
	return found
}

func TestSelector_Metadata(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"header:X-Type": {"x-type"}, "body:a": nil, "${header:X-B}.${metadata:x-a}-${body:c}-${header:x-b}": {"x-a", "x-b"},
	} {
		s, err := events.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Metadata(); !slices.Equal(got, want) {
			t.Errorf("%s reads %q, want %q", text, got, want)
		}
	}
}

// What is placed is found again, in what was there before.
func TestSelector_Place(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		selector, text string
		before, after  string // payloads; no "after" where nothing can be placed
		metadata       events.Metadata
	}{
		{"header:X-Type", "push", `{"a":1}`, `{"a":1}`, events.Metadata{"x-type": "push"}},
		{"body:a", "push", `null`, `{"a":"push"}`, nil},
		{"body:a.b", "push", `{"a":{"c":1}}`, `{"a":{"b":"push","c":1}}`, nil},
		{"body:a.b", "push", `{"a":"c"}`, `{"a":{"b":"push"}}`, nil},
		{"body:a[2].b", "push", `{"a":[0]}`, `{"a":[0,null,{"b":"push"}]}`, nil},
		{"body:a.99", "x", `{"a":{}}`, `{"a":[` + strings.Repeat("null,", 99) + `"x"]}`, nil},
		{"body:a.100", "push", `{}`, `{"a":{"100":"push"}}`, nil},
		{`body:a["1"]["b.}c"]`, "push", `{}`, `{"a":{"1":{"b.}c":"push"}}}`, nil},
		{`v-${header:x}.${body:a["}"]}-${body:b}!`, "v-1.2.3-4!5!", `{}`, `{"a":{"}":"2.3"},"b":"4!5"}`, events.Metadata{"x": "1"}},
		{"${header:x}.${body:a}", "1.2.3", `{}`, `{"a":"2.3"}`, events.Metadata{"x": "1"}},
		{"body:a", "", `{}`, "", nil},
		{"v-${body:a}", "w-1", `{}`, "", nil},
		{"v-${body:a}", "v-", `{}`, "", nil},
		{"${body:a}!", "1", `{}`, "", nil},
		{"${header:x}.${body:a}", "1", `{}`, "", nil},
		{"${header:x}.${body:a}", ".1", `{}`, "", nil},
		{"${header:x}.${body:a}", "1.", `{}`, "", nil},
		{"${header:x}${body:a}", "12", `{}`, "", nil},
	} {
		s, err := events.ParseSelector(test.selector)
		if err != nil {
			t.Fatal(err)
		}
		var payload any
		if err := json.Unmarshal([]byte(test.before), &payload); err != nil {
			t.Fatal(err)
		}
		metadata := events.Metadata{}
		payload, ok := s.Place(test.text, metadata, payload)
		after, err := json.Marshal(payload, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		if want := cmp.Or(test.after, test.before); ok != (test.after != "") || string(after) != want || !maps.Equal(metadata, test.metadata) {
			t.Errorf("%s with %q: %s, %v, %v; want %s, %v", test.selector, test.text, after, metadata, ok, want, test.metadata)
		}
		if found, _ := s.Select(metadata, after); ok && found != test.text {
			t.Errorf("%s finds %q in %s, %v; want %q", test.selector, found, after, metadata, test.text)
		}
	}
}

func FuzzSelector(f *testing.F) {
	f.Add("body:event.type", "x-type", "push", []byte(`{"event":{"type":"a"}}`))
	f.Add("header:X-Type", "x-type", "push", []byte(`{"event":`))
	f.Add("body:a", "", "", []byte(`{"a":"0"`))
	f.Add("body:a[1].b", "", "", []byte(`{"a":[[],{"b":"c"}]}`))
	f.Add(`body:["a.b"]["\u007d"].0`, "", "", []byte(`{"a.b":{"}":["x"]}}`))
	f.Add(`${header:x-type}.${body:a["}"]}-$`, "x-type", "push", []byte(`{"a":{"}":"x"}}`))
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
		var document any
		_ = json.Unmarshal(payload, &document) // nil is a document too
		for _, one := range s.Selectors() {
			if !utf8.ValidString(value) {
				break // no string of JSON
			}
			document, ok := one.Place(value, metadata, document)
			placed, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			if found, _ := one.Select(metadata, placed); ok != (value != "") || ok && found != value {
				t.Fatalf("%s finds %q in %s, where %q was placed, %v", one, found, placed, value, ok)
			}
		}
	})
}
