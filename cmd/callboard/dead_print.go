package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/pkg/events"
)

func printJSON(w io.Writer, v any) error {
	data, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}

// columns writes rows in columns that are separated by two spaces.
func columns(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// moment is a time as every output shows it; one that is not known is "-".
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// word is what may come from outside as a column of a table; "-" for nothing.
func word(s string) string { return cmp.Or(oneLine(s), "-") }

func printQueues(w io.Writer, queues []deadletter.Queue) error {
	rows := [][]string{{"QUEUE", "LETTERS", "OLDEST"}}
	for _, q := range queues {
		oldest := moment(q.Oldest)
		if q.Looked < q.Letters {
			oldest += fmt.Sprintf(" (of %d)", q.Looked)
		}
		rows = append(rows, []string{word(q.Name), fmt.Sprint(q.Letters), oldest})
	}
	return columns(w, rows)
}

func printLetters(w io.Writer, letters []deadletter.Letter) error {
	rows := [][]string{{"TIME", "QUEUE", "ID", "EVENT", "TOPIC", "FUNCTION", "RECEIVES", "REASON"}}
	for _, l := range letters {
		rows = append(rows, []string{
			moment(l.Time), word(l.Queue), word(l.ID), word(l.Event), word(l.Topic), word(l.Function), fmt.Sprint(l.Receives), word(l.Reason),
		})
	}
	return columns(w, rows)
}

// printLetter shows all of a letter.
func printLetter(w io.Writer, l deadletter.Letter, full bool) {
	rows := [][]string{
		{"id", word(l.ID)},
		{"queue", word(l.Queue)},
		{"event", word(l.Event)},
		{"topic", word(l.Topic)},
		{"reason", word(l.Reason)},
		{"function", word(l.Function)},
		{"time", moment(l.Time)},
		{"receives", fmt.Sprint(l.Receives)},
		{"group", word(l.Group)},
		{"replay to", cmp.Or(oneLine(strings.Join(l.To, ", ")), "nobody knows: "+oneLine(l.Unknown))},
	}
	if l.Error != "" {
		rows = append(rows, []string{"error", oneLine(l.Error)})
	}
	_ = columns(w, rows)
	_, _ = fmt.Fprintln(w, "attributes")
	for _, name := range slices.Sorted(maps.Keys(l.Attributes)) {
		a := l.Attributes[name]
		value := oneLine(a.StringValue)
		if a.BinaryValue != nil {
			value = fmt.Sprintf("%d bytes", len(a.BinaryValue))
		}
		_, _ = fmt.Fprintf(w, "  %s (%s) %s\n", oneLine(name), oneLine(a.DataType), value)
	}
	_, _ = fmt.Fprintf(w, "body (%d bytes)\n", l.Bytes)
	body := l.Body
	if !full {
		body = clipped(body)
	}
	_, _ = fmt.Fprintln(w, readable(body))
	if len(body) < len(l.Body) {
		_, _ = fmt.Fprintln(w, "… --full prints all of it")
	}
}

// maxBody is how many bytes of a body are shown if nobody wants all of them.
const maxBody = 2000

// clipped is the beginning of a long text; no character is cut in two.
func clipped(s string) string {
	if len(s) <= maxBody {
		return s
	}
	n := maxBody
	for n > 0 && s[n]&0xC0 == 0x80 { // inside a character of UTF-8
		n--
	}
	return s[:n]
}

// readable is a text of several lines without anything that moves the cursor or colours a terminal.
func readable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' || unicode.IsGraphic(c) {
			return c
		}
		if c == '\r' {
			return -1
		}
		return unicode.ReplacementChar
	}, s)
}

// printResult says what became of each letter. Its error says that something is left to do.
func printResult(s streams, r deadletter.Result, asJSON bool, done string) error {
	if len(r.Letters) == 0 {
		return errNoLetter
	}
	failed := 0
	for _, l := range r.Letters {
		if l.Error != "" {
			failed++
		}
	}
	if asJSON {
		if err := printJSON(s.out, r); err != nil {
			return err
		}
	} else {
		for _, l := range r.Letters {
			_, _ = fmt.Fprintln(s.out, outcome(l, r.Done, done))
		}
	}
	if r.More {
		_, _ = fmt.Fprintln(s.err, "there are more letters that fit; run it again for some more")
	}
	switch {
	case !r.Done:
		return events.Errorf(events.CodeConflict, "nothing was done: add --yes if these %d letters should be %s", len(r.Letters), done)
	case failed > 0:
		return events.Errorf(events.CodeUnavailable, "%d of %d letters are still in their queues", failed, len(r.Letters))
	}
	return nil
}

// outcome is the line that says what became of a letter, or would.
func outcome(l deadletter.Letter, isDone bool, done string) string {
	line := word(l.ID) + " " + word(l.Event)
	if done == "replayed" && len(l.To) > 0 {
		done += " to " + oneLine(strings.Join(l.To, ", "))
	}
	switch {
	case l.Error != "":
		return line + " is left: " + oneLine(l.Error)
	case isDone:
		return line + " " + done
	}
	return line + " would be " + done
}
