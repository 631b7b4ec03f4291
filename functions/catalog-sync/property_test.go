package catalogsync_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// definition is an entity as a generated file defines it.
type definition struct {
	kind, name, title string
}

func (d definition) ref() string { return strings.ToLower(d.kind) + ":default/" + d.name }

func (d definition) yaml() string {
	if d.kind == "Component" {
		return component(d.name, d.title)
	}
	return fmt.Sprintf("apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: %s, title: %s}\nspec: {memberOf: [team-%s]}\n", d.name, d.title, d.title)
}

// branch is the reference model: the files of the branch as their author meant them.
type branch map[string][]definition

// catalog is what the catalog has to be: each entity as the first file that defines it says.
func (b branch) catalog() map[string]string {
	want := map[string]string{}
	for _, path := range slices.Backward(slices.Sorted(maps.Keys(b))) {
		for _, d := range b[path] {
			want[d.ref()] = d.title + " " + path
		}
	}
	return want
}

// members are the users of a team.
func (b branch) members(team string) []string {
	users := []string{}
	for ref, at := range b.catalog() {
		if title, _, _ := strings.Cut(at, " "); strings.HasPrefix(ref, "user:") && title == team {
			users = append(users, ref)
		}
	}
	slices.Sort(users)
	return users
}

var titles = []string{"one", "two", "three"}

func drawFile(t *rapid.T) []definition {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"w", "x", "y", "z"}), 0, 3, rapid.ID).Draw(t, "names")
	list := make([]definition, len(names))
	for i, name := range names {
		kind := "Component"
		if name == "z" {
			kind = "User"
		}
		list[i] = definition{kind, name, rapid.SampledFrom(titles).Draw(t, "title")}
	}
	return list
}

// history makes pushes and knows what the branch is after each.
type history struct {
	*world
	now     branch
	commits map[string]branch // by commit
	undo    map[string]string // parent of each commit
	head    string
}

func newHistory(w *world) *history {
	return &history{world: w, now: branch{}, commits: map[string]branch{"": {}}, undo: map[string]string{}}
}

// draw makes one push: of a few files, of none that matter, or a forced one.
func (h *history) draw(t *rapid.T) events.Event {
	c := sample.Change{}
	base := h.head
	if h.head != "" && rapid.IntRange(0, 4).Draw(t, "force") == 0 {
		c.Force, base = true, h.undo[h.head]
	}
	next := maps.Clone(h.commits[base])
	changes := files{}
	if rapid.IntRange(0, 3).Draw(t, "matters") == 0 {
		changes["README.md"] = rapid.StringMatching(`[a-z]{4}`).Draw(t, "text")
	} else {
		paths := []string{"catalog-info.yaml", "a/catalog-info.yaml", "b/catalog-info.yaml", "c/d/catalog-info.yaml"}
		for _, path := range rapid.SliceOfNDistinct(rapid.SampledFrom(paths), 1, 3, rapid.ID).Draw(t, "paths") {
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				changes[path] = "-"
				delete(next, path)
				continue
			}
			next[path] = drawFile(t)
			var docs []string
			for _, d := range next[path] {
				docs = append(docs, d.yaml())
			}
			changes[path] = documents(docs...)
		}
	}
	p := h.change(c, changes)
	if _, known := h.commits[p.After]; !known {
		h.undo[p.After] = base
	}
	h.head, h.now = p.After, next
	h.commits[p.After] = next
	return h.event(p)
}

// check compares the catalog with the branch.
func (h *history) check() {
	h.Helper()
	if diff := cmp.Diff(h.now.catalog(), h.catalog()); diff != "" {
		h.Fatalf("the catalog is not what the branch is (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(h.now)), h.locations()); diff != "" {
		h.Fatalf("the Locations are not those of the branch (-want +got):\n%s", diff)
	}
	for _, title := range titles {
		users, err := h.store.Members(h.Context(), catalog.Ref{Kind: "group", Namespace: "default", Name: "team-" + title})
		must(h, err)
		got := []string{}
		for _, u := range users {
			got = append(got, u.String())
		}
		if diff := cmp.Diff(h.now.members(title), got); diff != "" {
			h.Fatalf("the members of team-%s are wrong (-want +got):\n%s", title, diff)
		}
	}
	want := slices.Sorted(maps.Keys(h.now.catalog()))
	if diff := cmp.Diff(want, h.folded()); diff != "" {
		h.Fatalf("what was announced is not what the catalog is (-want +got):\n%s", diff)
	}
}

// Whatever is lost, doubled or late: after one more push the catalog is what the branch is.
func TestConverges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(newWorld(t, "**/catalog-info.yaml"))
		var sent []events.Event
		for range rapid.IntRange(1, 8).Draw(t, "pushes") {
			sent = append(sent, h.draw(t))
			for range rapid.IntRange(0, 2).Draw(t, "deliveries") {
				h.done(rapid.SampledFrom(sent).Draw(t, "event"))
			}
		}
		h.done(h.draw(t))
		h.check()
		// What comes late changes nothing any more.
		h.done(rapid.SampledFrom(sent).Draw(t, "late"))
		h.check()
		if n := h.outbox(); n != 0 {
			t.Fatalf("%d events were not published", n)
		}
	})
}

// Every operation may fail, before or after it took effect; events come again until they succeed. Nothing is
// lost and nothing is announced that did not happen.
func TestConvergesUnderFaults(t *testing.T) {
	t.Parallel()
	var injected atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(newWorld(t, "**/catalog-info.yaml"))
		h.faults.percent = rapid.IntRange(5, 25).Draw(t, "percent")
		h.faults.rand = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for range rapid.IntRange(1, 6).Draw(t, "pushes") {
			e := h.draw(t)
			for attempt := 0; h.deliver(e).Outcome != events.OutcomeOK; attempt++ {
				if attempt == 500 {
					t.Fatal("the event never succeeded")
				}
			}
		}
		injected.Add(int64(h.faults.count))
		h.faults.calm()
		if _, err := h.handler.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.check()
		if n := h.outbox(); n != 0 {
			t.Fatalf("%d events are still in the outbox", n)
		}
	})
	if injected.Load() == 0 {
		t.Error("no fault was injected: the test showed nothing")
	}
}
