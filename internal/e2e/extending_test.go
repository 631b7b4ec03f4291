//go:build !deployed

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

// frobsConfig writes the configuration of the example with an API at url and with some of its text replaced, and makes a
// state folder that has the token of the API.
func frobsConfig(t *testing.T, url string, replace ...string) (config, state string) {
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
	config, state = filepath.Join(t.TempDir(), "events-config.json"), filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(config, []byte(strings.NewReplacer(replace...).Replace(string(data))), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(state, "secrets", "frobs-api")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(frobsToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return config, state
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
// subscriber from its own queue, and what that publishes reaches ours. All of it also after a crash.
func TestExtending(t *testing.T) {
	t.Parallel()
	url, letters := frobsAPI(t)
	config, state := frobsConfig(t, url)
	p := Start(t, config, state)
	secret := p.Secret(t, "frobs-webhook")
	for _, test := range []struct {
		name, contentType, body, secret string
		status                          int
		id                              string
	}{
		{"signed", "application/json", `{"type":"add","name":"left","rev":"1"}`, secret, http.StatusAccepted, "frobs:add-left-1"},
		{"the body parser", "text/x-frob", "type: delete\nname: gone\nrev: 2\n", secret, http.StatusAccepted, "frobs:delete-gone-2"},
		{"signed by a stranger", "application/json", `{"type":"add","name":"left","rev":"1"}`, "wrong", http.StatusForbidden, ""},
		{"the validator", "application/json", `{"type":"add"}`, secret, http.StatusBadRequest, ""},
		{"a type that nobody parses", "text/y-frob", "type: add\nname: x\n", secret, http.StatusUnsupportedMediaType, ""},
	} {
		status, id := p.sendFrob(t, test.contentType, test.body, test.secret)
		if status != test.status || id != test.id {
			t.Errorf("%s: status %d, id %q; want %d, %q", test.name, status, id, test.status, test.id)
		}
	}
	p.Settle(t)
	titles := map[string]int{}
	for _, n := range p.inbox(t, "portal-token").Notifications {
		titles[n.Payload.Title]++
	}
	if len(titles) != 2 || titles["left belongs to team-left"] != 1 || titles["gone belongs to "] != 1 {
		t.Errorf("the inbox has %v, want what the subscriber published", titles)
	}
	p.checkFrobTrace(t)

	log := p.Log(t)
	p.Kill(t)
	p = Start(t, config, state)
	if status, _ := p.sendFrob(t, "application/json", `{"type":"add","name":"right","rev":"1"}`, secret); status != http.StatusAccepted {
		t.Errorf("after a crash: status %d", status)
	}
	p.Settle(t)
	if got := p.inbox(t, "portal-token"); got.TotalCount != 3 {
		t.Errorf("after a crash: %d notifications, want 3", got.TotalCount)
	}
	if diff := cmp.Diff(map[string]int{"frobs:add-left-1": 1, "frobs:add-right-1": 1}, letters()); diff != "" {
		t.Errorf("letters by event (-want +got):\n%s", diff)
	}
	if log += p.Log(t); strings.Contains(log, secret) || strings.Contains(log, frobsToken) {
		t.Errorf("a secret is in the log:\n%s", log)
	}
}

// What a subscriber does outside is done once, however often the sender repeats itself and whatever crashes in between.
func TestExtending_Once(t *testing.T) {
	t.Parallel()
	url, letters := frobsAPI(t)
	config, state := frobsConfig(t, url)
	p := Start(t, config, state)
	secret := p.Secret(t, "frobs-webhook")
	send := func() {
		t.Helper()
		if status, _ := p.sendFrob(t, "application/json", `{"type":"add","name":"left","rev":"1"}`, secret); status != http.StatusAccepted {
			t.Fatalf("status %d", status)
		}
		p.Settle(t)
	}
	send()
	send()
	p.Kill(t)
	p = Start(t, config, state)
	send()
	if diff := cmp.Diff(map[string]int{"frobs:add-left-1": 1}, letters()); diff != "" {
		t.Errorf("letters by event (-want +got):\n%s", diff)
	}
	out, _, _ := p.Trace(t, "--json", "frobs:add-left-1")
	var hops []events.Hop
	if err := json.Unmarshal([]byte(out), &hops); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	outcomes := map[string]int{}
	for _, h := range hops {
		if h.Function == "frobs-sync" {
			outcomes[strings.TrimSpace(string(h.Outcome)+" "+h.Reason)]++
		}
	}
	if diff := cmp.Diff(map[string]int{"ok": 1, "dropped the event was handled before": 2}, outcomes); diff != "" {
		t.Errorf("what the subscriber did (-want +got):\n%s", diff)
	}
}

// checkFrobTrace looks whether a trace leads through the functions that are not ours.
func (p *Process) checkFrobTrace(t *testing.T) {
	t.Helper()
	out, _, _ := p.Trace(t, "--json", "frobs:add-left-1")
	var hops []events.Hop
	if err := json.Unmarshal([]byte(out), &hops); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var path []string
	for _, h := range hops {
		path = append(path, h.Function+" "+h.Topic)
	}
	const want = "ingress frobs, sqs-publisher frobs, router frobs, frobs-sync frobs.add, notify frob-owners.changed"
	if got := strings.Join(path, ", "); got != want {
		t.Errorf("the event went to %s, want %s", got, want)
	}
}

// What is wrong with somebody's function is said before anything is accepted.
func TestExtending_DoesNotStart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		replace []string
		want    []string
	}{
		{"no such profile", []string{"custom:frobs", "custom:frob"}, []string{
			"the function ingress does not start", `this program has no such profile: pass ingress.WithProfile("frob"`,
		}},
		{"no table", []string{`"from": "custom:frobs",`, `"from": "custom:frobs", "repeatWindow": "24h",`}, []string{
			"the function ingress does not start", `the topic "frobs" has a "repeatWindow"`, "callboard dev",
		}},
		{"no such folder", []string{`"./sync"`, `"./nowhere"`}, []string{"$.functions.frobs-sync.build: the folder ", "does not exist"}},
	} {
		config, state := frobsConfig(t, "http://127.0.0.1:1", test.replace...)
		_, stderr, code := Run(t, "dev", "--config", config, "--state", state, "--addr", "127.0.0.1:0", "--log", "json")
		for _, want := range test.want {
			if code != 1 || !strings.Contains(strings.ReplaceAll(stderr, `\"`, `"`), want) {
				t.Errorf("%s: exit code %d, want 1 and %q:\n%s", test.name, code, want, stderr)
			}
		}
	}
}
