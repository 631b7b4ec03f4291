package catalogsync

import (
	"context"

	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/pkg/events"
)

// maxCompared is how many files GitHub lists in a comparison; with so many there may be more.
const maxCompared = 300

// sight is where the branch is, and what has to be read to bring the catalog there.
type sight struct {
	head      string
	unchanged bool // the stored head is that of the branch
	// confirmed says that the event knows the newest commit of the branch.
	confirmed bool
	paths     map[string]bool // catalog files that differ from the stored head; true where one is said to be removed
	tree      bool            // nothing is known of the difference: all files have to be listed
}

// look finds out where the branch is. A push that continues the stored head and changes no catalog file is taken
// at its word; in every other case the branch is asked for.
func look(ctx context.Context, reader Reader, h hint, known catalogstore.Repository) (sight, error) {
	knownBranch := !known.Deleted && known.Head != "" && known.Branch == h.branch && known.Pattern == h.provider.CatalogPath
	continues := knownBranch && h.push != nil && h.push.complete && h.push.before == known.Head &&
		(known.ID == 0 || known.ID == h.id)
	if continues && len(h.push.paths) == 0 {
		return sight{head: h.push.after}, nil
	}
	head, err := reader.Head(ctx, h.repo, h.branch)
	if err != nil {
		return sight{}, h.headless(err, known)
	}
	seen := sight{head: head, confirmed: h.push != nil && h.push.after == head}
	switch {
	case knownBranch && head == known.Head:
		seen.unchanged = true
	case continues && seen.confirmed:
		seen.paths = h.push.paths
	case knownBranch:
		seen.paths, err = compare(ctx, reader, h, known.Head, head)
		seen.tree = seen.paths == nil
	default:
		seen.tree = true
	}
	return seen, err
}

// headless says what becomes of an event whose branch cannot be asked for. That removes nothing: a branch that is
// not there looks like one that the token may not see.
func (h hint) headless(err error, known catalogstore.Repository) error {
	if events.ErrorCode(err) != events.CodeNotFound {
		return err
	}
	switch {
	case h.push != nil && h.push.deleted:
		return events.Drop(reasonBranchGone)
	case known.Deleted:
		return events.Drop(reasonGone)
	case h.push == nil && known.Version == 0:
		return events.Drop(reasonNoBranch)
	default:
		return err
	}
}

// compare returns the catalog files that differ between two commits, or nil if that cannot be learned: GitHub
// compares from the merge base, lists a limited number of files, and may have lost the old commit.
func compare(ctx context.Context, reader Reader, h hint, base, head string) (map[string]bool, error) {
	c, err := reader.Compare(ctx, h.repo, base, head)
	if events.ErrorCode(err) == events.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if c.Status != scm.Ahead || len(c.Files) >= maxCompared {
		return nil, nil
	}
	paths := map[string]bool{}
	touch := func(path string, removed bool) {
		if h.provider.pattern.Match(path) {
			paths[path] = removed || paths[path]
		}
	}
	for _, f := range c.Files {
		touch(f.Path, f.Status == scm.Removed)
		if f.Previous != "" {
			touch(f.Previous, true)
		}
	}
	return paths, nil
}
