package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/enginelink"
	"github.com/callboard/callboard/internal/gobuild"
	"github.com/callboard/callboard/internal/lambdaruntime"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// webConcurrency is how many requests the processes of a function that answers HTTP work on at the same time.
const webConcurrency = 8

// programs are the functions that are not ours: they run in processes beside the engine, as they do in Lambda.
type programs struct {
	app      *app
	config   string // the path of the configuration
	folder   string // for what is built
	once     events.OnceStore
	runtimes []*lambdaruntime.Runtime
	links    []*http.Server
}

// handler builds the program of a function and starts it.
func (p *programs) handler(ctx context.Context, f topology.Function) (embedded.Handler, error) {
	folder, program := gobuild.Folder(p.config, f.Build), filepath.Join(p.folder, f.Name, "bootstrap")
	slog.InfoContext(ctx, "building a function", "function", f.Name, "folder", folder)
	if err := gobuild.Build(ctx, folder, program); err != nil {
		return nil, err
	}
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	config, err := filepath.Abs(p.config)
	if err != nil {
		return nil, err
	}
	url, token, err := p.link(ctx, f)
	if err != nil {
		return nil, err
	}
	environment := append(os.Environ(),
		enginelink.URL+"="+url, enginelink.Token+"="+token, "CALLBOARD_CONFIG="+config, "CALLBOARD_PREFIX="+p.app.conf.AWS.Prefix,
		enginelink.Bucket+"="+p.app.engine.Bucket().Name, "CALLBOARD_FUNCTION="+f.Name, "AWS_LAMBDA_FUNCTION_NAME="+f.AWSName,
	)
	for name, value := range f.Environment {
		environment = append(environment, name+"="+value)
	}
	concurrency := 0
	for _, q := range p.app.topo.Queues {
		if q.Function == f.Name {
			concurrency += q.MaxConcurrency
		}
	}
	if concurrency == 0 {
		concurrency = webConcurrency
	}
	runtime, err := lambdaruntime.Start(ctx, lambdaruntime.Program{
		Name: f.Name, Path: program, Environment: environment, Concurrency: concurrency, Logger: slog.With("function", f.Name),
	})
	if err != nil {
		return nil, err
	}
	p.runtimes = append(p.runtimes, runtime)
	return runtime, nil
}

// link lets the processes of a function use the engine.
func (p *programs) link(ctx context.Context, f topology.Function) (url, token string, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", events.Wrap(err, events.CodeUnavailable, "the engine cannot listen for the function %s", f.Name)
	}
	token = rand.Text()
	services := &services{app: p.app, function: f, Queue: p.app.engine.Queue(f.DeadLetter)}
	server := &http.Server{Handler: &enginelink.Handler{Services: services, Token: token}, ReadHeaderTimeout: 10 * time.Second}
	p.links = append(p.links, server)
	go func() { _ = server.Serve(l) }() // until close
	return "http://" + l.Addr().String(), token, nil
}

// close ends all processes.
func (p *programs) close() error {
	for _, r := range p.runtimes {
		r.Close()
	}
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// services are what a function may use of the engine: what its role allows it in AWS.
type services struct {
	events.Queue // for the queues that it reads

	app      *app
	function topology.Function
}

// Send implements [enginelink.Services].
func (s *services) Send(ctx context.Context, m events.Message) error {
	if s.function.Name != topology.Ingress {
		return events.Errorf(events.CodeForbidden, "only the ingress sends to the queue of accepted webhooks")
	}
	return ingestQueue{s.app.engine.Queues}.Send(ctx, m)
}

// Publish implements [events.Publisher].
func (s *services) Publish(ctx context.Context, es ...events.Event) error {
	for _, e := range es {
		if !s.function.MayPublish(e.Topic) {
			return events.Errorf(events.CodeForbidden, "the function %s may not publish to %q", s.function.Name, e.Topic)
		}
	}
	return s.app.engine.Queues.Publish(ctx, es...)
}

// Values implements [enginelink.Services].
func (s *services) Values(ctx context.Context, name string) ([]string, error) {
	if !slices.Contains(s.function.Secrets, name) {
		return nil, events.Errorf(events.CodeForbidden, "the function %s may not read the secret %q: add it to its \"secrets\"", s.function.Name, name)
	}
	return s.app.engine.Secrets.Values(ctx, name)
}

// Put implements [events.BlobStore]. Nothing that is there is written again: keys are random.
func (s *services) Put(ctx context.Context, key string, data []byte) error {
	if s.function.Name != topology.Ingress || !strings.HasPrefix(key, events.PayloadPrefix) {
		return events.Errorf(events.CodeForbidden, "the function %s may not store %q", s.function.Name, key)
	}
	return s.app.engine.Blobs.Put(ctx, key, data)
}

// Get implements [events.BlobStore].
func (s *services) Get(ctx context.Context, key string) ([]byte, error) {
	if s.function.Name == topology.Ingress || !strings.HasPrefix(key, events.PayloadPrefix) {
		return nil, events.Errorf(events.CodeForbidden, "the function %s may not read %q", s.function.Name, key)
	}
	return s.app.engine.Blobs.Get(ctx, key)
}

// Claim implements [events.OnceStore].
func (s *services) Claim(ctx context.Context, key string, lease time.Duration) (token string, err error) {
	if err := s.subscribes(); err != nil {
		return "", err
	}
	return s.app.programs.once.Claim(ctx, key, lease)
}

// Complete implements [events.OnceStore].
func (s *services) Complete(ctx context.Context, key string) error {
	if err := s.subscribes(); err != nil {
		return err
	}
	return s.app.programs.once.Complete(ctx, key)
}

// Release implements [events.OnceStore].
func (s *services) Release(ctx context.Context, key, token string) error {
	if err := s.subscribes(); err != nil {
		return err
	}
	return s.app.programs.once.Release(ctx, key, token)
}

// subscribes fails for a function that has no events to handle once.
func (s *services) subscribes() error {
	if len(s.function.Queues) == 0 {
		return events.Errorf(events.CodeForbidden, "the function %s reads no queue, and claims no events", s.function.Name)
	}
	return nil
}

// Observe implements [events.Observer].
func (s *services) Observe(ctx context.Context, h events.Hop) {
	h.Function = s.function.Name
	s.app.observer.Observe(ctx, h)
}
