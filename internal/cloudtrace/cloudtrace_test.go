package cloudtrace_test

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/internal/cloudtrace"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/pkg/events"
)

// groups are log groups. They answer as CloudWatch does, with a page of at most one line.
type groups map[string][]types.FilteredLogEvent

var quotedTerms = regexp.MustCompile(`^"[^"]+"( "[^"]+")*$`)

// FilterLogEvents implements cloudtrace.Client.
func (g groups) FilterLogEvents(_ context.Context, in *cloudwatchlogs.FilterLogEventsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.FilterLogEventsOutput, error) {
	if !quotedTerms.MatchString(*in.FilterPattern) || len(*in.FilterPattern) > 1024 {
		return nil, &types.InvalidParameterException{Message: in.FilterPattern}
	}
	lines, ok := g[*in.LogGroupName]
	if !ok {
		return nil, &types.ResourceNotFoundException{}
	}
	next := 0
	if in.NextToken != nil {
		next, _ = strconv.Atoi(*in.NextToken)
	}
	out := &cloudwatchlogs.FilterLogEventsOutput{}
	if next < len(lines) {
		out.NextToken = new(strconv.Itoa(next + 1))
		if line := lines[next]; *line.Timestamp >= *in.StartTime && matches(*in.FilterPattern, *line.Message) {
			out.Events = append(out.Events, line)
		}
	}
	return out, nil
}

func matches(pattern, line string) bool {
	for term := range strings.SplitSeq(strings.Trim(pattern, `"`), `" "`) {
		if !strings.Contains(line, term) {
			return false
		}
	}
	return true
}

// add logs a line at a time.
func (g groups) add(group string, at time.Time, line string) {
	g[group] = append(g[group], types.FilteredLogEvent{Timestamp: new(at.UnixMilli()), Message: &line})
}

var start = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func second(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }

// functions returns which functions an event went through.
func functions(t *testing.T, f *cloudtrace.Finder, id string, since time.Time) []string {
	t.Helper()
	hops, err := f.Find(t.Context(), id, since)
	if err != nil {
		t.Errorf("event %q: %v", id, err)
	}
	var names []string
	for _, h := range hops {
		names = append(names, h.Function)
	}
	return names
}

func TestFind(t *testing.T) {
	t.Parallel()
	g := groups{"empty": nil}
	hop := func(seconds int, format, group, id, function string, published ...string) {
		h := events.Hop{Time: second(seconds), Event: id, Function: function, Outcome: events.OutcomeOK}
		for _, p := range published {
			h.Notes = append(h.Notes, events.Note{Kind: events.NotePublished, Value: p})
		}
		g.add(group, second(seconds), logged(h, format))
	}
	hop(2, "JSON", "a", "t:1", "sync", "changed:1", "t:1") // it names itself: no endless walk
	hop(0, "text", "b", "t:1", "ingress")
	hop(3, "text", "b", "changed:1", "notify", "sent:1", "")
	hop(4, "JSON", "a", "sent:1", "mail")
	hop(0, "JSON", "a", "t:10", "longer")
	hop(0, "JSON", "a", "", "no event")
	hop(0, "JSON", "a", "q\"\\\u2028é z:1", "escaped")
	hop(1, "text", "b", "q\"\\\u2028é z:1", "escaped in text")
	hop(0, "text", "a", "\n", "no letter")
	long := strings.Repeat("x", 2000)
	hop(0, "text", "a", long+"1", "long")
	hop(0, "text", "a", long+"2", "as long")
	hop(0, "text", "a", strings.Repeat("y ", 2000), "many words")
	g.add("a", start, `{"message":"a hop could not be written","event":"t:1"}`)
	g.add("b", start, "panic: t:1 is no hop")
	f := &cloudtrace.Finder{Client: g, Groups: []string{"never-ran", "a", "empty", "b"}}
	for id, want := range map[string][]string{
		"t:1": {"ingress", "sync", "notify", "mail"}, "changed:1": {"notify", "mail"}, "t:10": {"longer"}, "t:": nil, "": nil,
		"unknown": nil, "q\"\\\u2028é z:1": {"escaped", "escaped in text"}, "\n": {"no letter"}, long + "1": {"long"},
		strings.Repeat("y ", 2000): {"many words"},
	} {
		if diff := cmp.Diff(want, functions(t, f, id, start)); diff != "" {
			t.Errorf("event %q (-want +got):\n%s", id, diff)
		}
	}
	if diff := cmp.Diff([]string{"sync", "notify", "mail"}, functions(t, f, "t:1", second(1))); diff != "" {
		t.Errorf("since a second later (-want +got):\n%s", diff)
	}
}

// Whoever asks the engine on one machine and whoever asks CloudWatch get the same answer.
func TestFind_AsTheEmbeddedEngine(t *testing.T) {
	t.Parallel()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "trace.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	trace, err := embedded.OpenTrace(db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trace.Close)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		id := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("%d:%d", run, rapid.IntRange(0, 4).Draw(t, "id")) })
		times := map[string]bool{}
		g := groups{"0": nil, "1": nil, "2": nil}
		for range rapid.IntRange(0, 12).Draw(t, "hops") {
			h := events.Hop{
				Event: id.Draw(t, "event"), Time: second(rapid.IntRange(0, 5).Draw(t, "second")),
				Function: rapid.SampledFrom([]string{"0", "1", "2"}).Draw(t, "function"), Outcome: events.OutcomeOK,
			}
			for _, p := range rapid.SliceOfN(id, 0, 2).Draw(t, "published") {
				h.Notes = append(h.Notes, events.Note{Kind: events.NotePublished, Value: p})
			}
			if once := h.Event + h.Time.String(); !times[once] { // the order of an event's hops at the same time is open
				times[once] = true
				g.add(h.Function, h.Time, logged(h, rapid.SampledFrom([]string{"JSON", "text"}).Draw(t, "format")))
				trace.Observe(context.Background(), h)
			}
		}
		event := fmt.Sprintf("%d:0", run)
		want, err := trace.Find(event)
		if err != nil {
			t.Fatal(err)
		}
		f := &cloudtrace.Finder{Client: g, Groups: []string{"0", "1", "2"}}
		got, err := f.Find(context.Background(), event, start)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Fatalf("%v (-embedded +CloudWatch):\n%s", err, diff)
		}
	})
}

func TestFind_NoGroups(t *testing.T) {
	t.Parallel()
	f := &cloudtrace.Finder{Client: groups{}, Groups: []string{"/aws/lambda/callboard-ingress", "/aws/lambda/callboard-router"}}
	_, err := f.Find(t.Context(), "t:1", start)
	if events.ErrorCode(err) != events.CodeNotFound || !strings.Contains(events.ErrorMessage(err), "/aws/lambda/callboard-ingress, /aws/lambda/callboard-router") {
		t.Errorf("%v, want an error that names the groups", err)
	}
}

// client answers every request in the same way.
type client func(ctx context.Context) error

// FilterLogEvents implements cloudtrace.Client.
func (c client) FilterLogEvents(ctx context.Context, _ *cloudwatchlogs.FilterLogEventsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.FilterLogEventsOutput, error) {
	return &cloudwatchlogs.FilterLogEventsOutput{}, c(ctx)
}

func TestFind_Refused(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct {
		code    events.Code
		message string
	}{
		"AccessDeniedException": {events.CodeForbidden, "logs:FilterLogEvents"},
		"ThrottlingException":   {events.CodeUnavailable, "the log group a cannot be searched"},
	} {
		f := &cloudtrace.Finder{Groups: []string{"a"}, Client: client(func(context.Context) error { return &smithy.GenericAPIError{Code: code} })}
		_, err := f.Find(t.Context(), "t:1", start)
		if events.ErrorCode(err) != want.code || !strings.Contains(events.ErrorMessage(err), want.message) || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// Groups are searched at the same time, but never more than a few.
func TestFind_Parallel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var running, most int
		add := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			running += n
			most = max(most, running)
		}
		f := &cloudtrace.Finder{Client: client(func(context.Context) error {
			add(1)
			defer add(-1)
			time.Sleep(time.Second) // which passes when all wait
			return nil
		})}
		for i := range 10 {
			f.Groups = append(f.Groups, strconv.Itoa(i))
		}
		if _, err := f.Find(t.Context(), "t:1", start); err != nil {
			t.Error(err)
		}
		if most != 4 {
			t.Errorf("%d searches at the same time, want 4", most)
		}
	})
}
