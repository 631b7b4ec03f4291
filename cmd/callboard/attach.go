package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/callboard/callboard/internal/awsclient/profile"
	"github.com/callboard/callboard/internal/awsstack"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

type attachCommand struct {
	Env    string `help:"The environment, as in \"cdk deploy -c env=NAME\"." placeholder:"NAME"`
	Config string `help:"The configuration that was deployed." default:"events-config.json" placeholder:"FILE"`
	Addr   string `help:"The address to listen on; port 0 picks a free one." default:"127.0.0.1:8080"`
	State  string `help:"The folder for the secrets of senders and the sample repositories (.callboard/aws-NAME, or .callboard/aws)." placeholder:"DIR"`
}

// Run answers for a deployed stack until ctx ends: it hands requests on to it, and lets the other commands work with
// it as with callboard dev.
func (c *attachCommand) Run(ctx context.Context, s streams) error {
	if c.State == "" {
		c.State = strings.TrimSuffix(defaultState+"/aws-"+c.Env, "-")
	}
	if err := c.take(ctx); err != nil {
		return err
	}
	conf, topo, err := loadDeployed(c.Config, c.Env)
	if err != nil {
		return err
	}
	cfg, err := profile.Config(ctx)
	if err != nil {
		return err
	}
	stack, err := awsstack.Find(ctx, cfg, topo)
	if err != nil {
		return err
	}
	gateway, err := stack.Gateway()
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "cannot listen on %s; choose another address with --addr", c.Addr)
	}
	defer func() { _ = os.RemoveAll(c.secrets()) }() // they belong to the stack
	if err := c.copySecrets(ctx, cfg, topo); err != nil {
		return errors.Join(err, l.Close())
	}
	h := &front.Handler{Running: front.NewRunning("http://" + reachable(l.Addr())), Version: version(), Gateway: gateway}
	routes := &localRoutes{trace: finder(cfg, topo), drain: stack.Drain, dead: deployedDesk(cfg, topo), queues: c.queues(cfg, conf, topo, stack)}
	routes.refresh = func(ctx context.Context) error { return c.copySecrets(ctx, cfg, topo) }
	h.Local = routes
	if readsSample(conf) {
		repositories, err := sample.Open(filepath.Join(c.State, "sample.db"))
		if err != nil {
			return errors.Join(err, l.Close())
		}
		defer func() { _ = repositories.Close() }()
		h.Sample, routes.hooks = repositories, newSampleHooks(repositories, conf)
	}
	if err := front.Announce(c.State, h.Running); err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { _ = front.Retract(c.State) }()
	return c.serve(ctx, s, conf, l, h)
}

func (c *attachCommand) serve(ctx context.Context, s streams, conf *config.Config, l net.Listener, h *front.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	g := greeting{url: h.Running.URL, config: c.Config, state: c.State, first: firstWebhook(conf, h.Sample != nil), trace: "trace --aws"}
	if c.Env != "" {
		g.trace += " --env " + quote(c.Env)
	}
	if c.Config != defaultConfig {
		g.trace += " --config " + quote(c.Config)
	}
	g.write(s.out, conf)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if server.Shutdown(stopping) != nil {
		return server.Close()
	}
	return nil
}

// take makes sure that the state folder is there and nobody else's: the secrets in it go at the end.
func (c *attachCommand) take(ctx context.Context) error {
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the state folder %s cannot be created", c.State)
	}
	if running, err := front.Find(ctx, c.State); err == nil {
		return events.Errorf(events.CodeUnavailable, "the state folder %s is in use by the callboard at %s: stop that one or choose another folder with --state", c.State, running.URL)
	}
	if embedded.IsState(c.State) {
		return events.Errorf(events.CodeInvalid, "the folder %s is the state of a callboard dev, with secrets of its own: choose another one with --state", c.State)
	}
	return nil
}

func (c *attachCommand) secrets() string { return filepath.Join(c.State, "secrets") }

// copySecrets puts what senders of webhooks and readers of the API need into the state folder, until the end.
func (c *attachCommand) copySecrets(ctx context.Context, cfg aws.Config, topo *topology.Topology) error {
	from := awssecrets.New(cfg, topo.Prefix, time.Now)
	to := secrets.Dir(c.secrets())
	for name, ours := range topo.Secrets() {
		if !ours || strings.Contains(name, ":") {
			continue // a reference has no name that a file could have
		}
		values, err := from.Values(ctx, name)
		if err != nil {
			return err
		}
		if err := to.Put(name, values); err != nil {
			return err
		}
	}
	return nil
}

// readsSample tells whether the deployed functions read repositories from here.
func readsSample(conf *config.Config) bool {
	return slices.ContainsFunc(conf.Integrations.GitHub, func(g config.GitHubIntegration) bool {
		return strings.HasSuffix(strings.TrimSuffix(g.APIBaseURL, "/"), "/_sample")
	})
}

// loadDeployed reads a configuration as it is deployed in an environment.
func loadDeployed(path, environment string) (*config.Config, *topology.Topology, error) {
	conf, err := config.Load(path)
	if err != nil {
		return nil, nil, err
	}
	conf.AWS.Prefix = conf.AWS.PrefixIn(environment)
	topo, err := topology.Build(conf)
	return conf, topo, err
}
