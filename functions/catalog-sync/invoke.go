package catalogsync

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Lambda handles both kinds of invocation: a batch of the queue, and the schedule that sweeps the outbox. It is the
// Handler interface of aws-lambda-go.
type Lambda struct {
	Batch *events.Batch
	Sync  *Handler
	// Watch, unless nil, is called by the schedule: it looks at what events will need.
	Watch func(ctx context.Context)
}

// Invoke answers one invocation.
func (l *Lambda) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var invocation struct {
		Records jsontext.Value `json:"Records"`
	}
	if err := json.Unmarshal(payload, &invocation); err != nil {
		return nil, events.Wrap(err, events.CodeInvalid, "the invocation is not valid JSON")
	}
	if invocation.Records != nil {
		return l.Batch.Invoke(ctx, payload)
	}
	if l.Watch != nil {
		l.Watch(ctx)
	}
	published, err := l.Sync.Sweep(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]int{"published": published})
}
