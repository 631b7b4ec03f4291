package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/term"

	"github.com/callboard/callboard/pkg/events"
)

// observers tells several observers of a hop.
type observers []events.Observer

// Observe implements [events.Observer].
func (os observers) Observe(ctx context.Context, h events.Hop) {
	for _, o := range os {
		o.Observe(ctx, h)
	}
}

// newLog returns what writes hops, and the logger for everything else, in the format "pretty" or "json".
func newLog(w io.Writer, format string) (events.Observer, *slog.Logger) {
	if format == "json" {
		logger := slog.New(slog.NewJSONHandler(w, nil))
		return events.LogObserver{Logger: logger}, logger
	}
	shared := &lockedWriter{w: w}
	file, isFile := w.(*os.File)
	return &prettyObserver{w: shared, colours: isFile && term.IsTerminal(int(file.Fd()))},
		slog.New(slog.NewTextHandler(shared, nil))
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// prettyObserver writes a hop as a line for a person.
type prettyObserver struct {
	w       io.Writer
	colours bool
}

var outcomeColours = map[events.Outcome]string{
	events.OutcomeOK: "32", events.OutcomeDropped: "90", events.OutcomeRefused: "33",
	events.OutcomeRetry: "33", events.OutcomeDefer: "33", events.OutcomePark: "31",
}

// Observe implements [events.Observer].
func (p *prettyObserver) Observe(_ context.Context, h events.Hop) {
	_, _ = fmt.Fprintln(p.w, h.Time.Local().Format("15:04:05.000")+" "+p.line(h))
}

func (p *prettyObserver) line(h events.Hop) string {
	outcome := fmt.Sprintf("%-8s", h.Outcome)
	if p.colours {
		outcome = "\x1b[" + outcomeColours[h.Outcome] + "m" + outcome + "\x1b[0m"
	}
	line := fmt.Sprintf("%-44s %-14s %-18s %s %7.1f ms", oneLine(cmp.Or(h.Event, "-")), h.Function, oneLine(h.Topic), outcome, h.Milliseconds)
	if h.Attempt > 1 {
		line += fmt.Sprintf(" (attempt %d)", h.Attempt)
	}
	for _, n := range h.Notes {
		line += " " + n.Kind + " " + oneLine(n.Value)
	}
	if h.Reason != "" {
		line += "  " + oneLine(h.Reason)
	}
	return line
}

// maxText is how many characters of a text a line shows.
const maxText = 400

// oneLine keeps what may come from outside readable: nothing in it moves the cursor, colours a terminal or looks
// like a line of its own. What a panic says has its stack below.
func oneLine(s string) string {
	first, _, more := strings.Cut(s, "\n")
	runes := []rune(first)
	if len(runes) > maxText {
		runes, more = runes[:maxText], true
	}
	for i, c := range runes {
		if !unicode.IsGraphic(c) {
			runes[i] = unicode.ReplacementChar
		}
	}
	if more {
		return string(runes) + " …"
	}
	return string(runes)
}
