// Package boltdb is the engine of package table on a bbolt file. Writes are done one after the other and are
// on the disk when they return; those that wait at the same time share an fsync.
package boltdb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

const (
	batchSize = 100  // items that one function of BatchWrite writes
	sweepStep = 1000 // items that one step of Sweep looks at
)

// bucketName is the bucket of the file that holds the table; see codec.go for what is in it.
var bucketName = []byte("table")

// Table is a [table.Table] in a bbolt file.
type Table struct {
	db    *bolt.DB
	clock func() time.Time
}

var _ table.Table = (*Table)(nil)

// New returns the table in db and creates it where there is none. Clock, for example [time.Now], says which
// items have expired.
func New(db *bolt.DB, clock func() time.Time) (*Table, error) {
	err := db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketName)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Table{db: db, clock: clock}, nil
}

// Get implements [table.Table].
func (t *Table) Get(ctx context.Context, key table.Key) (table.Item, error) {
	if err := key.Validate(); err != nil {
		return table.Item{}, err
	}
	if err := ctx.Err(); err != nil {
		return table.Item{}, err
	}
	var item *table.Item
	err := t.db.View(func(tx *bbolt.Tx) (err error) {
		item, err = load(tx.Bucket(bucketName), key, t.clock())
		return err
	})
	if err != nil {
		return table.Item{}, err
	}
	if item == nil {
		return table.Item{}, table.NotFound(key)
	}
	return *item, nil
}

// BatchGet implements [table.Table].
func (t *Table) BatchGet(ctx context.Context, keys []table.Key) (map[table.Key]table.Item, error) {
	for _, key := range keys {
		if err := key.Validate(); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	items := make(map[table.Key]table.Item, len(keys))
	err := t.db.View(func(tx *bbolt.Tx) error {
		now := t.clock()
		for _, key := range keys {
			item, err := load(tx.Bucket(bucketName), key, now)
			if err != nil {
				return err
			}
			if item != nil {
				items[key] = *item
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// Put implements [table.Table].
func (t *Table) Put(ctx context.Context, item table.Item, conditions ...table.Condition) error {
	_, err := t.one(ctx, table.PutOp(item, conditions...))
	return err
}

// Update implements [table.Table].
func (t *Table) Update(ctx context.Context, key table.Key, update table.Update, conditions ...table.Condition) (table.Item, error) {
	item, err := t.one(ctx, table.UpdateOp(key, update, conditions...))
	if err != nil {
		return table.Item{}, err
	}
	return *item, nil
}

// Delete implements [table.Table].
func (t *Table) Delete(ctx context.Context, key table.Key, conditions ...table.Condition) error {
	_, err := t.one(ctx, table.DeleteOp(key, conditions...))
	return err
}

// one does a single operation and returns the item as it is then, nil if there is none.
func (t *Table) one(ctx context.Context, op table.Op) (*table.Item, error) {
	if err := op.Validate(); err != nil {
		return nil, err
	}
	var item *table.Item
	err := t.write(ctx, func(b *bbolt.Bucket) ([]change, error) {
		c, err := decide(b, op, t.clock())
		if err != nil {
			return nil, err
		}
		item = c.item
		return []change{c}, nil
	})
	return item, err
}

// Transact implements [table.Table].
func (t *Table) Transact(ctx context.Context, ops ...table.Op) error {
	if err := table.ValidateTransaction(ops); err != nil {
		return err
	}
	return t.write(ctx, func(b *bbolt.Bucket) ([]change, error) {
		now := t.clock()
		size := 0
		changes := make([]change, len(ops))
		for i, op := range ops {
			c, err := decide(b, op, now)
			if failed, ok := errors.AsType[*table.ConditionError](err); ok {
				failed.Op = i
				return nil, failed
			}
			if err != nil {
				return nil, table.OpError(i, err)
			}
			if c.item != nil {
				size += c.item.Size()
			}
			changes[i] = c
		}
		if err := table.ValidateTransactionSize(size); err != nil {
			return nil, err
		}
		return changes, nil
	})
}

// BatchWrite implements [table.Table].
func (t *Table) BatchWrite(ctx context.Context, puts []table.Item, deletes []table.Key) error {
	if err := table.ValidateBatch(puts, deletes); err != nil {
		return err
	}
	changes := make([]change, 0, len(puts)+len(deletes))
	for _, item := range puts {
		changes = append(changes, putChange(item))
	}
	for _, key := range deletes {
		changes = append(changes, change{key: encodeKey(key)})
	}
	for len(changes) > 0 {
		part := changes[:min(batchSize, len(changes))]
		changes = changes[len(part):]
		if err := t.write(ctx, func(*bbolt.Bucket) ([]change, error) { return part, nil }); err != nil {
			return err
		}
	}
	return nil
}

// Query implements [table.Table].
func (t *Table) Query(ctx context.Context, query table.Query) (table.Page, error) {
	if err := query.Validate(); err != nil {
		return table.Page{}, err
	}
	if err := ctx.Err(); err != nil {
		return table.Page{}, err
	}
	var page table.Page
	err := t.db.View(func(tx *bbolt.Tx) (err error) {
		page, err = readPage(tx.Bucket(bucketName).Cursor(), query, t.clock())
		return err
	})
	if err != nil {
		return table.Page{}, err
	}
	return page, nil
}

// Sweep deletes the items that have expired and returns how many they were. It looks at the whole table, in
// steps between which others can write.
func (t *Table) Sweep(ctx context.Context) (int, error) {
	deleted := 0
	var after []byte
	for {
		if err := ctx.Err(); err != nil {
			return deleted, err
		}
		keys, last, err := t.expired(after)
		if err != nil {
			return deleted, err
		}
		n, err := t.deleteExpired(keys)
		if err != nil {
			return deleted, err
		}
		deleted += n
		if last == nil {
			return deleted, nil
		}
		after = last
	}
}

// expired looks at the items behind the encoded key after and returns the keys of those that have expired
// and the last key it looked at, nil at the end of the table.
func (t *Table) expired(after []byte) (keys [][]byte, last []byte, err error) {
	err = t.db.View(func(tx *bbolt.Tx) error {
		now := t.clock()
		c := tx.Bucket(bucketName).Cursor()
		k, v := c.Seek(after)
		if after != nil && bytes.Equal(k, after) {
			k, v = c.Next()
		}
		for range sweepStep {
			if k == nil {
				last = nil
				return nil
			}
			last = bytes.Clone(k)
			expires, err := decodeExpires(v)
			if err != nil {
				return err
			}
			if isExpired(expires, now) {
				keys = append(keys, last)
			}
			k, v = c.Next()
		}
		return nil
	})
	return keys, last, err
}

// deleteExpired deletes those of the items that are still expired.
func (t *Table) deleteExpired(keys [][]byte) (deleted int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	err = t.db.Update(func(tx *bbolt.Tx) error {
		deleted = 0
		now := t.clock()
		b := tx.Bucket(bucketName)
		for _, key := range keys {
			v := b.Get(key)
			if v == nil {
				continue
			}
			expires, err := decodeExpires(v)
			if err != nil {
				return err
			}
			if !isExpired(expires, now) {
				continue
			}
			if err := b.Delete(key); err != nil {
				return err
			}
			deleted++
		}
		return nil
	})
	return deleted, err
}

// change is what is left of an operation once it is decided.
type change struct {
	key   []byte
	value []byte      // nil: the item is deleted
	item  *table.Item // as it is after the change; nil if there is none
	none  bool        // nothing is written
}

// write makes the changes that decide returns, which are none where it returns an error. That error does not
// touch the transaction: it may be shared with others, who would have to run again.
func (t *Table) write(ctx context.Context, decide func(*bbolt.Bucket) ([]change, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var refused error
	err := t.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketName)
		var changes []change
		changes, refused = decide(b)
		for _, c := range changes {
			if err := c.apply(b); err != nil {
				return err
			}
		}
		return nil
	})
	return cmp.Or(err, refused)
}

func (c change) apply(b *bbolt.Bucket) error {
	if c.none {
		return nil
	}
	if c.value == nil {
		return b.Delete(c.key)
	}
	return b.Put(c.key, c.value)
}

func putChange(item table.Item) change {
	return change{key: encodeKey(item.Key), value: encodeItem(item), item: &item}
}

// decide checks the conditions of op and says what it does, without doing it.
func decide(b *bbolt.Bucket, op table.Op, now time.Time) (change, error) {
	var old *table.Item
	if len(op.Conditions) > 0 || op.Kind == table.KindUpdate {
		var err error
		if old, err = load(b, op.Key, now); err != nil {
			return change{}, err
		}
	}
	for _, c := range op.Conditions {
		if !holds(c, old) {
			return change{}, &table.ConditionError{Key: op.Key}
		}
	}

	switch op.Kind {
	case table.KindPut:
		return putChange(op.Item), nil
	case table.KindUpdate:
		item, err := updated(old, op.Key, op.Update)
		if err != nil {
			return change{}, err
		}
		return putChange(item), nil
	case table.KindDelete:
		return change{key: encodeKey(op.Key)}, nil
	default:
		return change{none: true}, nil
	}
}

// holds says whether a condition is true of an item, which is nil where there is none.
func holds(c table.Condition, item *table.Item) bool {
	switch c.Kind {
	case table.KindNotExists:
		return item == nil
	case table.KindExists:
		return item != nil
	default:
		return item != nil && equal(item.Attrs[c.Name], c.Value)
	}
}

func equal(a, b any) bool {
	x, ok := a.([]byte)
	if !ok {
		return a == b
	}
	y, ok := b.([]byte)
	return ok && bytes.Equal(x, y)
}

// updated returns what an update makes of an item, which is nil where there is none.
func updated(old *table.Item, key table.Key, u table.Update) (table.Item, error) {
	item := table.Item{Key: key, Attrs: table.Attrs{}}
	if old != nil {
		item = *old
	}
	maps.Copy(item.Attrs, u.Set)
	for _, name := range u.Remove {
		delete(item.Attrs, name)
	}
	for name, delta := range u.Add {
		sum, err := add(name, item.Attrs[name], delta)
		if err != nil {
			return table.Item{}, err
		}
		item.Attrs[name] = sum
	}
	if u.Expires != nil {
		item.Expires = *u.Expires
	}
	// What the caller gets is what the next reader gets: times rounded, bytes copied.
	if err := item.Validate(); err != nil {
		return table.Item{}, err
	}
	return decodeItem(key, encodeItem(item))
}

func add(name string, value any, delta int64) (int64, error) {
	if value == nil {
		return delta, nil
	}
	n, ok := value.(int64)
	if !ok {
		return 0, events.Errorf(events.CodeInvalid, "the attribute %q is of type %T; only an int64 can be added to", name, value)
	}
	if delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
		return 0, events.Errorf(events.CodeInvalid, "the attribute %q is %d; adding %d leaves the range of int64", name, n, delta)
	}
	return n + delta, nil
}

// load returns an item, nil where there is none or an expired one.
func load(b *bbolt.Bucket, key table.Key, now time.Time) (*table.Item, error) {
	v := b.Get(encodeKey(key))
	if v == nil {
		return nil, nil
	}
	item, err := decodeItem(key, v)
	if err != nil {
		return nil, err
	}
	if isExpired(item.Expires, now) {
		return nil, nil
	}
	return &item, nil
}

func isExpired(expires, now time.Time) bool {
	return !expires.IsZero() && !expires.After(now)
}

func readPage(c *bbolt.Cursor, query table.Query, now time.Time) (table.Page, error) {
	prefix := encodeKey(table.Key{PK: query.PK, SK: query.SKPrefix})
	k, v, err := seek(c, query, prefix)
	if err != nil {
		return table.Page{}, err
	}
	step := c.Next
	if query.Reverse {
		step = c.Prev
	}

	var page table.Page
	var last table.Key
	size, seen := 0, 0
	for ; k != nil && bytes.HasPrefix(k, prefix); k, v = step() {
		key, err := decodeKey(k)
		if err != nil {
			return table.Page{}, err
		}
		item, err := decodeItem(key, v)
		if err != nil {
			return table.Page{}, err
		}
		if size += item.Size(); seen > 0 && size > table.MaxPage {
			page.Next = table.Cursor(last)
			return page, nil
		}
		if !isExpired(item.Expires, now) {
			page.Items = append(page.Items, item)
		}
		last = key
		// As in DynamoDB, a full page has a cursor although nothing may follow.
		if seen++; seen == query.Limit {
			page.Next = table.Cursor(last)
			return page, nil
		}
	}
	return page, nil
}

// seek moves c to the first item of a query, whose keys begin with prefix.
func seek(c *bbolt.Cursor, query table.Query, prefix []byte) (k, v []byte, err error) {
	start, err := query.Start()
	if err != nil {
		return nil, nil, err
	}
	from := prefix
	if start != "" {
		from = encodeKey(table.Key{PK: query.PK, SK: start})
	}
	if !query.Reverse {
		if k, v = c.Seek(from); start != "" && bytes.Equal(k, from) {
			k, v = c.Next()
		}
		return k, v, nil
	}
	if start == "" {
		from = slices.Concat(prefix, []byte{0xff}) // behind all that begin with prefix: 0xff is no byte of UTF-8
	}
	if k, _ = c.Seek(from); k == nil {
		k, v = c.Last()
		return k, v, nil
	}
	k, v = c.Prev()
	return k, v, nil
}
