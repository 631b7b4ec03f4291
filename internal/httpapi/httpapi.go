// Package httpapi reads and writes what API Gateway's HTTP APIs exchange with a Lambda function: payload format
// version 2.0 (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html).
package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Request is a request as a function gets it.
type Request struct {
	Method     string
	Path       string // without the stage, percent-decoded
	RawQuery   string
	Headers    map[string]string // lower-case names; several values of one name are joined with commas
	Parameters map[string]string // path parameters of the route
	SourceIP   string
	Body       []byte // as received, after base64 decoding
}

// Decode reads an invocation in one pass over its JSON.
func Decode(payload []byte) (*Request, error) {
	r := &Request{}
	var body jsontext.Value
	isBase64 := false
	d := jsontext.NewDecoder(bytes.NewBuffer(payload))
	err := object(d, func(name string) (err error) {
		switch name {
		case "rawPath":
			r.Path, err = text(d)
		case "rawQueryString":
			r.RawQuery, err = text(d)
		case "headers":
			r.Headers, err = textMap(d)
		case "pathParameters":
			r.Parameters, err = textMap(d)
		case "requestContext":
			err = r.decodeContext(d)
		case "isBase64Encoded":
			var v jsontext.Value
			v, err = d.ReadValue()
			isBase64 = err == nil && v.Kind() == 't'
		case "body":
			if body, err = d.ReadValue(); err == nil && body.Kind() == '"' {
				// The value is only valid until the next read.
				r.Body, err = jsontext.AppendUnquote(make([]byte, 0, len(body)), body)
			}
		default:
			err = d.SkipValue()
		}
		return err
	})
	if err != nil {
		return nil, events.Wrap(err, events.CodeInvalid, "the invocation is not an HTTP API request of payload format 2.0")
	}
	if isBase64 {
		n, err := base64.StdEncoding.Decode(r.Body, r.Body)
		if err != nil {
			return nil, events.Wrap(err, events.CodeInvalid, "the body of the invocation is not base64")
		}
		r.Body = r.Body[:n]
	}
	if r.Method == "" {
		return nil, events.Errorf(events.CodeInvalid, "the invocation has no HTTP method: is the payload format version 2.0?")
	}
	return r, nil
}

func (r *Request) decodeContext(d *jsontext.Decoder) error {
	return object(d, func(name string) error {
		if name != "http" {
			return d.SkipValue()
		}
		return object(d, func(name string) (err error) {
			switch name {
			case "method":
				r.Method, err = text(d)
			case "sourceIp":
				r.SourceIP, err = text(d)
			default:
				err = d.SkipValue()
			}
			return err
		})
	})
}

// object calls member for each member of the object that comes next; member reads the value. A null is an
// object without members.
func object(d *jsontext.Decoder, member func(name string) error) error {
	if d.PeekKind() == 'n' {
		return d.SkipValue()
	}
	if t, err := d.ReadToken(); err != nil {
		return err
	} else if t.Kind() != '{' {
		return events.Errorf(events.CodeInvalid, "not an object")
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := member(t.String()); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// text reads a string; a null is an empty one.
func text(d *jsontext.Decoder) (string, error) {
	t, err := d.ReadToken()
	if err != nil {
		return "", err
	}
	switch t.Kind() {
	case '"':
		return t.String(), nil
	case 'n':
		return "", nil
	default:
		return "", events.Errorf(events.CodeInvalid, "not a string")
	}
}

func textMap(d *jsontext.Decoder) (map[string]string, error) {
	m := make(map[string]string)
	err := object(d, func(name string) (err error) {
		m[name], err = text(d)
		return err
	})
	return m, err
}

// Response is the answer of a function.
type Response struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body,omitempty"`
}

// JSON returns a response with v as its body.
func JSON(status int, v any) Response {
	body, err := json.Marshal(v, json.Deterministic(true), json.FormatNilSliceAsNull(false), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return Error(events.Wrap(err, events.CodeInternal, "The answer could not be written."))
	}
	return Response{StatusCode: status, Headers: map[string]string{"content-type": "application/json"}, Body: string(body)}
}

// ErrorBody is the body of every error response.
type ErrorBody struct {
	Error ErrorInfo `json:"error"`
}

// ErrorInfo says what was wrong; the names are those of Backstage's errors.
type ErrorInfo struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// errorKinds is the table from the code of an error to what the caller sees.
var errorKinds = map[events.Code]struct {
	status int
	name   string
}{
	events.CodeInvalid:              {http.StatusBadRequest, "InputError"},
	events.CodeUnauthorized:         {http.StatusUnauthorized, "AuthenticationError"},
	events.CodeForbidden:            {http.StatusForbidden, "NotAllowedError"},
	events.CodeNotFound:             {http.StatusNotFound, "NotFoundError"},
	events.CodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "MethodNotAllowedError"},
	events.CodeConflict:             {http.StatusConflict, "ConflictError"},
	events.CodeTooLarge:             {http.StatusRequestEntityTooLarge, "PayloadTooLargeError"},
	events.CodeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "UnsupportedMediaTypeError"},
	events.CodeRateLimited:          {http.StatusServiceUnavailable, "ServiceUnavailableError"},
	events.CodeUnavailable:          {http.StatusServiceUnavailable, "ServiceUnavailableError"},
	events.CodeInternal:             {http.StatusInternalServerError, "Error"},
}

// retryAfter is how long senders should wait when we are not available; in seconds.
const retryAfter = 10

// Error returns the response that tells a caller of err.
func Error(err error) Response {
	kind, ok := errorKinds[events.ErrorCode(err)]
	if !ok {
		kind = errorKinds[events.CodeInternal]
	}
	r := JSON(kind.status, ErrorBody{ErrorInfo{kind.name, events.ErrorMessage(err)}})
	switch kind.status {
	case http.StatusServiceUnavailable:
		r.Headers["retry-after"] = strconv.Itoa(retryAfter)
	case http.StatusUnauthorized:
		r.Headers["www-authenticate"] = "Bearer"
	}
	return r
}

// Handler answers requests. What it returns as an error becomes an error response.
type Handler func(ctx context.Context, r *Request) (Response, error)

// Invoke answers an invocation with h: the Handler interface of aws-lambda-go.
func (h Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	r, err := Decode(payload)
	if err != nil {
		return json.Marshal(Error(err))
	}
	response, err := h(ctx, r)
	if err != nil {
		response = Error(err)
	}
	return json.Marshal(response, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
}

// MethodNotAllowed is the response to a known path that is called with another method than those in allow, a
// list as the Allow header has it.
func MethodNotAllowed(r *Request, allow string) Response {
	response := Error(events.Errorf(events.CodeMethodNotAllowed, "%s is not possible here; use %s", r.Method, allow))
	response.Headers["allow"] = allow
	return response
}
