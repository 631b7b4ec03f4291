//go:build deployed

package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/callboard/callboard/internal/secrets/awssecrets"
)

// startFrobs deploys the stack with the example too, whose API is at url, and with the token of the API. For the other
// topics of the stage its ingress has to do what ours does.
func startFrobs(t *testing.T, url string) *Process {
	t.Helper()
	s := deployed(t)
	if !s.emulated() {
		t.Skip("functions in AWS do not reach an API on this machine")
	}
	p := startWith(t, readConfig(t, frobsConfig(t, url)))
	p.canaries[frobsToken] = "the secret frobs-api"
	store := awssecrets.New(s.aws, s.topo.Prefix, time.Now)
	if err := store.Change(t.Context(), "frobs-api", func([]string) ([]string, error) { return []string{frobsToken}, nil }); err != nil {
		t.Fatal(err)
	}
	p.checkRepeats(t)
	return p
}

// crash ends the processes of all functions as `kill -9` does, and returns when those that requests go to answer again: a
// request may meet a process that has just been killed.
func (p *Process) crash(t *testing.T) *Process {
	t.Helper()
	if deployed(t).kill(t, "") == 0 {
		t.Error("no process of a function was killed: the test shows nothing")
	}
	for _, path := range []string{"/events/http/frobs", "/notifications"} {
		eventually(t, func() (bool, string) {
			response, _ := p.Do(t, http.MethodGet, path, nil, nil)
			return response.StatusCode < http.StatusInternalServerError, "GET " + path + ": " + response.Status
		})
	}
	return p
}
