// Package catalogsync is the function that keeps the catalog as the tracked branches are. An event about a
// repository is only a hint that something may have changed: what is in the catalog follows from the branch.
package catalogsync

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// Why events are dropped.
const (
	reasonTopic      = "the topic is not one that catalog-sync reads"
	reasonNoProvider = "no provider reads the repositories of the organization"
	reasonOtherRef   = "not the tracked branch"
	reasonBranchGone = "the branch was deleted"
	reasonGone       = "the repository was deleted"
	reasonThere      = "the repository is said to be deleted and is there"
	reasonNoBranch   = "the repository has no tracked branch yet"
	reasonOlder      = "another repository that had the name before was deleted"
)

// attempts is how often one event is tried before it rests: each time another sync of the repository was faster.
const attempts = 5

// Reader reads repositories of one host. Errors have the codes of [scm.GitHub].
type Reader interface {
	Exists(ctx context.Context, repo scm.Repository) (bool, error)
	Head(ctx context.Context, repo scm.Repository, branch string) (string, error)
	Compare(ctx context.Context, repo scm.Repository, base, head string) (scm.Comparison, error)
	Tree(ctx context.Context, repo scm.Repository, sha string) ([]string, error)
	File(ctx context.Context, repo scm.Repository, sha, path string) ([]byte, error)
}

// Handler is the subscriber of the topics <root>.push and <root>.repository.
type Handler struct {
	Providers []Provider
	Readers   map[string]Reader // by host
	Store     *catalogstore.Store
	Publisher events.Publisher
}

var _ events.Subscriber = (*Handler)(nil)

// OnEvent brings the catalog to where the branch is, and publishes what was announced about the repository.
func (h *Handler) OnEvent(ctx context.Context, e events.Event) error {
	hint, err := h.hint(e)
	if err != nil {
		return err
	}
	err = h.sync(ctx, hint)
	// What is in the outbox is safe there: if it cannot be published now, the next event or the sweep does it.
	if _, failed := h.publish(ctx, h.Store.Pending(ctx, catalogstore.Repository{Host: hint.repo.Host, Name: hint.repo.FullName()})); failed != nil {
		slog.WarnContext(ctx, "events about the catalog could not be published; they stay in the outbox",
			"event", e.ID, "repository", hint.repo.FullName(), "error", failed)
	}
	return err
}

// Sweep publishes whatever is in the outbox and returns how many events that were.
func (h *Handler) Sweep(ctx context.Context) (published int, err error) {
	return h.publish(ctx, h.Store.AllPending(ctx))
}

// sync tries until no other sync of the repository comes in between.
func (h *Handler) sync(ctx context.Context, hint hint) error {
	for range attempts {
		err := h.try(ctx, hint)
		if !errors.Is(err, table.ErrCondition) && !errors.Is(err, table.ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return err
		}
	}
	return events.Errorf(events.CodeConflict, "repository %s is being synchronised by others; it is tried again later", hint.repo.FullName())
}

// try reads what is stored, looks at the branch, and writes the difference on condition that what is stored has
// not changed.
func (h *Handler) try(ctx context.Context, hint hint) error {
	known, err := h.Store.Repository(ctx, hint.repo.Host, hint.repo.FullName())
	if err != nil {
		return err
	}
	reader, ok := h.Readers[hint.provider.Host]
	if !ok {
		return events.Errorf(events.CodeInternal, "there is no client for the host %s; add it to integrations.github", hint.provider.Host)
	}
	if hint.deleted {
		gone, err := isGone(ctx, reader, hint, known)
		if err != nil {
			return err
		}
		if gone {
			return h.remove(ctx, hint, known)
		}
		if hint.branch == "" {
			return events.Drop(reasonThere)
		}
	}
	seen, err := look(ctx, reader, hint, known)
	if err != nil || seen.unchanged {
		return err
	}
	change := catalogstore.Change{From: known, To: hint.repository(known, seen)}
	if !seen.tree && len(seen.paths) == 0 {
		return h.write(ctx, hint, change, nil)
	}
	if change.Snapshot, err = h.Store.Files(ctx, known); err != nil {
		return err
	}
	s := &scan{reader: reader, repo: hint.repo, provider: hint.provider, to: change.To, stored: change.Snapshot.Files}
	if err := s.run(ctx, seen); err != nil {
		return err
	}
	problems, err := h.plan(ctx, &change, s.files)
	if err != nil {
		return err
	}
	return h.write(ctx, hint, change, problems)
}

// settling is how long the API of a host may still show a repository after the event that says it was deleted.
const settling = time.Minute

// isGone tells whether a repository that is said to be deleted is. The event is only a hint: the type of an event is in
// a header that GitHub does not sign, so another event with the action "deleted" can be sent again as this one.
func isGone(ctx context.Context, reader Reader, hint hint, known catalogstore.Repository) (bool, error) {
	if known.Deleted || hint.isOlder(known) {
		return true, nil // nothing is removed
	}
	there, err := reader.Exists(ctx, hint.repo)
	if there && time.Since(hint.cause.Time) < settling {
		return false, events.Errorf(events.CodeUnavailable, "the repository %s is said to be deleted and is still there; it is looked at again", hint.repo.FullName())
	}
	return err == nil && !there, err
}

// remove takes everything of a repository out of the catalog and leaves a mark that it was there.
func (h *Handler) remove(ctx context.Context, hint hint, known catalogstore.Repository) error {
	if known.Deleted {
		return nil
	}
	if hint.isOlder(known) {
		return events.Drop(reasonOlder)
	}
	snapshot, err := h.Store.Files(ctx, known)
	if err != nil {
		return err
	}
	change := catalogstore.Change{From: known, Snapshot: snapshot, To: catalogstore.Repository{
		Host: hint.repo.Host, Name: hint.repo.FullName(), URL: hint.url, Provider: hint.provider.Name, Gone: cmp.Or(hint.id, known.ID), Deleted: true,
	}}
	files := map[string]*file{}
	for path, stored := range snapshot.Files {
		files[path] = &file{path: path, location: stored.Location, absent: true}
	}
	problems, err := h.plan(ctx, &change, files)
	if err != nil {
		return err
	}
	return h.write(ctx, hint, change, problems)
}

// isOlder tells whether the event is about a repository that had the name before the one that is known.
func (h hint) isOlder(known catalogstore.Repository) bool {
	if h.id == 0 {
		return false
	}
	if known.ID == 0 {
		return h.id == known.Gone
	}
	return h.id != known.ID
}

// repository is what is stored of the repository after a sync.
func (h hint) repository(known catalogstore.Repository, seen sight) catalogstore.Repository {
	r := catalogstore.Repository{
		Host: h.repo.Host, Name: h.repo.FullName(), URL: h.url, Provider: h.provider.Name, Branch: h.branch,
		Pattern: h.provider.CatalogPath, Head: seen.head, ID: known.ID, Gone: known.Gone,
	}
	// The letter case of the first sight stays, so that late events do not move all locations to and fro.
	if strings.EqualFold(known.URL, h.url) {
		r.Name, r.URL = known.Name, known.URL
	}
	// Only who knows the newest commit certainly speaks of the repository that has the name now.
	if seen.confirmed {
		if r.ID = h.id; r.Gone == r.ID {
			r.Gone = 0
		}
	}
	return r
}
