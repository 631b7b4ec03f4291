package embedded

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/pkg/events"
)

func openTrace(t *testing.T, db *bolt.DB) *Trace {
	t.Helper()
	trace, err := OpenTrace(db)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// functions returns which functions an event went through.
func functions(t *testing.T, trace *Trace, id string) []string {
	t.Helper()
	hops, err := trace.Find(id)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range hops {
		names = append(names, h.Function)
	}
	return names
}

func TestTrace_Find(t *testing.T) {
	t.Parallel()
	trace := openTrace(t, openDB(t, filepath.Join(t.TempDir(), "trace.db")))
	defer trace.Close()
	start := time.Now()
	hop := func(seconds int, id, function string, published ...string) {
		h := events.Hop{Time: start.Add(time.Duration(seconds) * time.Second), Event: id, Function: function}
		for _, p := range published {
			h.Notes = append(h.Notes, events.Note{Kind: events.NotePublished, Value: p})
		}
		trace.Observe(t.Context(), h)
	}
	hop(2, "t:1", "sync", "changed:1", "t:1") // it names itself: no endless walk
	hop(0, "t:1", "ingress")
	hop(3, "changed:1", "notify", "sent:1")
	hop(4, "sent:1", "mail")
	hop(1, "t:1", "same")
	hop(1, "t:1", "time")
	hop(0, "t:10", "prefix")
	hop(0, "t:", "shorter")
	hop(0, "", "no event")
	hop(0, "z", "zero")
	hop(0, "z\x00", "zero byte")
	hop(0, "z\x00\x00yyyyyyyyyyyyyyyyyyyy", "zero bytes")
	hop(0, strings.Repeat("x", 40_000), "cannot be stored")
	hop(0, "bad\xff", "not text \xff")
	hop(1, "last", "after the bad ones")
	for id, want := range map[string][]string{
		"t:1": {"ingress", "same", "time", "sync", "notify", "mail"}, "changed:1": {"notify", "mail"}, "t:10": {"prefix"}, "t:": {"shorter"},
		"t": nil, "": nil, "unknown": nil, "z": {"zero"}, "z\x00": {"zero byte"}, "bad\xff": {"not text \uFFFD"}, "last": {"after the bad ones"},
	} {
		if diff := cmp.Diff(want, functions(t, trace, id)); diff != "" {
			t.Errorf("event %q (-want +got):\n%s", id, diff)
		}
	}
}

// What was observed before a restart is there after it, and a file of hops is what is read where no engine runs.
func TestTrace_Restart(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	now := time.Now()
	for range 2 {
		db := openDB(t, filepath.Join(folder, databaseFile))
		trace := openTrace(t, db)
		trace.Observe(t.Context(), events.Hop{Time: now.Add(time.Nanosecond), Event: "t:1", Function: "f"})
		trace.Close()
		trace.Observe(t.Context(), events.Hop{Time: now, Event: "t:1", Function: "too late"})
		_ = db.Close()
		now = now.Add(time.Second)
	}
	hops, err := FindHops(folder, "t:1")
	if err != nil || len(hops) != 2 {
		t.Errorf("%d hops are found, want one of each process: %v", len(hops), err)
	}
	if _, err := FindHops(t.TempDir(), "t:1"); events.ErrorCode(err) != events.CodeNotFound {
		t.Errorf("a folder without state: %v", err)
	}
	openDB(t, filepath.Join(folder, databaseFile))
	if _, err := FindHops(folder, "t:1"); events.ErrorCode(err) != events.CodeUnavailable {
		t.Errorf("a folder that is in use: %v", err)
	}
}

// After a drain the trace is in the file, also where the process is killed right then.
func TestServer_DrainTrace(t *testing.T) {
	t.Parallel()
	e := openEngine(t, t.TempDir())
	s := &Server{Engine: e}
	for n := 1; n <= 20; n++ {
		e.Trace.Observe(t.Context(), events.Hop{Time: time.Now(), Event: "t:1", Function: "f"})
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if hops, err := findHops(e.db, "t:1"); err != nil || len(hops) != n {
			t.Fatalf("after a drain %d hops are in the file, want %d: %v", len(hops), n, err)
		}
	}
}

func TestTrace_Prune(t *testing.T) {
	t.Parallel()
	trace := openTrace(t, openDB(t, filepath.Join(t.TempDir(), "trace.db")))
	defer trace.Close()
	old, recent := time.Now().Add(-traceRetention-time.Hour), time.Now().Add(-traceRetention+time.Hour)
	for range 1200 {
		trace.Observe(t.Context(), events.Hop{Time: old, Event: "a", Function: "old"})
		trace.Observe(t.Context(), events.Hop{Time: old, Event: "z", Function: "old"})
	}
	trace.Observe(t.Context(), events.Hop{Time: recent, Event: "a", Function: "recent"})
	trace.Observe(t.Context(), events.Hop{Time: recent, Event: "m", Function: "recent"})
	if got := len(functions(t, trace, "z")); got != 1200 {
		t.Fatalf("%d hops are there, want 1200", got)
	}
	if err := trace.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][]string{"a": {"recent"}, "m": {"recent"}, "z": nil} {
		if diff := cmp.Diff(want, functions(t, trace, id)); diff != "" {
			t.Errorf("event %s (-want +got):\n%s", id, diff)
		}
	}
}
