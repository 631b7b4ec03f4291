package scm_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/pkg/events"
)

const (
	shaA  = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	shaB  = "aa218f56b14c9653891f9e74264a383fa43fefbd"
	shaC  = "9fb037999f264ba9a7fc6274d15fa3ae2ab98312"
	token = "ghp_canary0123456789"
)

var petstore = scm.Repository{Host: "github.com", Owner: "acme", Name: "petstore"}

// reply is one recorded answer.
type reply struct {
	status int
	header map[string]string
	body   string
}

// fakeGitHub answers by request URI below /api/v3 and fails the test for any other; it records the requests.
type fakeGitHub struct {
	url      string
	mu       sync.Mutex
	requests []*http.Request
}

func newFake(t *testing.T, replies map[string]reply) *fakeGitHub {
	t.Helper()
	f := &fakeGitHub{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r)
		f.mu.Unlock()
		a, ok := replies[strings.TrimPrefix(r.RequestURI, "/api/v3")]
		if !ok {
			t.Errorf("unexpected request %s", r.RequestURI)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		for name, value := range a.header {
			w.Header().Set(name, value)
		}
		if a.status != 0 {
			w.WriteHeader(a.status)
		}
		_, _ = w.Write([]byte(a.body))
	}))
	t.Cleanup(server.Close)
	f.url = server.URL + "/api/v3"
	return f
}

func (f *fakeGitHub) client(t *testing.T) *scm.GitHub {
	t.Helper()
	return newClient(t, scm.GitHubOptions{
		APIBaseURL: f.url,
		Token:      func(context.Context, string, string) (string, error) { return token, nil },
	})
}

func (f *fakeGitHub) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

func newClient(t *testing.T, o scm.GitHubOptions) *scm.GitHub {
	t.Helper()
	if o.HTTPClient == nil {
		o.HTTPClient = ownConnections(t)
	}
	g, err := scm.NewGitHub(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// ownConnections returns a client that shares no connection with other tests: a server that ends closes the idle ones
// of the default transport, and with them an answer without a body that nobody has read yet.
func ownConnections(t *testing.T) *http.Client {
	t.Helper()
	own := &http.Transport{}
	t.Cleanup(own.CloseIdleConnections)
	return &http.Client{Transport: own}
}

func notFound() reply {
	return reply{status: 404, body: `{"message":"Not Found","documentation_url":"https://docs.github.com/rest/git/refs#get-a-reference","status":"404"}`}
}

// checkCode fails unless err has the code and keeps the token to itself.
func checkCode(t *testing.T, err error, want events.Code) {
	t.Helper()
	if got := events.ErrorCode(err); got != want {
		t.Errorf("code = %q, want %q; error: %v", got, want, err)
	}
	if err != nil && strings.Contains(err.Error()+fmt.Sprintf("%+v", err), token) {
		t.Errorf("error shows the token: %v", err)
	}
}

func TestExists(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		reply reply
		want  bool
		code  events.Code
	}{
		{"there", reply{body: `{"id":1,"full_name":"acme/petstore"}`}, true, ""},
		{"gone", notFound(), false, ""},
		{"HTML", reply{header: map[string]string{"Content-Type": "text/html"}, body: "<html>log in</html>"}, false, events.CodeUnavailable},
		{"forbidden", reply{status: 403, body: `{"message":"no"}`}, false, events.CodeForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := newFake(t, map[string]reply{"/repos/acme/petstore": tc.reply}).client(t).Exists(t.Context(), petstore)
			if got != tc.want || events.ErrorCode(err) != tc.code {
				t.Errorf("%t, %v; want %t, code %q", got, err, tc.want, tc.code)
			}
		})
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	ref := func(name, kind, sha string) string {
		return fmt.Sprintf(`{"ref":%q,"node_id":"REF_kw","url":"https://api.github.com/x","object":{"sha":%q,"type":%q,"url":"https://api.github.com/y"}}`, name, sha, kind)
	}
	tests := []struct {
		name, branch, uri string
		reply             reply
		sha               string
		code              events.Code
		message           string
	}{
		{name: "branch", branch: "main", uri: "main", reply: reply{body: ref("refs/heads/main", "commit", shaA)}, sha: shaA},
		{name: "slashes", branch: "feature/a b#1", uri: "feature/a%20b%231", reply: reply{body: ref("refs/heads/feature/a b#1", "commit", shaA)}, sha: shaA},
		{name: "prefix match as an object", branch: "feat", uri: "feat", reply: reply{body: ref("refs/heads/feature", "commit", shaA)}, code: events.CodeUnavailable},
		{name: "prefix match as a list", branch: "feat", uri: "feat", reply: reply{body: "[" + ref("refs/heads/feature", "commit", shaA) + "]"}, code: events.CodeUnavailable},
		{name: "absent", branch: "main", uri: "main", reply: notFound(), code: events.CodeNotFound, message: `branch "main" of repository acme/petstore on github.com does not exist, or the token may not see it`},
		{name: "empty repository", branch: "main", uri: "main", reply: reply{status: 409, body: `{"message":"Git Repository is empty.","status":"409"}`}, code: events.CodeNotFound, message: `branch "main" of repository acme/petstore on github.com does not exist: the repository is empty`},
		{name: "empty sha", branch: "main", uri: "main", reply: reply{body: ref("refs/heads/main", "commit", "")}, code: events.CodeUnavailable},
		{name: "short sha", branch: "main", uri: "main", reply: reply{body: ref("refs/heads/main", "commit", shaA[:7])}, code: events.CodeUnavailable},
		{name: "no commit", branch: "main", uri: "main", reply: reply{body: ref("refs/heads/main", "tag", shaA)}, code: events.CodeUnavailable},
		{name: "empty body", branch: "main", uri: "main", reply: reply{}, code: events.CodeUnavailable},
		{name: "empty object", branch: "main", uri: "main", reply: reply{body: "{}"}, code: events.CodeUnavailable},
		{name: "cut off", branch: "main", uri: "main", reply: reply{body: ref("refs/heads/main", "commit", shaA)[:60]}, code: events.CodeUnavailable},
		{name: "HTML", branch: "main", uri: "main", reply: reply{header: map[string]string{"Content-Type": "text/html"}, body: "<html>log in</html>"}, code: events.CodeUnavailable},
		{name: "accepted for later", branch: "main", uri: "main", reply: reply{status: 202, body: "{}"}, code: events.CodeUnavailable},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, map[string]reply{"/repos/acme/petstore/git/ref/heads/" + tc.uri: tc.reply})
			sha, err := fake.client(t).Head(t.Context(), petstore, tc.branch)
			if sha != tc.sha {
				t.Errorf("sha = %q, want %q", sha, tc.sha)
			}
			checkCode(t, err, tc.code)
			if tc.message != "" && events.ErrorMessage(err) != tc.message {
				t.Errorf("message = %q, want %q", events.ErrorMessage(err), tc.message)
			}
		})
	}
}

// What goes wrong is told apart in the same way by every call.
func TestFailures(t *testing.T) {
	t.Parallel()
	reset := time.Now().Add(40 * time.Minute).Truncate(time.Second)
	resetHeader := strconv.FormatInt(reset.Unix(), 10)
	const secondary = `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`
	tests := []struct {
		name  string
		reply reply
		code  events.Code
		retry time.Duration // from the answer; 0 for none
		at    time.Time     // instead of retry
	}{
		{name: "401", reply: reply{status: 401, body: `{"message":"Bad credentials","status":"401"}`}, code: events.CodeUnauthorized},
		{name: "401 second factor", reply: reply{status: 401, header: map[string]string{"X-GitHub-OTP": "required; app"}, body: `{"message":"Must specify two-factor authentication OTP code."}`}, code: events.CodeUnauthorized},
		{name: "403", reply: reply{status: 403, header: map[string]string{"X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": resetHeader}, body: `{"message":"Resource not accessible by personal access token","status":"403"}`}, code: events.CodeForbidden},
		{name: "451", reply: reply{status: 451, body: `{"message":"Repository access blocked"}`}, code: events.CodeForbidden},
		{name: "primary rate limit 403", reply: reply{status: 403, header: map[string]string{"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": resetHeader}, body: `{"message":"API rate limit exceeded for 1.2.3.4."}`}, code: events.CodeRateLimited, at: reset},
		{name: "primary rate limit 429", reply: reply{status: 429, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": resetHeader}, body: `{"message":"API rate limit exceeded"}`}, code: events.CodeRateLimited, at: reset},
		{name: "primary rate limit with a later Retry-After", reply: reply{status: 403, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": resetHeader, "Retry-After": "3600"}, body: `{}`}, code: events.CodeRateLimited, retry: time.Hour},
		{name: "primary rate limit that is over", reply: reply{status: 403, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000000"}, body: `{}`}, code: events.CodeRateLimited, retry: time.Minute},
		{name: "secondary with Retry-After", reply: reply{status: 403, header: map[string]string{"Retry-After": "90"}, body: secondary}, code: events.CodeRateLimited, retry: 90 * time.Second},
		{name: "secondary with reset", reply: reply{status: 403, header: map[string]string{"X-RateLimit-Remaining": "12", "X-RateLimit-Reset": resetHeader}, body: secondary}, code: events.CodeRateLimited, at: reset},
		{name: "secondary without a time", reply: reply{status: 403, body: secondary}, code: events.CodeRateLimited, retry: time.Minute},
		{name: "secondary by words", reply: reply{status: 403, body: `{"message":"You have exceeded a secondary rate limit."}`}, code: events.CodeRateLimited, retry: time.Minute},
		{name: "403 with Retry-After", reply: reply{status: 403, header: map[string]string{"Retry-After": "30"}, body: `{"message":"Slow down"}`}, code: events.CodeRateLimited, retry: 30 * time.Second},
		{name: "429 with a date", reply: reply{status: 429, header: map[string]string{"Retry-After": reset.UTC().Format(http.TimeFormat)}}, code: events.CodeRateLimited, at: reset},
		{name: "429 alone", reply: reply{status: 429}, code: events.CodeRateLimited, retry: time.Minute},
		{name: "absurd Retry-After", reply: reply{status: 429, header: map[string]string{"Retry-After": "9999999999999"}}, code: events.CodeRateLimited, retry: 12 * time.Hour},
		{name: "500", reply: reply{status: 500, body: `{"message":"Server Error"}`}, code: events.CodeUnavailable},
		{name: "502 of a proxy", reply: reply{status: 502, body: `<html>Bad Gateway</html>`}, code: events.CodeUnavailable},
		{name: "503 with Retry-After", reply: reply{status: 503, header: map[string]string{"Retry-After": "30"}}, code: events.CodeUnavailable},
		{name: "404 of a proxy", reply: reply{status: 404, body: `<html>default backend</html>`}, code: events.CodeUnavailable},
		{name: "404", reply: notFound(), code: events.CodeNotFound},
		{name: "422", reply: reply{status: 422, body: `{"message":"No commit found for SHA","status":"422"}`}, code: events.CodeNotFound},
		{name: "400", reply: reply{status: 400, body: `{"message":"Problems parsing"}`}, code: events.CodeUnavailable},
	}
	calls := map[string]func(context.Context, *scm.GitHub) error{
		"Head": func(ctx context.Context, g *scm.GitHub) error { _, err := g.Head(ctx, petstore, "main"); return err },
		"Compare": func(ctx context.Context, g *scm.GitHub) error {
			_, err := g.Compare(ctx, petstore, shaA, shaB)
			return err
		},
		"Tree": func(ctx context.Context, g *scm.GitHub) error { _, err := g.Tree(ctx, petstore, shaA); return err },
		"File": func(ctx context.Context, g *scm.GitHub) error {
			_, err := g.File(ctx, petstore, shaA, "catalog-info.yaml")
			return err
		},
	}
	for _, tc := range tests {
		for name, call := range calls {
			t.Run(name+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				fake := newFake(t, map[string]reply{
					"/repos/acme/petstore/git/ref/heads/main":                                    tc.reply,
					"/repos/acme/petstore/compare/" + shaA + "..." + shaB + "?page=1&per_page=1": tc.reply,
					"/repos/acme/petstore/git/trees/" + shaA + "?recursive=1":                    tc.reply,
					"/repos/acme/petstore/contents/catalog-info.yaml?ref=" + shaA:                tc.reply,
				})
				g := fake.client(t)
				before := time.Now()
				err := call(t.Context(), g)
				after := time.Now()
				checkCode(t, err, tc.code)
				e, ok := errors.AsType[*events.Error](err)
				if !ok {
					t.Fatalf("error is %T", err)
				}
				if tc.retry == 0 && tc.at.IsZero() {
					if !e.RetryAt.IsZero() {
						t.Errorf("RetryAt = %v, want none", e.RetryAt)
					}
					return
				}
				earliest, latest := before.Add(tc.retry), after.Add(tc.retry)
				if !tc.at.IsZero() {
					earliest, latest = tc.at, tc.at.Add(after.Sub(before))
				}
				// A second of slack for headers, whose resolution that is.
				if e.RetryAt.Before(earliest.Add(-time.Second)) || e.RetryAt.After(latest.Add(time.Second)) {
					t.Errorf("RetryAt is %v, want %v to %v", e.RetryAt, earliest, latest)
				}
			})
		}
	}
}

// A known rate limit is answered without asking GitHub again.
func TestRateLimitIsRemembered(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]map[string]string{
		"primary":   {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)},
		"secondary": {"Retry-After": "3600"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, map[string]reply{"/repos/acme/petstore/git/ref/heads/main": {
				status: 403, header: header,
				body: `{"message":"rate limit","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`,
			}})
			g := fake.client(t)
			for range 2 {
				_, err := g.Head(t.Context(), petstore, "main")
				checkCode(t, err, events.CodeRateLimited)
				e, ok := errors.AsType[*events.Error](err)
				if !ok || time.Until(e.RetryAt) < 50*time.Minute {
					t.Errorf("error %v does not say when to come again", err)
				}
			}
			if fake.count() != 1 {
				t.Errorf("%d requests, want 1", fake.count())
			}
		})
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       scm.Comparison
		code       events.Code
	}{
		{
			name: "ahead",
			body: `{"url":"https://api.github.com/x","merge_base_commit":{"sha":"` + shaA + `"},"status":"ahead","ahead_by":2,"behind_by":0,"total_commits":2,"commits":[{"sha":"` + shaB + `"}],"files":[
				{"sha":"` + shaC + `","filename":"a.yaml","status":"added","additions":1,"patch":"@@ -0,0 +1 @@"},
				{"sha":"` + shaC + `","filename":"b.yaml","status":"removed"},
				{"sha":"` + shaC + `","filename":"new.yaml","status":"renamed","previous_filename":"old.yaml"},
				{"sha":"` + shaC + `","filename":"copy.yaml","status":"copied","previous_filename":"a.yaml"},
				{"sha":"` + shaC + `","filename":"c.yaml","status":"modified"}]}`,
			want: scm.Comparison{Status: scm.Ahead, Files: []scm.File{
				{Path: "a.yaml", Status: "added"},
				{Path: "b.yaml", Status: scm.Removed},
				{Path: "new.yaml", Status: scm.Renamed, Previous: "old.yaml"},
				{Path: "copy.yaml", Status: "copied"},
				{Path: "c.yaml", Status: "modified"},
			}},
		},
		{name: "behind", body: `{"status":"behind","files":[]}`, want: scm.Comparison{Status: scm.Behind, Files: []scm.File{}}},
		{name: "identical", body: `{"status":"identical","files":[]}`, want: scm.Comparison{Status: scm.Identical, Files: []scm.File{}}},
		{name: "diverged", body: `{"status":"diverged","files":[]}`, want: scm.Comparison{Status: scm.Diverged, Files: []scm.File{}}},
		{name: "no files", body: `{"status":"ahead"}`, code: events.CodeUnavailable},
		{name: "null files", body: `{"status":"ahead","files":null}`, code: events.CodeUnavailable},
		{name: "no status", body: `{"files":[]}`, code: events.CodeUnavailable},
		{name: "unknown status", body: `{"status":"sideways","files":[]}`, code: events.CodeUnavailable},
		{name: "renamed from nowhere", body: `{"status":"ahead","files":[{"filename":"a","status":"renamed"}]}`, code: events.CodeUnavailable},
		{name: "nameless file", body: `{"status":"ahead","files":[{"status":"added"}]}`, code: events.CodeUnavailable},
		{name: "cut off", body: `{"status":"ahead","files":[]`, code: events.CodeUnavailable},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, map[string]reply{"/repos/acme/petstore/compare/" + shaA + "..." + shaB + "?page=1&per_page=1": {body: tc.body}})
			got, err := fake.client(t).Compare(t.Context(), petstore, shaA, shaB)
			checkCode(t, err, tc.code)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	const root = "/repos/acme/petstore/git/trees/" + shaA
	blob := func(path string) string {
		return fmt.Sprintf(`{"path":%q,"mode":"100644","type":"blob","sha":"44b4fc6d56897b048c772eb4087f854f46256132","size":30}`, path)
	}
	dir := func(path, sha string) string {
		return fmt.Sprintf(`{"path":%q,"mode":"040000","type":"tree","sha":%q}`, path, sha)
	}
	tree := func(truncated bool, entries ...string) reply {
		return reply{body: fmt.Sprintf(`{"sha":"x","tree":[%s],"truncated":%t}`, strings.Join(entries, ","), truncated)}
	}
	tests := []struct {
		name    string
		replies map[string]reply
		want    []string
		code    events.Code
	}{
		{
			name: "files only, sorted",
			replies: map[string]reply{root + "?recursive=1": tree(
				false, blob("z.yaml"), dir("a", shaB), blob("a/b c.yaml"),
				`{"path":"run.sh","mode":"100755","type":"blob","sha":"`+shaC+`"}`,
				`{"path":"link.yaml","mode":"120000","type":"blob","sha":"`+shaC+`"}`,
				`{"path":"module","mode":"160000","type":"commit","sha":"`+shaC+`"}`,
			)},
			want: []string{"a/b c.yaml", "run.sh", "z.yaml"},
		},
		{name: "no files", replies: map[string]reply{root + "?recursive=1": tree(false)}, want: []string{}},
		{
			name: "truncated twice",
			replies: map[string]reply{
				root + "?recursive=1": tree(true, blob("only-a-part.yaml")),
				root:                  tree(false, blob("z.yaml"), dir("big", shaB), dir("small", shaC)),
				"/repos/acme/petstore/git/trees/" + shaB + "?recursive=1": tree(true),
				"/repos/acme/petstore/git/trees/" + shaB:                  tree(false, dir("inner", shaC), blob("b.yaml")),
				"/repos/acme/petstore/git/trees/" + shaC + "?recursive=1": tree(false, blob("deep/c.yaml"), dir("deep", shaA)),
			},
			want: []string{"big/b.yaml", "big/inner/deep/c.yaml", "small/deep/c.yaml", "z.yaml"},
		},
		{
			name:    "one level is too much",
			replies: map[string]reply{root + "?recursive=1": tree(true), root: tree(true)},
			code:    events.CodeTooLarge,
		},
		{
			name: "failure below",
			replies: map[string]reply{
				root + "?recursive=1": tree(true),
				root:                  tree(false, dir("big", shaB)),
				"/repos/acme/petstore/git/trees/" + shaB + "?recursive=1": {status: 502},
			},
			code: events.CodeUnavailable,
		},
		{name: "directory without id", replies: map[string]reply{root + "?recursive=1": tree(true), root: tree(false, dir("big", "../.."))}, code: events.CodeUnavailable},
		{name: "no tree", replies: map[string]reply{root + "?recursive=1": {body: `{"truncated":false}`}}, code: events.CodeUnavailable},
		{name: "truncated or not", replies: map[string]reply{root + "?recursive=1": {body: `{"tree":[]}`}}, code: events.CodeUnavailable},
		{name: "entry without path", replies: map[string]reply{root + "?recursive=1": tree(false, blob(""))}, code: events.CodeUnavailable},
		{name: "empty repository", replies: map[string]reply{root + "?recursive=1": {status: 409, body: `{"message":"Git Repository is empty."}`}}, code: events.CodeNotFound},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := newFake(t, tc.replies).client(t).Tree(t.Context(), petstore, shaA)
			checkCode(t, err, tc.code)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	raw := func(body string) reply {
		return reply{header: map[string]string{"Content-Type": "application/vnd.github.raw+json; charset=utf-8"}, body: body}
	}
	tests := []struct {
		name, path, uri string
		reply           reply
		want            string
		code            events.Code
	}{
		{name: "plain", path: "catalog-info.yaml", uri: "catalog-info.yaml", reply: raw("kind: Component\n"), want: "kind: Component\n"},
		{name: "awkward path", path: "a b/ä#?%2F+&=.yaml", uri: "a%20b/%C3%A4%23%3F%252F+&=.yaml", reply: raw("x"), want: "x"},
		{name: "dots that are names", path: "v1..2/.hidden", uri: "v1..2/.hidden", reply: raw("x"), want: "x"},
		{name: "empty file", path: "e", uri: "e", reply: raw(""), want: ""},
		{name: "file of JSON", path: "a.json", uri: "a.json", reply: raw("[]"), want: "[]"},
		{name: "largest", path: "a", uri: "a", reply: raw(strings.Repeat("x", scm.MaxFileSize)), want: strings.Repeat("x", scm.MaxFileSize)},
		{name: "too large", path: "a", uri: "a", reply: raw(strings.Repeat("x", scm.MaxFileSize+1)), code: events.CodeTooLarge},
		{name: "too large for GitHub", path: "a", uri: "a", reply: reply{status: 403, body: `{"message":"This API returns blobs up to 100 MB in size.","errors":[{"resource":"Blob","field":"data","code":"too_large"}]}`}, code: events.CodeTooLarge},
		{name: "directory", path: "a", uri: "a", reply: reply{body: `[{"type":"file","name":"b"}]`}, code: events.CodeNotFound},
		{name: "log-in page", path: "a", uri: "a", reply: reply{header: map[string]string{"Content-Type": "text/html; charset=utf-8"}, body: "<html>"}, code: events.CodeUnavailable},
		{name: "cut off", path: "a", uri: "a", reply: reply{header: map[string]string{"Content-Type": "application/vnd.github.raw+json", "Content-Length": "100"}, body: "kind:"}, code: events.CodeUnavailable},
		{name: "absent", path: "a", uri: "a", reply: notFound(), code: events.CodeNotFound},
		{name: "no content", path: "a", uri: "a", reply: reply{status: 204}, code: events.CodeUnavailable},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, map[string]reply{"/repos/acme/petstore/contents/" + tc.uri + "?ref=" + shaA: tc.reply})
			got, err := fake.client(t).File(t.Context(), petstore, shaA, tc.path)
			checkCode(t, err, tc.code)
			if string(got) != tc.want {
				t.Errorf("got %d bytes, want %d", len(got), len(tc.want))
			}
			if accept := fake.requests[0].Header.Get("Accept"); accept != "application/vnd.github.raw+json" {
				t.Errorf("Accept = %q", accept)
			}
		})
	}
}

// What names nothing is refused before a request could go somewhere else.
func TestArgumentsAreChecked(t *testing.T) {
	t.Parallel()
	g := newFake(t, nil).client(t)
	for name, call := range map[string]func() error{
		"owner": func() error {
			_, err := g.Head(t.Context(), scm.Repository{Owner: "..", Name: "x"}, "main")
			return err
		},
		"name": func() error {
			_, err := g.Head(t.Context(), scm.Repository{Owner: "acme", Name: "a/b"}, "main")
			return err
		},
		"no branch":   func() error { _, err := g.Head(t.Context(), petstore, ""); return err },
		"branch":      func() error { _, err := g.Head(t.Context(), petstore, "../../contents/x"); return err },
		"base":        func() error { _, err := g.Compare(t.Context(), petstore, "", shaA); return err },
		"head":        func() error { _, err := g.Compare(t.Context(), petstore, shaA, "main"); return err },
		"tree":        func() error { _, err := g.Tree(t.Context(), petstore, "x/../.."); return err },
		"path":        func() error { _, err := g.File(t.Context(), petstore, shaA, "a/../../b"); return err },
		"rooted path": func() error { _, err := g.File(t.Context(), petstore, shaA, "/a"); return err },
		"file commit": func() error { _, err := g.File(t.Context(), petstore, "", "a"); return err },
	} {
		t.Run(name, func(t *testing.T) { checkCode(t, call(), events.CodeInvalid) })
	}
}

func TestNewGitHubRefusesAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "api.github.com", "ftp://x", "https://", "https://user:" + token + "@ghe.example", "https://x?token=" + token, "https://x#y", "https://x\x00"} {
		_, err := scm.NewGitHub(scm.GitHubOptions{APIBaseURL: address})
		checkCode(t, err, events.CodeInvalid)
	}
}

// A token that is rotated is used with the next request, and there are requests without one.
func TestToken(t *testing.T) {
	t.Parallel()
	fake := newFake(t, map[string]reply{"/repos/acme/petstore/contents/a?ref=" + shaA: {header: map[string]string{"Content-Type": "text/plain"}, body: "x"}})
	tokens := []string{"first", "second\n"}
	rotating := newClient(t, scm.GitHubOptions{APIBaseURL: fake.url + "/", Token: func(context.Context, string, string) (string, error) {
		next := tokens[0]
		tokens = tokens[1:]
		return next, nil
	}})
	anonymous := newClient(t, scm.GitHubOptions{APIBaseURL: fake.url})
	for _, g := range []*scm.GitHub{rotating, rotating, anonymous} {
		if _, err := g.File(t.Context(), petstore, shaA, "a"); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range fake.requests {
		got = append(got, r.Header.Get("Authorization"))
	}
	if diff := cmp.Diff([]string{"Bearer first", "Bearer second", ""}, got); diff != "" {
		t.Error(diff)
	}
}

// A token that cannot be had says nothing about a repository, whatever is wrong with it.
func TestTokenFails(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]func(context.Context, string, string) (string, error){
		"absent": func(context.Context, string, string) (string, error) {
			return "", events.Errorf(events.CodeNotFound, "there is no secret github-token")
		},
		"empty":           func(context.Context, string, string) (string, error) { return " \n", nil },
		"no header value": func(context.Context, string, string) (string, error) { return token + "\n" + token, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, nil)
			_, err := newClient(t, scm.GitHubOptions{APIBaseURL: fake.url, Token: source}).Head(t.Context(), petstore, "main")
			checkCode(t, err, events.CodeUnavailable)
			if fake.count() != 0 {
				t.Error("a request was sent")
			}
		})
	}
}

// A renamed repository is found by its old name.
func TestRedirectAfterRename(t *testing.T) {
	t.Parallel()
	replies := map[string]reply{"/repositories/1296269/git/ref/heads/main": {body: `{"ref":"refs/heads/main","object":{"type":"commit","sha":"` + shaA + `"}}`}}
	fake := newFake(t, replies)
	replies["/repos/acme/petstore/git/ref/heads/main"] = reply{
		status: 301, header: map[string]string{"Location": fake.url + "/repositories/1296269/git/ref/heads/main"},
		body: `{"message":"Moved Permanently"}`,
	}
	sha, err := fake.client(t).Head(t.Context(), petstore, "main")
	if err != nil || sha != shaA {
		t.Fatalf("head = %q, %v", sha, err)
	}
	if got := fake.requests[1].Header.Get("Authorization"); got != "Bearer "+token {
		t.Errorf("Authorization after the redirect = %q", got)
	}
}

// The token stays with its host, port and scheme.
func TestRedirectToAnotherHost(t *testing.T) {
	t.Parallel()
	other := newFake(t, map[string]reply{"/x": {body: `{"ref":"refs/heads/main","object":{"type":"commit","sha":"` + shaA + `"}}`}})
	fake := newFake(t, map[string]reply{"/repos/acme/petstore/git/ref/heads/main": {status: 301, header: map[string]string{"Location": other.url + "/x"}}})
	if _, err := fake.client(t).Head(t.Context(), petstore, "main"); err != nil {
		t.Fatal(err)
	}
	if fake.requests[0].Header.Get("Authorization") == "" {
		t.Error("the first host got no token")
	}
	if got := other.requests[0].Header.Get("Authorization"); got != "" {
		t.Errorf("the other host got %q", got)
	}
}

func TestRedirectsInACircle(t *testing.T) {
	t.Parallel()
	fake := newFake(t, map[string]reply{"/repos/acme/petstore/git/ref/heads/main": {status: 302, header: map[string]string{"Location": "main"}}})
	_, err := fake.client(t).Head(t.Context(), petstore, "main")
	checkCode(t, err, events.CodeUnavailable)
}

func TestNetworkFails(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		_, err := newClient(t, scm.GitHubOptions{APIBaseURL: server.URL}).Tree(t.Context(), petstore, shaA)
		checkCode(t, err, events.CodeUnavailable)
	})
	t.Run("time is up", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		defer server.Close()
		defer close(release)
		g := newClient(t, scm.GitHubOptions{APIBaseURL: server.URL, HTTPClient: &http.Client{Timeout: time.Millisecond}})
		_, err := g.File(t.Context(), petstore, shaA, "a")
		checkCode(t, err, events.CodeUnavailable)
	})
	t.Run("caller gave up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newFake(t, nil).client(t).Head(ctx, petstore, "main")
		checkCode(t, err, events.CodeUnavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v hides the cancellation", err)
		}
	})
}

// Whatever a host answers, no call panics, and none takes it for a head that is no commit.
func FuzzAnswers(f *testing.F) {
	f.Add(200, []byte(`{"ref":"refs/heads/main","object":{"type":"commit","sha":"`+shaA+`"}}`))
	f.Add(200, []byte(`{"status":"ahead","files":[{"filename":"a","status":"added"}]}`))
	f.Add(200, []byte(`{"tree":[{"path":"a","mode":"100644","type":"blob"}],"truncated":false}`))
	f.Add(404, []byte(`{"message":"Not Found"}`))
	f.Add(403, []byte(`{"errors":[{"code":"too_large"}]}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			t.Skip()
		}
		g := newClient(t, scm.GitHubOptions{APIBaseURL: "https://ghe.example/api/v3", HTTPClient: &http.Client{
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				w.WriteHeader(status)
				_, _ = w.Write(body)
				response := w.Result()
				response.Request = r
				return response, nil
			}),
		}})
		ctx := t.Context()
		sha, err := g.Head(ctx, petstore, "main")
		if (err == nil) != (len(sha) == 40 || len(sha) == 64) {
			t.Errorf("Head = %q, %v", sha, err)
		}
		c, err := g.Compare(ctx, petstore, shaA, shaB)
		if (err == nil) != (c.Status != "") {
			t.Errorf("Compare = %v, %v", c, err)
		}
		files, err := g.Tree(ctx, petstore, shaA)
		if (err == nil) != (files != nil) {
			t.Errorf("Tree = %v, %v", files, err)
		}
		content, err := g.File(ctx, petstore, shaA, "a")
		if (err == nil) != (content != nil) {
			t.Errorf("File = %q, %v", content, err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
