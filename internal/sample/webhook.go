package sample

import (
	"encoding/base64"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// repositoryJSON is a repository in the API and in webhooks.
//
// Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
type repositoryJSON struct {
	ID            int64       `json:"id"`
	NodeID        string      `json:"node_id"`
	Name          string      `json:"name"`
	FullName      string      `json:"full_name"`
	Private       bool        `json:"private"`
	Owner         accountJSON `json:"owner"`
	HTMLURL       string      `json:"html_url"`
	Description   *string     `json:"description"`
	Fork          bool        `json:"fork"`
	URL           string      `json:"url"`
	CreatedAt     any         `json:"created_at"` // seconds since 1970 in a push, a text elsewhere
	UpdatedAt     time.Time   `json:"updated_at"`
	PushedAt      any         `json:"pushed_at"` // as CreatedAt
	CloneURL      string      `json:"clone_url"`
	Homepage      *string     `json:"homepage"`
	Language      *string     `json:"language"`
	Archived      bool        `json:"archived"`
	Disabled      bool        `json:"disabled"`
	License       *string     `json:"license"`
	IsTemplate    bool        `json:"is_template"`
	Topics        []string    `json:"topics"`
	Visibility    string      `json:"visibility"`
	DefaultBranch string      `json:"default_branch"`
	MasterBranch  string      `json:"master_branch,omitzero"` // in a push only, as Organization
	Organization  string      `json:"organization,omitzero"`
}

// accountJSON is a user or an organization.
type accountJSON struct {
	Name      string `json:"name,omitzero"` // in a push only, as Email
	Email     string `json:"email,omitzero"`
	Login     string `json:"login"`
	ID        int64  `json:"id"`
	NodeID    string `json:"node_id"`
	URL       string `json:"url"`
	HTMLURL   string `json:"html_url"`
	Type      string `json:"type"`
	SiteAdmin bool   `json:"site_admin"`
}

// organizationJSON is the organization that a webhook belongs to.
type organizationJSON struct {
	Login       string  `json:"login"`
	ID          int64   `json:"id"`
	NodeID      string  `json:"node_id"`
	URL         string  `json:"url"`
	Description *string `json:"description"`
}

// pushJSON is the body of a push webhook.
type pushJSON struct {
	Ref          string           `json:"ref"`
	Before       string           `json:"before"`
	After        string           `json:"after"`
	Repository   repositoryJSON   `json:"repository"`
	Pusher       pusherJSON       `json:"pusher"`
	Organization organizationJSON `json:"organization"`
	Sender       accountJSON      `json:"sender"`
	Created      bool             `json:"created"`
	Deleted      bool             `json:"deleted"`
	Forced       bool             `json:"forced"`
	BaseRef      *string          `json:"base_ref"`
	Compare      string           `json:"compare"`
	Commits      []pushCommitJSON `json:"commits"`
	HeadCommit   *pushCommitJSON  `json:"head_commit"`
}

// pusherJSON is who pushed, or made a commit.
type pusherJSON struct {
	Name     string `json:"name"`
	Email    string `json:"email"`
	Username string `json:"username,omitzero"` // of a commit only
}

// pushCommitJSON is a commit of a push webhook.
type pushCommitJSON struct {
	ID        string     `json:"id"`
	TreeID    string     `json:"tree_id"`
	Distinct  bool       `json:"distinct"`
	Message   string     `json:"message"`
	Timestamp time.Time  `json:"timestamp"`
	URL       string     `json:"url"`
	Author    pusherJSON `json:"author"`
	Committer pusherJSON `json:"committer"`
	Added     []string   `json:"added"`
	Removed   []string   `json:"removed"`
	Modified  []string   `json:"modified"`
}

// Payload returns the body of the push webhook (X-GitHub-Event: push) that a GitHub host would send.
func (p Push) Payload(host string) ([]byte, error) {
	repository := describeRepository(p.Repository, host)
	repository.Owner.Name = repository.Owner.Login
	repository.Owner.Email = email(repository.Owner.Login)
	repository.CreatedAt, repository.PushedAt = p.Repository.CreatedAt.Unix(), p.Repository.PushedAt.Unix()
	repository.MasterBranch, repository.Organization = repository.DefaultBranch, p.Repository.Owner

	body := pushJSON{
		Ref: p.Ref, Before: p.Before, After: p.After,
		Repository:   repository,
		Pusher:       pusherJSON{Name: login(p.Pusher), Email: email(p.Pusher)},
		Organization: describeOrganization(p.Repository.Owner, host),
		Sender:       describeAccount(login(p.Pusher), "User", host),
		Created:      p.Created, Deleted: p.Deleted, Forced: p.Forced,
		Compare: repository.HTMLURL + "/compare/" + p.Before[:12] + "..." + p.After[:12],
	}
	if p.Created {
		body.Compare = repository.HTMLURL + "/compare/" + strings.TrimPrefix(p.Ref, "refs/heads/")
	}
	for _, c := range p.Commits {
		body.Commits = append(body.Commits, describeCommit(c, repository.HTMLURL))
	}
	if p.Head != nil {
		head := describeCommit(*p.Head, repository.HTMLURL)
		body.HeadCommit = &head
	}
	return json.Marshal(body)
}

// EventPayload returns the body of the webhook (X-GitHub-Event: repository) that a GitHub host would send
// after an action such as "created", "deleted" or "archived".
func (r Repository) EventPayload(host, action string) ([]byte, error) {
	repository := describeRepository(r, host)
	repository.Archived = action == "archived"
	return json.Marshal(struct {
		Action       string           `json:"action"`
		Repository   repositoryJSON   `json:"repository"`
		Organization organizationJSON `json:"organization"`
		Sender       accountJSON      `json:"sender"`
	}{action, repository, describeOrganization(r.Owner, host), describeAccount(defaultAuthor, "User", host)})
}

// PingPayload returns the body of the webhook (X-GitHub-Event: ping) that a GitHub host would send when a
// webhook is added to the repository.
func (r Repository) PingPayload(host string) ([]byte, error) {
	type configJSON struct {
		ContentType string `json:"content_type"`
		InsecureSSL string `json:"insecure_ssl"`
		Secret      string `json:"secret"`
	}
	type hookJSON struct {
		Type      string     `json:"type"`
		ID        int64      `json:"id"`
		Name      string     `json:"name"`
		Active    bool       `json:"active"`
		Events    []string   `json:"events"`
		Config    configJSON `json:"config"`
		CreatedAt time.Time  `json:"created_at"`
		UpdatedAt time.Time  `json:"updated_at"`
	}
	return json.Marshal(struct {
		Zen          string           `json:"zen"`
		HookID       int64            `json:"hook_id"`
		Hook         hookJSON         `json:"hook"`
		Repository   repositoryJSON   `json:"repository"`
		Organization organizationJSON `json:"organization"`
		Sender       accountJSON      `json:"sender"`
	}{
		Zen:    "Keep it logically awesome.",
		HookID: r.ID,
		Hook: hookJSON{
			Type: "Repository", ID: r.ID, Name: "web", Active: true, Events: []string{"push", "repository"},
			Config:    configJSON{ContentType: "json", InsecureSSL: "0", Secret: "********"},
			CreatedAt: r.CreatedAt, UpdatedAt: r.CreatedAt,
		},
		Repository:   describeRepository(r, host),
		Organization: describeOrganization(r.Owner, host),
		Sender:       describeAccount(defaultAuthor, "User", host),
	})
}

// describeRepository writes a repository as the API does.
func describeRepository(r Repository, host string) repositoryJSON {
	branch := r.DefaultBranch
	if branch == "" {
		branch = defaultBranch
	}
	web := "https://" + host + "/" + r.FullName()
	return repositoryJSON{
		ID: r.ID, NodeID: nodeID("Repository", r.ID), Name: r.Name, FullName: r.FullName(),
		Owner:   describeAccount(r.Owner, "Organization", host),
		HTMLURL: web, URL: apiAddress(host) + "/repos/" + r.FullName(), CloneURL: web + ".git",
		CreatedAt: r.CreatedAt, UpdatedAt: r.PushedAt, PushedAt: r.PushedAt,
		Visibility: "public", DefaultBranch: branch,
	}
}

// describeAccount writes a user or an organization as the API does.
func describeAccount(login, kind, host string) accountJSON {
	id := accountID(login)
	return accountJSON{
		Login: login, ID: id, NodeID: nodeID(kind, id), Type: kind,
		URL: apiAddress(host) + "/users/" + login, HTMLURL: "https://" + host + "/" + login,
	}
}

// describeOrganization writes the owner of a repository as webhooks do.
func describeOrganization(owner, host string) organizationJSON {
	id := accountID(owner)
	return organizationJSON{
		Login: owner, ID: id, NodeID: nodeID("Organization", id), URL: apiAddress(host) + "/orgs/" + owner,
	}
}

// describeCommit writes a commit as a push webhook does.
func describeCommit(c Commit, web string) pushCommitJSON {
	author := pusherJSON{Name: c.Author, Email: email(c.Author), Username: login(c.Author)}
	return pushCommitJSON{
		ID: c.ID, TreeID: c.TreeID, Distinct: true, Message: c.Message, Timestamp: c.Time, URL: web + "/commit/" + c.ID,
		Author: author, Committer: author, Added: c.Added, Removed: c.Removed, Modified: c.Modified,
	}
}

// accountID is an id that is always the same for a login, in any case.
func accountID(login string) int64 { return int64(crc32.ChecksumIEEE([]byte(strings.ToLower(login)))) }

// nodeID has the form of the ids of GitHub's GraphQL API.
func nodeID(kind string, id int64) string {
	return kind[:1] + "_" + base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(id, 10)))
}

// apiAddress is where the API of a host is, on github.com and elsewhere.
func apiAddress(host string) string {
	if host == apiHost {
		return "https://api." + host
	}
	return "https://" + host + "/api/v3"
}
