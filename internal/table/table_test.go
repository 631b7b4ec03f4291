package table_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// The sizes follow from "DynamoDB item sizes and formats" in the developer guide.
func TestSize(t *testing.T) {
	t.Parallel()
	key := table.Key{PK: "1234", SK: "é"} // with their names: 2+4 and 2+2 bytes
	tests := []struct {
		name  string
		attrs table.Attrs
		want  int
	}{
		{"keys only", nil, 10},
		{"string in UTF-8", table.Attrs{"abc": "日本"}, 10 + 3 + 6},
		{"name in UTF-8", table.Attrs{"é": ""}, 10 + 2},
		{"bytes", table.Attrs{"b": []byte{1, 2, 3}}, 10 + 1 + 3},
		{"bools", table.Attrs{"t": true, "f": false}, 10 + 2 + 2},
		{"numbers count as the largest", table.Attrs{"n": int64(0), "m": int64(-1 << 63)}, 10 + 2 + 42},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			item := table.Item{Key: key, Attrs: tt.attrs}
			if got := item.Size(); got != tt.want {
				t.Errorf("Size = %d, want %d", got, tt.want)
			}
			item.Expires = time.Now()
			if got, want := item.Size(), tt.want+len("expires")+21; got != want {
				t.Errorf("Size with an expiry = %d, want %d", got, want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	failed := &table.ConditionError{Op: 3, Key: table.Key{PK: "repo#petstore", SK: "head"}}
	tests := []struct {
		name    string
		err     error
		is      error
		code    events.Code
		log     []string // what the text for the log mentions
		message string   // part of what a caller sees
	}{
		{"not found", table.NotFound(failed.Key), table.ErrNotFound, events.CodeNotFound, []string{"repo#petstore", "head"}, "no such item"},
		{"condition", fmt.Errorf("sync: %w", failed), table.ErrCondition, events.CodeConflict, []string{"operation 3", "repo#petstore", "head"}, "read it again"},
		{"conflict", table.ErrConflict, table.ErrConflict, events.CodeConflict, nil, "try again"},
		{"operation", table.OpError(7, events.Errorf(events.CodeTooLarge, "too many bytes")), nil, events.CodeTooLarge, []string{"operation 7"}, "operation 7: too many bytes"},
		{"operation, any error", table.OpError(7, errors.New("disk of repo#petstore")), nil, events.CodeInternal, []string{"operation 7", "disk"}, "internal error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := events.ErrorCode(tt.err); got != tt.code {
				t.Errorf("code = %q, want %q", got, tt.code)
			}
			if got := events.ErrorMessage(tt.err); !strings.Contains(got, tt.message) || strings.Contains(got, "petstore") {
				t.Errorf("a caller sees %q, want %q and no key", got, tt.message)
			}
			for _, want := range tt.log {
				if !strings.Contains(tt.err.Error(), want) {
					t.Errorf("the log sees %q, want %q in it", tt.err, want)
				}
			}
			for _, sentinel := range []error{table.ErrNotFound, table.ErrCondition, table.ErrConflict} {
				if got, want := errors.Is(tt.err, sentinel), errors.Is(tt.is, sentinel); got != want {
					t.Errorf("errors.Is(%v, %v) = %t", tt.err, sentinel, got)
				}
			}
		})
	}
}

func TestExpiresSeconds(t *testing.T) {
	t.Parallel()
	second := time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	for _, tt := range []struct{ in, want time.Time }{
		{time.Time{}, time.Time{}},
		{second, second.UTC()},
		{second.Add(1), second.UTC().Add(time.Second)},
		{second.Add(time.Second - 1), second.UTC().Add(time.Second)},
	} {
		if got := table.ExpiresTime(table.ExpiresSeconds(tt.in)); got != tt.want {
			t.Errorf("%s is stored as %s, want %s", tt.in, got, tt.want)
		}
	}
}
