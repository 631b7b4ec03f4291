//go:build !deployed

package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// listing is a JSON document of n bytes that is full of a unit.
func listing(n int, unit string) []byte {
	const begin, end = `{"type":"other","list":[`, `""]}`
	body := begin + strings.Repeat(unit+",", (n-len(begin+end))/(len(unit)+1))
	return []byte(body + `"` + strings.Repeat("x", n-len(body+end)) + `"]}`)
}

// commit is one of a push of GitHub.
const commit = `{"id":"0123456789abcdef0123456789abcdef01234567","tree_id":"0123456789abcdef0123456789abcdef01234567","distinct":true,` +
	`"message":"Fix #123: say hello\\n\\nA longer text, with some words in it.","timestamp":"2026-01-02T03:04:05Z",` +
	`"url":"https://github.com/acme/petstore/commit/0123456789abcdef0123456789abcdef01234567",` +
	`"author":{"name":"Jane Doe","email":"jane@example.com","username":"jane"},"committer":{"name":"GitHub","email":"noreply@github.com",` +
	`"username":"web-flow"},"added":[],"removed":[],"modified":["services/shop/main.go","services/shop/main_test.go"]}`

// What one invocation carries, by what the body is full of: docs/limits.md has these figures. An emulator of AWS does not
// know the limits of the gateway.
func TestGatewayLimits(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	// between checks that so much is accepted, and so much refused.
	between := func(name string, accepted, refused, status int, request func(n int) (headers map[string]string, body []byte)) {
		for n, want := range map[int]int{accepted: http.StatusAccepted, refused: status} {
			headers, body := request(n)
			if got, _ := p.Do(t, http.MethodPost, "/events/http/frobs", headers, body); got.StatusCode != want {
				t.Errorf("%s: %d bytes are answered %s, want %d", name, n, got.Status, want)
			}
		}
	}
	for name, test := range map[string]struct {
		unit              string
		form              bool
		accepted, refused int
	}{
		"no escapes":              {"1234567", false, 6_290_000, 6_291_000},
		"commits of GitHub":       {commit, false, 5_648_000, 5_649_000},
		"nothing but quotes":      {`""`, false, 3_774_000, 3_775_000},
		"a form, however escaped": {commit, true, 4_717_000, 4_718_500},
	} {
		between(name, test.accepted, test.refused, http.StatusRequestEntityTooLarge, func(n int) (map[string]string, []byte) {
			if !test.form {
				body := listing(n, test.unit)
				return p.frob(t, fmt.Sprint(name, n), body), body
			}
			body := []byte("payload=" + url.QueryEscape(string(listing(n/2, test.unit))))
			body = append(body, strings.Repeat("+", n-len(body))...)
			headers := p.frob(t, fmt.Sprint(name, n), body)
			headers["Content-Type"] = "application/x-www-form-urlencoded"
			return headers, body
		})
	}
	between("headers", 9_800, 10_240, http.StatusRequestHeaderFieldsTooLarge, func(n int) (map[string]string, []byte) {
		body := []byte("{}")
		h := p.frob(t, fmt.Sprint("header-", n), body)
		h["X-Frobs-Long"] = strings.Repeat("x", n)
		return h, body
	})
}
