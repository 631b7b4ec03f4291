package once_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/once"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("many processes", func(t *testing.T) {
		t.Parallel()
		eventstest.RunOnceStore(t, func(t *testing.T) events.OnceStore { return once.New(boltdbtest.Open(t, time.Now), time.Now) })
	})
	t.Run("one process", func(t *testing.T) {
		t.Parallel()
		eventstest.RunOnceStore(t, func(t *testing.T) events.OnceStore { return once.NewAlone(boltdbtest.Open(t, time.Now), time.Now) })
	})
}

// clock is a clock that is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A done record outlives the longest redelivery, and the table removes nothing of it before.
func TestStore_Retention(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := once.New(boltdbtest.Open(t, c.Now), c.Now)
	if _, err := s.Claim(t.Context(), "k", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	const longest = 21 * 24 * time.Hour
	c.advance(longest)
	if _, err := s.Claim(t.Context(), "k", time.Minute); !errors.Is(err, events.ErrDone) {
		t.Errorf("after 21 days: %v, want ErrDone", err)
	}
	c.advance(once.Retention)
	if _, err := s.Claim(t.Context(), "k", time.Minute); err != nil {
		t.Errorf("the record is kept for ever: %v", err)
	}
}

// Where one process uses the table at a time, what a dead one had claimed is free at once, and what it completed is
// done. Where many do, the claim of another one holds.
func TestStore_AfterACrash(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		open func(table.Table, func() time.Time) *once.Store
		want events.Code
	}{
		"one process":    {once.NewAlone, ""},
		"many processes": {once.New, events.CodeRateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tab := boltdbtest.Open(t, time.Now)
			dead := test.open(tab, time.Now)
			token, err := dead.Claim(t.Context(), "claimed", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if err := dead.Complete(t.Context(), "completed"); err != nil {
				t.Fatal(err)
			}
			next := test.open(tab, time.Now)
			if _, err := next.Claim(t.Context(), "claimed", time.Hour); events.ErrorCode(err) != test.want {
				t.Errorf("the claim of the dead process: %v, want code %q", err, test.want)
			}
			if _, err := next.Claim(t.Context(), "claimed", time.Hour); events.ErrorCode(err) != events.CodeRateLimited {
				t.Errorf("a second claim: %v, want code %q", err, events.CodeRateLimited)
			}
			if _, err := next.Claim(t.Context(), "completed", time.Hour); !errors.Is(err, events.ErrDone) {
				t.Errorf("what the dead process completed: %v, want ErrDone", err)
			}
			if test.want == "" {
				if err := dead.Release(t.Context(), "claimed", token); err != nil {
					t.Error(err)
				}
				if _, err := next.Claim(t.Context(), "claimed", time.Hour); events.ErrorCode(err) != events.CodeRateLimited {
					t.Errorf("the dead process gave back what the next one has: %v", err)
				}
			}
		})
	}
}

// However claims, ends of leases, completions and releases follow each other, there are never two live claims of a
// key, what is done stays done, and what is not can be claimed in the end.
func TestStore_Model(t *testing.T) {
	t.Parallel()
	c := newClock()
	tab := boltdbtest.Open(t, c.Now)
	keys := 0
	rapid.Check(t, func(rt *rapid.T) {
		keys++
		key := time.Duration(keys).String()
		s := once.New(tab, c.Now)
		var holder string // the live claim
		var until time.Time
		var old []string
		done := false
		claim := func(rt *rapid.T) {
			lease := time.Duration(rapid.IntRange(1, 20).Draw(rt, "lease")) * time.Second
			token, err := s.Claim(t.Context(), key, lease)
			live := holder != "" && until.After(c.Now())
			switch {
			case done && !errors.Is(err, events.ErrDone):
				rt.Fatalf("a completed key: %v", err)
			case !done && live && events.ErrorCode(err) != events.CodeRateLimited:
				rt.Fatalf("a key with a live claim: %v", err)
			case !done && !live && err != nil:
				rt.Fatalf("a free key: %v", err)
			}
			if err == nil {
				old = append(old, holder)
				holder, until = token, c.Now().Add(lease)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"claim":   claim,
			"advance": func(rt *rapid.T) { c.advance(time.Duration(rapid.IntRange(1, 10).Draw(rt, "seconds")) * time.Second) },
			"release": func(rt *rapid.T) {
				if err := s.Release(t.Context(), key, holder); err != nil {
					rt.Fatal(err)
				}
				holder = ""
			},
			"release of an old claim": func(rt *rapid.T) {
				if len(old) == 0 {
					return
				}
				if err := s.Release(t.Context(), key, rapid.SampledFrom(old).Draw(rt, "token")); err != nil {
					rt.Fatal(err)
				}
			},
			"complete": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "luck") > 0 {
					return
				}
				if err := s.Complete(t.Context(), key); err != nil {
					rt.Fatal(err)
				}
				done = true
			},
		})
		c.advance(time.Minute)
		claim(rt)
	})
}
