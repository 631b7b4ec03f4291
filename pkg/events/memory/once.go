package memory

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// OnceStore is an [events.OnceStore] for tests and for programs that may forget. The zero value is ready; what it
// holds is gone when the process ends, and nothing is before.
type OnceStore struct {
	mu     sync.Mutex
	claims int
	keys   map[string]once
}

var _ events.OnceStore = (*OnceStore)(nil)

// once is what is known of a key.
type once struct {
	done  bool
	token string
	until time.Time
}

// Claim implements [events.OnceStore].
func (s *OnceStore) Claim(ctx context.Context, key string, lease time.Duration) (token string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	found := s.keys[key]
	if found.done {
		return "", events.ErrDone
	}
	if found.until.After(now) {
		return "", &events.Error{Code: events.CodeRateLimited, Message: "the event is being handled already", RetryAt: found.until}
	}
	if s.keys == nil {
		s.keys = make(map[string]once)
	}
	s.claims++
	token = strconv.Itoa(s.claims)
	s.keys[key] = once{token: token, until: now.Add(lease)}
	return token, nil
}

// Complete implements [events.OnceStore].
func (s *OnceStore) Complete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = make(map[string]once)
	}
	s.keys[key] = once{done: true}
	return nil
}

// Release implements [events.OnceStore].
func (s *OnceStore) Release(ctx context.Context, key, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[key].token == token && !s.keys[key].done {
		delete(s.keys, key)
	}
	return nil
}
