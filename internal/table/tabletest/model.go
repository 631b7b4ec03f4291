package tabletest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// model is a table in its simplest form; an expired item is never in it.
type model map[table.Key]table.Item

// testModel does random operations on the table and on a model and compares what comes back.
func testModel(f *fixture) {
	run := 0
	rapid.Check(f.T, func(rt *rapid.T) {
		run++ // a partition of its own for each run
		m := model{}
		g := generator{pk: fmt.Sprint(f.pk, " ", run)}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			if rapid.IntRange(0, 3).Draw(rt, "what") == 0 {
				g.read(rt, f, m)
			} else {
				g.write(rt, f, m)
			}
		}
		g.compare(rt, f, m)
	})
}

type generator struct{ pk string }

var (
	modelSKs   = []string{"a", "a#1", "a#10", "a#2", "b", "é", "\U0001F600"}
	modelNames = []string{"n", "s", "x"}
)

func (g generator) key(rt *rapid.T) table.Key {
	pk := g.pk + rapid.SampledFrom([]string{"", "'"}).Draw(rt, "partition")
	return table.Key{PK: pk, SK: rapid.SampledFrom(modelSKs).Draw(rt, "sk")}
}

func (g generator) value(rt *rapid.T) any {
	return rapid.OneOf(
		rapid.SampledFrom([]any{int64(0), int64(1), int64(2), "", "1", true, false, []byte{}, []byte("1")}),
		rapid.Map(rapid.Int64Range(-1<<60, 1<<60), func(n int64) any { return n }),
		rapid.Map(rapid.String(), func(s string) any { return strings.ToValidUTF8(s, "") }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return b }),
	).Draw(rt, "value")
}

func (g generator) attrs(rt *rapid.T, names []string) table.Attrs {
	attrs := table.Attrs{}
	for _, name := range names {
		attrs[name] = g.value(rt)
	}
	return attrs
}

func (g generator) names(rt *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(modelNames), 0, len(modelNames), rapid.ID).Draw(rt, "names")
}

func (g generator) expires(rt *rapid.T) time.Time {
	return rapid.SampledFrom([]time.Time{{}, {}, past, future}).Draw(rt, "expires")
}

func (g generator) conditions(rt *rapid.T) []table.Condition {
	switch rapid.IntRange(0, 5).Draw(rt, "condition") {
	case 0:
		return []table.Condition{table.Exists()}
	case 1:
		return []table.Condition{table.NotExists()}
	case 2:
		return []table.Condition{table.Equal(rapid.SampledFrom(modelNames).Draw(rt, "name"), g.value(rt))}
	default:
		return nil
	}
}

func (g generator) update(rt *rapid.T) table.Update {
	u := table.Update{Set: table.Attrs{}, Add: map[string]int64{}}
	for _, name := range modelNames {
		switch rapid.IntRange(0, 3).Draw(rt, "change") {
		case 0:
			u.Set[name] = g.value(rt)
		case 1:
			u.Remove = append(u.Remove, name)
		case 2:
			u.Add[name] = rapid.Int64Range(-10, 10).Draw(rt, "delta")
		}
	}
	if len(u.Set)+len(u.Add)+len(u.Remove) == 0 || rapid.Bool().Draw(rt, "new expiry") {
		u.Expires = new(g.expires(rt))
	}
	return u
}

func (g generator) op(rt *rapid.T, key table.Key) table.Op {
	conditions := g.conditions(rt)
	switch rapid.IntRange(0, 3).Draw(rt, "operation") {
	case 0:
		return table.UpdateOp(key, g.update(rt), conditions...)
	case 1:
		return table.DeleteOp(key, conditions...)
	case 2:
		if len(conditions) > 0 {
			return table.CheckOp(key, conditions...)
		}
		fallthrough
	default:
		return table.PutOp(table.Item{Key: key, Attrs: g.attrs(rt, g.names(rt)), Expires: g.expires(rt)}, conditions...)
	}
}

func (g generator) write(rt *rapid.T, f *fixture, m model) {
	ctx := f.Context()
	keys := rapid.SliceOfNDistinct(rapid.Custom(g.key), 1, 4, rapid.ID).Draw(rt, "keys")
	if rapid.IntRange(0, 5).Draw(rt, "batch") == 0 {
		var puts []table.Item
		for _, key := range keys[1:] {
			puts = append(puts, table.Item{Key: key, Attrs: g.attrs(rt, g.names(rt)), Expires: g.expires(rt)})
			m.store(puts[len(puts)-1])
		}
		delete(m, keys[0])
		if err := f.BatchWrite(ctx, puts, keys[:1]); err != nil {
			rt.Fatalf("BatchWrite: %v", err)
		}
		return
	}

	var ops []table.Op
	failures := map[int]events.Code{}
	next := maps.Clone(m)
	for i, key := range keys {
		op := g.op(rt, key)
		ops = append(ops, op)
		if code := next.do(op); code != "" {
			failures[i] = code
		}
	}
	op := ops[0]
	var err error
	switch {
	case len(ops) > 1 || op.Kind == table.KindCheck:
		err = f.Transact(ctx, ops...)
	case op.Kind == table.KindPut:
		err = f.Put(ctx, op.Item, op.Conditions...)
	case op.Kind == table.KindDelete:
		err = f.Delete(ctx, op.Key, op.Conditions...)
	default:
		var got table.Item
		if got, err = f.Update(ctx, op.Key, op.Update, op.Conditions...); err == nil {
			if want, ok := next[op.Key]; ok { // not one that the update let expire
				diffs(rt, "Update", want, got)
			}
		}
	}

	if len(failures) == 0 {
		if err != nil {
			rt.Fatalf("%+v: %v", ops, err)
		}
		clear(m)
		maps.Copy(m, next)
		return
	}
	if failed, ok := errors.AsType[*table.ConditionError](err); ok {
		if failures[failed.Op] != events.CodeConflict {
			rt.Fatalf("%+v: %v, want one of %v", ops, err, failures)
		}
		return
	}
	if code := events.ErrorCode(err); code == "" || !slices.Contains(slices.Collect(maps.Values(failures)), code) {
		rt.Fatalf("%+v: %v, want one of %v", ops, err, failures)
	}
}

func (g generator) read(rt *rapid.T, f *fixture, m model) {
	pk := g.key(rt).PK
	prefix := rapid.SampledFrom([]string{"", "a", "a#", "a#1", "b", "c"}).Draw(rt, "prefix")
	q := table.Query{
		PK:       pk,
		SKPrefix: prefix,
		Limit:    rapid.IntRange(0, 4).Draw(rt, "limit"),
		Reverse:  rapid.Bool().Draw(rt, "reverse"),
	}
	if after := rapid.SampledFrom(append([]string{""}, modelSKs...)).Draw(rt, "after"); after != "" && strings.HasPrefix(after, prefix) {
		q.After = table.Cursor(table.Key{PK: pk, SK: after})
	}
	var got []table.Item
	for item, err := range table.All(f.Context(), f.Table, q) {
		if err != nil {
			rt.Fatalf("Query(%+v): %v", q, err)
		}
		got = append(got, item)
	}
	diffs(rt, fmt.Sprintf("Query(%+v)", q), m.query(rt, q), got)
}

// compare reads every key of the model and those that it does not have.
func (g generator) compare(rt *rapid.T, f *fixture, m model) {
	var keys []table.Key
	for _, pk := range []string{g.pk, g.pk + "'"} {
		for _, sk := range modelSKs {
			keys = append(keys, table.Key{PK: pk, SK: sk})
		}
	}
	got, err := f.BatchGet(f.Context(), keys)
	if err != nil {
		rt.Fatalf("BatchGet: %v", err)
	}
	diffs(rt, "BatchGet", map[table.Key]table.Item(m), got)
	for _, key := range keys {
		item, err := f.Get(f.Context(), key)
		want, ok := m[key]
		if ok != (err == nil) {
			rt.Fatalf("Get(%v) = %v, want existence %t", key, err, ok)
		}
		diffs(rt, "Get", want, item)
	}
}

func diffs(rt *rapid.T, what string, want, got any) {
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		rt.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func (m model) store(item table.Item) {
	if item.Expires.Equal(past) {
		delete(m, item.Key)
		return
	}
	m[item.Key] = item
}

// do changes the model, or returns the code of the error that the operation must end with.
func (m model) do(op table.Op) events.Code {
	old, exists := m[op.Key]
	for _, c := range op.Conditions {
		holds := exists
		switch c.Kind {
		case table.KindExists:
		case table.KindNotExists:
			holds = !exists
		case table.KindEqual:
			value, ok := old.Attrs[c.Name]
			holds = ok && cmp.Equal(value, c.Value, cmpopts.EquateEmpty())
		}
		if !holds {
			return events.CodeConflict
		}
	}

	switch op.Kind {
	case table.KindCheck:
	case table.KindPut:
		m.store(op.Item)
	case table.KindDelete:
		delete(m, op.Key)
	case table.KindUpdate:
		item := table.Item{Key: op.Key, Attrs: table.Attrs{}, Expires: old.Expires}
		maps.Copy(item.Attrs, old.Attrs)
		maps.Copy(item.Attrs, op.Update.Set)
		for _, name := range op.Update.Remove {
			delete(item.Attrs, name)
		}
		for name, delta := range op.Update.Add {
			n, ok := item.Attrs[name].(int64)
			if !ok && item.Attrs[name] != nil {
				return events.CodeInvalid
			}
			item.Attrs[name] = n + delta
		}
		if op.Update.Expires != nil {
			item.Expires = *op.Update.Expires
		}
		m.store(item)
	}
	return ""
}

func (m model) query(rt *rapid.T, q table.Query) []table.Item {
	after, err := q.Start()
	if err != nil {
		rt.Fatal(err)
	}
	var items []table.Item
	for key, item := range m {
		if key.PK != q.PK || !strings.HasPrefix(key.SK, q.SKPrefix) {
			continue
		}
		if after != "" && (key.SK == after || key.SK > after == q.Reverse) {
			continue
		}
		items = append(items, item)
	}
	slices.SortFunc(items, func(a, b table.Item) int { return strings.Compare(a.SK, b.SK) })
	if q.Reverse {
		slices.Reverse(items)
	}
	return items
}
