package catalogsync

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// plan fills in what has to be written so that the catalog has what files define, and returns what is to be
// announced as wrong with each. An entity that several files define belongs to the first of them in the order of
// their paths, which depends on the branch alone and not on how it came to be what it is. An entity of another
// repository stays there.
func (h *Handler) plan(ctx context.Context, c *catalogstore.Change, files map[string]*file) (map[string][]problem, error) {
	p := &planner{change: c, files: files, shadowed: map[string][]catalog.Ref{}}
	var err error
	if p.stored, err = h.Store.Stored(ctx, c.From, p.refs()); err != nil {
		return nil, err
	}
	for _, ref := range slices.SortedFunc(maps.Keys(p.claims), compareRefs) {
		if err := p.entity(ref); err != nil {
			return nil, err
		}
	}
	problems := map[string][]problem{}
	for _, path := range p.paths() {
		if err := p.file(files[path], problems); err != nil {
			return nil, err
		}
	}
	return problems, nil
}

type planner struct {
	change   *catalogstore.Change
	files    map[string]*file
	claims   map[catalog.Ref][]*file // who defines or holds an entity, by path
	stored   map[catalog.Ref]*catalogstore.Stored
	shadowed map[string][]catalog.Ref // by path of the file that lost
}

func (p *planner) paths() []string { return slices.Sorted(maps.Keys(p.files)) }

// refs collects the entities that the files have or had to do with, and who claims them. It returns them with the
// generated Locations.
func (p *planner) refs() []catalog.Ref {
	p.claims = map[catalog.Ref][]*file{}
	var locations []catalog.Ref
	for _, path := range p.paths() {
		f := p.files[path]
		for _, ref := range p.change.Snapshot.Files[path].Owned {
			if isGenerated(ref) {
				locations = append(locations, ref)
				continue
			}
			claims := p.claims[ref]
			if f.holds(ref) {
				claims = append(claims, f)
			}
			p.claims[ref] = claims
		}
		for ref := range f.defined {
			p.claims[ref] = append(p.claims[ref], f)
		}
		if !f.absent {
			locations = append(locations, f.generated().Ref())
		}
	}
	return append(slices.Collect(maps.Keys(p.claims)), locations...)
}

// entity decides who owns an entity and what that changes.
func (p *planner) entity(ref catalog.Ref) error {
	before := p.stored[ref]
	if before != nil && !before.In(p.change.From) {
		for _, f := range p.claims[ref] {
			p.lose(f, ref, before.Location)
		}
		return nil
	}
	var owner *file
	for _, f := range p.claims[ref] {
		_, defined := f.defined[ref]
		switch {
		case owner != nil:
			p.lose(f, ref, owner.location)
		case defined || before != nil && before.Path == f.path:
			owner = f
		}
	}
	switch {
	case owner != nil && owner.holds(ref):
		p.keep(ref, before)
	case owner != nil:
		return p.put(ref, before, owner, owner.defined[ref].Entity, true)
	case before != nil:
		p.remove(before, true)
	}
	return nil
}

// lose notes that another file owns what f defines.
func (p *planner) lose(f *file, ref catalog.Ref, owner string) {
	d, ok := f.defined[ref]
	if !ok {
		return
	}
	p.shadowed[f.path] = append(p.shadowed[f.path], ref)
	f.problems = append(f.problems, problem{
		Document: d.Index, Line: d.Line, Ref: ref,
		Message: events.Errorf(events.CodeConflict, "%s is already defined by %s; remove one of the two", ref, owner).Message,
	})
}

func (p *planner) put(ref catalog.Ref, before *catalogstore.Stored, owner *file, e *catalog.Entity, announced bool) error {
	w := catalogstore.EntityWrite{
		Action: catalogstore.Added, Ref: ref, Path: owner.path, Location: owner.location,
		Before: before, Entity: e, Announced: announced,
	}
	if before != nil {
		hash, err := catalogstore.Hash(e)
		if err != nil {
			return err
		}
		if hash == before.Hash && owner.path == before.Path {
			p.keep(ref, before)
			return nil
		}
		w.Action = catalogstore.Changed
	}
	p.change.Entities = append(p.change.Entities, w)
	return nil
}

// keep leaves an entity as it is.
func (p *planner) keep(ref catalog.Ref, before *catalogstore.Stored) {
	if p.change.Snapshot.Unfinished(ref) {
		p.change.Entities = append(p.change.Entities, catalogstore.EntityWrite{
			Action: catalogstore.Repaired, Ref: ref, Path: before.Path, Location: before.Location, Before: before,
		})
	}
}

func (p *planner) remove(before *catalogstore.Stored, announced bool) {
	p.change.Entities = append(p.change.Entities, catalogstore.EntityWrite{
		Action: catalogstore.Removed, Ref: before.Ref, Path: before.Path, Location: before.Location, Before: before, Announced: announced,
	})
}

// file decides what is stored of a file, its generated Location included.
func (p *planner) file(f *file, problems map[string][]problem) error {
	stored, known := p.change.Snapshot.Files[f.path]
	var location catalog.Ref
	if !f.absent {
		e := f.generated()
		location = e.Ref()
		if before := p.stored[location]; before == nil || before.In(p.change.From) {
			if err := p.put(location, before, f, e, false); err != nil {
				return err
			}
		}
	}
	for _, ref := range stored.Owned {
		if before := p.stored[ref]; isGenerated(ref) && ref != location && before != nil && before.In(p.change.From) {
			p.remove(before, false)
		}
	}
	if f.absent {
		if known {
			p.change.Files = append(p.change.Files, catalogstore.FileWrite{Path: f.path})
		}
		return nil
	}

	after := catalogstore.File{Path: f.path, Location: f.location, Head: p.change.To.Head, Shadowed: p.shadowed[f.path]}
	catalogstore.SortRefs(after.Shadowed)
	var err error
	if after.Report, err = f.report(); err != nil {
		return err
	}
	if known && after.Report == stored.Report && after.Location == stored.Location && slices.Equal(after.Shadowed, stored.Shadowed) {
		return nil
	}
	w := catalogstore.FileWrite{Path: f.path, After: &after, Announced: after.Report != ""}
	if w.Announced {
		problems[f.path] = f.problems
	}
	p.change.Files = append(p.change.Files, w)
	return nil
}

// generated is the Location of the file.
func (f *file) generated() *catalog.Entity {
	return catalog.LocationFor(f.location, catalog.PresenceOptional)
}

// report identifies what is wrong with the file as it is, so that the same is not announced twice.
func (f *file) report() (string, error) {
	if len(f.problems) == 0 {
		return "", nil
	}
	slices.SortStableFunc(f.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.Document, b.Document), cmp.Compare(a.Line, b.Line), compareRefs(a.Ref, b.Ref))
	})
	data, err := json.Marshal(f.problems)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(data, f.sum...))
	return hex.EncodeToString(sum[:16]), nil
}

func compareRefs(a, b catalog.Ref) int { return cmp.Compare(a.String(), b.String()) }
