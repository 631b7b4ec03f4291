package table

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/callboard/callboard/pkg/events"
)

// DynamoDB's limits, from "Quotas in Amazon DynamoDB" and the API reference of TransactWriteItems and Query.
const (
	MaxPK          = 2048      // bytes of a partition key
	MaxSK          = 1024      // bytes of a sort key
	MaxItem        = 400 << 10 // bytes of an item as [Item.Size] counts them
	MaxOps         = 100       // operations in a transaction
	MaxTransaction = 4 << 20   // bytes of all items of a transaction
	MaxPage        = 1 << 20   // bytes of the items that one page is made of
)

const (
	// maxName is DynamoDB's limit for the names of attributes that are more than payload; nobody needs more.
	maxName = 255
	// maxTerms bounds the attributes that one update changes and the conditions of one operation, so that
	// the expressions they become stay below 4 KB and 300 operators.
	maxTerms = 100

	// numberSize is the most that DynamoDB counts for a number. It documents its arithmetic for smaller ones
	// as approximate; an item that is accepted here must not be refused there.
	numberSize = 21
)

// The names under which DynamoDB keeps what is not in [Attrs].
const (
	namePK      = "pk"
	nameSK      = "sk"
	nameExpires = "expires"
)

// maxExpires is the end of the year 9999, the last time that RFC 3339 can write.
var maxExpires = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// Size is the size of an item in bytes as DynamoDB counts it: the names and values of all attributes, the
// keys and the expiry among them. Numbers count as the largest do.
func (i Item) Size() int {
	size := keySize(i.Key) + i.Attrs.size()
	if !i.Expires.IsZero() {
		size += len(nameExpires) + numberSize
	}
	return size
}

func keySize(k Key) int { return len(namePK) + len(k.PK) + len(nameSK) + len(k.SK) }

func (a Attrs) size() int {
	size := 0
	for name, value := range a {
		size += len(name) + valueSize(value)
	}
	return size
}

func valueSize(value any) int {
	switch v := value.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	case int64:
		return numberSize
	default:
		return 1
	}
}

// Validate returns an error where the key is not allowed.
func (k Key) Validate() error {
	if err := validateKeyPart("partition", k.PK, MaxPK); err != nil {
		return err
	}
	return validateKeyPart("sort", k.SK, MaxSK)
}

func validateKeyPart(which, text string, limit int) error {
	if text == "" {
		return events.Errorf(events.CodeInvalid, "the %s key is empty", which)
	}
	if len(text) > limit {
		return events.Errorf(events.CodeInvalid, "the %s key has %d bytes; at most %d are allowed", which, len(text), limit)
	}
	if !utf8.ValidString(text) {
		return events.Errorf(events.CodeInvalid, "the %s key %q is not valid UTF-8", which, text)
	}
	return nil
}

// Validate returns an error where the key, an attribute or the expiry is not allowed, or the item too large.
func (i Item) Validate() error {
	if err := i.Key.Validate(); err != nil {
		return err
	}
	if err := i.Attrs.validate(); err != nil {
		return err
	}
	if err := validateExpires(i.Expires); err != nil {
		return err
	}
	if size := i.Size(); size > MaxItem {
		return events.Errorf(events.CodeTooLarge, "the item %q %q has %d bytes; at most %d are allowed", i.PK, i.SK, size, MaxItem)
	}
	return nil
}

func (a Attrs) validate() error {
	for name, value := range a {
		if err := validateName(name); err != nil {
			return err
		}
		if err := validateValue(name, value); err != nil {
			return err
		}
	}
	return nil
}

func validateName(name string) error {
	switch {
	case name == "":
		return events.Errorf(events.CodeInvalid, "the name of an attribute is empty")
	case name == namePK, name == nameSK, name == nameExpires:
		return events.Errorf(events.CodeInvalid, "%q cannot be the name of an attribute: it is a part of every item", name)
	case len(name) > maxName:
		return events.Errorf(events.CodeInvalid, "the name of the attribute %q… has %d bytes; at most %d are allowed",
			name[:32], len(name), maxName)
	case !utf8.ValidString(name):
		return events.Errorf(events.CodeInvalid, "the name of the attribute %q is not valid UTF-8", name)
	}
	return nil
}

func validateValue(name string, value any) error {
	switch v := value.(type) {
	case int64, bool, []byte:
		return nil
	case string:
		if !utf8.ValidString(v) {
			return events.Errorf(events.CodeInvalid, "the attribute %q is not valid UTF-8; store it as []byte", name)
		}
		return nil
	default:
		return events.Errorf(events.CodeInvalid, "the attribute %q is of type %T; use string, int64, bool or []byte", name, value)
	}
}

func validateExpires(expires time.Time) error {
	if expires.IsZero() {
		return nil
	}
	if expires.Unix() <= 0 || expires.After(maxExpires) {
		return events.Errorf(events.CodeInvalid, "the expiry %s is not between the years 1970 and 9999", expires.Format(time.RFC3339))
	}
	return nil
}

// validate checks what can be checked without the item that the update is for.
func (u Update) validate() error {
	changes := len(u.Set) + len(u.Remove) + len(u.Add)
	if changes == 0 && u.Expires == nil {
		return events.Errorf(events.CodeInvalid, "the update changes nothing")
	}
	if changes > maxTerms {
		return events.Errorf(events.CodeInvalid, "the update changes %d attributes; at most %d are allowed", changes, maxTerms)
	}
	if err := u.Set.validate(); err != nil {
		return err
	}
	if u.Expires != nil {
		if err := validateExpires(*u.Expires); err != nil {
			return err
		}
	}

	seen := make(map[string]bool, changes)
	for name := range u.Set {
		seen[name] = true
	}
	for name := range u.Add {
		if err := validateChange(name, seen); err != nil {
			return err
		}
	}
	for _, name := range u.Remove {
		if err := validateChange(name, seen); err != nil {
			return err
		}
	}
	return nil
}

func validateChange(name string, seen map[string]bool) error {
	if err := validateName(name); err != nil {
		return err
	}
	if seen[name] {
		return events.Errorf(events.CodeInvalid, "the update changes the attribute %q twice", name)
	}
	seen[name] = true
	return nil
}

func (u Update) size() int {
	size := u.Set.size()
	for name := range u.Add {
		size += len(name) + numberSize
	}
	if u.Expires != nil && !u.Expires.IsZero() {
		size += len(nameExpires) + numberSize
	}
	return size
}

// Validate returns an error where the operation is not allowed, whatever the table holds.
func (o Op) Validate() error {
	if err := o.Key.Validate(); err != nil {
		return err
	}
	if err := o.validateKind(); err != nil {
		return err
	}
	if len(o.Conditions) > maxTerms {
		return events.Errorf(events.CodeInvalid, "there are %d conditions; at most %d are allowed", len(o.Conditions), maxTerms)
	}
	for _, c := range o.Conditions {
		if err := c.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (o Op) validateKind() error {
	switch o.Kind {
	case KindPut:
		if o.Item.Key != o.Key {
			return events.Errorf(events.CodeInvalid, "the key of the operation is not that of its item")
		}
		return o.Item.Validate()
	case KindUpdate:
		if err := o.Update.validate(); err != nil {
			return err
		}
		if size := o.size(); size > MaxItem {
			return events.Errorf(events.CodeTooLarge, "the update of the item %q %q has %d bytes; at most %d are allowed",
				o.Key.PK, o.Key.SK, size, MaxItem)
		}
		return nil
	case KindDelete:
		return nil
	case KindCheck:
		if len(o.Conditions) == 0 {
			return events.Errorf(events.CodeInvalid, "a check needs a condition")
		}
		return nil
	default:
		return events.Errorf(events.CodeInvalid, "there is no operation of kind %d", o.Kind)
	}
}

func (c Condition) validate() error {
	switch c.Kind {
	case KindNotExists, KindExists:
		return nil
	case KindEqual:
		if err := validateName(c.Name); err != nil {
			return err
		}
		return validateValue(c.Name, c.Value)
	default:
		return events.Errorf(events.CodeInvalid, "there is no condition of kind %d", c.Kind)
	}
}

// size is what the operation itself brings into a transaction.
func (o Op) size() int {
	switch o.Kind {
	case KindPut:
		return o.Item.Size()
	case KindUpdate:
		return keySize(o.Key) + o.Update.size()
	default:
		return keySize(o.Key)
	}
}

// ValidateTransaction returns an error where the operations cannot be one transaction, whatever the table
// holds.
func ValidateTransaction(ops []Op) error {
	if len(ops) == 0 || len(ops) > MaxOps {
		return events.Errorf(events.CodeInvalid, "the transaction has %d operations; 1 to %d are allowed", len(ops), MaxOps)
	}
	size := 0
	keys := make([]Key, len(ops))
	for i, op := range ops {
		if err := op.Validate(); err != nil {
			return OpError(i, err)
		}
		keys[i] = op.Key
		size += op.size()
	}
	if err := distinct(keys); err != nil {
		return err
	}
	return ValidateTransactionSize(size)
}

// ValidateTransactionSize returns an error where the items of a transaction have too many bytes together.
func ValidateTransactionSize(size int) error {
	if size > MaxTransaction {
		return events.Errorf(events.CodeTooLarge, "the transaction has %d bytes; at most %d are allowed", size, MaxTransaction)
	}
	return nil
}

// OpError adds to err, an error about one operation, which one of a transaction it was.
func OpError(index int, err error) error {
	e, ok := errors.AsType[*events.Error](err)
	if !ok {
		return fmt.Errorf("operation %d: %w", index, err)
	}
	return events.Wrap(e.Err, e.Code, "operation %d: %s", index, e.Message)
}

// ValidateBatch returns an error where the items and keys cannot be one [Table.BatchWrite].
func ValidateBatch(puts []Item, deletes []Key) error {
	keys := make([]Key, 0, len(puts)+len(deletes))
	for _, item := range puts {
		if err := item.Validate(); err != nil {
			return err
		}
		keys = append(keys, item.Key)
	}
	for _, key := range deletes {
		if err := key.Validate(); err != nil {
			return err
		}
		keys = append(keys, key)
	}
	return distinct(keys)
}

func distinct(keys []Key) error {
	seen := make(map[Key]bool, len(keys))
	for _, key := range keys {
		if seen[key] {
			return events.Errorf(events.CodeInvalid, "the item %q %q is written twice in one request", key.PK, key.SK)
		}
		seen[key] = true
	}
	return nil
}

// Validate returns an error where the query is not allowed.
func (q Query) Validate() error {
	if err := validateKeyPart("partition", q.PK, MaxPK); err != nil {
		return err
	}
	if q.SKPrefix != "" {
		if err := validateKeyPart("sort", q.SKPrefix, MaxSK); err != nil {
			return err
		}
	}
	if q.Limit < 0 {
		return events.Errorf(events.CodeInvalid, "the limit %d of the query is negative", q.Limit)
	}
	_, err := q.Start()
	return err
}

// Cursor is the [Query.After] that goes on behind the item with this key.
func Cursor(key Key) string {
	return base64.RawURLEncoding.EncodeToString([]byte(key.SK))
}

// Start returns the sort key behind which the query starts, or "". A cursor that is not one of this query is
// an error with [events.CodeInvalid].
func (q Query) Start() (sk string, err error) {
	if q.After == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.After)
	if err != nil {
		return "", events.Wrap(err, events.CodeInvalid, "the cursor of the query is damaged")
	}
	sk = string(b)
	if !strings.HasPrefix(sk, q.SKPrefix) || validateKeyPart("sort", sk, MaxSK) != nil {
		return "", events.Errorf(events.CodeInvalid, "the cursor belongs to another query")
	}
	return sk, nil
}

// ExpiresSeconds is the form in which an expiry is stored: seconds since 1970, rounded up; 0 for never.
func ExpiresSeconds(expires time.Time) int64 {
	if expires.IsZero() {
		return 0
	}
	seconds := expires.Unix()
	if expires.Nanosecond() > 0 {
		seconds++
	}
	return seconds
}

// ExpiresTime is the inverse of [ExpiresSeconds].
func ExpiresTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
