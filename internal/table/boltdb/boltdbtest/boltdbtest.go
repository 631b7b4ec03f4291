// Package boltdbtest opens tables for the tests of what is kept in them.
package boltdbtest

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/internal/table/boltdb"
)

// Open returns an empty table in a folder of the test.
func Open(tb testing.TB, clock func() time.Time) *boltdb.Table {
	tb.Helper()
	db, err := bolt.Open(filepath.Join(tb.TempDir(), "table.db"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	t, err := boltdb.New(db, clock)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}
