package catalogstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

const kindGroup = "group"

// Stored is what is stored of an entity besides its content.
type Stored struct {
	Ref      catalog.Ref
	UID      string // the same as long as the entity exists
	Hash     string // of its content; see [Hash]
	Path     string // the file that owns it
	Location string // web address of that file
	Owners   []catalog.Ref

	claim       string
	blob        string
	memberships []catalog.Membership // of an entity of the repository that was asked for
}

// In tells whether the entity belongs to a repository.
func (e *Stored) In(r Repository) bool {
	return strings.HasPrefix(e.claim, repositoryName(r.Host, r.Name)+"#")
}

// Hash identifies the content of an entity.
func Hash(e *catalog.Entity) (string, error) {
	_, hash, err := encode(e)
	return hash, err
}

// encode returns the stored form of an entity and its hash. What the store itself says is no part of it.
func encode(e *catalog.Entity) (data []byte, hash string, err error) {
	plain := *e
	plain.Metadata.UID, plain.Metadata.Etag, plain.Relations = "", "", nil
	data, err = json.Marshal(&plain)
	if err != nil {
		return nil, "", events.Wrap(err, events.CodeInternal, "the entity %s cannot be written as JSON", e.Ref())
	}
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:20]), nil
}

// claim names a file and its repository. Neither a host nor the name of a repository has a "#".
func claim(r Repository, path string) string { return repositoryName(r.Host, r.Name) + "#" + path }

// Stored returns what is stored of those entities that exist.
func (s *Store) Stored(ctx context.Context, r Repository, refs []catalog.Ref) (map[catalog.Ref]*Stored, error) {
	items, err := s.items(ctx, refs)
	if err != nil {
		return nil, err
	}
	found := make(map[catalog.Ref]*Stored, len(items))
	for ref, item := range items {
		a := attrs(item.Attrs)
		e := &Stored{
			Ref: ref, UID: a.text("uid"), Hash: a.text("hash"), Location: a.text("location"),
			claim: a.text("claim"), blob: a.text("blob"),
		}
		if parts := strings.SplitN(e.claim, "#", 3); len(parts) == 3 {
			e.Path = parts[2]
		}
		if e.Owners, err = splitRefs(a.text("owners")); err != nil {
			return nil, err
		}
		if e.In(r) && hasMemberships(ref) {
			content, err := s.decode(ctx, item)
			if err != nil {
				return nil, err
			}
			e.memberships = memberships(content)
		}
		found[ref] = e
	}
	return found, nil
}

func (s *Store) items(ctx context.Context, refs []catalog.Ref) (map[catalog.Ref]table.Item, error) {
	keys := make([]table.Key, 0, len(refs))
	of := make(map[table.Key]catalog.Ref, len(refs))
	for _, ref := range refs {
		key := entityKey(ref)
		if _, ok := of[key]; !ok {
			keys, of[key] = append(keys, key), ref
		}
	}
	found, err := s.table.BatchGet(ctx, keys)
	if err != nil {
		return nil, err
	}
	items := make(map[catalog.Ref]table.Item, len(found))
	for key, item := range found {
		items[of[key]] = item
	}
	return items, nil
}

// ByRefs returns entities in the order of refs, nil where there is none.
func (s *Store) ByRefs(ctx context.Context, refs []catalog.Ref) ([]*catalog.Entity, error) {
	items, err := s.items(ctx, refs)
	if err != nil {
		return nil, err
	}
	entities := make([]*catalog.Entity, len(refs))
	for i, ref := range refs {
		item, ok := items[ref]
		if !ok {
			continue
		}
		if entities[i], err = s.current(ctx, item); err != nil {
			return nil, err
		}
	}
	return entities, nil
}

// current returns the entity of an item. Where its blob was replaced since the item was read, the item is read
// again; an entity that was removed is nil.
func (s *Store) current(ctx context.Context, item table.Item) (*catalog.Entity, error) {
	const attempts = 4
	for attempt := 1; ; attempt++ {
		e, err := s.decode(ctx, item)
		if err == nil || attempt == attempts || events.ErrorCode(err) != events.CodeNotFound {
			return e, err
		}
		if item, err = s.table.Get(ctx, item.Key); errors.Is(err, table.ErrNotFound) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
}

func (s *Store) decode(ctx context.Context, item table.Item) (*catalog.Entity, error) {
	data, err := s.content(ctx, item)
	if err != nil {
		return nil, err
	}
	e := &catalog.Entity{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, damaged(err, "the entity "+item.SK)
	}
	e.Metadata.UID, e.Metadata.Etag = attrs(item.Attrs).text("uid"), attrs(item.Attrs).text("hash")
	return e, nil
}

// Query says which entities [Store.List] returns.
type Query struct {
	// Kinds are lower-case; nil means all.
	Kinds []string
	// Match selects by reference; nil selects all.
	Match func(catalog.Ref) bool
	// Offset is how many of the selected entities are passed over, Limit how many are returned at most, 0 for all.
	Offset, Limit int
}

// List iterates over entities in the order of their references. It ends after the first error.
func (s *Store) List(ctx context.Context, q Query) iter.Seq2[*catalog.Entity, error] {
	return func(yield func(*catalog.Entity, error) bool) {
		kinds, err := s.kindsOf(ctx, q.Kinds)
		if err != nil {
			yield(nil, err)
			return
		}
		passed, returned := 0, 0
		for _, kind := range kinds {
			for item, err := range s.ofKind(ctx, kind) {
				if err != nil {
					yield(nil, err)
					return
				}
				namespace, name, _ := strings.Cut(item.SK, "/")
				if q.Match != nil && !q.Match(catalog.Ref{Kind: kind, Namespace: namespace, Name: name}) {
					continue
				}
				if passed++; passed <= q.Offset {
					continue
				}
				e, err := s.current(ctx, item)
				if err == nil && e == nil {
					continue
				}
				if !yield(e, err) || err != nil {
					return
				}
				if returned++; returned == q.Limit {
					return
				}
			}
		}
	}
}

// kindsOf returns the wanted kinds, or all, in the order of references.
func (s *Store) kindsOf(ctx context.Context, wanted []string) ([]string, error) {
	kinds := slices.Clone(wanted)
	if wanted == nil {
		for item, err := range table.All(ctx, s.table, table.Query{PK: pkKinds}) {
			if err != nil {
				return nil, err
			}
			kinds = append(kinds, item.SK)
		}
	}
	slices.SortFunc(kinds, func(a, b string) int { return cmp.Compare(a+":", b+":") })
	return slices.Compact(kinds), nil
}

// ofKind merges the shards of a kind, each of which is sorted.
func (s *Store) ofKind(ctx context.Context, kind string) iter.Seq2[table.Item, error] {
	const pageSize = 100
	return func(yield func(table.Item, error) bool) {
		type head struct {
			item table.Item
			next func() (table.Item, error, bool)
		}
		var heads []*head
		// advance reads the next item of h; false when that is an error.
		advance := func(h *head) bool {
			item, err, ok := h.next()
			if err != nil {
				yield(table.Item{}, err)
				return false
			}
			if h.item = item; !ok {
				heads = slices.DeleteFunc(heads, func(other *head) bool { return other == h })
			}
			return true
		}
		for shard := range shards {
			next, stop := iter.Pull2(table.All(ctx, s.table, table.Query{PK: shardPK(kind, shard), Limit: pageSize}))
			defer stop()
			h := &head{next: next}
			heads = append(heads, h)
			if !advance(h) {
				return
			}
		}
		for len(heads) > 0 {
			first := slices.MinFunc(heads, func(a, b *head) int { return cmp.Compare(a.item.SK, b.item.SK) })
			if !yield(first.item, nil) || !advance(first) {
				return
			}
		}
	}
}

// registerKinds makes sure that lists know the kinds.
func (s *Store) registerKinds(ctx context.Context, kinds []string) error {
	for _, kind := range kinds {
		if _, known := s.kinds.Load(kind); known {
			continue
		}
		if err := s.table.Put(ctx, table.Item{Key: table.Key{PK: pkKinds, SK: kind}}); err != nil {
			return err
		}
		s.kinds.Store(kind, true)
	}
	return nil
}
