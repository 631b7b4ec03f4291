package sample_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/sample"
)

// proof is a JSON web token with these claims.
func proof(t *testing.T, key *rsa.PrivateKey, algorithm, issuer string, issued, expires time.Duration) string {
	t.Helper()
	part := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	text := part(fmt.Appendf(nil, `{"alg":%q}`, algorithm)) + "." +
		part(fmt.Appendf(nil, `{"iss":%q,"iat":%d,"exp":%d}`, issuer, now.Add(issued).Unix(), now.Add(expires).Unix()))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + part(signature)
}

func (w world) ask(t *testing.T, method, path, bearer string, into any) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return response.StatusCode
}

// An App proves itself, gets a token for one who has installed it, and reads the repositories of that one only.
func TestApps(t *testing.T) {
	t.Parallel()
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	w := fresh(t)
	w.Apps = []sample.App{{ID: 42, Key: &keys[0].PublicKey, Owners: []string{"acme", "umbrella"}}}
	w.commit(t, change("a", "x"))
	for _, owner := range []string{"umbrella", "public"} {
		c := change("a", "x")
		c.Owner = owner
		w.commit(t, c)
	}
	const minute = time.Minute
	for name, test := range map[string]struct {
		proof string
		want  int
	}{
		"right":              {proof(t, keys[0], "RS256", "42", -minute, 9*minute), 200},
		"another key":        {proof(t, keys[1], "RS256", "42", -minute, 9*minute), 401},
		"another App":        {proof(t, keys[0], "RS256", "43", -minute, 9*minute), 404},
		"another algorithm":  {proof(t, keys[0], "none", "42", -minute, 9*minute), 401},
		"of tomorrow":        {proof(t, keys[0], "RS256", "42", 2*minute, 9*minute), 401},
		"expired":            {proof(t, keys[0], "RS256", "42", -9*minute, -minute), 401},
		"for too long":       {proof(t, keys[0], "RS256", "42", -minute, 11*minute), 401},
		"changed":            {proof(t, keys[0], "RS256", "42", -minute, 9*minute) + "AA", 401},
		"a token of another": {"ghp_x", 401},
		"none":               {"", 401},
	} {
		if got := w.ask(t, http.MethodGet, "/app/installations", test.proof, nil); got != test.want {
			t.Errorf("%s: status %d, want %d", name, got, test.want)
		}
	}

	app := proof(t, keys[0], "RS256", "42", -minute, 9*minute)
	var pages []string
	var id int64
	for page := 1; page <= 3; page++ {
		var list []struct {
			ID      int64 `json:"id"`
			Account struct {
				Login string `json:"login"`
			} `json:"account"`
		}
		w.ask(t, http.MethodGet, fmt.Sprint("/app/installations?per_page=1&page=", page), app, &list)
		for _, i := range list {
			pages = append(pages, i.Account.Login)
			if i.Account.Login == "acme" {
				id = i.ID
			}
		}
	}
	if got := strings.Join(pages, " "); got != "acme umbrella" {
		t.Fatalf("the installations are %s", got)
	}
	var made struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if got := w.ask(t, http.MethodPost, fmt.Sprint("/app/installations/", id, "/access_tokens"), app, &made); got != http.StatusCreated {
		t.Fatalf("a token: status %d", got)
	}
	if life := time.Until(made.ExpiresAt); life < 59*minute || life > time.Hour {
		t.Errorf("the token is good for %s", life)
	}
	if got := w.ask(t, http.MethodPost, "/app/installations/1/access_tokens", app, nil); got != http.StatusNotFound {
		t.Errorf("a token for nobody: status %d", got)
	}
	for name, test := range map[string]struct {
		owner, token string
		want         int
	}{
		"its own":              {"acme", made.Token, 200},
		"in other letters":     {"ACME", made.Token, 200},
		"another installation": {"umbrella", made.Token, 404},
		"public":               {"public", made.Token, 200},
		"public, without":      {"public", "", 200},
		"private, without":     {"acme", "", 404},
		"private, a person":    {"acme", "ghp_x", 404},
		"unknown token":        {"acme", "ghs_x", 401},
	} {
		if got := w.ask(t, http.MethodGet, "/repos/"+test.owner+"/petstore", test.token, nil); got != test.want {
			t.Errorf("%s: status %d, want %d", name, got, test.want)
		}
	}
}
