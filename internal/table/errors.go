package table

import (
	"fmt"

	"github.com/callboard/callboard/pkg/events"
)

// What the errors of a [Table] wrap, for [errors.Is].
var (
	// ErrNotFound means that there is no such item.
	ErrNotFound error = events.Errorf(events.CodeNotFound, "there is no such item")
	// ErrCondition means that a condition did not hold and nothing was written. The error is a
	// [*ConditionError].
	ErrCondition error = events.Errorf(events.CodeConflict, "the item is not as expected; read it again")
	// ErrConflict means that another write to one of the items was under way and nothing was written; the
	// same call may succeed a moment later. An engine that does one write after the other never returns it.
	ErrConflict error = events.Errorf(events.CodeConflict, "the item is being written by somebody else; try again")
)

// ConditionError says which condition did not hold. It wraps [ErrCondition].
type ConditionError struct {
	Op  int // index of the operation in [Table.Transact]; one of them where several failed; else 0
	Key Key
}

// Error is the text for the log.
func (e *ConditionError) Error() string {
	return fmt.Sprintf("a condition of operation %d does not hold for the item %q %q", e.Op, e.Key.PK, e.Key.SK)
}

// Unwrap returns [ErrCondition].
func (e *ConditionError) Unwrap() error { return ErrCondition }

// NotFound is the [ErrNotFound] for one key.
func NotFound(key Key) error {
	return fmt.Errorf("item %q %q: %w", key.PK, key.SK, ErrNotFound)
}
