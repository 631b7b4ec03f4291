package catalogsync

import (
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// GitHub cuts longer lists off without a word
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#push).
const (
	maxCommits = 2048 // in one push
	maxPaths   = 3000 // in one commit
)

// Provider tracks the repositories of one organization.
type Provider struct {
	Name         string // as events say it
	Host         string // lower-case
	Organization string
	CatalogPath  string
	Branch       string // "" for the default branch of each repository
	pattern      catalog.Pattern
}

// Providers returns the providers of the configuration. It fails with [events.CodeInvalid] if a catalogPath is not
// a pattern.
func Providers(c config.Providers) ([]Provider, error) {
	providers := make([]Provider, 0, len(c.GitHub))
	for id, p := range c.GitHub {
		pattern, err := catalog.CompilePattern(p.CatalogPath)
		if err != nil {
			return nil, events.Wrap(err, events.CodeInvalid, "catalog.providers.github.%s: %s", id, events.ErrorMessage(err))
		}
		providers = append(providers, Provider{
			Name: "github:" + id, Host: p.Host, Organization: p.Organization, CatalogPath: p.CatalogPath,
			Branch: p.Filters.Branch, pattern: pattern,
		})
	}
	slices.SortFunc(providers, func(a, b Provider) int { return strings.Compare(a.Name, b.Name) })
	return providers, nil
}

// hint is what an event says about a repository that a provider tracks.
type hint struct {
	cause    events.Event
	provider Provider
	repo     scm.Repository
	url      string // web address, without a slash at its end
	id       int64  // of the repository; 0 where the event does not say it
	branch   string // the tracked one
	deleted  bool   // the repository is gone
	push     *push  // nil where the event is not about a push
}

// push is what a push says about itself.
type push struct {
	before, after string
	// complete says that paths are all that differs between before and after.
	complete bool
	deleted  bool            // the branch is gone
	paths    map[string]bool // of catalog files; true where a commit removed it
}

// payload is what is needed of the payloads of GitHub's push and repository events.
//
// Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
type payload struct {
	Action     string   `json:"action"`
	Ref        string   `json:"ref"`
	Before     string   `json:"before"`
	After      string   `json:"after"`
	Created    bool     `json:"created"`
	Deleted    bool     `json:"deleted"`
	Forced     bool     `json:"forced"`
	Commits    []commit `json:"commits"`
	Repository struct {
		ID            int64  `json:"id"`
		HTMLURL       string `json:"html_url"`
		DefaultBranch string `json:"default_branch"`
		Owner         struct {
			Login string `json:"login"`
		} `json:"owner"`
	} `json:"repository"`
}

type commit struct {
	Added    []string `json:"added"`
	Modified []string `json:"modified"`
	Removed  []string `json:"removed"`
}

// hint reads an event. It fails with [events.Drop] if no provider wants to know of it, and with
// [events.CodeInvalid] if it is not what GitHub sends.
func (h *Handler) hint(e events.Event) (hint, error) {
	isPush := strings.HasSuffix(e.Topic, ".push")
	if !isPush && !strings.HasSuffix(e.Topic, ".repository") {
		return hint{}, events.Drop(reasonTopic)
	}
	var p payload
	if err := json.Unmarshal(e.Payload, &p, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return hint{}, events.Wrap(err, events.CodeInvalid, "the payload of event %s is not that of a %s event of GitHub", e.ID, e.Topic)
	}
	address, repo, err := p.repository()
	if err != nil {
		return hint{}, err
	}
	i := slices.IndexFunc(h.Providers, func(q Provider) bool {
		return q.Host == repo.Host && strings.EqualFold(q.Organization, p.Repository.Owner.Login)
	})
	if i < 0 {
		return hint{}, events.Drop(reasonNoProvider)
	}
	found := hint{
		cause: e, provider: h.Providers[i], repo: repo, url: address, id: p.Repository.ID,
		branch: h.Providers[i].Branch, deleted: !isPush && p.Action == "deleted",
	}
	if found.branch == "" {
		found.branch = p.Repository.DefaultBranch
	}
	if found.branch == "" && !found.deleted {
		return hint{}, events.Errorf(events.CodeInvalid, "event %s does not say the default branch of repository %s", e.ID, repo.FullName())
	}
	if !isPush {
		return found, nil
	}
	if p.Ref != "refs/heads/"+found.branch {
		return hint{}, events.Drop(reasonOtherRef)
	}
	found.push = p.push(found.provider.pattern)
	return found, nil
}

// repository returns the web address of the repository and what it says. The address decides because a login
// means nothing without its host.
func (p payload) repository() (address string, repo scm.Repository, err error) {
	invalid := events.Errorf(events.CodeInvalid,
		"repository.html_url %.200q is not the web address of a repository of %.100q", p.Repository.HTMLURL, p.Repository.Owner.Login)
	u, err := url.Parse(p.Repository.HTMLURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return "", scm.Repository{}, invalid
	}
	owner, name, ok := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if !ok || name == "" || strings.ContainsAny(owner+name, "/#") || strings.Contains(u.Host, "#") ||
		!strings.EqualFold(owner, p.Repository.Owner.Login) {
		return "", scm.Repository{}, invalid
	}
	return strings.TrimRight(p.Repository.HTMLURL, "/"), scm.Repository{Host: strings.ToLower(u.Host), Owner: owner, Name: name}, nil
}

func (p payload) push(pattern catalog.Pattern) *push {
	q := &push{before: p.Before, after: p.After, deleted: p.Deleted, paths: map[string]bool{}}
	q.complete = !p.Created && !p.Deleted && !p.Forced && p.Before != "" && p.After != "" &&
		len(p.Commits) > 0 && len(p.Commits) < maxCommits
	for _, c := range p.Commits {
		if len(c.Added)+len(c.Modified)+len(c.Removed) >= maxPaths {
			q.complete = false
		}
		for _, path := range slices.Concat(c.Added, c.Modified) {
			if !q.paths[path] && pattern.Match(path) {
				q.paths[path] = false
			}
		}
		for _, path := range c.Removed {
			if pattern.Match(path) {
				q.paths[path] = true
			}
		}
	}
	return q
}
