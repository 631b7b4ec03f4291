// Package embedded is the engine of `callboard dev`: it runs the functions of a topology in one process, called
// with what an invocation carries in AWS, on durable queues, topics, tables, blobs and secrets in one folder.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/internal/blob/foreign"
	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/internal/table/boltdb"
	"github.com/callboard/callboard/pkg/events"
)

const (
	databaseFile = "callboard.db"

	// requestTimeout is how long a request may take to arrive
	// (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html).
	requestTimeout = 30 * time.Second
)

// patience is how long a stop waits for requests, for the queues to become empty, for functions that are running,
// and for those that have been told to stop.
type patience struct{ requests, queues, functions, stubborn time.Duration }

var defaultPatience = patience{requests: 5 * time.Second, queues: 10 * time.Second, functions: 5 * time.Second, stubborn: 5 * time.Second}

// Engine is an open state folder. Only one process has it open at a time.
type Engine struct {
	Queues  *Queues
	Trace   *Trace
	Table   *boltdb.Table
	Blobs   *blob.Dir
	Secrets secrets.Dir
	// Buckets stand for the buckets of others.
	Buckets foreign.Dir

	folder string
	db     *bolt.DB
}

// IsState tells whether a folder is a state folder.
func IsState(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, databaseFile))
	return err == nil
}

// Open opens a state folder, and creates it where there is none. It fails with [events.CodeUnavailable] if
// another process has it open.
func Open(folder string, queues []QueueSpec, subscriptions map[string][]string) (_ *Engine, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "the state folder %s cannot be created", folder)
	}
	db, err := bolt.Open(filepath.Join(folder, databaseFile))
	if err != nil {
		if events.ErrorCode(err) == events.CodeUnavailable {
			return nil, events.Wrap(err, events.CodeUnavailable, "the state folder %s is in use: another callboard runs on it; stop that one or choose another folder with --state", folder)
		}
		return nil, err
	}
	e := &Engine{folder: folder, db: db, Secrets: secrets.Dir(filepath.Join(folder, "secrets")), Buckets: foreign.Dir(filepath.Join(folder, "buckets"))}
	defer func() {
		if err == nil {
			return
		}
		if e.Blobs != nil {
			_ = e.Blobs.Close()
		}
		_ = db.Close()
	}()
	if err := e.removeTemporary(); err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "the state folder %s cannot be cleaned up", folder)
	}
	if e.Queues, err = OpenQueues(db, queues, subscriptions); err != nil {
		return nil, err
	}
	if e.Table, err = boltdb.New(db, time.Now); err != nil {
		return nil, err
	}
	if e.Blobs, err = blob.Open(filepath.Join(folder, "blobs")); err != nil {
		return nil, err
	}
	e.Queues.Bucket = e.Bucket()
	if e.Trace, err = OpenTrace(db); err != nil {
		return nil, err
	}
	return e, nil
}

// removeTemporary removes what a process that was killed left half written, and its address.
func (e *Engine) removeTemporary() error {
	return errors.Join(e.Secrets.RemoveUnfinished(), front.Retract(e.folder))
}

// Close writes what is left and closes the folder.
func (e *Engine) Close() error {
	e.Trace.Close()
	return errors.Join(e.Blobs.Close(), e.db.Close())
}

// Function is a function that the engine runs.
type Function struct {
	Name    string
	Handler Handler
	Timeout time.Duration
	// Routes are the paths of the requests it answers.
	Routes []string
	// Queues are the queues it is fed from.
	Queues []string
	// BatchSize and Concurrency are those of its event source mappings.
	BatchSize, Concurrency int
	// Schedule is how often it is invoked with Event, if it is.
	Schedule time.Duration
	Event    []byte
}

// Queue is what the batch handler of a function may do with its queues.
func (e *Engine) Queue(deadLetter string) events.Queue { return control{e.Queues, deadLetter} }

// Server runs functions.
type Server struct {
	Engine    *Engine
	Functions []Function
	Observer  events.Observer
	// Local answers requests below /_local/; the engine checks their token.
	Local http.Handler
	// Sample answers requests below /_sample/; nil if there is no sample repository server.
	Sample http.Handler
	// Version is what /version says.
	Version string
	// URL is where the engine can be reached from this machine.
	URL string

	patience patience // zero means the default
}

// Serve runs the functions, answers HTTP on l and calls ready when it does. It goes on until ctx ends, then lets
// what is there finish as long as that takes a bounded time, and returns how many messages are left in which
// queue.
func (s *Server) Serve(ctx context.Context, l net.Listener, ready func()) (left map[string]int, err error) {
	running := front.NewRunning(s.URL)
	if err := front.Announce(s.Engine.folder, running); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	defer func() { _ = front.Retract(s.Engine.folder) }()

	// Three contexts end one after the other: no more requests, no more batches, no more time.
	polling, stopPolling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPolling()
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()

	var functions sync.WaitGroup
	for _, f := range s.Functions {
		s.start(polling, working, &functions, f)
	}

	functions.Go(func() { s.Engine.maintain(polling) })
	server := &http.Server{Handler: s.handler(running), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: requestTimeout, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	ready()
	select {
	case <-ctx.Done():
	case err = <-served:
	}

	p := cmp.Or(s.patience, defaultPatience)
	within(p.requests, func(c context.Context) {
		if server.Shutdown(c) != nil {
			_ = server.Close()
		}
	})
	within(p.queues, func(c context.Context) { _ = s.Drain(c) })
	stopPolling()
	stopped := make(chan struct{})
	go func() { functions.Wait(); close(stopped) }()
	if !ends(stopped, p.functions) {
		stopWorking()
		if !ends(stopped, p.stubborn) {
			slog.ErrorContext(ctx, "a function does not stop; it is left behind, and what it works on comes again")
		}
	}
	return s.left(), err
}

// left returns how many messages wait in which queue for a function.
func (s *Server) left() map[string]int {
	left := s.Engine.Queues.Depths()
	queues := s.queues()
	maps.DeleteFunc(left, func(name string, n int) bool { return n == 0 || !slices.Contains(queues, name) })
	return left
}

// Waiting returns how many messages wait for a function.
func (s *Server) Waiting() int {
	n := 0
	for _, waiting := range s.left() {
		n += waiting
	}
	return n
}

// Drain waits until no message waits for a function or is being handled, and until the trace of what was handled is on the
// disk: who kills the process after that loses nothing.
func (s *Server) Drain(ctx context.Context) error {
	if err := s.Engine.Queues.Drain(ctx, s.queues()); err != nil {
		return err
	}
	s.Engine.Trace.flush()
	return nil
}

func (s *Server) queues() []string {
	var names []string
	for _, f := range s.Functions {
		names = append(names, f.Queues...)
	}
	return names
}

// ends waits for a channel to be closed, and tells whether it was in time.
func ends(c <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

func within(d time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	f(ctx)
}

// start feeds a function from its queues and by its schedule.
func (s *Server) start(polling, working context.Context, functions *sync.WaitGroup, f Function) {
	for _, queue := range f.Queues {
		m := &mapping{
			queues: s.Engine.Queues, queue: queue, function: f.Name, handler: f.Handler, timeout: f.Timeout,
			batchSize: f.BatchSize, concurrency: f.Concurrency, observer: s.Observer,
		}
		functions.Go(func() { m.run(polling, working) })
	}
	if f.Schedule > 0 {
		functions.Go(func() { schedule(polling, working, f) })
	}
}

// schedule invokes a function now, for what the last process left behind, and then at its interval.
func schedule(polling, working context.Context, f Function) {
	for polling.Err() == nil {
		ctx, cancel := context.WithTimeout(working, f.Timeout)
		if _, err := invoke(ctx, f.Handler, f.Event); err != nil {
			slog.ErrorContext(ctx, "a scheduled invocation failed", "function", f.Name, "error", err)
		}
		cancel()
		sleep(polling, f.Schedule)
	}
}

// maintain deletes what has expired.
func (e *Engine) maintain(ctx context.Context) {
	for ctx.Err() == nil {
		if _, err := e.Table.Sweep(ctx); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "expired items cannot be deleted", "error", err)
		}
		if err := e.Trace.prune(ctx); err != nil {
			slog.ErrorContext(ctx, "old traces cannot be deleted", "error", err)
		}
		if err := e.sweepPayloads(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "old payloads cannot be deleted", "error", err)
		}
		sleep(ctx, time.Hour)
	}
}

func (s *Server) handler(running front.Running) http.Handler {
	g := &gateway{}
	for _, f := range s.Functions {
		for _, path := range f.Routes {
			g.routes = append(g.routes, Route{Path: path, Handler: f.Handler, Timeout: f.Timeout})
		}
	}
	return &front.Handler{Running: running, Version: s.Version, Local: s.Local, Sample: s.Sample, Gateway: g}
}

// FindHops reads the trace of an event in a folder that no engine has open.
func FindHops(folder, id string) ([]events.Hop, error) {
	if !IsState(folder) {
		return nil, events.Errorf(events.CodeNotFound, "there is no state in the folder %s", folder)
	}
	db, err := bolt.Open(filepath.Join(folder, databaseFile))
	if err != nil {
		return nil, err
	}
	hops, err := findHops(db, id)
	return hops, errors.Join(err, db.Close())
}
