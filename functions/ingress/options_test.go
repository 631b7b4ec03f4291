package ingress

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// knock is a profile of somebody's own: a header holds the secret.
type knock struct{}

func (knock) Verify(r webhook.Request, secrets []string) error {
	if word, _ := r.Headers.Get("knock"); !slices.Contains(secrets, word) {
		return events.Errorf(events.CodeForbidden, "who is there?")
	}
	return nil
}

func (knock) Describe(r webhook.Request, _ []byte) (webhook.Delivery, error) {
	return webhook.Delivery{ID: "1", Metadata: r.Headers}, nil
}

// door is what an ingress of tests works with.
type door struct {
	messages []events.Message
	hops     []events.Hop
}

func (d *door) Send(_ context.Context, m events.Message) error {
	d.messages = append(d.messages, m)
	return nil
}
func (*door) Values(context.Context, string) ([]string, error) { return []string{"sesame"}, nil }
func (d *door) Observe(_ context.Context, h events.Hop)        { d.hops = append(d.hops, h) }

const extended = `{
	"topics": {
		"frobs": {"from": "custom:knock", "secrets": ["s"]}, "open": {"from": "custom:knock", "verify": "none"},
		"alerts": {"from": "token", "secrets": ["s"], "token": {"header": "knock"}}, "orders": {"from": "publish"}
	},
	"functions": {"ingress": {"build": "."}}
}`

// handler makes the handler that Start would run.
func handler(t *testing.T, d *door, options ...Option) (*Handler, error) {
	t.Helper()
	c, err := config.Parse([]byte(extended))
	if err != nil {
		t.Fatal(err)
	}
	topo, err := topology.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	x := extend(options)
	topics, err := x.topics(c, topo)
	return &Handler{Topics: topics, Parsers: x.parsers, Queue: d, Secrets: d, Observer: d}, err
}

// upper reads bodies that are the upper half of a document.
func upper(_ map[string]string, body []byte, _ int) ([]byte, error) {
	if len(body) == 0 {
		return nil, events.Errorf(events.CodeInvalid, "there is nothing in it")
	}
	return []byte(`{"text":"` + strings.ToLower(string(body)) + `"}`), nil
}

func TestOptions(t *testing.T) {
	t.Parallel()
	never := func(context.Context, webhook.Request, []byte) error { return webhook.ErrTest }
	short := func(_ context.Context, _ webhook.Request, payload []byte) error {
		if len(payload) > 20 {
			return events.Errorf(events.CodeTooLarge, "too long for us")
		}
		return nil
	}
	plain := func(_ context.Context, r webhook.Request, _ []byte) error {
		if _, broken := r.Headers.Get("broken"); broken {
			return errors.New("the other side is down")
		}
		return nil
	}
	options := []Option{
		WithProfile("knock", knock{}), WithBodyParser("Text/Upper", upper), WithValidator("frobs", short), WithValidator("frobs", plain),
		WithValidator("open", never),
	}
	const jsonType = "application/json"
	for name, test := range map[string]struct {
		topic   string
		headers map[string]string
		body    string
		status  int
		payload string // of the event; "" for none
	}{
		"profile":                 {"frobs", map[string]string{"content-type": jsonType, "knock": "sesame"}, `{"n":1}`, 202, `{"n":1}`},
		"profile refuses":         {"frobs", map[string]string{"content-type": jsonType, "knock": "please"}, `{"n":1}`, 403, ""},
		"profile without header":  {"frobs", map[string]string{"content-type": jsonType}, `{"n":1}`, 403, ""},
		"profile, no JSON":        {"frobs", map[string]string{"content-type": jsonType, "knock": "sesame"}, `{"n":`, 400, ""},
		"parser":                  {"frobs", map[string]string{"content-type": "text/upper; charset=x", "knock": "sesame"}, `ABC`, 202, `{"text":"abc"}`},
		"parser for every topic":  {"alerts", map[string]string{"content-type": "text/upper", "knock": "sesame"}, `ABC`, 202, `{"text":"abc"}`},
		"parser refuses":          {"frobs", map[string]string{"content-type": "text/upper", "knock": "sesame"}, ``, 400, ""},
		"parser makes no JSON":    {"frobs", map[string]string{"content-type": "text/upper", "knock": "sesame"}, `"`, 400, ""},
		"parser is not asked":     {"frobs", map[string]string{"content-type": "text/upper", "knock": "please"}, `ABC`, 403, ""},
		"unknown type":            {"frobs", map[string]string{"content-type": "text/lower", "knock": "sesame"}, `abc`, 415, ""},
		"validator refuses":       {"frobs", map[string]string{"content-type": jsonType, "knock": "sesame"}, `{"n":"` + strings.Repeat("x", 20) + `"}`, 413, ""},
		"validator fails":         {"frobs", map[string]string{"content-type": jsonType, "knock": "sesame", "broken": "1"}, `{"n":1}`, 503, ""},
		"validator: no event":     {"open", map[string]string{"content-type": jsonType}, `{"n":1}`, 200, ""},
		"validator, other topic":  {"alerts", map[string]string{"content-type": jsonType, "knock": "sesame"}, `{"n":"` + strings.Repeat("x", 20) + `"}`, 202, `{"n":"` + strings.Repeat("x", 20) + `"}`},
		"nobody sends to it":      {"orders", map[string]string{"content-type": jsonType, "knock": "sesame"}, `{"n":1}`, 404, ""},
		"validator of a stranger": {"frobs", map[string]string{"content-type": jsonType, "knock": "x", "broken": "1"}, `{"n":1}`, 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &door{}
			h, err := handler(t, d, options...)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := json.Marshal(map[string]any{
				"headers": test.headers, "requestContext": map[string]any{"http": map[string]any{"method": "POST", "sourceIp": "192.0.2.1"}},
				"pathParameters": map[string]string{"topic": test.topic}, "isBase64Encoded": true, "body": base64.StdEncoding.EncodeToString([]byte(test.body)),
			})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := h.Invoke(t.Context(), payload)
			if err != nil {
				t.Fatal(err)
			}
			var r httpapi.Response
			if err := json.Unmarshal(answer, &r); err != nil || r.StatusCode != test.status {
				t.Errorf("the answer is %s, %v; want %d", answer, err, test.status)
			}
			got := ""
			for _, m := range d.messages {
				got += m.Body
			}
			if got != test.payload {
				t.Errorf("queued %q, want %q", got, test.payload)
			}
		})
	}
}

// careless is a profile that panics with what it was given.
type careless struct{ knock }

func (careless) Verify(r webhook.Request, secrets []string) error {
	if _, odd := r.Headers.Get("odd"); odd {
		panic(secrets[0])
	}
	return knock{}.Verify(r, secrets)
}

// A panic of somebody's own code is a failure of ours, which senders repeat; what it panicked with is in no log.
func TestOptions_Panic(t *testing.T) {
	const canary = "canary-in-a-header"
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	defer slog.SetDefault(before)
	d := &door{}
	h, err := handler(
		t, d, WithProfile("knock", careless{}),
		WithBodyParser("text/upper", func(_ map[string]string, body []byte, _ int) ([]byte, error) { return body[len(body)+1:], nil }),
		WithValidator("frobs", func(_ context.Context, r webhook.Request, _ []byte) error {
			if value, ok := r.Headers.Get("broken"); ok {
				panic(errors.New(value))
			}
			return nil
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what    string
		headers map[string]string
		said    string // in the log
	}{
		{"profile", map[string]string{"content-type": "application/json", "odd": "1"}, `"panic":"string"`},
		{"parser", map[string]string{"content-type": "text/upper", "knock": "sesame"}, "slice bounds out of range"},
		{"validator", map[string]string{"content-type": "application/json", "knock": "sesame", "broken": canary}, `"panic":"*errors.errorString"`},
	} {
		log.Reset()
		d.hops = nil
		r, err := h.Handle(t.Context(), &httpapi.Request{Method: "POST", Parameters: map[string]string{"topic": "frobs"}, Headers: test.headers, Body: []byte("{}")})
		if err != nil || r.StatusCode != http.StatusServiceUnavailable || r.Headers["retry-after"] == "" {
			t.Errorf("%s: the answer is %+v, %v; want 503 with Retry-After", test.what, r, err)
		}
		if len(d.messages) != 0 || len(d.hops) != 1 || d.hops[0].Outcome != events.OutcomeRefused || d.hops[0].Code != events.CodeInternal || d.hops[0].Topic != "frobs" {
			t.Errorf("%s: %d messages, hops %+v; want one that is refused as internal", test.what, len(d.messages), d.hops)
		}
		if !strings.Contains(log.String(), test.said) || !strings.Contains(log.String(), "options_test.go") {
			t.Errorf("%s: the log does not say what panicked where:\n%s", test.what, log.String())
		}
		for _, secret := range []string{"sesame", canary} {
			if strings.Contains(log.String()+r.Body+d.hops[0].Reason, secret) {
				t.Errorf("%s: %s was told:\n%s", test.what, secret, log.String())
			}
		}
	}
	r, err := h.Handle(t.Context(), &httpapi.Request{
		Method: "POST", Parameters: map[string]string{"topic": "frobs"}, Headers: map[string]string{"content-type": "application/json", "knock": "sesame"}, Body: []byte("{}"),
	})
	if err != nil || r.StatusCode != http.StatusAccepted {
		t.Errorf("afterwards a webhook is answered %+v, %v", r, err)
	}
}

// What does not fit the configuration is said before anything is answered.
func TestOptions_Wrong(t *testing.T) {
	t.Parallel()
	validator := func(context.Context, webhook.Request, []byte) error { return nil }
	for name, test := range map[string]struct {
		options []Option
		want    string
	}{
		"no profile":        {nil, `pass ingress.WithProfile("knock", …)`},
		"another profile":   {[]Option{WithProfile("nock", knock{})}, `pass ingress.WithProfile("knock", …)`},
		"profile twice":     {[]Option{WithProfile("knock", knock{}), WithProfile("knock", knock{})}, `"knock" is no name of its own`},
		"nil profile":       {[]Option{WithProfile("knock", nil)}, `or nil`},
		"parser twice":      {[]Option{WithProfile("knock", knock{}), WithBodyParser("a/b", upper), WithBodyParser("A/B", upper)}, `"a/b" is no media type of its own`},
		"nil validator":     {[]Option{WithProfile("knock", knock{}), WithValidator("frobs", nil)}, `nil for the topic "frobs"`},
		"unknown topic":     {[]Option{WithProfile("knock", knock{}), WithValidator("frob", validator)}, `the topic "frob", which takes no webhooks`},
		"only published to": {[]Option{WithProfile("knock", knock{}), WithValidator("orders", validator)}, `the topic "orders", which takes no webhooks`},
	} {
		if _, err := handler(t, &door{}, test.options...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
	}
	window := config.Topic{From: config.FromNone, RepeatWindow: "24h"}
	topics := map[string]Topic{"a": made(config.Topic{}, knock{}, 0), "b": made(window, knock{}, 0), "c": made(window, knock{}, 0)}
	err := withoutTable(topics)
	if err == nil || !strings.Contains(err.Error(), `the topic "b" has a "repeatWindow"`) || !strings.Contains(err.Error(), `"c"`) || strings.Contains(err.Error(), `"a"`) {
		t.Errorf("without a table: error %v, want one about b and c", err)
	}
	delete(topics, "b")
	delete(topics, "c")
	if err := withoutTable(topics); err != nil {
		t.Errorf("nobody needs a table: %v", err)
	}
	h, err := handler(t, &door{}, WithProfile("knock", knock{}))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range h.Topics {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"alerts", "frobs", "open"}, names); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
}
