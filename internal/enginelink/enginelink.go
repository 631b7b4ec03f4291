// Package enginelink connects a program that the embedded engine runs beside itself with what the engine has: queues,
// topics, secrets and traces. It takes the place of AWS: requests on the loopback interface, with a token that only that
// program knows.
package enginelink

import (
	"context"

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

// answer is the body of every answer.
type answer struct {
	Error *failure `json:"error,omitzero"`
	// Events has an error for each event that could be published only in part; null where it was.
	Events []*failure `json:"events,omitempty"`
	Values []string   `json:"values,omitempty"`
	Data   []byte     `json:"data,omitempty"`
}

// failure is an error on its way.
type failure struct {
	Code    events.Code `json:"code"`
	Message string      `json:"message"`
}

func fail(err error) *failure {
	if err == nil {
		return nil
	}
	return &failure{events.ErrorCode(err), err.Error()}
}

// err returns the error that the failure was; nil for none.
func (f *failure) err() error {
	if f == nil {
		return nil
	}
	return events.Errorf(f.Code, "%s", f.Message)
}
