package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/internal/blob/blobtest"
	"github.com/callboard/callboard/pkg/events"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blobtest.Store { return open(t, t.TempDir()) })
}

// TestKeysHaveFilesOfTheirOwn: "entities/ab12" is a blob and a folder of blobs. What another Dir wrote is there, and
// nothing is left of what was deleted.
func TestKeysHaveFilesOfTheirOwn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "new", "blobs")
	d := open(t, path)
	keys := []string{"a", "entities/ab12", "entities/ab12/1", "entities/ab12/1/x"}
	for _, key := range keys {
		if err := d.Put(ctx, key, []byte(key)); err != nil {
			t.Fatalf("Put(%s): %v", key, err)
		}
	}
	other := open(t, path)
	for _, key := range keys {
		has(t, other, key, key)
		if err := other.Delete(ctx, key); err != nil {
			t.Errorf("Delete(%s): %v", key, err)
		}
	}
	if left := files(t, path); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestKeysThatAreNotAllowed(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	d := open(t, filepath.Join(parent, "blobs"))
	for _, key := range []string{"../a", "/a", "a/../b", ".tmp-x", "a@"} {
		if err := d.Put(t.Context(), key, []byte("x")); events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("Put(%q) = %v, want %s", key, err, events.CodeInvalid)
		}
	}
	if left := files(t, parent); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blobs")
	if err := open(t, path).Put(t.Context(), "entities/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s = %o, want %o", name, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRemovesWhatAnInterruptedPutLeft(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if err := open(t, path).Put(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	before := files(t, path)
	for _, name := range []string{".tmp-ABC", "a/.tmp-DEF"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, path)
	if got := files(t, path); strings.Join(got, " ") != strings.Join(before, " ") {
		t.Errorf("files = %v, want %v", got, before)
	}
	has(t, d, "a/b", "x")
}

// TestReadersSeeWholeBlobs reads while others write blobs of different sizes.
func TestReadersSeeWholeBlobs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := t.TempDir()
	d := open(t, path)
	if err := d.Put(ctx, "dir/key", []byte("0")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 20 {
				if err := d.Put(ctx, "dir/key", bytes.Repeat([]byte{byte('0' + w)}, 1+i*10_000)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				data, err := d.Get(ctx, "dir/key")
				if err != nil || len(data)%10_000 != 1 || len(bytes.Trim(data, string(data[:1]))) > 0 {
					t.Errorf("Get = %d bytes, %v; want a whole blob", len(data), err)
				}
			}
		})
	}
	wg.Wait()
	if got := files(t, path); len(got) != 1 {
		t.Errorf("files = %v, want one", got)
	}
}

// Older lists whole blobs of one folder, by the time of their last Put.
func TestOlder(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := open(t, path)
	if keys, err := d.Older("events/", time.Now()); err != nil || len(keys) > 0 {
		t.Errorf("an empty store has %v, %v", keys, err)
	}
	old := time.Now().Add(-time.Hour)
	for _, key := range []string{"events/a", "events/b/c", "events/new", "events/again", "events", "catalog/a"} {
		if err := d.Put(t.Context(), key, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if key != "events/new" {
			if err := os.Chtimes(filepath.Join(path, filepath.FromSlash(key)+"@"), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(path, "events", ".tmp-x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(path, "events", ".tmp-x"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "events/again", []byte("y")); err != nil {
		t.Fatal(err)
	}
	got, err := d.Older("events/", old.Add(time.Minute))
	slices.Sort(got)
	if want := []string{"events/a", "events/b/c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("older are %v, %v; want %v", got, err, want)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.Open(file); err == nil || !strings.Contains(events.ErrorMessage(err), file) {
		t.Errorf("Open of a file = %v, want an error that names it", err)
	}

	d := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Put(ctx, "a", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Put with a cancelled context = %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "a", nil); events.ErrorCode(err) != events.CodeUnavailable {
		t.Errorf("Put after Close = %v, want %s", err, events.CodeUnavailable)
	}
}

func open(t *testing.T, path string) *blob.Dir {
	t.Helper()
	d, err := blob.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func has(t *testing.T, d *blob.Dir, key, want string) {
	t.Helper()
	got, err := d.Get(t.Context(), key)
	if err != nil || string(got) != want {
		t.Errorf("Get(%s) = %q, %v; want %q", key, got, err, want)
	}
}

// files are the names of all files below path.
func files(t *testing.T, path string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
