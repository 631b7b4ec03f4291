package catalog

import (
	"bytes"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/callboard/callboard/pkg/events"
)

// Limits of [Parse]. What is above one is an error, never cut off silently.
const (
	// MaxFileSize is the most bytes of a catalog file.
	MaxFileSize = 5 << 20
	// MaxDocuments is the most documents of a catalog file.
	MaxDocuments = 1000
	// MaxDepth is how deep the values of a document may be nested.
	MaxDepth = 100
	// MaxAliasBytes is how much the aliases of a file may repeat: the bytes of the scalars, and 16 for each value.
	MaxAliasBytes = 1 << 20
)

// Document is what [Parse] found in one document of a catalog file: an entity, or what is wrong with it.
type Document struct {
	Index  int     // number of the document in the file, from 1; empty documents count
	Line   int     // of the file, from 1: where the document starts, or where the error is
	Entity *Entity // valid, and with its namespace; nil when there is an error
	Ref    Ref     // of the entity; when there is an error, as far as it can still be read for certain, or zero
	Err    error   // an [events.Error], or nil
}

// Parse reads a catalog file: a stream of YAML 1.2 documents (core schema, whatever a %YAML directive says),
// of which JSON is a part. Each document stands for itself, a broken one does not hide the others; documents
// without content are left out. A reference that an earlier document of the file has, even a broken one, is
// an error.
func Parse(data []byte) []Document {
	if len(data) > MaxFileSize {
		return []Document{{Index: 1, Line: 1, Err: events.Errorf(events.CodeTooLarge,
			"the file has %d bytes; at most %d are read", len(data), MaxFileSize)}}
	}
	var documents []Document
	defined := map[Ref]int{}
	var d decoder
	index := 0
	for c := range chunks(bytes.TrimPrefix(data, []byte("\ufeff"))) {
		index++
		if index > MaxDocuments {
			return append(documents, Document{Index: index, Line: c.line, Err: events.Errorf(events.CodeTooLarge,
				"the file has more than %d documents; the rest is not read", MaxDocuments)})
		}
		document, ok := c.parse(&d)
		if !ok {
			continue
		}
		document.Index = index
		if first, ok := defined[document.Ref]; !ok {
			defined[document.Ref] = index
		} else if document.Err == nil {
			document.Entity = nil
			document.Err = events.Errorf(events.CodeInvalid, "%s is already defined in document %d", document.Ref, first)
		}
		documents = append(documents, document)
	}
	return documents
}

// parse reads one document; false when it has no content.
func (c chunk) parse(d *decoder) (Document, bool) {
	if !utf8.Valid(c.text) {
		wrong := &mistake{line: invalidLine(c.text), text: "the text is not UTF-8"}
		return c.broken(wrong, refBefore(c.text, wrong)), true
	}
	root, wrong := parseYAML(c.text)
	if wrong != nil {
		return c.broken(wrong, refBefore(c.text, wrong)), true
	}
	v, wrong := d.value(root, 1)
	if wrong != nil {
		return c.broken(wrong, refOf(root)), true
	}
	switch v := v.(type) {
	case nil:
		return Document{}, false
	case map[string]any:
		return c.entity(root, v), true
	default:
		return c.broken(&mistake{line: root.Line, text: "the root must be a mapping, but is " + describe(v)}, Ref{}), true
	}
}

// entity makes an entity of a mapping and says what is wrong with it.
func (c chunk) entity(root *yaml.Node, m map[string]any) Document {
	var p problems
	e := entityOf(m, &p)
	e.check(&p)
	if err := p.err(); err != nil {
		return Document{Line: c.fileLine(lineOf(root, p.list[0].at)), Ref: refOf(root), Err: err}
	}
	return Document{Line: c.fileLine(root.Line), Entity: e, Ref: e.Ref()}
}

// broken is a document that is not usable YAML.
func (c chunk) broken(m *mistake, ref Ref) Document {
	return Document{Line: c.fileLine(m.line), Ref: ref, Err: events.Errorf(events.CodeInvalid, "invalid YAML: %s", m.text)}
}

func (c chunk) fileLine(line int) int { return c.line + line - 1 }

// refOf reads the reference of an entity from the nodes of its document, whatever is wrong with the rest. It
// is zero unless kind, name and namespace are there once and are as they should be: a guess would make
// somebody believe that the entity that is really meant is gone.
func refOf(root *yaml.Node) Ref {
	metadata := only(root, "metadata")
	kind, name := only(root, "kind"), only(metadata, "name")
	namespace := &yaml.Node{Kind: yaml.ScalarNode, Value: DefaultNamespace}
	if key, _ := child(resolved(metadata), "namespace"); key != nil {
		namespace = only(metadata, "namespace")
	}
	for _, n := range []*yaml.Node{kind, name, namespace} {
		if n.Kind != yaml.ScalarNode {
			return Ref{}
		}
	}
	if !kindRule(kind.Value) || !nameRule(name.Value) || !isNamespace(namespace.Value) {
		return Ref{}
	}
	return Ref{Kind: kind.Value, Namespace: namespace.Value, Name: name.Value}.normal()
}

// only is the value of a key that a mapping has exactly once, else a node of no kind.
func only(n *yaml.Node, key string) *yaml.Node {
	var found []*yaml.Node
	if n = resolved(n); n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = append(found, n.Content[i+1])
			}
		}
	}
	if len(found) != 1 {
		return &yaml.Node{}
	}
	return resolved(found[0])
}

// resolved is what n stands for if it is an alias. An alias never stands for another one.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// refBefore reads the reference of an entity from the lines of its document before a mistake. It is zero when
// the mistake may be inside the metadata, which then are not known to be complete.
func refBefore(text []byte, m *mistake) Ref {
	for _, line := range []int{m.line, m.start} {
		end := 0
		for range line - 1 {
			_, end = nextLine(text, end)
		}
		root, wrong := parseYAML(text[:end])
		if wrong != nil || root.Kind != yaml.MappingNode || len(root.Content) == 0 {
			continue
		}
		if last := root.Content[len(root.Content)-2].Value; last != "metadata" && last != "kind" {
			return refOf(root)
		}
	}
	return Ref{}
}

// invalidLine is the line of the first byte that is not UTF-8.
func invalidLine(text []byte) int {
	at, line := 0, 0
	for at < len(text) {
		content, next := nextLine(text, at)
		line++
		if !utf8.Valid(content) {
			break
		}
		at = next
	}
	return line
}
