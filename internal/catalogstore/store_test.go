package catalogstore_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

type fixture struct {
	*testing.T
	*catalogstore.Store
	table *counting
	blobs string
}

// counting counts transactions.
type counting struct {
	table.Table
	transactions int
}

func (c *counting) Transact(ctx context.Context, ops ...table.Op) error {
	c.transactions++
	return c.Table.Transact(ctx, ops...)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	engine := boltdbtest.Open(t, time.Now)
	f := &fixture{T: t, table: &counting{Table: engine}, blobs: filepath.Join(dir, "blobs")}
	blobs, err := blob.Open(f.blobs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = blobs.Close()
	})
	f.Store = catalogstore.New(f.table, blobs)
	return f
}

func ref(text string) catalog.Ref {
	r, err := catalog.ParseRef(text, catalog.DefaultKind("Component"))
	if err != nil {
		panic(err)
	}
	return r
}

func refs(texts ...string) []catalog.Ref {
	list := []catalog.Ref{}
	for _, text := range texts {
		list = append(list, ref(text))
	}
	return list
}

func entity(kind, name string, spec map[string]any) *catalog.Entity {
	return &catalog.Entity{
		APIVersion: "backstage.io/v1alpha1", Kind: kind, Spec: spec,
		Metadata: catalog.Metadata{Namespace: "default", Name: name},
	}
}

const path = "catalog-info.yaml"

// write adds, changes or, where there is only a reference, removes entities of one file.
func (f *fixture) write(entities []*catalog.Entity, removed ...catalog.Ref) {
	f.Helper()
	ctx := f.Context()
	known, err := f.Repository(ctx, "github.com", "acme/store")
	if err != nil {
		f.Fatal(err)
	}
	snapshot, err := f.Files(ctx, known)
	if err != nil {
		f.Fatal(err)
	}
	all := slices.Clone(removed)
	for _, e := range entities {
		all = append(all, e.Ref())
	}
	stored, err := f.Stored(ctx, known, all)
	if err != nil {
		f.Fatal(err)
	}
	c := catalogstore.Change{From: known, To: known, Snapshot: snapshot}
	c.To.Head = "head"
	c.Files = []catalogstore.FileWrite{{Path: path, After: &catalogstore.File{Path: path, Location: "https://host/" + path}}}
	for _, e := range entities {
		w := catalogstore.EntityWrite{Action: catalogstore.Added, Ref: e.Ref(), Path: path, Entity: e, Before: stored[e.Ref()]}
		if w.Before != nil {
			w.Action = catalogstore.Changed
		}
		c.Entities = append(c.Entities, w)
	}
	for _, r := range removed {
		c.Entities = append(c.Entities, catalogstore.EntityWrite{Action: catalogstore.Removed, Ref: r, Path: path, Before: stored[r]})
	}
	parts, err := catalogstore.Parts(c)
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range parts {
		if err := f.Commit(ctx, p); err != nil {
			f.Fatal(err)
		}
	}
}

func (f *fixture) list(q catalogstore.Query) []string {
	f.Helper()
	found := []string{}
	for e, err := range f.List(f.Context(), q) {
		if err != nil {
			f.Fatal(err)
		}
		found = append(found, e.Ref().String())
	}
	return found
}

func (f *fixture) countBlobs() int {
	f.Helper()
	n := 0
	err := filepath.WalkDir(f.blobs, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return n
}

func TestListIsSortedByReference(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var entities []*catalog.Entity
	var want []string
	for i := range 150 {
		for _, kind := range []string{"API", "Api2", "Component"} {
			e := entity(kind, fmt.Sprintf("n%d", i), nil)
			entities, want = append(entities, e), append(want, e.Ref().String())
		}
	}
	f.write(entities)
	slices.Sort(want)
	if diff := cmp.Diff(want, f.list(catalogstore.Query{})); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(want[200:210], f.list(catalogstore.Query{Offset: 200, Limit: 10})); diff != "" {
		t.Error(diff)
	}
	if got := f.list(catalogstore.Query{Offset: 1000, Limit: 10}); len(got) != 0 {
		t.Errorf("behind the end there are %v", got)
	}
	got := f.list(catalogstore.Query{Kinds: []string{"component", "api"}, Match: func(r catalog.Ref) bool { return r.Name == "n7" }})
	if diff := cmp.Diff([]string{"api:default/n7", "component:default/n7"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestByRefsAndOwners(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write([]*catalog.Entity{
		entity("Component", "a", map[string]any{"owner": "team"}), entity("Component", "b", map[string]any{"owner": "user:jane"}),
		entity("Component", "c", nil),
	})
	found, err := f.ByRefs(t.Context(), refs("b", "missing", "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range found {
		if e == nil {
			names = append(names, "-")
			continue
		}
		names = append(names, e.Metadata.Name)
	}
	if got := strings.Join(names, " "); got != "b - a b" {
		t.Errorf("found %s", got)
	}
	owners, err := f.Owners(t.Context(), refs("a", "b", "c", "missing"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[catalog.Ref][]catalog.Ref{ref("a"): refs("group:team"), ref("b"): refs("user:jane"), ref("c"): nil}
	if diff := cmp.Diff(want, owners); diff != "" {
		t.Error(diff)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write([]*catalog.Entity{
		entity("Group", "all", map[string]any{"type": "x", "children": []any{"left"}, "members": []any{"zoe"}}),
		entity("Group", "left", map[string]any{"type": "x", "children": []any{"all"}, "members": []any{"ann", "zoe"}}),
		entity("Group", "right", map[string]any{"type": "x", "children": []any{}, "parent": "all"}),
		entity("User", "bob", map[string]any{"memberOf": []any{"right", "left"}}),
	})
	members := func(group string) []catalog.Ref {
		t.Helper()
		found, err := f.Members(t.Context(), ref("group:"+group))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := refs("user:ann", "user:bob", "user:zoe")
	if diff := cmp.Diff(want, members("all")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, members("left")); diff != "" {
		t.Errorf("in a cycle of groups: %s", diff)
	}
	if diff := cmp.Diff(refs("user:bob"), members("right")); diff != "" {
		t.Error(diff)
	}
	if got := members("unknown"); len(got) != 0 {
		t.Errorf("a group that nobody knows has the members %v", got)
	}

	f.write([]*catalog.Entity{
		entity("Group", "left", map[string]any{"type": "x", "children": []any{}, "members": []any{"zoe"}}),
		entity("User", "bob", map[string]any{"memberOf": []any{"left"}}),
	}, ref("group:right"))
	if diff := cmp.Diff(refs("user:bob", "user:zoe"), members("left")); diff != "" {
		t.Error(diff)
	}
	if got := members("right"); len(got) != 0 {
		t.Errorf("the removed group has the members %v", got)
	}
}

// Long references still fit into keys.
func TestLongMembers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	long := strings.Repeat("\u4e16", 200)
	f.write([]*catalog.Entity{entity("Group", "all", map[string]any{"type": "x", "children": []any{long}, "members": []any{long}})})
	got, err := f.Members(t.Context(), ref("group:all"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(refs("user:"+long), got); diff != "" {
		t.Error(diff)
	}
}

// noise is text that does not compress to less than half.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n/2)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(b)
}

func TestLargeEntities(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	large := entity("API", "large", map[string]any{"definition": noise(900 << 10)})
	f.write([]*catalog.Entity{large})
	if n := f.countBlobs(); n != 1 {
		t.Fatalf("there are %d blobs, want 1", n)
	}
	found, err := f.ByRefs(t.Context(), refs("api:large"))
	if err != nil || found[0] == nil {
		t.Fatalf("found %v, %v", found, err)
	}
	uid := found[0].Metadata.UID
	found[0].Metadata.UID, found[0].Metadata.Etag = "", ""
	if diff := cmp.Diff(large, found[0]); diff != "" {
		t.Error("the entity is not what was stored")
	}

	f.write([]*catalog.Entity{entity("API", "large", map[string]any{"definition": noise(800 << 10)})})
	if n := f.countBlobs(); n != 1 {
		t.Errorf("after a change there are %d blobs, want 1", n)
	}
	f.write([]*catalog.Entity{entity("API", "large", nil)})
	if n := f.countBlobs(); n != 0 {
		t.Errorf("after it became small there are %d blobs", n)
	}
	if found, err = f.ByRefs(t.Context(), refs("api:large")); err != nil || found[0].Metadata.UID != uid {
		t.Errorf("the uid changed, or %v", err)
	}
	f.write([]*catalog.Entity{large})
	f.write(nil, ref("api:large"))
	if n := f.countBlobs(); n != 0 {
		t.Errorf("after it was removed there are %d blobs", n)
	}
	if found, err = f.ByRefs(t.Context(), refs("api:large")); err != nil || found[0] != nil {
		t.Errorf("found %v, %v", found, err)
	}
}

// Transactions are cut by their bytes too.
func TestPartsByBytes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var entities []*catalog.Entity
	definition := noise(450 << 10)
	for i := range 16 {
		entities = append(entities, entity("API", fmt.Sprintf("n%d", i), map[string]any{"definition": definition}))
	}
	f.write(entities)
	if n := f.countBlobs(); n != 0 {
		t.Fatalf("there are %d blobs; the entities should be just small enough", n)
	}
	if f.table.transactions < 2 {
		t.Errorf("%d transactions for 3.5 MB", f.table.transactions)
	}
	if got := f.list(catalogstore.Query{}); len(got) != 16 {
		t.Errorf("there are %d entities", len(got))
	}
}

// Of two writers who read the same, one has to read again.
func TestCommitConflicts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	known, err := f.Repository(t.Context(), "GitHub.com", "Acme/Store")
	if err != nil {
		t.Fatal(err)
	}
	parts, err := catalogstore.Parts(catalogstore.Change{From: known, To: known})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(t.Context(), parts[0]); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(t.Context(), parts[0]); events.ErrorCode(err) != events.CodeConflict {
		t.Errorf("the second writer: %v", err)
	}
	if same, err := f.Repository(t.Context(), "github.com", "acme/store"); err != nil || same.Version != 1 {
		t.Errorf("in other letters the repository is %+v, %v", same, err)
	}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	known := catalogstore.Repository{Host: "github.com", Name: "acme/store"}
	var want []events.Event
	for i := range 25 {
		e := events.Event{
			ID: fmt.Sprintf("catalog.changed:%d", 25-i), Topic: "catalog.changed", Payload: []byte(`{"a":1}`), Group: "g",
			Metadata: events.Metadata{}, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		}
		want = append(want, e)
		parts, err := catalogstore.Parts(catalogstore.Change{From: known, To: known})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(t.Context(), parts[0], e); err != nil {
			t.Fatal(err)
		}
		known.Version = parts[0].Version
	}
	var pending []catalogstore.Pending
	for p, err := range f.Pending(t.Context(), known) {
		if err != nil {
			t.Fatal(err)
		}
		if i := len(pending); !p.Event.Equal(want[i]) {
			t.Fatalf("event %d is %+v, want %+v", i, p.Event, want[i])
		}
		pending = append(pending, p)
	}
	if len(pending) != len(want) {
		t.Fatalf("there are %d events, want %d", len(pending), len(want))
	}
	for p, err := range f.Pending(t.Context(), catalogstore.Repository{Host: "github.com", Name: "acme/other"}) {
		t.Errorf("another repository has %+v, %v", p.Event, err)
	}
	if err := f.Published(t.Context(), pending[1:]...); err != nil {
		t.Fatal(err)
	}
	n := 0
	for p, err := range f.AllPending(t.Context()) {
		if n++; err != nil || !p.Event.Equal(want[0]) {
			t.Errorf("left is %+v, %v", p.Event, err)
		}
	}
	if n != 1 {
		t.Errorf("%d events are left, want 1", n)
	}
}
