package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	mdFence   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	mdRule    = regexp.MustCompile(`^\|[-:| ]+\|$`)
	noAnchor  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// pages returns the documentation by path from the root, without what is in fences.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			found[strings.TrimPrefix(filepath.ToSlash(path), "../../")] = mdFence.ReplaceAllString(read(t, path), "")
		}
	}
	return found
}

// astray returns the links of pages that lead nowhere, the pages that no other links to, and the rows of tables that have no
// head, as after an empty line.
func astray(pages map[string]string, exists func(path string) bool) (wrong []string) {
	linked := map[string]bool{"README.md": true}
	for page, text := range pages {
		for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.HasPrefix(file, "http") {
				continue
			}
			target := page
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(page), file))
				linked[target] = linked[target] || target != page
			}
			if !exists(target) || anchor != "" && !slices.Contains(anchors(pages[target]), anchor) {
				wrong = append(wrong, page+": the link "+m[1]+" leads nowhere")
			}
		}
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, "|") && (i == 0 || !strings.HasPrefix(lines[i-1], "|")) && (i+1 == len(lines) || !mdRule.MatchString(lines[i+1])) {
				wrong = append(wrong, page+": a row without a head: "+line[:min(40, len(line))])
			}
		}
	}
	for page := range pages {
		if !linked[page] {
			wrong = append(wrong, page+": no page links to it")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// anchors are the names of the headings of a page, as GitHub makes them.
func anchors(text string) (names []string) {
	for _, m := range mdHeading.FindAllStringSubmatch(text, -1) {
		names = append(names, strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return names
}

func TestDocs_Links(t *testing.T) {
	t.Parallel()
	found := pages(t)
	if len(found) < 20 {
		t.Errorf("only %d pages are found", len(found))
	}
	for _, w := range astray(found, func(path string) bool {
		_, err := os.Stat(filepath.Join("../..", path))
		return err == nil
	}) {
		t.Error(w)
	}
}

func TestDocs_LinksAstrayAreFound(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"README.md":   "# A `b` C, d\n[x](#a-b-c-d) [x](#b) [x](docs/a.md#c) [x](docs/none.md) [x](https://example.com#x)\n| a |\n|---|\n| b |\n\n| c |\n",
		"docs/a.md":   "# D\n[x](../README.md)",
		"docs/own.md": "[x](own.md)",
	}
	got := astray(pages, func(path string) bool { _, ok := pages[path]; return ok })
	want := []string{
		"README.md: a row without a head: | c |", "README.md: the link #b leads nowhere", "README.md: the link docs/a.md#c leads nowhere",
		"README.md: the link docs/none.md leads nowhere", "docs/own.md: no page links to it",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Every package has a row in the table of CONTRIBUTING.md.
func TestContributing_Packages(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(read(t, "../../CONTRIBUTING.md"), "| folder |")
	table, _, _ = strings.Cut(table, "\n\n")
	folders, err := os.ReadDir("..")
	if err != nil || len(folders) < 20 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	for _, f := range folders {
		if !strings.Contains(table, "`"+f.Name()+"`") && !strings.Contains(table, "`internal/"+f.Name()+"`") {
			t.Errorf("internal/%s has no row", f.Name())
		}
	}
}
