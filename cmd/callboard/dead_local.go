package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/pkg/events"
)

// deadPatience is how long the engine may work on many letters.
const deadPatience = 10 * time.Minute

// distantDesk is the desk of another process.
type distantDesk struct{ local local }

var _ desk = distantDesk{}

// lookup is what the route that lists letters takes.
type lookup struct {
	deadletter.Selection
	Whole bool `json:"whole,omitempty"`
}

// Queues implements desk.
func (d distantDesk) Queues(ctx context.Context) (queues []deadletter.Queue, err error) {
	err = d.local.call(ctx, http.MethodPost, "/dead/queues", struct{}{}, &queues)
	return queues, err
}

// List implements desk.
func (d distantDesk) List(ctx context.Context, s deadletter.Selection, whole bool) (r deadletter.Result, err error) {
	err = d.local.call(ctx, http.MethodPost, "/dead/list", lookup{s, whole}, &r)
	return r, err
}

// Replay implements desk.
func (d distantDesk) Replay(ctx context.Context, o deadletter.Order) (r deadletter.Result, err error) {
	err = d.local.call(ctx, http.MethodPost, "/dead/replay", o, &r)
	return r, err
}

// Drop implements desk.
func (d distantDesk) Drop(ctx context.Context, o deadletter.Order) (r deadletter.Result, err error) {
	err = d.local.call(ctx, http.MethodPost, "/dead/drop", o, &r)
	return r, err
}

// answerDead does at a desk what a distantDesk asks for.
func answerDead(ctx context.Context, d desk, name string, body io.Reader) (any, error) {
	read := func(v any) error {
		if err := json.UnmarshalRead(body, v, json.RejectUnknownMembers(true)); err != nil {
			return events.Wrap(err, events.CodeInvalid, "the engine does not understand the command: are both of the same version?")
		}
		return nil
	}
	switch name {
	case "queues":
		return d.Queues(ctx)
	case "list":
		var l lookup
		if err := read(&l); err != nil {
			return nil, err
		}
		return d.List(ctx, l.Selection, l.Whole)
	}
	var o deadletter.Order
	if err := read(&o); err != nil {
		return nil, err
	}
	switch name {
	case "replay":
		return d.Replay(ctx, o)
	case "drop":
		return d.Drop(ctx, o)
	}
	return nil, events.Errorf(events.CodeNotFound, "there is no local route /dead/%s", name)
}
