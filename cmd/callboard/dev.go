package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/exports"
	"github.com/callboard/callboard/internal/once"
	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

type devCommand struct {
	Config string `help:"The configuration." default:"events-config.json" placeholder:"FILE"`
	Addr   string `help:"The address to listen on; port 0 picks a free one." default:"127.0.0.1:8080"`
	State  string `help:"The folder for queues, tables, blobs and secrets." default:".callboard" placeholder:"DIR"`
	Log    string `help:"The format of the log: pretty or json." enum:"pretty,json" default:"pretty"`
	Sample string `help:"The sample repository server, in the place of every GitHub: on, off, or auto for on while no integration has a token or an App." enum:"on,off,auto" default:"auto"`
}

// Run runs Callboard until ctx ends.
func (c *devCommand) Run(ctx context.Context, s streams) error {
	conf, topo, compiled, err := load(c.Config)
	if err != nil {
		return err
	}
	log, logger := newLog(s.err, c.Log)
	slog.SetDefault(logger)

	engine, err := embedded.Open(c.State, queueSpecs(topo), subscriptions(topo))
	if err != nil {
		return err
	}
	a := &app{conf: conf, topo: topo, rules: compiled, engine: engine, observer: observers{engine.Trace, log}}
	engine.Queues.Limit, engine.Queues.OnClaimCheck = topo.Limit, exports.Watch(topo, a.observer)
	engine.Queues.OnGivenUp = exports.WatchGivenUp(topo, a.observer)
	err = c.serve(ctx, s, a)
	return errors.Join(err, engine.Close())
}

func (c *devCommand) serve(ctx context.Context, s streams, a *app) error {
	conf, engine := a.conf, a.engine
	if err := generateSecrets(engine, a.topo); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "cannot listen on %s; choose another address with --addr", c.Addr)
	}
	url := "http://" + reachable(l.Addr())
	server := &embedded.Server{Engine: engine, Observer: a.observer, Version: version(), URL: url}
	routes := &localRoutes{
		trace:  func(_ context.Context, id string) ([]events.Hop, error) { return engine.Trace.Find(id) },
		dead:   embeddedDesk(a.topo, engine),
		queues: &queuesOfOthers{topo: a.topo, reader: a.reader(), send: a.enqueue},
	}
	if c.sampleOn(conf) {
		repositories, err := sample.Open(filepath.Join(c.State, "sample.db"))
		if err != nil {
			return errors.Join(err, l.Close())
		}
		defer func() { _ = repositories.Close() }()
		server.Sample = repositories
		routes.hooks = newSampleHooks(repositories, conf)
		a.sampleURL = url + "/_sample"
	}
	routes.exports = &exportRoutes{a.topo, engine.Queues}
	server.Local = routes
	a.programs = &programs{app: a, config: c.Config, folder: filepath.Join(c.State, "functions"), once: once.NewAlone(engine.Table, time.Now)}
	defer func() { _ = a.programs.close() }()
	if server.Functions, err = a.functions(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	routes.drain = server.Drain
	if waiting := server.Waiting(); waiting > 0 {
		slog.InfoContext(ctx, "events that were left go on", "events", waiting)
	}

	left, err := server.Serve(ctx, l, func() { c.greet(s.out, conf, url) })
	for _, queue := range slices.Sorted(maps.Keys(left)) {
		_, _ = fmt.Fprintf(s.err, "%d events are left in queue %s; they go on at the next start\n", left[queue], queue)
	}
	return err
}

func (c *devCommand) sampleOn(conf *config.Config) bool {
	if c.Sample != "auto" {
		return c.Sample == "on"
	}
	return !slices.ContainsFunc(conf.Integrations.GitHub, func(g config.GitHubIntegration) bool { return g.Token != "" || g.Apps != nil })
}

// generateSecrets makes those secrets that are ours to make: what webhooks are signed with, and API tokens.
func generateSecrets(engine *embedded.Engine, topo *topology.Topology) error {
	for name, ours := range topo.Secrets() {
		if !ours {
			continue
		}
		if err := engine.Secrets.Generate(name); err != nil {
			return err
		}
	}
	return nil
}

// reachable returns an address at which a listener on all interfaces can be reached from this machine.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return fmt.Sprintf("localhost:%d", tcp.Port)
}

// greet prints that everything runs, and the commands for the first webhook.
func (c *devCommand) greet(w io.Writer, conf *config.Config, url string) {
	g := greeting{url: url, config: c.Config, state: c.State, first: firstWebhook(conf, c.sampleOn(conf)), trace: "trace"}
	if c.State != defaultState {
		g.trace += " --state " + quote(c.State)
	}
	g.write(w, conf)
}

func queueSpecs(t *topology.Topology) []embedded.QueueSpec {
	specs := make([]embedded.QueueSpec, len(t.Queues))
	for i, q := range t.Queues {
		specs[i] = embedded.QueueSpec{
			Name: q.Name, Visibility: q.VisibilityTimeout, MaxReceives: q.MaxReceiveCount, DeadLetter: q.DeadLetter,
			WithoutClaimChecks: withoutClaimChecks(t, q.Name),
		}
	}
	for _, q := range t.Foreign {
		specs = append(specs, embedded.QueueSpec{Name: q.Name, Visibility: foreignVisibility})
	}
	return specs
}

// withoutClaimChecks tells whether a queue gets events, but no claim checks.
func withoutClaimChecks(t *topology.Topology, queue string) bool {
	return slices.ContainsFunc(t.Subscriptions, func(s topology.Subscription) bool { return s.Queue == queue && s.WithoutClaimChecks })
}

func subscriptions(t *topology.Topology) map[string][]string {
	m := make(map[string][]string)
	for _, s := range t.Subscriptions {
		m[s.Topic] = append(m[s.Topic], s.Queue)
	}
	return m
}
