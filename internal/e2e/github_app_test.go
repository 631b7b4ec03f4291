//go:build !deployed

package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/sample"
)

// Files of an organization that has installed a GitHub App are read with that, and its key is in no log.
func TestGitHubApp(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	server, err := sample.Open(filepath.Join(folder, "sample.db"))
	if err != nil {
		t.Fatal(err)
	}
	server.Apps = []sample.App{{ID: 42, Key: &key.PublicKey, Owners: []string{"acme"}}}
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		web.Close()
		_ = server.Close()
	})

	conf, pemFile := filepath.Join(folder, "events-config.json"), filepath.Join(folder, "app.pem")
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for path, text := range map[string]string{conf: fmt.Sprintf(`{
		"topics": {"github": {"from": "github", "secrets": ["github-webhook"]}},
		"integrations": {"github": [{"apiBaseUrl": %q, "apps": [{"appId": 42, "privateKey": "github-app-key"}]}]},
		"catalog": {"providers": {"github": {"acme": {"organization": "acme"}}}},
		"api": {"tokens": [{"secret": "guest-token", "subject": "user:default/guest", "may": ["catalog.read"]}]}
	}`, web.URL), pemFile: string(private)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := Start(t, conf, "")
	if _, stderr, code := p.Secrets(t, "rotate", "github-app-key"); code != 1 || !strings.Contains(stderr, "--value-file") {
		t.Errorf("a key was made up: exit code %d, %s", code, stderr)
	}
	p.secrets(t, "rotate", "github-app-key", "--value-file", pemFile)

	made, err := server.Commit(t.Context(), sample.Change{
		Owner: "acme", Repo: "petstore", Branch: "main", Files: map[string]*string{"catalog-info.yaml": component("petstore", "one")},
	})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := made.Payload("github.com")
	if err != nil {
		t.Fatal(err)
	}
	p.deliver(t, push{Event: "push", Payload: payload})
	p.Settle(t)
	if diff := cmp.Diff(map[string]string{"petstore": "one"}, p.components(t)); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	log := p.Log(t)
	for line := range strings.Lines(string(private)) {
		if line = strings.TrimSpace(line); len(line) > 40 && strings.Contains(log, line) {
			t.Fatal("the log holds the key")
		}
	}
	if strings.Contains(log, "ghs_") {
		t.Error("the log holds a token")
	}
}
