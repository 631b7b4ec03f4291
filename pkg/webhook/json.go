package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// field is a string in a JSON document, by the names of the members that lead to it, joined by dots. Where there is
// a list on the way, its elements are looked at one after the other; the last string that is found counts.
type field struct {
	path string
	into *string
}

// read checks the syntax of a JSON document in one pass, reads fields and returns the names of the members of the
// object at its root. Like RFC 8259 it
// lets names occur twice and "\ud83d" stand alone, as in a text that was cut off; bytes that are not UTF-8 never
// get into an event, see [events.Encode].
func read(payload []byte, fields ...field) ([]string, error) {
	names := make([]string, 0, 32) // enough for most bodies
	d := jsontext.NewDecoder(bytes.NewBuffer(payload), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	err := walk(d, func(name string) error {
		names = append(names, name)
		return descend(d, name, fields)
	})
	if err != nil {
		return nil, invalidJSON(err)
	}
	if _, err := d.ReadToken(); err == nil {
		return nil, events.Errorf(events.CodeInvalid, "the body is not valid JSON: there is something behind the document")
	} else if !errors.Is(err, io.EOF) {
		return nil, invalidJSON(err)
	}
	return names, nil
}

// descend reads the fields that are in the member called name, whose value comes next.
func descend(d *jsontext.Decoder, name string, fields []field) error {
	var below []field
	for _, f := range fields {
		switch first, rest, deeper := strings.Cut(f.path, "."); {
		case first != name:
		case deeper:
			below = append(below, field{rest, f.into})
		case d.PeekKind() == '"':
			return stringMember(d, f.into)
		}
	}
	if below == nil {
		return nil
	}
	member := func(name string) error { return descend(d, name, below) }
	if d.PeekKind() != '[' {
		return walk(d, member)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for kind := d.PeekKind(); kind != ']' && kind != 0; kind = d.PeekKind() {
		if err := walk(d, member); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// walk calls member for each member of the object that comes next; member reads the value, or leaves it. What is
// not an object is skipped.
func walk(d *jsontext.Decoder, member func(name string) error) error {
	if d.PeekKind() != '{' {
		return skip(d)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		before := d.InputOffset()
		if err := member(t.String()); err != nil {
			return err
		}
		if d.InputOffset() == before {
			if err := skip(d); err != nil {
				return err
			}
		}
	}
	_, err := d.ReadToken()
	return err
}

// skip reads a value at once, which is faster than token by token as [jsontext.Decoder.SkipValue] does.
func skip(d *jsontext.Decoder) error {
	_, err := d.ReadValue()
	return err
}

// stringMember reads the string that comes next.
func stringMember(d *jsontext.Decoder, into *string) error {
	t, err := d.ReadToken()
	if err == nil {
		*into = t.String()
	}
	return err
}

func invalidJSON(err error) error {
	return events.Wrap(err, events.CodeInvalid, "the body is not valid JSON: %s", syntaxProblem(err))
}

// tooDeep is what jsontext says of more than 10,000 objects and lists in one another; it exports no such error.
const tooDeep = "exceeded max depth"

// syntaxProblem says where the problem is and keeps the content of the body out of the message.
func syntaxProblem(err error) string {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if e.Err.Error() == tooDeep {
			return "there are more than 10,000 objects and lists in one another"
		}
		return fmt.Sprintf("at byte %d", e.ByteOffset)
	}
	return "it ends too early"
}

// hostOf returns the host of a URL, or "".
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// shape is what the body of an event type always has and never has: members of the object at its root.
type shape struct{ needs, lacks []string }

// fits fails with [events.CodeInvalid] if a body with these members cannot be of the event type. The type is in a
// header, which no signature covers: whoever has seen a signed body could send it again as something else.
func (s shape) fits(event string, names []string) error {
	for _, name := range s.needs {
		if !slices.Contains(names, name) {
			return events.Errorf(events.CodeInvalid, "the headers say that it is the event %.50q, but the body has no %q: does something change the headers on their way?", event, name)
		}
	}
	for _, name := range s.lacks {
		if slices.Contains(names, name) {
			return events.Errorf(events.CodeInvalid, "the headers say that it is the event %.50q, but the body has %q: does something change the headers on their way?", event, name)
		}
	}
	return nil
}
