package eventstest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// RunOnceStore is the conformance suite of stores for [events.Once]. The store may be one that others use, too: every
// test has keys of its own.
func RunOnceStore(t *testing.T, open func(t *testing.T) events.OnceStore) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s events.OnceStore, key string)
	}{
		{"Claim", testClaim},
		{"OneOfMany", testOneOfMany},
		{"Release", testRelease},
		{"ReleaseOfAnother", testReleaseOfAnother},
		{"Complete", testComplete},
		{"CompleteLate", testCompleteLate},
		{"Expiry", testExpiry},
		{"LongKeys", testLongKeys},
		{"Cancelled", testCancelled},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t), t.Name()+time.Now().Format(time.RFC3339Nano))
		})
	}
}

// long is a lease that does not end while a test runs.
const long = time.Hour

func mustClaim(t *testing.T, s events.OnceStore, key string, lease time.Duration) (token string) {
	t.Helper()
	token, err := s.Claim(t.Context(), key, lease)
	if err != nil {
		t.Fatalf("a free key cannot be claimed: %v", err)
	}
	return token
}

// isTaken fails the test unless somebody else has the key, and returns until when.
func isTaken(t *testing.T, s events.OnceStore, key string) (until time.Time) {
	t.Helper()
	_, err := s.Claim(t.Context(), key, long)
	e, ok := errors.AsType[*events.Error](err)
	if !ok || e.Code != events.CodeRateLimited || e.RetryAt.IsZero() {
		t.Fatalf("the claim of a key that is taken: %v, want the code %q and a time", err, events.CodeRateLimited)
	}
	return e.RetryAt
}

func isDone(t *testing.T, s events.OnceStore, key string) {
	t.Helper()
	if _, err := s.Claim(t.Context(), key, long); !errors.Is(err, events.ErrDone) {
		t.Fatalf("the claim of a key that is completed: %v, want ErrDone", err)
	}
}

func testClaim(t *testing.T, s events.OnceStore, key string) {
	before := time.Now()
	if token := mustClaim(t, s, key, long); token == "" {
		t.Error("the token is empty")
	}
	if until := isTaken(t, s, key); until.Before(before.Add(long-time.Second)) || until.After(time.Now().Add(long+2*time.Second)) {
		t.Errorf("the claim ends at %v, want an hour after %v", until, before)
	}
	mustClaim(t, s, key+"another", long)
}

func testOneOfMany(t *testing.T, s events.OnceStore, key string) {
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := s.Claim(t.Context(), key, long); err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have the same claim, want one", won.Load())
	}
}

func testRelease(t *testing.T, s events.OnceStore, key string) {
	token := mustClaim(t, s, key, long)
	for range 2 { // the second finds nothing
		if err := s.Release(t.Context(), key, token); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	if again := mustClaim(t, s, key, long); again == token {
		t.Error("two claims have the same token")
	}
}

func testReleaseOfAnother(t *testing.T, s events.OnceStore, key string) {
	old := mustClaim(t, s, key, long)
	if err := s.Release(t.Context(), key, old); err != nil {
		t.Fatal(err)
	}
	mustClaim(t, s, key, long)
	if err := s.Release(t.Context(), key, old); err != nil {
		t.Errorf("the release of a claim that somebody else has: %v", err)
	}
	isTaken(t, s, key)
}

func testComplete(t *testing.T, s events.OnceStore, key string) {
	token := mustClaim(t, s, key, long)
	for range 2 {
		if err := s.Complete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		isDone(t, s, key)
	}
	if err := s.Release(t.Context(), key, token); err != nil {
		t.Errorf("the release of completed work: %v", err)
	}
	isDone(t, s, key)
}

// Work that is completed by the one who has lost the claim meanwhile is done.
func testCompleteLate(t *testing.T, s events.OnceStore, key string) {
	first := mustClaim(t, s, key, long)
	if err := s.Release(t.Context(), key, first); err != nil {
		t.Fatal(err)
	}
	second := mustClaim(t, s, key, long)
	if err := s.Complete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context(), key, second); err != nil {
		t.Fatal(err)
	}
	isDone(t, s, key)
}

func testExpiry(t *testing.T, s events.OnceStore, key string) {
	const lease = time.Second
	before := time.Now()
	old := mustClaim(t, s, key, lease)
	for {
		_, err := s.Claim(t.Context(), key, long)
		if err == nil {
			break
		}
		e, ok := errors.AsType[*events.Error](err)
		if !ok || time.Since(before) > patience {
			t.Fatalf("the claim does not end: %v", err)
		}
		<-time.After(time.Until(e.RetryAt))
	}
	if took := time.Since(before); took < lease {
		t.Errorf("the claim ended after %v, want %v", took, lease)
	}
	if err := s.Release(t.Context(), key, old); err != nil {
		t.Errorf("the release of a claim that has ended: %v", err)
	}
	isTaken(t, s, key)
}

func testLongKeys(t *testing.T, s events.OnceStore, key string) {
	a, b := key+strings.Repeat("ä", 10_000)+"a", key+strings.Repeat("ä", 10_000)+"b"
	mustClaim(t, s, a, long)
	mustClaim(t, s, b, long)
	isTaken(t, s, a)
}

func testCancelled(t *testing.T, s events.OnceStore, key string) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Claim(ctx, key, long); err == nil {
		t.Error("a key was claimed although the context had ended")
	}
	mustClaim(t, s, key, long)
	if err := s.Complete(ctx, key); err == nil {
		t.Error("the work was completed although the context had ended")
	}
	isTaken(t, s, key)
}
