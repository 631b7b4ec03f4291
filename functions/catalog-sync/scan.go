package catalogsync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

const (
	// parallelReads stays far below the concurrency at which GitHub's secondary rate limits start.
	parallelReads = 6

	// maxOwners and maxMemberships are for one entity, so that an event and a sync of it are of a size that can be
	// handled.
	maxOwners      = 50
	maxMemberships = 10_000
	// maxEntities is for one file, those that are kept because a document is broken included.
	maxEntities = 2 * catalog.MaxDocuments
)

// errUnexplained is a file that is absent although nobody said that it was removed.
var errUnexplained = errors.New("a file is absent without a reason")

// file is a catalog file at the head of the branch.
type file struct {
	path     string
	location string // web address; of an absent file the one it had
	absent   bool
	sum      string // of its content

	defined  map[catalog.Ref]catalog.Document // what its good documents define
	broken   map[catalog.Ref]bool             // what its broken documents would define
	unknown  bool                             // a broken document does not say what it would define
	problems []problem
}

// problem is what is wrong with one document of a file.
type problem struct {
	Document int         `json:"document"` // number in the file, from 1
	Line     int         `json:"line"`     // of the file, from 1
	Ref      catalog.Ref `json:"ref,omitzero"`
	Message  string      `json:"message"`
}

// holds tells whether the file still has an entity that it owned although no good document defines it.
func (f *file) holds(ref catalog.Ref) bool {
	if _, ok := f.defined[ref]; ok || f.absent || isGenerated(ref) {
		return false
	}
	return f.unknown || f.broken[ref]
}

// scan reads the catalog files that may have changed.
type scan struct {
	reader   Reader
	repo     scm.Repository
	provider Provider
	to       catalogstore.Repository
	stored   map[string]catalogstore.File

	mu    sync.Mutex
	files map[string]*file // what was read, absent files included
}

// run reads what was seen to differ, and every file that has a part in an entity of those files. Where something
// does not fit together the tree decides.
func (s *scan) run(ctx context.Context, seen sight) error {
	if !seen.tree {
		err := s.some(ctx, seen.paths)
		if !errors.Is(err, errUnexplained) {
			return err
		}
	}
	return s.all(ctx)
}

// some reads the given files.
func (s *scan) some(ctx context.Context, paths map[string]bool) error {
	s.files = map[string]*file{}
	for len(paths) > 0 {
		err := s.read(ctx, paths, func(path string, removed bool) (*file, error) {
			if removed {
				return &file{path: path, location: s.stored[path].Location, absent: true}, nil
			}
			return nil, errUnexplained
		})
		if err != nil {
			return err
		}
		paths = s.related()
	}
	return nil
}

// all reads every catalog file of the tree. Stored files that are not in it are absent.
func (s *scan) all(ctx context.Context) error {
	s.files = map[string]*file{}
	tree, err := s.reader.Tree(ctx, s.repo, s.to.Head)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, path := range tree {
		if s.provider.pattern.Match(path) {
			listed[path] = false
		}
	}
	for path, stored := range s.stored {
		if _, ok := listed[path]; !ok {
			s.files[path] = &file{path: path, location: stored.Location, absent: true}
		}
	}
	return s.read(ctx, listed, func(path string, _ bool) (*file, error) {
		if strings.ContainsRune(path, '\uFFFD') {
			return s.unreadable(path, "the path is not UTF-8"), nil
		}
		return nil, events.Errorf(events.CodeUnavailable,
			"the tree of commit %s of repository %s lists %q, which is not found there", s.to.Head, s.repo.FullName(), path)
	})
}

// related returns the files that were not read and that own, or would like to own, an entity that the files that
// were read define or defined: only all of them together say who owns it.
func (s *scan) related() map[string]bool {
	concerned := map[catalog.Ref]bool{}
	for path, f := range s.files {
		for ref := range f.defined {
			concerned[ref] = true
		}
		for _, ref := range slices.Concat(s.stored[path].Owned, s.stored[path].Shadowed) {
			concerned[ref] = true
		}
	}
	related := map[string]bool{}
	for path, stored := range s.stored {
		if s.files[path] != nil {
			continue
		}
		for _, ref := range slices.Concat(stored.Owned, stored.Shadowed) {
			if concerned[ref] {
				related[path] = false
			}
		}
	}
	return related
}

// read reads files at the head. missing says what one that is not found means.
func (s *scan) read(ctx context.Context, paths map[string]bool, missing func(path string, removed bool) (*file, error)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for path, removed := range paths {
		group.Go(func() error {
			f, err := s.readOne(ctx, path)
			if events.ErrorCode(err) == events.CodeNotFound {
				f, err = missing(path, removed)
			}
			if err != nil {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.files[path] = f
			return nil
		})
	}
	return group.Wait()
}

func (s *scan) readOne(ctx context.Context, path string) (*file, error) {
	content, err := s.reader.File(ctx, s.repo, s.to.Head, path)
	switch events.ErrorCode(err) {
	case "":
		return s.parse(path, content), nil
	case events.CodeTooLarge, events.CodeInvalid:
		return s.unreadable(path, events.ErrorMessage(err)), nil
	default:
		return nil, err
	}
}

func (s *scan) location(path string) string { return s.to.URL + "/blob/" + s.to.Branch + "/" + path }

// unreadable is a file that is there and of which nothing is known.
func (s *scan) unreadable(path, why string) *file {
	return &file{path: path, location: s.location(path), unknown: true, problems: []problem{{Document: 1, Line: 1, Message: why}}}
}

func (s *scan) parse(path string, content []byte) *file {
	sum := sha256.Sum256(content)
	f := &file{
		path: path, location: s.location(path), sum: hex.EncodeToString(sum[:]),
		defined: map[catalog.Ref]catalog.Document{}, broken: map[catalog.Ref]bool{},
	}
	for _, d := range catalog.Parse(content) {
		if d.Err == nil {
			d.Err = check(d)
		}
		if d.Err == nil {
			s.annotate(path, d.Entity)
			f.defined[d.Ref] = d
			continue
		}
		if d.Ref == (catalog.Ref{}) {
			f.unknown = true
		}
		f.broken[d.Ref] = true
		f.problems = append(f.problems, problem{Document: d.Index, Line: d.Line, Ref: d.Ref, Message: events.ErrorMessage(d.Err)})
	}
	if held := s.held(f); len(f.defined)+held > maxEntities {
		f.problems = append(f.problems, problem{Document: 1, Line: 1, Message: fmt.Sprintf(
			"the file has %d entities and keeps %d of before, more than %d together; repair its broken documents first",
			len(f.defined), held, maxEntities,
		)})
		f.defined, f.unknown = nil, true
	}
	return f
}

// held counts what the file keeps because of broken documents.
func (s *scan) held(f *file) int {
	n := 0
	for _, ref := range s.stored[f.path].Owned {
		if f.holds(ref) {
			n++
		}
	}
	return n
}

// check says what is wrong with an entity for this catalog.
func check(d catalog.Document) error {
	switch {
	case isGenerated(d.Ref):
		return events.Errorf(events.CodeInvalid, "%s has a name that the catalog gives to the Locations it generates; choose another", d.Ref)
	case len(d.Entity.Owners()) > maxOwners:
		return events.Errorf(events.CodeInvalid, "%s has more than %d owners", d.Ref, maxOwners)
	case len(d.Entity.Memberships()) > maxMemberships:
		return events.Errorf(events.CodeInvalid, "%s has more than %d members, children or groups", d.Ref, maxMemberships)
	}
	return nil
}

// isGenerated tells whether the catalog itself makes entities of this name; see [catalog.LocationFor].
func isGenerated(ref catalog.Ref) bool {
	return ref.Kind == "location" && ref.Namespace == catalog.DefaultNamespace && strings.HasPrefix(ref.Name, "generated-")
}

// annotate says in the entity where it comes from, as Backstage does.
func (s *scan) annotate(file string, e *catalog.Entity) {
	annotations := maps.Clone(e.Metadata.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	folder := path.Dir(file) + "/"
	if folder == "./" {
		folder = ""
	}
	at := catalog.LocationRef{Type: "url", Target: s.location(file)}.String()
	annotations[catalog.AnnotationManagedByLocation] = at
	annotations[catalog.AnnotationManagedByOriginLocation] = at
	for name, value := range map[string]string{
		catalog.AnnotationViewURL:        s.location(file),
		catalog.AnnotationEditURL:        s.to.URL + "/edit/" + s.to.Branch + "/" + file,
		catalog.AnnotationSourceLocation: "url:" + s.to.URL + "/tree/" + s.to.Branch + "/" + folder,
	} {
		if _, ok := annotations[name]; !ok {
			annotations[name] = value
		}
	}
	e.Metadata.Annotations = annotations
}
