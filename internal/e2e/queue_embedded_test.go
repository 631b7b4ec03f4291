//go:build !deployed

package e2e

import "testing"

// startQueues starts with topics whose events come by queues of others.
func startQueues(tb testing.TB, config string) *Process {
	tb.Helper()
	return Start(tb, config, "")
}

// arrives waits until the counter was told of these and nothing else.
func (p *Process) arrives(tb testing.TB, want ...string) {
	tb.Helper()
	p.Settle(tb)
	if diff := p.told(tb, want); diff != "" {
		tb.Errorf("notifications (-want +got):\n%s", diff)
	}
}
