package body

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"

	"github.com/callboard/callboard/pkg/events"
)

// markUTF8 is the byte order mark of UTF-8.
const markUTF8 = "\xef\xbb\xbf"

// inUTF8 returns a JSON document in UTF-8. The charset is any of https://encoding.spec.whatwg.org/#names-and-labels; ""
// is UTF-8. A byte order mark says more than the charset does, and is no part of the document.
//
// No signature covers the charset. Read in another one, what a sender wrote into a string may end the string: in GBK a
// backslash can be the second half of a character. So what can be JSON in UTF-8 is read as that, whatever the header says.
// Text in another charset is practically never valid UTF-8, unless it is ASCII.
func inUTF8(charset string, document []byte) ([]byte, error) {
	for _, mark := range []struct {
		bytes string
		order binary.ByteOrder
	}{{"\xfe\xff", binary.BigEndian}, {"\xff\xfe", binary.LittleEndian}} {
		if rest, ok := bytes.CutPrefix(document, []byte(mark.bytes)); ok {
			return fromUTF16(rest, mark.order)
		}
	}
	if rest, ok := bytes.CutPrefix(document, []byte(markUTF8)); ok {
		return rest, nil
	}
	if charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8") {
		return document, nil // whether it really is, is seen when the event is written
	}
	known, err := htmlindex.Get(charset)
	if err != nil || known == encoding.Replacement {
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the charset %.50q is not supported; send UTF-8", charset)
	}
	if canBeUTF8(document) {
		return document, nil
	}
	switch name, _ := htmlindex.Name(known); name {
	case "utf-8":
		return document, nil
	case "utf-16be":
		return fromUTF16(document, binary.BigEndian)
	case "utf-16le": // which is what "utf-16" means, too
		if len(document) > 0 && document[0] == 0 { // JSON begins with a character of ASCII
			return fromUTF16(document, binary.BigEndian)
		}
		return fromUTF16(document, binary.LittleEndian)
	}
	text, err := known.NewDecoder().Bytes(document)
	if err != nil || bytes.Contains(text, []byte(replaced)) {
		return nil, notInCharset(charset)
	}
	return text, nil
}

// survived fails if a document in another charset than UTF-8 came through a gateway that took it for UTF-8 and replaced
// what is not. In UTF-8 the character may be what the sender wrote, and in other charsets its bytes are practically never
// in a text that is valid UTF-8 as a whole.
func survived(charset string, document []byte) error {
	if !otherThanUTF8(charset) || !bytes.Contains(document, []byte(replaced)) || !utf8.Valid(document) || bytes.HasPrefix(document, []byte(markUTF8)) {
		return nil
	}
	return events.Errorf(events.CodeInvalid, "the body is no text in the charset %.50q any more: the gateway hands on a body of this Content-Type as UTF-8, "+
		"and has replaced what is not; send UTF-8, or another type, such as application/vnd.acme+json", charset)
}

// otherThanUTF8 tells whether a charset is known, and not a name of UTF-8.
func otherThanUTF8(charset string) bool {
	known, err := htmlindex.Get(charset)
	if err != nil {
		return false
	}
	name, _ := htmlindex.Name(known)
	return name != "utf-8"
}

func notInCharset(charset string) error {
	return events.Errorf(events.CodeInvalid, "the body has bytes that are no text in the charset %.50q", charset)
}

// canBeUTF8 tells whether a document may be JSON in UTF-8: all of it is valid, and has no control characters but those
// between tokens. UTF-16 has zeros, and ISO-2022-JP escapes.
func canBeUTF8(document []byte) bool {
	for _, c := range document {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return utf8.Valid(document)
}

// fromUTF16 fails for half a code point, which UTF-8 cannot write.
func fromUTF16(document []byte, order binary.ByteOrder) ([]byte, error) {
	if len(document)%2 != 0 {
		return nil, notInCharset("utf-16")
	}
	text := make([]byte, 0, len(document))
	for i := 0; i < len(document); i += 2 {
		r := rune(order.Uint16(document[i:]))
		if utf16.IsSurrogate(r) {
			i += 2
			if i == len(document) {
				return nil, notInCharset("utf-16")
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(document[i:]))); r == utf8.RuneError {
				return nil, notInCharset("utf-16")
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return text, nil
}
