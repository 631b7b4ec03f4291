package embedded

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

type handlerFunc func(ctx context.Context, payload []byte) ([]byte, error)

func (f handlerFunc) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return f(ctx, payload)
}

// echo answers with the invocation it got.
var echo = handlerFunc(func(_ context.Context, payload []byte) ([]byte, error) {
	return json.Marshal(map[string]any{
		"statusCode": 200, "body": base64.StdEncoding.EncodeToString(payload), "isBase64Encoded": true,
	})
})

func gatewayOf(h Handler, paths ...string) http.Handler {
	g := &gateway{}
	for _, p := range paths {
		g.routes = append(g.routes, Route{Path: p, Handler: h, Timeout: time.Minute})
	}
	return g
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGateway_Invocation(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/events/http/github?a=1&a=2", strings.NewReader("payload=%7B%7D"))
	r.Header.Add("X-Many", "one")
	r.Header.Add("X-Many", "two")
	r.Header.Set("X-Latin", "caf\xe9")
	r.Header.Set("Cookie", "a=1; b=2")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	body := do(gatewayOf(echo, "/events/http/{topic}"), r).Body.String()
	var got proxyRequest
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.RequestContext.RequestID == "" || got.RequestContext.TimeEpoch == 0 || got.RequestContext.Time == "" {
		t.Errorf("the request context is incomplete: %+v", got.RequestContext)
	}
	got.RequestContext.RequestID, got.RequestContext.TimeEpoch, got.RequestContext.Time = "", 0, ""
	want := proxyRequest{
		Version: "2.0", RouteKey: "ANY /events/http/{topic}", RawPath: "/events/http/github", RawQueryString: "a=1&a=2",
		Cookies: []string{"a=1", "b=2"},
		Headers: map[string]string{
			"host": "example.com", "x-many": "one,two", "x-latin": "caf\u00e9", "content-type": "application/x-www-form-urlencoded",
		},
		PathParameters: map[string]string{"topic": "github"},
		Body:           base64.StdEncoding.EncodeToString([]byte("payload=%7B%7D")), IsBase64Encoded: true,
		RequestContext: requestContext{
			HTTP:     requestHTTP{Method: "POST", Path: "/events/http/github", Protocol: "HTTP/1.1", SourceIP: "192.0.2.1"},
			RouteKey: "ANY /events/http/{topic}", Stage: "$default",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("invocation (-want +got):\n%s", diff)
	}
}

// The path comes decoded, the query string as it was sent.
func TestGateway_Path(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/catalog/a%20b/c?q=a%20b", nil)
	var got proxyRequest
	if err := json.Unmarshal(do(gatewayOf(echo, "/catalog/{proxy+}"), r).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.RawPath != "/catalog/a b/c" || got.PathParameters["proxy"] != "a b/c" || got.RawQueryString != "q=a%20b" {
		t.Errorf("the invocation is %+v", got)
	}
}

// The rule by which API Gateway decides what is text.
func TestGateway_Base64(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]bool{
		"application/json": false, "application/json; charset=utf-8": false, "text/plain": false, "application/xml": false,
		"application/javascript": false, "application/vnd.api+json": true, "application/x-www-form-urlencoded": true,
		"application/octet-stream": true, "": true, "nonsense": true,
	} {
		r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(`{"a":1}`))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		body := do(gatewayOf(echo, "/x"), r).Body.String()
		var got proxyRequest
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if got.IsBase64Encoded != want {
			t.Errorf("%q: base64 is %v, want %v", contentType, got.IsBase64Encoded, want)
		}
	}
}

func TestGateway_Routes(t *testing.T) {
	t.Parallel()
	g := &gateway{routes: []Route{{Path: "/catalog/{proxy+}"}, {Path: "/notifications"}, {Path: "/notifications/{proxy+}"}, {Path: "/events/http/{topic}"}, {Path: "/events/http/{topic}/{token}"}}}
	for path, want := range map[string]string{
		"/catalog/entities/by-name/a/b/c": "/catalog/{proxy+}", "/catalog/": "", "/catalog": "", "/notifications": "/notifications",
		"/notifications/status": "/notifications/{proxy+}", "/notifications/": "", "/events/http/github": "/events/http/{topic}",
		"/events/http/": "", "/events/http/a/b": "/events/http/{topic}/{token}", "/events/http/a/": "", "/events/http/a/b/c": "", "/": "", "//catalog/x": "",
	} {
		if got, _, _ := g.match(path); got.Path != want {
			t.Errorf("%s leads to %q, want %q", path, got.Path, want)
		}
	}
}

func TestGateway_Limits(t *testing.T) {
	t.Parallel()
	answer := func(body string) Handler {
		return handlerFunc(func(context.Context, []byte) ([]byte, error) {
			return json.Marshal(map[string]any{"statusCode": 200, "body": body})
		})
	}
	body := func(n int) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(strings.Repeat("x", n)))
		r.Header.Set("Content-Type", "text/plain")
		return r
	}
	headers := func(n int) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		r.Header.Set("A", strings.Repeat("x", n))
		return r
	}
	empty := len(`{"body":"","statusCode":200}`)
	for _, test := range []struct {
		name    string
		handler Handler
		request *http.Request
		want    int
	}{
		{"body above 10 MB", answer("ok"), body(maxRequestBody + 1), http.StatusRequestEntityTooLarge},
		{"invocation above 6 MB", answer("ok"), body(maxInvocation), http.StatusRequestEntityTooLarge},
		{"invocation below 6 MB", answer("ok"), body(maxInvocation - 2000), http.StatusOK},
		{"headers above 10 KB", answer("ok"), headers(maxHeaders), http.StatusRequestHeaderFieldsTooLarge},
		{"headers below 10 KB", answer("ok"), headers(maxHeaders - 100), http.StatusOK},
		{"largest answer", answer(strings.Repeat("x", maxResponse-empty)), body(1), http.StatusOK},
		{"answer above 6 MB", answer(strings.Repeat("x", maxResponse-empty+1)), body(1), http.StatusInternalServerError},
		{"unknown path", answer("ok"), httptest.NewRequest(http.MethodGet, "/y", nil), http.StatusNotFound},
		{"error", handlerFunc(func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no") }), body(1), http.StatusInternalServerError},
		{"panic", handlerFunc(func(context.Context, []byte) ([]byte, error) { panic("no") }), body(1), http.StatusInternalServerError},
		{"informational status", handlerFunc(func(context.Context, []byte) ([]byte, error) { return []byte(`{"statusCode":100}`), nil }), body(1), http.StatusInternalServerError},
		{"no response", handlerFunc(func(context.Context, []byte) ([]byte, error) { return []byte("{}"), nil }), body(1), http.StatusInternalServerError},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := do(gatewayOf(test.handler, "/x"), test.request); got.Code != test.want {
				t.Errorf("status %d with %.100s, want %d", got.Code, got.Body, test.want)
			}
		})
	}
}

func TestGateway_Response(t *testing.T) {
	t.Parallel()
	h := handlerFunc(func(context.Context, []byte) ([]byte, error) {
		return []byte(`{"statusCode":202,"headers":{"content-type":"application/json","x-events-id":"a:1"},"cookies":["a=1"],"body":"{}"}`), nil
	})
	response := do(gatewayOf(h, "/x"), httptest.NewRequest(http.MethodGet, "/x", nil))
	body := response.Body.String()
	if response.Code != http.StatusAccepted || body != "{}" || response.Header().Get("X-Events-Id") != "a:1" || response.Header().Get("Set-Cookie") != "a=1" {
		t.Errorf("the response is %d %v %q", response.Code, response.Header(), body)
	}
}

// An answer that is no batch response, or names a message that is not in the batch, fails the whole batch.
func TestMapping_Invoke(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answer string
		failed []string
		err    bool
	}{
		{answer: `{"batchItemFailures":[]}`},
		{answer: `{"batchItemFailures":[{"itemIdentifier":"b"}]}`, failed: []string{"b"}},
		{answer: `{"batchItemFailures":[{"itemIdentifier":""}]}`, err: true},
		{answer: `{"batchItemFailures":[{"itemIdentifier":"c"}]}`, err: true},
		{answer: `{"batchItemFailures":[{"itemIdentifier":null}]}`, err: true},
		{answer: `no`, err: true},
	} {
		m := &mapping{timeout: time.Minute, handler: handlerFunc(func(context.Context, []byte) ([]byte, error) { return []byte(test.answer), nil })}
		failed, err := m.invoke(t.Context(), []*received{{message: sample.SQS("a", "ra", 1)}, {message: sample.SQS("b", "rb", 1)}})
		if (err != nil) != test.err {
			t.Errorf("%s: error %v", test.answer, err)
		}
		for _, id := range test.failed {
			if !failed[id] || len(failed) != len(test.failed) {
				t.Errorf("%s: failed %v, want %v", test.answer, failed, test.failed)
			}
		}
	}
}

// What a function says nothing about is not guessed from its body.
func TestGateway_ContentType(t *testing.T) {
	t.Parallel()
	h := handlerFunc(func(context.Context, []byte) ([]byte, error) {
		return []byte(`{"statusCode":200,"body":"<html><script>"}`), nil
	})
	if got := do(gatewayOf(h, "/x"), httptest.NewRequest(http.MethodGet, "/x", nil)).Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("the content type is %q", got)
	}
}

func FuzzMatchPath(f *testing.F) {
	f.Add("/a/{b}/{c+}", "/a/x/y/z")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if parameters, ok := matchPath(pattern, path); ok && len(parameters) > strings.Count(pattern, "{") {
			t.Errorf("%q matches %q with %v", pattern, path, parameters)
		}
	})
}
