package catalogsync_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

func (w *world) entity(ref string) *catalog.Entity {
	w.Helper()
	parsed, err := catalog.ParseRef(ref)
	must(w, err)
	found, err := w.store.ByRefs(w.Context(), []catalog.Ref{parsed})
	must(w, err)
	return found[0]
}

func (w *world) wantCatalog(want map[string]string) {
	w.Helper()
	if diff := cmp.Diff(want, w.catalog()); diff != "" {
		w.Fatalf("the catalog is wrong (-want +got):\n%s", diff)
	}
	refs := slices.Sorted(maps.Keys(want))
	if diff := cmp.Diff(refs, w.folded()); diff != "" {
		w.Fatalf("what was announced is wrong (-want +got):\n%s", diff)
	}
}

func (w *world) wantAsked(want ...string) {
	w.Helper()
	if diff := cmp.Diff(want, w.asked()); diff != "" {
		w.Fatalf("the requests to GitHub are wrong (-want +got):\n%s", diff)
	}
}

func TestFirstPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	e := w.event(w.commit(files{"catalog-info.yaml": component("store", "one"), "sub/catalog-info.yaml": component("sub", "one")}))
	hop := w.done(e)
	w.wantCatalog(map[string]string{"component:default/store": "one catalog-info.yaml"})

	got := w.entity("component:default/store")
	wantAnnotations := map[string]string{
		"backstage.io/managed-by-location":        "url:" + web + "/blob/main/catalog-info.yaml",
		"backstage.io/managed-by-origin-location": "url:" + web + "/blob/main/catalog-info.yaml",
		"backstage.io/view-url":                   web + "/blob/main/catalog-info.yaml",
		"backstage.io/edit-url":                   web + "/edit/main/catalog-info.yaml",
		"backstage.io/source-location":            "url:" + web + "/tree/main/",
	}
	if diff := cmp.Diff(wantAnnotations, got.Metadata.Annotations); diff != "" {
		t.Error(diff)
	}
	if got.Metadata.UID == "" || got.Metadata.Etag == "" {
		t.Errorf("uid %q, etag %q", got.Metadata.UID, got.Metadata.Etag)
	}
	want := changed{
		Cause: e.ID, Provider: "github:acme", Location: web + "/blob/main/catalog-info.yaml",
		Added: []string{"component:default/store"}, Changed: []string{}, Removed: []string{},
		Owners: map[string][]string{"component:default/store": {"group:default/team-one"}},
	}
	if diff := cmp.Diff([]changed{want}, w.announced()); diff != "" {
		t.Error(diff)
	}
	wantNotes := []events.Note{
		{Kind: events.NoteEntity, Value: "+component:default/store"},
		{Kind: events.NotePublished, Value: w.published.order[0]},
	}
	if diff := cmp.Diff(wantNotes, hop.Notes); diff != "" {
		t.Error(diff)
	}

	w.done(e)
	if n := len(w.announced()); n != 1 {
		t.Errorf("a redelivery led to %d announcements", n)
	}
	uid := got.Metadata.UID
	w.push(files{"catalog-info.yaml": component("store", "two")})
	if got := w.entity("component:default/store"); got.Metadata.UID != uid || got.Metadata.Title != "two" {
		t.Errorf("after a change: uid %s, title %s", got.Metadata.UID, got.Metadata.Title)
	}
	if last := w.announced()[1]; !slices.Equal(last.Changed, []string{"component:default/store"}) {
		t.Errorf("announced %+v", last)
	}
}

// A push is taken at its word only where it continues what is stored and says all that it changed.
func TestRequests(t *testing.T) {
	t.Parallel()
	many := make([]any, 2048)
	for i := range many {
		many[i] = map[string]any{}
	}
	paths := make([]string, 3000)
	for i := range paths {
		paths[i] = "p"
	}
	head := "git/ref/heads/main"
	file := "contents/catalog-info.yaml"
	tests := []struct {
		name  string
		files files
		edit  map[string]any
		want  []string // ">" stands for a comparison, "tree" for a tree
	}{
		{"nothing in the catalog", files{"README.md": "x"}, nil, nil},
		{"a catalog file", files{"catalog-info.yaml": component("a", "two")}, nil, []string{file, head}},
		{"too many commits", files{"README.md": "x"}, map[string]any{"commits": many}, []string{">", head}},
		{"too many paths", files{"README.md": "x"}, map[string]any{"commits": []any{map[string]any{"modified": paths}}}, []string{">", head}},
		{"no commits", files{"README.md": "x"}, map[string]any{"commits": []any{}}, []string{">", head}},
		{"forced", files{"README.md": "x"}, map[string]any{"forced": true}, []string{">", head}},
		{"created", files{"catalog-info.yaml": component("a", "two")}, map[string]any{"created": true}, []string{">", file, head}},
		{"other before", files{"README.md": "x"}, map[string]any{"before": strings.Repeat("1", 40)}, []string{">", head}},
		{"other after", files{"catalog-info.yaml": component("a", "two")}, map[string]any{"after": strings.Repeat("1", 40)}, []string{">", file, head}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "/catalog-info.yaml")
			w.push(files{"catalog-info.yaml": component("a", "one")})
			w.asked()
			p := w.commit(tt.files)
			w.done(w.edited(w.event(p), tt.edit))
			got := w.asked()
			for i, path := range got {
				if strings.HasPrefix(path, "compare/") {
					got[i] = ">"
				}
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("asked for %q, want %q", got, tt.want)
			}
			if w.head() != p.After {
				t.Errorf("the stored head is %s, want %s", w.head(), p.After)
			}
		})
	}
}

func TestRepositoryWithoutCatalogFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	w.push(files{"README.md": "x"})
	w.asked()
	w.push(files{"README.md": "y"})
	w.wantAsked()
	w.wantCatalog(map[string]string{})
}

func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "**/catalog-info.yaml")
	root := w.commit(files{"catalog-info.yaml": component("a", "one")})
	first := w.event(root)
	second := w.event(w.commit(files{"catalog-info.yaml": component("a", "two"), "x/catalog-info.yaml": component("b", "one")}))
	w.done(second)
	w.done(first)
	w.wantCatalog(map[string]string{"component:default/a": "two catalog-info.yaml", "component:default/b": "one x/catalog-info.yaml"})

	w.commit(files{"x/catalog-info.yaml": "-"}) // its webhook is lost
	w.push(files{"README.md": "x"})
	w.wantCatalog(map[string]string{"component:default/a": "two catalog-info.yaml"})

	forced := w.change(sample.Change{Force: true, Base: root.After}, files{"README.md": "y"})
	w.done(w.event(forced))
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml"})

	w.push(files{"catalog-info.yaml": "-"})
	w.wantCatalog(map[string]string{})
	if got := w.locations(); len(got) != 0 {
		t.Errorf("there are still the Locations %v", got)
	}
}

func TestBrokenDocuments(t *testing.T) {
	t.Parallel()
	const broken = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec: {type: service}\n"
	const unknown = "kind: Component\nmetadata: {name: \n"
	good := map[string]string{"component:default/a": "one catalog-info.yaml", "component:default/b": "one catalog-info.yaml"}
	tests := []struct {
		name, content string
		want          map[string]string
		ref           string
		line          int
	}{
		{"the reference is known", documents(broken, component("b", "two")), map[string]string{"component:default/a": "one catalog-info.yaml", "component:default/b": "two catalog-info.yaml"}, "component:default/a", 4},
		{"only the known one is kept", broken, map[string]string{"component:default/a": "one catalog-info.yaml"}, "component:default/a", 4},
		{"the reference is not known", documents(unknown, component("c", "one")), map[string]string{"component:default/a": "one catalog-info.yaml", "component:default/b": "one catalog-info.yaml", "component:default/c": "one catalog-info.yaml"}, "", 0},
		{"not UTF-8", "\xff\xfe", good, "", 1},
		{"reserved name", documents(component("a", "one"), component("b", "one"), "apiVersion: backstage.io/v1alpha1\nkind: Location\nmetadata: {name: generated-x}\nspec: {}\n"), good, "location:default/generated-x", 11},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "/catalog-info.yaml")
			w.push(files{"catalog-info.yaml": documents(component("a", "one"), component("b", "one"))})
			uid := w.entity("component:a").Metadata.UID
			w.push(files{"catalog-info.yaml": tt.content})
			w.wantCatalog(tt.want)
			errs := w.errors()
			if len(errs) != 1 || len(errs[0].Errors) != 1 {
				t.Fatalf("announced the errors %+v", errs)
			}
			got := errs[0].Errors[0]
			if errs[0].Location != web+"/blob/main/catalog-info.yaml" || got.Ref != tt.ref || got.Message == "" || tt.line != 0 && got.Line != tt.line {
				t.Errorf("announced the error %+v of %s", got, errs[0].Location)
			}

			// The newest commit is replaced, which makes everything be read again.
			w.done(w.event(w.change(sample.Change{Force: true}, files{"README.md": "y", "catalog-info.yaml": tt.content})))
			if n := len(w.errors()); n != 1 {
				t.Errorf("the same errors were announced %d times", n)
			}
			w.push(files{"catalog-info.yaml": component("a", "three")})
			w.wantCatalog(map[string]string{"component:default/a": "three catalog-info.yaml"})
			if w.entity("component:a").Metadata.UID != uid {
				t.Error("the entity that was kept got another uid")
			}
		})
	}
}

// Nothing that GitHub does not answer properly removes anything.
func TestFailuresRemoveNothing(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403, 404, 429, 500, 503} {
		for _, part := range []string{"/git/ref/", "/compare/", "/git/trees/", "/contents/"} {
			t.Run(fmt.Sprint(status, part), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "**/catalog-info.yaml")
				w.push(files{"catalog-info.yaml": component("a", "one"), "x/catalog-info.yaml": component("b", "one")})
				before := w.catalog()
				// Where one is lost the next has to be compared; where the stored head is gone the tree is needed.
				c := sample.Change{Force: part == "/git/trees/"}
				if !c.Force {
					w.commit(files{"catalog-info.yaml": component("a", "two")})
				}
				e := w.event(w.change(c, files{"x/catalog-info.yaml": component("b", "two"), "catalog-info.yaml": component("a", "three")}))

				w.answers(func(r *http.Request) int {
					if strings.Contains(r.URL.Path, part) {
						return status
					}
					return 0
				})
				hop := w.deliver(e)
				switch {
				case status == 404 && part == "/compare/": // the old commit is gone: the tree helps
					if hop.Outcome != events.OutcomeOK {
						t.Fatalf("%s: %s", hop.Outcome, hop.Reason)
					}
				case status == 429 && hop.Outcome != events.OutcomeDefer, status != 429 && hop.Outcome != events.OutcomeRetry:
					t.Fatalf("%s: %s", hop.Outcome, hop.Reason)
				default:
					w.wantCatalog(before)
				}
				w.answers(nil)
				w.done(e)
				w.wantCatalog(map[string]string{"component:default/a": "three catalog-info.yaml", "component:default/b": "two x/catalog-info.yaml"})
			})
		}
	}
}

// A file that is absent although the push says otherwise is gone only if the tree agrees.
func TestUnexplainedAbsence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "**/catalog-info.yaml")
	w.push(files{"catalog-info.yaml": component("a", "one"), "x/catalog-info.yaml": component("b", "one")})
	p := w.commit(files{"x/catalog-info.yaml": "-"})
	w.asked()
	w.done(w.edited(w.event(p), map[string]any{"commits": []any{map[string]any{"modified": []string{"x/catalog-info.yaml"}}}}))
	w.wantAsked("contents/catalog-info.yaml", "contents/x/catalog-info.yaml", "git/ref/heads/main", "git/trees/"+p.After)
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml"})

	// What one commit of a push removes another may add again.
	p = w.commit(files{"x/catalog-info.yaml": component("b", "two")})
	w.done(w.edited(w.event(p), map[string]any{"commits": []any{map[string]any{"removed": []string{"x/catalog-info.yaml"}}}}))
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml", "component:default/b": "two x/catalog-info.yaml"})
}

func TestLargeComparison(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "**/catalog-info.yaml")
	w.push(files{"README.md": "x"})
	many := files{"z/catalog-info.yaml": component("z", "one")}
	for i := range 300 {
		many[fmt.Sprintf("a/%03d", i)] = "x"
	}
	p := w.commit(many)
	w.asked()
	w.done(w.edited(w.event(p), map[string]any{"forced": true}))
	w.wantCatalog(map[string]string{"component:default/z": "one z/catalog-info.yaml"})
	if asked := w.asked(); !slices.ContainsFunc(asked, func(s string) bool { return strings.HasPrefix(s, "git/trees/") }) {
		t.Errorf("the tree was not asked for, only %v", asked)
	}
}

// A comparison says of a renamed file where it was, so the tree is not needed.
func TestRenamedFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "**/catalog-info.yaml")
	content := component("a", "one")
	first := w.commit(files{"catalog-info.yaml": content})
	w.done(w.event(first))
	w.asked()
	p := w.commit(files{"catalog-info.yaml": "-", "x/catalog-info.yaml": content})
	w.done(w.edited(w.event(p), map[string]any{"forced": true}))
	w.wantAsked("compare/"+first.After+"..."+p.After, "contents/catalog-info.yaml", "contents/x/catalog-info.yaml", "git/ref/heads/main")
	w.wantCatalog(map[string]string{"component:default/a": "one x/catalog-info.yaml"})
}

func TestRepositoryEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "**/catalog-info.yaml")
	created, err := w.github.CreateRepository(t.Context(), owner, repo)
	must(w, err)
	if hop := w.deliver(w.repositoryEvent(created, "created")); hop.Outcome != events.OutcomeDropped {
		t.Errorf("an empty repository: %s: %s", hop.Outcome, hop.Reason)
	}
	first := w.commit(files{"catalog-info.yaml": component("a", "one"), "x/catalog-info.yaml": component("b", "one")})
	w.done(w.repositoryEvent(first.Repository, "edited"))
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml", "component:default/b": "one x/catalog-info.yaml"})
	w.done(w.event(w.commit(files{"README.md": "x"})))
	push := w.event(w.commit(files{"catalog-info.yaml": component("a", "two")}))
	w.done(push)

	gone, err := w.github.DeleteRepository(t.Context(), owner, repo)
	must(w, err)
	if hop := w.deliver(push); hop.Outcome != events.OutcomeRetry {
		t.Errorf("a push to a repository that is not found: %s: %s", hop.Outcome, hop.Reason)
	}
	deleted := w.repositoryEvent(gone, "deleted")
	w.done(deleted)
	w.wantCatalog(map[string]string{})
	w.done(deleted)
	if hop := w.deliver(push); hop.Outcome != events.OutcomeDropped || hop.Reason != "the repository was deleted" {
		t.Errorf("a late push: %s: %s", hop.Outcome, hop.Reason)
	}
	for _, c := range w.announced() {
		for _, ref := range slices.Concat(c.Added, c.Changed, c.Removed) {
			if len(c.Owners[ref]) != 1 {
				t.Errorf("%s was announced with the owners %v", ref, c.Owners[ref])
			}
		}
	}

	// A new repository of the name is not the one that was deleted.
	again := w.commit(files{"catalog-info.yaml": component("c", "one")})
	w.done(push)
	w.wantCatalog(map[string]string{"component:default/c": "one catalog-info.yaml"})
	w.done(w.event(again))
	for range 2 {
		if hop := w.deliver(deleted); hop.Outcome != events.OutcomeDropped {
			t.Errorf("the old repository is deleted again: %s: %s", hop.Outcome, hop.Reason)
		}
		w.wantCatalog(map[string]string{"component:default/c": "one catalog-info.yaml"})
		w.push(files{"README.md": "z"})
	}
	gone, err = w.github.DeleteRepository(t.Context(), owner, repo)
	must(w, err)
	w.done(w.repositoryEvent(gone, "deleted"))
	w.wantCatalog(map[string]string{})
}

// The webhook of a deletion comes when a new repository already has the name.
func TestLateDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	w.push(files{"catalog-info.yaml": component("a", "one")})
	gone, err := w.github.DeleteRepository(t.Context(), owner, repo)
	must(w, err)
	w.push(files{"catalog-info.yaml": component("b", "one")})
	if hop := w.deliver(w.repositoryEvent(gone, "deleted")); hop.Outcome != events.OutcomeDropped {
		t.Errorf("%s: %s", hop.Outcome, hop.Reason)
	}
	w.wantCatalog(map[string]string{"component:default/b": "one catalog-info.yaml"})
}

// GitHub does not sign the type of an event: what is not about a repository can be sent again as if it were. Nothing is
// removed while the repository is there.
func TestForgedDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	push := w.commit(files{"catalog-info.yaml": component("a", "one")})
	w.done(w.event(push))
	forged := w.repositoryEvent(push.Repository, "deleted")
	forged.Time = time.Now()
	if hop := w.deliver(forged); hop.Outcome != events.OutcomeRetry {
		t.Errorf("at once: %s: %s", hop.Outcome, hop.Reason)
	}
	forged.Time = time.Now().Add(-time.Hour)
	w.done(forged)
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml"})
	// One from before the branch was given another name.
	forged.Payload = bytes.ReplaceAll(forged.Payload, []byte(`"default_branch":"main"`), []byte(`"default_branch":"master"`))
	w.deliver(forged)
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml"})
}

func TestDeletedBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	w.push(files{"catalog-info.yaml": component("a", "one")})
	p, err := w.github.DeleteBranch(t.Context(), owner, repo, "main")
	must(w, err)
	if hop := w.deliver(w.event(p)); hop.Outcome != events.OutcomeDropped || hop.Reason != "the branch was deleted" {
		t.Errorf("%s: %s", hop.Outcome, hop.Reason)
	}
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml"})
	w.push(files{"catalog-info.yaml": component("a", "two")})
	w.wantCatalog(map[string]string{"component:default/a": "two catalog-info.yaml"})
}

func TestNotForUs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	e := w.event(w.commit(files{"catalog-info.yaml": component("a", "one")}))
	repository := func(login, address string) map[string]any {
		return map[string]any{"repository": map[string]any{
			"id": 1, "html_url": address, "default_branch": "main", "owner": map[string]any{"login": login},
		}}
	}
	otherTopic := e
	otherTopic.Topic = "github.issues"
	tests := []struct {
		name    string
		event   events.Event
		outcome events.Outcome
	}{
		{"tag", w.edited(e, map[string]any{"ref": "refs/tags/main"}), events.OutcomeDropped},
		{"other branch", w.edited(e, map[string]any{"ref": "refs/heads/main2"}), events.OutcomeDropped},
		{"other organization", w.edited(e, repository("other", "https://github.com/other/petstore")), events.OutcomeDropped},
		{"other host", w.edited(e, repository("acme", "https://ghe.example.com/acme/petstore")), events.OutcomeDropped},
		{"other topic", otherTopic, events.OutcomeDropped},
		{"login and address differ", w.edited(e, repository("acme", "https://github.com/other/petstore")), events.OutcomePark},
		{"no address", w.edited(e, repository("acme", "")), events.OutcomePark},
		{"no push", w.raw("github.push", []byte(`{"ref":1}`)), events.OutcomePark},
	}
	for _, tt := range tests {
		hop := w.deliver(tt.event)
		if hop.Outcome != tt.outcome {
			t.Errorf("%s: %s: %s", tt.name, hop.Outcome, hop.Reason)
		}
	}
	w.wantAsked()
	w.wantCatalog(map[string]string{})
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "**/catalog-info.yaml")
	w.push(files{"b/catalog-info.yaml": component("x", "one")})
	uid := w.entity("component:x").Metadata.UID

	// The first path wins whenever it comes.
	w.push(files{"a/catalog-info.yaml": component("x", "two")})
	w.wantCatalog(map[string]string{"component:default/x": "two a/catalog-info.yaml"})
	if got := w.announced()[1]; len(w.announced()) != 2 || !slices.Equal(got.Changed, []string{"component:default/x"}) || len(got.Removed) > 0 {
		t.Errorf("announced %+v", w.announced())
	}
	errs := w.errors()
	if len(errs) != 1 || errs[0].Location != web+"/blob/main/b/catalog-info.yaml" || !strings.Contains(errs[0].Errors[0].Message, "already defined by "+web+"/blob/main/a/catalog-info.yaml") {
		t.Errorf("announced the errors %+v", errs)
	}
	w.push(files{"c/catalog-info.yaml": component("x", "three")})
	w.wantCatalog(map[string]string{"component:default/x": "two a/catalog-info.yaml"})

	// When it goes, the next one takes over, though nobody touched it.
	w.push(files{"a/catalog-info.yaml": "-"})
	w.wantCatalog(map[string]string{"component:default/x": "one b/catalog-info.yaml"})
	w.push(files{"b/catalog-info.yaml": component("y", "one"), "c/catalog-info.yaml": "-", "d/catalog-info.yaml": component("x", "one")})
	w.wantCatalog(map[string]string{"component:default/x": "one d/catalog-info.yaml", "component:default/y": "one b/catalog-info.yaml"})
	if got := w.entity("component:x").Metadata.UID; got != uid {
		t.Errorf("the entity moved and got another uid")
	}
}

func TestOtherRepositoryOwns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	w.push(files{"catalog-info.yaml": component("x", "one")})
	other := w.change(sample.Change{Repo: "other"}, files{"catalog-info.yaml": documents(component("x", "two"), component("y", "two"))})
	w.done(w.event(other))
	if got := w.entity("component:x"); got.Metadata.Title != "one" {
		t.Errorf("the entity was taken over: %s", got.Metadata.Title)
	}
	if w.entity("component:y") == nil {
		t.Error("the other entity of the file is missing")
	}
	errs := w.errors()
	if len(errs) != 1 || !strings.Contains(errs[0].Errors[0].Message, "already defined by "+web+"/blob/main/catalog-info.yaml") {
		t.Errorf("announced the errors %+v", errs)
	}
	w.done(w.event(w.change(sample.Change{Repo: "other"}, files{"catalog-info.yaml": "-"})))
	if w.entity("component:x") == nil {
		t.Error("the entity was removed by a repository that does not own it")
	}
}

// Two repositories come to define the same entity at the same time: one of them owns it.
func TestOtherRepositoryIsFaster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	fast := w.event(w.change(sample.Change{Repo: "fast"}, files{"catalog-info.yaml": component("x", "two")}))
	slow := w.event(w.commit(files{"catalog-info.yaml": component("x", "one")}))
	w.faults.between = func() { w.done(fast) }
	w.done(slow)
	if got := w.entity("component:x"); got.Metadata.Title != "two" {
		t.Errorf("the entity was taken over: %s", got.Metadata.Title)
	}
	if errs := w.errors(); len(errs) != 1 || errs[0].Location != web+"/blob/main/catalog-info.yaml" {
		t.Errorf("announced the errors %+v", errs)
	}
}

func TestConfigurationChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	w.push(files{"catalog-info.yaml": component("a", "one"), "x/catalog-info.yaml": component("b", "one")})
	w.change(sample.Change{Branch: "next"}, files{"catalog-info.yaml": component("a", "two")})

	w.configure("**/catalog-info.yaml", "")
	w.push(files{"README.md": "x"})
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml", "component:default/b": "one x/catalog-info.yaml"})

	w.configure("/catalog-info.yaml", "next")
	if hop := w.deliver(w.event(w.commit(files{"README.md": "y"}))); hop.Outcome != events.OutcomeDropped {
		t.Errorf("a push to the branch that is no longer tracked: %s", hop.Outcome)
	}
	w.done(w.event(w.change(sample.Change{Branch: "next"}, files{"README.md": "x"})))
	w.wantCatalog(map[string]string{"component:default/a": "two url:" + web + "/blob/next/catalog-info.yaml"})
	if got := w.locations(); !slices.Equal(got, []string{web + "/blob/next/catalog-info.yaml"}) {
		t.Errorf("there are the Locations %v", got)
	}
}

// group is a group with so many members that they do not fit in one transaction.
func group(members int) string {
	var b strings.Builder
	b.WriteString("apiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: all, title: all}\nspec:\n  type: team\n  children: []\n  members:\n")
	for i := range members {
		fmt.Fprintf(&b, "  - u%03d\n", i)
	}
	return b.String()
}

// A change that needs several transactions may be interrupted after any of them, and the branch may move on or
// back before the next event: the catalog becomes what the branch is.
func TestInterruptedParts(t *testing.T) {
	t.Parallel()
	components := func(n int, title string) string {
		docs := make([]string, n)
		for i := range docs {
			docs[i] = component(fmt.Sprintf("c%03d", i), title)
		}
		return documents(docs...)
	}
	tests := []struct {
		name        string
		first, then files
		members     int // of the group at last
	}{
		{"added", files{"README.md": "x"}, files{"catalog-info.yaml": components(130, "one")}, 0},
		{"changed", files{"catalog-info.yaml": components(101, "one")}, files{"catalog-info.yaml": components(101, "two")}, 0},
		{"removed", files{"catalog-info.yaml": components(101, "one")}, files{"catalog-info.yaml": "-"}, 0},
		{"moved", files{"b/catalog-info.yaml": components(101, "one")}, files{"a/catalog-info.yaml": components(101, "two"), "b/catalog-info.yaml": "-"}, 0},
		{"moved to a later path", files{"a/catalog-info.yaml": components(101, "one")}, files{"b/catalog-info.yaml": components(101, "two"), "a/catalog-info.yaml": "-"}, 0},
		{"large group added", files{"README.md": "x"}, files{"catalog-info.yaml": group(200)}, 200},
		{"large group changed", files{"catalog-info.yaml": group(10)}, files{"catalog-info.yaml": group(150)}, 150},
		{"large group shrunk", files{"catalog-info.yaml": group(150)}, files{"catalog-info.yaml": group(10)}, 10},
		{"large group removed", files{"catalog-info.yaml": group(150)}, files{"catalog-info.yaml": "-"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			model := newWorld(t, "**/catalog-info.yaml")
			model.push(tt.then)
			want := model.catalog()
			for _, after := range []bool{false, true} {
				for n := 1; ; n++ {
					if !interrupt(t, tt.first, tt.then, want, tt.members, n, after) {
						if n < 3 {
							t.Fatalf("there were only %d transactions", n-1)
						}
						break
					}
				}
			}
		})
	}
}

// interrupt fails the n-th transaction of a sync; false when there are not so many.
func interrupt(t *testing.T, first, then files, want map[string]string, members, n int, after bool) bool {
	w := newWorld(t, "**/catalog-info.yaml")
	start := w.commit(first)
	w.done(w.event(start))
	old := w.catalog()
	e := w.event(w.commit(then))
	w.faults.writes, w.faults.failWrite, w.faults.after = 0, n, after
	hop := w.deliver(e)
	w.faults.calm()
	if hop.Outcome == events.OutcomeOK {
		return false
	}
	if n%2 == 0 {
		// The branch goes back to where it was, which nobody hears of, and on without touching the files.
		w.change(sample.Change{Force: true, Base: start.After}, nil)
		w.push(files{"README.md": "later"})
		w.wantCatalog(old)
		empty := files{}
		for path := range first {
			empty[path] = "-"
		}
		w.push(empty)
		w.wantCatalog(map[string]string{})
		e = w.event(w.change(sample.Change{Force: true, Base: start.After}, then))
	}
	w.done(e)
	w.wantCatalog(want)
	got, err := w.store.Members(w.Context(), catalog.Ref{Kind: "group", Namespace: "default", Name: "all"})
	must(w, err)
	if len(got) != members {
		t.Errorf("the group has %d members, want %d", len(got), members)
	}
	if n := w.outbox(); n != 0 {
		t.Errorf("%d events are still in the outbox", n)
	}
	return true
}

func TestConcurrentSyncs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "**/catalog-info.yaml")
	w.push(files{"catalog-info.yaml": component("a", "one")})
	var list []events.Event
	for i := range 6 {
		list = append(list, w.event(w.commit(files{fmt.Sprintf("%d/catalog-info.yaml", i%3): component(fmt.Sprint("c", i), "one")})))
	}
	var wg sync.WaitGroup
	for _, e := range list {
		wg.Go(func() {
			for w.deliver(e).Outcome != events.OutcomeOK {
				continue
			}
		})
	}
	wg.Wait()
	w.wantCatalog(map[string]string{
		"component:default/a": "one catalog-info.yaml", "component:default/c3": "one 0/catalog-info.yaml",
		"component:default/c4": "one 1/catalog-info.yaml", "component:default/c5": "one 2/catalog-info.yaml",
	})
}

// Another sync of the repository comes in between, every time: the event rests and loses nothing.
func TestLosesEveryRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	w.push(files{"catalog-info.yaml": component("a", "one")})
	slow := w.event(w.commit(files{"catalog-info.yaml": component("a", "two")}))
	races := 0
	w.meddles(func(r *http.Request) {
		if !strings.Contains(r.URL.Path, "/contents/") {
			return
		}
		races++
		if err := w.raise(); err != nil {
			t.Error(err)
		}
	})
	if hop := w.deliver(slow); hop.Outcome != events.OutcomeRetry || races < 2 {
		t.Errorf("after %d races: %s: %s", races, hop.Outcome, hop.Reason)
	}
	w.wantCatalog(map[string]string{"component:default/a": "one catalog-info.yaml"})
	w.meddles(nil)
	w.done(slow)
	w.wantCatalog(map[string]string{"component:default/a": "two catalog-info.yaml"})
}

// What cannot be published is published by the next event of the repository, or by the sweep.
func TestOutbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	w.published.failing(errFault)
	w.push(files{"catalog-info.yaml": component("a", "one")})
	w.push(files{"catalog-info.yaml": component("a", "two")})
	if n := w.outbox(); n != 2 || len(w.announced()) != 0 {
		t.Fatalf("%d events are in the outbox and %d published", n, len(w.announced()))
	}
	if _, err := w.handler.Sweep(t.Context()); err == nil {
		t.Error("a sweep that published nothing says nothing")
	}
	w.published.failing(nil)
	w.push(files{"README.md": "x"})
	if n := w.outbox(); n != 0 {
		t.Errorf("%d events are in the outbox", n)
	}
	w.published.failing(errFault)
	w.push(files{"catalog-info.yaml": component("a", "three")})
	w.published.failing(nil)
	if n, err := w.handler.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if n, err := w.handler.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
}

// Whatever a payload holds, it is dropped, parked or tried again.
func FuzzPayload(f *testing.F) {
	w := newWorld(f, "**/catalog-info.yaml")
	e := w.event(w.commit(files{"catalog-info.yaml": component("a", "one")}))
	w.answers(func(*http.Request) int { return http.StatusInternalServerError })
	f.Add(true, []byte(e.Payload))
	f.Add(false, []byte(`{"action":"deleted","repository":{"id":1,"html_url":"https://github.com/acme/a","owner":{"login":"acme"}}}`))
	f.Add(true, []byte(`{"repository":{"html_url":"https://github.com/acme/../x#y","owner":{"login":"acme"}},"commits":[{"removed":["a"]},null]}`))
	f.Fuzz(func(t *testing.T, push bool, payload []byte) {
		topic := "github.repository"
		if push {
			topic = "github.push"
		}
		err := w.handler.OnEvent(t.Context(), events.Event{ID: "github:1", Topic: topic, Payload: payload})
		if err == nil && push {
			t.Error("a push was done although nothing could be read")
		}
	})
}
