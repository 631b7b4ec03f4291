package catalogstore

import (
	"context"
	"fmt"
	"iter"
	"log/slog"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// Pending is an event in the outbox.
type Pending struct {
	Event events.Event
	key   table.Key
}

// outboxItem holds the event as it is published, in the order of the writes of its repository.
func outboxItem(r Repository, e events.Event) (table.Item, error) {
	m, err := events.Encode(e)
	if err != nil {
		return table.Item{}, err
	}
	attributes, err := json.Marshal(m.Attributes, json.Deterministic(true))
	if err != nil {
		return table.Item{}, err
	}
	pk, prefix := outboxPartition(r.Host, r.Name)
	return table.Item{
		Key:   table.Key{PK: pk, SK: prefix + fmt.Sprintf("%016x", r.Version) + "#" + e.ID},
		Attrs: table.Attrs{"body": m.Body, "attributes": string(attributes), "group": m.GroupID},
	}, nil
}

func pendingOf(item table.Item) (Pending, error) {
	a := attrs(item.Attrs)
	m := events.Message{Body: a.text("body"), GroupID: a.text("group")}
	if err := json.Unmarshal([]byte(a.text("attributes")), &m.Attributes); err != nil {
		return Pending{}, damaged(err, "an event of the outbox")
	}
	e, err := events.Decode(m)
	return Pending{Event: e, key: item.Key}, err
}

// Pending iterates over the events of a repository that are not known to be published, oldest first. It ends
// after the first error.
func (s *Store) Pending(ctx context.Context, r Repository) iter.Seq2[Pending, error] {
	pk, prefix := outboxPartition(r.Host, r.Name)
	return s.pending(ctx, table.Query{PK: pk, SKPrefix: prefix})
}

// AllPending iterates over the events of all repositories that are not known to be published. It ends after the
// first error.
func (s *Store) AllPending(ctx context.Context) iter.Seq2[Pending, error] {
	return func(yield func(Pending, error) bool) {
		for shard := range outboxShards {
			for p, err := range s.pending(ctx, table.Query{PK: outboxPK(shard)}) {
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
	}
}

func (s *Store) pending(ctx context.Context, q table.Query) iter.Seq2[Pending, error] {
	const pageSize = 10
	q.Limit = pageSize
	return func(yield func(Pending, error) bool) {
		for item, err := range table.All(ctx, s.table, q) {
			if err != nil {
				yield(Pending{}, err)
				return
			}
			p, err := pendingOf(item)
			if err != nil {
				// It must not keep the others from being published; an operator has to look at it.
				slog.ErrorContext(ctx, "an event of the outbox cannot be read and stays there", "item", item.SK, "error", err)
				continue
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// Published removes events from the outbox.
func (s *Store) Published(ctx context.Context, published ...Pending) error {
	keys := make([]table.Key, len(published))
	for i, p := range published {
		keys[i] = p.key
	}
	return s.table.BatchWrite(ctx, nil, keys)
}
