package scm

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-github/v84/github"

	"github.com/callboard/callboard/pkg/events"
)

const (
	// early is how long before its end a token is replaced. GitHub's are good for an hour.
	early = 5 * time.Minute
	// relist is how long it is known where an App is installed, and so how long a new installation may have to wait.
	relist = 5 * time.Minute
	// perPage and maxPages bound the list of installations.
	perPage  = 100
	maxPages = 100
)

// GitHubAppOptions says which GitHub App is used and how.
type GitHubAppOptions struct {
	// APIBaseURL is the address of the REST API, as in [GitHubOptions].
	APIBaseURL string
	// ID is the number of the App.
	ID int64
	// Keys calls try with the live private keys of the App, in PEM, until one is not refused with
	// [events.CodeUnauthorized], and returns what it returned, or why there is no key.
	Keys func(ctx context.Context, try func(key string) error) error
	// Owners are the logins whose installations are used; empty for all.
	Owners []string
	// HTTPClient is used instead of one with sane timeouts. Its transport sees the tokens.
	HTTPClient *http.Client
	// Now says what time it is, for example [time.Now].
	Now func() time.Time
}

// GitHubApp makes tokens for the organizations and users that have installed a GitHub App. It is safe for concurrent
// use: however many requests need a token of one owner, it is asked for once.
type GitHubApp struct {
	id     int64
	keys   func(ctx context.Context, try func(key string) error) error
	owners []string
	client *github.Client
	host   string
	now    func() time.Time

	mu     sync.Mutex
	tokens map[string]*installationToken // by the login of the owner in lower case

	listing       turn
	installations map[string]int64 // by the login of the owner in lower case
	listed        time.Time
}

// turn is held by one caller; others wait for it until their time is over.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return events.Wrap(ctx.Err(), events.CodeUnavailable, "there was no time to wait for a token")
	}
}

func (t turn) leave() { <-t }

// installationToken is a token of an installation; turn is held while it is read or replaced.
type installationToken struct {
	turn    turn
	token   string
	expires time.Time
}

// NewGitHubApp makes the source of an App's tokens. It fails as [NewGitHub] does.
func NewGitHubApp(o GitHubAppOptions) (*GitHubApp, error) {
	base, err := parseBase(o.APIBaseURL)
	if err != nil {
		return nil, err
	}
	a := &GitHubApp{
		id: o.ID, keys: o.Keys, client: newClient(base, o.HTTPClient), host: base.Host, now: o.Now,
		tokens: map[string]*installationToken{}, listing: make(turn, 1),
	}
	for _, owner := range o.Owners {
		a.owners = append(a.owners, strings.ToLower(owner))
	}
	return a, nil
}

// Token returns a token for the repositories of an owner, or "" if the App is not installed there or not to be used for
// them. refused is a token that the host has just refused, else "". An error has [events.CodeNotFound] if there is no
// private key, [events.CodeUnauthorized] if the host refuses it, [events.CodeRateLimited] with RetryAt, or
// [events.CodeUnavailable].
func (a *GitHubApp) Token(ctx context.Context, owner, refused string) (string, error) {
	owner = strings.ToLower(owner)
	if len(a.owners) > 0 && !slices.Contains(a.owners, owner) {
		return "", nil
	}
	a.mu.Lock()
	t := a.tokens[owner]
	if t == nil {
		t = &installationToken{turn: make(turn, 1)}
		a.tokens[owner] = t
	}
	a.mu.Unlock()
	if err := t.turn.take(ctx); err != nil {
		return "", err
	}
	defer t.turn.leave()

	now := a.now()
	if t.token == refused {
		t.token = ""
	}
	if t.token != "" && now.Before(t.expires.Add(-early)) {
		return t.token, nil
	}
	token, expires, err := a.renew(ctx, owner)
	switch {
	case err == nil:
		t.token, t.expires = token, expires
	case t.token != "" && now.Before(t.expires):
		return t.token, nil // it is good for a little longer
	}
	return token, err
}

// renew asks for a new token; it is "" if the App is not installed.
func (a *GitHubApp) renew(ctx context.Context, owner string) (token string, expires time.Time, err error) {
	id, err := a.installation(ctx, owner)
	if err != nil || id == 0 {
		return "", time.Time{}, err
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	err = a.call(ctx, http.MethodPost, "app/installations/"+strconv.FormatInt(id, 10)+"/access_tokens", &answer)
	if errors.Is(err, errUnknown) { // uninstalled since
		a.forget(id)
		return "", time.Time{}, events.Wrap(err, events.CodeUnavailable, "the GitHub App %d has no installation for %s any more", a.id, owner)
	}
	if err != nil {
		return "", time.Time{}, err
	}
	if answer.Token == "" || answer.ExpiresAt.IsZero() {
		return "", time.Time{}, events.Errorf(events.CodeUnavailable, "the answer of %s has no token for the GitHub App %d", a.host, a.id)
	}
	return answer.Token, answer.ExpiresAt, nil
}

// forget lists the installations anew when the next token is needed, if the one that is gone was among them.
func (a *GitHubApp) forget(id int64) {
	a.listing <- struct{}{}
	defer a.listing.leave()
	for _, known := range a.installations {
		if known == id {
			a.listed = time.Time{}
		}
	}
}

// installation returns the installation of an owner, 0 if there is none.
func (a *GitHubApp) installation(ctx context.Context, owner string) (int64, error) {
	if err := a.listing.take(ctx); err != nil {
		return 0, err
	}
	defer a.listing.leave()
	if now := a.now(); now.Sub(a.listed) >= relist {
		found, err := a.list(ctx)
		if err != nil {
			return 0, err
		}
		a.installations, a.listed = found, now
	}
	return a.installations[owner], nil
}

// list asks where the App is installed. Installations that an owner has suspended are left out.
//
// Source: https://docs.github.com/en/rest/apps/apps#list-installations-for-the-authenticated-app
func (a *GitHubApp) list(ctx context.Context) (map[string]int64, error) {
	found := map[string]int64{}
	for page := 1; page <= maxPages; page++ {
		var answer []struct {
			ID      int64 `json:"id"`
			Account struct {
				Login string `json:"login"`
			} `json:"account"`
			SuspendedAt *time.Time `json:"suspended_at"`
		}
		query := url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(page)}}
		err := a.call(ctx, http.MethodGet, "app/installations?"+query.Encode(), &answer)
		if errors.Is(err, errUnknown) {
			return nil, events.Wrap(err, events.CodeUnavailable, "the answer with status 404 of %s does not come from a GitHub API that knows the GitHub App %d; check apiBaseUrl and appId", a.host, a.id)
		}
		if err != nil {
			return nil, err
		}
		for _, i := range answer {
			if i.SuspendedAt == nil {
				found[strings.ToLower(i.Account.Login)] = i.ID
			}
		}
		if len(answer) < perPage {
			return found, nil
		}
	}
	return nil, events.Errorf(events.CodeUnavailable, "the GitHub App %d has more than %d installations", a.id, maxPages*perPage)
}

// call sends a request as the App and reads the answer.
func (a *GitHubApp) call(ctx context.Context, method, path string, into any) error {
	return a.keys(ctx, func(key string) error {
		jwt, err := signJWT(key, a.id, a.now())
		if err != nil {
			return err
		}
		req, err := a.client.NewRequest(method, path, nil)
		if err != nil {
			return events.Wrap(err, events.CodeInternal, "%s cannot be asked for a token", a.host)
		}
		response, err := a.client.BareDo(context.WithValue(ctx, tokenKey{}, jwt), req)
		if err != nil {
			return a.failure(err)
		}
		defer func() { _ = response.Body.Close() }() // read to its end or given up: nothing to learn here
		if err := json.UnmarshalRead(response.Body, into); err != nil {
			return events.Errorf(events.CodeUnavailable, "the answer of %s about the GitHub App %d is not what the GitHub API promises", a.host, a.id) // it may hold a token
		}
		return nil
	})
}

// errUnknown is status 404. Its code is not that of a secret which does not exist.
var errUnknown = errors.New("the host knows nothing of it")

// failure turns an error of a request into one with a code, or into errUnknown.
func (a *GitHubApp) failure(err error) error {
	if reset, ok := rateLimit(err, time.Now()); ok {
		limited := events.Wrap(err, events.CodeRateLimited,
			"the rate limit of %s for the GitHub App %d is used up until %s", a.host, a.id, reset.UTC().Format(time.RFC3339))
		limited.RetryAt = reset
		return limited
	}
	answer, ok := errors.AsType[*github.ErrorResponse](err)
	if !ok {
		return events.Wrap(err, events.CodeUnavailable, "the request to %s for a token of the GitHub App %d failed", a.host, a.id)
	}
	switch status := answer.Response.StatusCode; status {
	case http.StatusUnauthorized:
		return events.Wrap(err, events.CodeUnauthorized, "%s does not accept the key of the GitHub App %d; is it a private key of this App, and is the clock right?", a.host, a.id)
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", errUnknown, err)
	default:
		return events.Wrap(err, events.CodeUnavailable, "%s answered with status %d to the GitHub App %d", a.host, status, a.id)
	}
}

// signJWT returns what an App proves itself with, for nine minutes. GitHub takes ten, counted by its own clock, so it is
// dated back for one.
//
// Source: https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
func signJWT(key string, id int64, now time.Time) (string, error) {
	private, err := parseKey(key)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Issuer   string `json:"iss"`
	}{now.Add(-time.Minute).Unix(), now.Add(9 * time.Minute).Unix(), strconv.FormatInt(id, 10)})
	if err != nil {
		return "", events.Wrap(err, events.CodeInternal, "the token of the GitHub App %d cannot be written", id)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
	if err != nil {
		return "", events.Wrap(err, events.CodeUnauthorized, "the private key of the GitHub App %d cannot sign", id)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// errKey does not say what the key is instead.
var errKey = events.Errorf(events.CodeUnauthorized, "the private key of the GitHub App is no RSA key in PEM: store the file that GitHub made, with its lines BEGIN and END")

// parseKey reads a private key as GitHub makes them (PKCS #1), or in the form that others convert them to (PKCS #8).
func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errKey
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if key, ok := parsed.(*rsa.PrivateKey); ok && err == nil {
		return key, nil
	}
	return nil, errKey
}
