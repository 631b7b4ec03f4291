// Package enginelink connects a program that the embedded engine runs beside itself with what the engine has: queues,
// topics, secrets and traces. It takes the place of AWS: requests on the loopback interface, with a token that only that
// program knows.
package enginelink

import (
	"context"
	"errors"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// The variables in which a program finds the engine.
const (
	URL   = "CALLBOARD_ENGINE"
	Token = "CALLBOARD_ENGINE_TOKEN" // #nosec G101 -- the name of a variable
	// Bucket is the name of the bucket of payloads, the same variable as in AWS.
	Bucket = "CALLBOARD_BUCKET"
)

// Services are what a program may use of the engine.
type Services interface {
	// Send sends to the queue of accepted webhooks.
	Send(ctx context.Context, m events.Message) error
	events.Publisher
	events.Queue
	// Values returns the live values of a secret.
	Values(ctx context.Context, name string) ([]string, error)
	events.Observer
	// BlobStore has the payloads that are too large for a message.
	events.BlobStore
	// OnceStore remembers what was claimed and what is done.
	events.OnceStore
}

// The paths of the services.
const (
	pathSend       = "/send"
	pathPublish    = "/publish"
	pathPark       = "/park"
	pathVisibility = "/visibility"
	pathSecret     = "/secret"
	pathObserve    = "/observe"
	pathPut        = "/payload/put"
	pathGet        = "/payload/get"
	pathClaim      = "/once/claim"
	pathComplete   = "/once/complete"
	pathRelease    = "/once/release"
)

// maxRequest bounds a request, in bytes.
const maxRequest = 64 << 20

// visibility is the body of a request to change one.
type visibility struct {
	Message     events.SQSMessage `json:"message"`
	Nanoseconds int64             `json:"nanoseconds"`
}

// secret is the body of a request for one.
type secret struct {
	Name string `json:"name"`
}

// payload is the body of a request to store one, or without data to get one.
type payload struct {
	Key  string `json:"key"`
	Data []byte `json:"data,omitempty"`
}

// work is the body of a request to claim some, for a time, to complete it, or to release it with a token. The key is text
// that may be no UTF-8, and has to arrive as it is.
type work struct {
	Key         []byte `json:"key"`
	Nanoseconds int64  `json:"nanoseconds,omitzero"`
	Token       string `json:"token,omitempty"`
}

// answer is the body of every answer.
type answer struct {
	Error *failure `json:"error,omitzero"`
	// Events has an error for each event that could be published only in part; null where it was.
	Events []*failure `json:"events,omitempty"`
	Values []string   `json:"values,omitempty"`
	Data   []byte     `json:"data,omitempty"`
	Token  string     `json:"token,omitempty"`
}

// failure is an error on its way.
type failure struct {
	Code    events.Code `json:"code"`
	Message string      `json:"message"`
	RetryAt time.Time   `json:"retryAt,omitzero"`
	Done    bool        `json:"done,omitzero"` // it is events.ErrDone
}

func fail(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Code: events.ErrorCode(err), Message: err.Error(), Done: errors.Is(err, events.ErrDone)}
	if e, ok := errors.AsType[*events.Error](err); ok {
		f.RetryAt = e.RetryAt
	}
	return f
}

// err returns the error that the failure was; nil for none.
func (f *failure) err() error {
	if f == nil {
		return nil
	}
	if f.Done {
		return events.ErrDone
	}
	return &events.Error{Code: f.Code, Message: f.Message, RetryAt: f.RetryAt}
}
