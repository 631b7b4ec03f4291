package stack_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

const snapshot = "testdata/callboard.template.json"

var assetHash = regexp.MustCompile(`[0-9a-f]{64}`)

// The template of the configuration at the root, with another word for the hashes of programs. Run the test with
// -update after a change, and read the difference.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	value := jsontext.Value(assetHash.ReplaceAll(plain.json, []byte("HASH")))
	if err := value.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	if err := value.Indent(jsontext.WithIndent(" ")); err != nil {
		t.Fatal(err)
	}
	got := string(value) + "\n"
	if *update {
		if err := os.WriteFile(snapshot, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range differences(t, want, []byte(got)) {
		t.Error(line)
	}
	if !t.Failed() && string(want) != got {
		t.Error("the snapshot is not written as -update writes it")
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	got := differences(t, []byte(`{"a":{"b":[1,"x"],"c":true},"d":{}}`), []byte(`{"a":{"b":[1,"y",2],"c":true}}`))
	want := []string{`- a.b.1 = "x"`, `+ a.b.1 = "y"`, `+ a.b.2 = 2`, `- d = {}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
}

// differences has a line for each value that is in one document and not, or another, in the other.
func differences(t *testing.T, want, got []byte) []string {
	t.Helper()
	old, now := map[string]string{}, map[string]string{}
	for data, values := range map[*[]byte]map[string]string{&want: old, &got: now} {
		var v any
		if err := json.Unmarshal(*data, &v); err != nil {
			t.Fatal(err)
		}
		flatten("", v, values)
	}
	paths := maps.Clone(old)
	maps.Copy(paths, now)
	var lines []string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		before, was := old[path]
		after, is := now[path]
		if was && before != after {
			lines = append(lines, "- "+path+" = "+before)
		}
		if is && before != after {
			lines = append(lines, "+ "+path+" = "+after)
		}
	}
	return lines
}

// flatten collects the values in v by their paths.
func flatten(path string, v any, values map[string]string) {
	switch v := v.(type) {
	case object:
		for name, member := range v {
			flatten(strings.TrimPrefix(path+"."+name, "."), member, values)
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for i, element := range v {
			flatten(path+"."+strconv.Itoa(i), element, values)
		}
		if len(v) > 0 {
			return
		}
	}
	values[path] = text(v)
}
