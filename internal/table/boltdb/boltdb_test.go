package boltdb_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/table/boltdb"
	"github.com/callboard/callboard/internal/table/tabletest"
	"github.com/callboard/callboard/pkg/events"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	tabletest.Run(t, func(t *testing.T) table.Table {
		tab, _ := open(t, filepath.Join(t.TempDir(), "state.db"), time.Now)
		return tab
	}, nil)
}

func TestItemsSurviveReopening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	want := table.Item{
		Key:     table.Key{PK: "p", SK: "s"},
		Attrs:   table.Attrs{"s": "text", "b": []byte{0, 1}, "n": int64(-5), "t": true},
		Expires: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	tab, db := open(t, path, time.Now)
	if err := tab.Put(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	tab, _ = open(t, path, time.Now)
	got, err := tab.Get(t.Context(), want.Key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after opening again (-want +got):\n%s", diff)
	}
}

// TestExpiryFollowsTheClock looks at an item in the second before it expires, in that second and, after a
// sweep, again before it.
func TestExpiryFollowsTheClock(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	clock := newClock()
	tab, _ := open(t, filepath.Join(t.TempDir(), "state.db"), clock.now)
	expires := clock.now().Add(time.Hour)

	const items = 2500 // more than two steps of a sweep
	var puts []table.Item
	for i := range items {
		item := table.Item{Key: table.Key{PK: fmt.Sprint("p", i%7), SK: fmt.Sprintf("%05d", i)}}
		if i%2 == 0 {
			item.Expires = expires
		}
		puts = append(puts, item)
	}
	if err := tab.BatchWrite(ctx, puts, nil); err != nil {
		t.Fatal(err)
	}
	lives := func(what string, want bool) {
		t.Helper()
		if _, err := tab.Get(ctx, puts[0].Key); errors.Is(err, table.ErrNotFound) == want {
			t.Errorf("%s: Get = %v, want existence %t", what, err, want)
		}
		if err := tab.Delete(ctx, puts[1].Key, table.Exists()); err != nil {
			t.Errorf("%s: the item that never expires: %v", what, err)
		}
		if err := tab.Put(ctx, puts[1]); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func(want int) {
		t.Helper()
		if n, err := tab.Sweep(ctx); err != nil || n != want {
			t.Errorf("Sweep = %d, %v; want %d", n, err, want)
		}
	}

	clock.set(expires.Add(-time.Nanosecond))
	lives("just before", true)
	sweep(0)
	clock.set(expires)
	lives("at the time", false)
	clock.set(expires.Add(-time.Nanosecond))
	lives("before it was swept", true)
	clock.set(expires)
	sweep(items / 2)
	sweep(0)
	clock.set(expires.Add(-time.Nanosecond))
	lives("after it was swept", false)
	left := 0
	for i := range 7 {
		for _, err := range table.All(ctx, tab, table.Query{PK: fmt.Sprint("p", i)}) {
			if err != nil {
				t.Fatal(err)
			}
			left++
		}
	}
	if left != items/2 {
		t.Errorf("%d items are left, want %d", left, items/2)
	}
}

func TestSweepOfAnEmptyTable(t *testing.T) {
	t.Parallel()
	tab, _ := open(t, filepath.Join(t.TempDir(), "state.db"), time.Now)
	if n, err := tab.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("Sweep = %d, %v", n, err)
	}
}

// TestUpdatedItemsCountInATransaction has eleven small updates of items that have 4.4 MB together.
func TestUpdatedItemsCountInATransaction(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	tab, _ := open(t, filepath.Join(t.TempDir(), "state.db"), time.Now)
	var ops []table.Op
	for i := range 11 {
		item := table.Item{Key: table.Key{PK: "p", SK: fmt.Sprint(i)}, Attrs: table.Attrs{"a": strings.Repeat("x", 400_000)}}
		if err := tab.Put(ctx, item); err != nil {
			t.Fatal(err)
		}
		ops = append(ops, table.UpdateOp(item.Key, table.Update{Set: table.Attrs{"b": true}}))
	}
	if err := tab.Transact(ctx, ops...); events.ErrorCode(err) != events.CodeTooLarge {
		t.Errorf("Transact = %v, want %s", err, events.CodeTooLarge)
	}
	if err := tab.Transact(ctx, ops[:10]...); err != nil {
		t.Errorf("Transact of ten: %v", err)
	}
}

// TestQueryAtTheEndsOfTheFile: nothing precedes or follows the only partition.
func TestQueryAtTheEndsOfTheFile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	tab, _ := open(t, filepath.Join(t.TempDir(), "state.db"), time.Now)
	read := func(q table.Query) (sks string) {
		for item, err := range table.All(ctx, tab, q) {
			if err != nil {
				t.Fatal(err)
			}
			sks += item.SK
		}
		return sks
	}
	for _, reverse := range []bool{false, true} {
		if got := read(table.Query{PK: "p", Reverse: reverse}); got != "" {
			t.Errorf("empty table, reverse %t: %q", reverse, got)
		}
	}
	for _, sk := range []string{"a", "b", "c"} {
		if err := tab.Put(ctx, table.Item{Key: table.Key{PK: "p", SK: sk}}); err != nil {
			t.Fatal(err)
		}
	}
	cursor := func(sk string) string { return table.Cursor(table.Key{PK: "p", SK: sk}) }
	for _, tt := range []struct {
		query table.Query
		want  string
	}{
		{table.Query{PK: "p"}, "abc"},
		{table.Query{PK: "p", After: cursor("c")}, ""},
		{table.Query{PK: "p", Reverse: true}, "cba"},
		{table.Query{PK: "p", Reverse: true, SKPrefix: "c"}, "c"},
		{table.Query{PK: "p", Reverse: true, After: cursor("d")}, "cba"},
		{table.Query{PK: "p", Reverse: true, After: cursor("a")}, ""},
		{table.Query{PK: "o", Reverse: true}, ""},
		{table.Query{PK: "q", Reverse: true}, ""},
	} {
		if got := read(tt.query); got != tt.want {
			t.Errorf("Query(%+v) = %q, want %q", tt.query, got, tt.want)
		}
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	tab, db := open(t, filepath.Join(t.TempDir(), "state.db"), time.Now)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	key := table.Key{PK: "p", SK: "s"}
	_, getErr := tab.Get(t.Context(), key)
	_, queryErr := tab.Query(t.Context(), table.Query{PK: "p"})
	for name, err := range map[string]error{"Get": getErr, "Query": queryErr, "Delete": tab.Delete(t.Context(), key)} {
		if !errors.Is(err, bolt.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	if _, err := boltdb.New(db, time.Now); !errors.Is(err, bolt.ErrClosed) {
		t.Errorf("New on a closed file: %v, want ErrClosed", err)
	}
}

type clock struct{ nanoseconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.set(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	return c
}

func (c *clock) now() time.Time  { return time.Unix(0, c.nanoseconds.Load()).UTC() }
func (c *clock) set(t time.Time) { c.nanoseconds.Store(t.UnixNano()) }

func open(tb testing.TB, path string, now func() time.Time) (*boltdb.Table, *bolt.DB) {
	tb.Helper()
	db, err := bolt.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	tab, err := boltdb.New(db, now)
	if err != nil {
		tb.Fatal(err)
	}
	return tab, db
}
