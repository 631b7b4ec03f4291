package events

import (
	"errors"
	"time"
)

// maxDefer is how long an event can be deferred. SQS counts its 12 hours from the receipt of the message and
// refuses what leads beyond
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html);
// 15 minutes of them can have gone by in the function.
const maxDefer = 12*time.Hour - 15*time.Minute

// outcomeError is an error that says itself what becomes of its event.
type outcomeError struct {
	outcome Outcome
	reason  string
	err     error
}

func (e *outcomeError) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return e.reason
}

func (e *outcomeError) Unwrap() error { return e.err }

// Drop is the error of an event that was understood and concerns nobody here, or of one with which its tenant
// did something wrong. The event is counted under reason, a short constant text, and acknowledged.
func Drop(reason string) error { return &outcomeError{outcome: OutcomeDropped, reason: reason} }

// Park is the error of an event that no further try can help: it goes to the dead-letter queue at once.
func Park(err error) error {
	return &outcomeError{outcome: OutcomePark, err: err}
}

// decide is the table that makes the outcome of an event from the error of its subscriber. Whatever is missing
// or forbidden is tried again: it is usually a deployment that has not finished.
func decide(err error) Outcome {
	if err == nil {
		return OutcomeOK
	}
	if o, ok := errors.AsType[*outcomeError](err); ok {
		return o.outcome
	}
	switch ErrorCode(err) {
	case CodeInvalid, CodeTooLarge, CodeUnsupportedMediaType:
		return OutcomePark
	case CodeRateLimited:
		if retryAt(err).IsZero() {
			return OutcomeRetry
		}
		return OutcomeDefer
	case CodeInternal, CodeUnauthorized, CodeForbidden, CodeNotFound, CodeMethodNotAllowed, CodeConflict, CodeUnavailable:
	}
	return OutcomeRetry
}

func retryAt(err error) time.Time {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAt
	}
	return time.Time{}
}
