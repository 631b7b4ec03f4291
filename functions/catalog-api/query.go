package catalogapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// clause is one filter: each key has one of its values.
type clause map[string][]string

// The keys of a filter.
const (
	keyKind      = "kind"
	keyNamespace = "metadata.namespace"
	keyName      = "metadata.name"
)

// parseQuery reads filter, fields, limit and offset.
func parseQuery(raw string) (catalogstore.Query, []string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return catalogstore.Query{}, nil, events.Wrap(err, events.CodeInvalid, "The query is not percent-encoded as it should be.")
	}
	for name := range values {
		if !slices.Contains([]string{"filter", "fields", "limit", "offset"}, name) {
			return catalogstore.Query{}, nil, events.Errorf(events.CodeInvalid,
				"The query parameter %.100q is not supported; there are filter, fields, limit and offset.", name)
		}
	}
	var query catalogstore.Query
	if query.Limit, err = number(values, "limit", 1); err != nil {
		return catalogstore.Query{}, nil, err
	}
	if query.Offset, err = number(values, "offset", 0); err != nil {
		return catalogstore.Query{}, nil, err
	}
	var clauses []clause
	for _, text := range values["filter"] {
		c, err := parseClause(text)
		if err != nil {
			return catalogstore.Query{}, nil, err
		}
		clauses = append(clauses, c)
	}
	if len(clauses) > 0 {
		query.Kinds, query.Match = kinds(clauses), func(ref catalog.Ref) bool {
			return slices.ContainsFunc(clauses, func(c clause) bool { return c.matches(ref) })
		}
	}
	var fields []string
	for _, list := range values["fields"] {
		for field := range strings.SplitSeq(list, ",") {
			if field = strings.TrimSpace(field); field != "" {
				fields = append(fields, field)
			}
		}
	}
	return query, fields, nil
}

// number reads a whole number that is at least lowest; an absent one is 0.
func number(values url.Values, name string, lowest int) (int, error) {
	if !values.Has(name) {
		return 0, nil
	}
	n, err := strconv.Atoi(values.Get(name))
	if err != nil || n < lowest {
		return 0, events.Errorf(events.CodeInvalid, "The query parameter %s is %.50q; it must be a whole number of at least %d.", name, values.Get(name), lowest)
	}
	return n, nil
}

func parseClause(text string) (clause, error) {
	c := clause{}
	for term := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(term, "=")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.ToLower(strings.TrimSpace(value))
		if key != keyKind && key != keyNamespace && key != keyName {
			return nil, events.Errorf(events.CodeInvalid,
				"The filter key %.100q is not supported; there are %s, %s and %s.", key, keyKind, keyNamespace, keyName)
		}
		if !ok || value == "" {
			return nil, events.Errorf(events.CodeInvalid, "The filter %.100q has no value; write %s=<value>.", term, key)
		}
		c[key] = append(c[key], value)
	}
	return c, nil
}

func (c clause) matches(ref catalog.Ref) bool {
	for key, value := range map[string]string{keyKind: ref.Kind, keyNamespace: ref.Namespace, keyName: ref.Name} {
		if wanted, ok := c[key]; ok && !slices.Contains(wanted, value) {
			return false
		}
	}
	return true
}

// kinds are those that the clauses can select, or nil for all.
func kinds(clauses []clause) []string {
	var list []string
	for _, c := range clauses {
		if c[keyKind] == nil {
			return nil
		}
		list = append(list, c[keyKind]...)
	}
	return list
}

// answer collects entities, with only some of their fields if any are named.
type answer struct {
	fields []string
	items  []any
	size   int
}

// item returns the JSON of an entity. It fails when the answer gets larger than a function can return.
func (a *answer) item(e *catalog.Entity) (jsontext.Value, error) {
	data, err := json.Marshal(withRelations(e))
	if err != nil {
		return nil, err
	}
	if len(a.fields) > 0 {
		if data, err = selectFields(data, a.fields); err != nil {
			return nil, err
		}
	}
	if a.size += len(data); a.size > maxAnswer {
		return nil, events.Errorf(events.CodeTooLarge, "The answer has more than %d bytes; ask for fewer entities, or fewer fields of them.", maxAnswer)
	}
	return data, nil
}

// selectFields keeps those values of a JSON object that the dotted paths name.
func selectFields(data []byte, fields []string) ([]byte, error) {
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	selected := map[string]any{}
	for _, field := range fields {
		pick(object, selected, field)
	}
	return json.Marshal(selected, json.Deterministic(true))
}

// pick copies what a path names. A key may itself contain dots.
func pick(from, to map[string]any, path string) {
	if value, ok := from[path]; ok {
		to[path] = value
		return
	}
	for key, value := range from {
		rest, ok := strings.CutPrefix(path, key+".")
		inner, isObject := value.(map[string]any)
		if !ok || !isObject {
			continue
		}
		into, _ := to[key].(map[string]any)
		if into == nil {
			into = map[string]any{}
		}
		if pick(inner, into, rest); len(into) > 0 {
			to[key] = into
		}
	}
}
