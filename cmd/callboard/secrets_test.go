package main

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/secrets"
)

// The copies that an attached process has are not the secrets: whoever changed them would change nothing.
func TestSecrets_OfAnAttachedStack(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	h := &front.Handler{}
	server := httptest.NewServer(h)
	defer server.Close()
	h.Running = front.NewRunning(server.URL)
	if err := front.Announce(state, h.Running); err != nil {
		t.Fatal(err)
	}
	dir := secrets.Dir(filepath.Join(state, "secrets"))
	if err := dir.Put("frobs-webhook", []string{"copy"}); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"list", "show frobs-webhook", "rotate frobs-webhook", "retire frobs-webhook"} {
		args := append([]string{"secrets"}, strings.Fields(command)...)
		out, stderr, code := call(t, append(args, "--config", "../../events-config.json", "--state", state)...)
		if code != exitFailure || out != "" || !strings.Contains(stderr, "use --aws") {
			t.Errorf("%s: exit code %d, %q, %s; want it refused", command, code, out, stderr)
		}
	}
	if got, err := dir.Values(t.Context(), "frobs-webhook"); err != nil || len(got) != 1 || got[0] != "copy" {
		t.Errorf("the copy is %q, %v", got, err)
	}
}

// A value can be given, and one that is known to others can be replaced at once; neither is on stderr.
func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	dir := secrets.Dir(filepath.Join(state, "secrets"))
	for name, values := range map[string][]string{"given": {"given-value"}, "frobs-webhook": {"old", "older"}} {
		if err := dir.Put(name, values); err != nil {
			t.Fatal(err)
		}
	}
	at := []string{"--config", "../../events-config.json", "--state", state}
	for _, step := range []struct {
		args  string
		want  int // live values after it
		print bool
	}{
		{"rotate frobs-webhook", 3, true},
		{"rotate frobs-webhook --value-file " + dir.Path("given"), 4, false},
		{"rotate frobs-webhook --value-file " + dir.Path("given"), 4, false}, // the same again
		{"rotate frobs-webhook --retire", 1, true},
	} {
		out, stderr, code := call(t, append(append([]string{"secrets"}, strings.Fields(step.args)...), at...)...)
		values, err := dir.Values(t.Context(), "frobs-webhook")
		if code != 0 || err != nil || len(values) != step.want {
			t.Fatalf("%s: exit code %d, %s; %d values, %v, want %d", step.args, code, stderr, len(values), err, step.want)
		}
		if printed := strings.TrimSpace(out); step.print != (printed == values[0]) || !step.print && (printed != "" || values[0] != "given-value") {
			t.Errorf("%s: it printed %q", step.args, printed)
		}
		if !strings.Contains(stderr, secrets.Fingerprint(values[0])) || strings.Contains(stderr, values[0]) {
			t.Errorf("%s: stderr has to name the value, and not to tell it: %s", step.args, stderr)
		}
	}
}
