package config_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/config"
)

// schema is the part of a JSON Schema that describes a shape.
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Description          string             `json:"description"`
	Properties           map[string]*schema `json:"properties"`
	Required             []string           `json:"required"`
	AdditionalProperties any                `json:"additionalProperties"`
	Items                *schema            `json:"items"`
	MinItems             int                `json:"minItems"`
	MinProperties        int                `json:"minProperties"`
	Default              string             `json:"default"`
	Enum                 []any              `json:"enum"`
	Not                  any                `json:"not"`
	Examples             []any              `json:"examples"`
	Defs                 map[string]*schema `json:"$defs"`
}

// shape is what schema and types have to agree on.
type shape struct {
	Type          string
	Open          bool // unknown fields are allowed
	Fields        map[string]shape
	Required      []string
	Element       *shape
	Default       string
	MayNotBeEmpty bool
}

// The schema and the Go types describe the same shape: every field of one is in the other, with the same type, the
// same default, and required in both or none.
func TestSchemaFitsTypes(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var root schema
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	fromSchema := schemaShape(t, &root, root.Defs)
	fromTypes := typeShape(reflect.TypeFor[config.Config](), "")
	if diff := cmp.Diff(fromTypes, fromSchema); diff != "" {
		t.Errorf("shape (-types +schema):\n%s", diff)
	}
}

// shows tells whether a schema shows a value: by an example, a default or a list of all values. An object has those of its
// properties, and what is always refused needs none.
func (s *schema) shows(defs map[string]*schema) bool {
	if len(s.Examples)+len(s.Enum)+len(s.Properties) > 0 || s.Default != "" || s.Not != nil {
		return true
	}
	def := defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
	return def != nil && def.shows(defs)
}

func schemaShape(t *testing.T, s *schema, defs map[string]*schema) shape {
	t.Helper()
	if s.Ref == "#/$defs/duration" {
		return shape{Type: "duration"}
	}
	if s.Ref != "" {
		def := defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
		if def == nil {
			t.Fatalf("%s does not exist", s.Ref)
		}
		return schemaShape(t, def, defs)
	}
	out := shape{Type: s.Type, Default: s.Default, Required: slices.Sorted(slices.Values(s.Required)), MayNotBeEmpty: s.MinItems+s.MinProperties > 0}
	if s.Items != nil {
		e := schemaShape(t, s.Items, defs)
		out.Element = &e
	}
	if s.Type != "object" {
		return out
	}
	switch additional := s.AdditionalProperties.(type) {
	case map[string]any:
		ref, _ := additional["$ref"].(string)
		e := schemaShape(t, &schema{Ref: ref}, defs)
		out.Element = &e
		return out
	case bool:
		out.Open = additional
	default:
		out.Open = true
	}
	out.Fields = map[string]shape{}
	for name, p := range s.Properties {
		if p.Description == "" {
			t.Errorf("%s has no description", name)
		}
		if !p.shows(defs) {
			t.Errorf("%s has no example", name)
		}
		out.Fields[name] = schemaShape(t, p, defs)
	}
	return out
}

func typeShape(typ reflect.Type, tag reflect.StructTag) shape {
	if typ == reflect.TypeFor[config.Duration]() {
		return shape{Type: "duration"}
	}
	out := shape{Default: tag.Get("default")}
	switch typ.Kind() {
	case reflect.Pointer:
		return typeShape(typ.Elem(), tag)
	case reflect.Slice, reflect.Map:
		out.Type = map[reflect.Kind]string{reflect.Slice: "array", reflect.Map: "object"}[typ.Kind()]
		out.MayNotBeEmpty = tag.Get("config") != ""
		e := typeShape(typ.Elem(), "")
		out.Element = &e
		return out
	case reflect.Struct:
		out.Type, out.Fields = "object", map[string]shape{}
		for f := range typ.Fields() {
			name := f.Tag.Get("json")
			out.Fields[name] = typeShape(f.Type, f.Tag)
			if f.Tag.Get("config") == "required" {
				out.Required = append(out.Required, name)
			}
		}
		slices.Sort(out.Required)
		return out
	case reflect.Int, reflect.Int64:
		out.Type = "integer"
		return out
	case reflect.Bool:
		out.Type = "boolean"
		return out
	default:
		out.Type = typ.Kind().String() // "string", and otherwise a name that no schema has
		return out
	}
}

// Every key is in a table of the reference.
func TestReferenceHasEveryKey(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	reference := string(data)
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			check(typ.Elem())
		case reflect.Struct:
			for f := range typ.Fields() {
				key := f.Tag.Get("json")
				if !strings.Contains(reference, "| `"+key+"` |") && !strings.Contains(reference, "."+key) {
					t.Errorf("%s is not in the reference", key)
				}
				check(f.Type)
			}
		default:
		}
	}
	check(reflect.TypeFor[config.Config]())
}
