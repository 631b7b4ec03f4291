package catalog

import (
	"bytes"
	"iter"
)

// chunk is the text of one document of a YAML stream.
type chunk struct {
	text []byte
	line int // of the file, where the text starts; from 1
}

// chunks cuts a YAML stream into its documents, so that a broken one does not hide those after it. YAML
// allows the markers "---" and "..." at the start of a line nowhere inside a document (YAML 1.2.2, 9.1.2), so
// lines are all that has to be looked at.
func chunks(data []byte) iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		var (
			start, first = 0, 1 // offset and line of the document, or of the comments and directives before it
			at, line     = 0, 1 // offset and line that is looked at
			inside       bool   // a document has begun
			directive    bool   // a document has to follow
			versions     []int  // offsets of %YAML directives
		)
		// cut yields what lies before the present line, if it is a document, and starts anew at next.
		cut := func(next, nextLine int) bool {
			c, ok := chunk{text: without(data[start:at], versions, start), line: first}, inside || directive
			start, first, inside, directive, versions = next, nextLine, false, false, nil
			return !ok || yield(c)
		}
		for at < len(data) {
			text, next := nextLine(data, at)
			switch {
			case isMarker(text, "---"):
				// What precedes the first marker are directives and comments of the document it starts.
				if inside && !cut(at, line) {
					return
				}
				inside = true
			case isMarker(text, "..."):
				if !cut(next, line+1) {
					return
				}
			case inside || isBlank(text):
			case text[0] == '%':
				directive = true
				if version(string(text)) {
					versions = append(versions, at)
				}
			default:
				inside = true
			}
			at, line = next, line+1
		}
		cut(at, line)
	}
}

// version is a directive whose documents can be read; the YAML library knows no version but 1.1.
var version = matcher(`^%YAML[ \t]+1\.[0-9]+[ \t]*(#|$)`)

// without makes comments of the directives at some offsets of the stream, which text is a part of from start.
func without(text []byte, offsets []int, start int) []byte {
	if len(offsets) == 0 {
		return text
	}
	text = bytes.Clone(text)
	for _, at := range offsets {
		text[at-start] = '#'
	}
	return text
}

// nextLine returns the line of data at an offset, without its break, and the offset of the line after it.
func nextLine(data []byte, at int) (line []byte, next int) {
	n := bytes.IndexAny(data[at:], "\r\n")
	if n < 0 {
		return data[at:], len(data)
	}
	line, next = data[at:at+n], at+n+1
	if data[at+n] == '\r' && next < len(data) && data[next] == '\n' {
		next++
	}
	return line, next
}

// isMarker says whether a line is the document marker, maybe with something after it.
func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t')
}

// isBlank says whether there is nothing on a line but maybe a comment.
func isBlank(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	return len(line) == 0 || line[0] == '#'
}
