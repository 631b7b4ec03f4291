package bolt_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/pkg/events"
)

var bucket = []byte("numbers")

func TestChangesSurviveReopening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)
	update(t, db, put("a", 1))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of the file = %o, want 600", mode)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	if got := read(t, open(t, path)); got["a"] != 1 {
		t.Errorf("after opening again: %v, want a = 1", got)
	}
}

func TestOpenSaysWhoIsInTheWay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path)
	_, err := bolt.Open(path)
	if got := events.ErrorCode(err); got != events.CodeUnavailable {
		t.Fatalf("second Open: code %q (%v), want %q", got, err, events.CodeUnavailable)
	}
	for _, want := range []string{path, "another process"} {
		if !strings.Contains(events.ErrorMessage(err), want) {
			t.Errorf("message %q does not mention %q", events.ErrorMessage(err), want)
		}
	}
}

func TestOpenRefusesWhatIsNoDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database. ", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, filepath.Join(dir, "absent", "state.db")} {
		if _, err := bolt.Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s) = %v, want an error that names the file", path, err)
		}
	}
}

// TestFailuresHarmNobodyElse has many writers at once of whom some fail after they wrote: exactly what the
// others wrote is committed, and everybody hears their own outcome.
func TestFailuresHarmNobodyElse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)
	errOwn := errors.New("own error")

	const writers = 200
	release := hold(t, db)
	var wg, started sync.WaitGroup
	started.Add(writers)
	for i := range writers {
		wg.Go(func() {
			started.Done()
			err := db.Update(func(tx *bbolt.Tx) error {
				if err := put(fmt.Sprint("key", i), uint64(i))(tx); err != nil {
					return err
				}
				if err := add("sum", uint64(i))(tx); err != nil {
					return err
				}
				switch i % 10 {
				case 3:
					return fmt.Errorf("writer %d: %w", i, errOwn)
				case 7:
					panic(fmt.Sprintf("writer %d panics", i))
				}
				return nil
			})
			switch i % 10 {
			case 3:
				if !errors.Is(err, errOwn) || !strings.Contains(err.Error(), fmt.Sprintf("writer %d:", i)) {
					t.Errorf("writer %d: err = %v, want its own error", i, err)
				}
			case 7:
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("writer %d panics", i)) {
					t.Errorf("writer %d: err = %v, want its own panic", i, err)
				}
			default:
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		})
	}
	started.Wait()
	release()
	wg.Wait()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	want := map[string]uint64{}
	for i := range writers {
		if i%10 != 3 && i%10 != 7 {
			want[fmt.Sprint("key", i)] = uint64(i)
			want["sum"] += uint64(i)
		}
	}
	got := read(t, open(t, path))
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %d, want %d", k, got[k], v)
		}
	}
}

// TestWaitingFunctionsShareACommit holds the writer up until others wait, and counts transactions.
func TestWaitingFunctionsShareACommit(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "state.db"))

	const waiting = 100
	release := hold(t, db)
	var wg, started sync.WaitGroup
	started.Add(waiting)
	transactions := make(chan int, waiting)
	for range waiting {
		wg.Go(func() {
			started.Done()
			id := 0
			update(t, db, func(tx *bbolt.Tx) error {
				id = tx.ID()
				return nil
			})
			transactions <- id
		})
	}
	started.Wait()
	release()
	wg.Wait()
	close(transactions)

	distinct := map[int]bool{}
	for id := range transactions {
		distinct[id] = true
	}
	if len(distinct) > waiting/2 {
		t.Errorf("%d functions that waited together took %d transactions", waiting, len(distinct))
	}
}

func TestCloseFinishesWhatWaits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)

	var wg sync.WaitGroup
	var accepted atomic.Uint64
	for range 50 {
		wg.Go(func() {
			switch err := db.Update(add("sum", 1)); {
			case err == nil:
				accepted.Add(1)
			case !errors.Is(err, bolt.ErrClosed):
				t.Errorf("Update while closing: %v, want ErrClosed or success", err)
			}
		})
	}
	for range 2 { // the second time is no error
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()

	if err := db.Update(add("sum", 1)); !errors.Is(err, bolt.ErrClosed) {
		t.Errorf("Update after Close = %v, want ErrClosed", err)
	}
	if err := db.View(func(*bbolt.Tx) error { return nil }); !errors.Is(err, bolt.ErrClosed) {
		t.Errorf("View after Close = %v, want ErrClosed", err)
	}
	if got := read(t, open(t, path))["sum"]; got != accepted.Load() {
		t.Errorf("%d updates are in the file, %d were answered with success", got, accepted.Load())
	}
}

func TestViewReturnsTheErrorOfItsFunction(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "state.db"))
	want := errors.New("own error")
	if err := db.View(func(*bbolt.Tx) error { return want }); !errors.Is(err, want) {
		t.Errorf("View = %v, want %v", err, want)
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			db := open(b, filepath.Join(b.TempDir(), "state.db"))
			var n atomic.Uint64
			b.SetParallelism(writers) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					update(b, db, put(fmt.Sprint("key", i%10_000), i))
				}
			})
		})
	}
}

func open(tb testing.TB, path string) *bolt.DB {
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
	return db
}

// hold keeps the writer busy until release is called.
func hold(tb testing.TB, db *bolt.DB) (release func()) {
	tb.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	go update(tb, db, func(*bbolt.Tx) error {
		close(held)
		<-free
		return nil
	})
	<-held
	return func() { close(free) }
}

func update(tb testing.TB, db *bolt.DB, fn func(*bbolt.Tx) error) {
	tb.Helper()
	if err := db.Update(fn); err != nil {
		tb.Error(err)
	}
}

func put(key string, n uint64) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return b.Put([]byte(key), binary.BigEndian.AppendUint64(nil, n))
	}
}

func add(key string, n uint64) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		if old := b.Get([]byte(key)); old != nil {
			return put(key, n+binary.BigEndian.Uint64(old))(tx)
		}
		return put(key, n)(tx)
	}
}

func read(tb testing.TB, db *bolt.DB) map[string]uint64 {
	tb.Helper()
	got := map[string]uint64{}
	err := db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			got[string(k)] = binary.BigEndian.Uint64(v)
			return nil
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	return got
}
