// Package notificationsapi is the function behind /notifications and /api/notifications: people read and mark what is
// in their inbox, and services send notifications. Paths, parameters and JSON are those of Backstage's notifications
// plugin, whose base each of the two addresses stands for:
//
//	GET  /, /notifications                        list
//	GET  /{id}, /notifications/{id}               one notification
//	GET  /status                                  numbers of unread and read ones
//	POST /update, /notifications/update           mark as read or saved
//	POST /, /notifications                        send
//
// Differences: a list has 50 notifications unless limit says otherwise, at most 500; severity sorts by urgency; search
// has no wildcards; metadata of a payload are kept; broadcasts are not supported yet.
package notificationsapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/callboard/callboard/internal/auth"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
)

// Handler answers the API.
type Handler struct {
	Auth    *auth.Authenticator
	Inbox   *inbox.Inbox
	Catalog notifications.Catalog
}

// Invoke answers an invocation: the Handler interface of aws-lambda-go.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return httpapi.Handler(h.Handle).Invoke(ctx, payload)
}

// Handle answers one request.
func (h *Handler) Handle(ctx context.Context, r *httpapi.Request) (httpapi.Response, error) {
	methods, id := h.route(r.Path)
	if methods == nil {
		return httpapi.Response{}, events.Errorf(events.CodeNotFound, "There is nothing at this address.")
	}
	handle := methods[r.Method]
	if handle == nil {
		return httpapi.MethodNotAllowed(r, allow(methods)), nil
	}
	return handle(ctx, r, id)
}

// endpoint answers a request; id is the last segment of the path where that is one.
type endpoint func(ctx context.Context, r *httpapi.Request, id string) (httpapi.Response, error)

// route returns what can be done at a path, nil if there is nothing.
func (h *Handler) route(path string) (methods map[string]endpoint, id string) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(path, "/api"), "/notifications")
	if !ok || rest != "" && rest[0] != '/' {
		return nil, ""
	}
	if rest == "/status" {
		return map[string]endpoint{http.MethodGet: h.status}, ""
	}
	// The plugin's own "/notifications" and its base mean the same.
	if inner, ok := strings.CutPrefix(rest, "/notifications"); ok && (inner == "" || inner[0] == '/') {
		rest = inner
	}
	rest = strings.TrimPrefix(rest, "/")
	switch {
	case rest == "":
		return map[string]endpoint{http.MethodGet: h.list, http.MethodPost: h.send}, ""
	case rest == "update":
		return map[string]endpoint{http.MethodPost: h.update}, ""
	case strings.Contains(rest, "/"):
		return nil, ""
	}
	return map[string]endpoint{http.MethodGet: h.get}, rest
}

func allow(methods map[string]endpoint) string {
	var list []string
	for _, m := range []string{http.MethodGet, http.MethodPost} {
		if methods[m] != nil {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}

// user returns whose inbox a request reads.
func (h *Handler) user(ctx context.Context, r *httpapi.Request) (catalog.Ref, error) {
	p, err := h.Auth.Authenticate(ctx, r.Headers["authorization"], auth.NotificationsRead)
	if err != nil {
		return catalog.Ref{}, err
	}
	user, err := catalog.ParseRef(p.Subject)
	if err != nil || user.Kind != "user" {
		return catalog.Ref{}, events.Errorf(events.CodeForbidden, "This endpoint does not allow 'service' credentials: only users have an inbox.")
	}
	return user, nil
}

func (h *Handler) list(ctx context.Context, r *httpapi.Request, _ string) (httpapi.Response, error) {
	user, err := h.user(ctx, r)
	if err != nil {
		return httpapi.Response{}, err
	}
	q, err := parseListQuery(r.RawQuery)
	if err != nil {
		return httpapi.Response{}, err
	}
	page, total, err := h.Inbox.List(ctx, user, q.filter, q.order, q.offset, q.limit)
	if err != nil {
		return httpapi.Response{}, err
	}
	list, whole, err := fit(page)
	if err != nil {
		return httpapi.Response{}, err
	}
	if !whole {
		return httpapi.Response{}, events.Errorf(events.CodeInvalid, "These %d notifications are too large for one answer: ask for fewer with the query parameter 'limit'.", len(page))
	}
	return httpapi.JSON(http.StatusOK, struct {
		TotalCount    int    `json:"totalCount"`
		Notifications values `json:"notifications"`
	}{total, list}), nil
}

func (h *Handler) get(ctx context.Context, r *httpapi.Request, id string) (httpapi.Response, error) {
	user, err := h.user(ctx, r)
	if err != nil {
		return httpapi.Response{}, err
	}
	if err := noQuery(r.RawQuery); err != nil {
		return httpapi.Response{}, err
	}
	n, err := h.Inbox.Get(ctx, user, id)
	if err != nil {
		return httpapi.Response{}, err
	}
	return httpapi.JSON(http.StatusOK, n), nil
}

func (h *Handler) status(ctx context.Context, r *httpapi.Request, _ string) (httpapi.Response, error) {
	user, err := h.user(ctx, r)
	if err != nil {
		return httpapi.Response{}, err
	}
	if err := noQuery(r.RawQuery); err != nil {
		return httpapi.Response{}, err
	}
	s, err := h.Inbox.Status(ctx, user)
	if err != nil {
		return httpapi.Response{}, err
	}
	return httpapi.JSON(http.StatusOK, s), nil
}

// maxIDs is how many notifications one request may mark.
const maxIDs = 1000

func (h *Handler) update(ctx context.Context, r *httpapi.Request, _ string) (httpapi.Response, error) {
	user, err := h.user(ctx, r)
	if err != nil {
		return httpapi.Response{}, err
	}
	var body struct {
		IDs   []string `json:"ids"`
		Read  *bool    `json:"read"`
		Saved *bool    `json:"saved"`
	}
	if err := decodeBody(r, &body); err != nil {
		return httpapi.Response{}, err
	}
	if body.IDs == nil {
		return httpapi.Response{}, missing("request/body", "ids")
	}
	if len(body.IDs) > maxIDs {
		return httpapi.Response{}, events.Errorf(events.CodeInvalid, "request/body/ids has %d items; at most %d are allowed", len(body.IDs), maxIDs)
	}
	marked, err := h.Inbox.Mark(ctx, user, body.IDs, body.Read, body.Saved)
	if err != nil {
		return httpapi.Response{}, err
	}
	return answer(marked)
}
