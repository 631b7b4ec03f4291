package enginelink

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Handler lets the program that has the token use services.
type Handler struct {
	Services Services
	Token    string
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+h.Token)) != 1 {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	a, err := h.answer(r)
	a.Error = fail(err)
	w.Header().Set("Content-Type", "application/json")
	_ = json.MarshalWrite(w, a, jsontext.AllowInvalidUTF8(true))
}

func (h *Handler) answer(r *http.Request) (a answer, err error) {
	ctx := r.Context()
	switch r.URL.Path {
	case pathSend:
		err = given(r, func(m events.Message) error { return h.Services.Send(ctx, m) })
	case pathPublish:
		err = given(r, func(messages []events.Message) (err error) {
			a.Events, err = h.publish(r, messages)
			return err
		})
	case pathPark:
		err = given(r, func(m events.Message) error { return h.Services.Park(ctx, m) })
	case pathVisibility:
		err = given(r, func(v visibility) error {
			return h.Services.ChangeVisibility(ctx, v.Message, time.Duration(v.Nanoseconds))
		})
	case pathSecret:
		err = given(r, func(s secret) (err error) {
			a.Values, err = h.Services.Values(ctx, s.Name)
			return err
		})
	case pathPut:
		err = given(r, func(p payload) error { return h.Services.Put(ctx, p.Key, p.Data) })
	case pathGet:
		err = given(r, func(p payload) (err error) {
			a.Data, err = h.Services.Get(ctx, p.Key)
			return err
		})
	case pathClaim:
		err = given(r, func(w work) (err error) {
			a.Token, err = h.Services.Claim(ctx, string(w.Key), time.Duration(w.Nanoseconds))
			return err
		})
	case pathComplete:
		err = given(r, func(w work) error { return h.Services.Complete(ctx, string(w.Key)) })
	case pathRelease:
		err = given(r, func(w work) error { return h.Services.Release(ctx, string(w.Key), w.Token) })
	case pathObserve:
		err = given(r, func(hop events.Hop) error {
			h.Services.Observe(ctx, hop)
			return nil
		})
	default:
		err = events.Errorf(events.CodeNotFound, "the engine has no service %q", r.URL.Path)
	}
	return a, err
}

// given calls a service with the body of a request.
func given[T any](r *http.Request, serve func(T) error) error {
	var v T
	if err := json.UnmarshalRead(r.Body, &v, jsontext.AllowInvalidUTF8(true)); err != nil {
		return events.Wrap(err, events.CodeInvalid, "the request cannot be read")
	}
	return serve(v)
}

// publish returns an error for each event, if some were not published.
func (h *Handler) publish(r *http.Request, messages []events.Message) ([]*failure, error) {
	failures := make([]*failure, len(messages))
	var es []events.Event
	var origin []int // es[i] is of messages[origin[i]]
	for i, m := range messages {
		e, err := events.Decode(m)
		if err != nil {
			failures[i] = fail(err)
			continue
		}
		es, origin = append(es, e), append(origin, i)
	}
	err := h.Services.Publish(r.Context(), es...)
	partial, some := errors.AsType[events.PublishError](err)
	if err != nil && !some {
		return nil, err
	}
	for i, err := range partial {
		failures[origin[i]] = fail(err)
	}
	return failures, nil
}
