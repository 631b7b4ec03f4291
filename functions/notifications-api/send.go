package notificationsapi

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/callboard/callboard/internal/auth"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
)

const (
	// channel is the name of the inbox among the channels, as Backstage has it.
	channel = "Web"
	// maxKey is the longest idempotency key, in bytes.
	maxKey = 255
	// parallel is how many notifications of one request are stored at the same time.
	parallel = 8
)

// send stores a notification for each of the recipients; the subject of the token becomes its origin. With the header
// Idempotency-Key the same sender's request can be repeated after a failure: who has the notification gets no second one.
func (h *Handler) send(ctx context.Context, r *httpapi.Request, _ string) (httpapi.Response, error) {
	sender, err := h.Auth.Authenticate(ctx, r.Headers["authorization"], auth.NotificationsSend)
	if err != nil {
		return httpapi.Response{}, err
	}
	if err := noQuery(r.RawQuery); err != nil {
		return httpapi.Response{}, err
	}
	var body struct {
		Recipients *notifications.Recipients `json:"recipients"`
		Payload    *notifications.Payload    `json:"payload"`
	}
	if err := decodeBody(r, &body); err != nil {
		return httpapi.Response{}, err
	}
	if body.Recipients == nil {
		return httpapi.Response{}, missing("request/body", "recipients")
	}
	if body.Payload == nil {
		return httpapi.Response{}, missing("request/body", "payload")
	}
	if err := checkRecipients(body.Recipients); err != nil {
		return httpapi.Response{}, err
	}
	if err := body.Payload.Validate(); err != nil {
		return httpapi.Response{}, err
	}
	once, err := delivery(r, sender.Subject)
	if err != nil {
		return httpapi.Response{}, err
	}
	resolver := notifications.Resolver{Catalog: h.Catalog}
	users, _, err := resolver.Users(ctx, body.Recipients.EntityRef, body.Recipients.ExcludeEntityRef)
	if err != nil {
		return httpapi.Response{}, err
	}
	stored, err := h.store(ctx, users, inbox.Message{Origin: sender.Subject, Payload: *body.Payload, Once: once})
	if err != nil {
		return httpapi.Response{}, err
	}
	return answer(stored)
}

func checkRecipients(r *notifications.Recipients) error {
	switch {
	case r.Type == "broadcast":
		return events.Errorf(events.CodeInvalid, "Broadcasts are not supported yet: name users or groups in request/body/recipients/entityRef.")
	case r.Type != "entity":
		return events.Errorf(events.CodeInvalid, "request/body/recipients/type must be 'entity'")
	case r.EntityRef == nil:
		return missing("request/body/recipients", "entityRef")
	}
	return nil
}

// delivery is what makes a repeated request have one effect, or nil if the sender did not ask for it.
func delivery(r *httpapi.Request, sender string) (*inbox.Delivery, error) {
	key, ok := r.Headers["idempotency-key"]
	if !ok {
		return nil, nil
	}
	if key == "" || len(key) > maxKey {
		return nil, events.Errorf(events.CodeInvalid, "The header Idempotency-Key has %d bytes; 1 to %d are allowed.", len(key), maxKey)
	}
	return &inbox.Delivery{Subscriber: topology.NotificationsAPI, Topic: sender, Event: key, Channel: channel}, nil
}

// store stores the message for each user and returns the notifications in the order of the users.
func (h *Handler) store(ctx context.Context, users []catalog.Ref, m inbox.Message) ([]notifications.Notification, error) {
	stored := make([]notifications.Notification, len(users))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, user := range users {
		g.Go(func() error {
			m := m
			m.User = user
			id, _, err := h.Inbox.Store(ctx, m)
			if err != nil {
				return err
			}
			stored[i], err = h.Inbox.Get(ctx, user, id)
			return err
		})
	}
	return stored, g.Wait()
}
