package catalog

import (
	"path"
	"regexp"
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// Limits of a [Pattern].
const (
	maxPatternLength = 1024
	// maxAlternatives is how many patterns the braces of one may stand for.
	maxAlternatives = 256
)

// Pattern selects files of a repository by their paths, with the wildcards of minimatch that Backstage's
// catalogPath has: * and ? within a folder, ** over folders, [classes] and {alternatives}. A backslash takes
// the meaning from the character after it. Letter case counts. No wildcard stands for the dot at the start of
// a name: only a dot in the pattern does. The zero Pattern selects nothing.
type Pattern struct {
	alternatives [][]segment
}

// segment selects the name of one folder or file.
type segment struct {
	glob    string // for [path.Match]
	folders bool   // any number of folders instead: **
	dot     bool   // the dot at the start of a name is written out
}

// CompilePattern reads a pattern; a slash at its start means nothing. Braces with a range ({1..3}), extended
// globs such as +(a|b) and negation are not supported and an error, like everything that could never match.
func CompilePattern(s string) (Pattern, error) {
	invalid := func(why string) (Pattern, error) {
		return Pattern{}, events.Errorf(events.CodeInvalid, "the path pattern %s %s", quote(s), why)
	}
	text := strings.TrimPrefix(s, "/")
	switch {
	case text == "":
		return invalid("is empty")
	case len(text) > maxPatternLength:
		return invalid("is too long")
	case text[0] == '!' || text[0] == '#':
		return invalid("starts with a character that is not supported; write a backslash before it if it belongs to the name")
	case strings.HasSuffix(text, "/"):
		return invalid("ends with a slash; it must select files, not folders")
	case extended.MatchString(text):
		return invalid("has an extended glob such as +(a|b), which is not supported; write {a,b}")
	case ranged.MatchString(text):
		return invalid("has a range in braces, which is not supported; write its values as {a,b,c}")
	}
	expanded, ok := expand(text, maxAlternatives)
	if !ok {
		return invalid("has braces that stand for too many patterns")
	}
	var p Pattern
	for _, alternative := range expanded {
		segments, why := compile(alternative)
		if why != "" {
			return invalid(why)
		}
		p.alternatives = append(p.alternatives, segments)
	}
	return p, nil
}

// globOf writes the pattern of a name for [path.Match], which negates a class with ^ only; false when the
// pattern is wrong.
func globOf(name string) (string, bool) {
	glob := []byte(name)
	for i, class := 0, false; i < len(glob); i++ {
		switch {
		case glob[i] == '\\':
			i++
		case class && glob[i] == '[':
			return "", false // maybe [[:alpha:]], which path.Match does not know
		case glob[i] == '[':
			class = true
			if i+1 < len(glob) && glob[i+1] == '!' {
				glob[i+1] = '^'
			}
		case glob[i] == ']':
			class = false
		}
	}
	_, err := path.Match(string(glob), "")
	return string(glob), err == nil
}

var (
	extended = regexp.MustCompile(`[?*+@!]\(`)
	ranged   = regexp.MustCompile(`\{(-?[0-9]+|[A-Za-z])\.\.(-?[0-9]+|[A-Za-z])(\.\.-?[0-9]+)?\}`)
)

// compile makes segments of a pattern without alternatives, or says what is wrong with it.
func compile(s string) (segments []segment, why string) {
	for name := range strings.SplitSeq(s, "/") {
		switch name {
		case "":
			continue // several slashes are one
		case ".", "..":
			return nil, "has a folder . or ..; write the path from the root of the repository"
		case "**":
			segments = append(segments, segment{folders: true})
			continue
		}
		glob, ok := globOf(name)
		if !ok {
			return nil, "has brackets that are not like [abc], [a-z] or [!a], or a backslash before nothing"
		}
		segments = append(segments, segment{glob: glob, dot: strings.HasPrefix(strings.TrimPrefix(name, `\`), ".")})
	}
	if len(segments) == 0 {
		return nil, "has an alternative without a name"
	}
	if segments[len(segments)-1].folders {
		segments = append(segments, segment{glob: "*"}) // a/** selects what is in a, at any depth
	}
	return segments, ""
}

// expand writes out the braces of a pattern, innermost alternatives last, as a shell does; false when there
// are more patterns than most. Braces without a comma and "${" stand for themselves.
func expand(s string, most int) ([]string, bool) {
	open, commas, end := findBraces(s)
	if open < 0 {
		return []string{s}, true
	}
	rests, ok := expand(s[end+1:], most)
	if !ok {
		return nil, false
	}
	var expanded []string
	from := open + 1
	for _, to := range append(commas, end) {
		choices, ok := expand(s[from:to], most)
		if !ok || len(expanded)+len(choices)*len(rests) > most {
			return nil, false
		}
		for _, choice := range choices {
			for _, rest := range rests {
				expanded = append(expanded, s[:open]+choice+rest)
			}
		}
		from = to + 1
	}
	return expanded, true
}

// findBraces finds the first braces with a comma that belongs to them; open is -1 when there are none.
func findBraces(s string) (open int, commas []int, end int) {
	for open = 0; open < len(s); open++ {
		switch {
		case s[open] == '\\':
			open++
			continue
		case s[open] != '{' || open > 0 && s[open-1] == '$':
			continue
		}
		commas, depth := []int(nil), 0
		for i := open; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '{':
				depth++
			case '}':
				depth--
			case ',':
				if depth == 1 {
					commas = append(commas, i)
				}
			}
			if depth == 0 {
				if len(commas) > 0 {
					return open, commas, i
				}
				break
			}
		}
	}
	return -1, nil, -1
}

// Match says whether p selects a file. The path is as Git has it: from the root of the repository, with
// slashes between the names and none at its start.
func (p Pattern) Match(file string) bool {
	names := strings.Split(file, "/")
	for _, segments := range p.alternatives {
		if matchAll(segments, names) {
			return true
		}
	}
	return false
}

// matchAll says whether segments select a path. After each segment, reach[i] says whether those so far can
// stand for the first i names; that takes no longer for one pattern than for another.
func matchAll(segments []segment, names []string) bool {
	reach := make([]bool, len(names)+1)
	reach[0] = true
	for _, s := range segments {
		next := make([]bool, len(names)+1)
		if s.folders {
			copy(next, reach)
		}
		for i, name := range names {
			if s.folders {
				next[i+1] = next[i+1] || next[i] && !hidden(name)
			} else {
				next[i+1] = reach[i] && s.match(name)
			}
		}
		reach = next
	}
	return reach[len(names)]
}

func (s segment) match(name string) bool {
	if name == "" || hidden(name) && !s.dot {
		return false
	}
	ok, err := path.Match(s.glob, name)
	return ok && err == nil
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// Literal returns the one path that p selects, when there is no wildcard in p.
func (p Pattern) Literal() (string, bool) {
	if len(p.alternatives) != 1 {
		return "", false
	}
	var names []string
	for _, s := range p.alternatives[0] {
		name, ok := s.literal()
		if !ok {
			return "", false
		}
		names = append(names, name)
	}
	return strings.Join(names, "/"), true
}

// literal is the one name that s selects, when there is only one.
func (s segment) literal() (string, bool) {
	if s.folders {
		return "", false
	}
	var name strings.Builder
	for i := 0; i < len(s.glob); i++ {
		switch s.glob[i] {
		case '*', '?', '[':
			return "", false
		case '\\':
			i++
		}
		name.WriteByte(s.glob[i])
	}
	return name.String(), true
}
