//go:build !deployed

package e2e

import (
	"testing"

	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/pkg/events"
)

// Dead runs `callboard dead`.
func (p *Process) Dead(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	return Run(tb, append([]string{"dead", args[0], "--state", p.State, "--config", p.Config}, args[1:]...)...)
}

// put puts a message into a queue, for which it ends the process, and returns the one that goes on.
func (p *Process) put(tb testing.TB, queue string, m events.Message) *Process {
	tb.Helper()
	p.Interrupt(tb)
	engine, err := embedded.Open(p.State, []embedded.QueueSpec{{Name: queue}}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if err := engine.Queues.Send(tb.Context(), queue, m); err != nil {
		tb.Fatal(err)
	}
	if err := engine.Close(); err != nil {
		tb.Fatal(err)
	}
	return Start(tb, p.Config, p.State)
}
