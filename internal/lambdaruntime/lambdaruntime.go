// Package lambdaruntime runs a program that was built for AWS Lambda on this machine: it serves the Runtime API to
// processes of the program, starts one where all others are busy, and hands each one invocation after the other
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
package lambdaruntime

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// startTime is how long a process may take until it asks for its first invocation, as in Lambda
// (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
const startTime = 10 * time.Second

// Program is a program and what its processes get.
type Program struct {
	// Name is that of the function, in logs and errors.
	Name string
	// Path is the file of the program; its processes run in the folder of it.
	Path string
	// Environment are the variables of its processes, as [os.Environ] has them, but for those of the Runtime API.
	Environment []string
	// Concurrency is how many invocations are worked on at the same time, and so how many processes there are at most.
	Concurrency int
	// Logger gets what processes write; a line of JSON with the keys of [log/slog] becomes a record of its own.
	Logger *slog.Logger
}

// Runtime runs the processes of a program.
type Runtime struct {
	program Program
	server  *http.Server
	address string
	slots   chan struct{} // one for each invocation that is worked on

	mu        sync.Mutex
	instances map[string]*instance // by token
	idle      []*instance          // those that wait, the last used last
	closed    bool
}

// Start starts one process of the program, and returns when it asks for its first invocation. It fails with
// [events.CodeUnavailable] if the process does not come so far; what it says about it is in the log.
func Start(ctx context.Context, p Program) (*Runtime, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "the Runtime API of the function %s cannot listen", p.Name)
	}
	r := &Runtime{program: p, address: l.Addr().String(), slots: make(chan struct{}, p.Concurrency), instances: map[string]*instance{}}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: startTime}
	go func() { _ = r.server.Serve(l) }() // until Close
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	first, err := r.launch()
	if err == nil {
		err = first.ready(ctx)
	}
	if err != nil {
		r.Close()
		return nil, events.Wrap(err, events.CodeUnavailable, "the function %s does not start; what it says about it is above", p.Name)
	}
	r.release(first)
	return r, nil
}

// Close ends all processes, and returns when they have ended and the log has all that they wrote. Invocations that are
// worked on fail.
func (r *Runtime) Close() {
	r.mu.Lock()
	r.closed = true
	var all []*instance
	for _, i := range r.instances {
		all = append(all, i)
	}
	r.mu.Unlock()
	for _, i := range all {
		i.kill()
		<-i.exited
	}
	_ = r.server.Close()
}

// Invoke hands an invocation to a process that has nothing to do, and returns its answer. A process that dies, or has no
// answer when ctx ends, is replaced by a new one for the next invocation.
func (r *Runtime) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, events.Wrap(ctx.Err(), events.CodeUnavailable, "the function %s is busy", r.program.Name)
	}
	for {
		i, used, err := r.take()
		if err != nil {
			return nil, err
		}
		answer, err := i.invoke(ctx, payload)
		switch _, ofFunction := errors.AsType[functionError](err); {
		case err == nil || ofFunction:
			r.release(i)
			return answer, err
		case used && errors.Is(err, errNotTaken): // it has ended since it was used last
			continue
		}
		i.kill()
		return nil, events.Wrap(err, events.CodeUnavailable, "the function %s has no answer", r.program.Name)
	}
}

// take returns a process that has nothing to do, and whether it has been used before.
func (r *Runtime) take() (i *instance, used bool, err error) {
	r.mu.Lock()
	for len(r.idle) > 0 {
		last := len(r.idle) - 1
		i := r.idle[last]
		r.idle = r.idle[:last]
		if !i.isDead() {
			r.mu.Unlock()
			return i, true, nil
		}
	}
	r.mu.Unlock()
	i, err = r.launch()
	return i, false, err
}

func (r *Runtime) release(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = append(r.idle, i)
}

// launch starts a process.
func (r *Runtime) launch() (*instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, events.Errorf(events.CodeUnavailable, "the function %s has ended", r.program.Name)
	}
	i, err := newInstance(r.program, r.address)
	if err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "the program of the function %s cannot be run", r.program.Name)
	}
	r.instances[i.token] = i
	go func() {
		i.wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.instances, i.token)
	}()
	return i, nil
}

// ServeHTTP implements http.Handler: the Runtime API, below the token of a process.
func (r *Runtime) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	token, path, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	r.mu.Lock()
	i := r.instances[token]
	r.mu.Unlock()
	if i == nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	i.serve(w, req, strings.TrimPrefix(path, "2018-06-01/runtime/"))
}
