package catalog

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// maxProblems is how many problems of one entity are told; the rest are counted.
const maxProblems = 20

// field is the way from the root of an entity to a value: names, and "[2]" for the third item of a list.
type field []string

func (f field) name(name string) field { return append(f[:len(f):len(f)], name) }

func (f field) item(i int) field { return f.name("[" + strconv.Itoa(i) + "]") }

func (f field) contains(g field) bool {
	if len(f) > len(g) {
		return false
	}
	for i := range f {
		if f[i] != g[i] {
			return false
		}
	}
	return true
}

func (f field) String() string {
	return clip(strings.ReplaceAll(strings.Join(f, "."), ".[", "["))
}

// problems collects all that is wrong with one entity.
type problems struct {
	list  []problem
	count int
}

type problem struct {
	at   field
	text string
}

// add notes what is wrong with a field. Where something is already wrong with it, or with a value around it,
// the new problem is only a consequence and is left out.
func (p *problems) add(at field, format string, args ...any) {
	for _, known := range p.list {
		if known.at.contains(at) {
			return
		}
	}
	p.count++
	if len(p.list) < maxProblems {
		p.list = append(p.list, problem{at: at, text: at.String() + " " + fmt.Sprintf(format, args...)})
	}
}

// err is one error for all problems, or nil.
func (p *problems) err() error {
	if p.count == 0 {
		return nil
	}
	texts := make([]string, len(p.list))
	for i, known := range p.list {
		texts[i] = known.text
	}
	if more := p.count - len(p.list); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return events.Errorf(events.CodeInvalid, "invalid entity: %s", strings.Join(texts, "; "))
}

// quote shows outside text in an error message.
func quote(s string) string { return strconv.Quote(clip(s)) }

// clip shortens outside text for an error message.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
