// Package sample is a small server of sample repositories. It speaks the endpoints of the GitHub REST API
// that Callboard reads, has a commit in place of a git push, and makes the webhooks that GitHub would send.
package sample

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"

	"github.com/callboard/callboard/pkg/events"
)

const (
	// lockTimeout is how long to wait for another process that has the file open.
	lockTimeout = time.Second
	// firstID is added to the number of a repository, so that ids look like GitHub's.
	firstID = 710_000_000
	// defaultBranch is the default branch of a repository until its first commit.
	defaultBranch = "main"
	defaultAuthor = "callboard-sample"
)

// Server keeps repositories in a file and answers the GitHub API for them; see [Server.ServeHTTP]. Every
// change is on disk when its method returns. It is safe for concurrent use.
type Server struct {
	// Fail, where it is set before the first request, may answer a request with a status of its own; 0 lets
	// the request through.
	Fail func(*http.Request) int
	// Apps, where they are set before the first request, are the GitHub Apps that there are.
	Apps []App

	db     *bolt.DB
	mux    *http.ServeMux
	tokens installationTokens
}

// Open opens the file at path, or creates it. A file that another process has open is refused with
// [events.CodeUnavailable].
func Open(path string) (*Server, error) {
	db, err := openDatabase(path)
	if err != nil {
		return nil, err
	}
	s := &Server{db: db, tokens: installationTokens{made: map[string]installationToken{}}}
	s.mux = s.routes()
	return s, nil
}

// Close closes the file.
func (s *Server) Close() error { return s.db.Close() }

// Repository describes a repository.
type Repository struct {
	ID            int64     `json:"id"` // never given to another repository, even of the same name
	Owner         string    `json:"owner"`
	Name          string    `json:"name"`
	DefaultBranch string    `json:"defaultBranch"` // the first branch that was pushed; "" before
	CreatedAt     time.Time `json:"createdAt"`
	PushedAt      time.Time `json:"pushedAt"`
}

// FullName returns "owner/name".
func (r Repository) FullName() string { return r.Owner + "/" + r.Name }

// Change is what one push brings to a branch. Repository and branch are created where they are absent.
type Change struct {
	Owner, Repo, Branch string
	// Files are the new contents by path; nil removes a file, if there is one. Without any there is no new
	// commit and the branch is set to Base.
	Files map[string]*string
	// Message and Author, the name of a person, have defaults.
	Message, Author string
	// Force allows a push that throws commits of the branch away. Without Base it replaces the newest commit.
	Force bool
	// Base is the commit below the new one. Default is the head of the branch, for a new branch that of the
	// default branch.
	Base string
}

// Push is what a change did: what a webhook of it says.
type Push struct {
	Repository Repository
	Ref        string // "refs/heads/<branch>"
	Before     string // 40 zeros for a branch that was created
	After      string // 40 zeros for a branch that was deleted
	Created    bool
	Deleted    bool
	Forced     bool     // commits of the branch were thrown away
	Commits    []Commit // new ones, oldest first
	Head       *Commit  // what the branch points to; nil when it was deleted
	Pusher     string   // the author of the change
}

// Commit is a commit with the paths in which it differs from its parent.
type Commit struct {
	ID, TreeID, Message, Author string
	Time                        time.Time
	Added, Modified, Removed    []string
}

// CreateRepository returns a repository and creates it, without a commit, where it is absent.
func (s *Server) CreateRepository(ctx context.Context, owner, name string) (Repository, error) {
	if err := checkRepository(owner, name); err != nil {
		return Repository{}, err
	}
	var created Repository
	err := s.update(ctx, func(tx *bolt.Tx) error {
		r, err := openRepository(tx, owner, name)
		if err != nil {
			return err
		}
		created = r.Repository
		return nil
	})
	return created, err
}

// DeleteRepository deletes a repository with all branches and commits and returns what it was.
func (s *Server) DeleteRepository(ctx context.Context, owner, name string) (Repository, error) {
	var deleted Repository
	err := s.update(ctx, func(tx *bolt.Tx) error {
		r, err := existingRepository(tx, owner, name)
		if err != nil {
			return err
		}
		deleted = r.Repository
		return r.delete(tx)
	})
	return deleted, err
}

// DeleteBranch deletes a branch. Its commits stay readable, as on GitHub.
func (s *Server) DeleteBranch(ctx context.Context, owner, name, branch string) (Push, error) {
	var push Push
	err := s.update(ctx, func(tx *bolt.Tx) error {
		r, err := existingRepository(tx, owner, name)
		if err != nil {
			return err
		}
		before := r.head(branch)
		if before == "" {
			return events.Errorf(events.CodeNotFound, "sample repository %s has no branch %q", r.FullName(), branch)
		}
		push = Push{
			Repository: r.Repository, Ref: "refs/heads/" + branch,
			Before: before, After: zeroSHA, Deleted: true, Pusher: defaultAuthor,
		}
		return r.deleteHead(branch)
	})
	return push, err
}

// Commit makes a change, all of it or nothing. A push that would throw commits away without Force fails with
// [events.CodeConflict], a Base that does not exist with [events.CodeNotFound], and what git or GitHub would
// not accept with [events.CodeInvalid].
func (s *Server) Commit(ctx context.Context, c Change) (Push, error) {
	if err := c.check(); err != nil {
		return Push{}, err
	}
	var push Push
	err := s.update(ctx, func(tx *bolt.Tx) error {
		r, err := openRepository(tx, c.Owner, c.Repo)
		if err != nil {
			return err
		}
		push, err = r.apply(c, now())
		return err
	})
	return push, err
}

// apply makes a change.
func (r *repository) apply(c Change, at time.Time) (Push, error) {
	before := r.head(c.Branch)
	after, err := r.base(c, before)
	if err != nil {
		return Push{}, err
	}
	author := c.Author
	if author == "" {
		author = defaultAuthor
	}
	push := Push{Ref: "refs/heads/" + c.Branch, Before: before, Pusher: author}
	if before == "" {
		push.Before, push.Created = zeroSHA, true
	}
	if len(c.Files) > 0 {
		if after, err = r.newCommit(c, author, after, at); err != nil {
			return Push{}, err
		}
		push.Commits = []Commit{r.describe(after)}
	}
	push.Forced = before != "" && !r.isAncestor(before, after)
	if push.Forced && !c.Force {
		return Push{}, events.Errorf(events.CodeConflict,
			"commit %s of branch %q of sample repository %s would be lost; use force", before, c.Branch, r.FullName())
	}
	head := r.describe(after)
	push.After, push.Head = after, &head

	if r.DefaultBranch == "" {
		r.DefaultBranch = c.Branch
	}
	r.PushedAt = at
	push.Repository = r.Repository
	if err := r.save(); err != nil {
		return Push{}, err
	}
	return push, r.setHead(c.Branch, after)
}

// base returns the commit below the new one, "" for none.
func (r *repository) base(c Change, before string) (string, error) {
	switch {
	case c.Base != "":
		if _, ok := r.commit(c.Base); !ok {
			return "", events.Errorf(events.CodeNotFound, "sample repository %s has no commit %q", r.FullName(), c.Base)
		}
		return c.Base, nil
	case before == "":
		return r.head(r.DefaultBranch), nil
	case c.Force:
		newest, _ := r.commit(before)
		return newest.parent, nil
	default:
		return before, nil
	}
}

// newCommit stores the files of a change and a commit on top of parent.
func (r *repository) newCommit(c Change, author, parent string, at time.Time) (string, error) {
	below, _ := r.commit(parent)
	files := map[string]string{}
	r.files(below.tree, "", files)
	for path, content := range c.Files {
		if content == nil {
			delete(files, path)
			continue
		}
		sha, err := r.put(kindBlob, []byte(*content))
		if err != nil {
			return "", err
		}
		files[path] = sha
	}
	for path := range files {
		for i, b := range []byte(path) {
			if _, ok := files[path[:i]]; b == '/' && ok {
				return "", events.Errorf(events.CodeInvalid, "%q cannot be a file and a directory with %q", path[:i], path)
			}
		}
	}
	tree, err := r.putTree(files)
	if err != nil {
		return "", err
	}
	message := c.Message
	if message == "" {
		message = "Change files"
	}
	return r.putCommit(commitObject{tree: tree, parent: parent, author: author, message: message, time: at})
}

// describe returns a commit with the paths in which it differs from its parent.
func (r *repository) describe(sha string) Commit {
	c, _ := r.commit(sha)
	parent, _ := r.commit(c.parent)
	d := Commit{ID: sha, TreeID: c.tree, Message: c.message, Author: c.author, Time: c.time}
	for _, f := range r.diff(parent.tree, c.tree) {
		switch f.status {
		case statusAdded:
			d.Added = append(d.Added, f.path)
		case statusModified:
			d.Modified = append(d.Modified, f.path)
		case statusRemoved:
			d.Removed = append(d.Removed, f.path)
		}
	}
	return d
}

// update runs a change of the file.
func (s *Server) update(ctx context.Context, change func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.Update(change)
}

// openRepository returns a repository and creates it where it is absent.
func openRepository(tx *bolt.Tx, owner, name string) (*repository, error) {
	r, err := findRepository(tx, owner, name)
	if err != nil || r != nil {
		return r, err
	}
	return createRepository(tx, owner, name, now())
}

// existingRepository returns a repository that must be there.
func existingRepository(tx *bolt.Tx, owner, name string) (*repository, error) {
	r, err := findRepository(tx, owner, name)
	if err != nil || r != nil {
		return r, err
	}
	return nil, events.Errorf(events.CodeNotFound, "there is no sample repository %s/%s", owner, name)
}

// now is the time in the resolution of git.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// ownerPattern is a little wider than GitHub's, which ends at 39 characters.
var (
	ownerPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
)

// checkRepository refuses names that GitHub would not accept.
func checkRepository(owner, name string) error {
	if !ownerPattern.MatchString(owner) {
		return events.Errorf(events.CodeInvalid, "%q cannot be the owner of a repository", owner)
	}
	if !namePattern.MatchString(name) || name == "." || name == ".." {
		return events.Errorf(events.CodeInvalid, "%q cannot be the name of a repository", name)
	}
	return nil
}

// check refuses a change that git or GitHub would not accept.
func (c Change) check() error {
	if err := checkRepository(c.Owner, c.Repo); err != nil {
		return err
	}
	if !validBranch(c.Branch) {
		return events.Errorf(events.CodeInvalid, "%q cannot be a branch", c.Branch)
	}
	if !utf8.ValidString(c.Author) || strings.ContainsAny(c.Author, "<>\n\x00") {
		return events.Errorf(events.CodeInvalid, "%q cannot be the name of an author", c.Author)
	}
	if !utf8.ValidString(c.Message) || strings.ContainsRune(c.Message, 0) {
		return events.Errorf(events.CodeInvalid, "the commit message is not text in UTF-8")
	}
	if len(c.Files) == 0 && c.Base == "" {
		return events.Errorf(events.CodeInvalid, "there is nothing to commit; name files, or a base to set the branch to")
	}
	for path := range c.Files {
		if !validPath(path) {
			return events.Errorf(events.CodeInvalid, "%q cannot be the path of a file", path)
		}
	}
	return nil
}

// validPath says whether git accepts the path of a file.
func validPath(path string) bool {
	if !utf8.ValidString(path) || strings.ContainsRune(path, 0) {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.EqualFold(segment, ".git") {
			return false
		}
	}
	return true
}

// validBranch says whether git accepts the name of a branch.
//
// Source: https://git-scm.com/docs/git-check-ref-format
func validBranch(branch string) bool {
	if len(branch) > 200 || !utf8.ValidString(branch) || branch == "@" || strings.HasPrefix(branch, "-") ||
		strings.HasSuffix(branch, ".") || strings.Contains(branch, "..") || strings.Contains(branch, "@{") {
		return false
	}
	if strings.ContainsFunc(branch, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`~^:?*[\`, c) }) {
		return false
	}
	for segment := range strings.SplitSeq(branch, "/") {
		if segment == "" || strings.HasPrefix(segment, ".") || strings.HasSuffix(segment, ".lock") {
			return false
		}
	}
	return true
}

// login is the account of an author.
func login(author string) string { return strings.ToLower(strings.Join(strings.Fields(author), "-")) }

// email is the address that GitHub gives to an account.
func email(author string) string { return login(author) + "@users.noreply.github.com" }
