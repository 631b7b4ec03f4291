//go:build !deployed

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startFrobs starts with the example, whose API is at url, and with the token of the API.
func startFrobs(t *testing.T, url string) *Process {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	file := filepath.Join(state, "secrets", "frobs-api")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(frobsToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Start(t, frobsConfig(t, url), state)
}

// crash ends the process as `kill -9` does, and returns the one that goes on.
func (p *Process) crash(t *testing.T) *Process {
	t.Helper()
	p.Kill(t)
	return Start(t, p.Config, p.State)
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
		config, state := frobsConfig(t, "http://127.0.0.1:1", test.replace...), filepath.Join(t.TempDir(), "state")
		_, stderr, code := Run(t, "dev", "--config", config, "--state", state, "--addr", "127.0.0.1:0", "--log", "json")
		for _, want := range test.want {
			if code != 1 || !strings.Contains(strings.ReplaceAll(stderr, `\"`, `"`), want) {
				t.Errorf("%s: exit code %d, want 1 and %q:\n%s", test.name, code, want, stderr)
			}
		}
	}
}
