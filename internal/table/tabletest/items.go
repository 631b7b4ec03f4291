package tabletest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

func testRoundTrip(f *fixture) {
	items := []table.Item{
		f.item("none", nil),
		f.item("strings", table.Attrs{
			"empty": "", "text": "text", "unicode": "Grüße, 日本 \U0001F600", "zero": "a\x00b", "number": "12", "bool": "true",
		}),
		f.item("bytes", table.Attrs{"empty": []byte{}, "zero": []byte{0}, "binary": []byte{0xff, 0, 0xfe, '\n'}, "text": []byte("text")}),
		f.item("numbers", table.Attrs{"min": int64(math.MinInt64), "max": int64(math.MaxInt64), "zero": int64(0), "minus": int64(-1), "hundred": int64(100)}),
		f.item("bools", table.Attrs{"true": true, "false": false}),
		f.item("names", table.Attrs{"a b.c#:d": "odd", "ÄÖ": "unicode", "size": "reserved", "PK": "upper", strings.Repeat("n", 255): "long"}),
		{Key: f.key("expires"), Attrs: table.Attrs{"a": "b"}, Expires: future},
	}
	f.put(items...)
	f.has(items...)
}

func testNoSharedMemory(f *fixture) {
	data := []byte("data")
	attrs := table.Attrs{"data": data}
	f.put(f.item("a", attrs))
	data[0], attrs["more"] = 'X', true
	want := f.item("a", table.Attrs{"data": []byte("data")})
	f.has(want)

	got, err := f.Get(f.Context(), f.key("a"))
	if err != nil {
		f.Fatal(err)
	}
	got.Attrs["data"].([]byte)[0] = 'Y'
	f.has(want)
}

func testKeys(f *fixture) {
	long := f.pk + strings.Repeat("p", table.MaxPK-len(f.pk))
	for _, key := range []table.Key{
		{PK: long, SK: strings.Repeat("s", table.MaxSK)},
		{PK: f.pk + "é\x00#/\U0001F600", SK: "é\x00#/\U0001F600"},
	} {
		item := table.Item{Key: key, Attrs: table.Attrs{"a": "b"}}
		f.put(item)
		f.has(item)
		if err := f.Delete(f.Context(), key); err != nil {
			f.Errorf("Delete: %v", err)
		}
	}

	ctx := f.Context()
	for name, key := range map[string]table.Key{
		"no partition key":       {SK: "a"},
		"no sort key":            {PK: f.pk},
		"long partition key":     {PK: long + "p", SK: "a"},
		"long sort key":          {PK: f.pk, SK: strings.Repeat("s", table.MaxSK+1)},
		"partition key not text": {PK: f.pk + "\xff", SK: "a"},
		"sort key not text":      {PK: f.pk, SK: "\xff"},
	} {
		_, err := f.Get(ctx, key)
		f.fails(name+": Get", err, events.CodeInvalid)
		_, err = f.BatchGet(ctx, []table.Key{f.key("a"), key})
		f.fails(name+": BatchGet", err, events.CodeInvalid)
		f.fails(name+": Put", f.Put(ctx, table.Item{Key: key}), events.CodeInvalid)
		_, err = f.Update(ctx, key, table.Update{Set: table.Attrs{"a": "b"}})
		f.fails(name+": Update", err, events.CodeInvalid)
		f.fails(name+": Delete", f.Delete(ctx, key), events.CodeInvalid)
		f.fails(name+": Transact", f.Transact(ctx, table.CheckOp(key, table.NotExists())), events.CodeInvalid)
		f.fails(name+": BatchWrite puts", f.BatchWrite(ctx, []table.Item{f.item("a", nil), {Key: key}}, nil), events.CodeInvalid)
		f.fails(name+": BatchWrite deletes", f.BatchWrite(ctx, nil, []table.Key{key}), events.CodeInvalid)
	}
	f.hasNot("a")
}

func testAttributes(f *fixture) {
	ctx := f.Context()
	for name, attrs := range map[string]table.Attrs{
		"no name":        {"": "a"},
		"pk":             {"pk": "a"},
		"sk":             {"sk": "a"},
		"expires":        {"expires": int64(1)},
		"long name":      {strings.Repeat("n", 256): "a"},
		"name not text":  {"\xff": "a"},
		"value not text": {"a": "\xff"},
		"nil":            {"a": nil},
		"int":            {"a": 1},
		"float":          {"a": 1.5},
		"list":           {"a": []string{"b"}},
	} {
		f.fails(name+": Put", f.Put(ctx, f.item("a", attrs)), events.CodeInvalid)
		_, err := f.Update(ctx, f.key("a"), table.Update{Set: attrs})
		f.fails(name+": Update", err, events.CodeInvalid)
		f.fails(name+": Transact", f.Transact(ctx, table.PutOp(f.item("a", attrs))), events.CodeInvalid)
		f.fails(name+": BatchWrite", f.BatchWrite(ctx, []table.Item{f.item("a", attrs)}, nil), events.CodeInvalid)
		for attr, value := range attrs {
			f.fails(name+": condition", f.Put(ctx, f.item("a", nil), table.Equal(attr, value)), events.CodeInvalid)
		}
	}
	for name, expires := range map[string]time.Time{
		"before 1970": time.Unix(0, 0),
		"after 9999":  time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		f.fails(name+": Put", f.Put(ctx, table.Item{Key: f.key("a"), Expires: expires}), events.CodeInvalid)
		_, err := f.Update(ctx, f.key("a"), table.Update{Expires: &expires})
		f.fails(name+": Update", err, events.CodeInvalid)
	}
	f.hasNot("a")
}

func testPut(f *fixture) {
	f.hasNot("a")
	f.put(table.Item{Key: f.key("a"), Attrs: table.Attrs{"old": "1", "both": "1"}, Expires: future})
	f.put(f.item("a", table.Attrs{"both": "2"})) // all of the old item is replaced
	f.has(f.item("a", table.Attrs{"both": "2"}))
	f.hasNot("b")
}

func testUpdate(f *fixture) {
	ctx := f.Context()
	never := time.Time{}
	steps := []struct {
		name   string
		update table.Update
		want   table.Item
	}{
		{
			"creates",
			table.Update{Set: table.Attrs{"s": "1", "b": []byte{1}}, Add: map[string]int64{"n": 2}},
			f.item("a", table.Attrs{"s": "1", "b": []byte{1}, "n": int64(2)}),
		},
		{
			"sets and keeps",
			table.Update{Set: table.Attrs{"s": true}},
			f.item("a", table.Attrs{"s": true, "b": []byte{1}, "n": int64(2)}),
		},
		{
			"adds",
			table.Update{Add: map[string]int64{"n": -5, "new": 0}},
			f.item("a", table.Attrs{"s": true, "b": []byte{1}, "n": int64(-3), "new": int64(0)}),
		},
		{
			"removes",
			table.Update{Remove: []string{"b", "new", "absent"}},
			f.item("a", table.Attrs{"s": true, "n": int64(-3)}),
		},
		{
			"all at once",
			table.Update{Set: table.Attrs{"x": "y"}, Remove: []string{"s"}, Add: map[string]int64{"n": math.MinInt64 + 3}, Expires: &future},
			table.Item{Key: f.key("a"), Attrs: table.Attrs{"x": "y", "n": int64(math.MinInt64)}, Expires: future},
		},
		{
			"keeps the expiry",
			table.Update{Set: table.Attrs{"x": ""}},
			table.Item{Key: f.key("a"), Attrs: table.Attrs{"x": "", "n": int64(math.MinInt64)}, Expires: future},
		},
		{
			"removes the expiry",
			table.Update{Expires: &never},
			f.item("a", table.Attrs{"x": "", "n": int64(math.MinInt64)}),
		},
		{
			"removes the last attributes",
			table.Update{Remove: []string{"x", "n"}},
			f.item("a", nil),
		},
	}
	for _, step := range steps {
		got, err := f.Update(ctx, f.key("a"), step.update)
		if err != nil {
			f.Fatalf("%s: %v", step.name, err)
		}
		f.same(step.want, got)
		f.has(step.want)
	}

	got, err := f.Update(ctx, f.key("b"), table.Update{Remove: []string{"absent"}})
	if err != nil {
		f.Fatal(err)
	}
	f.same(f.item("b", nil), got) // also an update that only removes creates the item
	f.has(f.item("b", nil))
}

func testUpdateRefuses(f *fixture) {
	ctx := f.Context()
	want := f.item("a", table.Attrs{"s": "1", "max": int64(math.MaxInt64), "min": int64(math.MinInt64), "b": []byte("1")})
	f.put(want)
	many := map[string]int64{}
	for i := range 101 {
		many[fmt.Sprint("n", i)] = 1
	}
	for name, update := range map[string]table.Update{
		"nothing":            {},
		"set and added":      {Set: table.Attrs{"x": int64(1)}, Add: map[string]int64{"x": 1}},
		"set and removed":    {Set: table.Attrs{"x": "1"}, Remove: []string{"x"}},
		"removed twice":      {Remove: []string{"s", "s"}},
		"removes the key":    {Remove: []string{"pk"}},
		"adds to the expiry": {Add: map[string]int64{"expires": 1}},
		"adds to a string":   {Set: table.Attrs{"x": "1"}, Add: map[string]int64{"s": 1}},
		"adds to bytes":      {Set: table.Attrs{"x": "1"}, Add: map[string]int64{"b": 1}},
		"too high":           {Set: table.Attrs{"x": "1"}, Add: map[string]int64{"max": 1}},
		"too low":            {Set: table.Attrs{"x": "1"}, Add: map[string]int64{"min": -1}},
		"101 attributes":     {Add: many},
	} {
		_, err := f.Update(ctx, f.key("a"), update)
		f.fails(name, err, events.CodeInvalid)
		f.fails(name+" in a transaction", f.Transact(ctx, table.PutOp(f.item("b", nil)), table.UpdateOp(f.key("a"), update)), events.CodeInvalid)
	}
	f.has(want)
	f.hasNot("b")
}

func testDelete(f *fixture) {
	ctx := f.Context()
	f.put(f.item("a", nil), f.item("b", nil))
	for range 2 { // the second time there is nothing to delete
		if err := f.Delete(ctx, f.key("a")); err != nil {
			f.Fatal(err)
		}
		f.hasNot("a")
	}
	f.has(f.item("b", nil))
	f.failsCondition("Delete of an absent item", f.Delete(ctx, f.key("a"), table.Exists()), 0)
}

func testConditions(f *fixture) {
	attrs := table.Attrs{"s": "1", "n": int64(1), "b": []byte("1"), "t": true, "empty": ""}
	tests := []struct {
		name       string
		conditions []table.Condition
		present    bool // whether they hold for an item with attrs
		absent     bool // whether they hold where there is no item
	}{
		{"exists", []table.Condition{table.Exists()}, true, false},
		{"not exists", []table.Condition{table.NotExists()}, false, true},
		{"equal string", []table.Condition{table.Equal("s", "1")}, true, false},
		{"equal number", []table.Condition{table.Equal("n", int64(1))}, true, false},
		{"equal bytes", []table.Condition{table.Equal("b", []byte("1"))}, true, false},
		{"equal bool", []table.Condition{table.Equal("t", true)}, true, false},
		{"equal empty string", []table.Condition{table.Equal("empty", "")}, true, false},
		{"other string", []table.Condition{table.Equal("s", "2")}, false, false},
		{"other number", []table.Condition{table.Equal("n", int64(2))}, false, false},
		{"other bytes", []table.Condition{table.Equal("b", []byte("12"))}, false, false},
		{"other bool", []table.Condition{table.Equal("t", false)}, false, false},
		{"number for string", []table.Condition{table.Equal("s", int64(1))}, false, false},
		{"string for number", []table.Condition{table.Equal("n", "1")}, false, false},
		{"string for bytes", []table.Condition{table.Equal("b", "1")}, false, false},
		{"bytes for string", []table.Condition{table.Equal("s", []byte("1"))}, false, false},
		{"no such attribute", []table.Condition{table.Equal("absent", "")}, false, false},
		{"all hold", []table.Condition{table.Exists(), table.Equal("s", "1"), table.Equal("n", int64(1))}, true, false},
		{"one does not hold", []table.Condition{table.Equal("s", "1"), table.Equal("n", int64(2))}, false, false},
		{"contradiction", []table.Condition{table.Exists(), table.NotExists()}, false, false},
	}
	ctx := f.Context()
	written := table.Attrs{"written": true}
	for i, tt := range tests {
		for _, present := range []bool{true, false} {
			holds := tt.absent
			if present {
				holds = tt.present
			}
			writes := map[string]func(sk string) error{
				"put":    func(sk string) error { return f.Put(ctx, f.item(sk, written), tt.conditions...) },
				"delete": func(sk string) error { return f.Delete(ctx, f.key(sk), tt.conditions...) },
				"update": func(sk string) error {
					_, err := f.Update(ctx, f.key(sk), table.Update{Set: written}, tt.conditions...)
					return err
				},
				"transact": func(sk string) error {
					return f.Transact(ctx, table.PutOp(f.item(sk+" beside", written)), table.CheckOp(f.key(sk), tt.conditions...))
				},
			}
			for name, write := range writes {
				sk := fmt.Sprintf("%d %s %t", i, name, present)
				before := f.item(sk, attrs)
				if present {
					f.put(before)
				}
				err := write(sk)
				what := fmt.Sprintf("%s of %q (item present: %t)", name, tt.name, present)
				if holds {
					if err != nil {
						f.Errorf("%s: %v", what, err)
					}
					continue
				}
				if name == "transact" {
					f.failsCondition(what, err, 1)
					f.hasNot(sk + " beside")
				} else {
					f.failsCondition(what, err, 0)
				}
				if present {
					f.has(before)
				} else {
					f.hasNot(sk)
				}
			}
		}
	}

	f.fails("condition of no kind", f.Put(ctx, f.item("a", nil), table.Condition{}), events.CodeInvalid)
	f.hasNot("a")
}

func testExpiry(f *fixture) {
	ctx := f.Context()
	f.put(
		table.Item{Key: f.key("live"), Expires: future},
		table.Item{Key: f.key("dead"), Attrs: table.Attrs{"n": int64(7), "s": "old"}, Expires: past},
		f.item("never", nil),
	)
	f.has(table.Item{Key: f.key("live"), Expires: future}, f.item("never", nil))
	f.hasNot("dead")
	got, err := f.BatchGet(ctx, []table.Key{f.key("live"), f.key("dead"), f.key("never")})
	if err != nil {
		f.Fatal(err)
	}
	if _, dead := got[f.key("dead")]; dead || len(got) != 2 {
		f.Errorf("BatchGet = %v, want the two items that live", got)
	}
	f.equal("Query", []string{"live", "never"}, f.sks(table.Query{PK: f.pk}))

	updated, err := f.Update(ctx, f.key("dead"), table.Update{Add: map[string]int64{"n": 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.same(f.item("dead", table.Attrs{"n": int64(1)}), updated) // starts from nothing: no s, no expiry
	f.has(f.item("dead", table.Attrs{"n": int64(1)}))

	f.put(table.Item{Key: f.key("dead too"), Attrs: table.Attrs{"n": "old"}, Expires: past})
	if err := f.Transact(ctx, table.UpdateOp(f.key("dead too"), table.Update{Add: map[string]int64{"n": 1}})); err != nil {
		f.Fatal(err)
	}
	f.has(f.item("dead too", table.Attrs{"n": int64(1)}))

	got2, err := f.Update(ctx, f.key("never"), table.Update{Expires: &past})
	if err != nil || !got2.Expires.Equal(past.Truncate(time.Second)) && !got2.Expires.Equal(past.Truncate(time.Second).Add(time.Second)) {
		f.Errorf("Update that lets an item expire = %v, %v", got2, err)
	}
	f.hasNot("never")

	fraction := table.Item{Key: f.key("fraction"), Expires: future.Add(-time.Nanosecond)}
	f.put(fraction)
	f.has(table.Item{Key: f.key("fraction"), Expires: future}) // rounded up
}

func testExpiredConditions(f *fixture) {
	ctx := f.Context()
	dead := table.Item{Key: f.key("a"), Attrs: table.Attrs{"s": "1"}, Expires: past}
	f.put(dead)
	f.failsCondition("Put if it exists", f.Put(ctx, f.item("a", nil), table.Exists()), 0)
	f.failsCondition("Delete if equal", f.Delete(ctx, f.key("a"), table.Equal("s", "1")), 0)
	_, err := f.Update(ctx, f.key("a"), table.Update{Remove: []string{"s"}}, table.Equal("s", "1"))
	f.failsCondition("Update if equal", err, 0)
	f.failsCondition("Transact", f.Transact(ctx, table.PutOp(f.item("b", nil)), table.CheckOp(f.key("a"), table.Exists())), 1)
	f.hasNot("a", "b")

	if err := f.Transact(ctx, table.PutOp(f.item("b", nil)), table.CheckOp(f.key("a"), table.NotExists())); err != nil {
		f.Errorf("Transact with a check that there is no such item: %v", err)
	}
	if _, err := f.Update(ctx, f.key("a"), table.Update{Set: table.Attrs{"x": "1"}}, table.NotExists()); err != nil {
		f.Errorf("Update if absent: %v", err)
	}
	f.has(f.item("a", table.Attrs{"x": "1"}), f.item("b", nil))

	f.put(dead)
	if err := f.Put(ctx, f.item("a", table.Attrs{"x": "2"}), table.NotExists()); err != nil {
		f.Errorf("Put if absent: %v", err)
	}
	f.has(f.item("a", table.Attrs{"x": "2"}))
	f.put(dead)
	if err := f.Delete(ctx, f.key("a"), table.NotExists()); err != nil {
		f.Errorf("Delete if absent: %v", err)
	}
}

func testLargestItem(f *fixture) {
	ctx := f.Context()
	largest := f.sized("a", table.MaxItem)
	f.put(largest)
	f.has(largest)

	f.fails("Put", f.Put(ctx, f.sized("b", table.MaxItem+1)), events.CodeTooLarge)
	f.fails("Transact", f.Transact(ctx, table.PutOp(f.sized("b", table.MaxItem+1))), events.CodeTooLarge)
	f.fails("BatchWrite", f.BatchWrite(ctx, []table.Item{f.sized("b", table.MaxItem+1)}, nil), events.CodeTooLarge)
	_, err := f.Update(ctx, f.key("b"), table.Update{Set: f.sized("b", table.MaxItem+1).Attrs})
	f.fails("Update of no item", err, events.CodeTooLarge)
	f.hasNot("b")

	_, err = f.Update(ctx, f.key("a"), table.Update{Set: table.Attrs{"n": ""}})
	f.fails("Update that adds a byte", err, events.CodeTooLarge)
	f.fails("Transact that adds a byte", f.Transact(ctx, table.UpdateOp(f.key("a"), table.Update{Set: table.Attrs{"n": ""}})), events.CodeTooLarge)
	f.has(largest)
	if _, err := f.Update(ctx, f.key("a"), table.Update{Set: table.Attrs{"n": ""}, Remove: []string{"fill"}}); err != nil {
		f.Errorf("Update that makes the item smaller: %v", err)
	}
}

func testCancelled(f *fixture) {
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	_, getErr := f.Get(ctx, f.key("a"))
	_, batchErr := f.BatchGet(ctx, []table.Key{f.key("a")})
	_, updateErr := f.Update(ctx, f.key("a"), table.Update{Set: table.Attrs{"a": "b"}})
	_, queryErr := f.Query(ctx, table.Query{PK: f.pk})
	for name, err := range map[string]error{
		"Get": getErr, "BatchGet": batchErr, "Update": updateErr, "Query": queryErr,
		"Put":        f.Put(ctx, f.item("a", nil)),
		"Delete":     f.Delete(ctx, f.key("a")),
		"Transact":   f.Transact(ctx, table.PutOp(f.item("a", nil))),
		"BatchWrite": f.BatchWrite(ctx, []table.Item{f.item("a", nil)}, nil),
	} {
		if !errors.Is(err, context.Canceled) {
			f.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
	f.hasNot("a")
}

const (
	workers = 8
	rounds  = 10
)

// parallel runs work in several goroutines, rounds times in each.
func (f *fixture) parallel(work func(worker, round int) error) {
	f.Helper()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				if err := work(w, r); err != nil {
					f.Errorf("worker %d, round %d: %v", w, r, err)
				}
			}
		})
	}
	wg.Wait()
}

func testConcurrentPuts(f *fixture) {
	ctx := f.Context()
	f.put(f.item("a", table.Attrs{"n": int64(0)}))
	f.parallel(func(int, int) error {
		return persist(ctx, func() error {
			item, err := f.Get(ctx, f.key("a"))
			if err != nil {
				return err
			}
			n := item.Attrs["n"].(int64)
			return f.Put(ctx, f.item("a", table.Attrs{"n": n + 1}), table.Equal("n", n))
		})
	})
	f.has(f.item("a", table.Attrs{"n": int64(workers * rounds)}))
}

func testConcurrentCreate(f *fixture) {
	ctx := f.Context()
	var mu sync.Mutex
	winners := map[int][]int{}
	f.parallel(func(worker, round int) error {
		err := f.Put(ctx, f.item(fmt.Sprint(round), table.Attrs{"by": int64(worker)}), table.NotExists())
		if errors.Is(err, table.ErrCondition) || errors.Is(err, table.ErrConflict) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		winners[round] = append(winners[round], worker)
		return err
	})
	for round := range rounds {
		if len(winners[round]) != 1 {
			f.Errorf("round %d: created by %v, want one worker", round, winners[round])
			continue
		}
		f.has(f.item(fmt.Sprint(round), table.Attrs{"by": int64(winners[round][0])}))
	}
}

func testConcurrentAdd(f *fixture) {
	ctx := f.Context()
	var mu sync.Mutex
	seen := map[any]bool{}
	f.parallel(func(int, int) error {
		return persist(ctx, func() error {
			item, err := f.Update(ctx, f.key("a"), table.Update{Add: map[string]int64{"n": 1}})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[item.Attrs["n"]] {
				f.Errorf("two updates returned the sum %v", item.Attrs["n"])
			}
			seen[item.Attrs["n"]] = true
			return nil
		})
	})
	f.has(f.item("a", table.Attrs{"n": int64(workers * rounds)}))
}

func testConcurrentTransact(f *fixture) {
	ctx := f.Context()
	const coins = 30 // fewer than workers want to take
	f.put(f.item("from", table.Attrs{"n": int64(coins)}))
	f.parallel(func(int, int) error {
		return persist(ctx, func() error {
			from, err := f.Get(ctx, f.key("from"))
			if err != nil {
				return err
			}
			n := from.Attrs["n"].(int64)
			if n == 0 {
				return nil
			}
			return f.Transact(ctx,
				table.UpdateOp(f.key("to"), table.Update{Add: map[string]int64{"n": 1}}),
				table.PutOp(f.item("from", table.Attrs{"n": n - 1}), table.Equal("n", n)))
		})
	})
	f.has(f.item("from", table.Attrs{"n": int64(0)}), f.item("to", table.Attrs{"n": int64(coins)}))
}
