package topology

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// String describes the topology for people, with a section for each kind of thing.
func (t *Topology) String() string {
	var text strings.Builder
	section(&text, "Topics", t.Topics, func(x Topic) []string { return []string{x.Name, x.AWSName} })
	section(&text, "Queues", t.Queues, queueColumns)
	section(&text, "Queues of others", t.Foreign, foreignColumns)
	section(&text, "Subscriptions", t.Subscriptions, func(s Subscription) []string {
		columns := []string{s.Topic, "→ " + s.Queue, "raw", "else " + s.DeadLetter}
		if s.WithoutClaimChecks {
			columns = append(columns, "without claim checks")
		}
		return columns
	})
	section(&text, "Functions", t.Functions, functionColumns)
	section(&text, "Routes", t.Routes, func(r Route) []string { return []string{r.Method, r.Path, "→ " + r.Function} })
	section(&text, "Schedules", t.Schedules, func(s Schedule) []string {
		return []string{s.Name, s.AWSName, "→ " + s.Function, "every " + duration(s.Every)}
	})
	return text.String()
}

// section writes a title and aligned rows, or nothing if there are none.
func section[T any](text *strings.Builder, title string, rows []T, columns func(T) []string) {
	if len(rows) == 0 {
		return
	}
	if text.Len() > 0 {
		text.WriteByte('\n')
	}
	text.WriteString(title + "\n")
	w := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, "  "+strings.Join(columns(row), "\t")) // a Builder takes everything
	}
	_ = w.Flush()
}

func queueColumns(q Queue) []string {
	kept := "kept " + duration(q.Retention)
	switch {
	case q.Export != "":
		return []string{
			q.Name, q.AWSName, "→ consumer " + q.Export, kept, "visible again after " + duration(q.VisibilityTimeout),
			fmt.Sprintf("after %d receives to %s", q.MaxReceiveCount, q.DeadLetter),
		}
	case q.Function == "":
		return []string{q.Name, q.AWSName, "dead letters", kept}
	}
	return []string{
		q.Name, q.AWSName, "→ " + q.Function, kept, "visible again after " + duration(q.VisibilityTimeout),
		fmt.Sprintf("%d at a time", q.BatchSize), fmt.Sprintf("concurrency %d", q.MaxConcurrency),
		fmt.Sprintf("after %d receives to %s", q.MaxReceiveCount, q.DeadLetter),
	}
}

func foreignColumns(q ForeignQueue) []string {
	how := fmt.Sprintf("concurrency %d", q.MaxConcurrency)
	if q.Poll != nil {
		how = "asked every " + q.Poll.Every.String()
	}
	return []string{q.Topic, q.ARN, "→ " + q.Function, how, "buckets " + cmp.Or(strings.Join(q.Buckets, ", "), "none")}
}

func functionColumns(f Function) []string {
	columns := []string{
		f.Name, f.AWSName, "timeout " + duration(f.Timeout),
		"reads " + cmp.Or(strings.Join(f.Queues, ", "), "HTTP"),
		"secrets " + cmp.Or(strings.Join(f.Secrets, ", "), "none"),
	}
	if f.Build != "" {
		columns = append(columns, "built from "+f.Build)
	}
	return columns
}

// duration writes whole days, minutes or seconds.
func duration(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
