package sample_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/pkg/events"
)

const zeroSHA = "0000000000000000000000000000000000000000"

var petstore = scm.Repository{Host: "github.com", Owner: "acme", Name: "petstore"}

// world is a server with a client that reads it over HTTP, below a prefix.
type world struct {
	*sample.Server
	github *scm.GitHub
	url    string
}

func newWorld(t *testing.T, path string) world {
	t.Helper()
	server, err := sample.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.StripPrefix("/sample/api/v3", server))
	t.Cleanup(func() {
		web.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	github, err := scm.NewGitHub(scm.GitHubOptions{APIBaseURL: web.URL + "/sample/api/v3"})
	if err != nil {
		t.Fatal(err)
	}
	return world{Server: server, github: github, url: web.URL + "/sample/api/v3"}
}

func fresh(t *testing.T) world {
	t.Helper()
	return newWorld(t, filepath.Join(t.TempDir(), "sample.db"))
}

// change is a change of main in petstore; "" as the content removes the file.
func change(files ...string) sample.Change {
	c := sample.Change{Owner: "acme", Repo: "petstore", Branch: "main", Files: map[string]*string{}}
	for pair := range slices.Chunk(files, 2) {
		path, content := pair[0], pair[1]
		c.Files[path] = nil
		if content != "" {
			c.Files[path] = &content
		}
	}
	return c
}

func (w world) commit(t *testing.T, c sample.Change) sample.Push {
	t.Helper()
	push, err := w.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return push
}

// tree reads all files of a commit with their contents.
func (w world) tree(ctx context.Context, t interface{ Fatal(...any) }, repo scm.Repository, sha string) map[string]string {
	paths, err := w.github.Tree(ctx, repo, sha)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, path := range paths {
		content, err := w.github.File(ctx, repo, sha, path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = string(content)
	}
	return files
}

func (w world) get(t *testing.T, path string) (status int, body map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.UnmarshalRead(response.Body, &body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

func checkCode(t *testing.T, err error, want events.Code) {
	t.Helper()
	if got := events.ErrorCode(err); got != want {
		t.Errorf("code = %q, want %q; error: %v", got, want, err)
	}
}

func TestCommitIsReadBack(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	awkward := "docs/a b/ä#?%2F+&=.md"
	first := w.commit(t, change("catalog-info.yaml", "kind: Component\n", awkward, "text", "a/b.txt", "1", "a.txt", "2"))
	second := w.commit(t, change("catalog-info.yaml", "kind: API\n", "new.bin", "\x00\xff", "a/b.txt", "", "never-there", ""))

	head, err := w.github.Head(t.Context(), petstore, "main")
	if err != nil || head != second.After {
		t.Fatalf("head = %q, %v; want %q", head, err, second.After)
	}
	want := map[string]string{"catalog-info.yaml": "kind: API\n", awkward: "text", "new.bin": "\x00\xff", "a.txt": "2"}
	if diff := cmp.Diff(want, w.tree(t.Context(), t, petstore, head)); diff != "" {
		t.Errorf("newest: %s", diff)
	}
	want = map[string]string{"catalog-info.yaml": "kind: Component\n", awkward: "text", "a/b.txt": "1", "a.txt": "2"}
	if diff := cmp.Diff(want, w.tree(t.Context(), t, petstore, first.After)); diff != "" {
		t.Errorf("first: %s", diff)
	}
	// GitHub knows no upper and lower case in names of repositories, and does in branches.
	if head, err := w.github.Head(t.Context(), scm.Repository{Owner: "ACME", Name: "PetStore"}, "main"); err != nil || head != second.After {
		t.Errorf("head by another spelling = %q, %v", head, err)
	}
	_, err = w.github.Head(t.Context(), petstore, "Main")
	checkCode(t, err, events.CodeNotFound)
}

// The ids are those that git gives to the same content, which sorts a directory as if it ended with a slash.
func TestIDsAreGits(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	push := w.commit(t, change("hello.txt", "hello\n"))
	_, body := w.get(t, "/repos/acme/petstore/git/trees/"+push.After)
	entries, _ := body["tree"].([]any)
	if len(entries) != 1 {
		t.Fatalf("tree = %v", body)
	}
	want := map[string]any{"path": "hello.txt", "mode": "100644", "type": "blob", "size": 6.0, "sha": "ce013625030ba8dba906f756967f9e9ca394464a"}
	if diff := cmp.Diff(want, entries[0]); diff != "" {
		t.Error(diff)
	}
	if want := "aaa96ced2d9a1c8e72c56b253a0e2fe78393feb7"; body["sha"] != want || push.Head.TreeID != want {
		t.Errorf("tree = %v and %v, want %v", body["sha"], push.Head.TreeID, want)
	}
	sorted := w.commit(t, change("hello.txt", "", "a.txt", "hello\n", "a/b", "hello\n", "a0", "hello\n"))
	if want := "39a5358fb566207617a0abec08342a390f1e215a"; sorted.Head.TreeID != want {
		t.Errorf("tree = %v, want %v", sorted.Head.TreeID, want)
	}
}

func TestPush(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	type push struct {
		Before, After            string
		Created, Deleted, Forced bool
		Added, Modified, Removed []string
		Commits                  int
	}
	summary := func(p sample.Push) push {
		s := push{Before: p.Before, After: p.After, Created: p.Created, Deleted: p.Deleted, Forced: p.Forced, Commits: len(p.Commits)}
		for _, c := range p.Commits {
			s.Added, s.Modified, s.Removed = c.Added, c.Modified, c.Removed
		}
		return s
	}
	check := func(what string, got sample.Push, want push) {
		t.Helper()
		if diff := cmp.Diff(want, summary(got), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	with := func(c sample.Change, set func(*sample.Change)) sample.Change {
		set(&c)
		return c
	}

	one := w.commit(t, change("a", "1", "b/c", "1"))
	check("new repository", one, push{Before: zeroSHA, After: one.After, Created: true, Added: []string{"a", "b/c"}, Commits: 1})

	two := w.commit(t, change("a", "2", "b/c", "", "b/d", "1"))
	check("fast-forward", two, push{Before: one.After, After: two.After, Added: []string{"b/d"}, Modified: []string{"a"}, Removed: []string{"b/c"}, Commits: 1})

	same := w.commit(t, change("a", "2", "absent", ""))
	check("nothing new", same, push{Before: two.After, After: same.After, Commits: 1})

	branch := w.commit(t, with(change("e", "1"), func(c *sample.Change) { c.Branch = "feature/e" }))
	check("new branch", branch, push{Before: zeroSHA, After: branch.After, Created: true, Added: []string{"e"}, Commits: 1})
	if diff := cmp.Diff(map[string]string{"a": "2", "b/d": "1", "e": "1"}, w.tree(t.Context(), t, petstore, branch.After)); diff != "" {
		t.Errorf("a new branch starts at the default branch: %s", diff)
	}

	older := with(change("f", "1"), func(c *sample.Change) { c.Base = one.After })
	_, err := w.Commit(t.Context(), older)
	checkCode(t, err, events.CodeConflict)
	if head, err := w.github.Head(t.Context(), petstore, "main"); err != nil || head != same.After {
		t.Errorf("a refused push moved the branch to %q, %v", head, err)
	}
	older.Force = true
	forced := w.commit(t, older)
	check("forced", forced, push{Before: same.After, After: forced.After, Forced: true, Added: []string{"f"}, Commits: 1})

	amended := w.commit(t, with(change("f", "2"), func(c *sample.Change) { c.Force = true }))
	check("amended", amended, push{Before: forced.After, After: amended.After, Forced: true, Added: []string{"f"}, Commits: 1})

	reset := w.commit(t, sample.Change{Owner: "acme", Repo: "petstore", Branch: "main", Base: one.After, Force: true})
	check("reset", reset, push{Before: amended.After, After: one.After, Forced: true})

	forward := w.commit(t, sample.Change{Owner: "acme", Repo: "petstore", Branch: "main", Base: two.After, Force: true})
	check("force that was not needed", forward, push{Before: one.After, After: two.After})

	deleted, err := w.DeleteBranch(t.Context(), "acme", "petstore", "feature/e")
	if err != nil {
		t.Fatal(err)
	}
	check("deleted", deleted, push{Before: branch.After, After: zeroSHA, Deleted: true})
	_, err = w.github.Head(t.Context(), petstore, "feature/e")
	checkCode(t, err, events.CodeNotFound)
}

func TestCompare(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	root := w.commit(t, change("keep", "k", "edit", "1", "gone", "g", "dir/moved", "m")).After
	left := w.commit(t, change("edit", "2", "gone", "", "dir/moved", "", "other/moved", "m", "new", "n")).After
	right := w.commit(t, sample.Change{Owner: "acme", Repo: "petstore", Branch: "right", Base: root, Files: change("right", "r").Files}).After
	ahead := []scm.File{
		{Path: "edit", Status: "modified"},
		{Path: "gone", Status: scm.Removed},
		{Path: "new", Status: "added"},
		{Path: "other/moved", Status: scm.Renamed, Previous: "dir/moved"},
	}
	tests := []struct {
		name, base, head string
		want             scm.Comparison
	}{
		{"ahead", root, left, scm.Comparison{Status: scm.Ahead, Files: ahead}},
		{"behind has no files", left, root, scm.Comparison{Status: scm.Behind}},
		{"identical", left, left, scm.Comparison{Status: scm.Identical}},
		{"diverged lists what the head has since the merge base", right, left, scm.Comparison{Status: scm.Diverged, Files: ahead}},
		{"diverged the other way", left, right, scm.Comparison{Status: scm.Diverged, Files: []scm.File{{Path: "right", Status: "added"}}}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := w.github.Compare(t.Context(), petstore, tc.base, tc.head)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}

	_, body := w.get(t, "/repos/acme/petstore/compare/right...main") // branches are named as well as commits
	mergeBase, _ := body["merge_base_commit"].(map[string]any)
	got := []any{body["status"], body["ahead_by"], body["behind_by"], body["total_commits"], mergeBase["sha"]}
	if diff := cmp.Diff([]any{"diverged", 1.0, 1.0, 1.0, root}, got); diff != "" {
		t.Error(diff)
	}

	_, err := w.github.Compare(t.Context(), petstore, strings.Repeat("1", 40), left)
	checkCode(t, err, events.CodeNotFound)
}

// A file is renamed once; further ones of the same content are new.
func TestCompareRenamesOnce(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	base := w.commit(t, change("old1", "same", "old2", "same")).After
	head := w.commit(t, change("old1", "", "old2", "", "new1", "same", "new2", "same", "new3", "same")).After
	got, err := w.github.Compare(t.Context(), petstore, base, head)
	want := scm.Comparison{Status: scm.Ahead, Files: []scm.File{
		{Path: "new1", Status: scm.Renamed, Previous: "old1"},
		{Path: "new2", Status: scm.Renamed, Previous: "old2"},
		{Path: "new3", Status: "added"},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestCompareWithoutCommonAncestor(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	one := w.commit(t, change("a", "1"))
	c := change("a", "2")
	c.Force = true // replaces the first commit, which has no parent
	two := w.commit(t, c)
	if !two.Forced {
		t.Error("the push is not forced")
	}
	_, err := w.github.Compare(t.Context(), petstore, one.After, two.After)
	checkCode(t, err, events.CodeNotFound)
}

func TestCompareEndsAt300Files(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	base := w.commit(t, change("a", "1"))
	c := change()
	for i := range 301 {
		content := fmt.Sprint(i)
		c.Files[fmt.Sprintf("many/%03d", i)] = &content
	}
	head := w.commit(t, c)
	got, err := w.github.Compare(t.Context(), petstore, base.After, head.After)
	if err != nil || len(got.Files) != 300 {
		t.Errorf("%d files, %v; want 300", len(got.Files), err)
	}
}

func TestComparePages(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	base := w.commit(t, change("a", "1")).After
	var want []string
	for i := range 3 {
		want = append(want, w.commit(t, change("a", fmt.Sprint(i+2))).After)
	}
	var got []string
	for page := 1; page <= 3; page++ {
		_, body := w.get(t, fmt.Sprintf("/repos/acme/petstore/compare/%s...main?per_page=2&page=%d", base, page))
		if _, ok := body["files"]; ok != (page == 1) {
			t.Errorf("files on page %d: %t", page, ok)
		}
		commits, _ := body["commits"].([]any)
		for _, c := range commits {
			commit, _ := c.(map[string]any)
			got = append(got, fmt.Sprint(commit["sha"]))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTrees(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	w.commit(t, change("a/b/c", "1", "a/d", "2", "e", "3"))
	list := func(path string) (sha string, entries []string) {
		status, body := w.get(t, "/repos/acme/petstore/git/trees/"+path)
		if status != http.StatusOK || body["truncated"] != false {
			t.Fatalf("%s: %d %v", path, status, body)
		}
		tree, _ := body["tree"].([]any)
		for _, e := range tree {
			entry, _ := e.(map[string]any)
			entries = append(entries, fmt.Sprint(entry["type"], " ", entry["mode"], " ", entry["path"]))
			if entry["path"] == "a" {
				sha = fmt.Sprint(entry["sha"])
			}
		}
		return sha, entries
	}
	_, got := list("main?recursive=1")
	if diff := cmp.Diff([]string{"tree 040000 a", "tree 040000 a/b", "blob 100644 a/b/c", "blob 100644 a/d", "blob 100644 e"}, got); diff != "" {
		t.Error(diff)
	}
	sub, got := list("main")
	if diff := cmp.Diff([]string{"tree 040000 a", "blob 100644 e"}, got); diff != "" {
		t.Error(diff)
	}
	_, got = list(sub)
	if diff := cmp.Diff([]string{"tree 040000 b", "blob 100644 d"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestContents(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	text := strings.Repeat("a long text ", 20)
	w.commit(t, change("dir/a.txt", text, "empty", "x"))
	_, body := w.get(t, "/repos/acme/petstore/contents/dir/a.txt")
	encoded, _ := body["content"].(string)
	var content []byte
	if err := json.Unmarshal([]byte(`"`+strings.ReplaceAll(encoded, "\n", "")+`"`), &content); err != nil || string(content) != text {
		t.Errorf("content = %q, %v", content, err)
	}
	if body["type"] != "file" || body["encoding"] != "base64" || body["path"] != "dir/a.txt" || body["name"] != "a.txt" {
		t.Errorf("file = %v", body)
	}
	head, err := w.github.Head(t.Context(), petstore, "main")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"dir", "absent", "dir/absent", "empty/below-a-file"} {
		_, err := w.github.File(t.Context(), petstore, head, path)
		checkCode(t, err, events.CodeNotFound)
	}
	_, err = w.github.File(t.Context(), petstore, strings.Repeat("1", 40), "dir/a.txt")
	checkCode(t, err, events.CodeNotFound)
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	w.commit(t, change("a", "1"))
	for _, path := range []string{
		"/", "/users/acme", "/repos/acme/absent", "/repos/acme/absent/git/ref/heads/main",
		"/repos/acme/petstore/git/ref/heads/mai", "/repos/acme/petstore/git/ref/heads/", "/repos/acme/petstore/git/ref/tags/v1",
		"/repos/acme/petstore/compare/main", "/repos/acme/petstore/compare/main...absent",
		"/repos/acme/petstore/git/trees/absent", "/repos/acme/petstore/contents/a?ref=absent",
	} {
		status, body := w.get(t, path)
		if status != http.StatusNotFound || body["status"] != "404" || body["message"] == "" || body["documentation_url"] == "" {
			t.Errorf("%s: %d %v", path, status, body)
		}
	}
	if status, body := w.get(t, "/repos/acme/petstore"); status != http.StatusOK || body["full_name"] != "acme/petstore" || body["default_branch"] != "main" {
		t.Errorf("repository: %d %v", status, body)
	}
}

func TestEmptyRepository(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	created, err := w.CreateRepository(t.Context(), "acme", "petstore")
	if err != nil {
		t.Fatal(err)
	}
	if status, body := w.get(t, "/repos/acme/petstore/git/ref/heads/main"); status != http.StatusConflict || body["message"] != "Git Repository is empty." {
		t.Errorf("%d %v", status, body)
	}
	_, err = w.github.Head(t.Context(), petstore, "main")
	checkCode(t, err, events.CodeNotFound)
	_, err = w.github.Tree(t.Context(), petstore, strings.Repeat("1", 40))
	checkCode(t, err, events.CodeNotFound)

	again, err := w.CreateRepository(t.Context(), "ACME", "petstore")
	if err != nil || again != created {
		t.Errorf("created again: %v, %v; want %v", again, err, created)
	}
}

func TestDeleteRepository(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	first := w.commit(t, change("a", "1"))
	deleted, err := w.DeleteRepository(t.Context(), "acme", "petstore")
	if err != nil || deleted != first.Repository {
		t.Fatalf("deleted %v, %v; want %v", deleted, err, first.Repository)
	}
	_, err = w.github.Head(t.Context(), petstore, "main")
	checkCode(t, err, events.CodeNotFound)
	_, err = w.DeleteRepository(t.Context(), "acme", "petstore")
	checkCode(t, err, events.CodeNotFound)
	_, err = w.DeleteBranch(t.Context(), "acme", "petstore", "main")
	checkCode(t, err, events.CodeNotFound)

	second := w.commit(t, change("b", "1"))
	if second.Repository.ID == first.Repository.ID || !second.Created {
		t.Errorf("the new repository %v is the old one %v", second.Repository, first.Repository)
	}
	if _, err := w.github.Tree(t.Context(), petstore, first.After); events.ErrorCode(err) != events.CodeNotFound {
		t.Errorf("a commit of the deleted repository: %v", err)
	}
}

func TestCommitRefuses(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	w.commit(t, change("dir/file", "1"))
	set := func(f func(*sample.Change)) sample.Change {
		c := change("a", "1")
		f(&c)
		return c
	}
	tests := map[string]struct {
		change sample.Change
		code   events.Code
	}{
		"owner":               {set(func(c *sample.Change) { c.Owner = "a/b" }), events.CodeInvalid},
		"repository":          {set(func(c *sample.Change) { c.Repo = ".." }), events.CodeInvalid},
		"no branch":           {set(func(c *sample.Change) { c.Branch = "" }), events.CodeInvalid},
		"branch":              {set(func(c *sample.Change) { c.Branch = "a..b" }), events.CodeInvalid},
		"branch with a space": {set(func(c *sample.Change) { c.Branch = "a b" }), events.CodeInvalid},
		"branch with a lock":  {set(func(c *sample.Change) { c.Branch = "a.lock/b" }), events.CodeInvalid},
		"author":              {set(func(c *sample.Change) { c.Author = "a <b" }), events.CodeInvalid},
		"message":             {set(func(c *sample.Change) { c.Message = "\xff" }), events.CodeInvalid},
		"nothing":             {change(), events.CodeInvalid},
		"path":                {change("a/../b", "1"), events.CodeInvalid},
		"rooted path":         {change("/a", "1"), events.CodeInvalid},
		"git's own folder":    {change(".git/config", "1"), events.CodeInvalid},
		"path is not text":    {change("\xff", "1"), events.CodeInvalid},
		"file as a directory": {change("dir/file/below", "1"), events.CodeInvalid},
		"directory as a file": {change("dir", "1"), events.CodeInvalid},
		"base":                {set(func(c *sample.Change) { c.Base = strings.Repeat("1", 40) }), events.CodeNotFound},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := w.Commit(t.Context(), tc.change)
			checkCode(t, err, tc.code)
		})
	}
	t.Run("caller gave up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Commit(ctx, change("a", "1")); err == nil {
			t.Error("no error")
		}
	})
	head, err := w.github.Head(t.Context(), petstore, "main")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"dir/file": "1"}, w.tree(t.Context(), t, petstore, head)); diff != "" {
		t.Errorf("a refused change left something behind: %s", diff)
	}
}

func TestSurvivesReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sample.db")
	var push sample.Push
	t.Run("first", func(t *testing.T) {
		w := newWorld(t, path)
		push = w.commit(t, change("a", "1"))
		_, err := sample.Open(path)
		checkCode(t, err, events.CodeUnavailable) // one process at a time
	})
	t.Run("second", func(t *testing.T) {
		w := newWorld(t, path)
		next := w.commit(t, change("b", "2"))
		if next.Before != push.After || next.Repository.ID != push.Repository.ID {
			t.Errorf("the push %v does not follow on %v", next, push)
		}
		if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, w.tree(t.Context(), t, petstore, next.After)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		_, err := sample.Open(filepath.Join(t.TempDir(), "absent", "sample.db"))
		checkCode(t, err, events.CodeUnavailable)
	})
}

func TestFail(t *testing.T) {
	t.Parallel()
	server, err := sample.Open(filepath.Join(t.TempDir(), "sample.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	server.Fail = func(r *http.Request) int {
		if strings.Contains(r.URL.Path, "/git/") {
			return http.StatusBadGateway
		}
		return 0
	}
	for path, want := range map[string]int{"/repos/a/b/git/ref/heads/main": 502, "/repos/a/b": 404} {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// Any history: the comparison of two commits, where the head is ahead, leads from one tree to the other, and
// the status is what the history says.
func TestComparisonsLeadFromTreeToTree(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	paths := []string{"catalog-info.yaml", "a/catalog-info.yaml", "a/b/c", "a/b/d", "e", "f"}
	repositories := 0
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		repositories++
		repo := scm.Repository{Host: "github.com", Owner: "acme", Name: fmt.Sprintf("r%d", repositories)}
		parents, trees := map[string]string{}, map[string]map[string]string{}
		var commits []string
		for range rapid.IntRange(1, 6).Draw(rt, "commits") {
			c := sample.Change{Owner: repo.Owner, Repo: repo.Name, Branch: "main", Files: map[string]*string{}}
			parent := ""
			if len(commits) > 0 {
				parent = commits[len(commits)-1]
			}
			if parent != "" && rapid.Bool().Draw(rt, "forced") {
				parent = rapid.SampledFrom(commits).Draw(rt, "base")
				c.Base, c.Force = parent, true
			}
			files := maps.Clone(trees[parent])
			if files == nil {
				files = map[string]string{}
			}
			for _, path := range rapid.SliceOfNDistinct(rapid.SampledFrom(paths), 1, 4, rapid.ID[string]).Draw(rt, "paths") {
				content := rapid.SampledFrom([]string{"1", "2", ""}).Draw(rt, "content")
				delete(files, path)
				c.Files[path] = nil
				if content != "" {
					c.Files[path], files[path] = &content, content
				}
			}
			push, err := w.Commit(t.Context(), c)
			if err != nil {
				rt.Fatal(err)
			}
			commits = append(commits, push.After)
			parents[push.After], trees[push.After] = parent, files
		}
		ancestors := func(sha string) (list []string) {
			for ; sha != ""; sha = parents[sha] {
				list = append(list, sha)
			}
			return list
		}
		type pair struct{ base, head string }
		pairs := map[string][]pair{} // by what the history says
		for _, base := range commits {
			for _, head := range commits {
				status := scm.Diverged
				switch {
				case base == head:
					status = scm.Identical
				case slices.Contains(ancestors(head), base):
					status = scm.Ahead
				case slices.Contains(ancestors(base), head):
					status = scm.Behind
				}
				pairs[status] = append(pairs[status], pair{base, head})
			}
		}
		want := rapid.SampledFrom(slices.Sorted(maps.Keys(pairs))).Draw(rt, "status")
		compared := rapid.SampledFrom(pairs[want]).Draw(rt, "commits to compare")
		base, head := compared.base, compared.head
		got, err := w.github.Compare(t.Context(), repo, base, head)
		if err != nil {
			rt.Fatal(err)
		}
		if got.Status != want {
			rt.Fatalf("status = %s, want %s", got.Status, want)
		}
		seen[got.Status]++
		if got.Status != scm.Ahead {
			return
		}
		files := maps.Clone(trees[base])
		for _, f := range got.Files {
			if f.Status == scm.Removed {
				delete(files, f.Path)
			}
			if f.Status == scm.Renamed {
				delete(files, f.Previous)
			}
		}
		for _, f := range got.Files {
			if f.Status == scm.Removed {
				continue
			}
			content, err := w.github.File(t.Context(), repo, head, f.Path)
			if err != nil {
				rt.Fatal(err)
			}
			files[f.Path] = string(content)
		}
		if diff := cmp.Diff(trees[head], files); diff != "" {
			rt.Fatalf("files of the comparison applied to the base: %s", diff)
		}
		if diff := cmp.Diff(trees[head], w.tree(t.Context(), rt, repo, head)); diff != "" {
			rt.Fatalf("tree: %s", diff)
		}
	})
	for _, status := range []string{scm.Ahead, scm.Behind, scm.Identical, scm.Diverged} {
		if !t.Failed() && seen[status] == 0 {
			t.Errorf("no comparison was %s", status)
		}
	}
}

func TestPushPayload(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	w.commit(t, change("a", "1", "b", "1"))
	c := change("a", "2", "b", "", "c", "1")
	c.Message, c.Author = "Change\n\nall of it", "Alex Doe"
	push := w.commit(t, c)
	payload := decode(t)(push.Payload("github.com"))

	head, _ := payload["head_commit"].(map[string]any)
	if diff := cmp.Diff([]any{payload["head_commit"]}, payload["commits"]); diff != "" {
		t.Errorf("commits: %s", diff)
	}
	subset(t, "head_commit", head, map[string]any{
		"id": push.After, "tree_id": push.Head.TreeID, "message": "Change\n\nall of it", "distinct": true,
		"timestamp": push.Head.Time.Format("2006-01-02T15:04:05Z"), "url": "https://github.com/acme/petstore/commit/" + push.After,
		"author": map[string]any{"name": "Alex Doe", "email": "alex-doe@users.noreply.github.com", "username": "alex-doe"},
		"added":  []any{"c"}, "modified": []any{"a"}, "removed": []any{"b"},
	})
	subset(t, "push", payload, map[string]any{
		"ref": "refs/heads/main", "before": push.Before, "after": push.After,
		"created": false, "deleted": false, "forced": false, "base_ref": nil,
		"compare": "https://github.com/acme/petstore/compare/" + push.Before[:12] + "..." + push.After[:12],
		"pusher":  map[string]any{"name": "alex-doe", "email": "alex-doe@users.noreply.github.com"},
	})
	repository, _ := payload["repository"].(map[string]any)
	subset(t, "repository", repository, map[string]any{
		"id": float64(push.Repository.ID), "name": "petstore", "full_name": "acme/petstore", "private": false,
		"html_url": "https://github.com/acme/petstore", "url": "https://api.github.com/repos/acme/petstore",
		"default_branch": "main", "master_branch": "main", "organization": "acme", "visibility": "public",
		"archived": false, "fork": false, "topics": []any{},
		"created_at": float64(push.Repository.CreatedAt.Unix()), "pushed_at": float64(push.Repository.PushedAt.Unix()),
	})
	owner, _ := repository["owner"].(map[string]any)
	organization, _ := payload["organization"].(map[string]any)
	sender, _ := payload["sender"].(map[string]any)
	subset(t, "owner", owner, map[string]any{"login": "acme", "name": "acme", "type": "Organization", "id": organization["id"]})
	subset(t, "organization", organization, map[string]any{"login": "acme"})
	subset(t, "sender", sender, map[string]any{"login": "alex-doe", "type": "User"})
}

// The lists of a push are lists even where they are empty, as on GitHub.
func TestPushPayloadOfBranches(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	created := w.commit(t, change("a", "1"))
	payload := decode(t)(created.Payload("ghe.example"))
	subset(t, "created", payload, map[string]any{
		"created": true, "before": zeroSHA, "compare": "https://ghe.example/acme/petstore/compare/main",
	})
	head, _ := payload["head_commit"].(map[string]any)
	subset(t, "head_commit", head, map[string]any{"removed": []any{}, "modified": []any{}})

	deleted, err := w.DeleteBranch(t.Context(), "acme", "petstore", "main")
	if err != nil {
		t.Fatal(err)
	}
	payload = decode(t)(deleted.Payload("ghe.example"))
	subset(t, "deleted", payload, map[string]any{
		"deleted": true, "created": false, "before": created.After, "after": zeroSHA, "head_commit": nil, "commits": []any{},
	})
	repository, _ := payload["repository"].(map[string]any)
	subset(t, "repository", repository, map[string]any{
		"html_url": "https://ghe.example/acme/petstore", "url": "https://ghe.example/api/v3/repos/acme/petstore",
	})
}

func TestOtherPayloads(t *testing.T) {
	t.Parallel()
	w := fresh(t)
	repository, err := w.CreateRepository(t.Context(), "acme", "petstore")
	if err != nil {
		t.Fatal(err)
	}
	described := func(payload map[string]any, archived bool) {
		t.Helper()
		got, _ := payload["repository"].(map[string]any)
		subset(t, "repository", got, map[string]any{
			"id": float64(repository.ID), "full_name": "acme/petstore", "default_branch": "main", "archived": archived,
			"created_at": repository.CreatedAt.Format("2006-01-02T15:04:05Z"),
		})
		organization, _ := payload["organization"].(map[string]any)
		subset(t, "organization", organization, map[string]any{"login": "acme"})
	}
	for action, archived := range map[string]bool{"deleted": false, "archived": true} {
		payload := decode(t)(repository.EventPayload("github.com", action))
		subset(t, "repository event", payload, map[string]any{"action": action})
		described(payload, archived)
	}
	ping := decode(t)(repository.PingPayload("github.com"))
	hook, _ := ping["hook"].(map[string]any)
	subset(t, "hook", hook, map[string]any{"id": ping["hook_id"], "type": "Repository", "active": true})
	if zen, _ := ping["zen"].(string); zen == "" {
		t.Error("a ping without zen")
	}
	described(ping, false)
}

// decode reads a payload.
func decode(t *testing.T) func([]byte, error) map[string]any {
	return func(payload []byte, err error) map[string]any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var value map[string]any
		if err := json.Unmarshal(payload, &value); err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// subset compares the members of an object that are wanted.
func subset(t *testing.T, what string, object, want map[string]any) {
	t.Helper()
	got := map[string]any{}
	for name := range want {
		if value, ok := object[name]; ok {
			got[name] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// Whatever is asked for, the server answers with JSON or a file and does not panic.
func FuzzServeHTTP(f *testing.F) {
	server, err := sample.Open(filepath.Join(f.TempDir(), "sample.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = server.Close() })
	if _, err := server.Commit(context.Background(), change("a/b", "1")); err != nil {
		f.Fatal(err)
	}
	f.Add("git/ref/heads/main", "")
	f.Add("compare/main...main", "page=2")
	f.Add("git/trees/main", "recursive=1")
	f.Add("contents/a/b", "ref=main")
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.URL.Path, r.URL.RawQuery = "/repos/acme/petstore/"+path, query
		r.Header.Set("Accept", "application/json")
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		body, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		redirect := w.Code >= 300 && w.Code < 400 // the way of net/http to clean a path
		if !redirect && (json.Unmarshal(bytes.TrimSpace(body), &value) != nil || w.Code >= 500) {
			t.Errorf("%d %q", w.Code, body)
		}
	})
}
