// Package catalogstore is the catalog's part of the one table.
//
// # Keys
//
//	PK                              SK                                item
//	repo#<host>#<owner/name>        repo                              a repository: branch, head, version, …
//	repo#<host>#<owner/name>        file#<path>                       a catalog file: the entities it owns or would like to own
//	repo#<host>#<owner/name>        index#<hash of ref>               a journal: index rows that are being changed in several parts
//	entity#<kind>#<shard>           <namespace>/<name>                an entity with its content, claim and owners
//	group#<group ref>               member#<ref>#<hash of source>     a user in a group, as the entity source says
//	group#<group ref>               child#<ref>#<hash of source>      a child group of a group, as the entity source says
//	kinds                           <kind>                            a kind of which there may be entities
//	outbox#<0 to f>                 <repository>#<version>#<event id> an event that is to be published
//
// Host and repository are lower-case. A path or reference that is too long for a sort key is replaced by its
// SHA-256.
//
// # Access patterns
//
//   - A sync reads one repository with one request; its files, when it needs them, with one query; the entities
//     that these files define with one batch. See [Store.Repository], [Store.Files] and [Store.Stored].
//   - A sync writes with [Store.Commit], in transactions on condition of the repository's version, which each
//     of them raises, so of two syncs of one repository one has to start again. Entities are written on condition
//     of their claim, the file that owns them, so no repository overwrites an entity of another.
//   - Readers ask for entities by reference ([Store.ByRefs]), for all of some kinds in the order of their references
//     ([Store.List] merges the shards), for the users of a group ([Store.Members]) and for owners ([Store.Owners]).
//   - What is in the outbox is read by repository ([Store.Pending]) or as a whole ([Store.AllPending]).
//
// # At DynamoDB's limits
//
//   - An item has at most 400 KB. The content of an entity is compressed; above 300 KB it is a blob of its own under
//     a key that is never used again, so a reader sees the old content or the new one. The old blob is deleted after
//     the transaction. A crash in between leaves a blob that nobody refers to, never a reference to no blob.
//   - A transaction has at most 100 operations and 4 MB. [Parts] cuts a change by both. Until the last part is
//     written the repository has no head, so whoever comes after a crash lists the tree and compares all files. An
//     entity whose index rows do not fit in one transaction keeps a journal of them until all are written.
//   - A partition takes 1,000 writes a second. The entities of a kind are spread over 8 partitions and the outbox
//     over 16; everything else is spread by repository or group. A group of which many users change at the same
//     time is the one place that remains.
//   - A page of a query has at most 1 MB. Lists are read page by page and never held as a whole.
package catalogstore

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// Blobs keeps what is too large for an item. Get of an absent blob is [events.CodeNotFound]; Delete of one is no
// error.
type Blobs interface {
	Put(ctx context.Context, key string, data []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
}

// Store reads and writes the catalog. It may be used by many goroutines at once.
type Store struct {
	table table.Table
	blobs Blobs
	kinds sync.Map // those that are known to be registered
}

// New returns the catalog in a table and a blob store.
func New(t table.Table, b Blobs) *Store { return &Store{table: t, blobs: b} }

// Repository is what is known of a repository. The zero Version means that nothing is stored.
type Repository struct {
	Host     string // lower-case
	Name     string // "owner/name" as the provider writes it; compared without case
	URL      string // web address, without a slash at its end
	Provider string
	Branch   string // the branch that was read
	Pattern  string // the catalogPath that was in force
	// Head is the commit that the stored files are those of; "" where that is not known, because nothing was read
	// yet or a change is written in part.
	Head string
	// ID is the id that the provider gave to the repository, 0 where it is not known.
	ID int64
	// Gone is the ID of the repository that had the name before and was deleted, or 0.
	Gone int64
	// Deleted says that the repository was deleted.
	Deleted bool
	// Version is raised by every write.
	Version int64
}

// File is a catalog file as it is stored.
type File struct {
	Path     string
	Location string        // web address of the file
	Head     string        // the commit at which it last changed something
	Owned    []catalog.Ref // entities that it defines, sorted
	Shadowed []catalog.Ref // entities that it defines too, but which another file owns, sorted
	Report   string        // identifies the errors that were announced; "" for none
}

// Snapshot is what is stored of the files of a repository.
type Snapshot struct {
	Files    map[string]File // by path
	journals map[catalog.Ref]journal
}

// Unfinished tells whether the index rows of an entity may be wrong because a write was interrupted.
func (s Snapshot) Unfinished(ref catalog.Ref) bool {
	_, ok := s.journals[ref]
	return ok
}

// Repository returns what is known of a repository.
func (s *Store) Repository(ctx context.Context, host, name string) (Repository, error) {
	item, err := s.table.Get(ctx, repositoryKey(host, name))
	if errors.Is(err, table.ErrNotFound) {
		return Repository{Host: host, Name: name}, nil
	}
	if err != nil {
		return Repository{}, err
	}
	a := attrs(item.Attrs)
	return Repository{
		Host: a.text("host"), Name: a.text("name"), URL: a.text("url"), Provider: a.text("provider"),
		Branch: a.text("branch"), Pattern: a.text("pattern"), Head: a.text("head"),
		ID: a.number("id"), Gone: a.number("gone"), Deleted: a.flag("deleted"), Version: a.number("version"),
	}, nil
}

func (r Repository) item() table.Item {
	return table.Item{Key: repositoryKey(r.Host, r.Name), Attrs: table.Attrs{
		"host": r.Host, "name": r.Name, "url": r.URL, "provider": r.Provider, "branch": r.Branch, "pattern": r.Pattern,
		"head": r.Head, "id": r.ID, "gone": r.Gone, "deleted": r.Deleted, "version": r.Version,
	}}
}

// condition holds as long as the repository is as it was read.
func (r Repository) condition() table.Condition {
	if r.Version == 0 {
		return table.NotExists()
	}
	return table.Equal("version", r.Version)
}

// Files returns what is stored of the files of a repository.
func (s *Store) Files(ctx context.Context, r Repository) (Snapshot, error) {
	snapshot := Snapshot{Files: map[string]File{}, journals: map[catalog.Ref]journal{}}
	pk := repositoryKey(r.Host, r.Name).PK
	for item, err := range table.All(ctx, s.table, table.Query{PK: pk, SKPrefix: prefixFile}) {
		if err != nil {
			return Snapshot{}, err
		}
		f, err := fileOf(item)
		if err != nil {
			return Snapshot{}, err
		}
		snapshot.Files[f.Path] = f
	}
	if r.Head != "" {
		return snapshot, nil // nothing was interrupted
	}
	for item, err := range table.All(ctx, s.table, table.Query{PK: pk, SKPrefix: prefixJournal}) {
		if err != nil {
			return Snapshot{}, err
		}
		ref, j, err := s.journalOf(ctx, item)
		if err != nil {
			return Snapshot{}, err
		}
		snapshot.journals[ref] = j
	}
	return snapshot, nil
}

func fileOf(item table.Item) (File, error) {
	a := attrs(item.Attrs)
	f := File{Path: a.text("path"), Location: a.text("location"), Head: a.text("head"), Report: a.text("report")}
	var err error
	if f.Owned, err = unpackRefs(a.bytes("owned")); err == nil {
		f.Shadowed, err = unpackRefs(a.bytes("shadowed"))
	}
	return f, err
}

func (f File) item(r Repository) (table.Item, error) {
	owned, err := packRefs(f.Owned)
	if err != nil {
		return table.Item{}, err
	}
	shadowed, err := packRefs(f.Shadowed)
	if err != nil {
		return table.Item{}, err
	}
	return table.Item{Key: fileKey(r, f.Path), Attrs: table.Attrs{
		"path": f.Path, "location": f.Location, "head": f.Head, "report": f.Report, "owned": owned, "shadowed": shadowed,
	}}, nil
}

// deleteBlob removes a blob that nothing refers to. If that fails it stays for good, which costs a little space.
func (s *Store) deleteBlob(ctx context.Context, key string) {
	if err := s.blobs.Delete(ctx, key); err != nil {
		slog.WarnContext(ctx, "a blob that is no longer needed could not be deleted", "blob", key, "error", err)
	}
}

// damaged is an item that this package did not write.
func damaged(err error, what string) error {
	return events.Wrap(err, events.CodeInternal, "%s in the catalog's table cannot be read", what)
}
