package catalog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// The files that patterns are tried on.
var files = []string{
	"catalog-info.yaml", "sub/catalog-info.yaml", ".backstage/catalog-info.yaml", "a/.b/catalog-info.yaml",
	"a", "b", "a/b", "a/b/c", "a/x/b", "a/x/y/b", "a/.x/b", ".a", ".yaml", "a.yaml", "b.yaml", ".b.yaml", "c.yaml",
	"ab", "axb", "ac", "bc", "bd", "{a}.yaml", "{ab}", "{ac}", "*.yaml", "services/p/catalog-info.yml",
	"services/p/q/catalog-info.yml", "services/.p/catalog-info.yaml", "x", "a/x", ".x", "a/.x", "ax", "a/b/d", "c/d",
	"a/.b/x", "x/a/x", "$a", "${a,b}", "{a,b", "a}", "a{b,c}", "a{b", "a,b", "c", ".backstage/a.yaml",
	"x/.backstage/a.yaml", "aa", "xa", "ba", "..a", "b/a", "Catalog-Info.yaml", "!a", "#a", "[!a", "[^a",
}

// What each pattern selects is what minimatch 10.2.6 selects with its default options.
func TestPatternMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern string
		want    []string
	}{
		{"catalog-info.yaml", []string{"catalog-info.yaml"}},
		{"/catalog-info.yaml", []string{"catalog-info.yaml"}},
		{"Catalog-Info.yaml", []string{"Catalog-Info.yaml"}},
		{"sub//catalog-info.yaml", []string{"sub/catalog-info.yaml"}},
		{"*.yaml", []string{"catalog-info.yaml", "a.yaml", "b.yaml", "c.yaml", "{a}.yaml", "*.yaml", "Catalog-Info.yaml"}},
		{"**/catalog-info.yaml", []string{"catalog-info.yaml", "sub/catalog-info.yaml"}},
		{"/**/catalog-info.yaml", []string{"catalog-info.yaml", "sub/catalog-info.yaml"}},
		{"{,**/}catalog-info.yaml", []string{"catalog-info.yaml", "sub/catalog-info.yaml"}},
		{"**/.backstage/*.yaml", []string{".backstage/catalog-info.yaml", ".backstage/a.yaml", "x/.backstage/a.yaml"}},
		{".backstage/*.yaml", []string{".backstage/catalog-info.yaml", ".backstage/a.yaml"}},
		{"services/*/catalog-info.{yml,yaml}", []string{"services/p/catalog-info.yml"}},
		{"a/**", []string{"a/b", "a/b/c", "a/x/b", "a/x/y/b", "a/x", "a/b/d"}},
		{"a/**/**", []string{"a/b", "a/b/c", "a/x/b", "a/x/y/b", "a/x", "a/b/d"}},
		{"a/**/b", []string{"a/b", "a/x/b", "a/x/y/b"}},
		{"**/**/x", []string{"x", "a/x", "x/a/x"}},
		{"*/*", []string{"sub/catalog-info.yaml", "a/b", "a/x", "c/d", "b/a"}},
		{"a/*", []string{"a/b", "a/x"}},
		{"a**b", []string{"ab", "axb", "a{b", "a,b"}},
		{".*", []string{".a", ".yaml", ".b.yaml", ".x", "..a"}},
		{".?", []string{".a", ".x"}},
		{"**/.*", []string{".a", ".yaml", ".b.yaml", ".x", "a/.x", "..a"}},
		{"*/.x", []string{"a/.x"}},
		{"?a", []string{"$a", "aa", "xa", "ba", "!a", "#a"}},
		{"?.yaml", []string{"a.yaml", "b.yaml", "c.yaml", "*.yaml"}},
		{"[ab].yaml", []string{"a.yaml", "b.yaml"}},
		{"[!a].yaml", []string{"b.yaml", "c.yaml", "*.yaml"}},
		{"[^a].yaml", []string{"b.yaml", "c.yaml", "*.yaml"}},
		{"[a-c]x", []string{"ax"}},
		{"[!.]a", []string{"$a", "aa", "xa", "ba", "!a", "#a"}},
		{`\[!a`, []string{"[!a"}},
		{"{a,b}.yaml", []string{"a.yaml", "b.yaml"}},
		{"{a,.b}.yaml", []string{"a.yaml", ".b.yaml"}},
		{"{a}.yaml", []string{"{a}.yaml"}},
		{"a{,b}", []string{"a", "ab"}},
		{"{a,b{c,d}}", []string{"a", "bc", "bd"}},
		{"{a{b,c}}", []string{"{ab}", "{ac}"}},
		{"{a,b}{c,x}", []string{"ac", "bc", "ax"}},
		{"{a/b,c}/d", []string{"a/b/d", "c/d"}},
		{"{**/,}x", []string{"x", "a/x", "x/a/x"}},
		{"**/{a,.b}/x", []string{"a/x", "a/.b/x", "x/a/x"}},
		{"{,.}x", []string{"x", ".x"}},
		{"${a,b}", []string{"${a,b}"}},
		{"{a,b", []string{"{a,b"}},
		{"a}", []string{"a}"}},
		{`a\{b,c}`, []string{"a{b,c}"}},
		{`{a\,b,c}`, []string{"a,b", "c"}},
		{`\*.yaml`, []string{"*.yaml"}},
		{`\.a`, []string{".a"}},
		{`\!a`, []string{"!a"}},
		{`\#a`, []string{"#a"}},
	}
	for _, tt := range tests {
		pattern, err := catalog.CompilePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		var got []string
		for _, file := range files {
			if pattern.Match(file) {
				got = append(got, file)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s:\n%s", tt.pattern, diff)
		}
	}
}

func TestPatternLiteral(t *testing.T) {
	t.Parallel()
	literal := map[string]string{
		"/catalog-info.yaml": "catalog-info.yaml",
		"a//b.yaml":          "a/b.yaml",
		`a\*b`:               "a*b",
		"{a}":                "{a}",
	}
	for in, want := range literal {
		pattern, err := catalog.CompilePattern(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := pattern.Literal(); !ok || got != want || !pattern.Match(want) {
			t.Errorf("%s is the path %q, %t, want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"*", "a/**/b", "a?", "[a]", "{a,b}"} {
		pattern, err := catalog.CompilePattern(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := pattern.Literal(); ok {
			t.Errorf("%s is the one path %q", in, got)
		}
	}
	if got, ok := (catalog.Pattern{}).Literal(); ok || (catalog.Pattern{}).Match("") {
		t.Errorf("the zero pattern selects %q", got)
	}
}

func TestCompilePatternErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", "is empty"},
		{"/", "is empty"},
		{"a/", "ends with a slash"},
		{"!a", "not supported"},
		{"#a", "not supported"},
		{"./a", "folder . or .."},
		{"a/../b", "folder . or .."},
		{"[a", "brackets"},
		{"[]", "brackets"},
		{"[[:alpha:]]", "brackets"},
		{`a\`, "backslash before nothing"},
		{"+(a|b)", "extended glob"},
		{"x{1..3}", "range in braces"},
		{"{a,}", "without a name"},
		{strings.Repeat("{a,b}", 9), "too many patterns"},
		{strings.Repeat("a", 1025), "too long"},
	}
	for _, tt := range tests {
		_, err := catalog.CompilePattern(tt.in)
		if events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("CompilePattern(%q) = %v, want an invalid error with %q", tt.in, err, tt.want)
		}
	}
}

// TestPatternModel compares with a matcher that tries everything, on paths of few different names.
func TestPatternModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		segments := rapid.SliceOfN(rapid.SampledFrom([]string{"**", "*", "a", "b", ".x", ".*", "?"}), 1, 6).Draw(t, "pattern")
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", ".x", "aa"}), 1, 6).Draw(t, "path")
		pattern, err := catalog.CompilePattern(strings.Join(segments, "/"))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := pattern.Match(strings.Join(names, "/")), model(segments, names); got != want {
			t.Fatalf("%q selects %q: %t, want %t", segments, names, got, want)
		}
	})
}

func model(segments, names []string) bool {
	if len(segments) == 0 {
		return len(names) == 0
	}
	first, rest := segments[0], segments[1:]
	if first == "**" {
		if len(rest) > 0 && model(rest, names) {
			return true
		}
		last := len(rest) == 0 && len(names) == 1
		return len(names) > 0 && names[0][0] != '.' && (last || model(segments, names[1:]))
	}
	if len(names) == 0 {
		return false
	}
	name := names[0]
	var ok bool
	switch first {
	case "*":
		ok = name[0] != '.'
	case "?":
		ok = name[0] != '.' && len(name) == 1
	case ".*":
		ok = name[0] == '.'
	default:
		ok = name == first
	}
	return ok && model(rest, names[1:])
}

func FuzzPattern(f *testing.F) {
	f.Add("services/*/catalog-info.{yml,yaml}", "services/a/catalog-info.yml")
	f.Add(`**/{a,b{c,d}}/[!x]?\*`, "a/b")
	f.Fuzz(func(t *testing.T, in, file string) {
		pattern, err := catalog.CompilePattern(in)
		if err != nil {
			return
		}
		matched := pattern.Match(file)
		if literal, ok := pattern.Literal(); ok && matched != (file == literal) {
			t.Errorf("%q is the one path %q but selecting %q is %t", in, literal, file, matched)
		}
	})
}
