package awssecrets_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/pkg/events"
)

// vault stands for Secrets Manager and Systems Manager.
type vault struct {
	mu     sync.Mutex
	values map[string]string // by "<operation> <id>"
	fails  string            // the code of the error that everything is answered with, if there is one
	down   int               // requests that are answered with 503 and nothing else
	asked  int
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	var in struct {
		SecretID       string `json:"SecretId"`
		Name           string
		WithDecryption bool
	}
	if err := json.UnmarshalRead(r.Body, &in); err != nil {
		return // whoever asks has given up
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=test/") {
		v.fails = "MissingAuthenticationTokenException"
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	text, ok := v.values[operation+" "+in.SecretID+in.Name]
	switch {
	case v.down > 0:
		v.down--
		w.WriteHeader(http.StatusServiceUnavailable)
	case v.fails != "":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"__type":%q}`, v.fails)
	case !ok && operation == "GetParameter":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"__type":"ParameterNotFound"}`)
	case !ok:
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"__type":"ResourceNotFoundException"}`)
	case operation == "GetParameter" && in.WithDecryption:
		_, _ = fmt.Fprintf(w, `{"Parameter":{"Value":%q}}`, text)
	default:
		_, _ = fmt.Fprintf(w, `{"SecretString":%q}`, text)
	}
}

func (v *vault) set(fails string, values map[string]string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fails, v.values = fails, values
}

func (v *vault) requests() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T) (*awssecrets.Store, *vault, *clock) {
	t.Helper()
	v := &vault{}
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	c := &clock{now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	return awssecrets.New(awsclienttest.Config(t, s.URL), "callboard-dev", c.Now), v, c
}

func TestValues(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:secretsmanager:us-east-1:1:secret:shared-AbCdEf"
	s, v, _ := open(t)
	v.set("", map[string]string{
		"GetSecretValue callboard-dev/hook":  "value\n",
		"GetSecretValue callboard-dev/two":   "new\r\n\n old ",
		"GetSecretValue callboard-dev/empty": "",
		"GetSecretValue " + arn:              "shared",
		"GetParameter /team/hook":            "parameter",
	})
	for name, test := range map[string]struct {
		want []string
		code events.Code
	}{
		"hook":                  {[]string{"value"}, ""},
		"two":                   {[]string{"new", "old"}, ""},
		"empty":                 {nil, events.CodeNotFound},
		"absent":                {nil, events.CodeNotFound},
		"secretsmanager:" + arn: {[]string{"shared"}, ""},
		"secretsmanager:absent": {nil, events.CodeNotFound},
		"ssm:/team/hook":        {[]string{"parameter"}, ""},
		"ssm:/team/absent":      {nil, events.CodeNotFound},
		"env:HOOK":              {nil, events.CodeInvalid},
		"file:/etc/passwd":      {nil, events.CodeInvalid},
	} {
		got, err := s.Values(t.Context(), name)
		if diff := cmp.Diff(test.want, got); diff != "" || events.ErrorCode(err) != test.code {
			t.Errorf("%s: error %v, want code %q; values (-want +got):\n%s", name, err, test.code, diff)
		}
		if err != nil && !strings.Contains(events.ErrorMessage(err), name) {
			t.Errorf("%s: the message %q does not name the secret", name, events.ErrorMessage(err))
		}
	}
}

// TestValues_Cache goes through a rotation and two outages.
func TestValues_Cache(t *testing.T) {
	t.Parallel()
	s, v, c := open(t)
	secret := func(text string) map[string]string {
		return map[string]string{"GetSecretValue callboard-dev/hook": text}
	}
	for i, step := range []struct {
		after    time.Duration
		fails    string
		values   map[string]string
		want     string
		code     events.Code
		requests int
	}{
		{0, "", secret("old"), "old", "", 1},
		{5*time.Minute - 1, "", secret("new"), "old", "", 0},
		{1, "", secret("new"), "new", "", 1},
		{5 * time.Minute, "InternalServiceError", nil, "new", "", 1},
		{50 * time.Minute, "AccessDeniedException", nil, "new", "", 1},
		{5 * time.Minute, "InternalServiceError", nil, "", events.CodeUnavailable, 1},
		{0, "", secret("newer"), "newer", "", 1},
		{5 * time.Minute, "", nil, "", events.CodeNotFound, 1}, // deleted: at once, not after an hour
		{10*time.Second - 1, "", secret("put in"), "", events.CodeNotFound, 0},
		{1, "", secret("put in"), "put in", "", 1},
	} {
		c.add(step.after)
		v.set(step.fails, step.values)
		before := v.requests()
		got, err := s.Values(t.Context(), "hook")
		if strings.Join(got, " ") != step.want || events.ErrorCode(err) != step.code {
			t.Errorf("step %d: %q, %v; want %q, code %q", i, got, err, step.want, step.code)
		}
		if n := v.requests() - before; n != step.requests {
			t.Errorf("step %d: %d requests, want %d", i, n, step.requests)
		}
	}
}

// TestRefresh: a value that was added counts at once, and asking again and again costs few requests.
func TestRefresh(t *testing.T) {
	t.Parallel()
	s, v, c := open(t)
	secret := func(text string) map[string]string {
		return map[string]string{"GetSecretValue callboard-dev/hook": text, "GetSecretValue callboard-dev/other": text}
	}
	refresh := func(step, name, want string, requests int) {
		t.Helper()
		before := v.requests()
		got, err := s.Refresh(t.Context(), name)
		if err != nil || strings.Join(got, " ") != want || v.requests()-before != requests {
			t.Errorf("%s: %q, %v after %d requests; want %q after %d", step, got, err, v.requests()-before, want, requests)
		}
	}
	v.set("", secret("old"))
	if _, err := s.Values(t.Context(), "hook"); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		refresh("at first without a pause", "hook", "old", 1)
	}
	v.set("", secret("new\nold"))
	refresh("the fifth", "hook", "new old", 1)
	v.set("", secret("new"))
	for range 100 {
		refresh("then no more", "hook", "new old", 0)
	}
	refresh("another secret has its own", "other", "new", 1)
	c.add(10*time.Second - 1)
	refresh("not yet", "hook", "new old", 0)
	c.add(1)
	refresh("ten seconds later", "hook", "new", 1)
	refresh("and no more again", "hook", "new", 0)
	v.set("InternalServiceError", nil)
	c.add(10 * time.Second)
	refresh("an outage", "hook", "new", 1)
	c.add(time.Hour)
	v.set("", secret("newest"))
	for range 5 {
		refresh("after a rest", "hook", "newest", 1)
	}
	refresh("after a rest no more than that", "hook", "newest", 0)
}

// TestRefresh_AtOnce: who comes while a secret is being read does not read it once more each.
func TestRefresh_AtOnce(t *testing.T) {
	t.Parallel()
	_, v, _ := open(t)
	v.set("", map[string]string{"GetSecretValue callboard/hook": "value"})
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	s := awssecrets.New(awsclienttest.Config(t, server.URL), "callboard", time.Now)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if got, err := s.Refresh(t.Context(), "hook"); err != nil || got[0] != "value" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	group.Wait()
	if n := v.requests(); n > 6 { // five, and one for who came when these were used up and nothing was remembered
		t.Errorf("%d requests", n)
	}
}

func TestValues_CallersCannotChangeTheCache(t *testing.T) {
	t.Parallel()
	s, v, _ := open(t)
	v.set("", map[string]string{"GetSecretValue callboard-dev/hook": "value"})
	for range 3 {
		got, err := s.Values(t.Context(), "hook")
		if err != nil || got[0] != "value" {
			t.Fatalf("%q, %v", got, err)
		}
		got[0] = "changed"
	}
}

// TestValues_Attempts: every read has the attempts that the configuration allows.
func TestValues_Attempts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"hook", "ssm:hook"} {
		for down, want := range map[int]events.Code{2: "", 3: events.CodeUnavailable} {
			v := &vault{down: down, values: map[string]string{"GetSecretValue callboard/hook": "value", "GetParameter hook": "value"}}
			server := httptest.NewServer(v)
			t.Cleanup(server.Close)
			cfg := awsclient.With(awsclienttest.Config(t, server.URL), awsclient.Budget{Attempts: 3, Timeout: 2 * time.Minute, Backoff: time.Millisecond})
			if _, err := awssecrets.New(cfg, "callboard", time.Now).Values(t.Context(), name); events.ErrorCode(err) != want {
				t.Errorf("%s, %d failures: %v, want code %q", name, down, err, want)
			}
			if got := v.requests(); got != 3 {
				t.Errorf("%s, %d failures: %d requests, want 3", name, down, got)
			}
		}
	}
}

// endpointOf is a configuration source, as the clients of the SDK know it.
type endpointOf map[string]string

func (e endpointOf) GetServiceBaseEndpoint(_ context.Context, service string) (string, bool, error) {
	url, ok := e[service]
	return url, ok, nil
}

func TestValues_EndpointOfAService(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&vault{values: map[string]string{"GetParameter hook": "value"}})
	t.Cleanup(server.Close)
	cfg := awsclienttest.Config(t, "http://127.0.0.1:1") // nobody is there
	cfg.ConfigSources = []any{endpointOf{"SSM": server.URL}}
	if got, err := awssecrets.New(cfg, "callboard", time.Now).Values(t.Context(), "ssm:hook"); err != nil || got[0] != "value" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestValues_Unreachable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	s := awssecrets.New(awsclienttest.Config(t, server.URL), "callboard", time.Now)
	for _, name := range []string{"hook", "ssm:hook"} {
		if _, err := s.Values(t.Context(), name); events.ErrorCode(err) != events.CodeUnavailable {
			t.Errorf("%s: %v, want code %s", name, err, events.CodeUnavailable)
		}
	}
}
