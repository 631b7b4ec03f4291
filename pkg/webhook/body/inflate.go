package body

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// inflate undoes a Content-Encoding (https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1). "deflate" is the format of
// zlib, as that says. It stops above limit, in bytes.
func inflate(coding string, body []byte, limit int) ([]byte, error) {
	coding = strings.ToLower(strings.TrimSpace(coding))
	in := bytes.NewReader(body)
	var out io.Reader
	var err error
	switch {
	case coding == "" || coding == "identity":
		return body, nil
	case coding == "gzip" || coding == "x-gzip":
		out, err = gzip.NewReader(in)
	case coding == "deflate":
		out, err = zlib.NewReader(in)
	case strings.Contains(coding, ","):
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the body is compressed more than once, %.100q; compress it once, with gzip or deflate, or not at all", coding)
	default:
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the Content-Encoding %.100q is not supported; compress the body with gzip or deflate, or not at all", coding)
	}
	if err != nil {
		return nil, damaged(err, coding, body)
	}
	plain, err := io.ReadAll(io.LimitReader(out, int64(limit)+1))
	if err != nil {
		return nil, damaged(err, coding, body)
	}
	if len(plain) > limit {
		return nil, events.Errorf(events.CodeTooLarge, "the body has more than %d bytes when it is decompressed", limit)
	}
	if in.Len() > 0 { // behind a zlib stream; gzip takes it for another member
		return nil, damaged(errors.New("there is something behind the end"), coding, body)
	}
	return plain, nil
}

// replaced stands in a text where there was something that is no text.
const replaced = "\ufffd"

func damaged(err error, coding string, body []byte) error {
	if bytes.Contains(body, []byte(replaced)) {
		return events.Wrap(err, events.CodeInvalid, "the body is not %s any more: the gateway hands on a body of this Content-Type as text, "+
			"which compressed bytes do not survive; send another type, such as application/vnd.acme+json", coding)
	}
	return events.Wrap(err, events.CodeInvalid, "the body is not %s, as the header Content-Encoding says", coding)
}
