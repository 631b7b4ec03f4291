package lambdaruntime

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// maxAnswer is how large an answer may be, in bytes
// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const maxAnswer = 6 << 20

// functionError is an error that the function answered; its process lives on.
type functionError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

// Error is what the function said.
func (e functionError) Error() string { return e.Type + ": " + e.Message }

// instance is a process, which works on one invocation at a time.
type instance struct {
	token  string // the first segment of its address of the Runtime API
	cmd    *exec.Cmd
	out    *lines
	work   chan *invocation
	asked  chan struct{} // closed when it has asked for its first invocation
	exited chan struct{} // closed when the process has ended

	askOnce sync.Once
	mu      sync.Mutex
	current *invocation
}

// invocation is one on its way through a process.
type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	result   chan result // takes one without waiting
}

type result struct {
	answer []byte
	err    error
}

var (
	errExited = errors.New("its process has ended")
	// errNotTaken is errExited before the process took the invocation: another one can.
	errNotTaken = errors.New("its process has ended before it took the invocation")
)

func newInstance(p Program, address string) (*instance, error) {
	i := &instance{token: rand.Text(), work: make(chan *invocation), asked: make(chan struct{}), exited: make(chan struct{})}
	i.cmd = exec.CommandContext(context.Background(), p.Path) // #nosec G204 -- the program was built from the folder that the operator names
	i.cmd.Dir = filepath.Dir(p.Path)
	i.cmd.Env = append(slices.Clone(p.Environment), "AWS_LAMBDA_RUNTIME_API="+address+"/"+i.token)
	apart(i.cmd)
	i.out = &lines{log: p.Logger}
	i.cmd.Stdout, i.cmd.Stderr, i.cmd.WaitDelay = i.out, i.out, time.Second
	if err := i.cmd.Start(); err != nil {
		return nil, err
	}
	return i, nil
}

// wait returns when the process has ended, and all that it wrote is in the log.
func (i *instance) wait() {
	_ = i.cmd.Wait() // how it ended is of no use: it should not have
	if len(i.out.rest) > 0 {
		record(i.out.log, i.out.rest)
	}
	close(i.exited)
}

func (i *instance) kill() { _ = i.cmd.Process.Kill() }

func (i *instance) isDead() bool {
	select {
	case <-i.exited:
		return true
	default:
		return false
	}
}

// ready waits until the process has asked for its first invocation.
func (i *instance) ready(ctx context.Context) error {
	select {
	case <-i.asked:
		return nil
	case <-i.exited:
		return errExited
	case <-ctx.Done():
		return fmt.Errorf("it does not ask for an invocation within %s", startTime)
	}
}

// invoke hands an invocation to the process and waits for the answer.
func (i *instance) invoke(ctx context.Context, payload []byte) ([]byte, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Hour)
	}
	v := &invocation{id: rand.Text(), payload: payload, deadline: deadline, result: make(chan result, 1)}
	select {
	case i.work <- v:
	case <-i.exited:
		return nil, errNotTaken
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case r := <-v.result:
		return r.answer, r.err
	case <-i.exited:
		return nil, errExited
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve answers a request of the process to the Runtime API.
func (i *instance) serve(w http.ResponseWriter, r *http.Request, path string) {
	kind, id, _ := strings.Cut(strings.TrimPrefix(path, "invocation/"), "/")
	switch {
	case path == "invocation/next" && r.Method == http.MethodGet:
		i.next(w, r)
	case path == "init/error" && r.Method == http.MethodPost:
		w.WriteHeader(http.StatusAccepted) // the log has what it is about; the process ends
	case r.Method == http.MethodPost && (id == "response" || id == "error"):
		i.finish(w, r, kind, id == "error")
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// next hands out an invocation when there is one.
func (i *instance) next(w http.ResponseWriter, r *http.Request) {
	i.askOnce.Do(func() { close(i.asked) })
	select {
	case v := <-i.work:
		i.mu.Lock()
		i.current = v
		i.mu.Unlock()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", v.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(v.deadline.UnixMilli(), 10))
		_, _ = w.Write(v.payload)
	case <-r.Context().Done():
	}
}

// finish takes the answer to the invocation with this id, or its error.
func (i *instance) finish(w http.ResponseWriter, r *http.Request, id string, failed bool) {
	i.mu.Lock()
	v := i.current
	i.mu.Unlock()
	if v == nil || v.id != id {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAnswer))
	answer := result{answer: body, err: err}
	if failed && err == nil {
		e := functionError{Type: "Error", Message: "the function failed"}
		_ = json.Unmarshal(body, &e) // what is no error of the Runtime API keeps the words above
		answer = result{err: e}
	}
	i.mu.Lock()
	i.current = nil
	i.mu.Unlock()
	v.result <- answer
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// maxLine is how much of a line is kept until its end comes, in bytes.
const maxLine = 64 << 10

// lines hands on what a process writes, line by line.
type lines struct {
	log  *slog.Logger
	rest []byte // of a line that has not ended
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ended := bytes.Cut(l.rest, []byte("\n"))
		if !ended && len(line) < maxLine {
			return len(p), nil
		}
		if len(line) > 0 {
			record(l.log, line)
		}
		l.rest = rest
	}
}

// record logs a line: as a record of its own if it is one of slog's JSON handler, else as it is.
func record(log *slog.Logger, line []byte) {
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil {
		log.Info(string(line))
		return
	}
	message, ok := fields[slog.MessageKey].(string)
	var level slog.Level
	text, hasLevel := fields[slog.LevelKey].(string)
	if !ok || !hasLevel || level.UnmarshalText([]byte(text)) != nil {
		log.Info(string(line))
		return
	}
	var attrs []slog.Attr
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name != slog.MessageKey && name != slog.LevelKey && name != slog.TimeKey {
			attrs = append(attrs, slog.Any(name, fields[name]))
		}
	}
	log.LogAttrs(context.Background(), level, message, attrs...)
}
