package sample

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	bolt "go.etcd.io/bbolt"
)

const (
	// maxFiles is how many files GitHub lists in a comparison.
	maxFiles = 300
	// maxCommits is how many commits GitHub lists in a comparison that is not read by pages.
	maxCommits = 250

	// apiHost is the host whose web addresses the API names.
	apiHost = "github.com"
)

// ServeHTTP answers the GitHub REST API (references, comparisons, trees, contents, repositories, and what GitHub Apps
// need) for the repositories, without authentication unless there are Apps. Addresses of other resources are left out of
// the answers.
//
// Source: https://docs.github.com/en/rest
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Fail != nil {
		if status := s.Fail(r); status != 0 {
			writeError(w, &apiError{status: status, message: http.StatusText(status)})
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

// apiError is an answer that is none of the wanted.
type apiError struct {
	status  int
	message string
}

// Error implements error.
func (e *apiError) Error() string { return e.message }

// errNotFound is how GitHub says that something does not exist.
var errNotFound = &apiError{status: http.StatusNotFound, message: "Not Found"}

// answer is the body of a response: raw bytes, or a value to be written as JSON.
type answer struct {
	raw   []byte
	value any
}

// routes returns the endpoints.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, read := range map[string]func(*repository, *http.Request) (answer, error){
		"GET /repos/{owner}/{repo}":                         getRepository,
		"GET /repos/{owner}/{repo}/git/ref/heads/{path...}": getReference,
		"GET /repos/{owner}/{repo}/compare/{path...}":       getComparison,
		"GET /repos/{owner}/{repo}/git/trees/{path...}":     getTree,
		"GET /repos/{owner}/{repo}/contents/{path...}":      getContents,
	} {
		mux.HandleFunc(pattern, s.endpoint(read))
	}
	mux.HandleFunc("GET /app/installations", s.listInstallations)
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", s.makeToken)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { writeError(w, errNotFound) })
	return mux
}

// endpoint answers with what read makes of the repository, in one transaction.
func (s *Server) endpoint(read func(*repository, *http.Request) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if err := s.authorize(req, req.PathValue("owner")); err != nil {
			writeError(w, err)
			return
		}
		var a answer
		err := s.db.View(func(tx *bolt.Tx) error {
			r, err := findRepository(tx, req.PathValue("owner"), req.PathValue("repo"))
			if err != nil {
				return err
			}
			if r == nil {
				return errNotFound
			}
			a, err = read(r, req)
			return err
		})
		if err != nil {
			writeError(w, err)
			return
		}
		if a.value != nil {
			writeJSON(w, http.StatusOK, a.value)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.github.raw+json; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(a.raw) // a client that went away needs no answer
	}
}

// writeError answers as GitHub does when something is wrong.
func writeError(w http.ResponseWriter, err error) {
	failure, ok := errors.AsType[*apiError](err)
	if !ok {
		failure = &apiError{status: http.StatusInternalServerError, message: "Server Error"}
	}
	writeJSON(w, failure.status, struct {
		Message       string `json:"message"`
		Documentation string `json:"documentation_url"`
		Status        string `json:"status"`
	}{failure.message, "https://docs.github.com/rest", strconv.Itoa(failure.status)})
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, value any) {
	// A name in a message is the client's own, and need not be text.
	body, err := json.Marshal(value, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"message":"Server Error"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away needs no answer
}

// getRepository answers with the description of a repository.
func getRepository(r *repository, _ *http.Request) (answer, error) {
	return answer{value: describeRepository(r.Repository, apiHost)}, nil
}

// object is an object as several answers name it.
type object struct {
	SHA  string `json:"sha"`
	Type string `json:"type"`
}

// getReference answers with the head of a branch.
func getReference(r *repository, req *http.Request) (answer, error) {
	if err := r.hasCommits(); err != nil {
		return answer{}, err
	}
	branch := req.PathValue("path")
	sha := r.head(branch)
	if sha == "" {
		return answer{}, errNotFound
	}
	return answer{value: struct {
		Ref    string `json:"ref"`
		Object object `json:"object"`
	}{"refs/heads/" + branch, object{SHA: sha, Type: kindCommit}}}, nil
}

// hasCommits fails as GitHub does for a repository without any.
func (r *repository) hasCommits() error {
	if r.empty() {
		return &apiError{status: http.StatusConflict, message: "Git Repository is empty."}
	}
	return nil
}

// commitJSON is a commit in a comparison.
type commitJSON struct {
	SHA    string `json:"sha"`
	Commit struct {
		Author    personJSON `json:"author"`
		Committer personJSON `json:"committer"`
		Message   string     `json:"message"`
		Tree      struct {
			SHA string `json:"sha"`
		} `json:"tree"`
	} `json:"commit"`
	Parents []object `json:"parents"`
}

// personJSON is who made a commit, and when.
type personJSON struct {
	Name  string    `json:"name"`
	Email string    `json:"email"`
	Date  time.Time `json:"date"`
}

// commitJSON describes a commit.
func (r *repository) commitJSON(sha string) commitJSON {
	c, _ := r.commit(sha)
	j := commitJSON{SHA: sha}
	j.Commit.Author = personJSON{Name: c.author, Email: email(c.author), Date: c.time}
	j.Commit.Committer = j.Commit.Author
	j.Commit.Message = c.message
	j.Commit.Tree.SHA = c.tree
	if c.parent != "" {
		j.Parents = []object{{SHA: c.parent, Type: kindCommit}}
	}
	return j
}

// fileJSON is a file in a comparison.
type fileJSON struct {
	SHA      string `json:"sha"`
	Filename string `json:"filename"`
	Status   string `json:"status"`
	Previous string `json:"previous_filename,omitzero"`
}

// comparisonJSON is a comparison of two commits.
type comparisonJSON struct {
	Base         commitJSON   `json:"base_commit"`
	MergeBase    commitJSON   `json:"merge_base_commit"`
	Status       string       `json:"status"`
	AheadBy      int          `json:"ahead_by"`
	BehindBy     int          `json:"behind_by"`
	TotalCommits int          `json:"total_commits"`
	Commits      []commitJSON `json:"commits"`
	Files        []fileJSON   `json:"files,omitzero"`
}

// getComparison answers with what lies between two commits, compared from their merge base.
func getComparison(r *repository, req *http.Request) (answer, error) {
	baseRef, headRef, ok := strings.Cut(req.PathValue("path"), "...")
	base, head := r.resolve(baseRef), r.resolve(headRef)
	if !ok || base == "" || head == "" {
		return answer{}, errNotFound
	}
	common, behind, ahead := r.mergeBase(base, head)
	if common == "" {
		return answer{}, &apiError{status: http.StatusNotFound, message: fmt.Sprintf("No common ancestor between %s and %s.", baseRef, headRef)}
	}
	c := comparisonJSON{
		Base: r.commitJSON(base), MergeBase: r.commitJSON(common),
		AheadBy: ahead, BehindBy: behind, TotalCommits: ahead,
	}
	switch {
	case ahead > 0 && behind > 0:
		c.Status = "diverged"
	case ahead > 0:
		c.Status = "ahead"
	case behind > 0:
		c.Status = "behind"
	default:
		c.Status = "identical"
	}

	page, perPage := number(req, "page", 1), number(req, "per_page", maxCommits)
	var shas []string
	for sha := range r.history(head) {
		if len(shas) == ahead {
			break
		}
		shas = append(shas, sha)
	}
	slices.Reverse(shas) // oldest first
	if pages := slices.Collect(slices.Chunk(shas, perPage)); page <= len(pages) {
		for _, sha := range pages[page-1] {
			c.Commits = append(c.Commits, r.commitJSON(sha))
		}
	}
	if page == 1 { // the other pages have no files
		c.Files = []fileJSON{}
		for _, d := range withRenames(r.diff(c.MergeBase.Commit.Tree.SHA, r.commitJSON(head).Commit.Tree.SHA)) {
			if len(c.Files) == maxFiles {
				break
			}
			c.Files = append(c.Files, fileJSON{SHA: d.sha, Filename: d.path, Status: d.status, Previous: d.previous})
		}
	}
	return answer{value: c}, nil
}

// number reads a positive number of at most 1,000 from the query.
func number(req *http.Request, name string, otherwise int) int {
	n, err := strconv.Atoi(req.URL.Query().Get(name))
	if err != nil || n < 1 || n > 1000 {
		return otherwise
	}
	return n
}

// treeEntryJSON is an entry of a tree.
type treeEntryJSON struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
	object
	Size *int `json:"size,omitzero"`
}

// getTree answers with a tree, with all below it where the query has "recursive", with whatever value.
func getTree(r *repository, req *http.Request) (answer, error) {
	if err := r.hasCommits(); err != nil {
		return answer{}, err
	}
	sha := req.PathValue("path")
	if c, ok := r.commit(r.resolve(sha)); ok {
		sha = c.tree
	}
	if kind, _ := r.object(sha); kind != kindTree {
		return answer{}, errNotFound
	}
	return answer{value: struct {
		SHA       string          `json:"sha"`
		Tree      []treeEntryJSON `json:"tree"`
		Truncated bool            `json:"truncated"`
	}{SHA: sha, Tree: r.treeJSON(sha, "", req.URL.Query().Has("recursive"))}}, nil
}

// treeJSON lists a tree.
func (r *repository) treeJSON(sha, prefix string, recursive bool) []treeEntryJSON {
	list := []treeEntryJSON{}
	for _, e := range r.entries(sha) {
		if e.tree {
			list = append(list, treeEntryJSON{Path: prefix + e.name, Mode: "0" + modeTree, object: object{SHA: e.sha, Type: kindTree}})
			if recursive {
				list = append(list, r.treeJSON(e.sha, prefix+e.name+"/", true)...)
			}
			continue
		}
		_, content := r.object(e.sha)
		size := len(content)
		list = append(list, treeEntryJSON{Path: prefix + e.name, Mode: modeFile, object: object{SHA: e.sha, Type: kindBlob}, Size: &size})
	}
	return list
}

// contentJSON is a file or directory in the contents API.
type contentJSON struct {
	Type     string  `json:"type"`
	Encoding string  `json:"encoding,omitzero"`
	Size     int     `json:"size"`
	Name     string  `json:"name"`
	Path     string  `json:"path"`
	Content  *string `json:"content,omitzero"`
	SHA      string  `json:"sha"`
}

// getContents answers with a file, raw where the request accepts that, or with the entries of a directory.
func getContents(r *repository, req *http.Request) (answer, error) {
	ref := req.URL.Query().Get("ref")
	if ref == "" {
		ref = r.DefaultBranch
	}
	c, ok := r.commit(r.resolve(ref))
	if !ok {
		return answer{}, &apiError{status: http.StatusNotFound, message: "No commit found for the ref " + ref}
	}
	at := entry{tree: true, sha: c.tree}
	full := strings.TrimSuffix(req.PathValue("path"), "/")
	if full != "" {
		for name := range strings.SplitSeq(full, "/") {
			list := r.entries(at.sha)
			i := slices.IndexFunc(list, func(e entry) bool { return e.name == name })
			if i < 0 {
				return answer{}, errNotFound
			}
			at = list[i]
		}
	}
	if at.tree {
		list := []contentJSON{}
		for _, e := range r.entries(at.sha) {
			list = append(list, r.contentJSON(e, path.Join(full, e.name)))
		}
		return answer{value: list}, nil
	}
	_, content := r.object(at.sha)
	if strings.Contains(req.Header.Get("Accept"), "raw") {
		return answer{raw: bytes.Clone(content)}, nil // the transaction ends before it is written
	}
	file := r.contentJSON(at, full)
	file.Encoding = "base64"
	var lines strings.Builder
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(content)), 60) {
		lines.Write(line)
		lines.WriteByte('\n')
	}
	encoded := lines.String()
	file.Content = &encoded
	return answer{value: file}, nil
}

// contentJSON describes a file or directory without its content.
func (r *repository) contentJSON(e entry, full string) contentJSON {
	j := contentJSON{Type: "file", Name: e.name, Path: full, SHA: e.sha}
	if e.tree {
		j.Type = "dir"
		return j
	}
	_, content := r.object(e.sha)
	j.Size = len(content)
	return j
}
