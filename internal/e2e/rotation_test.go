package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/callboard/callboard/pkg/webhook"
)

// forgets is how long a retired value may be taken, and a minute more: functions in AWS remember values for five minutes.
const forgets = 6 * time.Minute

// secrets runs a command of `callboard secrets` that has to succeed, and returns what it printed. The values that it
// knows may be on stdout only.
func (p *Process) secrets(tb testing.TB, verb string, args ...string) string {
	tb.Helper()
	stdout, stderr, code := p.Secrets(tb, verb, args...)
	if code != 0 {
		tb.Fatalf("callboard secrets %s %v: exit code %d\n%s", verb, args, code, stderr)
	}
	out := strings.TrimSpace(stdout)
	if verb != "list" && out != "" && strings.Contains(stderr, out) {
		tb.Errorf("callboard secrets %s %v tells a value on stderr", verb, args)
	}
	return out
}

// frobStatus sends a webhook of the generic topic that is signed with a value, and returns the status of the answer. It
// sends again what was verified and could not be stored, which has nothing to do with secrets.
func (p *Process) frobStatus(ctx context.Context, value string) (int, error) {
	body := []byte(`{"type":"none"}`)
	s := webhook.Signature{Header: "x-frobs-signature", Prefix: "sha256=", Encoding: "hex"}
	headers := map[string]string{"Content-Type": "application/json", "X-Frobs-Delivery": uuid.NewString(), s.Header: s.Sign(body, value)}
	for end := time.Now().Add(patience); ; {
		response, answer, err := p.try(ctx, http.MethodPost, "/events/http/frobs", headers, body)
		if err != nil {
			return 0, err
		}
		if !bytes.Contains(answer, []byte("cannot be stored at the moment")) || time.Now().After(end) {
			return response.StatusCode, nil
		}
	}
}

// load is senders that sign with the value they were told, one webhook after the other each.
type load struct {
	value   atomic.Pointer[string]
	results chan result
}

// result is what came of one webhook.
type result struct {
	sender int
	value  string
	status int
	err    error
}

// start lets senders send until stop is called.
func (l *load) start(tb testing.TB, p *Process, senders int, value string) (stop func()) {
	tb.Helper()
	l.value.Store(&value)
	l.results = make(chan result)
	ctx, cancel := context.WithCancel(tb.Context())
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for ctx.Err() == nil {
				value := *l.value.Load()
				status, err := p.frobStatus(context.WithoutCancel(ctx), value)
				select {
				case l.results <- result{sender, value, status, err}:
				case <-ctx.Done():
				}
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// accepted waits until every sender had n webhooks accepted that were signed with a value, and counts those that were
// sent meanwhile and not accepted.
func (l *load) accepted(tb testing.TB, senders, n int, value string) (refused int) {
	tb.Helper()
	done, had := 0, make([]int, senders)
	for done < senders {
		r := <-l.results
		switch {
		case r.err != nil:
			tb.Fatal(r.err)
		case r.status != http.StatusAccepted:
			refused++
			tb.Errorf("a webhook was answered %d", r.status)
		case r.value == value:
			if had[r.sender]++; had[r.sender] == n {
				done++
			}
		}
	}
	return refused
}

// during runs do while the senders go on, and counts what was not accepted meanwhile. It begins with a webhook that is
// under way, and ends with one that was answered.
func (l *load) during(tb testing.TB, do func()) (refused int) {
	tb.Helper()
	started, done, counted := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(counted)
		for n, rest := 0, done; n < 2 || rest != nil; {
			select {
			case r := <-l.results:
				if n++; n == 1 {
					close(started) // its sender sends the next one
				}
				if r.err != nil || r.status != http.StatusAccepted {
					refused++
					tb.Errorf("meanwhile a webhook was answered %d, %v", r.status, r.err)
				}
			case <-rest:
				rest = nil
			case <-tb.Context().Done():
				return
			}
		}
	}()
	func() {
		defer close(done)
		<-started
		do()
	}()
	<-counted
	return refused
}

// refusedForGood asks until an answer is the wanted one ten times in a row. What spoils makes functions look at a secret
// again before its time.
func refusedForGood(tb testing.TB, want int, spoil, ask func() int) {
	tb.Helper()
	end := time.Now().Add(forgets)
	for row := 0; row < 10; {
		spoil()
		got := ask()
		row++
		if got != want {
			row = 0
			if time.Now().After(end) {
				tb.Fatalf("a retired value is still answered %d", got)
			}
		}
	}
}

// While a secret is rotated under load nothing is refused, and afterwards the retired value is.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	const senders, secret = 4, "frobs-webhook"
	old := p.secrets(t, "show", secret)
	var l load
	stop := l.start(t, p, senders, old)
	defer stop()

	refused := l.accepted(t, senders, 5, old)
	var fresh string
	refused += l.during(t, func() { fresh = p.secrets(t, "rotate", secret) })
	if fresh == old || len(fresh) < 43 {
		t.Fatal("the secret was not rotated")
	}
	refused += l.accepted(t, senders, 5, old) // who has not heard of it
	p.Send(t, "hmac", "add", "--topic", "frobs")
	l.value.Store(&fresh)
	refused += l.accepted(t, senders, 5, fresh) // and nobody signs with the old one from here on
	refused += l.during(t, func() { p.secrets(t, "retire", secret) })
	refused += l.accepted(t, senders, 5, fresh)
	stop()
	if refused != 0 {
		t.Errorf("%d webhooks were refused during the rotation, want none", refused)
	}

	status := func(value string) func() int {
		return func() int {
			got, err := p.frobStatus(t.Context(), value)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
	}
	refusedForGood(t, http.StatusForbidden, status("nobody's"), status(old))
	if got := status(fresh)(); got != http.StatusAccepted {
		t.Errorf("after that the new value is answered %d", got)
	}
	p.Send(t, "hmac", "add", "--topic", "frobs")
	if got := p.secrets(t, "show", "--all", secret); got != fresh {
		t.Errorf("there are more values than the new one")
	}
	p.Settle(t)
}

// A token of the API is rotated in the same way.
func TestTokenRotation(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	status := func(token string) func() int {
		return func() int {
			response, _ := p.Do(t, http.MethodGet, "/notifications", map[string]string{"Authorization": "Bearer " + token}, nil)
			return response.StatusCode
		}
	}
	old := p.secrets(t, "show", "guest-token")
	for range 3 {
		if got := status(old)(); got != http.StatusOK {
			t.Fatalf("the token is answered %d", got)
		}
	}
	fresh := p.secrets(t, "rotate", "guest-token")
	for name, token := range map[string]string{"new": fresh, "old": old} {
		if got := status(token)(); got != http.StatusOK {
			t.Errorf("during the rotation the %s token is answered %d", name, got)
		}
	}
	p.secrets(t, "retire", "guest-token")
	refusedForGood(t, http.StatusUnauthorized, status("nobody's"), status(old))
	if got := status(fresh)(); got != http.StatusOK {
		t.Errorf("after the rotation the new token is answered %d", got)
	}
}

// The commands name values by their fingerprints, and know what the configuration has.
func TestSecretsList(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	before := p.secrets(t, "show", "service-token")
	fresh := p.secrets(t, "rotate", "service-token")
	list := p.secrets(t, "list")
	for _, value := range []string{before, fresh} {
		if strings.Contains(list, value) {
			t.Error("the list tells a value")
		}
	}
	if got := p.secrets(t, "show", "--all", "service-token"); got != fresh+"\n"+before {
		t.Error("the values are not the new one and then the old one")
	}
	var named string
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); fields[0] == "service-token" {
			named = fmt.Sprint(fields[1:])
			_, stderr, code := p.Secrets(t, "retire", "service-token", fields[2])
			if code != 0 || !strings.Contains(stderr, fields[2]+" retired") {
				t.Errorf("retire %s: exit code %d, %s", fields[2], code, stderr)
			}
		}
	}
	if !strings.Contains(named, "us catalog-api notifications-api") {
		t.Errorf("the list says %q of the token:\n%s", named, list)
	}
	if got := p.secrets(t, "show", "--all", "service-token"); got != fresh {
		t.Error("the older of two values was not retired")
	}
	for verb, args := range map[string][]string{"rotate": {"nobody-token"}, "show": {"nobody-token"}, "retire": {"service-token", "00000000"}} {
		if _, stderr, code := p.Secrets(t, verb, args...); code != 1 || !strings.Contains(stderr, args[len(args)-1]) {
			t.Errorf("%s %v: exit code %d, %s; want it refused", verb, args, code, stderr)
		}
	}
}
