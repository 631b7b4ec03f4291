// Package ingress is the function behind POST /events/http/<topic>: it verifies a webhook, makes an event of it
// and answers when the ingest queue has it.
package ingress

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
	"github.com/callboard/callboard/pkg/webhook/body"
)

// Queue is the ingest queue. Send returns when the message is durable.
type Queue interface {
	Send(ctx context.Context, m events.Message) error
}

// Secrets gives the live values of a secret. One that remembers them may be a [secrets.Refresher] too.
type Secrets interface {
	Values(ctx context.Context, name string) ([]string, error)
}

// Topic is a topic that takes webhooks.
type Topic struct {
	// From is the name of the profile in the configuration; it decides on the status of answers.
	From    string
	Profile webhook.Profile
	// Secrets are the names of the secrets that requests may be sent with.
	Secrets []string
	// Allow are the addresses that may send; empty if all may.
	Allow []netip.Prefix
	// Limit is the largest message, in bytes with attributes; 0 means [events.MaxMessageSize]. The payload of a larger
	// event goes into the bucket.
	Limit int
	// Validators may refuse what Profile has let in.
	Validators []Validator
	// RepeatWindow is how long a body is recognised under another delivery id; 0 if it is not.
	RepeatWindow time.Duration
}

// Handler answers webhooks.
type Handler struct {
	Topics   map[string]Topic
	Queue    Queue
	Secrets  Secrets
	Observer events.Observer
	// Bucket takes the payloads that are too large for a message.
	Bucket *events.Bucket
	// Parsers read bodies of further media types, which are in lower case; see [body.Reader].
	Parsers map[string]webhook.BodyParser
	// Table remembers the bodies of topics with a RepeatWindow. Others do without it.
	Table table.Table
	// Now is the clock; nil means that of the machine.
	Now func() time.Time
}

// Invoke answers an invocation: the Handler interface of aws-lambda-go.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return httpapi.Handler(h.Handle).Invoke(ctx, payload)
}

// Handle answers one request, and tells the observer what came of it.
func (h *Handler) Handle(ctx context.Context, r *httpapi.Request) (httpapi.Response, error) {
	hop := events.Hop{Time: h.now(), Function: topology.Ingress, Outcome: events.OutcomeOK}
	topic, known := h.Topics[r.Parameters["topic"]]
	if known {
		hop.Topic = r.Parameters["topic"]
	}
	var response httpapi.Response
	var verified bool
	var err error
	switch {
	case !known:
		err = events.Errorf(events.CodeNotFound, "There is no such topic here; the topics are those of events-config.json.")
	case r.Method != http.MethodPost:
		response = httpapi.MethodNotAllowed(r, http.MethodPost)
		hop.Outcome, hop.Reason, hop.Code = events.OutcomeRefused, "method "+r.Method, events.CodeMethodNotAllowed
	default:
		var e events.Event
		e, verified, err = h.safely(ctx, &hop, topic, r)
		hop.Event, hop.TraceParent = e.ID, e.TraceParent
		response = accepted(e.ID)
	}
	switch {
	case errors.Is(err, webhook.ErrTest):
		hop.Outcome, hop.Reason = events.OutcomeDropped, err.Error()
		response = answer(rowTest, "ignored", err.Error())
	case err != nil:
		hop.Outcome, hop.Reason, hop.Code = events.OutcomeRefused, err.Error(), events.ErrorCode(err)
		response = refused(err, topic.From, verified)
	}
	hop.Milliseconds = events.Since(hop.Time)
	h.Observer.Observe(ctx, hop)
	return response, nil
}

// safely makes a failure of ours of a panic, such as one of somebody's own profile, body parser or validator: what a function
// that fails is answered with, 500, few senders repeat. Only the type of the value is logged, because it may be made of the
// request, but for what Go itself says; the stack has addresses and no texts.
func (h *Handler) safely(ctx context.Context, hop *events.Hop, topic Topic, r *httpapi.Request) (e events.Event, verified bool, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		said := fmt.Sprintf("%T", p)
		if own, ok := p.(runtime.Error); ok {
			said = own.Error()
		}
		slog.ErrorContext(ctx, "the ingress panicked", "topic", hop.Topic, "panic", said, "stack", string(debug.Stack()))
		e, err = events.Event{}, events.Errorf(events.CodeInternal, "the webhook cannot be handled at the moment; send it again")
	}()
	return h.accept(ctx, hop, topic, r)
}

// accept verifies before it parses, and returns the event when the queue has it, and whether the sender is known.
func (h *Handler) accept(ctx context.Context, hop *events.Hop, topic Topic, r *httpapi.Request) (e events.Event, verified bool, err error) {
	if err := allowed(topic.Allow, r.SourceIP); err != nil {
		return events.Event{}, false, err
	}
	hook := webhook.Request{Headers: r.Headers, Body: r.Body, Token: r.Parameters["token"], Time: hop.Time}
	err = secrets.Verify(ctx, h.Secrets, topic.Secrets, func(values [][]string) error {
		return topic.Profile.Verify(hook, slices.Concat(values...))
	})
	if err != nil {
		return events.Event{}, false, err
	}
	e, err = h.publish(ctx, hop, topic, hook)
	return e, true, err
}

// publish makes an event of a verified webhook and returns it when the queue has it, and the bucket its payload if that
// is too large for the queue.
func (h *Handler) publish(ctx context.Context, hop *events.Hop, topic Topic, hook webhook.Request) (events.Event, error) {
	if len(hook.Body) > events.MaxPayloadSize { // API Gateway would not let it through
		return events.Event{}, events.Errorf(events.CodeTooLarge, "the body has %d bytes; at most %d are possible", len(hook.Body), events.MaxPayloadSize)
	}
	payload, err := body.Reader{Parsers: h.Parsers, Limit: events.MaxPayloadSize}.Read(hook)
	if err != nil {
		return events.Event{}, err
	}
	delivery, err := topic.Profile.Describe(hook, payload)
	if err != nil {
		return events.Event{}, err
	}
	for _, validate := range topic.Validators {
		if err := validate(ctx, hook, payload); err != nil {
			return events.Event{}, err
		}
	}
	e := event(hop.Topic, delivery, payload, hook.Time)
	e.TraceParent = traceParent(hook)
	if topic.RepeatWindow > 0 {
		err = h.once(ctx, topic.RepeatWindow, hop.Topic, hook, e.ID, func() error { return h.store(ctx, hop, topic.Limit, e) })
	} else {
		err = h.store(ctx, hop, topic.Limit, e)
	}
	if err != nil {
		return events.Event{}, err
	}
	return e, nil
}

// store returns when the queue has an event, and the bucket its payload if the message would be larger than limit.
func (h *Handler) store(ctx context.Context, hop *events.Hop, limit int, e events.Event) error {
	m, err := events.Encoder{MaxSize: limit, Bucket: h.Bucket}.Offload(ctx, e)
	if events.ErrorCode(err) == events.CodeUnavailable {
		return notStored(err)
	}
	if err != nil {
		return err
	}
	if err := h.Queue.Send(ctx, m); err != nil {
		return notStored(err)
	}
	if c, ok, _ := m.ClaimCheck(); ok {
		hop.Notes = append(hop.Notes, events.Note{Kind: events.NoteClaimCheck, Value: c.Key})
	}
	return nil
}

func notStored(err error) error {
	return events.Wrap(err, events.CodeUnavailable, "the event cannot be stored at the moment; send it again")
}

// allowed fails unless an address is in one of the ranges, or there is none.
func allowed(ranges []netip.Prefix, address string) error {
	if len(ranges) == 0 {
		return nil
	}
	a, err := netip.ParseAddr(address)
	if err == nil && slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) }) {
		return nil
	}
	return events.Errorf(events.CodeForbidden, "the address %.50q may not send to this topic: compare it with \"allow\" in events-config.json", address)
}

func (h *Handler) now() time.Time {
	if h.Now == nil {
		return time.Now().UTC()
	}
	return h.Now().UTC()
}

func event(topic string, d webhook.Delivery, payload []byte, now time.Time) events.Event {
	delivery := d.ID
	if delivery == "" {
		delivery = uuid.NewString()
	}
	group := ""
	if d.Repository != "" {
		group = events.Group(d.Host, d.Repository)
	}
	return events.Event{
		ID: events.NewID(topic, delivery), Topic: topic, Payload: payload, Time: now,
		Metadata: d.Metadata, Promoted: d.Promoted, Group: group,
	}
}

// traceParent continues the sender's trace or begins one.
func traceParent(r webhook.Request) string {
	if given, ok := r.Headers.Get("traceparent"); ok && events.ValidTraceParent(given) {
		return given
	}
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails
	return "00-" + hex.EncodeToString(id[:16]) + "-" + hex.EncodeToString(id[16:]) + "-01"
}
