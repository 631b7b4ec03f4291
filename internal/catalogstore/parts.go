package catalogstore

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// cutter puts steps into parts as long as they fit.
type cutter struct {
	change Change
	files  map[string]*fileState
	parts  []Part

	// Of the part that is being filled:
	part      Part
	paths     map[string]bool // files whose items it writes
	lists     map[string]int  // bytes of the lists in its events, by location
	fileEvent int             // events about files
	bytes     int             // of the operations
}

// fileState is a file as it is after the steps so far. Its item always lists what is stored.
type fileState struct {
	file  File // without Owned
	owned map[catalog.Ref]bool
	gone  bool
	bytes int // more than its item has
}

func (c *cutter) file(path string) *fileState {
	if f, ok := c.files[path]; ok {
		return f
	}
	f := &fileState{file: File{Path: path}, owned: map[catalog.Ref]bool{}}
	if stored, ok := c.change.Snapshot.Files[path]; ok {
		f.file = stored
		for _, ref := range stored.Owned {
			f.owned[ref] = true
		}
	}
	for ref := range f.owned {
		f.bytes += refSize(ref)
	}
	f.measure(f.file)
	c.files[path] = f
	return f
}

// measure adds what the item needs at most for the meta data of the file.
func (f *fileState) measure(file File) {
	const rest = 512 // keys of attributes, hashes
	f.bytes += rest + 3*len(file.Path) + len(file.Location)
	for _, ref := range file.Shadowed {
		f.bytes += refSize(ref)
	}
}

func refSize(ref catalog.Ref) int { return len(ref.Kind) + len(ref.Namespace) + len(ref.Name) + 3 }

// listSize is more than what one entity needs in the JSON of an event.
func (w EntityWrite) listSize() int {
	size := 4*refSize(w.Ref) + 16
	for _, owner := range w.Owners() {
		size += 2*refSize(owner) + 8
	}
	return size
}

func (c *cutter) begin() {
	version := c.change.From.Version + int64(len(c.parts)) + 1
	c.part = Part{Version: version, blobs: map[string][]byte{}}
	c.paths, c.lists, c.fileEvent, c.bytes = map[string]bool{}, map[string]int{}, 0, 0
}

// touched are the files whose items a step changes.
func (s step) touched() []string {
	switch {
	case s.file != nil:
		return []string{s.file.Path}
	case s.entity == nil || s.entity.Action == Repaired:
		return nil
	case s.entity.Before != nil && s.entity.Before.Path != s.entity.Path:
		return []string{s.entity.Path, s.entity.Before.Path}
	default:
		return []string{s.entity.Path}
	}
}

func (s step) bytes() int {
	size := 0
	for _, op := range s.ops {
		size += len(op.Key.PK) + len(op.Key.SK) + op.Item.Size()
	}
	return size
}

// fits tells whether the part that is being filled has room for a step.
func (c *cutter) fits(s step) bool {
	paths := maps.Clone(c.paths)
	for _, path := range s.touched() {
		paths[path] = true
	}
	lists, list := len(c.lists), 0
	if s.entity != nil && s.entity.Announced {
		if _, ok := c.lists[s.entity.Location]; !ok {
			lists++
		}
		list = c.lists[s.entity.Location] + s.entity.listSize()
	}
	fileEvents := c.fileEvent
	if s.file != nil && s.file.Announced {
		fileEvents++
	}
	ops := 1 + len(c.part.ops) + len(s.ops) + len(paths) + lists + fileEvents
	bytes := c.bytes + s.bytes() + lists*maxListEvent + fileEvents*MaxFileEvent
	for path := range paths {
		bytes += c.file(path).bytes
		if s.entity != nil {
			bytes += refSize(s.entity.Ref)
		}
	}
	return ops <= table.MaxOps && bytes <= maxBytes && list <= maxListEvent
}

// add takes a step into the part, or into a new one.
func (c *cutter) add(s step) error {
	if s.begins || !c.fits(s) {
		if err := c.end(false); err != nil {
			return err
		}
		c.begin()
	}
	c.part.ops = append(c.part.ops, s.ops...)
	c.part.garbage = append(c.part.garbage, s.garbage...)
	maps.Copy(c.part.blobs, s.blobs)
	c.bytes += s.bytes()
	for _, path := range s.touched() {
		c.paths[path] = true
	}
	if s.entity != nil {
		c.write(*s.entity)
	}
	if s.file != nil {
		c.finish(*s.file)
	}
	return nil
}

func (c *cutter) write(w EntityWrite) {
	c.part.Entities = append(c.part.Entities, w)
	if w.Announced {
		c.lists[w.Location] += w.listSize()
	}
	if w.Action == Repaired {
		return
	}
	if w.Before != nil {
		f := c.file(w.Before.Path)
		delete(f.owned, w.Ref)
	}
	if f := c.file(w.Path); w.Action != Removed {
		f.owned[w.Ref] = true
		f.file.Location = cmp.Or(f.file.Location, w.Location)
		f.bytes += refSize(w.Ref)
	}
}

func (c *cutter) finish(w FileWrite) {
	c.part.Files = append(c.part.Files, w)
	if w.Announced {
		c.fileEvent++
	}
	f := c.file(w.Path)
	if w.After == nil {
		f.gone = true
		return
	}
	f.file = *w.After
	f.measure(f.file)
}

// end closes the part that is being filled.
func (c *cutter) end(last bool) error {
	r := c.change.To
	if !last {
		// Whoever finds it so has to read everything. It is also not yet known to be another repository.
		r.Head, r.Deleted, r.ID, r.Gone = "", c.change.From.Deleted, c.change.From.ID, c.change.From.Gone
	}
	r.Host, r.Name = cmp.Or(r.Host, c.change.From.Host), cmp.Or(r.Name, c.change.From.Name)
	r.Version = c.part.Version
	read := c.change.From
	read.Version = 0
	if r.Version > 1 {
		read.Version = r.Version - 1
	}
	c.part.repository = r
	c.part.ops = append(c.part.ops, table.PutOp(r.item(), read.condition()))
	for _, path := range slices.Sorted(maps.Keys(c.paths)) {
		op, err := c.fileOp(path)
		if err != nil {
			return err
		}
		c.part.ops = append(c.part.ops, op)
	}
	c.parts = append(c.parts, c.part)
	return nil
}

func (c *cutter) fileOp(path string) (table.Op, error) {
	f := c.file(path)
	if f.gone && len(f.owned) == 0 {
		return table.DeleteOp(fileKey(c.change.From, path)), nil
	}
	file := f.file
	file.Owned = slices.Collect(maps.Keys(f.owned))
	SortRefs(file.Owned)
	item, err := file.item(c.change.From)
	if err != nil {
		return table.Op{}, err
	}
	return table.PutOp(item), nil
}

// Commit writes a part together with the events about it, which then are in the outbox. Where the repository or an
// entity is not as it was read, or is being written by somebody else, the error is [table.ErrCondition] or
// [table.ErrConflict] and nothing was written.
func (s *Store) Commit(ctx context.Context, p Part, announcements ...events.Event) error {
	ops := slices.Clone(p.ops)
	for _, e := range announcements {
		item, err := outboxItem(p.repository, e)
		if err != nil {
			return err
		}
		ops = append(ops, table.PutOp(item))
	}
	var kinds []string
	for _, w := range p.Entities {
		if w.Action == Added {
			kinds = append(kinds, w.Ref.Kind)
		}
	}
	if err := s.registerKinds(ctx, kinds); err != nil {
		return err
	}
	for key, data := range p.blobs {
		if err := s.blobs.Put(ctx, key, data); err != nil {
			return err
		}
	}
	err := s.table.Transact(ctx, ops...)
	if errors.Is(err, table.ErrCondition) || errors.Is(err, table.ErrConflict) {
		for key := range p.blobs {
			s.deleteBlob(ctx, key)
		}
	}
	if err != nil {
		return err // what is stored is not known; the blobs may be in use
	}
	for _, key := range p.garbage {
		s.deleteBlob(ctx, key)
	}
	return nil
}

func compareKeys(a, b table.Key) int { return cmp.Or(cmp.Compare(a.PK, b.PK), cmp.Compare(a.SK, b.SK)) }
