package sample

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the object ids of git are SHA-1; nothing here relies on it against an attacker
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/callboard/callboard/pkg/events"
)

// The database holds one bucket per repository, named by its lower-case full name, in bucketRepositories.
// In it are the description, the heads of the branches, and the objects as git writes them, by their id.
var (
	bucketRepositories = []byte("repositories")
	bucketBranches     = []byte("branches")
	bucketObjects      = []byte("objects")
	keyDescription     = []byte("description")
)

// The kinds of objects.
const (
	kindBlob   = "blob"
	kindTree   = "tree"
	kindCommit = "commit"
)

// zeroSHA stands for no commit in a push.
const zeroSHA = "0000000000000000000000000000000000000000"

// repository is a repository within a transaction.
type repository struct {
	Repository
	bucket *bolt.Bucket
}

// findRepository returns a repository, or nil where there is none.
func findRepository(tx *bolt.Tx, owner, name string) (*repository, error) {
	bucket := tx.Bucket(bucketRepositories).Bucket(repositoryKey(owner, name))
	if bucket == nil {
		return nil, nil // absent: the callers differ in what that means
	}
	r := &repository{bucket: bucket}
	if err := json.Unmarshal(bucket.Get(keyDescription), &r.Repository); err != nil {
		return nil, fmt.Errorf("description of sample repository %s/%s: %w", owner, name, err)
	}
	return r, nil
}

// createRepository adds a repository, whose id no other had before.
func createRepository(tx *bolt.Tx, owner, name string, now time.Time) (*repository, error) {
	all := tx.Bucket(bucketRepositories)
	id, err := all.NextSequence()
	if err != nil {
		return nil, err
	}
	bucket, err := all.CreateBucket(repositoryKey(owner, name))
	if err != nil {
		return nil, err
	}
	for _, b := range [][]byte{bucketBranches, bucketObjects} {
		if _, err := bucket.CreateBucket(b); err != nil {
			return nil, err
		}
	}
	r := &repository{bucket: bucket, Repository: Repository{
		ID:    firstID + int64(id), //nolint:gosec // a sequence that starts at 1
		Owner: owner, Name: name, CreatedAt: now, PushedAt: now,
	}}
	return r, r.save()
}

// delete removes a repository with all it holds.
func (r *repository) delete(tx *bolt.Tx) error {
	return tx.Bucket(bucketRepositories).DeleteBucket(repositoryKey(r.Owner, r.Name))
}

// save stores the description.
func (r *repository) save() error {
	description, err := json.Marshal(r.Repository)
	if err != nil {
		return err
	}
	return r.bucket.Put(keyDescription, description)
}

// head returns the commit of a branch, or "".
func (r *repository) head(branch string) string {
	return string(r.bucket.Bucket(bucketBranches).Get([]byte(branch)))
}

// setHead moves a branch, or creates it.
func (r *repository) setHead(branch, sha string) error {
	return r.bucket.Bucket(bucketBranches).Put([]byte(branch), []byte(sha))
}

// deleteHead removes a branch.
func (r *repository) deleteHead(branch string) error {
	return r.bucket.Bucket(bucketBranches).Delete([]byte(branch))
}

// empty says whether nothing was ever pushed.
func (r *repository) empty() bool {
	key, _ := r.bucket.Bucket(bucketObjects).Cursor().First()
	return key == nil
}

// put stores an object and returns its id.
func (r *repository) put(kind string, content []byte) (string, error) {
	object := append([]byte(kind+" "+strconv.Itoa(len(content))+"\x00"), content...)
	id := sha1.Sum(object) //nolint:gosec // see the import
	objects := r.bucket.Bucket(bucketObjects)
	if objects.Get(id[:]) == nil {
		if err := objects.Put(id[:], object); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(id[:]), nil
}

// object returns kind and content of an object, or "" as the kind where there is none. The content is valid
// until the transaction ends.
func (r *repository) object(sha string) (kind string, content []byte) {
	id, err := hex.DecodeString(sha)
	if err != nil || len(id) == 0 {
		return "", nil
	}
	header, content, _ := bytes.Cut(r.bucket.Bucket(bucketObjects).Get(id), []byte{0})
	kind, _, _ = strings.Cut(string(header), " ")
	return kind, content
}

// commitObject is the content of a commit.
type commitObject struct {
	tree, parent, author, message string // parent is "" for the first commit
	time                          time.Time
}

// putCommit stores a commit in git's own form.
func (r *repository) putCommit(c commitObject) (string, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", c.tree)
	if c.parent != "" {
		fmt.Fprintf(&b, "parent %s\n", c.parent)
	}
	for _, role := range []string{"author", "committer"} {
		fmt.Fprintf(&b, "%s %s <%s> %d +0000\n", role, c.author, email(c.author), c.time.Unix())
	}
	fmt.Fprintf(&b, "\n%s\n", c.message)
	return r.put(kindCommit, b.Bytes())
}

// commit reads a commit, and says whether there is one with this id.
func (r *repository) commit(sha string) (commitObject, bool) {
	kind, content := r.object(sha)
	if kind != kindCommit {
		return commitObject{}, false
	}
	header, message, _ := strings.Cut(string(content), "\n\n")
	c := commitObject{message: strings.TrimSuffix(message, "\n")}
	for line := range strings.Lines(header) {
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch field {
		case "tree":
			c.tree = value
		case "parent":
			c.parent = value
		case "author":
			c.author, value, _ = strings.Cut(value, " <")
			_, value, _ = strings.Cut(value, "> ")
			value, _, _ = strings.Cut(value, " ")
			seconds, _ := strconv.ParseInt(value, 10, 64) // written by putCommit
			c.time = time.Unix(seconds, 0).UTC()
		}
	}
	return c, true
}

// entry is one line of a tree.
type entry struct {
	name string
	tree bool
	sha  string
}

// The file modes of git that occur here.
const (
	modeFile = "100644"
	modeTree = "40000"
)

// entries reads a tree. An id that is none has no entries: the tree of no commit is empty.
func (r *repository) entries(sha string) []entry {
	kind, content := r.object(sha)
	if kind != kindTree {
		return nil
	}
	var list []entry
	for len(content) > 0 {
		header, rest, _ := bytes.Cut(content, []byte{0})
		mode, name, _ := strings.Cut(string(header), " ")
		list = append(list, entry{name: name, tree: mode == modeTree, sha: hex.EncodeToString(rest[:sha1.Size])})
		content = rest[sha1.Size:]
	}
	return list
}

// files adds all files of a tree to a map of paths to blobs.
func (r *repository) files(sha, prefix string, into map[string]string) {
	for _, e := range r.entries(sha) {
		if e.tree {
			r.files(e.sha, prefix+e.name+"/", into)
			continue
		}
		into[prefix+e.name] = e.sha
	}
}

// putTree stores the tree of a map of paths to blobs, sub-trees included. No path may be a directory of
// another.
func (r *repository) putTree(files map[string]string) (string, error) {
	blobs := map[string]string{}
	directories := map[string]map[string]string{}
	for path, sha := range files {
		name, rest, nested := strings.Cut(path, "/")
		if !nested {
			blobs[name] = sha
			continue
		}
		if directories[name] == nil {
			directories[name] = map[string]string{}
		}
		directories[name][rest] = sha
	}
	list := make([]entry, 0, len(blobs)+len(directories))
	for name, sha := range blobs {
		list = append(list, entry{name: name, sha: sha})
	}
	for _, name := range slices.Sorted(maps.Keys(directories)) {
		sha, err := r.putTree(directories[name])
		if err != nil {
			return "", err
		}
		list = append(list, entry{name: name, tree: true, sha: sha})
	}
	// Git sorts a directory as if its name ended with a slash.
	sortName := func(e entry) string {
		if e.tree {
			return e.name + "/"
		}
		return e.name
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(sortName(a), sortName(b)) })

	var b bytes.Buffer
	for _, e := range list {
		id, err := hex.DecodeString(e.sha)
		if err != nil {
			return "", err
		}
		mode := modeFile
		if e.tree {
			mode = modeTree
		}
		b.WriteString(mode + " " + e.name + "\x00")
		b.Write(id)
	}
	return r.put(kindTree, b.Bytes())
}

// difference is one path that two trees do not have in common.
type difference struct {
	path, status, previous, sha string
}

// The statuses of a difference.
const (
	statusAdded    = "added"
	statusModified = "modified"
	statusRemoved  = "removed"
	statusRenamed  = "renamed"
)

// diff returns what leads from one tree to another, by path. It knows no renames.
func (r *repository) diff(from, to string) []difference {
	before, after := map[string]string{}, map[string]string{}
	r.changed(from, to, "", before, after)
	var list []difference
	for path, sha := range before {
		switch now, ok := after[path]; {
		case !ok:
			list = append(list, difference{path: path, status: statusRemoved, sha: sha})
		case now != sha:
			list = append(list, difference{path: path, status: statusModified, sha: now})
		}
	}
	for path, sha := range after {
		if _, ok := before[path]; !ok {
			list = append(list, difference{path: path, status: statusAdded, sha: sha})
		}
	}
	slices.SortFunc(list, func(a, b difference) int { return strings.Compare(a.path, b.path) })
	return list
}

// changed adds the files of two trees to before and after, without those below what is equal in both.
func (r *repository) changed(from, to, prefix string, before, after map[string]string) {
	if from == to {
		return
	}
	old := map[string]entry{}
	for _, e := range r.entries(from) {
		old[e.name] = e
	}
	add := func(e entry, into map[string]string) {
		if e.tree {
			r.files(e.sha, prefix+e.name+"/", into)
			return
		}
		into[prefix+e.name] = e.sha
	}
	for _, e := range r.entries(to) {
		o, ok := old[e.name]
		delete(old, e.name)
		switch {
		case ok && o == e:
		case ok && o.tree && e.tree:
			r.changed(o.sha, e.sha, prefix+e.name+"/", before, after)
		default:
			if ok {
				add(o, before)
			}
			add(e, after)
		}
	}
	for _, e := range old {
		add(e, before)
	}
}

// withRenames joins a removed and an added file of the same content to a renamed one.
func withRenames(list []difference) []difference {
	removed := map[string][]int{} // by content
	for i, d := range list {
		if d.status == statusRemoved {
			removed[d.sha] = append(removed[d.sha], i)
		}
	}
	gone := map[int]bool{}
	for i, d := range list {
		sources := removed[d.sha]
		if d.status != statusAdded || len(sources) == 0 {
			continue
		}
		list[i].status, list[i].previous = statusRenamed, list[sources[0]].path
		gone[sources[0]] = true
		removed[d.sha] = sources[1:]
	}
	kept := make([]difference, 0, len(list))
	for i, d := range list {
		if !gone[i] {
			kept = append(kept, d)
		}
	}
	return kept
}

// resolve returns the commit that a branch or a full commit id names, or "".
func (r *repository) resolve(ref string) string {
	if _, ok := r.commit(ref); ok {
		return ref
	}
	return r.head(strings.TrimPrefix(ref, "refs/heads/"))
}

// isAncestor says whether a commit is another one or below it.
func (r *repository) isAncestor(sha, of string) bool {
	for at := range r.history(of) {
		if at == sha {
			return true
		}
	}
	return false
}

// mergeBase returns the newest commit that two have in common, "" for none, and how many each has above it.
// Histories have no merges here.
func (r *repository) mergeBase(base, head string) (common string, aboveBase, aboveHead int) {
	above := map[string]int{}
	for at := range r.history(head) {
		above[at] = len(above)
		if at == base {
			break
		}
	}
	for at := range r.history(base) {
		if n, ok := above[at]; ok {
			return at, aboveBase, n
		}
		aboveBase++
	}
	return "", 0, 0
}

// history iterates over a commit and its ancestors, newest first.
func (r *repository) history(sha string) iter.Seq2[string, commitObject] {
	return func(yield func(string, commitObject) bool) {
		for sha != "" {
			c, ok := r.commit(sha)
			if !ok || !yield(sha, c) {
				return
			}
			sha = c.parent
		}
	}
}

// repositoryKey is the name of a repository's bucket: GitHub knows no upper and lower case there.
func repositoryKey(owner, name string) []byte {
	return []byte(strings.ToLower(owner + "/" + name))
}

// openDatabase opens or creates the file.
func openDatabase(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, events.Wrap(err, events.CodeUnavailable, "the sample repositories in %s are in use by another process", path)
	}
	if err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "the sample repositories in %s cannot be opened", path)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketRepositories)
		return err
	})
	if err != nil {
		_ = db.Close() // the first error is the cause
		return nil, events.Wrap(err, events.CodeUnavailable, "the sample repositories in %s cannot be written", path)
	}
	return db, nil
}
