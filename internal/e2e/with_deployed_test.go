//go:build deployed

package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	configuration "github.com/callboard/callboard/internal/config"
)

// startWith deploys the stack with what another configuration has too, see [stage.with], and attaches to it. Afterwards
// the stack is as it was.
func startWith(tb testing.TB, more map[string]any) *Process {
	tb.Helper()
	s := deployed(tb)
	s.occupy(tb)
	changed := *s
	changed.config = s.with(tb, more)
	changed.topo = s.topology(tb, changed.config, s.name)
	var programs map[string]string
	if more["functions"] != nil {
		programs = map[string]string{"package": "true"} // those of somebody's own, and then ours again
	}
	with := s.synth(tb, changed.config, programs)
	original := s.synth(tb, s.config, programs)
	tb.Cleanup(func() { s.deploy(tb, original) })
	s.deploy(tb, with)
	return changed.start(tb)
}

// with returns the path of the configuration of the stage with the topics, functions, rules and tokens of another one. A
// topic that the stage has too takes the place of that one and of the rules for its events.
func (s *stage) with(tb testing.TB, more map[string]any) string {
	tb.Helper()
	c := readConfig(tb, s.config)
	topics, rules, tokens := section(more, "topics"), section(c, "notifications"), section(c, "api")
	kept := slices.DeleteFunc(list(rules, "rules"), func(rule any) bool {
		root, _, _ := strings.Cut(list(rule.(map[string]any), "on")[0].(string), ".")
		return topics[root] != nil
	})
	rules["rules"] = append(kept, list(section(more, "notifications"), "rules")...)
	for _, name := range []string{"topics", "functions"} {
		entries := section(c, name)
		maps.Copy(entries, section(more, name))
		c[name] = entries
	}
	for _, token := range list(section(more, "api"), "tokens") {
		if !slices.ContainsFunc(list(tokens, "tokens"), func(t any) bool { return t.(map[string]any)["secret"] == token.(map[string]any)["secret"] }) {
			tokens["tokens"] = append(list(tokens, "tokens"), token)
		}
	}
	data, err := json.Marshal(c)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := configuration.Parse(data); err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "events-config.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func readConfig(tb testing.TB, path string) map[string]any {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(data, &c); err != nil {
		tb.Fatal(err)
	}
	return c
}

// section returns an object of a configuration, an empty one if it has none.
func section(c map[string]any, name string) map[string]any {
	if s, ok := c[name].(map[string]any); ok {
		return s
	}
	return map[string]any{}
}

// list returns a list of a configuration, nil if it has none.
func list(c map[string]any, name string) []any {
	l, _ := c[name].([]any)
	return l
}
