package events

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies an [Error]. Two tables decide on it and nothing else does: the HTTP status that a
// sender gets, and whether a queue handler retries, defers or parks the record.
type Code string

// The codes of an [Error].
const (
	// CodeInternal is a failure nobody foresaw; it is the code of every error that is not an [Error].
	CodeInternal Code = "internal"
	// CodeInvalid is input that can never be understood, however often it is tried.
	CodeInvalid Code = "invalid"
	// CodeUnauthorized is a caller who did not say who they are, or whom nobody knows.
	CodeUnauthorized Code = "unauthorized"
	// CodeForbidden is a caller who may not do this, or a signature that does not fit.
	CodeForbidden Code = "forbidden"
	// CodeNotFound is something that does not exist, or that the caller is not allowed to see.
	CodeNotFound Code = "not_found"
	// CodeMethodNotAllowed is a known address that is called with another method.
	CodeMethodNotAllowed Code = "method_not_allowed"
	// CodeConflict is a write that lost against another one and has to read again.
	CodeConflict Code = "conflict"
	// CodeTooLarge is a message above a size limit.
	CodeTooLarge Code = "too_large"
	// CodeUnsupportedMediaType is a body in a format that nothing here reads.
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	// CodeRateLimited is a refusal that says when to come again; see [Error.RetryAt].
	CodeRateLimited Code = "rate_limited"
	// CodeUnavailable is a service that cannot be reached or used for the moment.
	CodeUnavailable Code = "unavailable"
)

// Error is the error of every Callboard package. The caller or sender sees Message, the log sees Err.
type Error struct {
	Code    Code
	Message string // for the caller: what was wrong, where, and what to do; without secrets
	Err     error  // for the log; may be nil

	// RetryAt is when a [CodeRateLimited] error is worth another try. Zero means unknown.
	RetryAt time.Time
}

// Errorf makes an [Error] with a formatted message, all of which the caller may see.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an [Error] with a formatted message for the caller and err for the log only.
func Wrap(err error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

// Error is the text for the log.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	if e.Message == "" {
		return e.Err.Error()
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the error that only the log sees.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode returns the code of the first [Error] in err's chain, [CodeInternal] for any other error and
// "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code != "" {
		return e.Code
	}
	return CodeInternal
}

// ErrorMessage returns what a caller may see of err: the message of the first [Error] in its chain, or a
// sentence that says nothing about the inside.
func ErrorMessage(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Message != "" {
		return e.Message
	}
	return "An internal error occurred."
}
