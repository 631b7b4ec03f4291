package catalogapi_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	catalogapi "github.com/callboard/callboard/functions/catalog-api"
	"github.com/callboard/callboard/internal/auth"
	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/catalog"
)

type secrets map[string]string

func (s secrets) Values(_ context.Context, name string) ([]string, error) {
	return []string{s[name]}, nil
}

// newHandler returns the API of a catalog with some entities.
func newHandler(t testing.TB, entities ...*catalog.Entity) *catalogapi.Handler {
	t.Helper()
	dir := t.TempDir()
	table := boltdbtest.Open(t, time.Now)
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = blobs.Close()
	})
	store := catalogstore.New(table, blobs)
	c := catalogstore.Change{From: catalogstore.Repository{Host: "github.com", Name: "acme/store"}}
	for _, e := range entities {
		c.Entities = append(c.Entities, catalogstore.EntityWrite{Action: catalogstore.Added, Ref: e.Ref(), Path: "catalog-info.yaml", Entity: e})
	}
	parts, err := catalogstore.Parts(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if err := store.Commit(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return &catalogapi.Handler{Store: store, Auth: &auth.Authenticator{
		Tokens: []config.Token{
			{Secret: "reader", Subject: "user:default/guest", May: []string{auth.CatalogRead}},
			{Secret: "other", Subject: "sender", May: []string{auth.NotificationsSend}},
		},
		Secrets: secrets{"reader": "reader-token", "other": "other-token"},
	}}
}

func entity(kind, namespace, name string) *catalog.Entity {
	return &catalog.Entity{
		APIVersion: "backstage.io/v1alpha1", Kind: kind,
		Metadata: catalog.Metadata{Namespace: namespace, Name: name, Annotations: map[string]string{"example.com/a": "b"}},
		Spec:     map[string]any{"owner": "team", "type": "x"},
	}
}

func call(t *testing.T, h *catalogapi.Handler, method, target, body string) httpapi.Response {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	r := &httpapi.Request{
		Method: method, Path: path, RawQuery: query, Body: []byte(body),
		Headers: map[string]string{"authorization": "Bearer reader-token"},
	}
	response, err := h.Handle(t.Context(), r)
	if err != nil {
		return httpapi.Error(err)
	}
	return response
}

// refs are the entities of an answer, "-" for null.
func refs(t *testing.T, data string) []string {
	t.Helper()
	var items []*catalog.Entity
	if err := json.Unmarshal([]byte(data), &items); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	list := []string{}
	for _, e := range items {
		if e == nil {
			list = append(list, "-")
			continue
		}
		list = append(list, e.Ref().String())
	}
	return list
}

func TestByName(t *testing.T) {
	t.Parallel()
	h := newHandler(t, entity("Component", "default", "Petstore"))
	for _, path := range []string{
		"/catalog/entities/by-name/component/default/petstore",
		"/api/catalog/entities/by-name/Component/Default/PETSTORE",
	} {
		response := call(t, h, http.MethodGet, path, "")
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, response.StatusCode, response.Body)
			continue
		}
		var got catalog.Entity
		if err := json.Unmarshal([]byte(response.Body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Metadata.UID == "" || got.Metadata.Etag == "" {
			t.Errorf("uid %q, etag %q", got.Metadata.UID, got.Metadata.Etag)
		}
		want := entity("Component", "default", "Petstore")
		want.Metadata.UID, want.Metadata.Etag = got.Metadata.UID, got.Metadata.Etag
		want.Relations = []catalog.Relation{{Type: "ownedBy", TargetRef: catalog.Ref{Kind: "group", Namespace: "default", Name: "team"}}}
		if diff := cmp.Diff(want, &got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	h := newHandler(t, entity("Component", "default", "petstore"))
	tests := []struct {
		method, target, body string
		status               int
		message              string
	}{
		{"GET", "/catalog/entities/by-name/component/default/x", "", 404, "No entity named 'x' found, with kind 'component' and namespace 'default'"},
		{"GET", "/catalog/entities/by-name/component/default", "", 404, "nothing at this path"},
		{"GET", "/catalog", "", 404, "nothing at this path"},
		{"GET", "/catalogue/entities", "", 404, "nothing at this path"},
		{"POST", "/catalog/entities", "", 405, "use GET"},
		{"DELETE", "/catalog/entities/by-name/component/default/petstore", "", 405, "use GET"},
		{"GET", "/catalog/entities/by-refs", "", 405, "use POST"},
		{"POST", "/catalog/entities/by-refs", "", 400, "entityRefs"},
		{"POST", "/catalog/entities/by-refs", `{}`, 400, "entityRefs"},
		{"POST", "/catalog/entities/by-refs", `{"entityRefs":[1]}`, 400, "entityRefs"},
		{"POST", "/catalog/entities/by-refs", strings.Repeat(" ", 1<<20+1), 413, "at most 1048576"},
		{"GET", "/catalog/entities?filter=spec.type=x", "", 400, "\"spec.type\" is not supported"},
		{"GET", "/catalog/entities?filter=kind", "", 400, "kind=<value>"},
		{"GET", "/catalog/entities?limit=0", "", 400, "limit"},
		{"GET", "/catalog/entities?limit=many", "", 400, "limit"},
		{"GET", "/catalog/entities?offset=-1", "", 400, "offset"},
		{"GET", "/catalog/entities?after=x", "", 400, "\"after\" is not supported"},
		{"GET", "/catalog/entities/by-name/component:default/petstore/b", "", 404, "No entity named"},
		{"GET", "/catalog/entities/by-name/component/default/\x00", "", 404, "No entity named"},
		{"GET", "/catalog/entities/by-name/component/default/%70etstore", "", 404, "No entity named"},
		{"GET", "/catalog/entities?filter=%zz", "", 400, "percent-encoded"},
	}
	for _, tt := range tests {
		response := call(t, h, tt.method, tt.target, tt.body)
		var body httpapi.ErrorBody
		if err := json.Unmarshal([]byte(response.Body), &body); err != nil {
			t.Errorf("%s %s: %v: %s", tt.method, tt.target, err, response.Body)
		}
		if response.StatusCode != tt.status || !strings.Contains(body.Error.Message, tt.message) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.method, tt.target, response.StatusCode, body.Error.Message, tt.status, tt.message)
		}
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	for header, want := range map[string]int{"": 401, "Bearer x": 401, "Bearer other-token": 403, "Bearer reader-token": 200} {
		r := &httpapi.Request{Method: "GET", Path: "/catalog/entities", Headers: map[string]string{"authorization": header}}
		response, err := h.Handle(t.Context(), r)
		if err != nil {
			response = httpapi.Error(err)
		}
		if response.StatusCode != want {
			t.Errorf("%q: %d, want %d", header, response.StatusCode, want)
		}
	}
}

func TestByRefs(t *testing.T) {
	t.Parallel()
	h := newHandler(t, entity("Component", "default", "a"), entity("API", "default", "a"))
	response := call(t, h, http.MethodPost, "/catalog/entities/by-refs",
		`{"entityRefs":["api:a","component:default/missing","nonsense","Component:default/A","api:default/a"]}`)
	body, ok := strings.CutPrefix(response.Body, `{"items":`)
	if !ok || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", response.StatusCode, response.Body)
	}
	want := []string{"api:default/a", "-", "-", "component:default/a", "api:default/a"}
	if diff := cmp.Diff(want, refs(t, strings.TrimSuffix(body, "}"))); diff != "" {
		t.Error(diff)
	}
	response = call(t, h, http.MethodPost, "/catalog/entities/by-refs",
		`{"entityRefs":["component:a"],"fields":["kind","metadata.name","metadata.annotations.example.com/a","spec.x"]}`)
	const selected = `{"items":[{"kind":"Component","metadata":{"annotations":{"example.com/a":"b"},"name":"a"}}]}`
	if response.Body != selected {
		t.Errorf("got %s, want %s", response.Body, selected)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	h := newHandler(t,
		entity("Component", "default", "b"), entity("Component", "default", "a"), entity("Component", "other", "a"),
		entity("API", "default", "a"), entity("User", "default", "u"))
	tests := []struct {
		query string
		want  []string
	}{
		{"", []string{"api:default/a", "component:default/a", "component:default/b", "component:other/a", "user:default/u"}},
		{"?filter=kind=component", []string{"component:default/a", "component:default/b", "component:other/a"}},
		{"?filter=Kind=COMPONENT,metadata.name=a", []string{"component:default/a", "component:other/a"}},
		{"?filter=kind=component,kind=user,metadata.namespace=default", []string{"component:default/a", "component:default/b", "user:default/u"}},
		{"?filter=kind%3Dapi&filter=metadata.name=u", []string{"api:default/a", "user:default/u"}},
		{"?filter=kind=system", []string{}},
		{"?limit=2&offset=1", []string{"component:default/a", "component:default/b"}},
		{"?offset=10", []string{}},
	}
	for _, tt := range tests {
		response := call(t, h, http.MethodGet, "/catalog/entities"+tt.query, "")
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", tt.query, response.StatusCode, response.Body)
			continue
		}
		if diff := cmp.Diff(tt.want, refs(t, response.Body)); diff != "" {
			t.Errorf("%s: %s", tt.query, diff)
		}
	}
	if got := call(t, h, http.MethodGet, "/catalog/entities?filter=kind=user&fields=metadata.name,kind", "").Body; got != `[{"kind":"User","metadata":{"name":"u"}}]` {
		t.Errorf("with fields: %s", got)
	}
}

// An answer that a function cannot return is refused with advice.
func TestTooLargeAnswer(t *testing.T) {
	t.Parallel()
	var entities []*catalog.Entity
	for i := range 5 {
		e := entity("API", "default", fmt.Sprint("n", i))
		e.Spec["definition"] = strings.Repeat("x", 1<<20)
		entities = append(entities, e)
	}
	h := newHandler(t, entities...)
	if got := call(t, h, http.MethodGet, "/catalog/entities", ""); got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", got.StatusCode)
	}
	if got := call(t, h, http.MethodGet, "/catalog/entities?limit=3", ""); got.StatusCode != http.StatusOK {
		t.Errorf("with a limit: %d", got.StatusCode)
	}
	if got := call(t, h, http.MethodGet, "/catalog/entities?fields=kind", ""); got.StatusCode != http.StatusOK {
		t.Errorf("with fields: %d", got.StatusCode)
	}
}

func FuzzHandle(f *testing.F) {
	f.Add("/catalog/entities/by-name/a/b/c", "", "")
	f.Add("/catalog/entities", "filter=kind=a&fields=a.b", "")
	f.Add("/catalog/entities/by-refs", "", `{"entityRefs":["a:b/c"],"fields":["x"]}`)
	h := newHandler(f, entity("Component", "default", "a"))
	f.Fuzz(func(t *testing.T, path, query, body string) {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		r := &httpapi.Request{
			Method: method, Path: path, RawQuery: query, Body: []byte(body),
			Headers: map[string]string{"authorization": "Bearer reader-token"},
		}
		response, err := h.Handle(t.Context(), r)
		if err != nil {
			response = httpapi.Error(err)
		}
		if response.StatusCode >= 500 {
			t.Errorf("%s %s?%s: %d %v", method, path, query, response.StatusCode, err)
		}
	})
}
