package sample

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	// firstInstallation is added to the number of an installation, so that ids look like GitHub's.
	firstInstallation = 52_000_000
	// tokenLife is how long an installation token is good.
	tokenLife = time.Hour
	// maxProof is how far the end of a JSON web token may be away.
	maxProof = 10 * time.Minute
	// installationPrefix begins the tokens of installations.
	installationPrefix = "ghs_"
	// defaultPage is how many installations are listed if nobody says how many.
	defaultPage = 30
)

// App is a GitHub App. The repositories of those who have installed it are private: they are answered to the tokens of
// their installation only.
type App struct {
	ID     int64
	Key    *rsa.PublicKey
	Owners []string // who have installed it
}

// installationTokens are the tokens that were made, each with its owner and its end.
type installationTokens struct {
	mu   sync.Mutex
	made map[string]installationToken
}

type installationToken struct {
	owner   string
	expires time.Time
}

// installation is one owner who has installed an App.
type installation struct {
	ID      int64 `json:"id"`
	Account struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"account"`
	AppID               int64      `json:"app_id"`
	RepositorySelection string     `json:"repository_selection"`
	SuspendedAt         *time.Time `json:"suspended_at"`
}

// installations returns all of an App.
func (a App) installations() []installation {
	list := make([]installation, len(a.Owners))
	for i, owner := range a.Owners {
		list[i] = installation{ID: a.ID*1000 + firstInstallation + int64(i), AppID: a.ID, RepositorySelection: "all"}
		list[i].Account.Login, list[i].Account.Type = owner, "Organization"
	}
	return list
}

// listInstallations answers with the installations of the App that asks, by pages.
//
// Source: https://docs.github.com/en/rest/apps/apps#list-installations-for-the-authenticated-app
func (s *Server) listInstallations(w http.ResponseWriter, r *http.Request) {
	app, err := s.app(r)
	if err != nil {
		writeError(w, err)
		return
	}
	size, page := pageNumber(r, "per_page", defaultPage), pageNumber(r, "page", 1)
	list := app.installations()
	from := min((page-1)*size, len(list))
	writeJSON(w, http.StatusOK, list[from:min(from+size, len(list))])
}

// pageNumber returns a parameter of the query, or what it is without one.
func pageNumber(r *http.Request, name string, otherwise int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || n < 1 || n > 100 {
		return otherwise
	}
	return n
}

// makeToken answers with a token for an installation of the App that asks.
//
// Source: https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
func (s *Server) makeToken(w http.ResponseWriter, r *http.Request) {
	app, err := s.app(r)
	if err != nil {
		writeError(w, err)
		return
	}
	for _, i := range app.installations() {
		if strconv.FormatInt(i.ID, 10) != r.PathValue("id") {
			continue
		}
		token, expires := installationPrefix+rand.Text(), time.Now().Add(tokenLife).UTC().Truncate(time.Second)
		s.tokens.mu.Lock()
		s.tokens.made[token] = installationToken{i.Account.Login, expires}
		s.tokens.mu.Unlock()
		writeJSON(w, http.StatusCreated, struct {
			Token       string            `json:"token"`
			ExpiresAt   time.Time         `json:"expires_at"`
			Permissions map[string]string `json:"permissions"`
			Selection   string            `json:"repository_selection"`
		}{token, expires, map[string]string{"contents": "read", "metadata": "read"}, i.RepositorySelection})
		return
	}
	writeError(w, errNotFound)
}

var (
	errCredentials = &apiError{status: http.StatusUnauthorized, message: "Bad credentials"}
	errProof       = &apiError{status: http.StatusUnauthorized, message: "A JSON web token could not be decoded"}
)

// app returns who sends a request, as its JSON web token proves.
func (s *Server) app(r *http.Request) (App, error) {
	proof, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		return App{}, errProof
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var claims struct {
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Issuer   string `json:"iss"`
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) || header.Algorithm != "RS256" {
		return App{}, errProof
	}
	at := slices.IndexFunc(s.Apps, func(a App) bool { return strconv.FormatInt(a.ID, 10) == claims.Issuer })
	if at < 0 {
		return App{}, &apiError{status: http.StatusNotFound, message: "Integration not found"}
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(s.Apps[at].Key, crypto.SHA256, sum[:], signature) != nil {
		return App{}, errProof
	}
	now := time.Now()
	switch issued, expires := time.Unix(claims.IssuedAt, 0), time.Unix(claims.Expires, 0); {
	case issued.After(now):
		return App{}, &apiError{status: http.StatusUnauthorized, message: "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"}
	case !expires.After(now):
		return App{}, &apiError{status: http.StatusUnauthorized, message: "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"}
	case expires.After(now.Add(maxProof)):
		return App{}, &apiError{status: http.StatusUnauthorized, message: "'Expiration time' claim ('exp') is too far in the future"}
	}
	return s.Apps[at], nil
}

func decodePart(text string, into any) bool {
	data, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Unmarshal(data, into) == nil
}

// authorize fails unless who sends a request may read the repositories of an owner. Tokens of persons are not looked at:
// they, and nobody, see what no App is installed for.
func (s *Server) authorize(r *http.Request, owner string) error {
	installed := slices.ContainsFunc(s.Apps, func(a App) bool {
		return slices.ContainsFunc(a.Owners, func(o string) bool { return strings.EqualFold(o, owner) })
	})
	reader := ""
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if strings.HasPrefix(token, installationPrefix) {
		s.tokens.mu.Lock()
		t, known := s.tokens.made[token]
		s.tokens.mu.Unlock()
		if !known || !time.Now().Before(t.expires) {
			return errCredentials
		}
		reader = t.owner
	}
	if installed && !strings.EqualFold(reader, owner) {
		return errNotFound
	}
	return nil
}
