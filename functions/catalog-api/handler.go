// Package catalogapi is the function that answers questions about the catalog, in the shapes of the API of
// Backstage's catalog.
package catalogapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/auth"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

const (
	// maxBody is the largest body of a request, in bytes.
	maxBody = 1 << 20
	// maxAnswer is below the 6 MB that Lambda can return, with room for the escapes of the body in its JSON
	// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
	maxAnswer = 4 << 20
)

// Handler answers requests below /catalog and /api/catalog.
type Handler struct {
	Store *catalogstore.Store
	Auth  *auth.Authenticator
}

// Invoke answers an invocation: the Handler interface of aws-lambda-go.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return httpapi.Handler(h.Handle).Invoke(ctx, payload)
}

// Handle answers one request of a caller who has the right [auth.CatalogRead].
func (h *Handler) Handle(ctx context.Context, r *httpapi.Request) (httpapi.Response, error) {
	if _, err := h.Auth.Authenticate(ctx, r.Headers["authorization"], auth.CatalogRead); err != nil {
		return httpapi.Response{}, err
	}
	path := segments(r.Path)
	switch {
	case len(path) == 1 && path[0] == "entities":
		return get(r, func() (httpapi.Response, error) { return h.list(ctx, r) })
	case len(path) == 5 && path[0] == "entities" && path[1] == "by-name":
		return get(r, func() (httpapi.Response, error) { return h.byName(ctx, path[2], path[3], path[4]) })
	case len(path) == 2 && path[0] == "entities" && path[1] == "by-refs":
		if r.Method != http.MethodPost {
			return httpapi.MethodNotAllowed(r, http.MethodPost), nil
		}
		return h.byRefs(ctx, r)
	default:
		return httpapi.Response{}, events.Errorf(events.CodeNotFound, "There is nothing at this path of the catalog.")
	}
}

func get(r *httpapi.Request, answer func() (httpapi.Response, error)) (httpapi.Response, error) {
	if r.Method != http.MethodGet {
		return httpapi.MethodNotAllowed(r, http.MethodGet), nil
	}
	return answer()
}

// segments returns the parts of a path below the base; none where the path is outside of it.
func segments(path string) []string {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(path, "/api"), "/catalog/")
	if !ok {
		return nil
	}
	return strings.Split(rest, "/")
}

func (h *Handler) byName(ctx context.Context, kind, namespace, name string) (httpapi.Response, error) {
	missing := events.Errorf(events.CodeNotFound,
		"No entity named '%s' found, with kind '%s' and namespace '%s'", name, kind, namespace)
	// Only the first colon and the first slash divide a reference; a part that has one would name another entity.
	if strings.ContainsAny(kind, ":/") || strings.Contains(namespace, "/") {
		return httpapi.Response{}, missing
	}
	ref, err := catalog.ParseRef(kind + ":" + namespace + "/" + name)
	if err != nil {
		return httpapi.Response{}, missing
	}
	found, err := h.Store.ByRefs(ctx, []catalog.Ref{ref})
	if err != nil {
		return httpapi.Response{}, err
	}
	if found[0] == nil {
		return httpapi.Response{}, missing
	}
	return httpapi.JSON(http.StatusOK, withRelations(found[0])), nil
}

// byRefs answers with the entities in the order of the references, null for one that does not exist.
func (h *Handler) byRefs(ctx context.Context, r *httpapi.Request) (httpapi.Response, error) {
	if len(r.Body) > maxBody {
		return httpapi.Response{}, events.Errorf(events.CodeTooLarge, "The body has %d bytes; at most %d are read.", len(r.Body), maxBody)
	}
	var body struct {
		EntityRefs *[]string `json:"entityRefs"`
		Fields     []string  `json:"fields"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil || body.EntityRefs == nil {
		return httpapi.Response{}, events.Wrap(err, events.CodeInvalid, "The body must be JSON: {\"entityRefs\": [\"component:default/petstore\"]}.")
	}
	var refs []catalog.Ref
	var at []int // refs[i] is asked for at at[i]
	for i, text := range *body.EntityRefs {
		if ref, err := catalog.ParseRef(text); err == nil {
			refs, at = append(refs, ref), append(at, i)
		}
	}
	found, err := h.Store.ByRefs(ctx, refs)
	if err != nil {
		return httpapi.Response{}, err
	}
	answer := answer{fields: body.Fields, items: make([]any, len(*body.EntityRefs))}
	for i, e := range found {
		if e == nil {
			continue
		}
		if answer.items[at[i]], err = answer.item(e); err != nil {
			return httpapi.Response{}, err
		}
	}
	return httpapi.JSON(http.StatusOK, struct {
		Items []any `json:"items"`
	}{answer.items}), nil
}

// list answers with the entities that the filter selects, in the order of their references.
func (h *Handler) list(ctx context.Context, r *httpapi.Request) (httpapi.Response, error) {
	query, fields, err := parseQuery(r.RawQuery)
	if err != nil {
		return httpapi.Response{}, err
	}
	answer := answer{fields: fields, items: []any{}}
	for e, err := range h.Store.List(ctx, query) {
		if err != nil {
			return httpapi.Response{}, err
		}
		item, err := answer.item(e)
		if err != nil {
			return httpapi.Response{}, err
		}
		answer.items = append(answer.items, item)
	}
	return httpapi.JSON(http.StatusOK, answer.items), nil
}

func withRelations(e *catalog.Entity) *catalog.Entity {
	e.Relations = e.OutgoingRelations()
	return e
}
