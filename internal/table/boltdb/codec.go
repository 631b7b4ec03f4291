package boltdb

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// A key is the length of the partition key (two bytes, big endian), the partition key and the sort key: the
// items of a partition are neighbours, in the order of the bytes of their sort keys.
//
// A value is the format (one byte), the expiry (uvarint, seconds since 1970, 0 for never), the number of
// attributes (uvarint) and the attributes in the order of their names: name, type (one byte), value. Texts
// are preceded by their length (uvarint).

const (
	format = 1

	typeString = 's'
	typeBytes  = 'b'
	typeInt    = 'i' // varint
	typeFalse  = 'f'
	typeTrue   = 't'
)

func encodeKey(key table.Key) []byte {
	b := make([]byte, 0, 2+len(key.PK)+len(key.SK))
	b = binary.BigEndian.AppendUint16(b, uint16(len(key.PK))) // #nosec G115 -- at most table.MaxPK
	b = append(b, key.PK...)
	return append(b, key.SK...)
}

func decodeKey(b []byte) (table.Key, error) {
	if len(b) < 2 {
		return table.Key{}, damaged("a key is too short")
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return table.Key{}, damaged("a key is too short")
	}
	key := table.Key{PK: string(b[:n]), SK: string(b[n:])}
	if key.Validate() != nil {
		return table.Key{}, damaged("a key breaks the rules")
	}
	return key, nil
}

func encodeItem(item table.Item) []byte {
	b := make([]byte, 0, item.Size()+16)
	b = append(b, format)
	b = binary.AppendUvarint(b, uint64(table.ExpiresSeconds(item.Expires))) // #nosec G115 -- never negative
	b = binary.AppendUvarint(b, uint64(len(item.Attrs)))
	for _, name := range slices.Sorted(maps.Keys(item.Attrs)) {
		b = appendText(b, name)
		switch v := item.Attrs[name].(type) {
		case string:
			b = appendText(append(b, typeString), v)
		case []byte:
			b = appendText(append(b, typeBytes), v)
		case int64:
			b = binary.AppendVarint(append(b, typeInt), v)
		case bool:
			if v {
				b = append(b, typeTrue)
			} else {
				b = append(b, typeFalse)
			}
		}
	}
	return b
}

func appendText[T string | []byte](b []byte, text T) []byte {
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

// decodeItem returns an item that shares no memory with b.
func decodeItem(key table.Key, b []byte) (table.Item, error) {
	r := reader{rest: b}
	expires := r.expires()
	n := r.uvarint()
	if n > uint64(len(r.rest)) { // before memory is taken for so many
		r.fail("it has fewer attributes than it says")
		n = 0
	}
	item := table.Item{Key: key, Attrs: make(table.Attrs, n), Expires: expires}
	last := ""
	for range n {
		name := string(r.text())
		if name <= last {
			r.fail("its attributes are not in order")
		}
		last = name
		item.Attrs[name] = r.value()
		if r.err != nil {
			return table.Item{}, r.err
		}
	}
	if len(r.rest) > 0 {
		r.fail("something follows its last attribute")
	}
	if r.err != nil {
		return table.Item{}, r.err
	}
	return item, nil
}

// decodeExpires reads no more of an item than when it expires.
func decodeExpires(b []byte) (time.Time, error) {
	r := reader{rest: b}
	return r.expires(), r.err
}

// reader takes an item apart. After the first failure, which it keeps, it returns zero values.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(reason string) {
	if r.err == nil {
		r.err = damaged(reason)
	}
	r.rest = nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("it ends too early")
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) expires() time.Time {
	if f := r.byte(); r.err == nil && f != format {
		r.fail("its format is not known")
	}
	const limit = 1 << 38 // behind the year 9999
	seconds := r.uvarint()
	if seconds > limit {
		r.fail("its expiry is out of range")
		return time.Time{}
	}
	return table.ExpiresTime(int64(seconds))
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("a number is damaged")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("a number is damaged")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) text() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail("a text is shorter than it says")
		return nil
	}
	text := r.rest[:n]
	r.rest = r.rest[n:]
	return text
}

func (r *reader) value() any {
	switch kind := r.byte(); kind {
	case typeString:
		return string(r.text())
	case typeBytes:
		return append([]byte{}, r.text()...)
	case typeInt:
		return r.varint()
	case typeFalse, typeTrue:
		return kind == typeTrue
	default:
		r.fail("an attribute has an unknown type")
		return nil
	}
}

func damaged(reason string) error {
	return events.Errorf(events.CodeInternal, "an item of the table file is damaged: %s", reason)
}
