package e2e

import (
	"bytes"
	"cmp"
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
// letters, the table and blobs. A test that plants others says where each has to be found, and fails where one is not.

// canaryHeaders are the headers that carry the canary.
var canaryHeaders = []string{"Cookie", "Proxy-Authorization", "X-Amz-Security-Token", "X-Frobs-Token"}

func newCanary() string { return "canary-" + rand.Text() }

// planted is a canary that a scan has to find in a place. It may be in others too.
type planted struct{ name, place string }

// plant returns a new canary that has to be found in the places, which are named by how their names begin.
func (p *Process) plant(name string, places ...string) (canary string) {
	canary = newCanary()
	p.expect(canary, name, places...)
	return canary
}

// expect makes a canary of a value that has to be found in the places.
func (p *Process) expect(value, name string, places ...string) {
	p.canaries[value] = name
	for _, place := range places {
		p.planted = append(p.planted, planted{name, place})
	}
}

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
	for _, problem := range slices.Concat(empty(places, p.always(tb)), suspect(leaks(places, p.canaries), p.planted)) {
		tb.Error(problem)
	}
}

// empty tells which places have no bytes at all, though there always are some: nobody has looked there.
func empty(places map[string][]byte, always []string) (problems []string) {
	for _, place := range always {
		if len(places[place]) == 0 {
			problems = append(problems, "there is nothing in "+place+": the scan does not see it")
		}
	}
	return problems
}

// leak is a canary in a place.
type leak struct{ name, place string }

// suspect tells what was found and not planted, and what was planted and not found.
func suspect(found []leak, plants []planted) (problems []string) {
	for _, l := range found {
		if !slices.ContainsFunc(plants, func(p planted) bool { return p.name == l.name }) {
			problems = append(problems, "nobody may see "+l.name+", which is in "+l.place)
		}
	}
	for _, p := range plants {
		if !slices.ContainsFunc(found, func(l leak) bool { return p.name == l.name && strings.HasPrefix(l.place, p.place) }) {
			problems = append(problems, "a scan does not find "+p.name+", which was planted, in "+p.place)
		}
	}
	return problems
}

// leaks tells which canaries are where, as they are or in base64. The canaries are names by value.
func leaks(places map[string][]byte, canaries map[string]string) []leak {
	var found []leak
	for value, name := range canaries {
		for place, data := range places {
			if slices.ContainsFunc(spellings(value), func(s string) bool { return bytes.Contains(data, []byte(s)) }) {
				found = append(found, leak{name, place})
			}
		}
	}
	slices.SortFunc(found, func(a, b leak) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.place, b.place)) })
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
