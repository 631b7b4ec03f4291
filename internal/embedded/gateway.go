package embedded

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// Limits of API Gateway's HTTP APIs and of a Lambda invocation
// (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html,
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const (
	maxRequestBody = 10 << 20
	maxHeaders     = 10_240 // request line and header values together
	maxInvocation  = 6 << 20
	maxResponse    = 6 << 20
)

// Route leads requests to a function.
type Route struct {
	Path    string // with {name} for a segment and {name+} for all that follow
	Handler Handler
	Timeout time.Duration
}

// gateway answers HTTP as an HTTP API with Lambda integrations of payload format 2.0 does.
type gateway struct {
	routes []Route
}

// ServeHTTP implements http.Handler.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route, parameters, ok := g.match(r.URL.Path)
	if !ok {
		gatewayError(w, http.StatusNotFound, "Not Found")
		return
	}
	if headerSize(r) > maxHeaders {
		refuse(w, route, http.StatusRequestHeaderFieldsTooLarge, "Request Header Fields Too Large")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
	if err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok && tooLarge != nil {
			refuse(w, route, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		}
		return // otherwise the client is gone
	}
	payload, err := invocation(r, route.Path, parameters, body)
	if err != nil {
		gatewayError(w, http.StatusBadRequest, "Bad Request")
		return
	}
	if len(payload) > maxInvocation {
		refuse(w, route, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return
	}
	// As in AWS, a client that goes away does not stop the function.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), route.Timeout)
	defer cancel()
	answer, err := invoke(ctx, route.Handler, payload)
	if err != nil {
		slog.ErrorContext(ctx, "a function failed", "route", route.Path, "error", err)
		gatewayError(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	respond(w, answer)
}

// match finds the most specific route: the longest path without a greedy parameter, else the longest greedy one.
func (g *gateway) match(path string) (best Route, parameters map[string]string, ok bool) {
	score := -1
	for _, route := range g.routes {
		p, fits := matchPath(route.Path, path)
		if !fits {
			continue
		}
		s := len(route.Path)
		if !strings.Contains(route.Path, "+}") {
			s += 1000
		}
		if s > score {
			best, parameters, score = route, p, s
		}
	}
	return best, parameters, score >= 0
}

func matchPath(pattern, path string) (map[string]string, bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	parameters := make(map[string]string)
	for i, w := range want {
		if i >= len(have) {
			return nil, false
		}
		name, isParameter := strings.CutPrefix(w, "{")
		name = strings.TrimSuffix(name, "}")
		greedy, isGreedy := strings.CutSuffix(name, "+")
		switch {
		case isParameter && isGreedy:
			rest := strings.Join(have[i:], "/")
			parameters[greedy] = rest
			return parameters, rest != ""
		case isParameter && have[i] != "":
			parameters[name] = have[i]
		case w != have[i]:
			return nil, false
		}
	}
	return parameters, len(want) == len(have)
}

func headerSize(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Proto) + 2
	for _, values := range r.Header {
		for _, v := range values {
			n += len(v)
		}
	}
	return n
}

// proxyRequest is payload format version 2.0
// (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html).
type proxyRequest struct {
	Version         string            `json:"version"`
	RouteKey        string            `json:"routeKey"`
	RawPath         string            `json:"rawPath"`
	RawQueryString  string            `json:"rawQueryString"`
	Cookies         []string          `json:"cookies,omitempty"`
	Headers         map[string]string `json:"headers"`
	RequestContext  requestContext    `json:"requestContext"`
	PathParameters  map[string]string `json:"pathParameters,omitempty"`
	Body            string            `json:"body,omitempty"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

type requestContext struct {
	HTTP      requestHTTP `json:"http"`
	RequestID string      `json:"requestId"`
	RouteKey  string      `json:"routeKey"`
	Stage     string      `json:"stage"`
	Time      string      `json:"time"`
	TimeEpoch int64       `json:"timeEpoch"`
}

type requestHTTP struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

// invocation returns what the function gets for a request.
func invocation(r *http.Request, route string, parameters map[string]string, body []byte) ([]byte, error) {
	now := time.Now().UTC()
	// Other than its name says, the rawPath of an HTTP API is decoded; the query string is not.
	source, _, _ := net.SplitHostPort(r.RemoteAddr)
	p := proxyRequest{
		Version: "2.0", RouteKey: "ANY " + route, RawPath: r.URL.Path, RawQueryString: r.URL.RawQuery,
		Headers: map[string]string{"host": r.Host}, PathParameters: parameters,
		RequestContext: requestContext{
			HTTP: requestHTTP{
				Method: r.Method, Path: r.URL.Path, Protocol: r.Proto, SourceIP: source, UserAgent: r.UserAgent(),
			},
			RequestID: uuid.NewString(), RouteKey: "ANY " + route, Stage: "$default",
			Time: now.Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
		},
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			p.Cookies = strings.Split(strings.Join(values, "; "), "; ")
			continue
		}
		p.Headers[strings.ToLower(name)] = utf8Text(strings.Join(values, ","))
	}
	if len(body) > 0 {
		p.Body = string(body)
		if p.IsBase64Encoded = !isText(r.Header.Get("Content-Type")); p.IsBase64Encoded {
			p.Body = base64.StdEncoding.EncodeToString(body)
		}
	}
	return json.Marshal(p, jsontext.AllowInvalidUTF8(true))
}

// utf8Text reads header values as Latin-1 where they are not UTF-8
// (https://www.rfc-editor.org/rfc/rfc9110#section-5.5).
func utf8Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	runes := make([]rune, 0, len(s))
	for _, c := range []byte(s) {
		runes = append(runes, rune(c))
	}
	return string(runes)
}

// isText tells whether API Gateway hands a body of this type over as text; everything else, also what has no
// type, comes as base64.
func isText(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch mediaType {
	case "application/json", "application/xml", "application/javascript":
		return true
	}
	return strings.HasPrefix(mediaType, "text/")
}

type proxyResponse struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

// respond writes the answer of a function. One that Lambda or API Gateway would not take is an error.
func respond(w http.ResponseWriter, answer []byte) {
	var p proxyResponse
	if len(answer) > maxResponse {
		slog.Error("a function's answer is above what Lambda can return", "bytes", len(answer), "limit", maxResponse)
		gatewayError(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	if err := json.Unmarshal(answer, &p); err != nil || p.StatusCode < 200 || p.StatusCode > 599 {
		slog.Error("a function's answer is not an HTTP response", "error", err)
		gatewayError(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	body := []byte(p.Body)
	if p.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(p.Body); err != nil {
			slog.Error("a function's answer is not base64", "error", err)
			gatewayError(w, http.StatusInternalServerError, "Internal Server Error")
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8") // unless it says otherwise; nothing is guessed
	for name, value := range p.Headers {
		w.Header().Set(name, value)
	}
	for _, c := range p.Cookies {
		w.Header().Add("Set-Cookie", c)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.StatusCode)
	_, _ = w.Write(body)
}

// refuse answers where no function is asked because of a limit. It is logged, since nothing else tells of it; the path is
// not, since a secret may be in it.
func refuse(w http.ResponseWriter, route Route, status int, message string) {
	slog.Warn("the gateway refused a request", "route", route.Path, "status", status)
	gatewayError(w, status, message)
}

// gatewayError answers as API Gateway does where no function was asked.
func gatewayError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body, _ := json.Marshal(map[string]string{"message": message})
	_, _ = w.Write(body)
}
