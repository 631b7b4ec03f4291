package catalog

import (
	"cmp"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Annotations that the catalog itself writes or reads.
const (
	// AnnotationManagedByLocation is the location reference of the file that an entity was read from.
	AnnotationManagedByLocation = "backstage.io/managed-by-location"
	// AnnotationManagedByOriginLocation is the location reference of the Location that led to that file.
	AnnotationManagedByOriginLocation = "backstage.io/managed-by-origin-location"
	// AnnotationSourceLocation is the location reference of the folder that the file is in.
	AnnotationSourceLocation = "backstage.io/source-location"
	// AnnotationViewURL is where a person can look at the file.
	AnnotationViewURL = "backstage.io/view-url"
	// AnnotationEditURL is where a person can change the file.
	AnnotationEditURL = "backstage.io/edit-url"
	// AnnotationOrphan is "true" on an entity that no Location leads to any more.
	AnnotationOrphan = "backstage.io/orphan"
)

// Entity is one entry of the catalog. In JSON nothing of it is lost, and equal entities have equal bytes.
type Entity struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   Metadata       `json:"metadata"`
	Spec       map[string]any `json:"spec,omitzero"` // values as in JSON: numbers are float64
	Relations  []Relation     `json:"relations,omitzero"`
}

// Metadata is what entities of all kinds have in common.
type Metadata struct {
	UID         string            `json:"uid,omitzero"`
	Etag        string            `json:"etag,omitzero"`
	Namespace   string            `json:"namespace,omitzero"`
	Name        string            `json:"name"`
	Title       string            `json:"title,omitzero"`
	Description string            `json:"description,omitzero"`
	Labels      map[string]string `json:"labels,omitzero"`
	Annotations map[string]string `json:"annotations,omitzero"`
	Tags        []string          `json:"tags,omitzero"`
	Links       []Link            `json:"links,omitzero"`
	// Extra are the metadata that no field above stands for.
	Extra map[string]any `json:",embed"`
}

// Link is a link to a page about an entity.
type Link struct {
	URL   string `json:"url"`
	Title string `json:"title,omitzero"`
	Icon  string `json:"icon,omitzero"`
	Type  string `json:"type,omitzero"`
	// Extra are the properties that no field above stands for.
	Extra map[string]any `json:",embed"`
}

// Relation is one direction of a relation to another entity, which need not exist.
type Relation struct {
	Type      string `json:"type"`
	TargetRef Ref    `json:"targetRef"`
}

// Membership says that a user or a child group belongs to a group.
type Membership struct{ Group, Member Ref }

// MarshalJSON writes e with sorted keys, so that the bytes can be hashed and compared.
func (e *Entity) MarshalJSON() ([]byte, error) {
	type plain Entity
	return json.Marshal((*plain)(e), json.Deterministic(true))
}

// UnmarshalJSON reads what [Entity.MarshalJSON] wrote. Root fields that e has no place for are an error.
func (e *Entity) UnmarshalJSON(data []byte) error {
	type plain Entity
	var v struct {
		plain
		Foreign map[string]jsontext.Value `json:",embed"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return events.Wrap(err, events.CodeInvalid, "the JSON of an entity cannot be read")
	}
	if len(v.Foreign) > 0 {
		return events.Errorf(events.CodeInvalid, "an entity has no root field %s", quote(slices.Min(slices.Collect(maps.Keys(v.Foreign)))))
	}
	*e = Entity(v.plain)
	return nil
}

// Ref is the reference to e, in normal form.
func (e *Entity) Ref() Ref {
	return Ref{Kind: e.Kind, Namespace: cmp.Or(e.Metadata.Namespace, DefaultNamespace), Name: e.Metadata.Name}.normal()
}

// Owners are the entities that spec.owner refers to, whatever kind e is of.
func (e *Entity) Owners() []Ref { return ownerField.refs(e) }

// OutgoingRelations computes the relations that the spec of e declares, sorted and each once. The opposite
// directions belong to the entities it refers to.
func (e *Entity) OutgoingRelations() []Relation {
	var relations []Relation
	fields, _ := e.specFields()
	for _, f := range fields {
		if f.relation == "" {
			continue
		}
		for _, ref := range f.refs(e) {
			relations = append(relations, Relation{Type: f.relation, TargetRef: ref})
		}
	}
	slices.SortFunc(relations, func(a, b Relation) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.TargetRef.String(), b.TargetRef.String()))
	})
	return slices.Compact(relations)
}

// Memberships says who belongs to the Group e, and which groups the Group or User e belongs to.
func (e *Entity) Memberships() []Membership {
	var memberships []Membership
	for _, r := range e.OutgoingRelations() {
		switch r.Type {
		case RelationHasMember, RelationParentOf:
			memberships = append(memberships, Membership{Group: e.Ref(), Member: r.TargetRef})
		case RelationMemberOf, RelationChildOf:
			memberships = append(memberships, Membership{Group: r.TargetRef, Member: e.Ref()})
		}
	}
	return memberships
}
