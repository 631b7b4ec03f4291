// Package blobtest is the conformance suite of blob stores.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/callboard/callboard/pkg/events"
)

// Store is a blob store.
type Store interface {
	Put(ctx context.Context, key string, data []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
}

// Run tests the stores that open returns. Each has to be empty.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s Store)
	}{
		{"PutGetDelete", testPutGetDelete},
		{"Bytes", testBytes},
		{"KeysThatAreNotAllowed", testKeysThatAreNotAllowed},
		{"Cancelled", testCancelled},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

func testPutGetDelete(t *testing.T, s Store) {
	ctx := t.Context()
	// One key is the folder of another.
	keys := []string{"a", "entities/ab12", "entities/ab12/1", "entities/ab12/1/x", "A-Z_0.9", strings.Repeat("k", 200), strings.Repeat("d/", 20) + "x"}
	for _, key := range keys {
		hasNot(t, s, key)
		for _, data := range []string{"first", "", "second of " + key} {
			if err := s.Put(ctx, key, []byte(data)); err != nil {
				t.Fatalf("Put(%s): %v", key, err)
			}
			has(t, s, key, []byte(data))
		}
	}
	for i, key := range keys {
		for range 2 { // the second time there is nothing to delete
			if err := s.Delete(ctx, key); err != nil {
				t.Errorf("Delete(%s): %v", key, err)
			}
		}
		hasNot(t, s, key)
		for _, left := range keys[i+1:] {
			has(t, s, left, []byte("second of "+left))
		}
	}
}

func testBytes(t *testing.T, s Store) {
	all := make([]byte, 2<<20)
	for i := range all {
		all[i] = byte(i + i>>8)
	}
	if err := s.Put(t.Context(), "bytes", all); err != nil {
		t.Fatal(err)
	}
	has(t, s, "bytes", all)
}

func testKeysThatAreNotAllowed(t *testing.T, s Store) {
	ctx := t.Context()
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".a", "a/.b", ".tmp-x", `a\b`, "a b", "a\x00", "a@", "é",
		"a:b", strings.Repeat("k", 201), strings.Repeat("d/", 512) + "x",
	} {
		_, err := s.Get(ctx, key)
		for name, err := range map[string]error{"Get": err, "Put": s.Put(ctx, key, []byte("x")), "Delete": s.Delete(ctx, key)} {
			if events.ErrorCode(err) != events.CodeInvalid {
				t.Errorf("%s(%q) = %v, want %s", name, key, err, events.CodeInvalid)
			}
		}
	}
}

func testCancelled(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "a")
	for name, err := range map[string]error{"Get": err, "Put": s.Put(ctx, "a", []byte("x")), "Delete": s.Delete(ctx, "a")} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context = %v", name, err)
		}
	}
	hasNot(t, s, "a")
}

func has(t *testing.T, s Store, key string, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get(%s) = %d bytes, %v; want the %d bytes that were put", key, len(got), err, len(want))
	}
}

func hasNot(t *testing.T, s Store, key string) {
	t.Helper()
	if _, err := s.Get(t.Context(), key); events.ErrorCode(err) != events.CodeNotFound {
		t.Errorf("Get(%s) of an absent blob: %v, want %s", key, err, events.CodeNotFound)
	}
}
