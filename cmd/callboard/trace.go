package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/awsclient/profile"
	"github.com/callboard/callboard/internal/cloudtrace"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

type traceCommand struct {
	Event string `arg:"" help:"The event id, as send printed it."`
	State string `help:"The state folder." default:".callboard" placeholder:"DIR"`
	URL   string `help:"The engine to ask, where it is not the one of the state folder." placeholder:"URL"`
	JSON  bool   `help:"Print the hops as JSON."`

	AWS    bool          `help:"Ask CloudWatch, where the functions of a deployment log."`
	Env    string        `help:"With --aws: the environment, as in \"cdk deploy -c env=NAME\"." placeholder:"NAME"`
	Config string        `help:"With --aws: the configuration that was deployed." default:"events-config.json" placeholder:"FILE"`
	Since  time.Duration `help:"With --aws: how far back to look." default:"24h" placeholder:"DURATION"`
}

// logsSince is how far back an event is looked for in CloudWatch if nobody says otherwise.
const logsSince = 24 * time.Hour

// Validate refuses options that make no sense or would have no effect.
func (c *traceCommand) Validate() error {
	if c.Since <= 0 {
		return events.Errorf(events.CodeInvalid, "--since is how far back to look, such as 24h")
	}
	if c.AWS && (c.State != defaultState || c.URL != "") {
		return events.Errorf(events.CodeInvalid, "--state and --url are for an engine; they cannot be used with --aws")
	}
	if !c.AWS && (c.Env != "" || c.Config != defaultConfig || c.Since != logsSince) {
		return events.Errorf(events.CodeInvalid, "--env, --config and --since are for --aws")
	}
	return nil
}

// Run prints the hops of an event. It asks the engine, or opens the folder where none runs, or asks CloudWatch.
func (c *traceCommand) Run(ctx context.Context, s streams) error {
	find := c.hops
	if c.AWS {
		find = c.loggedHops
	}
	hops, err := find(ctx)
	if err != nil {
		return err
	}
	if len(hops) == 0 {
		return events.Errorf(events.CodeNotFound, "event %s is not known", c.Event)
	}
	if c.JSON {
		data, err := json.Marshal(hops, jsontext.WithIndent("  "))
		_, _ = fmt.Fprintf(s.out, "%s\n", data)
		return err
	}
	printTrace(s.out, c.Event, hops)
	return nil
}

func (c *traceCommand) hops(ctx context.Context) ([]events.Hop, error) {
	engine, err := front.Find(ctx, c.State)
	if errNoEngine(err) && c.URL == "" {
		return embedded.FindHops(c.State, c.Event)
	}
	if err != nil {
		return nil, err
	}
	var hops []events.Hop
	err = local{engine: engine, url: c.URL}.call(ctx, http.MethodGet, "/trace?id="+url.QueryEscape(c.Event), nil, &hops)
	return hops, err
}

// loggedHops looks into the logs of a deployment. Nothing found is an error.
func (c *traceCommand) loggedHops(ctx context.Context) ([]events.Hop, error) {
	_, topo, err := loadDeployed(c.Config, c.Env)
	if err != nil {
		return nil, err
	}
	cfg, err := profile.Config(ctx)
	if err != nil {
		return nil, err
	}
	since := time.Now().Add(-c.Since)
	hops, err := logs(cfg, topo).Find(ctx, c.Event, since)
	if err != nil || len(hops) > 0 {
		return hops, err
	}
	return nil, events.Errorf(events.CodeNotFound, "event %s is not in the logs of %s in %s since %s; logs arrive within seconds, so try again, or look further back with --since",
		c.Event, topo.Prefix, cfg.Region, since.Format("2006-01-02 15:04:05 MST"))
}

// finder returns what finds the hops of an event in the logs of a deployment.
func finder(cfg aws.Config, topo *topology.Topology) func(ctx context.Context, id string) ([]events.Hop, error) {
	return func(ctx context.Context, id string) ([]events.Hop, error) {
		return logs(cfg, topo).Find(ctx, id, time.Now().Add(-logsSince))
	}
}

func logs(cfg aws.Config, topo *topology.Topology) *cloudtrace.Finder {
	groups := make([]string, len(topo.Functions))
	for i, f := range topo.Functions {
		groups[i] = f.LogGroup()
	}
	return cloudtrace.New(cfg, groups)
}

// printTrace shows the hops in the order of time and what came of them.
func printTrace(w io.Writer, id string, hops []events.Hop) {
	p := &prettyObserver{}
	_, _ = fmt.Fprintln(w, "event", oneLine(id))
	var entities, notifications, dead []string
	for _, h := range hops {
		_, _ = fmt.Fprintln(w, "  "+h.Time.Local().Format("15:04:05.000")+" "+strings.TrimRight(p.line(withoutNotes(h)), " "))
		for _, n := range h.Notes {
			switch value := oneLine(n.Value); n.Kind {
			case events.NoteEntity:
				entities = append(entities, value)
			case events.NoteNotification:
				notifications = append(notifications, value)
			default:
				_, _ = fmt.Fprintln(w, "              ", n.Kind, value)
			}
		}
		if h.Outcome == events.OutcomePark {
			dead = append(dead, h.Function+": "+oneLine(h.Reason))
		}
	}
	list := func(title string, lines []string) {
		if len(lines) > 0 {
			_, _ = fmt.Fprintln(w, title)
		}
		for _, l := range lines {
			_, _ = fmt.Fprintln(w, " ", l)
		}
	}
	list("entities (+ added, ~ changed, - removed)", entities)
	list("notifications", notifications)
	list("dead letters", dead)
}

func withoutNotes(h events.Hop) events.Hop {
	h.Notes = nil
	return h
}
