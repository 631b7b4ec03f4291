package events_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/callboard/callboard/pkg/events"
)

func TestError(t *testing.T) {
	t.Parallel()
	const inside = "An internal error occurred."
	for name, test := range map[string]struct {
		err     error
		code    events.Code
		message string
		log     string
	}{
		"plain":           {events.Errorf(events.CodeInvalid, "bad %d", 1), events.CodeInvalid, "bad 1", "bad 1"},
		"wrapped":         {events.Wrap(io.EOF, events.CodeUnavailable, "later"), events.CodeUnavailable, "later", "later: EOF"},
		"below":           {fmt.Errorf("ctx: %w", events.Errorf(events.CodeConflict, "lost")), events.CodeConflict, "lost", "ctx: lost"},
		"first counts":    {events.Wrap(events.Errorf(events.CodeInvalid, "inner"), events.CodeNotFound, "outer"), events.CodeNotFound, "outer", "outer: inner"},
		"joined":          {errors.Join(io.EOF, events.Errorf(events.CodeTooLarge, "big")), events.CodeTooLarge, "big", "EOF\nbig"},
		"another":         {io.EOF, events.CodeInternal, inside, "EOF"},
		"without code":    {&events.Error{Message: "m"}, events.CodeInternal, "m", "m"},
		"without message": {&events.Error{Code: events.CodeInvalid, Err: io.EOF}, events.CodeInvalid, inside, "EOF"},
		"partly published": {
			events.PublishError{nil, events.Errorf(events.CodeTooLarge, "big")},
			events.CodeTooLarge, "big",
			"1 of 2 events were not published: big",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := events.ErrorCode(test.err); got != test.code {
				t.Errorf("code %q, want %q", got, test.code)
			}
			if got := events.ErrorMessage(test.err); got != test.message {
				t.Errorf("the caller sees %q, want %q", got, test.message)
			}
			if got := test.err.Error(); got != test.log {
				t.Errorf("the log sees %q, want %q", got, test.log)
			}
		})
	}
	if events.ErrorCode(nil) != "" || events.ErrorMessage(nil) != "" {
		t.Error("no error has a code or a message")
	}
	if err := events.Wrap(io.EOF, events.CodeInvalid, "x"); !errors.Is(err, io.EOF) {
		t.Error("the cause of an error is lost")
	}
}

func TestPublishErrorOf(t *testing.T) {
	t.Parallel()
	partial := fmt.Errorf("sns: %w", events.PublishError{nil, io.EOF})
	for _, test := range []struct {
		err  error
		i    int
		want error
	}{
		{nil, 0, nil}, {io.EOF, 3, io.EOF}, {partial, 0, nil}, {partial, 1, io.EOF},
	} {
		if got := events.PublishErrorOf(test.err, test.i); !errors.Is(got, test.want) {
			t.Errorf("event %d of %v: %v, want %v", test.i, test.err, got, test.want)
		}
	}
}
