package tabletest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

func testBatchGet(f *fixture) {
	ctx := f.Context()
	want := map[table.Key]table.Item{}
	var items []table.Item
	var keys []table.Key
	for i := range 150 { // more than one request of DynamoDB can take
		item := f.item(fmt.Sprintf("%03d", i), table.Attrs{"i": int64(i)})
		items = append(items, item)
		want[item.Key] = item
		keys = append(keys, item.Key, f.key(fmt.Sprintf("absent %03d", i)))
	}
	if err := f.BatchWrite(ctx, items, nil); err != nil {
		f.Fatal(err)
	}
	got, err := f.BatchGet(ctx, append(keys, keys[0])) // the same key twice is no error
	if err != nil {
		f.Fatal(err)
	}
	f.equal("BatchGet", want, got)

	got, err = f.BatchGet(ctx, nil)
	if err != nil || len(got) != 0 {
		f.Errorf("BatchGet of nothing = %v, %v", got, err)
	}
}

func testBatchWrite(f *fixture) {
	ctx := f.Context()
	var puts []table.Item
	var deletes []table.Key
	for i := range 60 { // more than one request of DynamoDB can take
		old := f.item(fmt.Sprintf("old %03d", i), table.Attrs{"i": int64(i)})
		f.put(old)
		deletes = append(deletes, old.Key, f.key(fmt.Sprintf("absent %03d", i)))
		puts = append(puts, f.item(fmt.Sprintf("new %03d", i), table.Attrs{"i": int64(i)}))
	}
	f.put(f.item(puts[0].SK, table.Attrs{"replaced": true}))
	if err := f.BatchWrite(ctx, puts, deletes); err != nil {
		f.Fatal(err)
	}
	f.has(puts...)
	f.equal("what is left", sortKeys(puts), f.sks(table.Query{PK: f.pk}))

	if err := f.BatchWrite(ctx, nil, nil); err != nil {
		f.Errorf("BatchWrite of nothing: %v", err)
	}
	f.fails("put twice", f.BatchWrite(ctx, []table.Item{f.item("a", nil), f.item("a", nil)}, nil), events.CodeInvalid)
	f.fails("put and deleted", f.BatchWrite(ctx, []table.Item{f.item("a", nil)}, []table.Key{f.key("a")}), events.CodeInvalid)
	f.hasNot("a")
}

func testTransact(f *fixture) {
	ctx := f.Context()
	f.put(
		f.item("update", table.Attrs{"n": int64(1), "gone": true}),
		f.item("delete", nil),
		f.item("check", table.Attrs{"v": "1"}),
	)
	err := f.Transact(ctx,
		table.PutOp(f.item("put", table.Attrs{"a": "b"}), table.NotExists()),
		table.UpdateOp(f.key("update"), table.Update{Add: map[string]int64{"n": 1}, Remove: []string{"gone"}, Expires: &future}, table.Equal("n", int64(1))),
		table.UpdateOp(f.key("create"), table.Update{Set: table.Attrs{"a": "b"}}),
		table.DeleteOp(f.key("delete"), table.Exists()),
		table.DeleteOp(f.key("absent")),
		table.CheckOp(f.key("check"), table.Equal("v", "1")),
		table.PutOp(table.Item{Key: table.Key{PK: f.pk + " other", SK: "put"}}),
	)
	if err != nil {
		f.Fatal(err)
	}
	f.has(
		f.item("put", table.Attrs{"a": "b"}),
		table.Item{Key: f.key("update"), Attrs: table.Attrs{"n": int64(2)}, Expires: future},
		f.item("create", table.Attrs{"a": "b"}),
		f.item("check", table.Attrs{"v": "1"}),
		table.Item{Key: table.Key{PK: f.pk + " other", SK: "put"}},
	)
	f.hasNot("delete", "absent")
}

func testTransactFails(f *fixture) {
	ctx := f.Context()
	f.put(f.item("a", table.Attrs{"v": "1"}))
	writes := func() []table.Op {
		return []table.Op{
			table.PutOp(f.item("put", nil)),
			table.UpdateOp(f.key("a"), table.Update{Set: table.Attrs{"v": "2"}}),
			table.DeleteOp(f.key("b")),
			table.CheckOp(f.key("c"), table.NotExists()),
		}
	}
	for i := range writes() {
		ops := writes()
		failing := table.Equal("v", "other")
		ops[i].Conditions = append(ops[i].Conditions, failing)
		f.failsCondition(fmt.Sprintf("operation %d of 4", i), f.Transact(ctx, ops...), i)
	}
	ops := writes()
	ops[1].Conditions = []table.Condition{table.NotExists()}
	ops[2].Conditions = []table.Condition{table.Exists()}
	err := f.Transact(ctx, ops...)
	f.failsCondition("two operations", err, 1, 2)
	if failed, ok := errors.AsType[*table.ConditionError](err); ok && failed.Key != ops[failed.Op].Key {
		f.Errorf("key of the failed operation = %v, want %v", failed.Key, ops[failed.Op].Key)
	}
	f.has(f.item("a", table.Attrs{"v": "1"}))
	f.hasNot("put", "b", "c")
}

func testTransactRefuses(f *fixture) {
	ctx := f.Context()
	many := func(n int) (ops []table.Op) {
		for i := range n {
			ops = append(ops, table.PutOp(f.item(fmt.Sprintf("%d of %d", i, n), nil)))
		}
		return ops
	}
	if err := f.Transact(ctx, many(table.MaxOps)...); err != nil {
		f.Errorf("%d operations: %v", table.MaxOps, err)
	}
	if got := f.sks(table.Query{PK: f.pk}); len(got) != table.MaxOps {
		f.Errorf("%d items after %d operations", len(got), table.MaxOps)
	}

	first := table.PutOp(f.item("first", nil))
	for name, ops := range map[string][]table.Op{
		"no operation":            nil,
		"101 operations":          many(table.MaxOps + 1),
		"put and put":             {first, table.PutOp(f.item("a", nil)), table.PutOp(f.item("a", nil))},
		"put and check":           {first, table.PutOp(f.item("a", nil)), table.CheckOp(f.key("a"), table.NotExists())},
		"update and delete":       {first, table.UpdateOp(f.key("a"), table.Update{Set: table.Attrs{"a": "b"}}), table.DeleteOp(f.key("a"))},
		"check without condition": {first, table.CheckOp(f.key("a"))},
		"no kind":                 {first, {Key: f.key("a")}},
		"two keys in one put":     {first, {Kind: table.KindPut, Key: f.key("a"), Item: f.item("b", nil)}},
	} {
		f.fails(name, f.Transact(ctx, ops...), events.CodeInvalid)
	}
	f.hasNot("first", "a", "b", "0 of 101", "100 of 101")
}

func testTransactSize(f *fixture) {
	ctx := f.Context()
	large := func(name string, n int) (ops []table.Op) {
		for i := range n {
			ops = append(ops, table.PutOp(f.sized(fmt.Sprint(name, i), table.MaxItem)))
		}
		return ops
	}
	if err := f.Transact(ctx, large("fits", 10)...); err != nil {
		f.Errorf("ten items of 400 KB: %v", err)
	}
	f.has(f.sized("fits9", table.MaxItem))
	f.fails("eleven items of 400 KB", f.Transact(ctx, large("large", 11)...), events.CodeTooLarge)
	f.hasNot("large0", "large10")
}

// ordered are sort keys in the order of their bytes. The last two are in the other order as UTF-16.
var ordered = []string{"\x00", "\x00a", " ", "A", "Z", "a", "a\x00", "a\x00b", "a!", "aa", "ab", "b", "~", "é", "日本", "\uffee", "\U0001F600"}

func testOrder(f *fixture) {
	items := make([]table.Item, len(ordered))
	for i, sk := range ordered {
		items[(i*5)%len(ordered)] = f.item(sk, nil)
	}
	f.put(items...)
	f.put( // neighbours
		table.Item{Key: table.Key{PK: f.pk + "a", SK: "b"}},
		table.Item{Key: table.Key{PK: f.pk + "\x00", SK: "b"}},
		table.Item{Key: table.Key{PK: f.pk[:len(f.pk)-1], SK: f.pk[len(f.pk)-1:] + "b"}},
	)
	for _, prefix := range append([]string{"", "absent", "\U0010FFFF"}, ordered...) {
		var want []string
		for _, sk := range ordered {
			if strings.HasPrefix(sk, prefix) {
				want = append(want, sk)
			}
		}
		f.equal(fmt.Sprintf("prefix %q", prefix), want, f.sks(table.Query{PK: f.pk, SKPrefix: prefix}))
		slices.Reverse(want)
		f.equal(fmt.Sprintf("prefix %q, reverse", prefix), want, f.sks(table.Query{PK: f.pk, SKPrefix: prefix, Reverse: true}))
	}
	f.equal("partition without items", []string(nil), f.sks(table.Query{PK: f.pk + " empty"}))
	f.equal("partition without items, reverse", []string(nil), f.sks(table.Query{PK: f.pk + " empty", Reverse: true}))
}

func testPages(f *fixture) {
	var want []string
	for i := range 10 {
		sk := fmt.Sprint("item#", i)
		f.put(f.item(sk, table.Attrs{"i": int64(i)}))
		want = append(want, sk)
	}
	f.put(f.item("before", nil), f.item("zehind", nil))
	for _, reverse := range []bool{false, true} {
		want := slices.Clone(want)
		if reverse {
			slices.Reverse(want)
		}
		for _, limit := range []int{0, 1, 3, 5, 10, 11, 1000} {
			q := table.Query{PK: f.pk, SKPrefix: "item#", Limit: limit, Reverse: reverse}
			what := fmt.Sprintf("limit %d, reverse %t", limit, reverse)
			pages := f.pages(q)
			f.equal(what, want, slices.Concat(pages...))
			for i, page := range pages {
				if limit > 0 && len(page) > limit {
					f.Errorf("%s: page %d has %d items", what, i, len(page))
				}
			}
		}
		q := table.Query{PK: f.pk, SKPrefix: "item#", Reverse: reverse, After: table.Cursor(f.key(want[3]))}
		f.equal(fmt.Sprintf("behind the fourth, reverse %t", reverse), want[4:], f.sks(q))
	}

	page, err := f.Query(f.Context(), table.Query{PK: f.pk, SKPrefix: "item#", Limit: 1})
	if err != nil || len(page.Items) != 1 {
		f.Fatalf("Query = %v, %v", page, err)
	}
	f.same(f.item("item#0", table.Attrs{"i": int64(0)}), page.Items[0])

	// Items that have expired may count for the limit; nothing may get lost behind them.
	for i := range 5 {
		f.put(table.Item{Key: f.key(fmt.Sprint("item#3 dead ", i)), Expires: past})
	}
	f.equal("with expired items", want, f.sks(table.Query{PK: f.pk, SKPrefix: "item#", Limit: 2}))
}

func testLargePages(f *fixture) {
	var want []string
	for i := range 5 {
		item := f.sized(fmt.Sprint(i), 300<<10)
		f.put(item)
		want = append(want, item.SK)
	}
	for _, reverse := range []bool{false, true} {
		pages := f.pages(table.Query{PK: f.pk, Reverse: reverse})
		f.equal("large items", want, slices.Concat(pages...))
		if n := len(pages[0]); n < 3 || n > 4 {
			f.Errorf("first page of items of 300 KB has %d, want what fits about 1 MB", n)
		}
		slices.Reverse(want)
	}
}

func testPagesWhileChanging(f *fixture) {
	for _, reverse := range []bool{false, true} {
		f := &fixture{T: f.T, Table: f.Table, pk: fmt.Sprint(f.pk, reverse)}
		sks := []string{"a", "c", "e", "g"}
		want := []string{"f", "g"}
		if reverse {
			sks = []string{"g", "e", "c", "a"}
			want = []string{"b", "a"}
		}
		for _, sk := range sks {
			f.put(f.item(sk, nil))
		}
		q := table.Query{PK: f.pk, Limit: 2, Reverse: reverse}
		page, err := f.Query(f.Context(), q)
		if err != nil {
			f.Fatal(err)
		}
		f.equal("first page", sks[:2], sortKeys(page.Items))

		// The item of the cursor goes, and so does the next one; others come on both sides of it.
		for _, sk := range sks[1:3] {
			if err := f.Delete(f.Context(), f.key(sk)); err != nil {
				f.Fatal(err)
			}
		}
		f.put(f.item("b", nil), f.item("f", nil))
		q.After = page.Next
		f.equal(fmt.Sprintf("what follows, reverse %t", reverse), want, f.sks(q))
	}
}

func testQueryRefuses(f *fixture) {
	f.put(f.item("a", nil))
	for name, q := range map[string]table.Query{
		"no partition":         {},
		"long partition":       {PK: strings.Repeat("p", table.MaxPK+1)},
		"long prefix":          {PK: f.pk, SKPrefix: strings.Repeat("s", table.MaxSK+1)},
		"prefix not text":      {PK: f.pk, SKPrefix: "\xff"},
		"negative limit":       {PK: f.pk, Limit: -1},
		"damaged cursor":       {PK: f.pk, After: "*"},
		"cursor of bytes":      {PK: f.pk, After: table.Cursor(f.key("\xff"))},
		"cursor elsewhere":     {PK: f.pk, SKPrefix: "b", After: table.Cursor(f.key("a"))},
		"cursor without value": {PK: f.pk, After: "\n"},
	} {
		_, err := f.Query(f.Context(), q)
		f.fails(name, err, events.CodeInvalid)
	}
}

func testAll(f *fixture) {
	var want []string
	for i := range 7 {
		f.put(f.item(fmt.Sprint(i), nil))
		want = append(want, fmt.Sprint(i))
	}
	var got []string
	for item, err := range table.All(f.Context(), f.Table, table.Query{PK: f.pk, Limit: 2}) {
		if err != nil {
			f.Fatal(err)
		}
		got = append(got, item.SK)
	}
	f.equal("All", want, got)

	got = nil
	for item, err := range table.All(f.Context(), f.Table, table.Query{PK: f.pk, Limit: 2, Reverse: true, After: table.Cursor(f.key("5"))}) {
		if err != nil {
			f.Fatal(err)
		}
		if got = append(got, item.SK); len(got) == 3 {
			break
		}
	}
	f.equal("All until three are found", []string{"4", "3", "2"}, got)

	failures := 0
	for _, err := range table.All(f.Context(), f.Table, table.Query{}) {
		f.fails("All without a partition", err, events.CodeInvalid)
		failures++
	}
	f.equal("failures of All", 1, failures)
}
