package httpapi_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/pkg/events"
)

func recorded(tb testing.TB) []byte {
	tb.Helper()
	payload, err := os.ReadFile("testdata/request.json")
	if err != nil {
		tb.Fatal(err)
	}
	return payload
}

func TestDecode(t *testing.T) {
	t.Parallel()
	got, err := httpapi.Decode(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	want := &httpapi.Request{
		Method: "POST", Path: "/events/http/git%68ub", RawQuery: "parameter1=value1&parameter1=value2&parameter2=value",
		Headers:    map[string]string{"content-type": "application/json", "header1": "value1", "header2": "value1,value2"},
		Parameters: map[string]string{"topic": "github"}, SourceIP: "192.0.2.1",
		Body: []byte("{\"a\": \"ä \\ud83d\\ude00 😀\"}\n"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestDecode_Body(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ members, want string }{
		"none":            {``, ""},
		"null":            {`,"body":null,"isBase64Encoded":false`, ""},
		"empty":           {`,"body":""`, ""},
		"base64":          {`,"body":"` + base64.StdEncoding.EncodeToString([]byte("\x00\xff a+b")) + `","isBase64Encoded":true`, "\x00\xff a+b"},
		"base64 escaped":  {`,"isBase64Encoded":true,"body":"\/\/8="`, "\xff\xff"},
		"text like it":    {`,"body":"AAAA","isBase64Encoded":false`, "AAAA"},
		"odd marker":      {`,"body":"AAAA","isBase64Encoded":{"a":[true]}`, "AAAA"},
		"escapes":         {`,"body":"\u0000\b\f\n\r\t\"\\\/\ud83d\ude00\ufffe"`, "\x00\b\f\n\r\t\"\\/😀\ufffe"},
		"null maps":       {`,"headers":null,"pathParameters":null,"rawPath":null,"body":"x"`, "x"},
		"null header":     {`,"headers":{"a":null},"body":"x"`, "x"},
		"unknown members": {`,"later":[{"body":"no"}],"body":"x"`, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := httpapi.Decode([]byte(`{"requestContext":{"http":{"method":"POST"}}` + test.members + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Body) != test.want || got.Path != "" {
				t.Errorf("body %q, path %q; want %q and no path", got.Body, got.Path, test.want)
			}
		})
	}
}

func TestDecode_Refuses(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]string{
		"nothing":         "",
		"null":            "null",
		"a list":          "[]",
		"empty":           "{}",
		"cut off":         `{"requestContext":{"http":{"method":"POST"}}`,
		"version 1.0":     `{"version":"1.0","resource":"/x","path":"/x","httpMethod":"POST","headers":{"a":"b"},"requestContext":{"httpMethod":"POST"},"body":"x"}`,
		"sqs event":       `{"Records":[]}`,
		"not base64":      `{"requestContext":{"http":{"method":"POST"}},"body":"%%","isBase64Encoded":true}`,
		"header objects":  `{"requestContext":{"http":{"method":"POST"}},"headers":{"a":{"body":"x"}}}`,
		"header list":     `{"requestContext":{"http":{"method":"POST"}},"headers":["a"]}`,
		"method a number": `{"requestContext":{"http":{"method":1}}}`,
		"not UTF-8":       "{\"requestContext\":{\"http\":{\"method\":\"POST\"}},\"body\":\"\xff\"}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := httpapi.Decode([]byte(payload)); events.ErrorCode(err) != events.CodeInvalid {
				t.Errorf("decoded to %+v, %v; want code %q", got, err, events.CodeInvalid)
			}
		})
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	for code, want := range map[events.Code]struct {
		status int
		name   string
		header string
	}{
		events.CodeInternal:             {500, "Error", ""},
		events.CodeInvalid:              {400, "InputError", ""},
		events.CodeUnauthorized:         {401, "AuthenticationError", "www-authenticate"},
		events.CodeForbidden:            {403, "NotAllowedError", ""},
		events.CodeNotFound:             {404, "NotFoundError", ""},
		events.CodeMethodNotAllowed:     {405, "MethodNotAllowedError", ""},
		events.CodeConflict:             {409, "ConflictError", ""},
		events.CodeTooLarge:             {413, "PayloadTooLargeError", ""},
		events.CodeUnsupportedMediaType: {415, "UnsupportedMediaTypeError", ""},
		events.CodeRateLimited:          {503, "ServiceUnavailableError", "retry-after"},
		events.CodeUnavailable:          {503, "ServiceUnavailableError", "retry-after"},
		"unheard-of":                    {500, "Error", ""},
	} {
		got := httpapi.Error(fmt.Errorf("ctx: %w", events.Wrap(os.ErrInvalid, code, "say <this>")))
		if got.StatusCode != want.status {
			t.Errorf("%s: status %d, want %d", code, got.StatusCode, want.status)
		}
		if body := fmt.Sprintf(`{"error":{"name":%q,"message":"say <this>"}}`, want.name); got.Body != body {
			t.Errorf("%s: body %s, want %s", code, got.Body, body)
		}
		if want.header != "" && got.Headers[want.header] == "" {
			t.Errorf("%s: header %s is missing", code, want.header)
		}
	}
	if got := httpapi.Error(os.ErrInvalid); got.StatusCode != http.StatusInternalServerError || got.Body != `{"error":{"name":"Error","message":"An internal error occurred."}}` {
		t.Errorf("an error of no code is answered with %d %s", got.StatusCode, got.Body)
	}
}

func TestHandler_Invoke(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		payload string
		handler httpapi.Handler
		want    string
	}{
		"answer": {
			string(recorded(t)),
			func(context.Context, *httpapi.Request) (httpapi.Response, error) {
				return httpapi.JSON(202, map[string][]int{"b": nil, "a": {1}}), nil
			},
			`{"statusCode":202,"headers":{"content-type":"application/json"},"body":"{\"a\":[1],\"b\":[]}"}`,
		},
		"error": {
			string(recorded(t)),
			func(context.Context, *httpapi.Request) (httpapi.Response, error) {
				return httpapi.Response{}, events.Errorf(events.CodeNotFound, "gone")
			},
			`{"statusCode":404,"headers":{"content-type":"application/json"},"body":"{\"error\":{\"name\":\"NotFoundError\",\"message\":\"gone\"}}"}`,
		},
		"method": {
			string(recorded(t)),
			func(_ context.Context, r *httpapi.Request) (httpapi.Response, error) {
				return httpapi.MethodNotAllowed(r, "GET, PUT"), nil
			},
			`{"statusCode":405,"headers":{"allow":"GET, PUT","content-type":"application/json"},"body":"{\"error\":{\"name\":\"MethodNotAllowedError\",\"message\":\"POST is not possible here; use GET, PUT\"}}"}`,
		},
		"no request": {
			`{"Records":[]}`, nil,
			`{"statusCode":400,"headers":{"content-type":"application/json"},"body":"{\"error\":{\"name\":\"InputError\",\"message\":\"the invocation has no HTTP method: is the payload format version 2.0?\"}}"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.handler.Invoke(t.Context(), []byte(test.payload))
			if err != nil || string(got) != test.want {
				t.Errorf("the answer is %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(recorded(f))
	f.Add([]byte(`{"requestContext":{"http":{"method":"GET"}},"body":"AA==","isBase64Encoded":true,"headers":{"a":{"b":"c"}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := string(payload)
		r, err := httpapi.Decode(payload)
		if string(payload) != before {
			t.Fatal("the invocation was changed")
		}
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid {
				t.Fatalf("error code %q, want %q", code, events.CodeInvalid)
			}
			return
		}
		// Another reader of the same bytes sees the same request.
		var other struct {
			RequestContext struct {
				HTTP struct {
					Method string `json:"method"`
				} `json:"http"`
			} `json:"requestContext"`
			RawPath string            `json:"rawPath"`
			Headers map[string]string `json:"headers"`
		}
		if err := json.Unmarshal(payload, &other); err != nil {
			return // for example something behind the document
		}
		if other.RequestContext.HTTP.Method != r.Method || other.RawPath != r.Path || len(other.Headers) != len(r.Headers) {
			t.Fatalf("decoded to %+v, want %+v", r, other)
		}
	})
}
