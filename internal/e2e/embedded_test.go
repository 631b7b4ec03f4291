//go:build !deployed

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStateFolder(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	w := p.commit(t, change{Files: map[string]*string{"catalog-info.yaml": component("petstore", "one")}})
	p.deliver(t, w)
	p.Settle(t)

	_, stderr, code := Run(t, "dev", "--config", config, "--state", p.State, "--addr", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "is in use") {
		t.Errorf("a second process: exit code %d, %q; want it refused", code, stderr)
	}
	info, err := os.Stat(filepath.Join(p.State, "engine.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("engine.json: %v %v, want mode 0600", info, err)
	}
	p.Kill(t)
	if _, stderr, code := Run(t, "attach", "--config", config, "--state", p.State); code != 1 || !strings.Contains(stderr, "is the state of a callboard dev") {
		t.Errorf("attach on the folder of another: exit code %d, %q; want it refused", code, stderr)
	}
	if _, stderr, code := Run(t, "send", "--state", p.State, "--config", config, "github", "push"); code != 1 || !strings.Contains(stderr, "no callboard runs") {
		t.Errorf("send with a stale engine.json: exit code %d, %q", code, stderr)
	}
	p = Start(t, config, p.State)
	if diff := cmp.Diff(map[string]string{"petstore": "one"}, p.components(t)); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if code := p.Interrupt(t); code != 0 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(p.State, "engine.json")); !os.IsNotExist(err) {
		t.Errorf("engine.json is left behind: %v", err)
	}
}

// The sample of a sender that the configuration describes.
func TestGenericSample(t *testing.T) {
	t.Parallel()
	p := Start(t, shippedConfig, "")
	p.Send(t, "hmac", "add")
	p.Settle(t)
	if got := p.inbox(t, shippedReader); got.TotalCount != 1 || got.Notifications[0].Payload.Title != "A frob was added" {
		t.Errorf("the inbox is %+v, want the frob's notification", got)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	out, _, code := Run(t, "validate", "../../events-config.json")
	if code != 0 || !strings.Contains(out, "catalog.changed") || !strings.Contains(out, "/events/http/{topic}") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"topics":{"a":{"from":"github","secret":[]}},"notifications":{"rules":[
		{"name":"r","on":["a.b"],"to":["user:x"],"title":"${nonsense(}"}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := Run(t, "validate", bad)
	if code != 1 || !strings.Contains(stderr, "$.topics.a.secret") {
		t.Errorf("exit code %d, want 1 and every error with its path:\n%s", code, stderr)
	}
	rule := filepath.Join(t.TempDir(), "rule.json")
	if err := os.WriteFile(rule, []byte(`{"topics":{"a":{"from":"github","secrets":["s"]}},"notifications":{"rules":[
		{"name":"r","on":["a.b"],"when":"1","to":["user:x"],"title":"${nonsense(}"}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code = Run(t, "validate", rule)
	if code != 1 || !strings.Contains(stderr, "$.notifications.rules[0].when") || !strings.Contains(stderr, "$.notifications.rules[0].title") {
		t.Errorf("exit code %d, want 1 and both errors of the rule:\n%s", code, stderr)
	}
}
