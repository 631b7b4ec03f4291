package scm_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/pkg/events"
)

// appKey is made once: that takes a while.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pkcs1() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(appKey())}))
}

// appHost is the API of a host that knows one App, with a clock.
type appHost struct {
	*testing.T
	mu     sync.Mutex
	now    time.Time
	fails  map[string]reply // by "<method> <path>"
	pages  []string         // of installations
	life   time.Duration    // of a token
	listed int
	made   int
	proofs []string
}

func (h *appHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.proofs = append(h.proofs, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	path := strings.TrimPrefix(r.URL.Path, "/api/v3")
	if path == "/app/installations" {
		h.listed++
	} else {
		h.made++
	}
	if a, ok := h.fails[r.Method+" "+path]; ok {
		for name, value := range a.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
		return
	}
	if r.Method == http.MethodGet {
		var page int
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		body := "[]"
		if page <= len(h.pages) {
			body = h.pages[page-1]
		}
		_, _ = w.Write([]byte(body))
		return
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"token":"ghs_canary-%d","expires_at":%q}`, h.made, h.now.Add(h.life).Format(time.RFC3339))
}

func (h *appHost) clock() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now }

func (h *appHost) add(d time.Duration) { h.mu.Lock(); defer h.mu.Unlock(); h.now = h.now.Add(d) }

// app starts the host and returns its App, with one installation.
func (h *appHost) app(key string, owners ...string) *scm.GitHubApp {
	h.Helper()
	h.now, h.life = time.Now().Truncate(time.Second), time.Hour
	if h.pages == nil {
		h.pages = []string{`[{"id":7,"account":{"login":"Acme"},"suspended_at":null},{"id":8,"account":{"login":"gone"},"suspended_at":"2030-01-02T03:04:05Z"}]`}
	}
	server := httptest.NewServer(h)
	h.Cleanup(server.Close)
	a, err := scm.NewGitHubApp(scm.GitHubAppOptions{
		APIBaseURL: server.URL + "/api/v3", ID: 42, Owners: owners, Now: h.clock, HTTPClient: ownConnections(h.T),
		Keys: func(_ context.Context, try func(string) error) error { return try(key) },
	})
	if err != nil {
		h.Fatal(err)
	}
	return a
}

// wantToken asks for a token, and compares with how often installations were listed and tokens made by then.
func (h *appHost) wantToken(a *scm.GitHubApp, what, owner, refused, want string, listed, made int) {
	h.Helper()
	got, err := a.Token(h.Context(), owner, refused)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || got != want || h.listed != listed || h.made != made {
		h.Errorf("%s: %q, %v, listed %d times, %d tokens; want %q, %d, %d", what, got, err, h.listed, h.made, want, listed, made)
	}
}

// A token is used until shortly before its end, or until it is refused.
func TestGitHubApp_Token(t *testing.T) {
	t.Parallel()
	h := &appHost{T: t}
	a := h.app(pkcs1())
	h.wantToken(a, "first", "acme", "", "ghs_canary-1", 1, 1)
	h.wantToken(a, "again, in other letters", "ACME", "", "ghs_canary-1", 1, 1)
	h.wantToken(a, "not installed", "others", "", "", 1, 1)
	h.wantToken(a, "suspended", "gone", "", "", 1, 1)
	h.add(55*time.Minute - 1)
	h.wantToken(a, "late", "acme", "", "ghs_canary-1", 1, 1)
	h.add(1)
	h.wantToken(a, "too late", "acme", "", "ghs_canary-2", 2, 2)
	h.wantToken(a, "refused", "acme", "ghs_canary-2", "ghs_canary-3", 2, 3)
	h.wantToken(a, "refused before", "acme", "ghs_canary-2", "ghs_canary-3", 2, 3)
	h.add(4 * time.Minute)
	h.wantToken(a, "still not installed", "others", "", "", 2, 3)
	h.mu.Lock()
	h.pages = []string{`[{"id":7,"account":{"login":"acme"}},{"id":9,"account":{"login":"others"}}]`}
	h.mu.Unlock()
	h.add(time.Minute)
	h.wantToken(a, "installed meanwhile", "others", "", "ghs_canary-4", 3, 4)
}

// What proves the App is signed with its key, names it and is good for now.
func TestGitHubApp_Proof(t *testing.T) {
	t.Parallel()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(appKey())
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{
		"PKCS #1": pkcs1(), "PKCS #8": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	} {
		h := &appHost{T: t}
		if _, err := h.app(key).Token(t.Context(), "acme", ""); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(h.proofs) != 2 {
			t.Fatalf("%s: %d requests, want 2", name, len(h.proofs))
		}
		for _, proof := range h.proofs {
			parts := strings.Split(proof, ".")
			sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
			signature, err := base64.RawURLEncoding.DecodeString(parts[2])
			if err = errors.Join(err, rsa.VerifyPKCS1v15(&appKey().PublicKey, crypto.SHA256, sum[:], signature)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			var claims struct {
				IssuedAt int64  `json:"iat"`
				Expires  int64  `json:"exp"`
				Issuer   string `json:"iss"`
			}
			text, _ := base64.RawURLEncoding.DecodeString(parts[1])
			if err := json.Unmarshal(text, &claims); err != nil {
				t.Fatal(err)
			}
			if claims.Issuer != "42" || claims.IssuedAt >= h.now.Unix() || claims.Expires <= h.now.Unix() || claims.Expires-claims.IssuedAt > 600 {
				t.Errorf("%s: the claims are %+v at %d", name, claims, h.now.Unix())
			}
		}
	}
}

// However many need a token at the same time, it is asked for once.
func TestGitHubApp_AtOnce(t *testing.T) {
	t.Parallel()
	h := &appHost{T: t}
	a := h.app(pkcs1())
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if got, err := a.Token(t.Context(), "acme", ""); err != nil || got != "ghs_canary-1" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	group.Wait()
	h.wantToken(a, "after all", "acme", "", "ghs_canary-1", 1, 1)
}

func TestGitHubApp_Owners(t *testing.T) {
	t.Parallel()
	h := &appHost{T: t, pages: []string{`[{"id":7,"account":{"login":"acme"}},{"id":9,"account":{"login":"others"}}]`}}
	a := h.app(pkcs1(), "Acme")
	h.wantToken(a, "not to be used", "others", "", "", 0, 0)
	h.wantToken(a, "to be used", "acme", "", "ghs_canary-1", 1, 1)
}

func TestGitHubApp_Pages(t *testing.T) {
	t.Parallel()
	var first []string
	for i := range 100 {
		first = append(first, fmt.Sprintf(`{"id":%d,"account":{"login":"org-%d"}}`, i+1, i))
	}
	h := &appHost{T: t, pages: []string{"[" + strings.Join(first, ",") + "]", `[{"id":500,"account":{"login":"acme"}}]`}}
	a := h.app(pkcs1())
	h.wantToken(a, "on the second page", "acme", "", "ghs_canary-1", 2, 1)
	h.wantToken(a, "on the first page", "org-99", "", "ghs_canary-2", 2, 2)
}

func TestGitHubApp_Failures(t *testing.T) {
	t.Parallel()
	const list, token = "GET /app/installations", "POST /app/installations/7/access_tokens"
	reset := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	for name, test := range map[string]struct {
		request string
		reply   reply
		code    events.Code
		says    string
	}{
		"key refused":   {list, reply{status: 401, body: `{"message":"A JSON web token could not be decoded"}`}, events.CodeUnauthorized, "private key"},
		"unknown App":   {list, reply{status: 404, body: `{"message":"Integration not found"}`}, events.CodeUnavailable, "appId"},
		"down":          {list, reply{status: 502}, events.CodeUnavailable, "502"},
		"no list":       {list, reply{status: 200, body: `{"token":"ghs_canary"}`}, events.CodeUnavailable, "GitHub App 42"},
		"uninstalled":   {token, reply{status: 404, body: `{"message":"Not Found"}`}, events.CodeUnavailable, "any more"},
		"no token":      {token, reply{status: 201, body: `{"expires_at":"2030-01-02T03:04:05Z"}`}, events.CodeUnavailable, "no token"},
		"no end":        {token, reply{status: 201, body: `{"token":"ghs_canary"}`}, events.CodeUnavailable, "no token"},
		"broken answer": {token, reply{status: 201, body: `{"token":"ghs_canary`}, events.CodeUnavailable, "GitHub App 42"},
		"rate limit": {token, reply{status: 403, header: map[string]string{
			"X-Ratelimit-Limit": "5000", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": fmt.Sprint(reset.Unix()),
		}, body: `{"message":"API rate limit exceeded"}`}, events.CodeRateLimited, "rate limit"},
		"secondary rate limit": {list, reply{status: 429, header: map[string]string{"Retry-After": "60"}, body: `{"message":"slow down"}`}, events.CodeRateLimited, "rate limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &appHost{T: t, fails: map[string]reply{test.request: test.reply}}
			_, err := h.app(pkcs1()).Token(t.Context(), "acme", "")
			if events.ErrorCode(err) != test.code || !strings.Contains(fmt.Sprint(err), test.says) || strings.Contains(fmt.Sprint(err), "canary") {
				t.Errorf("%v, want code %q and %q", err, test.code, test.says)
			}
			e, ok := errors.AsType[*events.Error](err)
			if limited := test.code == events.CodeRateLimited; !ok || limited == e.RetryAt.IsZero() {
				t.Errorf("%v is to be tried again at %v", err, e.RetryAt)
			}
			if name == "rate limit" && !e.RetryAt.Equal(reset) {
				t.Errorf("it is to be tried again at %v, want %v", e.RetryAt, reset)
			}
		})
	}
}

// While there is no new token, the old one is used to its end.
func TestGitHubApp_OutageNearTheEnd(t *testing.T) {
	t.Parallel()
	h := &appHost{T: t}
	a := h.app(pkcs1())
	h.wantToken(a, "first", "acme", "", "ghs_canary-1", 1, 1)
	h.mu.Lock()
	h.fails = map[string]reply{"GET /app/installations": {status: 502}}
	h.mu.Unlock()
	h.add(time.Hour - 1)
	h.wantToken(a, "near the end", "acme", "", "ghs_canary-1", 2, 1)
	h.add(1)
	if got, err := a.Token(t.Context(), "acme", ""); events.ErrorCode(err) != events.CodeUnavailable || got != "" {
		t.Errorf("after its end: %q, %v", got, err)
	}
}

func TestGitHubApp_BadKeys(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{
		"no PEM": "canary", "no key": "-----BEGIN RSA PRIVATE KEY-----\nY2FuYXJ5\n-----END RSA PRIVATE KEY-----\n", "public": string(pem.EncodeToMemory(
			&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&appKey().PublicKey)})),
	} {
		h := &appHost{T: t}
		_, err := h.app(key).Token(t.Context(), "acme", "")
		if events.ErrorCode(err) != events.CodeUnauthorized || strings.Contains(fmt.Sprint(err), "canary") || h.listed != 0 {
			t.Errorf("%s: %v after %d requests", name, err, h.listed)
		}
	}
}

// A token that is refused is replaced once by another one.
func TestTokenRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		another string
		want    events.Code
		sent    int
	}{
		"another one":     {"good", "", 2},
		"another bad one": {"worse", events.CodeUnauthorized, 2},
		"the same":        {"bad", events.CodeUnauthorized, 1},
		"none":            {"", events.CodeUnauthorized, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sent++
				if r.Header.Get("Authorization") != "Bearer good" {
					w.WriteHeader(http.StatusUnauthorized)
					_, _ = w.Write([]byte(`{"message":"Bad credentials"}`))
					return
				}
				_, _ = w.Write([]byte(`{"id":1}`))
			}))
			defer server.Close()
			g := newClient(t, scm.GitHubOptions{APIBaseURL: server.URL, Token: func(_ context.Context, owner, refused string) (string, error) {
				if owner != petstore.Owner {
					t.Errorf("a token for %s", owner)
				}
				if refused == "" {
					return "bad", nil
				}
				return test.another, nil
			}})
			_, err := g.Exists(t.Context(), petstore)
			if events.ErrorCode(err) != test.want || sent != test.sent {
				t.Errorf("%v after %d requests, want code %q after %d", err, sent, test.want, test.sent)
			}
		})
	}
}

// The rate limit of one owner does not stop the requests for another one, where each has its own.
func TestRateLimitPerOwner(t *testing.T) {
	t.Parallel()
	for _, perOwner := range []bool{true, false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/repos/acme/") {
				w.Header().Set("X-Ratelimit-Limit", "5000")
				w.Header().Set("X-Ratelimit-Remaining", "0")
				w.Header().Set("X-Ratelimit-Reset", fmt.Sprint(time.Now().Add(time.Hour).Unix()))
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.Write([]byte(`{"message":"API rate limit exceeded"}`))
				return
			}
			_, _ = w.Write([]byte(`{"id":1}`))
		}))
		t.Cleanup(server.Close)
		g := newClient(t, scm.GitHubOptions{
			APIBaseURL: server.URL, TokenPerOwner: perOwner,
			Token: func(_ context.Context, owner, _ string) (string, error) { return owner, nil },
		})
		_, err := g.Exists(t.Context(), petstore)
		checkCode(t, err, events.CodeRateLimited)
		_, err = g.Exists(t.Context(), scm.Repository{Host: "github.com", Owner: "others", Name: "x"})
		if want := map[bool]events.Code{true: "", false: events.CodeRateLimited}[perOwner]; events.ErrorCode(err) != want {
			t.Errorf("per owner %t: %v, want code %q", perOwner, err, want)
		}
	}
}

// Whatever a host answers, no call panics, and there is either a token or an error, or the App is not installed.
func FuzzGitHubApp(f *testing.F) {
	f.Add(200, []byte(`[{"id":7,"account":{"login":"acme"},"suspended_at":null}]`), 201, []byte(`{"token":"ghs_x","expires_at":"2030-01-02T03:04:05Z"}`))
	f.Add(200, []byte(`[]`), 404, []byte(`{"message":"Not Found"}`))
	f.Add(401, []byte(`{"message":"A JSON web token could not be decoded"}`), 200, []byte(`{}`))
	f.Fuzz(func(t *testing.T, listStatus int, list []byte, tokenStatus int, made []byte) {
		if min(listStatus, tokenStatus) < 200 || max(listStatus, tokenStatus) > 599 {
			t.Skip()
		}
		a, err := scm.NewGitHubApp(scm.GitHubAppOptions{
			APIBaseURL: "https://ghe.example/api/v3", ID: 42, Now: time.Now,
			Keys: func(_ context.Context, try func(string) error) error { return try(pkcs1()) },
			HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				status, body := listStatus, list
				if r.Method == http.MethodPost {
					status, body = tokenStatus, made
				}
				w.WriteHeader(status)
				_, _ = w.Write(body)
				response := w.Result()
				response.Request = r
				return response, nil
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		token, err := a.Token(t.Context(), "acme", "")
		if err != nil && token != "" || events.ErrorCode(err) == events.CodeNotFound {
			t.Errorf("%q, %v", token, err)
		}
	})
}
