package enginelink_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/enginelink"
	"github.com/callboard/callboard/internal/once"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
)

// engine notes what it is asked for.
type engine struct {
	err       error
	messages  []events.Message
	published []events.Event
	hidden    map[string]time.Duration
	hops      []events.Hop
	payloads  map[string][]byte
	events.OnceStore
}

func (e *engine) Send(_ context.Context, m events.Message) error {
	e.messages = append(e.messages, m)
	return e.err
}

func (e *engine) Park(ctx context.Context, m events.Message) error { return e.Send(ctx, m) }

func (e *engine) Publish(_ context.Context, es ...events.Event) error {
	e.published = append(e.published, es...)
	return e.err
}

func (e *engine) ChangeVisibility(_ context.Context, m events.SQSMessage, hidden time.Duration) error {
	e.hidden = map[string]time.Duration{m.EventSourceARN + " " + m.ReceiptHandle: hidden}
	return e.err
}

func (e *engine) Values(_ context.Context, name string) ([]string, error) {
	return []string{name, "second"}, e.err
}

func (e *engine) Put(_ context.Context, key string, data []byte) error {
	e.payloads = map[string][]byte{key: data}
	return e.err
}

func (e *engine) Get(_ context.Context, key string) ([]byte, error) { return e.payloads[key], e.err }

func (e *engine) Observe(_ context.Context, h events.Hop) { e.hops = append(e.hops, h) }

// connect returns a client of the engine with a token; the engine takes "right".
func connect(t *testing.T, e *engine, token string) *enginelink.Client {
	t.Helper()
	s := httptest.NewServer(&enginelink.Handler{Services: e, Token: "right"})
	t.Cleanup(s.Close)
	return enginelink.Find(func(name string) (string, bool) {
		value, ok := map[string]string{enginelink.URL: s.URL, enginelink.Token: token, enginelink.Bucket: "bucket"}[name]
		return value, ok
	})
}

func TestFind_WithoutEngine(t *testing.T) {
	t.Parallel()
	if c := enginelink.Find(func(string) (string, bool) { return "", false }); c != nil {
		t.Errorf("a client of %+v, want none", c)
	}
}

// What is asked for arrives as it was.
func TestServices(t *testing.T) {
	t.Parallel()
	e := &engine{}
	c := connect(t, e, "right")
	event := eventstest.NewEvent("frobs.add", 7)
	event.Payload, event.Metadata = jsontext.Value(`{"a":1, "a":"ü\ud83d"}`), events.Metadata{"x-kind": "add", "long": strings.Repeat("x", 300_000)}
	event.Promoted, event.Group = []string{"x-kind"}, "tenant"
	m, err := events.Encoder{MaxSize: 1 << 20}.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	hop := events.Hop{Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Event: "e", Function: "f", Outcome: events.OutcomeOK, Notes: []events.Note{{Kind: "k", Value: "v"}}}
	message := events.SQSMessage{EventSourceARN: "arn", ReceiptHandle: "receipt", Body: "x"}
	c.Observe(t.Context(), hop)
	values, err := c.Values(t.Context(), "frobs-api")
	err = errors.Join(err, c.Send(t.Context(), m), c.Park(t.Context(), m), c.Publish(t.Context(), event), c.ChangeVisibility(t.Context(), message, 90*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for what, diff := range map[string]string{
		"messages":   cmp.Diff([]events.Message{m, m}, e.messages),
		"events":     cmp.Diff([]events.Event{event}, e.published),
		"hops":       cmp.Diff([]events.Hop{hop}, e.hops),
		"values":     cmp.Diff([]string{"frobs-api", "second"}, values),
		"visibility": cmp.Diff(map[string]time.Duration{"arn receipt": 90 * time.Minute}, e.hidden),
	} {
		if diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

// An error keeps its code, which decides what becomes of an event.
func TestServices_Errors(t *testing.T) {
	t.Parallel()
	c := connect(t, &engine{err: events.Errorf(events.CodeForbidden, "not you")}, "right")
	_, valuesErr := c.Values(t.Context(), "x")
	for name, err := range map[string]error{
		"send": c.Send(t.Context(), events.Message{}), "park": c.Park(t.Context(), events.Message{}), "values": valuesErr,
		"publish":    c.Publish(t.Context(), eventstest.NewEvent("a", 1)),
		"visibility": c.ChangeVisibility(t.Context(), events.SQSMessage{}, 0),
	} {
		if events.ErrorCode(err) != events.CodeForbidden || !strings.Contains(err.Error(), "not you") {
			t.Errorf("%s: %v (%s), want the engine's error", name, err, events.ErrorCode(err))
		}
	}
}

func TestPublish_InPart(t *testing.T) {
	t.Parallel()
	e := &engine{err: events.PublishError{nil, events.Errorf(events.CodeTooLarge, "too large")}}
	bad := eventstest.NewEvent("a", 1)
	bad.Topic = "not a topic"
	err := connect(t, e, "right").Publish(t.Context(), eventstest.NewEvent("a", 1), bad, eventstest.NewEvent("a", 2))
	var codes []events.Code
	for i := range 3 {
		codes = append(codes, events.ErrorCode(events.PublishErrorOf(err, i)))
	}
	if diff := cmp.Diff([]events.Code{"", events.CodeInvalid, events.CodeTooLarge}, codes); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	e := &engine{}
	c := connect(t, e, "wrong")
	if _, err := c.Values(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("error %v, want the token refused", err)
	}
	if err := c.Send(t.Context(), events.Message{Body: "x"}); err == nil || len(e.messages) > 0 {
		t.Errorf("error %v, %d messages; want the token refused", err, len(e.messages))
	}
}

func FuzzHandler(f *testing.F) {
	for _, seed := range []string{`{"Body":"x"}`, `[{"Body":"x","Attributes":{"x-events":{"DataType":"String"}}}]`, `{"name":"x"}`, `{"message":{},"nanoseconds":-1}`, `{"key":"a2V5","nanoseconds":1,"token":"x"}`, "null"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/send", "/publish", "/park", "/visibility", "/secret", "/observe", "/once/claim", "/once/complete", "/once/release", "/other"} {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer right")
			w := httptest.NewRecorder()
			(&enginelink.Handler{Services: &engine{OnceStore: &memory.OnceStore{}}, Token: "right"}).ServeHTTP(w, r)
			if answer := w.Body.Bytes(); w.Code != http.StatusOK || !jsontext.Value(answer).IsValid(jsontext.AllowInvalidUTF8(true)) {
				t.Errorf("%s: %d %q", path, w.Code, answer)
			}
		}
	})
}

func TestBucket(t *testing.T) {
	t.Parallel()
	e := &engine{}
	bucket := connect(t, e, "right").Bucket()
	if bucket.Name != "bucket" {
		t.Errorf("the bucket is %q, want that of the engine", bucket.Name)
	}
	want := []byte("\x00\xff payload")
	if err := bucket.Store.Put(t.Context(), "events/1", want); err != nil {
		t.Fatal(err)
	}
	if got, err := bucket.Store.Get(t.Context(), "events/1"); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	e.err = events.Errorf(events.CodeNotFound, "gone")
	if _, err := bucket.Store.Get(t.Context(), "events/1"); events.ErrorCode(err) != events.CodeNotFound {
		t.Errorf("the error is %v, want that of the engine", err)
	}
}

// A store is the same through the engine as beside it.
func TestOnceStore(t *testing.T) {
	t.Parallel()
	eventstest.RunOnceStore(t, func(t *testing.T) events.OnceStore {
		t.Helper()
		return connect(t, &engine{OnceStore: once.NewAlone(boltdbtest.Open(t, time.Now), time.Now)}, "right")
	})
}

// What was claimed through the engine is claimed in its store, with the same key.
func TestOnceStore_Keys(t *testing.T) {
	t.Parallel()
	const key = "\xff\x00 key"
	store := &memory.OnceStore{}
	c := connect(t, &engine{OnceStore: store}, "right")
	if _, err := c.Claim(t.Context(), key, time.Hour); err != nil {
		t.Fatal(err)
	}
	_, here := store.Claim(t.Context(), key, time.Hour)
	_, there := c.Claim(t.Context(), key, time.Hour)
	want, isTaken := errors.AsType[*events.Error](here)
	got, isError := errors.AsType[*events.Error](there)
	if !isTaken || !isError || got.Code != want.Code || got.Message != want.Message || !got.RetryAt.Equal(want.RetryAt) {
		t.Errorf("the error is %#v, want that of the store, %#v", there, here)
	}
	if err := c.Complete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Claim(t.Context(), key, time.Hour); !errors.Is(err, events.ErrDone) {
		t.Errorf("what was completed through the engine: %v, want it done", err)
	}
}
