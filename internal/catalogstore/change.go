package catalogstore

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/catalog"
)

// Action is what happens to an entity.
type Action int

// The actions.
const (
	Added    Action = iota + 1 // there was none
	Changed                    // another content, or another file that owns it
	Removed                    // no file defines it any more
	Repaired                   // as it is, but its index rows are written anew after an interruption
)

// EntityWrite is what happens to one entity.
type EntityWrite struct {
	Action Action
	Ref    catalog.Ref
	// Path and Location are of the file that owns the entity, or owned it where it is removed.
	Path, Location string
	Before         *Stored         // nil where it is added
	Entity         *catalog.Entity // where it is added or changed
	// Announced says that the caller of [Store.Commit] adds the entity to the event of its Location.
	Announced bool
}

// Owners are the owners of the entity, of a removed one those it had.
func (w EntityWrite) Owners() []catalog.Ref {
	if w.Entity != nil {
		return w.Entity.Owners()
	}
	return w.Before.Owners
}

// FileWrite is what happens to one file.
type FileWrite struct {
	Path string
	// After is the file as it shall be stored, nil where it is gone. Owned does not count: it follows from what
	// happens to the entities.
	After *File
	// Announced says that the caller of [Store.Commit] adds an event about the file, of at most [MaxFileEvent] bytes.
	Announced bool
}

// Change is what a sync makes of a repository.
type Change struct {
	From, To Repository // as it was read, and as it is when all is written; the version of To does not count
	Snapshot Snapshot
	Entities []EntityWrite
	Files    []FileWrite
}

// Limits of the events that are written together with a part, in bytes.
const (
	MaxFileEvent = 128 << 10
	// maxListEvent is for the lists of entities in the event about one location.
	maxListEvent = 160 << 10
)

const (
	// maxBytes is for one transaction; the rest of what DynamoDB takes is for what is only estimated.
	maxBytes = table.MaxTransaction * 3 / 4
	// maxIndexOps is the most index rows that are written together with their entity.
	maxIndexOps = 80
)

// Part is one transaction of a change.
type Part struct {
	Version  int64         // of the repository after it
	Entities []EntityWrite // that are written in it
	Files    []FileWrite   // that are finished in it

	repository Repository
	ops        []table.Op
	blobs      map[string][]byte // to be stored before
	garbage    []string          // blobs that nothing refers to after it
}

// step is what cannot be divided between two transactions.
type step struct {
	ops     []table.Op
	blobs   map[string][]byte
	garbage []string
	entity  *EntityWrite
	file    *FileWrite
	begins  bool // a part
}

// Parts cuts a change into transactions. There is at least one: the last stores the new head. They have to be
// committed in their order, and none after one that failed.
func Parts(c Change) ([]Part, error) {
	cut := &cutter{change: c, files: map[string]*fileState{}}
	byPath := map[string][]step{}
	for i := range c.Entities {
		steps, err := c.entitySteps(&c.Entities[i])
		if err != nil {
			return nil, err
		}
		byPath[c.Entities[i].Path] = append(byPath[c.Entities[i].Path], steps...)
	}
	for i, f := range c.Files {
		byPath[f.Path] = append(byPath[f.Path], step{file: &c.Files[i]})
	}
	cut.begin()
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		for _, s := range byPath[path] {
			if err := cut.add(s); err != nil {
				return nil, err
			}
		}
	}
	if err := cut.end(true); err != nil {
		return nil, err
	}
	return cut.parts, nil
}

// entitySteps writes an entity with its index rows. Where these are too many for one transaction, a journal of all
// rows that may exist is there from the first of them to the last; the claim of the entity outlasts it.
func (c Change) entitySteps(w *EntityWrite) ([]step, error) {
	first := step{entity: w, blobs: map[string][]byte{}}
	adds, deletes := c.indexOps(w)
	entityOp, err := c.entityOp(w, &first)
	if err != nil {
		return nil, err
	}
	old, interrupted := c.Snapshot.journals[w.Ref]
	key := journalKey(c.From, w.Ref)
	if rows := slices.Concat(adds, deletes); len(rows) > maxIndexOps {
		return chunked(c, w, first, entityOp, rows, old)
	}
	first.ops = slices.Concat(entityOp, adds, deletes)
	if interrupted {
		first.ops = append(first.ops, table.DeleteOp(key))
		first.garbage = appendKey(first.garbage, old.blob)
	}
	return []step{first}, nil
}

// chunked writes index rows between the step that writes the entity and a last one, or before the one that removes
// it.
func chunked(c Change, w *EntityWrite, main step, entityOp, rows []table.Op, old journal) ([]step, error) {
	keys := make([]table.Key, 0, len(rows)+len(old.keys))
	for _, op := range rows {
		keys = append(keys, op.Key)
	}
	for key := range indexOf(w.Ref, w.memberships()) {
		keys = append(keys, key) // those that stay as they are
	}
	keys = append(keys, old.keys...)
	slices.SortFunc(keys, compareKeys)
	item, body, err := newJournal(c.From, w.Ref, slices.Compact(keys))
	if err != nil {
		return nil, err
	}
	open := step{ops: []table.Op{table.PutOp(item)}, blobs: map[string][]byte{}, garbage: appendKey(nil, old.blob)}
	if body.blob != "" {
		open.blobs[body.blob] = body.data
	}
	done := step{ops: []table.Op{table.DeleteOp(item.Key)}, garbage: appendKey(nil, body.blob), begins: true}
	if w.Action == Removed {
		main.ops, main.begins = slices.Concat(done.ops, entityOp), true
		main.garbage = append(main.garbage, done.garbage...)
		done = main
	} else {
		open.ops = append(open.ops, entityOp...)
		open.entity = w
		maps.Copy(open.blobs, main.blobs)
		open.garbage = append(open.garbage, main.garbage...)
	}
	steps := []step{open}
	for chunk := range slices.Chunk(rows, maxIndexOps) {
		steps = append(steps, step{ops: chunk, begins: true})
	}
	return append(steps, done), nil
}

// memberships are those that the entity has after the write.
func (w *EntityWrite) memberships() []catalog.Membership {
	switch {
	case w.Entity != nil:
		return memberships(w.Entity)
	case w.Action == Repaired:
		return w.Before.memberships
	default:
		return nil
	}
}

// indexOps leads from the index rows that exist to those that the entity has after the write.
func (c Change) indexOps(w *EntityWrite) (adds, deletes []table.Op) {
	if !hasMemberships(w.Ref) {
		return nil, nil
	}
	after := indexOf(w.Ref, w.memberships())
	before := map[table.Key]bool{} // that certainly exist
	stale := map[table.Key]bool{}  // that may exist
	if j, ok := c.Snapshot.journals[w.Ref]; ok {
		for _, key := range j.keys {
			stale[key] = true
		}
	} else if w.Before != nil {
		for key := range indexOf(w.Ref, w.Before.memberships) {
			before[key], stale[key] = true, true
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(after), compareKeys) {
		if !before[key] {
			adds = append(adds, table.PutOp(after[key]))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(stale), compareKeys) {
		if _, stays := after[key]; !stays {
			deletes = append(deletes, table.DeleteOp(key))
		}
	}
	return adds, deletes
}

// entityOp is the operation on the item of the entity, if there is one; what it does to blobs it notes in s.
func (c Change) entityOp(w *EntityWrite, s *step) ([]table.Op, error) {
	key := entityKey(w.Ref)
	if w.Action == Repaired {
		return nil, nil
	}
	uid, condition := uuid.NewString(), table.NotExists()
	if w.Before != nil {
		uid, condition = w.Before.UID, table.Equal("claim", w.Before.claim)
		s.garbage = appendKey(s.garbage, w.Before.blob)
	}
	if w.Action == Removed {
		return []table.Op{table.DeleteOp(key, condition)}, nil
	}
	data, hash, err := encode(w.Entity)
	if err != nil {
		return nil, err
	}
	body, err := newContent(data)
	if err != nil {
		return nil, err
	}
	if body.blob != "" {
		s.blobs[body.blob] = body.data
	}
	item := table.Item{Key: key, Attrs: table.Attrs{
		"uid": uid, "hash": hash, "claim": claim(c.From, w.Path), "location": w.Location, "owners": joinRefs(w.Entity.Owners()),
	}}
	body.set(item.Attrs)
	return []table.Op{table.PutOp(item, condition)}, nil
}

func appendKey(keys []string, key string) []string {
	if key == "" {
		return keys
	}
	return append(keys, key)
}
