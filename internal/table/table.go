// Package table is the port to the one table in which Callboard keeps its state: items under a partition key
// and a sort key, conditional writes, transactions and queries. It asks for nothing that DynamoDB cannot do
// with one request of its own, and it holds the rules and limits of DynamoDB, so that every engine refuses
// what DynamoDB would.
//
// Engines are in sub-packages; package tabletest is what each of them has to pass.
package table

import (
	"context"
	"iter"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// Table keeps items. Its methods may be called by many goroutines at once.
//
// An item whose Expires is not after now is as if it did not exist, for reads and for conditions, although an
// engine deletes it only later.
//
// Errors: [events.CodeInvalid] for what breaks a rule of this package, [events.CodeTooLarge] for items and
// transactions above a size limit, and [ErrNotFound], [ErrCondition] and [ErrConflict]. After any other error
// of a write it is not known whether it took place.
type Table interface {
	// Get returns an item as the last write left it, or [ErrNotFound].
	Get(ctx context.Context, key Key) (Item, error)

	// BatchGet returns those of the keys that exist, each as the last write to it left it. There may be any
	// number of keys. The items are not of one moment: a transaction may be seen in part.
	BatchGet(ctx context.Context, keys []Key) (map[Key]Item, error)

	// Put stores an item in place of the one with its key, if all conditions hold for that one.
	Put(ctx context.Context, item Item, conditions ...Condition) error

	// Update changes some attributes of an item, if all conditions hold for it, and returns all of it as it
	// is then. An absent item is created, unless a condition forbids it.
	Update(ctx context.Context, key Key, update Update, conditions ...Condition) (Item, error)

	// Delete removes an item, if all conditions hold for it. It is no error where there is none, unless a
	// condition says so.
	Delete(ctx context.Context, key Key, conditions ...Condition) error

	// Transact does all of 1 to [MaxOps] operations or, where a condition of any of them does not hold,
	// none. No two of them may have the same key.
	Transact(ctx context.Context, ops ...Op) error

	// BatchWrite stores and deletes any number of items without conditions. No two may have the same key. It
	// is not a transaction: after an error any of them may have been done.
	BatchWrite(ctx context.Context, puts []Item, deletes []Key) error

	// Query returns one page of a partition's items in the order of the bytes of their sort keys. It sees
	// every write that ended before it began.
	Query(ctx context.Context, query Query) (Page, error)
}

// Key names an item. Both parts are UTF-8 text and not empty.
type Key struct {
	PK string // partition key, at most [MaxPK] bytes
	SK string // sort key, at most [MaxSK] bytes
}

// Item is what a [Table] keeps under a key.
type Item struct {
	Key
	// Attrs is never nil in an item that comes from a table.
	Attrs Attrs
	// Expires is when the item ceases to exist; zero means never. It is kept in whole seconds, rounded up, so
	// that nothing ends early, and comes back in UTC.
	Expires time.Time
}

// Attrs are the attributes of an item. Values are of type string (UTF-8), int64, bool or []byte and come back
// with the type they were stored with. Names are not empty and not one of "pk", "sk" and "expires".
type Attrs map[string]any

// Update says what [Table.Update] changes. It changes something, and no attribute twice.
type Update struct {
	// Set stores values.
	Set Attrs
	// Remove removes attributes, if they are there.
	Remove []string
	// Add adds to attributes that are int64; an absent one counts as 0. A sum outside of int64 is refused.
	Add map[string]int64
	// Expires, unless nil, is the new value of [Item.Expires]; a zero time means never.
	Expires *time.Time
}

// Query asks for items of one partition.
type Query struct {
	PK       string
	SKPrefix string // how the sort keys begin; "" for all
	// After is [Page.Next] of the page before, or [Cursor] of any item of the partition; "" starts at the
	// first item, with Reverse at the last. The item may have been deleted since.
	After string
	// Limit is the largest number of items on the page; 0 means as many as fit.
	Limit int
	// Reverse turns the order around.
	Reverse bool
}

// Page is a part of the answer to a [Query]. It ends at the limit or after about [MaxPage] bytes. It may have
// fewer items than the limit, even none, although more follow: only Next tells the end, because items that
// have expired count until they are deleted.
type Page struct {
	Items []Item
	Next  string // for [Query.After]; "" at the end
}

// All iterates over everything that a query finds, page by page, from query.After on; query.Limit is the size
// of the pages. It ends after the first error.
func All(ctx context.Context, t Table, query Query) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for {
			page, err := t.Query(ctx, query)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			if page.Next == query.After { // or it would never end
				yield(Item{}, events.Errorf(events.CodeInternal, "the query of the partition %q does not advance", query.PK))
				return
			}
			query.After = page.Next
		}
	}
}

// OpKind is what an [Op] does.
type OpKind int

// The kinds of an [Op].
const (
	KindPut    OpKind = iota + 1 // as [Table.Put]
	KindUpdate                   // as [Table.Update]
	KindDelete                   // as [Table.Delete]
	KindCheck                    // nothing but its conditions
)

// Op is one operation of [Table.Transact].
type Op struct {
	Kind       OpKind
	Key        Key
	Item       Item   // of a KindPut
	Update     Update // of a KindUpdate
	Conditions []Condition
}

// PutOp stores an item.
func PutOp(item Item, conditions ...Condition) Op {
	return Op{Kind: KindPut, Key: item.Key, Item: item, Conditions: conditions}
}

// UpdateOp changes an item.
func UpdateOp(key Key, update Update, conditions ...Condition) Op {
	return Op{Kind: KindUpdate, Key: key, Update: update, Conditions: conditions}
}

// DeleteOp removes an item.
func DeleteOp(key Key, conditions ...Condition) Op {
	return Op{Kind: KindDelete, Key: key, Conditions: conditions}
}

// CheckOp changes nothing; the transaction fails unless all conditions, at least one, hold.
func CheckOp(key Key, conditions ...Condition) Op {
	return Op{Kind: KindCheck, Key: key, Conditions: conditions}
}

// ConditionKind is what a [Condition] asks.
type ConditionKind int

// The kinds of a [Condition].
const (
	KindNotExists ConditionKind = iota + 1
	KindExists
	KindEqual
)

// Condition is something that has to be true of an item, as it is before the write, for the write to happen.
type Condition struct {
	Kind  ConditionKind
	Name  string // of a KindEqual
	Value any    // of a KindEqual
}

// NotExists holds where there is no item, or an expired one.
func NotExists() Condition { return Condition{Kind: KindNotExists} }

// Exists holds where there is an item.
func Exists() Condition { return Condition{Kind: KindExists} }

// Equal holds where there is an item with this attribute, of the same type and value.
func Equal(name string, value any) Condition {
	return Condition{Kind: KindEqual, Name: name, Value: value}
}
