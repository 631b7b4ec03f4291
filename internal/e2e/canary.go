package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/callboard/callboard/internal/secrets"
)

// Every request of the suite carries a value that nobody may keep, in headers that are nobody's business. After each test
// that value and all secrets are looked for where the process could have left them: in logs, answers, queues, dead
// letters, the table and blobs. A test that plants one says so, and fails if it is not found.

// canaryHeaders are the headers that carry the canary.
var canaryHeaders = []string{"Cookie", "Proxy-Authorization", "X-Amz-Security-Token", "X-Frobs-Token"}

func newCanary() string { return "canary-" + rand.Text() }

// remember adds the secrets that are in the state folder to the canaries.
func (p *Process) remember(tb testing.TB) {
	tb.Helper()
	folder := filepath.Join(p.State, "secrets")
	files, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) { // an attach that has ended has removed them
		tb.Fatal(err)
	}
	for _, f := range files {
		values, err := secrets.Dir(folder).Values(tb.Context(), f.Name())
		if err != nil {
			continue // a token that nobody has given
		}
		for _, v := range values {
			p.canaries[v] = "the secret " + f.Name()
		}
	}
}

// scan looks for canaries in what the process has left behind, and fails the test unless it is as it should be.
func (p *Process) scan(tb testing.TB, places map[string][]byte) {
	tb.Helper()
	p.remember(tb)
	p.mu.Lock()
	places["an answer"] = p.answers.Bytes()
	p.mu.Unlock()
	found := leaks(places, p.canaries)
	if p.planted && len(found) == 0 {
		tb.Error("the planted canary was not found")
	}
	if !p.planted && len(found) > 0 {
		tb.Errorf("what nobody may see is %s", strings.Join(found, ", "))
	}
}

// leaks tells which canaries are where, as they are or in base64. The canaries are names by value.
func leaks(places map[string][]byte, canaries map[string]string) []string {
	var found []string
	for value, name := range canaries {
		for place, data := range places {
			if slices.ContainsFunc(spellings(value), func(s string) bool { return bytes.Contains(data, []byte(s)) }) {
				found = append(found, name+" in "+place)
			}
		}
	}
	slices.Sort(found)
	return found
}

// spellings returns how a value may be written: as it is, and in base64 with 0, 1 or 2 bytes before it.
func spellings(value string) []string {
	list := []string{value}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := e.EncodeToString([]byte(strings.Repeat("x", before) + value))
			// What the bytes around it have a part in is left out.
			list = append(list, text[(before*8+5)/6:(before+len(value))*8/6])
		}
	}
	return list
}
