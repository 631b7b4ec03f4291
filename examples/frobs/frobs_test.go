package frobs_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/frobs"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
	"github.com/callboard/callboard/pkg/webhook"
)

func TestProfile_Verify(t *testing.T) {
	t.Parallel()
	now, body := time.Now(), []byte(`{"type":"add","name":"left"}`)
	for name, test := range map[string]struct {
		signature string
		good      bool
	}{
		"signed":        {frobs.Sign(now, body, "new"), true},
		"with the old":  {frobs.Sign(now, body, "old"), true},
		"other secret":  {frobs.Sign(now, body, "wrong"), false},
		"other body":    {frobs.Sign(now, body[1:], "new"), false},
		"too late":      {frobs.Sign(now.Add(-time.Hour), body, "new"), false},
		"too early":     {frobs.Sign(now.Add(time.Hour), body, "new"), false},
		"no signature":  {"", false},
		"half a header": {"t=1", false},
	} {
		r := webhook.Request{Headers: events.Metadata{"frob-signature": test.signature}, Body: body, Time: now}
		err := frobs.Profile{}.Verify(r, []string{"old", "new"})
		if good := err == nil; good != test.good || err != nil && events.ErrorCode(err) != events.CodeForbidden {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	payload, err := frobs.Lines(nil, []byte("type: add\r\nname: a: b\n"), events.MaxPayloadSize)
	if want := `{"name":"a: b","type":"add"}`; err != nil || string(payload) != want {
		t.Errorf("%s, %v; want %s", payload, err, want)
	}
	if _, err := frobs.Lines(nil, []byte("no line"), events.MaxPayloadSize); events.ErrorCode(err) != events.CodeInvalid {
		t.Errorf("error %v, want one for a body that is no list", err)
	}
}

// published collects events.
type published []events.Event

func (p *published) Publish(_ context.Context, es ...events.Event) error {
	*p = append(*p, es...)
	return nil
}

func TestSync(t *testing.T) {
	t.Parallel()
	var letters []string // the keys of those that Frobs was told to write
	// Every answer has a body: one without may be lost when a test beside this one closes its server, and with it the
	// idle connections of the default client.
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.URL.Path == "/frobs/left/letters":
			letters = append(letters, r.Header.Get("Idempotency-Key"))
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{}`))
		case r.Header.Get("Authorization") != "Bearer token":
			http.Error(w, "who are you", http.StatusUnauthorized)
		case r.URL.Path == "/frobs/gone":
			http.NotFound(w, r)
		case r.URL.Path == "/frobs/busy":
			http.Error(w, "later", http.StatusTooManyRequests)
		default:
			_, _ = w.Write([]byte(`{"frob":"left","owner":"team-a"}`))
		}
	}))
	t.Cleanup(api.Close)
	for name, test := range map[string]struct {
		payload, token, want string
		code                 events.Code
	}{
		"there":     {`{"name":"left"}`, "token", `{"frob":"left","owner":"team-a"}`, ""},
		"gone":      {`{"name":"gone"}`, "token", `{"frob":"gone","owner":""}`, ""},
		"busy":      {`{"name":"busy"}`, "token", "", events.CodeRateLimited},
		"old token": {`{"name":"left"}`, "old", "", events.CodeUnavailable},
		"no frob":   {`[]`, "token", "", events.CodeInvalid},
	} {
		var got published
		s := frobs.Sync{URL: api.URL, Publisher: &got, Token: func(context.Context) (string, error) { return test.token, nil }}
		err := s.OnEvent(t.Context(), events.Event{ID: "frobs:1", Topic: "frobs.add", Payload: []byte(test.payload)})
		if events.ErrorCode(err) != test.code {
			t.Errorf("%s: error %v, want %q", name, err, test.code)
		}
		if test.want == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || string(got[0].Payload) != test.want || got[0].ID != "frob-owners:frobs:1" {
			t.Errorf("%s: published %v, want %s", name, got, test.want)
		}
	}
	if !slices.Equal(letters, []string{"frobs:1"}) {
		t.Errorf("letters for the events %v, want one to the owner", letters)
	}
}

// Whatever happens to deliveries, and whatever Frobs refuses, there is one letter for each event.
func TestSync_Once(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	refused, letters := false, map[string]int{} // by the key of the request
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Method == http.MethodGet:
			_, _ = w.Write([]byte(`{"frob":"left","owner":"team-a"}`))
		case !refused:
			refused = true
			http.Error(w, "later", http.StatusServiceUnavailable)
		default:
			letters[r.Header.Get("Idempotency-Key")]++
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{}`))
		}
	}))
	t.Cleanup(api.Close)
	broker := memory.New()
	defer func() { _ = broker.Close() }()
	subscriber := &frobs.Sync{URL: api.URL, Publisher: broker, Token: func(context.Context) (string, error) { return "token", nil }}
	s := eventstest.Subscriber(t, events.Once("frobs-sync", &memory.OnceStore{}, subscriber),
		eventstest.Duplicate(0.3), eventstest.Reorder(0.3), eventstest.FailRandomly(0.2), eventstest.CrashAt(5, 15))
	if err := broker.Subscribe("frobs-sync", []string{"frobs.add"}, s); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for i := range 50 {
		e := events.Event{ID: events.NewID("frobs", fmt.Sprint(i)), Topic: "frobs.add", Payload: []byte(`{"name":"left"}`), Time: time.Now()}
		want[e.Key()] = 1
		if err := broker.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := broker.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !maps.Equal(letters, want) {
		t.Errorf("letters by event: %v, want one for each of %d", letters, len(want))
	}
}
