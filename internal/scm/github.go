package scm

import (
	"cmp"
	"context"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-github/v84/github"
	"golang.org/x/sync/errgroup"

	"github.com/callboard/callboard/pkg/events"
)

const (
	// MaxFileSize is the largest file, in bytes, that [GitHub.File] reads.
	MaxFileSize = 5 << 20

	// maxAnswer bounds every body. GitHub answers a recursive tree with up to 7 MB and a comparison with up
	// to 300 patches.
	maxAnswer = 64 << 20
	// requestTimeout is for one request with its answer.
	requestTimeout = 10 * time.Second
	// parallelTrees stays far below the concurrency at which GitHub's secondary rate limits start.
	parallelTrees = 4
	// maxRateLimit is the longest time for which the client refuses requests by itself.
	maxRateLimit = 12 * time.Hour

	// modeSymlink is the file mode by which git marks a blob as a symbolic link.
	modeSymlink = "120000"

	rawMediaType = "application/vnd.github.raw+json"
)

// GitHubOptions says which host a [GitHub] reads and how.
type GitHubOptions struct {
	// APIBaseURL is the address of the REST API: "https://api.github.com", or "https://HOST/api/v3" for a
	// GitHub Enterprise Server.
	APIBaseURL string
	// Token returns the token for the repositories of an owner. It is asked before every request, so that a rotated
	// token is used at once; it should cache. refused is "", or the token that the host has just refused: another one is
	// tried once, and "" or the same say that there is none. Nil means anonymous requests.
	Token func(ctx context.Context, owner, refused string) (string, error)
	// TokenPerOwner says that the tokens of different owners have rate limits of their own.
	TokenPerOwner bool
	// HTTPClient is used instead of one with sane timeouts. Its transport sees the token.
	HTTPClient *http.Client
}

// GitHub reads repositories of one GitHub host by its REST API. It is safe for concurrent use.
//
// Its errors are [events.Error] with these codes: [events.CodeNotFound] for what does not exist or the token
// may not see, [events.CodeUnauthorized] and [events.CodeForbidden] for a token that is refused,
// [events.CodeRateLimited] with RetryAt, [events.CodeInvalid] for arguments that name nothing, and
// [events.CodeUnavailable] for everything else, answers that are not what the API promises included.
type GitHub struct {
	token    func(ctx context.Context, owner, refused string) (string, error)
	perOwner bool
	open     func() *github.Client

	mu      sync.Mutex
	clients map[string]*github.Client // each remembers the rate limit of what it is for: an owner in lower case, or "" for all
}

// NewGitHub makes a client. It fails when the address is not an absolute http or https URL.
func NewGitHub(o GitHubOptions) (*GitHub, error) {
	base, err := parseBase(o.APIBaseURL)
	if err != nil {
		return nil, err
	}
	open := func() *github.Client { return newClient(base, o.HTTPClient) }
	return &GitHub{token: o.Token, perOwner: o.TokenPerOwner, open: open, clients: map[string]*github.Client{}}, nil
}

// parseBase returns the address of an API, with a slash at its end.
func parseBase(address string) (*url.URL, error) {
	base, err := url.Parse(address)
	if err != nil || (base.Scheme != "https" && base.Scheme != "http") || base.Host == "" ||
		base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		// The address is not repeated: it may hold a password.
		return nil, events.Errorf(events.CodeInvalid,
			"the GitHub API address must be a plain URL such as https://api.github.com or https://HOST/api/v3, without user, query or fragment")
	}
	return base.JoinPath("/"), nil
}

// newClient returns a client that sends the token in the context of a request, by the given client or one with sane
// timeouts.
func newClient(base *url.URL, by *http.Client) *github.Client {
	httpClient := http.Client{}
	if by != nil {
		httpClient = *by
	}
	if httpClient.Timeout == 0 {
		httpClient.Timeout = requestTimeout
	}
	httpClient.Transport = &transport{
		next:   cmp.Or[http.RoundTripper](httpClient.Transport, http.DefaultTransport),
		origin: origin(base),
	}
	client := github.NewClient(&httpClient)
	client.BaseURL = base
	client.UserAgent = "callboard"
	client.MaxSecondaryRateLimitRetryAfterDuration = maxRateLimit
	return client
}

// client returns the client for the repositories of an owner.
func (g *GitHub) client(owner string) *github.Client {
	key := ""
	if g.perOwner {
		key = strings.ToLower(owner)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[key]
	if c == nil {
		c = g.open()
		g.clients[key] = c
	}
	return c
}

// Head returns the commit a branch points to. A repository without commits has no branch.
func (g *GitHub) Head(ctx context.Context, repo Repository, branch string) (string, error) {
	if !plainPath(branch) {
		return "", events.Errorf(events.CodeInvalid, "%q cannot be a branch of repository %s", branch, repo.FullName())
	}
	r := request{repo: repo, what: "branch " + quote(branch), path: "git/ref/heads/" + escapePath(branch)}
	var ref struct {
		Ref    string `json:"ref"`
		Object struct {
			Type string `json:"type"`
			SHA  string `json:"sha"`
		} `json:"object"`
	}
	if err := g.readJSON(ctx, r, &ref); err != nil {
		return "", err
	}
	if want := "refs/heads/" + branch; ref.Ref != want {
		return "", r.unexpected("it names %s", quote(ref.Ref))
	}
	if ref.Object.Type != "commit" || !isSHA(ref.Object.SHA) {
		return "", r.unexpected("it points to no commit")
	}
	return ref.Object.SHA, nil
}

// Exists tells whether there is a repository, as far as the token may see it.
func (g *GitHub) Exists(ctx context.Context, repo Repository) (bool, error) {
	err := g.readJSON(ctx, request{repo: repo, what: "description"}, &struct{}{})
	if events.ErrorCode(err) == events.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// Compare returns what lies between two commits. GitHub lists at most 300 files, without saying whether
// there are more, and compares from the merge base.
//
// Source: https://docs.github.com/en/rest/commits/commits#compare-two-commits
func (g *GitHub) Compare(ctx context.Context, repo Repository, base, head string) (Comparison, error) {
	if err := checkSHAs(repo, base, head); err != nil {
		return Comparison{}, err
	}
	r := request{
		repo: repo,
		what: "comparison of commits " + base + " and " + head,
		path: "compare/" + base + "..." + head,
		// The first page has all files, however few commits it has.
		query: url.Values{"per_page": {"1"}, "page": {"1"}},
	}
	var answer struct {
		Status string `json:"status"`
		Files  *[]struct {
			Filename string `json:"filename"`
			Status   string `json:"status"`
			Previous string `json:"previous_filename"`
		} `json:"files"`
	}
	if err := g.readJSON(ctx, r, &answer); err != nil {
		return Comparison{}, err
	}
	if !slices.Contains([]string{Ahead, Behind, Identical, Diverged}, answer.Status) {
		return Comparison{}, r.unexpected("its status is %s", quote(answer.Status))
	}
	if answer.Files == nil {
		return Comparison{}, r.unexpected("it has no list of files")
	}
	c := Comparison{Status: answer.Status, Files: make([]File, 0, len(*answer.Files))}
	for _, f := range *answer.Files {
		if f.Filename == "" || f.Status == "" || (f.Status == Renamed && f.Previous == "") {
			return Comparison{}, r.unexpected("it has a file without name or status")
		}
		file := File{Path: f.Filename, Status: f.Status}
		if f.Status == Renamed {
			file.Previous = f.Previous
		}
		c.Files = append(c.Files, file)
	}
	return c, nil
}

// Tree returns the sorted paths of all files of a commit. Symbolic links and submodules are no files. A tree
// above what GitHub lists at once is read directory by directory.
//
// Source: https://docs.github.com/en/rest/git/trees#get-a-tree
func (g *GitHub) Tree(ctx context.Context, repo Repository, sha string) ([]string, error) {
	if err := checkSHAs(repo, sha); err != nil {
		return nil, err
	}
	files := []string{}
	for level := []directory{{sha: sha}}; len(level) > 0; {
		listed := make([]listing, len(level))
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(parallelTrees)
		for i, d := range level {
			group.Go(func() (err error) {
				listed[i], err = g.list(gctx, repo, sha, d)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		level = nil
		for _, l := range listed {
			files = append(files, l.files...)
			level = append(level, l.directories...)
		}
	}
	slices.Sort(files)
	return files, nil
}

// directory is a tree that is yet to be listed; prefix is "" or ends with a slash.
type directory struct{ prefix, sha string }

// listing is what is known of a directory: its files, and the directories whose files are not among them.
type listing struct {
	files       []string
	directories []directory
}

// list reads a directory with all below it or, where that is too much for one answer, one level of it.
func (g *GitHub) list(ctx context.Context, repo Repository, commit string, d directory) (listing, error) {
	r := request{repo: repo, what: "tree of commit " + commit, path: "git/trees/" + d.sha}
	if d.prefix != "" {
		r.what = "directory " + quote(d.prefix) + " at commit " + commit
	}
	for _, recursive := range []bool{true, false} {
		l, complete, err := g.readTree(ctx, r, d.prefix, recursive)
		if err != nil || complete {
			return l, err
		}
	}
	return listing{}, events.Errorf(events.CodeTooLarge,
		"%s holds more entries than GitHub lists; move some of them to sub-directories", r.subject())
}

// readTree reads one tree and says whether the answer is complete.
func (g *GitHub) readTree(ctx context.Context, r request, prefix string, recursive bool) (listing, bool, error) {
	if recursive {
		r.query = url.Values{"recursive": {"1"}}
	}
	var answer struct {
		Tree *[]struct {
			Path string `json:"path"`
			Mode string `json:"mode"`
			Type string `json:"type"`
			SHA  string `json:"sha"`
		} `json:"tree"`
		Truncated *bool `json:"truncated"`
	}
	if err := g.readJSON(ctx, r, &answer); err != nil {
		return listing{}, false, err
	}
	if answer.Tree == nil || answer.Truncated == nil {
		return listing{}, false, r.unexpected("it is no tree")
	}
	if *answer.Truncated {
		return listing{}, false, nil
	}
	var l listing
	for _, e := range *answer.Tree {
		switch {
		case e.Path == "":
			return listing{}, false, r.unexpected("it has an entry without a path")
		case e.Type == "blob" && e.Mode != modeSymlink:
			l.files = append(l.files, prefix+e.Path)
		case e.Type == "tree" && !recursive:
			if !isSHA(e.SHA) {
				return listing{}, false, r.unexpected("the directory %s has no id", quote(e.Path))
			}
			l.directories = append(l.directories, directory{prefix: prefix + e.Path + "/", sha: e.SHA})
		}
	}
	return l, true, nil
}

// File returns the content of a file at a commit. A symbolic link within the repository is followed. Above
// [MaxFileSize] the error has [events.CodeTooLarge]; what is no file, a directory for example, is not found.
//
// Source: https://docs.github.com/en/rest/repos/contents#get-repository-content
func (g *GitHub) File(ctx context.Context, repo Repository, sha, path string) ([]byte, error) {
	if err := checkSHAs(repo, sha); err != nil {
		return nil, err
	}
	if !plainPath(path) {
		return nil, events.Errorf(events.CodeInvalid, "%q cannot be a file of repository %s", path, repo.FullName())
	}
	r := request{
		repo:   repo,
		what:   "file " + quote(path) + " at commit " + sha,
		path:   "contents/" + escapePath(path),
		query:  url.Values{"ref": {sha}},
		accept: rawMediaType,
	}
	response, err := g.get(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // read to its end or given up: nothing to learn here

	// Directories and submodules are answered as JSON in spite of the media type that was asked for; a file
	// of JSON is not, its type is the raw one. HTML comes from a proxy or a log-in page in between.
	switch mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); mediaType {
	case "application/json":
		return nil, events.Errorf(events.CodeNotFound, "%s is not a file", r.subject())
	case "text/html":
		return nil, r.unexpected("it is an HTML page")
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, MaxFileSize+1))
	if err != nil {
		return nil, r.failure(err)
	}
	if len(content) > MaxFileSize {
		return nil, r.tooLarge()
	}
	return content, nil
}

// request is a GET below a repository.
type request struct {
	repo   Repository
	what   string     // what is asked for, for messages
	path   string     // escaped, below the repository
	query  url.Values // may be nil
	accept string     // a media type, or "" for JSON
}

// subject names what is asked for and where.
func (r request) subject() string {
	return r.what + " of repository " + r.repo.FullName() + " on " + r.repo.Host
}

// readJSON reads an answer into a value. An answer that ends too early is an error.
func (g *GitHub) readJSON(ctx context.Context, r request, into any) error {
	response, err := g.get(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // read to its end or given up: nothing to learn here
	// A path in git is bytes; one that is not UTF-8 must not make the whole repository unreadable.
	err = json.UnmarshalRead(response.Body, into, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable,
			"the answer about %s is not what the GitHub API promises", r.subject())
	}
	return nil
}

// get sends a request. Who gets a response closes its body.
func (g *GitHub) get(ctx context.Context, r request) (*http.Response, error) {
	if !plainSegment(r.repo.Owner) || !plainSegment(r.repo.Name) {
		return nil, events.Errorf(events.CodeInvalid, "%q is not the name of a repository", r.repo.FullName())
	}
	address := "repos/" + url.PathEscape(r.repo.Owner) + "/" + url.PathEscape(r.repo.Name)
	if r.path != "" {
		address += "/" + r.path
	}
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	client := g.client(r.repo.Owner)
	req, err := client.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, events.Wrap(err, events.CodeInvalid, "%s cannot be asked for", r.subject())
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	response, err := g.send(ctx, r, client, req)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close() // nobody reads it
		return nil, r.unexpected("its status is %d", response.StatusCode)
	}
	return response.Response, nil
}

// send sends a request with a token, and once more with another one if it is refused and there is another one.
func (g *GitHub) send(ctx context.Context, r request, client *github.Client, req *http.Request) (*github.Response, error) {
	if g.token == nil {
		response, err := client.BareDo(ctx, req)
		return response, r.failure(err)
	}
	token, err := g.ask(ctx, r.repo, "")
	if err != nil {
		return nil, err
	}
	response, err := client.BareDo(context.WithValue(ctx, tokenKey{}, token), req)
	if err = r.failure(err); events.ErrorCode(err) != events.CodeUnauthorized {
		return response, err
	}
	another, failed := g.ask(ctx, r.repo, token)
	if failed != nil || another == token {
		return nil, err
	}
	response, err = client.BareDo(context.WithValue(ctx, tokenKey{}, another), req)
	return response, r.failure(err)
}

// ask returns a token that is not empty. That there is none says nothing about a repository.
func (g *GitHub) ask(ctx context.Context, repo Repository, refused string) (string, error) {
	token, err := g.token(ctx, repo.Owner, refused)
	if events.ErrorCode(err) == events.CodeRateLimited {
		return "", err
	}
	if err != nil {
		return "", events.Wrap(err, events.CodeUnavailable, "there is no token for %s", repo.Host)
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", events.Errorf(events.CodeUnavailable, "the token for %s is empty; store one", repo.Host)
	}
	return token, nil
}

// tokenKey is the key of the token in the context of a request.
type tokenKey struct{}

// transport sends the token to one host and bounds what is read. The token is added here and not to the
// request because http.Client hands the headers of a request on to sub-domains when it follows a redirect.
type transport struct {
	next   http.RoundTripper
	origin string
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if token, ok := req.Context().Value(tokenKey{}).(string); ok && origin(req.URL) == t.origin {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}

// origin returns scheme, host and port of an address in one spelling.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// checkSHAs refuses what is not a full commit id.
func checkSHAs(repo Repository, shas ...string) error {
	for _, sha := range shas {
		if !isSHA(sha) {
			return events.Errorf(events.CodeInvalid, "%q is not the full id of a commit of repository %s", sha, repo.FullName())
		}
	}
	return nil
}

// isSHA says whether s is a full object id of git, which is SHA-1 or SHA-256 in lower-case hex digits.
func isSHA(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// plainPath says whether every segment of a path is one that URLs leave alone.
func plainPath(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// plainSegment says whether s is one segment of a path, as [plainPath] has it.
func plainSegment(s string) bool { return !strings.Contains(s, "/") && plainPath(s) }

// escapePath escapes a path segment by segment.
func escapePath(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}
