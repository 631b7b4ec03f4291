package catalogsync_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	catalogsync "github.com/callboard/callboard/functions/catalog-sync"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/pkg/events"
)

// vault remembers the secrets it was asked for until it is asked to look again.
type vault struct {
	mu         sync.Mutex
	now, known map[string][]string
}

func (v *vault) Values(_ context.Context, name string) ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known[name] == nil {
		v.known[name] = v.now[name]
	}
	if v.known[name] == nil {
		return nil, events.Errorf(events.CodeNotFound, "secret %q has no value", name)
	}
	return v.known[name], nil
}

func (v *vault) Refresh(ctx context.Context, name string) ([]string, error) {
	v.mu.Lock()
	delete(v.known, name)
	v.mu.Unlock()
	return v.Values(ctx, name)
}

var appKeys = sync.OnceValue(func() (keys [2]*rsa.PrivateKey) {
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

func pemOf(key *rsa.PrivateKey) string {
	return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
}

// Files are read with the App where it is installed, else with the token, on the server that verifies what proves the App.
func TestReaders_Credentials(t *testing.T) {
	t.Parallel()
	right, wrong := pemOf(appKeys()[0]), pemOf(appKeys()[1])
	apps := []config.GitHubApp{{AppID: 42, PrivateKey: "app-key"}}
	for name, test := range map[string]struct {
		now, known map[string][]string // known is what is remembered of before
		token      string
		apps       []config.GitHubApp
		// acme is what comes of reading a repository whose owner has installed the App, others of one whose owner has not.
		acme, others events.Code
		says         string
	}{
		"App and token":    {now: map[string][]string{"app-key": {right}, "token": {"t"}}, token: "token", apps: apps},
		"App only":         {now: map[string][]string{"app-key": {right}}, apps: apps, others: events.CodeUnavailable, says: "installed for others"},
		"token only":       {now: map[string][]string{"token": {"t"}}, token: "token", acme: events.CodeNotFound},
		"nothing":          {acme: events.CodeNotFound},
		"key is to come":   {apps: apps, acme: events.CodeUnavailable, others: events.CodeUnavailable, says: `"app-key" has no value`},
		"token until then": {now: map[string][]string{"token": {"t"}}, token: "token", apps: apps, acme: events.CodeNotFound},
		"two keys":         {now: map[string][]string{"app-key": {wrong, right}, "token": {"t"}}, token: "token", apps: apps},
		"new key": {
			now: map[string][]string{"app-key": {right}, "token": {"t"}}, known: map[string][]string{"app-key": {wrong}}, token: "token", apps: apps,
		},
		"wrong key": {
			now: map[string][]string{"app-key": {wrong}, "token": {"t"}}, token: "token", apps: apps,
			acme: events.CodeUnavailable, others: events.CodeUnavailable, says: "does not accept the key of the GitHub App 42",
		},
		"another App": {
			now: map[string][]string{"app-key": {right}}, apps: []config.GitHubApp{{AppID: 43, PrivateKey: "app-key"}},
			acme: events.CodeUnavailable, others: events.CodeUnavailable, says: "appId",
		},
		"second App": {
			now:  map[string][]string{"app-key": {right}, "token": {"t"}},
			apps: []config.GitHubApp{{AppID: 42, PrivateKey: "app-key", AllowedInstallationOwners: []string{"others"}}, {AppID: 42, PrivateKey: "app-key"}}, token: "token",
		},
		"not for this owner": {
			now: map[string][]string{"app-key": {right}}, apps: []config.GitHubApp{{AppID: 42, PrivateKey: "app-key", AllowedInstallationOwners: []string{"others"}}},
			acme: events.CodeUnavailable, others: events.CodeUnavailable, says: "installed for",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := sample.Open(filepath.Join(t.TempDir(), "sample.db"))
			if err != nil {
				t.Fatal(err)
			}
			server.Apps = []sample.App{{ID: 42, Key: &appKeys()[0].PublicKey, Owners: []string{"Acme"}}}
			web := httptest.NewServer(server)
			t.Cleanup(func() {
				web.Close()
				_ = server.Close()
			})
			secrets := &vault{now: test.now, known: map[string][]string{}}
			for name, values := range test.known {
				secrets.known[name] = values
			}
			readers, err := catalogsync.Readers([]config.GitHubIntegration{
				{Host: "github.com", APIBaseURL: web.URL, Token: test.token, Apps: test.apps},
			}, secrets, nil)
			if err != nil {
				t.Fatal(err)
			}
			for owner, want := range map[string]events.Code{"acme": test.acme, "others": test.others} {
				text := "x"
				push, err := server.Commit(t.Context(), sample.Change{Owner: owner, Repo: "petstore", Branch: "main", Files: map[string]*string{"a": &text}})
				if err != nil {
					t.Fatal(err)
				}
				head, err := readers["github.com"].Head(t.Context(), scm.Repository{Host: "github.com", Owner: owner, Name: "petstore"}, "main")
				if events.ErrorCode(err) != want || (want == "") != (head == push.After) {
					t.Errorf("%s: %q, %v; want code %q", owner, head, err, want)
				}
				if err != nil && (strings.Contains(err.Error(), "PRIVATE") || want == events.CodeUnavailable && !strings.Contains(err.Error(), test.says)) {
					t.Errorf("%s: the error is %v, want it to say %q", owner, err, test.says)
				}
			}
		})
	}
}

// A token that was rotated is used from the moment the old one is revoked.
func TestReaders_TokenRotation(t *testing.T) {
	t.Parallel()
	for name, now := range map[string][]string{"new one first": {"new", "old"}, "new one last": {"old", "new"}, "new one only": {"new"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer new" {
					w.WriteHeader(http.StatusUnauthorized)
					_, _ = w.Write([]byte(`{"message":"Bad credentials"}`))
					return
				}
				_, _ = w.Write([]byte(`{"ref":"refs/heads/main","object":{"type":"commit","sha":"` + strings.Repeat("a", 40) + `"}}`))
			}))
			t.Cleanup(api.Close)
			secrets := &vault{now: map[string][]string{"token": now}, known: map[string][]string{"token": {"old"}}}
			readers, err := catalogsync.Readers([]config.GitHubIntegration{{Host: "github.com", APIBaseURL: api.URL, Token: "token"}}, secrets, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := readers["github.com"].Head(t.Context(), scm.Repository{Host: "github.com", Owner: owner, Name: repo}, "main"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
