package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/pkg/events"
)

type traceCommand struct {
	Event string `arg:"" help:"The event id, as send printed it."`
	State string `help:"The state folder." default:".callboard" placeholder:"DIR"`
	URL   string `help:"The engine to ask, where it is not the one of the state folder." placeholder:"URL"`
	JSON  bool   `help:"Print the hops as JSON."`
}

// Run prints the hops of an event. It asks the engine, or opens the folder where none runs.
func (c *traceCommand) Run(ctx context.Context, s streams) error {
	hops, err := c.hops(ctx)
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
	engine, err := embedded.Find(ctx, c.State)
	if errNoEngine(err) && c.URL == "" {
		return embedded.FindHops(c.State, c.Event)
	}
	if err != nil {
		return nil, err
	}
	var hops []events.Hop
	err = local{engine, c.URL}.call(ctx, http.MethodGet, "/trace?id="+url.QueryEscape(c.Event), nil, &hops)
	return hops, err
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
