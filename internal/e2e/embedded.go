//go:build !deployed

package e2e

import (
	"path/filepath"
	"testing"
)

// What people get who run the program without a configuration of their own.
const (
	shippedConfig = "../../events-config.json"
	shippedReader = "portal-token"
)

// Start runs `callboard dev` on a free port. With an empty state it gets a new folder. With the build tag "deployed" it
// attaches to a deployed stack instead.
func Start(tb testing.TB, config, state string) *Process {
	tb.Helper()
	if state == "" {
		state = filepath.Join(tb.TempDir(), "state")
	}
	return launch(tb, &Process{State: state, Config: config}, "dev", "--config", config, "--state", state, "--addr", "127.0.0.1:0", "--log", "json")
}

// Trace runs `callboard trace`.
func (p *Process) Trace(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	return Run(tb, append([]string{"trace", "--state", p.State}, args...)...)
}

// Log returns what the functions have logged.
func (p *Process) Log(testing.TB) string { return p.log.String() }
