// Package once keeps in the table what [events.Once] has claimed and completed.
//
// # Keys
//
//	PK                        SK      item
//	once#<SHA-256 of the key> once    a claim, which expires when its lease ends, or the record that the work was done
//
// A claim is a put on condition that there is no item, and the table takes an item for absent from the moment that it
// expires on, so a lease ends on time whenever the engine deletes the item. Each key is a partition of its own.
package once

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// Retention is how long it is remembered that work was done: longer than any redelivery. SQS keeps a message for up to
// 14 days, once more in a dead-letter queue counted from the first, and people deliver by hand what their provider
// still shows them.
const Retention = 30 * 24 * time.Hour

// attempts bounds how often a claim is tried that finds a key taken and, when it looks who has it, free.
const attempts = 3

const (
	attrKey     = "key" // for people
	attrToken   = "token"
	attrProcess = "process"
	attrDone    = "done"
)

// Store is an [events.OnceStore]. It may be used by many goroutines at once.
type Store struct {
	table   table.Table
	now     func() time.Time
	process string // "" unless no other process uses the table
}

var _ events.OnceStore = (*Store)(nil)

// New returns a store in a table that many processes use. now is the clock of the table.
func New(t table.Table, now func() time.Time) *Store { return &Store{table: t, now: now} }

// NewAlone returns a store in a table that one process uses at a time: what another one has claimed is free, since it
// has ended.
func NewAlone(t table.Table, now func() time.Time) *Store {
	return &Store{table: t, now: now, process: rand.Text()}
}

func itemKey(key string) table.Key {
	sum := sha256.Sum256([]byte(key))
	return table.Key{PK: "once#" + hex.EncodeToString(sum[:]), SK: "once"}
}

// Claim implements [events.OnceStore].
func (s *Store) Claim(ctx context.Context, key string, lease time.Duration) (token string, err error) {
	token = rand.Text()
	item := table.Item{
		Key:   itemKey(key),
		Attrs: table.Attrs{attrKey: shown(key), attrToken: token, attrProcess: s.process},
	}
	free := table.NotExists()
	for range attempts {
		item.Expires = s.now().Add(lease)
		err := s.table.Put(ctx, item, free)
		if err == nil {
			return token, nil
		}
		if !errors.Is(err, table.ErrCondition) {
			return "", err
		}
		found, err := s.table.Get(ctx, item.Key)
		if errors.Is(err, table.ErrNotFound) {
			free = table.NotExists()
			continue
		}
		if err != nil {
			return "", err
		}
		if _, done := found.Attrs[attrDone]; done {
			return "", events.ErrDone
		}
		if found.Attrs[attrToken] == token { // a put that a client made twice, because it did not hear of the first
			return token, nil
		}
		if found.Attrs[attrProcess] == s.process {
			return "", claimed(found.Expires)
		}
		free = table.Equal(attrToken, found.Attrs[attrToken]) // of a process that has ended
	}
	return "", events.Errorf(events.CodeUnavailable, "too many claim the same event at the same time")
}

// claimed is the error of a claim that somebody else has until then.
func claimed(until time.Time) error {
	return &events.Error{Code: events.CodeRateLimited, Message: "the event is being handled already; it is looked at again when that has ended", RetryAt: until}
}

// shown is as much of a key as people need to see.
func shown(key string) string {
	const enough = 1024
	return strings.ToValidUTF8(key[:min(len(key), enough)], "")
}

// Complete implements [events.OnceStore].
func (s *Store) Complete(ctx context.Context, key string) error {
	return s.table.Put(ctx, table.Item{
		Key: itemKey(key), Attrs: table.Attrs{attrKey: shown(key), attrDone: true}, Expires: s.now().Add(Retention),
	})
}

// Release implements [events.OnceStore].
func (s *Store) Release(ctx context.Context, key, token string) error {
	err := s.table.Delete(ctx, itemKey(key), table.Equal(attrToken, token))
	if errors.Is(err, table.ErrCondition) {
		return nil
	}
	return err
}
