package events

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Selector points at one value of an event: metadata by name, or a string in the payload by its path. Its
// text form is "metadata:<name>" ("header:<name>" means the same) or "body:<member>[.<member>…]".
type Selector struct {
	metadata string
	path     []string
}

// ParseSelector reads the text form of a Selector.
func ParseSelector(s string) (Selector, error) {
	kind, value, _ := strings.Cut(s, ":")
	switch {
	case (kind == "metadata" || kind == "header") && value != "":
		return Selector{metadata: strings.ToLower(value)}, nil
	case kind == "body" && value != "" && !strings.Contains("."+value+".", ".."):
		return Selector{path: strings.Split(value, ".")}, nil
	}
	return Selector{}, Errorf(CodeInvalid, "%q selects nothing: write \"header:<name>\", \"metadata:<name>\" or \"body:<path>\", such as \"body:event.type\"", s)
}

// String is the text form that [ParseSelector] reads.
func (s Selector) String() string {
	if s.path == nil {
		return "metadata:" + s.metadata
	}
	return "body:" + strings.Join(s.path, ".")
}

// Select returns the value in metadata or payload and whether there is one. Only strings count, and an empty
// one does not. Where a member occurs twice the last one counts, as in most JSON readers.
func (s Selector) Select(metadata Metadata, payload []byte) (string, bool) {
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

func find(d *jsontext.Decoder, path []string) (string, error) {
	if len(path) == 0 {
		if d.PeekKind() != '"' {
			return "", d.SkipValue()
		}
		t, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		return t.String(), nil
	}
	if d.PeekKind() != '{' {
		return "", d.SkipValue()
	}
	if _, err := d.ReadToken(); err != nil {
		return "", err
	}
	found := ""
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		if name.String() != path[0] {
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
