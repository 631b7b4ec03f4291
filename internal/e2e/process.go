// Package e2e runs the built program as a user does: it is the end-to-end suite and what benchmarks of whole
// processes need.
package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/secrets"
)

// patience is how long something may take before a test fails. It is no measure of speed.
const patience = 2 * time.Minute

var binary string

// Main builds the program, runs the tests and returns the exit code: it is the body of a TestMain.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "callboard-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "callboard")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", binary, "github.com/callboard/callboard/cmd/callboard")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "the program does not build:", err)
		return 1
	}
	return m.Run()
}

// Process is a running `callboard dev`, or a `callboard attach` in front of a deployed stack: see [Start].
type Process struct {
	URL    string
	State  string
	Config string
	Output string // what it printed on stdout after the line that says it is ready

	program string   // instead of [binary]
	env     []string // beside that of the tests

	cmd    *exec.Cmd
	log    log
	exited chan struct{}
	client *http.Client

	canary   string            // what headers carry
	canaries map[string]string // names of values that nobody may find
	planted  []planted         // those that a test has planted
	mu       sync.Mutex
	answers  bytes.Buffer // to all requests
	accepted bool         // an event
}

// log is the file that a process writes stderr to: unlike a pipe it holds at once what the process has written.
type log struct{ *os.File }

func newLog(tb testing.TB) log {
	tb.Helper()
	file, err := os.Create(filepath.Join(tb.TempDir(), "stderr"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = file.Close() })
	return log{file}
}

func (l log) String() string {
	data, err := os.ReadFile(l.Name())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// launch runs the program with the arguments and waits until it says that it is ready.
func launch(tb testing.TB, p *Process, args ...string) *Process {
	tb.Helper()
	if !p.begin(tb, args...) {
		tb.Fatalf("callboard %s did not start:\n%s", args[0], p.log)
	}
	p.remember(tb)
	return p
}

// begin is launch for a process that may end before it is ready. It tells whether it is.
func (p *Process) begin(tb testing.TB, args ...string) (ready bool) {
	tb.Helper()
	// Connections of its own: the end of a httptest.Server closes the idle ones of the default transport, whoever uses it.
	own := http.DefaultTransport.(*http.Transport).Clone()
	tb.Cleanup(own.CloseIdleConnections)
	p.log, p.exited, p.client, p.canary = newLog(tb), make(chan struct{}), &http.Client{Timeout: 5 * patience, Transport: own}, newCanary()
	p.canaries = map[string]string{p.canary: "the value of a header"}
	p.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), cmp.Or(p.program, binary), args...)
	p.cmd.Stderr, p.cmd.Env = p.log.File, append(os.Environ(), p.env...)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			p.URL = url
		} else {
			p.Output += lines.Text() + "\n"
		}
		if p.URL != "" && strings.Contains(lines.Text(), " trace ") { // the last of the printed commands
			break
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	tb.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if tb.Failed() {
			tb.Logf("log of the process:\n%s", tail(p.log.String(), 40))
		}
	})
	return p.URL != ""
}

func tail(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Kill ends the process as `kill -9` does.
func (p *Process) Kill(tb testing.TB) {
	tb.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		tb.Fatal(err)
	}
	<-p.exited
}

// Interrupt ends the process as Ctrl-C does and returns its exit code.
func (p *Process) Interrupt(tb testing.TB) int {
	tb.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		tb.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		tb.Fatal("the process does not end after Ctrl-C")
	}
	return p.cmd.ProcessState.ExitCode()
}

// Run runs another command of the program and returns what it printed on stdout, and its exit code with what it
// printed on stderr.
func Run(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), binary, args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	runErr := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](runErr); runErr != nil && !ok {
		tb.Fatal(runErr, exit)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// Send runs `callboard send` and returns the event id.
func (p *Process) Send(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err, code := Run(tb, append([]string{"send", "--state", p.State, "--config", p.Config}, args...)...)
	if code != 0 {
		tb.Fatalf("callboard send %v: exit code %d\n%s", args, code, err)
	}
	return strings.TrimSpace(out)
}

// Secret returns the value of a secret in the state folder.
func (p *Process) Secret(tb testing.TB, name string) string {
	tb.Helper()
	values, err := secrets.Dir(filepath.Join(p.State, "secrets")).Values(tb.Context(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return values[0]
}

// Do sends a request and returns the answer and its body. 503 says that a machine is too busy for the few seconds in which
// a function has to answer; like most senders it tries again.
func (p *Process) Do(tb testing.TB, method, path string, headers map[string]string, body []byte) (*http.Response, []byte) {
	tb.Helper()
	for end := time.Now().Add(patience); ; {
		response, data, err := p.try(tb.Context(), method, path, headers, body)
		if err != nil {
			tb.Fatalf("%s %s: %v", method, path, err)
		}
		if response.StatusCode != http.StatusServiceUnavailable || time.Now().After(end) {
			return response, data
		}
		tb.Logf("%s %s: %s %.200s", method, path, response.Status, data)
		<-time.After(100 * time.Millisecond)
	}
}

func (p *Process) try(ctx context.Context, method, path string, headers map[string]string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	for _, name := range canaryHeaders {
		req.Header.Set(name, p.canary)
	}
	response, err := p.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers.Write(data)
	p.accepted = p.accepted || response.StatusCode == http.StatusAccepted
	return response, data, err
}

// Get reads a JSON document as the bearer of a token and returns the status.
func (p *Process) Get(tb testing.TB, token, path string, into any) int {
	tb.Helper()
	response, body := p.Do(tb, http.MethodGet, path, map[string]string{"Authorization": "Bearer " + p.Secret(tb, token)}, nil)
	if response.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			tb.Fatalf("GET %s: %v in %.200s", path, err, body)
		}
	}
	return response.StatusCode
}

// local calls a local route of the engine.
func (p *Process) local(tb testing.TB, method, path string, body, into any) {
	tb.Helper()
	engine, err := front.Find(tb.Context(), p.State)
	if err != nil {
		tb.Fatal(err)
	}
	var data []byte
	if body != nil {
		if data, err = json.Marshal(body); err != nil {
			tb.Fatal(err)
		}
	}
	response, answer := p.Do(tb, method, "/_local"+path, map[string]string{"Authorization": "Bearer " + engine.Token}, data)
	if response.StatusCode != http.StatusOK {
		tb.Fatalf("%s %s: %s %s", method, path, response.Status, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			tb.Fatal(err)
		}
	}
}

// Settle waits until nothing that was accepted is waiting or being handled.
func (p *Process) Settle(tb testing.TB) {
	tb.Helper()
	p.local(tb, http.MethodPost, "/drain", nil, nil)
}
