package boltdb

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/table"
)

// FuzzDecode reads bytes as a file might hold them: no panic, and what can be read is read the same after it
// was written again.
func FuzzDecode(f *testing.F) {
	item := table.Item{
		Key:     table.Key{PK: "p", SK: "s"},
		Attrs:   table.Attrs{"": "no name", "b": []byte{0, 0xff}, "n": int64(-1 << 63), "s": "é", "t": true, "u": false},
		Expires: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	f.Add(encodeKey(item.Key), encodeItem(item))
	delete(item.Attrs, "")
	f.Add(encodeKey(item.Key), encodeItem(item))
	f.Add([]byte{0, 9, 'p'}, []byte{format, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{}, []byte{})

	f.Fuzz(func(t *testing.T, k, v []byte) {
		key, err := decodeKey(k)
		if err == nil && !bytes.Equal(encodeKey(key), k) {
			t.Errorf("the key %x is %x when written again", k, encodeKey(key))
		}
		item, err := decodeItem(key, v)
		if err != nil {
			return
		}
		expires, err := decodeExpires(v)
		if err != nil || !expires.Equal(item.Expires) {
			t.Errorf("decodeExpires = %v, %v; the item says %v", expires, err, item.Expires)
		}
		again, err := decodeItem(key, encodeItem(item))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(item, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("written again (-first +second):\n%s", diff)
		}
	})
}

func TestDamagedItemsAreRefused(t *testing.T) {
	t.Parallel()
	good := encodeItem(table.Item{Attrs: table.Attrs{"a": "b", "c": int64(1)}})
	if _, err := decodeItem(table.Key{}, good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if item, err := decodeItem(table.Key{}, good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are read as %v", n, len(good), item)
		}
	}
	for name, b := range map[string][]byte{
		"more bytes":     append(bytes.Clone(good), 0),
		"other format":   append([]byte{format + 1}, good[1:]...),
		"order of names": {format, 0, 2, 1, 'b', typeTrue, 1, 'a', typeTrue},
		"name twice":     {format, 0, 2, 1, 'a', typeTrue, 1, 'a', typeTrue},
		"unknown type":   {format, 0, 1, 1, 'a', '?'},
		"expiry":         {format, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0},
	} {
		if item, err := decodeItem(table.Key{}, b); err == nil {
			t.Errorf("%s: read as %v", name, item)
		}
	}
	for _, k := range [][]byte{nil, {0}, {0, 0, 's'}, {0, 1, 'p'}, {0, 2, 'p'}, {0, 1, 0xff, 's'}} {
		if key, err := decodeKey(k); err == nil {
			t.Errorf("the key %x is read as %v", k, key)
		}
	}
}

// TestKeysAreInOrder: keys of one partition sort as their sort keys do and no other partition is between
// them.
func TestKeysAreInOrder(t *testing.T) {
	t.Parallel()
	part := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 1, 4), func(b []byte) string { return string(b) })
	rapid.Check(t, func(rt *rapid.T) {
		pk, other := part.Draw(rt, "pk"), part.Draw(rt, "other pk")
		a, b, c := part.Draw(rt, "a"), part.Draw(rt, "b"), part.Draw(rt, "c")
		ka, kb := encodeKey(table.Key{PK: pk, SK: a}), encodeKey(table.Key{PK: pk, SK: b})
		if got, want := bytes.Compare(ka, kb), bytes.Compare([]byte(a), []byte(b)); got != want {
			rt.Fatalf("%x and %x compare as %d, their sort keys as %d", ka, kb, got, want)
		}
		kc := encodeKey(table.Key{PK: other, SK: c})
		if other != pk && (bytes.Compare(kc, ka) < 0) != (bytes.Compare(kc, kb) < 0) {
			rt.Fatalf("%x of another partition is between %x and %x", kc, ka, kb)
		}
		if other != pk && bytes.Equal(kc, ka) {
			rt.Fatalf("two keys are %x", ka)
		}
	})
}
