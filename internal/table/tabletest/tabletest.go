// Package tabletest is the conformance suite of package table: what every engine has to pass.
package tabletest

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// Except maps names of tests to the reason why they are skipped: what the service behind an engine, a test double,
// does otherwise than DynamoDB.
type Except map[string]string

// Run tests the table that open returns. It is opened once; every test has partitions of its own, so that it
// may be a table that others use, too. Times of expiry are a day and more away from now: an engine may have
// any clock that shows about the time of [time.Now]. Except is nil for an engine that passes everything.
func Run(t *testing.T, open func(t *testing.T) table.Table, except Except) {
	t.Helper()
	tab := open(t)
	tests := []namedTest{
		{"values keep their types", testRoundTrip},
		{"items share no memory with the caller", testNoSharedMemory},
		{"keys", testKeys},
		{"attributes", testAttributes},
		{"put", testPut},
		{"update", testUpdate},
		{"update refuses", testUpdateRefuses},
		{"delete", testDelete},
		{"conditions", testConditions},
		{"batch get", testBatchGet},
		{"batch write", testBatchWrite},
		{"transaction", testTransact},
		{"transaction names the operation that failed", testTransactFails},
		{"transaction refuses", testTransactRefuses},
		{"transaction size", testTransactSize},
		{"expiry", testExpiry},
		{"expired items in conditions", testExpiredConditions},
		{"order", testOrder},
		{"pages", testPages},
		{"pages of a megabyte", testLargePages},
		{"pages while items change", testPagesWhileChanging},
		{"query refuses", testQueryRefuses},
		{"all", testAll},
		{"largest item", testLargestItem},
		{"cancelled context", testCancelled},
		{"conditional puts lose no update", testConcurrentPuts},
		{"one of many creates", testConcurrentCreate},
		{"add is atomic", testConcurrentAdd},
		{"transactions are isolated", testConcurrentTransact},
		{"model", testModel},
	}
	for name := range except {
		if !slices.ContainsFunc(tests, func(tt namedTest) bool { return tt.name == name }) {
			t.Errorf("there is no test %q to skip", name)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if reason, ok := except[tt.name]; ok {
				t.Skip(reason)
			}
			tt.test(&fixture{T: t, Table: tab, pk: t.Name() + "#" + rand.Text()})
		})
	}
}

type namedTest struct {
	name string
	test func(*fixture)
}

// fixture is a test, the table and a partition that is the test's own.
type fixture struct {
	*testing.T
	table.Table
	pk string
}

var (
	past   = time.Now().Add(-24 * time.Hour)
	future = time.Date(2099, 12, 31, 23, 59, 59, 0, time.UTC)
)

func (f *fixture) key(sk string) table.Key { return table.Key{PK: f.pk, SK: sk} }

func (f *fixture) item(sk string, attrs table.Attrs) table.Item {
	return table.Item{Key: f.key(sk), Attrs: attrs}
}

func (f *fixture) put(items ...table.Item) {
	f.Helper()
	for _, item := range items {
		if err := f.Put(f.Context(), item); err != nil {
			f.Fatalf("Put(%q): %v", item.SK, err)
		}
	}
}

// has fails the test unless the table holds exactly these items under their keys.
func (f *fixture) has(items ...table.Item) {
	f.Helper()
	for _, want := range items {
		got, err := f.Get(f.Context(), want.Key)
		if err != nil {
			f.Errorf("Get(%q): %v", want.SK, err)
			continue
		}
		f.same(want, got)
	}
}

// hasNot fails the test if the table holds an item under one of these sort keys.
func (f *fixture) hasNot(sks ...string) {
	f.Helper()
	for _, sk := range sks {
		if item, err := f.Get(f.Context(), f.key(sk)); !errors.Is(err, table.ErrNotFound) {
			f.Errorf("Get(%q) = %v, %v; want ErrNotFound", sk, item, err)
		}
	}
}

func (f *fixture) same(want, got table.Item) {
	f.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("item %q (-want +got):\n%s", want.SK, diff)
	}
	if got.Attrs == nil {
		f.Errorf("item %q: Attrs is nil", want.SK)
	}
}

// fails ends the test unless err has this code.
func (f *fixture) fails(what string, err error, want events.Code) {
	f.Helper()
	if got := events.ErrorCode(err); got != want {
		f.Errorf("%s: code %q (%v), want %q", what, got, err, want)
	}
}

// failsCondition fails the test unless err is the failed condition of one of these operations.
func (f *fixture) failsCondition(what string, err error, ops ...int) {
	f.Helper()
	failed, ok := errors.AsType[*table.ConditionError](err)
	if !ok || !errors.Is(err, table.ErrCondition) || events.ErrorCode(err) != events.CodeConflict {
		f.Errorf("%s: %v, want a ConditionError", what, err)
		return
	}
	if !slices.Contains(ops, failed.Op) {
		f.Errorf("%s: operation %d failed, want one of %v", what, failed.Op, ops)
	}
}

// pages reads a query to its end and returns the sort keys page by page.
func (f *fixture) pages(q table.Query) [][]string {
	f.Helper()
	var pages [][]string
	for {
		page, err := f.Query(f.Context(), q)
		if err != nil {
			f.Fatalf("Query(%+v): %v", q, err)
		}
		pages = append(pages, sortKeys(page.Items))
		if page.Next == "" {
			return pages
		}
		if len(pages) > 1000 {
			f.Fatalf("Query(%+v) does not end", q)
		}
		q.After = page.Next
	}
}

// sks reads a query to its end and returns the sort keys.
func (f *fixture) sks(q table.Query) []string {
	f.Helper()
	return slices.Concat(f.pages(q)...)
}

func (f *fixture) equal(what string, want, got any) {
	f.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func sortKeys(items []table.Item) []string {
	var sks []string
	for _, item := range items {
		sks = append(sks, item.SK)
	}
	return sks
}

// sized returns an item of exactly size bytes.
func (f *fixture) sized(sk string, size int) table.Item {
	item := f.item(sk, table.Attrs{"fill": ""})
	item.Attrs["fill"] = strings.Repeat("x", size-item.Size())
	return item
}

// persist repeats what another write may get in the way of.
func persist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if ctx.Err() != nil || !errors.Is(err, table.ErrConflict) && !errors.Is(err, table.ErrCondition) {
			return err
		}
	}
}
