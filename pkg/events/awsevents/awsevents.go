// Package awsevents carries events over SQS and SNS: what publishes to topics, sends to a queue, and gives a batch
// handler the queue it is fed from. Clients come from whoever uses it.
package awsevents

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/pkg/events"
)

// failed makes an [events.Error] of an error of SQS or SNS. Only what is wrong with the message itself can never
// succeed. Everything else is [events.CodeUnavailable], for a queue handler: try again. That a topic is missing or
// forbidden is the state of a deployment, and nothing that the caller of an API could have done differently.
func failed(err error, what string) error {
	if errors.Is(err, context.Canceled) {
		return events.Wrap(err, events.CodeUnavailable, "%s: it was cancelled", what)
	}
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return events.Wrap(err, events.CodeUnavailable, "%s: AWS cannot be reached", what)
	}
	return events.Wrap(err, code(e), "%s: AWS answers %s", what, e.ErrorCode())
}

// code classifies an error by the lists in the API references of SQS and SNS.
func code(e smithy.APIError) events.Code {
	switch e.ErrorCode() {
	case "BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong":
		return events.CodeTooLarge
	case "InvalidMessageContents", "InvalidAttributeValue", "UnsupportedOperation":
		return events.CodeInvalid
	case "InvalidParameter", "InvalidParameterValue", "InvalidParameterValueException", "ValidationException", "ValidationError":
		message := strings.ToLower(e.ErrorMessage())
		switch {
		case strings.Contains(message, "too long"), strings.Contains(message, "must be shorter"):
			return events.CodeTooLarge
		case strings.Contains(message, "arn"), strings.Contains(message, "queueurl"): // a wrong address, not a wrong message
			return events.CodeUnavailable
		}
		return events.CodeInvalid
	}
	return events.CodeUnavailable
}
