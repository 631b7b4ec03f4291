package events

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Selector finds one text in an event. Its text form is one of
//
//   - "metadata:<name>", a metadata value by its name in any case ("header:<name>" means the same);
//   - "body:<path>", a string in the payload: the names of members and the numbers of elements, from 0 on, joined
//     by dots, such as "body:push.changes.0.new.type". Brackets say the same, "body:push.changes[0]", and take any
//     name in quotes, as JSON writes it: `body:labels["app.kubernetes.io/name"]`;
//   - a template, text with some of those in "${…}", such as "${header:x-event}.${body:action}".
type Selector struct {
	metadata string
	path     []step
	parts    []part // of a template
}

// step leads from a value to one in it.
type step struct {
	name  string
	index int // in an array; -1 if the step is for objects only
}

// part is a piece of a template: text, or what a selector finds.
type part struct {
	text     string
	selector *Selector
}

const (
	selectorHint = "write \"header:<name>\", \"metadata:<name>\" or \"body:<path>\", such as \"body:event.type\", or text with them in ${…}"
	templateOpen = "${"
	maxIndex     = 999_999
	maxTemplate  = 16 // selectors in one template
	maxPlaced    = 99 // the last element of an array that Place makes; those before are null
)

// ParseSelector reads the text form of a Selector. It fails with [CodeInvalid].
func ParseSelector(s string) (Selector, error) {
	if strings.Contains(s, templateOpen) {
		return parseTemplate(s)
	}
	kind, value, _ := strings.Cut(s, ":")
	switch {
	case (kind == "metadata" || kind == "header") && value != "":
		return Selector{metadata: strings.ToLower(value)}, nil
	case kind == "body":
		path, err := parsePath(value)
		if err != nil {
			return Selector{}, err
		}
		return Selector{path: path}, nil
	}
	return Selector{}, Errorf(CodeInvalid, "%q selects nothing: %s", s, selectorHint)
}

// parseTemplate reads text with selectors in "${…}".
func parseTemplate(s string) (Selector, error) {
	var parts []part
	selectors := 0
	for rest := s; rest != ""; {
		text, inner, found := strings.Cut(rest, templateOpen)
		if text != "" {
			parts = append(parts, part{text: text})
		}
		if !found {
			break
		}
		end := closing(inner)
		if end < 0 {
			return Selector{}, Errorf(CodeInvalid, "%q has a \"${\" without its \"}\"", s)
		}
		if strings.Contains(inner[:end], templateOpen) {
			return Selector{}, Errorf(CodeInvalid, "%q has a \"${\" inside of another one", s)
		}
		one, err := ParseSelector(inner[:end])
		if err != nil {
			return Selector{}, err
		}
		parts, rest = append(parts, part{selector: &one}), inner[end+1:]
		if selectors++; selectors > maxTemplate {
			return Selector{}, Errorf(CodeInvalid, "%.100q has more than %d selectors", s, maxTemplate)
		}
	}
	return Selector{parts: parts}, nil
}

// closing returns where the brace is that ends a selector in a template, -1 if there is none. In quotes it ends nothing.
func closing(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == '}':
			return i
		}
	}
	return -1
}

// parsePath reads the path of a selector.
func parsePath(s string) ([]step, error) {
	var path []step
	for rest := s; ; {
		var one step
		var ok bool
		if strings.HasPrefix(rest, "[") {
			one, rest, ok = bracketed(rest)
		} else {
			one, rest, ok = named(rest)
		}
		if !ok {
			return nil, badPath(s)
		}
		path = append(path, one)
		if rest == "" {
			return path, nil
		}
		after, dot := strings.CutPrefix(rest, ".")
		switch {
		case dot && !strings.HasPrefix(after, "["):
			rest = after
		case rest[0] != '[':
			return nil, badPath(s)
		}
	}
}

func badPath(s string) error {
	return Errorf(CodeInvalid, "%.100q is not the path of a value: it has names and numbers joined by dots, such as \"changes.0.type\", and other names in brackets and quotes, such as [\"a.b\"]", s)
}

// named reads a step that is written without brackets.
func named(s string) (one step, rest string, ok bool) {
	name := s
	if i := strings.IndexAny(s, ".[]\""); i >= 0 {
		name, rest = s[:i], s[i:]
	}
	return step{name, index(name)}, rest, name != "" && utf8.ValidString(name)
}

// bracketed reads a step in brackets: a number, or a name in quotes.
func bracketed(s string) (one step, rest string, ok bool) {
	inner := s[1:]
	if !strings.HasPrefix(inner, `"`) {
		number, rest, ok := strings.Cut(inner, "]")
		return step{number, index(number)}, rest, ok && index(number) >= 0
	}
	d := jsontext.NewDecoder(strings.NewReader(inner))
	name, err := d.ReadToken()
	if err != nil {
		return step{}, "", false
	}
	rest, ok = strings.CutPrefix(inner[d.InputOffset():], "]")
	return step{name.String(), -1}, rest, ok
}

// index returns the number that a step may be, -1 if it is none.
func index(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxIndex || strconv.Itoa(n) != s {
		return -1
	}
	return n
}

// String is the text form that [ParseSelector] reads.
func (s Selector) String() string {
	var b strings.Builder
	switch {
	case s.parts != nil:
		for _, p := range s.parts {
			b.WriteString(p.text)
			if p.selector != nil {
				b.WriteString(templateOpen + p.selector.String() + "}")
			}
		}
	case s.path == nil:
		b.WriteString("metadata:" + s.metadata)
	default:
		b.WriteString("body:")
		for i, one := range s.path {
			switch {
			case one.index < 0 && (one.name == "" || index(one.name) >= 0 || strings.ContainsAny(one.name, `.[]"{}`)):
				b.WriteString("[" + quoted(one.name) + "]")
			case i > 0:
				b.WriteString("." + one.name)
			default:
				b.WriteString(one.name)
			}
		}
	}
	return b.String()
}

// quoted writes a name as JSON does. The brace is escaped: after a dollar it would begin a selector.
func quoted(name string) string {
	text, err := jsontext.AppendQuote(nil, name)
	if err != nil {
		panic("events: a path holds a name that is not UTF-8") // parsePath takes none
	}
	return strings.ReplaceAll(string(text), "{", `\u007b`)
}

// ReadsPayload tells whether the value, or a part of it, is in the payload.
func (s Selector) ReadsPayload() bool {
	if s.parts == nil {
		return s.path != nil
	}
	return slices.ContainsFunc(s.parts, func(p part) bool { return p.selector != nil && p.selector.ReadsPayload() })
}

// Metadata returns the names of the metadata that the selector reads, in lower case.
func (s Selector) Metadata() []string {
	var names []string
	switch {
	case s.parts != nil:
		for _, p := range s.parts {
			if p.selector != nil {
				names = append(names, p.selector.Metadata()...)
			}
		}
	case s.path == nil:
		names = append(names, s.metadata)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Selectors returns those of a template in their order, and a selector that is none itself.
func (s Selector) Selectors() []Selector {
	if s.parts == nil {
		return []Selector{s}
	}
	var all []Selector
	for _, p := range s.parts {
		if p.selector != nil {
			all = append(all, *p.selector)
		}
	}
	return all
}

// Place is the way back from [Selector.Select], for those who make an event: it puts the text where the selector looks
// for it, into metadata or into a payload, and returns the payload. That is what a JSON document is read into, nil for
// none; what stands in the way is replaced. It places nothing and returns false where it does not see how: a text that is
// empty or has not the fixed texts of a template, or a template with two selectors side by side.
func (s Selector) Place(text string, metadata Metadata, payload any) (any, bool) {
	texts, ok := s.split(text)
	if !ok {
		return payload, false
	}
	for i, one := range s.Selectors() {
		if one.path == nil {
			metadata.Set(one.metadata, texts[i])
		} else {
			payload = place(one.path, texts[i], payload)
		}
	}
	return payload, true
}

// split returns what each of the selectors has to find so that all of them find the text.
func (s Selector) split(text string) ([]string, bool) {
	if s.parts == nil {
		return []string{text}, text != ""
	}
	var texts []string
	waits := false // a selector for the fixed text that ends what it finds
	for i, p := range s.parts {
		var one string
		var found bool
		switch {
		case p.selector != nil && waits:
			return nil, false
		case p.selector != nil:
			waits = true
			continue
		case !waits:
			if text, found = strings.CutPrefix(text, p.text); !found {
				return nil, false
			}
			continue
		case i == len(s.parts)-1:
			one, found = strings.CutSuffix(text, p.text)
		default:
			one, text, found = strings.Cut(text, p.text)
		}
		if !found || one == "" {
			return nil, false
		}
		texts, waits = append(texts, one), false
	}
	if waits {
		texts = append(texts, text)
	}
	return texts, !waits || text != ""
}

// place returns a value with the text at a path.
func place(path []step, text string, at any) any {
	if len(path) == 0 {
		return text
	}
	if n := path[0].index; n >= 0 && n <= maxPlaced {
		list, _ := at.([]any)
		for len(list) <= n {
			list = append(list, nil)
		}
		list[n] = place(path[1:], text, list[n])
		return list
	}
	object, ok := at.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	object[path[0].name] = place(path[1:], text, object[path[0].name])
	return object
}

// Select returns the text in metadata or payload and whether there is one. Only strings count, and an empty one does
// not; a template counts if all of its selectors find something. Where a member occurs twice the last one counts, as in
// most JSON readers.
func (s Selector) Select(metadata Metadata, payload []byte) (string, bool) {
	if s.parts != nil {
		var b strings.Builder
		for _, p := range s.parts {
			text := p.text
			if p.selector != nil {
				var ok bool
				if text, ok = p.selector.Select(metadata, payload); !ok {
					return "", false
				}
			}
			b.WriteString(text)
		}
		return b.String(), true
	}
	if s.path == nil {
		v, ok := metadata.Get(s.metadata)
		return v, ok && v != ""
	}
	// Like the ingress, it puts up with half a surrogate pair in some other string of the document.
	d := jsontext.NewDecoder(bytes.NewBuffer(payload), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	v, err := find(d, s.path)
	if err != nil {
		return "", false
	}
	return v, v != ""
}

// find returns the string at a path of the next value, "" if there is none.
func find(d *jsontext.Decoder, path []step) (string, error) {
	kind := d.PeekKind()
	switch {
	case len(path) == 0 && kind == jsontext.KindString:
		t, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		return t.String(), nil
	case len(path) > 0 && kind == jsontext.KindBeginObject:
		return findMember(d, path)
	case len(path) > 0 && kind == jsontext.KindBeginArray && path[0].index >= 0:
		return findElement(d, path)
	}
	return "", d.SkipValue()
}

func findMember(d *jsontext.Decoder, path []step) (string, error) {
	if _, err := d.ReadToken(); err != nil {
		return "", err
	}
	found := ""
	for d.PeekKind() == jsontext.KindString {
		name, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		if name.String() != path[0].name {
			if err := d.SkipValue(); err != nil {
				return "", err
			}
			continue
		}
		if found, err = find(d, path[1:]); err != nil {
			return "", err
		}
	}
	_, err := d.ReadToken()
	return found, err
}

func findElement(d *jsontext.Decoder, path []step) (string, error) {
	if _, err := d.ReadToken(); err != nil {
		return "", err
	}
	found := ""
	for i := 0; d.PeekKind() != jsontext.KindEndArray; i++ {
		if i != path[0].index {
			if err := d.SkipValue(); err != nil {
				return "", err
			}
			continue
		}
		var err error
		if found, err = find(d, path[1:]); err != nil {
			return "", err
		}
	}
	_, err := d.ReadToken()
	return found, err
}
