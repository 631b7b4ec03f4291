package ingress_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/functions/ingress"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

const window = 10 * time.Minute

var errFault = errors.New("the connection was reset")

// recorder is a queue, a table and an observer that count and fail.
type recorder struct {
	table.Table
	ahead atomic.Int64 // how far the clock is ahead of that of the machine

	mu     sync.Mutex
	bodies map[string][]string // event ids that are on the queue, by body
	hops   []events.Hop
	large  int // payloads in the bucket
	calls  int
	// faults are the calls, of queue and table together, that fail; true if they do what they should nevertheless.
	faults map[int]bool
}

func newRecorder(tb testing.TB) *recorder {
	tb.Helper()
	r := &recorder{bodies: map[string][]string{}, faults: map[int]bool{}}
	r.Table = boltdbtest.Open(tb, r.now)
	return r
}

func (r *recorder) now() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }

// fault calls do unless the next call is to fail before it.
func (r *recorder) fault(do func() error) error {
	r.mu.Lock()
	r.calls++
	done, fails := r.faults[r.calls]
	r.mu.Unlock()
	if fails && !done {
		return errFault
	}
	if err := do(); err != nil {
		return err
	}
	if fails {
		return errFault
	}
	return nil
}

func (r *recorder) Send(_ context.Context, m events.Message) error {
	return r.fault(func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies[m.Body] = append(r.bodies[m.Body], m.Attributes[events.AttributeID].StringValue)
		return nil
	})
}

func (r *recorder) Put(ctx context.Context, item table.Item, conditions ...table.Condition) error {
	return r.fault(func() error { return r.Table.Put(ctx, item, conditions...) })
}

func (r *recorder) Delete(ctx context.Context, key table.Key, conditions ...table.Condition) error {
	return r.fault(func() error { return r.Table.Delete(ctx, key, conditions...) })
}

func (r *recorder) Get(ctx context.Context, key table.Key) (item table.Item, err error) {
	err = r.fault(func() error { item, err = r.Table.Get(ctx, key); return err })
	return item, err
}

// store is the bucket of a recorder.
type store struct{ *recorder }

func (s store) Put(context.Context, string, []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.large++
	return nil
}

func (store) Get(context.Context, string) ([]byte, error) { return nil, errFault }

func (r *recorder) Observe(_ context.Context, h events.Hop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hops = append(r.hops, h)
}

func (r *recorder) Values(context.Context, string) ([]string, error) { return []string{secret}, nil }

// handler knows three topics with a window, and "forever" without one.
func (r *recorder) handler() *ingress.Handler {
	id, err := events.ParseSelector("header:x-delivery")
	if err != nil {
		panic(err)
	}
	hook := ingress.Topic{
		From: config.FromHMAC, Secrets: []string{"hook"}, RepeatWindow: window,
		Profile: webhook.HMAC{Generic: webhook.Generic{DeliveryID: &id}, Signature: webhook.Signature{Header: "x-signature", Encoding: "hex"}},
	}
	forever := hook
	forever.RepeatWindow = 0
	return &ingress.Handler{
		Queue: r, Secrets: r, Observer: r, Table: r, Now: r.now, Bucket: &events.Bucket{Name: "blobs", Store: store{r}},
		Topics: map[string]ingress.Topic{
			"hooks": hook, "others": hook, "forever": forever,
			"gitea": {From: config.FromGitea, Profile: webhook.Gitea{}, Secrets: []string{"hook"}, RepeatWindow: window},
		},
	}
}

// post sends a signed webhook and returns the status.
func (r *recorder) post(ctx context.Context, topic, delivery, text string, headers map[string]string) int {
	hook := webhook.Request{Headers: events.Metadata{"content-type": "application/json"}, Body: []byte(text), Time: time.Now()}
	if delivery != "" {
		hook.Headers["x-delivery"], hook.Headers["x-gitea-delivery"] = delivery, delivery
	}
	h := r.handler()
	h.Topics[topic].Profile.(signer).Sign(&hook, secret)
	maps.Copy(hook.Headers, headers)
	answer, err := h.Invoke(ctx, invocation(http.MethodPost, topic, hook.Headers, hook.Body, true))
	var response httpapi.Response
	if err == nil {
		err = json.Unmarshal(answer, &response)
	}
	if err != nil {
		panic(err)
	}
	return response.StatusCode
}

func TestRepeats(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	const text = `{"a":1}`
	step := func(what, topic, delivery string, status, sent int) {
		t.Helper()
		if got := r.post(t.Context(), topic, delivery, text, nil); got != status || len(r.bodies[text]) != sent {
			t.Fatalf("%s: status %d with %d sent, want %d with %d", what, got, len(r.bodies[text]), status, sent)
		}
	}
	step("first", "hooks", "1", 202, 1)
	step("under another id", "hooks", "2", 200, 1)
	if h := r.hops[len(r.hops)-1]; h.Outcome != events.OutcomeRefused || h.Code != "repeat" || !strings.Contains(h.Reason, "hooks:1") {
		t.Errorf("the hop is %+v, want it refused as a repeat of hooks:1", h)
	}
	step("without an id", "hooks", "", 200, 1)
	step("redelivery", "hooks", "1", 202, 2)
	step("under another id again", "hooks", "3", 200, 2)
	step("to another topic", "others", "2", 202, 3)
	step("to a topic without a window", "forever", "1", 202, 4)
	step("to that under another id", "forever", "2", 202, 5)
	r.ahead.Store(int64(window + 2*time.Second))
	step("after the window", "hooks", "2", 202, 6)
	step("the first again", "hooks", "1", 200, 6)
	if got := r.post(t.Context(), "hooks", "2", text+" ", nil); got != 202 {
		t.Errorf("another body is answered %d", got)
	}
}

// A large body that comes again does not fill the bucket, and one that no event takes does not keep its claim.
func TestRepeats_Large(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	large := `"` + strings.Repeat("x", events.MaxMessageSize) + `"`
	for i, want := range []int{202, 200, 200} {
		if got := r.post(t.Context(), "hooks", string(rune('1'+i)), large, nil); got != want || r.large != 1 {
			t.Errorf("delivery %d: status %d with %d payloads in the bucket, want %d with 1", i+1, got, r.large, want)
		}
	}
	grows := `"` + strings.Repeat("\uffff", events.MaxPayloadSize/4) + `"` // U+FFFF is written as an escape, which is twice as long
	for range 2 {
		if got := r.post(t.Context(), "hooks", "4", grows, nil); got != 413 {
			t.Errorf("a payload that grows: status %d, want 413", got)
		}
	}
	if got := r.post(t.Context(), "hooks", "5", grows, nil); got != 413 {
		t.Errorf("the same under another id: status %d, want 413 again, and not that of a claim", got)
	}
}

// A topic without a window does not need the table.
func TestRepeats_Off(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	h := r.handler()
	h.Table = nil
	hook := webhook.Request{Headers: events.Metadata{"content-type": "application/json", "x-delivery": "1"}, Body: []byte("{}")}
	h.Topics["forever"].Profile.(signer).Sign(&hook, secret)
	if _, err := h.Invoke(t.Context(), invocation(http.MethodPost, "forever", hook.Headers, hook.Body, true)); err != nil || len(r.bodies["{}"]) != 1 || r.calls != 1 {
		t.Errorf("%v, %v sent with %d calls", err, r.bodies, r.calls)
	}
}

// What is signed stays the same body, whatever headers and form somebody gives it.
func TestRepeats_OtherClothes(t *testing.T) {
	t.Parallel()
	const text = `{"name":"café"}`
	r := newRecorder(t)
	form := map[string]string{"content-type": webhook.FormType}
	if got := r.post(t.Context(), "gitea", "1", text, nil); got != 202 {
		t.Fatalf("status %d", got)
	}
	// Gitea signs the document in a form, so the same signature is good for all of these.
	signature := webhook.Signature{Encoding: "hex"}.Sign([]byte(text), secret)
	maps.Copy(form, map[string]string{"x-gitea-signature": signature})
	for name, test := range map[string]struct {
		body    string
		headers map[string]string
	}{
		"another charset": {text, map[string]string{"content-type": "application/json; charset=latin1"}},
		"another type":    {text, map[string]string{"content-type": "application/x+json"}},
		"a form":          {"payload=" + url.QueryEscape(text), form},
		"another form":    {"a=b&payload=" + strings.ReplaceAll(url.QueryEscape(text), "a", "%61"), form},
	} {
		if got := r.post(t.Context(), "gitea", name, test.body, test.headers); got != 200 {
			t.Errorf("%s: status %d, want 200: it came before", name, got)
		}
	}
	if total := len(slices.Concat(slices.Collect(maps.Values(r.bodies))...)); total != 1 {
		t.Errorf("%d events, want 1", total)
	}
}

// Of many requests with one body, all at the same time, one is accepted.
func TestRepeats_AtOnce(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	statuses := make(chan int, 20)
	for i := range cap(statuses) {
		go func() { statuses <- r.post(t.Context(), "hooks", string(rune('a'+i)), "{}", nil) }()
	}
	counted := map[int]int{}
	for range cap(statuses) {
		counted[<-statuses]++
	}
	if len(r.bodies["{}"]) != 1 || counted[202] != 1 || counted[200]+counted[503] != cap(statuses)-1 {
		t.Errorf("%v sent, answered %v", r.bodies, counted)
	}
}

// A function that dies between claim and queue leaves a claim: the same delivery is taken at once, any other when the
// claim has ended.
func TestRepeats_Crash(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	r.faults = map[int]bool{2: false, 3: false} // the queue, and giving the claim back
	for _, step := range []struct {
		what, delivery string
		status         int
		ahead          time.Duration
	}{
		{"the crash", "1", 503, 0},
		{"another id", "2", 503, 0},
		{"the same id", "1", 202, 0},
		{"another id then", "2", 200, 0},
	} {
		if got := r.post(t.Context(), "hooks", step.delivery, "{}", nil); got != step.status {
			t.Fatalf("%s: status %d, want %d", step.what, got, step.status)
		}
	}
	r.faults = map[int]bool{r.calls + 2: false, r.calls + 3: false}
	if got := r.post(t.Context(), "hooks", "1", "[]", nil); got != 503 {
		t.Fatalf("another crash: status %d", got)
	}
	r.ahead.Store(int64(20 * time.Second))
	if got := r.post(t.Context(), "hooks", "2", "[]", nil); got != 202 || len(r.bodies["[]"]) != 1 {
		t.Errorf("after the claim: status %d, %v", got, r.bodies)
	}
}

// Whatever fails: who is told that an event was accepted, or came before, finds its body on the queue; nothing is lost. And
// every delivery is accepted in the end.
func TestRepeats_NothingIsLost(t *testing.T) {
	t.Parallel()
	failed := 0
	rapid.Check(t, func(rt *rapid.T) {
		r := newRecorder(t)
		r.faults = rapid.MapOfN(rapid.IntRange(1, 25), rapid.Bool(), 0, 8).Draw(rt, "faults")
		for i := range 12 {
			delivery := rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "delivery")
			text := rapid.SampledFrom([]string{"{}", "[]"}).Draw(rt, "body")
			status := r.post(t.Context(), "hooks", delivery, text, nil)
			switch sent := r.bodies[text]; {
			case status == 503:
				failed++
			case status == 202 && !slices.Contains(sent, "hooks:"+delivery):
				rt.Fatalf("request %d: delivery %s of %s is accepted and not on the queue", i, delivery, text)
			case status == 200 && len(sent) == 0:
				rt.Fatalf("request %d: delivery %s of %s is said to be a repeat, and nothing is on the queue", i, delivery, text)
			case status != 200 && status != 202:
				rt.Fatalf("request %d: status %d", i, status)
			}
		}
		r.faults = nil
		r.ahead.Store(int64(time.Minute)) // no claim is left
		for _, text := range []string{"{}", "[]"} {
			if status := r.post(t.Context(), "hooks", "4", text, nil); status != 200 && status != 202 || len(r.bodies[text]) == 0 {
				rt.Fatalf("at last: status %d, %v", status, r.bodies)
			}
		}
	})
	if failed == 0 {
		t.Error("nothing failed")
	}
}
