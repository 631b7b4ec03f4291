// Package catalog is the library of Callboard's software catalog: entities, the references between them,
// the catalog files they are written in and the Locations that point at those files.
//
// It follows the catalog model of Backstage, so that the same files mean the same in both.
package catalog

import (
	"cmp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/callboard/callboard/pkg/events"
)

// DefaultNamespace is the namespace of an entity or a reference that names none.
const DefaultNamespace = "default"

// MaxRefLength is the most characters that the normal form of a [Ref] may have.
const MaxRefLength = 255

// Ref is the entityRef: what identifies an entity. A Ref that this package returns is in normal form, all
// lower case, and may be compared with ==. The zero Ref refers to nothing.
type Ref struct{ Kind, Namespace, Name string }

// RefOption says what [ParseRef] assumes where a reference says nothing.
type RefOption func(*Ref)

// DefaultKind is the kind of references without one.
func DefaultKind(kind string) RefOption { return func(r *Ref) { r.Kind = kind } }

// InNamespace is the namespace of references without one, instead of [DefaultNamespace]. References inside
// an entity are relative to the namespace of that entity.
func InNamespace(namespace string) RefOption {
	return func(r *Ref) { r.Namespace = cmp.Or(namespace, DefaultNamespace) }
}

// ParseRef reads a reference "[<kind>:][<namespace>/]<name>" into its normal form. A colon after the first
// slash belongs to the name. A missing kind without a [DefaultKind] and an empty part are errors, as are
// characters that cannot be printed and references above [MaxRefLength].
func ParseRef(s string, defaults ...RefOption) (Ref, error) {
	r := Ref{Namespace: DefaultNamespace}
	for _, set := range defaults {
		set(&r)
	}
	if s == "" {
		return Ref{}, events.Errorf(events.CodeInvalid, "an entity reference is empty; write [<kind>:][<namespace>/]<name>")
	}
	r.Name = s
	if before, after, ok := strings.Cut(r.Name, ":"); ok && !strings.Contains(before, "/") {
		r.Kind, r.Name = before, after
	} else if r.Kind == "" {
		return Ref{}, events.Errorf(events.CodeInvalid, "the entity reference %s has no kind; write <kind>:[<namespace>/]<name>, for example component:petstore", quote(s))
	}
	if before, after, ok := strings.Cut(r.Name, "/"); ok {
		r.Namespace, r.Name = before, after
	}
	if r.Kind == "" || r.Namespace == "" || r.Name == "" {
		return Ref{}, events.Errorf(events.CodeInvalid, "the entity reference %s has an empty part; write [<kind>:][<namespace>/]<name>", quote(s))
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return Ref{}, events.Errorf(events.CodeInvalid, "the entity reference %s has a character that cannot be printed", quote(s))
	}
	r = r.normal()
	if n := utf8.RuneCountInString(r.String()); n > MaxRefLength {
		return Ref{}, events.Errorf(events.CodeInvalid, "the entity reference %s has %d characters; at most %d are allowed", quote(s), n, MaxRefLength)
	}
	return r, nil
}

// normal is the lower-case form of r.
func (r Ref) normal() Ref {
	return Ref{Kind: strings.ToLower(r.Kind), Namespace: strings.ToLower(r.Namespace), Name: strings.ToLower(r.Name)}
}

// String is the normal form "kind:namespace/name", and "" for the zero Ref.
func (r Ref) String() string {
	if r == (Ref{}) {
		return ""
	}
	return strings.ToLower(r.Kind + ":" + r.Namespace + "/" + r.Name)
}

// MarshalText writes the normal form, which makes a Ref a string in JSON.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a reference that names its kind; see [ParseRef].
func (r *Ref) UnmarshalText(text []byte) error {
	parsed, err := ParseRef(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
