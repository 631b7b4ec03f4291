package stack_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
)

// object is a JSON object.
type object = map[string]any

// template is a CloudFormation template, and the topology that it should be.
type template struct {
	Resources map[string]*resource `json:"Resources"`
	Outputs   object               `json:"Outputs"`

	topo    *topology.Topology
	conf    *config.Config
	adopted bool
	kept    bool   // the bucket outlives the stack
	dir     string // that the template is in
}

type resource struct {
	Type                string   `json:"Type"`
	Properties          object   `json:"Properties"`
	DependsOn           []string `json:"DependsOn"`
	DeletionPolicy      string   `json:"DeletionPolicy"`
	UpdateReplacePolicy string   `json:"UpdateReplacePolicy"`
	Metadata            object   `json:"Metadata"`
}

func (v *variant) template(t *testing.T) *template {
	t.Helper()
	tpl := &template{topo: v.topo, conf: v.conf, adopted: v.options.Adopt, kept: v.options.Retain || v.options.Adopt, dir: v.dir}
	if err := json.Unmarshal(v.json, tpl, json.RejectUnknownMembers(false)); err != nil {
		t.Fatal(err)
	}
	return tpl
}

// ids returns the logical ids of all resources of a type, in order.
func (t *template) ids(kind string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		if t.Resources[id].Type == kind {
			ids = append(ids, id)
		}
	}
	return ids
}

// one returns the first resource of a type that a text occurs in the id of.
func (t *template) one(kind, part string) *resource {
	for _, id := range t.ids(kind) {
		if strings.Contains(id, part) {
			return t.Resources[id]
		}
	}
	panic("no " + kind + " with " + part)
}

// named returns the logical id of the resource of a type that has a property with this value.
func (t *template) named(kind, property, value string) (string, *resource) {
	for _, id := range t.ids(kind) {
		if t.Resources[id].Properties[property] == value {
			return id, t.Resources[id]
		}
	}
	return "", nil
}

// get returns what is at a path such as "ScalingConfig.MaximumConcurrency"; nil if there is nothing.
func get(v any, path string) any {
	for _, part := range strings.Split(path, ".") {
		o, ok := v.(object)
		if !ok {
			return nil
		}
		v = o[part]
	}
	return v
}

func (r *resource) get(path string) any { return get(r.Properties, path) }

// number returns a number at a path, -1 if there is none.
func (r *resource) number(path string) float64 {
	n, ok := r.get(path).(float64)
	if !ok {
		return -1
	}
	return n
}

// table and bucket return what refers to the table and the bucket.
func (t *template) table() any {
	if t.adopted {
		return t.topo.Prefix + "-table"
	}
	return object{"Ref": "Table"}
}

func (t *template) bucket() any {
	if t.adopted {
		return object{"Fn::Join": []any{"", []any{t.topo.Prefix + "-", object{"Ref": "AWS::AccountId"}, "-", object{"Ref": "AWS::Region"}}}}
	}
	return object{"Ref": "Blobs"}
}

// target returns the logical id that a Ref or Fn::GetAtt refers to; "" for anything else.
func target(v any) string {
	o, ok := v.(object)
	if !ok || len(o) != 1 {
		return ""
	}
	if ref, ok := o["Ref"].(string); ok {
		return ref
	}
	if list, ok := o["Fn::GetAtt"].([]any); ok && len(list) == 2 {
		id, _ := list[0].(string)
		return id
	}
	return ""
}

// list returns a list; one value counts as a list of it.
func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		return []any{v}
	}
}

func text(v any) string {
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return string(data)
}

// statements returns the statements of a policy document.
func statements(document any) []object {
	var all []object
	for _, s := range list(get(document, "Statement")) {
		all = append(all, s.(object))
	}
	return all
}

// policyOf returns the statements of the policies of a queue, topic or bucket.
func (t *template) policyOf(kind, property, id string) []object {
	var all []object
	for _, policy := range t.ids(kind) {
		r := t.Resources[policy]
		for _, of := range list(r.get(property)) {
			if target(of) == id {
				all = append(all, statements(r.get("PolicyDocument"))...)
			}
		}
	}
	return all
}

// roleStatements returns the statements of the policies of a role, with the path to each.
func (t *template) roleStatements(role string) map[string]object {
	all := map[string]object{}
	for _, p := range list(t.Resources[role].get("Policies")) {
		for _, s := range statements(get(p, "PolicyDocument")) {
			key := fmt.Sprint(role, " ", s["Sid"])
			for all[key] != nil { // none hides behind another of its name
				key += " again"
			}
			all[key] = s
		}
	}
	for _, id := range t.ids("AWS::IAM::Policy") {
		if slices.ContainsFunc(list(t.Resources[id].get("Roles")), func(v any) bool { return target(v) == role }) {
			for i, s := range statements(t.Resources[id].get("PolicyDocument")) {
				all[fmt.Sprint(id, " ", i)] = s
			}
		}
	}
	return all
}

// refusesPlain tells whether a statement refuses requests without TLS.
func refusesPlain(all []object) bool {
	return slices.ContainsFunc(all, func(s object) bool {
		return s["Effect"] == "Deny" && get(s, "Condition.Bool.aws:SecureTransport") == "false"
	})
}
