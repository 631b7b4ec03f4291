package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/callboard/callboard/pkg/events"
)

const frobsToken = "canary-frobs-api-token"

// frobsAPI answers who owns a frob, to those who have the token, and counts the letters that it is told to write, by the
// keys of the requests.
func frobsAPI(t *testing.T) (url string, letters func() map[string]int) {
	t.Helper()
	var mu sync.Mutex
	counts := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/frobs/")
		switch {
		case r.Header.Get("Authorization") != "Bearer "+frobsToken:
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodPost && strings.HasSuffix(name, "/letters"):
			mu.Lock()
			defer mu.Unlock()
			counts[r.Header.Get("Idempotency-Key")]++
			w.WriteHeader(http.StatusAccepted)
		case !ok || name == "gone":
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = fmt.Fprintf(w, `{"frob":%q,"owner":"team-%s"}`, name, name)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(counts)
	}
}

// frobsConfig writes the configuration of the example with an API at url and with some of its text replaced.
func frobsConfig(t *testing.T, url string, replace ...string) (path string) {
	t.Helper()
	folder, err := filepath.Abs("../../examples/frobs")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(folder, "events-config.json"))
	if err != nil {
		t.Fatal(err)
	}
	replace = append(replace, "http://127.0.0.1:8090", url, `"./ingress"`, `"`+folder+`/ingress"`, `"./sync"`, `"`+folder+`/sync"`)
	path = filepath.Join(t.TempDir(), "events-config.json")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(string(data))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// frobBody is what Frobs says of a frob that was added.
func frobBody(name, rev string) string {
	return fmt.Sprintf(`{"type":"add","name":%q,"rev":%q}`, name, rev)
}

// sendFrob sends a webhook signed as Frobs does.
func (p *Process) sendFrob(t *testing.T, contentType, body, secret string) (status int, id string) {
	t.Helper()
	now := fmt.Sprint(time.Now().Unix())
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(now + "." + body))
	response, _ := p.Do(t, http.MethodPost, "/events/http/frobs", map[string]string{
		"Content-Type": contentType, "Frob-Signature": "t=" + now + ",v1=" + hex.EncodeToString(mac.Sum(nil)),
	}, []byte(body))
	return response.StatusCode, response.Header.Get("X-Events-Id")
}

// The example: a webhook of a profile that only somebody else's ingress knows becomes an event, reaches somebody else's
// subscriber from its own queue, and what that publishes reaches ours. All of it also after a crash. What the subscriber
// does outside is done once, however often the sender repeats itself and whatever crashes in between.
func TestExtending(t *testing.T) {
	t.Parallel()
	url, letters := frobsAPI(t)
	p := startFrobs(t, url)
	secret, rev := p.Secret(t, "frobs-webhook"), uuid.NewString() // a deployed stack remembers the logs of other runs
	left, right := events.NewID("frobs", "add-left-"+rev), events.NewID("frobs", "add-right-"+rev)
	for _, test := range []struct {
		name, contentType, body, secret string
		status                          int
		id                              string
	}{
		{"signed", "application/json", frobBody("left", rev), secret, http.StatusAccepted, left},
		{"the body parser", "text/x-frob", "type: delete\nname: gone\nrev: " + rev + "\n", secret, http.StatusAccepted, events.NewID("frobs", "delete-gone-"+rev)},
		{"signed by a stranger", "application/json", frobBody("left", rev), "wrong", http.StatusForbidden, ""},
		{"the validator", "application/json", `{"type":"add"}`, secret, http.StatusBadRequest, ""},
		{"a type that nobody parses", "text/y-frob", "type: add\nname: x\n", secret, http.StatusUnsupportedMediaType, ""},
	} {
		status, id := p.sendFrob(t, test.contentType, test.body, test.secret)
		if status != test.status || id != test.id {
			t.Errorf("%s: status %d, id %q; want %d, %q", test.name, status, id, test.status, test.id)
		}
	}
	p.Settle(t)
	titles := p.titles(t, "portal-token")
	if len(titles) != 2 || titles["left belongs to team-left"] != 1 || titles["gone belongs to "] != 1 {
		t.Errorf("the inbox has %v, want what the subscriber published", titles)
	}
	p.checkFrobTrace(t, left)

	add := func(name string) {
		t.Helper()
		if status, _ := p.sendFrob(t, "application/json", frobBody(name, rev), secret); status != http.StatusAccepted {
			t.Errorf("%s: status %d", name, status)
		}
		p.Settle(t)
	}
	add("left")
	log := p.Log(t)
	p = p.crash(t)
	add("left")
	add("right")
	if got := p.inbox(t, "portal-token"); got.TotalCount != 3 {
		t.Errorf("after a crash: %d notifications, want 3", got.TotalCount)
	}
	if diff := cmp.Diff(map[string]int{left: 1, right: 1}, letters()); diff != "" {
		t.Errorf("letters by event (-want +got):\n%s", diff)
	}
	p.checkOnce(t, left)
	if log += p.Log(t); strings.Contains(log, secret) || strings.Contains(log, frobsToken) {
		t.Errorf("a secret is in the log:\n%s", log)
	}
}

// checkFrobTrace looks whether a trace leads through the functions that are not ours.
func (p *Process) checkFrobTrace(t *testing.T, id string) {
	t.Helper()
	var path []string
	for _, h := range p.hops(t, id) {
		path = append(path, h.Function+" "+h.Topic)
	}
	const want = "ingress frobs, sqs-publisher frobs, router frobs, frobs-sync frobs.add, notify frob-owners.changed"
	if got := strings.Join(path, ", "); got != want {
		t.Errorf("the event went to %s, want %s", got, want)
	}
}

// checkOnce looks whether the subscriber did nothing when the event came again, at least twice.
func (p *Process) checkOnce(t *testing.T, id string) {
	t.Helper()
	outcomes := map[string]int{}
	for _, h := range p.hops(t, id) {
		if h.Function == "frobs-sync" {
			outcomes[strings.TrimSpace(string(h.Outcome)+" "+h.Reason)]++
		}
	}
	if len(outcomes) != 2 || outcomes["ok"] != 1 || outcomes["dropped the event was handled before"] < 2 {
		t.Errorf("the subscriber did %v, want the event done once, and then dropped", outcomes)
	}
}

// hops returns the trace of an event.
func (p *Process) hops(t *testing.T, id string) []events.Hop {
	t.Helper()
	out, _, _ := p.Trace(t, "--json", id)
	var hops []events.Hop
	if err := json.Unmarshal([]byte(out), &hops); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return hops
}
