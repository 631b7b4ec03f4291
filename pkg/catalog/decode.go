package catalog

import (
	"maps"
	"slices"
)

// metadataFields are the names of the fields of [Metadata].
var metadataFields = []string{
	"uid", "etag", "namespace", "name", "title", "description", "labels", "annotations", "tags", "links",
}

// entityOf makes an entity of what an author wrote. A value of a wrong type is noted in p and left out. The
// catalog alone says what uid and etag are, so those an author wrote are dropped.
func entityOf(root map[string]any, p *problems) *Entity {
	o := object{values: root, problems: p}
	for _, name := range o.others("apiVersion", "kind", "metadata", "spec") {
		p.add(field{name}, "is not allowed here; the root fields are apiVersion, kind, metadata and spec")
	}
	e := &Entity{APIVersion: o.text("apiVersion"), Kind: o.text("kind")}
	e.Spec = o.object("spec").values
	if m := o.object("metadata"); m.values != nil {
		e.Metadata = metadataOf(m)
	} else {
		p.add(m.at, "is missing")
	}
	if e.Metadata.Namespace == "" {
		e.Metadata.Namespace = DefaultNamespace
	}
	return e
}

func metadataOf(o object) Metadata {
	o.nonEmpty("uid")
	o.nonEmpty("etag")
	m := Metadata{
		Namespace:   o.nonEmpty("namespace"),
		Name:        o.text("name"),
		Title:       o.nonEmpty("title"),
		Description: o.text("description"),
		Labels:      o.texts("labels"),
		Annotations: o.texts("annotations"),
		Extra:       o.rest(metadataFields...),
	}
	if tags, ok := o.list("tags"); ok {
		m.Tags = make([]string, len(tags.items))
		for i := range tags.items {
			m.Tags[i] = tags.text(i)
		}
	}
	if links, ok := o.list("links"); ok {
		m.Links = make([]Link, len(links.items))
		for i := range links.items {
			m.Links[i] = linkOf(links.object(i))
		}
	}
	return m
}

func linkOf(o object) Link {
	return Link{
		URL:   o.text("url"),
		Title: o.nonEmpty("title"),
		Icon:  o.nonEmpty("icon"),
		Type:  o.nonEmpty("type"),
		Extra: o.rest("url", "title", "icon", "type"),
	}
}

// object is a decoded mapping whose values are asked for by type.
type object struct {
	at       field
	values   map[string]any
	problems *problems
}

// list is a decoded list whose items are asked for by type.
type list struct {
	at       field
	items    []any
	problems *problems
}

func (o object) text(name string) string {
	v, ok := o.values[name]
	if !ok {
		return ""
	}
	return asText(o.problems, o.at.name(name), v)
}

// nonEmpty is an optional string that may be absent but not empty.
func (o object) nonEmpty(name string) string {
	s := o.text(name)
	if _, ok := o.values[name]; ok && s == "" {
		o.problems.add(o.at.name(name), "must not be empty")
	}
	return s
}

// object is a mapping inside o; its values are nil when there is none.
func (o object) object(name string) object {
	v, ok := o.values[name]
	if !ok {
		return object{at: o.at.name(name), problems: o.problems}
	}
	return asObject(o.problems, o.at.name(name), v)
}

// texts is a mapping to strings, or nil when there is none.
func (o object) texts(name string) map[string]string {
	m := o.object(name)
	if m.values == nil {
		return nil
	}
	texts := make(map[string]string, len(m.values))
	for _, key := range slices.Sorted(maps.Keys(m.values)) {
		texts[key] = m.text(key)
	}
	return texts
}

func (o object) list(name string) (list, bool) {
	v, ok := o.values[name]
	if !ok {
		return list{}, false
	}
	l := list{at: o.at.name(name), problems: o.problems}
	if l.items, ok = v.([]any); !ok {
		o.problems.add(l.at, "must be a list, but is %s", describe(v))
	}
	return l, ok
}

// others are the names in o that are not among the known ones, sorted.
func (o object) others(known ...string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(o.values)) {
		if !slices.Contains(known, name) {
			names = append(names, name)
		}
	}
	return names
}

// rest are the values in o without the known ones, or nil.
func (o object) rest(known ...string) map[string]any {
	var rest map[string]any
	for _, name := range o.others(known...) {
		if rest == nil {
			rest = map[string]any{}
		}
		rest[name] = o.values[name]
	}
	return rest
}

func (l list) text(i int) string { return asText(l.problems, l.at.item(i), l.items[i]) }

func (l list) object(i int) object { return asObject(l.problems, l.at.item(i), l.items[i]) }

func asText(p *problems, at field, v any) string {
	s, ok := v.(string)
	if !ok {
		p.add(at, "must be a string, but is %s", describe(v))
	}
	return s
}

func asObject(p *problems, at field, v any) object {
	m, ok := v.(map[string]any)
	if !ok {
		p.add(at, "must be a mapping, but is %s", describe(v))
	}
	return object{at: at, values: m, problems: p}
}
