package secrets

import (
	"context"
	"slices"

	"github.com/callboard/callboard/pkg/events"
)

// Source gives the live values of a secret.
type Source interface {
	Values(ctx context.Context, name string) ([]string, error)
}

// Refresher is a [Source] that remembers values, and can be asked to look whether there are others by now.
type Refresher interface {
	Source
	// Refresh returns the values as they are now, or as they are remembered where it has looked too often lately.
	Refresh(ctx context.Context, name string) ([]string, error)
}

// Verify calls verify with the live values of each of the secrets. If that is refused, with [events.CodeForbidden] or
// [events.CodeUnauthorized], and the source remembers values, they are read again: where there are others, verify is
// called once more. So a value counts from the moment it is added.
//
// A secret that cannot be read harms only those who may hold it: verify gets no values of it, and what it refuses then
// is [events.CodeUnavailable].
func Verify(ctx context.Context, source Source, names []string, verify func(values [][]string) error) error {
	values, unread := collect(ctx, names, source.Values)
	err := verify(values)
	if again, ok := source.(Refresher); ok && refused(err) {
		var now [][]string
		now, unread = collect(ctx, names, again.Refresh)
		if !slices.EqualFunc(values, now, slices.Equal[[]string]) {
			err = verify(now)
		}
	}
	if refused(err) && unread != nil {
		return events.Wrap(unread, events.CodeUnavailable, "the credentials cannot be checked at the moment; send the request again")
	}
	return err
}

// collect reads secrets, and returns the last error with what could be read.
func collect(ctx context.Context, names []string, read func(context.Context, string) ([]string, error)) (values [][]string, unread error) {
	values = make([][]string, len(names))
	for i, name := range names {
		v, err := read(ctx, name)
		if err != nil {
			unread = err
			continue
		}
		values[i] = v
	}
	return values, unread
}

func refused(err error) bool {
	code := events.ErrorCode(err)
	return code == events.CodeForbidden || code == events.CodeUnauthorized
}
