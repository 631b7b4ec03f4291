package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

type devCommand struct {
	Config string `help:"The configuration." default:"events-config.json" placeholder:"FILE"`
	Addr   string `help:"The address to listen on; port 0 picks a free one." default:"127.0.0.1:8080"`
	State  string `help:"The folder for queues, tables, blobs and secrets." default:".callboard" placeholder:"DIR"`
	Log    string `help:"The format of the log: pretty or json." enum:"pretty,json" default:"pretty"`
	Sample string `help:"The sample repository server, in the place of every GitHub: on, off, or auto for on while no integration has a token." enum:"on,off,auto" default:"auto"`
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
	err = c.serve(ctx, s, a)
	return errors.Join(err, engine.Close())
}

func (c *devCommand) serve(ctx context.Context, s streams, a *app) error {
	conf, engine := a.conf, a.engine
	if err := generateSecrets(engine, conf); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "cannot listen on %s; choose another address with --addr", c.Addr)
	}
	url := "http://" + reachable(l.Addr())
	server := &embedded.Server{Engine: engine, Observer: a.observer, Version: version(), URL: url}
	routes := &localRoutes{trace: engine.Trace}
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
	server.Local = routes
	if server.Functions, err = a.functions(); err != nil {
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
	return !slices.ContainsFunc(conf.Integrations.GitHub, func(g config.GitHubIntegration) bool { return g.Token != "" })
}

// generateSecrets makes those secrets that are ours to make: what webhooks are signed with, and API tokens.
func generateSecrets(engine *embedded.Engine, conf *config.Config) error {
	for _, t := range conf.Topics {
		for _, name := range t.Secrets {
			if err := engine.Secrets.Generate(name); err != nil {
				return err
			}
		}
	}
	for _, t := range conf.API.Tokens {
		if err := engine.Secrets.Generate(t.Secret); err != nil {
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
	var b strings.Builder
	fmt.Fprintf(&b, "ready %s\n", url)
	flags := ""
	if c.State != ".callboard" {
		flags += " --state " + quote(c.State)
	}
	sendFlags := flags
	if c.Config != "events-config.json" {
		sendFlags += " --config " + quote(c.Config)
	}
	program := quote(os.Args[0])
	fmt.Fprintf(&b, "\nIn a second terminal, send the first webhook and look at what comes of it:\n\n")
	fmt.Fprintf(&b, "  id=$(%s send --wait %s%s)\n", program, c.firstWebhook(conf), sendFlags)
	if token, ok := readerToken(conf); ok {
		path := quote(filepath.Join(c.State, "secrets", token))
		fmt.Fprintf(&b, "  curl -H \"Authorization: Bearer $(cat %s)\" %s/catalog/entities/by-name/component/default/petstore\n", path, url)
		fmt.Fprintf(&b, "  curl -H \"Authorization: Bearer $(cat %s)\" %s/notifications\n", path, url)
	}
	fmt.Fprintf(&b, "  %s trace%s $id\n\n", program, flags)
	_, _ = io.WriteString(w, b.String())
}

// firstWebhook returns the arguments of a send that works: without the sample server GitHub's needs a file.
func (c *devCommand) firstWebhook(conf *config.Config) string {
	from := func(provider string) bool {
		for _, t := range conf.Topics {
			if t.From == provider {
				return true
			}
		}
		return false
	}
	switch {
	case c.sampleOn(conf) && from(config.FromGitHub):
		return "github push"
	case from(config.FromHMAC):
		return "hmac test"
	}
	return "github push --file PAYLOAD.json"
}

// quote makes one word of the shell of s.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("/._-+=:,@%", c)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// readerToken returns the name of a token with which a person can look at everything.
func readerToken(conf *config.Config) (string, bool) {
	for _, t := range conf.API.Tokens {
		if slices.Contains(t.May, "catalog.read") && slices.Contains(t.May, "notifications.read") && !strings.Contains(t.Secret, ":") {
			return t.Secret, true
		}
	}
	return "", false
}

func queueSpecs(t *topology.Topology) []embedded.QueueSpec {
	specs := make([]embedded.QueueSpec, len(t.Queues))
	for i, q := range t.Queues {
		specs[i] = embedded.QueueSpec{Name: q.Name, Visibility: q.VisibilityTimeout, MaxReceives: q.MaxReceiveCount, DeadLetter: q.DeadLetter}
	}
	return specs
}

func subscriptions(t *topology.Topology) map[string][]string {
	m := make(map[string][]string)
	for _, s := range t.Subscriptions {
		m[s.Topic] = append(m[s.Topic], s.Queue)
	}
	return m
}
