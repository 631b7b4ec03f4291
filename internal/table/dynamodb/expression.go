package dynamodb

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// expression builds the expressions of one operation, with placeholders for every name and value.
type expression struct {
	names      map[string]string // by placeholder
	used       map[string]string // placeholder by name
	values     attributes
	conditions []string
}

func (e *expression) name(name string) string {
	if placeholder, ok := e.used[name]; ok {
		return placeholder
	}
	if e.names == nil {
		e.names, e.used = make(map[string]string), make(map[string]string)
	}
	placeholder := "#" + strconv.Itoa(len(e.names))
	e.names[placeholder], e.used[name] = name, placeholder
	return placeholder
}

func (e *expression) value(value any) string {
	if e.values == nil {
		e.values = make(attributes)
	}
	placeholder := ":" + strconv.Itoa(len(e.values))
	e.values[placeholder] = encodeValue(value)
	return placeholder
}

func (e *expression) require(condition string) { e.conditions = append(e.conditions, condition) }

// condition is the condition expression; nil where nothing is required.
func (e *expression) condition() *string {
	if len(e.conditions) == 0 {
		return nil
	}
	return new(strings.Join(e.conditions, " AND "))
}

// requireAll requires conditions. An expired item counts as none: see isExpired, which compares whole seconds too.
func (e *expression) requireAll(conditions []table.Condition, now time.Time) {
	exists := false
	for _, c := range conditions {
		switch c.Kind {
		case table.KindNotExists:
			e.requireAbsent(now)
		case table.KindExists:
			exists = true
		case table.KindEqual:
			exists = true
			e.require(e.name(c.Name) + " = " + e.value(c.Value))
		}
	}
	if exists {
		e.require("attribute_exists(" + e.name(namePK) + ")")
		e.requireNotExpired(now)
	}
}

// requireAbsent requires that there is no item, or an expired one.
func (e *expression) requireAbsent(now time.Time) {
	e.require("(attribute_not_exists(" + e.name(namePK) + ") OR " + e.name(nameExpires) + " <= " + e.value(now.Unix()) + ")")
}

// requireNotExpired holds where there is no item, too.
func (e *expression) requireNotExpired(now time.Time) {
	expires := e.name(nameExpires)
	e.require("(attribute_not_exists(" + expires + ") OR " + expires + " > " + e.value(now.Unix()) + ")")
}

// update is the update expression for u; nil where it would change nothing. It requires that no sum leaves the range
// of int64, which DynamoDB's numbers do not know. That only numbers are added to is its own rule.
func (e *expression) update(u table.Update) *string {
	var set, remove, add, tooFar []string
	for _, name := range slices.Sorted(maps.Keys(u.Set)) {
		set = append(set, e.name(name)+" = "+e.value(u.Set[name]))
	}
	for _, name := range u.Remove {
		remove = append(remove, e.name(name))
	}
	for _, name := range slices.Sorted(maps.Keys(u.Add)) {
		placeholder, delta := e.name(name), u.Add[name]
		add = append(add, placeholder+" "+e.value(delta))
		switch {
		case delta > 0:
			tooFar = append(tooFar, placeholder+" > "+e.value(math.MaxInt64-delta))
		case delta < 0:
			tooFar = append(tooFar, placeholder+" < "+e.value(math.MinInt64-delta))
		}
	}
	switch {
	case u.Expires == nil:
	case u.Expires.IsZero():
		remove = append(remove, e.name(nameExpires))
	default:
		set = append(set, e.name(nameExpires)+" = "+e.value(table.ExpiresSeconds(*u.Expires)))
	}
	if len(tooFar) > 0 {
		e.require("NOT (" + strings.Join(tooFar, " OR ") + ")")
	}

	var clauses []string
	for _, clause := range []struct {
		keyword string
		changes []string
	}{{"SET ", set}, {"REMOVE ", remove}, {"ADD ", add}} {
		if len(clause.changes) > 0 {
			clauses = append(clauses, clause.keyword+strings.Join(clause.changes, ", "))
		}
	}
	return new(strings.Join(clauses, " "))
}

// onlyRemoves tells whether an update stores nothing. Whether DynamoDB creates an item for it is not documented.
func onlyRemoves(u table.Update) bool {
	return len(u.Set) == 0 && len(u.Add) == 0 && (u.Expires == nil || u.Expires.IsZero())
}

// created is what an update makes where there is no item.
func created(key table.Key, u table.Update) table.Item {
	item := table.Item{Key: key, Attrs: maps.Clone(u.Set)}
	if item.Attrs == nil {
		item.Attrs = table.Attrs{}
	}
	for name, delta := range u.Add {
		item.Attrs[name] = delta
	}
	if u.Expires != nil {
		item.Expires = *u.Expires
	}
	return item
}

// holds says whether all conditions are true of an item, which is nil where there is none.
func holds(conditions []table.Condition, item *table.Item) bool {
	for _, c := range conditions {
		switch c.Kind {
		case table.KindNotExists:
			if item != nil {
				return false
			}
		case table.KindExists:
			if item == nil {
				return false
			}
		case table.KindEqual:
			if item == nil || !equal(item.Attrs[c.Name], c.Value) {
				return false
			}
		}
	}
	return true
}

func equal(a, b any) bool {
	x, ok := a.([]byte)
	if !ok {
		return a == b
	}
	y, ok := b.([]byte)
	return ok && bytes.Equal(x, y)
}

// overflow returns an error where a sum of u leaves the range of int64.
func overflow(u table.Update, item table.Item) error {
	for name, delta := range u.Add {
		n, ok := item.Attrs[name].(int64)
		if ok && (delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta) {
			return events.Errorf(events.CodeInvalid, "the attribute %q is %d; adding %d leaves the range of int64", name, n, delta)
		}
	}
	return nil
}
