package secrets_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
)

// shelf has secrets that cannot be asked for again; a missing one cannot be read.
type shelf map[string][]string

func (s shelf) Values(_ context.Context, name string) ([]string, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	return nil, events.Errorf(events.CodeNotFound, "secret %q does not exist", name)
}

// memory remembers secrets that have changed since.
type memory struct {
	shelf
	now   shelf
	asked int
}

func (m *memory) Refresh(ctx context.Context, name string) ([]string, error) {
	m.asked++
	return m.now.Values(ctx, name)
}

var errTest = errors.New("a connection test")

func TestVerify(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then, now shelf
		given     string
		want      events.Code
		asked     int
	}{
		"known":                     {shelf{"a": {"1"}, "b": {"2"}}, shelf{}, "2", "", 0},
		"added since":               {shelf{"a": {"1"}, "b": {"2"}}, shelf{"a": {"1"}, "b": {"3", "2"}}, "3", "", 2},
		"unknown":                   {shelf{"a": {"1"}, "b": {"2"}}, shelf{"a": {"1"}, "b": {"2"}}, "3", events.CodeForbidden, 2},
		"the other cannot be read":  {shelf{"a": {"1"}}, shelf{"a": {"1"}}, "1", "", 0},
		"that one cannot be read":   {shelf{"a": {"1"}}, shelf{"a": {"1"}}, "2", events.CodeUnavailable, 2},
		"that one can be read now":  {shelf{"a": {"1"}}, shelf{"a": {"1"}, "b": {"2"}}, "2", "", 2},
		"nothing can be read":       {shelf{}, shelf{}, "1", events.CodeUnavailable, 2},
		"an error of another kind":  {shelf{"a": {"1"}}, shelf{}, "test", events.ErrorCode(errTest), 0},
		"retired, but remembered":   {shelf{"a": {"1"}, "b": {"2"}}, shelf{"a": {"1"}, "b": {"3"}}, "2", "", 0},
		"retired and asked for now": {shelf{"a": {"1"}, "b": {"3"}}, shelf{"a": {"1"}, "b": {"3"}}, "2", events.CodeForbidden, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &memory{shelf: test.then, now: test.now}
			err := secrets.Verify(t.Context(), source, []string{"a", "b"}, func(values [][]string) error {
				if test.given == "test" {
					return errTest
				}
				if !slices.Contains(slices.Concat(values...), test.given) {
					return events.Errorf(events.CodeForbidden, "does not fit")
				}
				return nil
			})
			if events.ErrorCode(err) != test.want || source.asked != test.asked {
				t.Errorf("%v after %d more readings; want code %q after %d", err, source.asked, test.want, test.asked)
			}
		})
	}
}

// A source that remembers nothing is asked once, and verify is not called again for nothing.
func TestVerify_Once(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]secrets.Source{
		"remembers nothing": shelf{"a": {"1"}}, "nothing new": &memory{shelf: shelf{"a": {"1"}}, now: shelf{"a": {"1"}}},
	} {
		calls := 0
		err := secrets.Verify(t.Context(), source, []string{"a"}, func([][]string) error {
			calls++
			return events.Errorf(events.CodeUnauthorized, "unknown")
		})
		if events.ErrorCode(err) != events.CodeUnauthorized || calls != 1 {
			t.Errorf("%s: %v after %d calls, want one", name, err, calls)
		}
	}
}
