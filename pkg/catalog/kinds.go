package catalog

import (
	"fmt"
	"strings"
)

// Types of relations, as seen from the entity whose spec names the other one.
const (
	RelationOwnedBy      = "ownedBy"
	RelationPartOf       = "partOf"
	RelationProvidesAPI  = "providesApi"
	RelationConsumesAPI  = "consumesApi"
	RelationDependsOn    = "dependsOn"
	RelationDependencyOf = "dependencyOf"
	RelationChildOf      = "childOf"
	RelationParentOf     = "parentOf"
	RelationHasMember    = "hasMember"
	RelationMemberOf     = "memberOf"
)

// specField is what Backstage's schemas and processors know about one field of a spec.
type specField struct {
	name     string
	form     form
	required bool
	// relation is the type of the relation to the entities that the field refers to, or "".
	relation string
	// defaultKind is the kind of references without one; "" means that the kind must be written.
	defaultKind string
}

// The fields that mean the same in several kinds.
var (
	typeField         = specField{name: "type", form: stringForm, required: true}
	lifecycleField    = specField{name: "lifecycle", form: stringForm, required: true}
	ownerField        = specField{name: "owner", form: stringForm, required: true, relation: RelationOwnedBy, defaultKind: "Group"}
	systemField       = specField{name: "system", form: stringForm, relation: RelationPartOf, defaultKind: "System"}
	dependsOnField    = specField{name: "dependsOn", form: stringsForm, relation: RelationDependsOn}
	dependencyOfField = specField{name: "dependencyOf", form: stringsForm, relation: RelationDependencyOf}
	profileField      = specField{name: "profile", form: profileForm}
)

// specFields are the built-in kinds, in lower case, with their fields.
var specFields = map[string][]specField{
	"component": {
		typeField, lifecycleField, ownerField, systemField, dependsOnField, dependencyOfField,
		{name: "subcomponentOf", form: stringForm, relation: RelationPartOf, defaultKind: "Component"},
		{name: "providesApis", form: stringsForm, relation: RelationProvidesAPI, defaultKind: "API"},
		{name: "consumesApis", form: stringsForm, relation: RelationConsumesAPI, defaultKind: "API"},
	},
	"api": {typeField, lifecycleField, ownerField, systemField, {name: "definition", form: stringForm, required: true}},
	// An API of the type mcp-server is described by where it runs.
	mcpServer:  {typeField, lifecycleField, ownerField, systemField, {name: "remotes", form: remotesForm, required: true}},
	"resource": {typeField, ownerField, systemField, dependsOnField, dependencyOfField},
	"system": {
		ownerField,
		{name: "type", form: stringForm},
		{name: "domain", form: stringForm, relation: RelationPartOf, defaultKind: "Domain"},
	},
	"domain": {
		ownerField,
		{name: "type", form: stringForm},
		{name: "subdomainOf", form: stringForm, relation: RelationPartOf, defaultKind: "Domain"},
	},
	"group": {
		typeField, profileField,
		{name: "parent", form: stringForm, relation: RelationChildOf, defaultKind: "Group"},
		{name: "children", form: stringsForm, required: true, relation: RelationParentOf, defaultKind: "Group"},
		{name: "members", form: stringsForm, relation: RelationHasMember, defaultKind: "User"},
	},
	"user": {
		profileField,
		{name: "memberOf", form: stringsForm, required: true, relation: RelationMemberOf, defaultKind: "Group"},
	},
	"location": {
		{name: "type", form: stringForm},
		{name: "target", form: stringForm},
		{name: "targets", form: stringsForm},
		{name: "presence", form: presenceForm},
	},
	"airesource": {typeField, lifecycleField, ownerField},
}

// foreignFields is what an entity of any other kind has in common with the built-in ones.
var foreignFields = []specField{ownerField}

const mcpServer = "mcp-server"

// specFields are the fields of e's kind, and whether the kind is a built-in one, whose fields have rules.
func (e *Entity) specFields() (fields []specField, builtIn bool) {
	if e.APIVersion != "backstage.io/v1alpha1" && e.APIVersion != "backstage.io/v1beta1" {
		return foreignFields, false
	}
	kind := strings.ToLower(e.Kind)
	if kind == "api" && e.Spec["type"] == mcpServer {
		return specFields[mcpServer], true
	}
	if fields, ok := specFields[kind]; ok && kind != mcpServer {
		return fields, true
	}
	return foreignFields, false
}

// checkSpec notes what is wrong with the spec of a built-in kind.
func (e *Entity) checkSpec(p *problems) {
	fields, builtIn := e.specFields()
	if !builtIn || isPlaceholder(e.Spec) {
		return
	}
	at := field{"spec"}
	if e.Spec == nil {
		p.add(at, "is missing; the kind %s needs it", e.Kind)
		return
	}
	for _, f := range fields {
		v, ok := e.Spec[f.name]
		if !ok && f.required {
			p.add(at.name(f.name), "is missing; the kind %s needs it", e.Kind)
		}
		if !ok || isPlaceholder(v) {
			continue
		}
		f.form(p, at.name(f.name), v)
		if f.relation == "" {
			continue
		}
		for _, s := range strs(v) {
			if _, err := f.parse(e, s); err != nil && s != "" {
				p.add(at.name(f.name), "is wrong: %s", err.Error())
			}
		}
	}
}

// parse reads a reference that stands in the field f of e.
func (f specField) parse(e *Entity, s string) (Ref, error) {
	return ParseRef(s, DefaultKind(f.defaultKind), InNamespace(e.Metadata.Namespace))
}

// refs are the entities that the field f of e refers to.
func (f specField) refs(e *Entity) []Ref {
	var refs []Ref
	for _, s := range strs(e.Spec[f.name]) {
		if ref, err := f.parse(e, s); err == nil {
			refs = append(refs, ref)
		}
	}
	return refs
}

// strs are the strings of a value that is one or a list of them.
func strs(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// isPlaceholder says whether v stands for the content of another file: a mapping of exactly one of the keys
// $text, $json and $yaml to where it is. What that content is cannot be checked here.
func isPlaceholder(v any) bool {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return false
	}
	for _, key := range []string{"$text", "$json", "$yaml"} {
		if _, ok := m[key].(string); ok {
			return true
		}
	}
	return false
}

// form notes what is wrong with the value of a field.
type form func(p *problems, at field, v any)

func stringForm(p *problems, at field, v any) {
	if s, ok := v.(string); !ok {
		p.add(at, "must be a string, but is %s", describe(v))
	} else if s == "" {
		p.add(at, "must not be empty")
	}
}

func stringsForm(p *problems, at field, v any) {
	list, ok := v.([]any)
	if !ok {
		p.add(at, "must be a list of strings, but is %s", describe(v))
	}
	for i, item := range list {
		if !isPlaceholder(item) {
			stringForm(p, at.item(i), item)
		}
	}
}

func profileForm(p *problems, at field, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		p.add(at, "must be a mapping, but is %s", describe(v))
	}
	for _, name := range []string{"displayName", "email", "picture"} {
		if v, ok := m[name]; ok && !isPlaceholder(v) {
			stringForm(p, at.name(name), v)
		}
	}
}

func presenceForm(p *problems, at field, v any) {
	if v != PresenceRequired && v != PresenceOptional {
		p.add(at, "must be %s or %s", PresenceRequired, PresenceOptional)
	}
}

func remotesForm(p *problems, at field, v any) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		p.add(at, "must be a list of at least one mapping with type and url")
	}
	for i, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			p.add(at.item(i), "must be a mapping with type and url, but is %s", describe(item))
		}
		for _, name := range []string{"type", "url"} {
			stringForm(p, at.item(i).name(name), m[name])
		}
	}
}

// describe names the type of a decoded value as a person who writes YAML would.
func describe(v any) string {
	switch v.(type) {
	case nil:
		return "empty"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	default:
		return fmt.Sprintf("a Go %T, which JSON does not decode to", v)
	}
}
