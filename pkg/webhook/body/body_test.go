package body_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
	"github.com/callboard/callboard/pkg/webhook/body"
)

const (
	limit = 10_000
	form  = "application/x-www-form-urlencoded"
)

func read(contentType, coding string, data []byte) ([]byte, error) {
	r := webhook.Request{Headers: events.Metadata{"content-type": contentType}, Body: data}
	if coding != "" {
		r.Headers["content-encoding"] = coding
	}
	return body.Reader{Limit: limit}.Read(r)
}

func compress(tb testing.TB, coding string, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&b)
	if strings.Contains(coding, "gzip") {
		w = gzip.NewWriter(&b)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestRead(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	for name, test := range map[string]struct {
		contentType, body string
		want              string
		code              events.Code
	}{
		"json":                   {json, " {} ", " {} ", ""},
		"json with charset":      {json + "; charset=utf-8", "{}", "{}", ""},
		"odd letter case":        {"Application/JSON;Charset=\"UTF-8\"", "{}", "{}", ""},
		"utf8":                   {json + "; charset=utf8", "{}", "{}", ""},
		"another name of utf-8":  {json + "; charset=unicode-1-1-utf-8", "{\"\xff\"}", "{\"\xff\"}", ""},
		"json is not checked":    {json, "\xff", "\xff", ""},
		"+json":                  {"application/vnd.github.v3+json", "{}", "{}", ""},
		"+json with charset":     {"application/cloudevents+json; charset=latin1", "\"\xe4\"", `"ä"`, ""},
		"byte order mark":        {json, "\xef\xbb\xbf{}", "{}", ""},
		"mark against charset":   {json + "; charset=latin1", "\xef\xbb\xbf\"ä\"", `"ä"`, ""},
		"utf-16 by its mark":     {json, "\xfe\xff\x00\"\x00\xe4\x00\"", `"ä"`, ""},
		"utf-16 with odd length": {json + "; charset=utf-16", "\"\x00\xe4\x00\"", "", events.CodeInvalid},
		"utf-16, cut-off pair":   {json + "; charset=utf-16", "\"\x00\x3d\xd8", "", events.CodeInvalid},
		"utf-16, wrong order":    {json + "; charset=utf-16", "\"\x00\x00\xde\x3d\xd8\"\x00", "", events.CodeInvalid},
		"iso-2022-jp":            {json + "; charset=iso-2022-jp", "\"\x1b$BF|K\\\x1b(B\"", `"日本"`, ""},
		"what the gateway left":  {json + "; charset=latin1", "\"\ufffd\"", "", events.CodeInvalid},
		"of utf-16":              {json + "; charset=utf-16", "\"\x00\ufffd\x00\"\x00", "", events.CodeInvalid},
		"of utf-16 with a mark":  {json + "; charset=utf-16", "\ufffd\ufffd\"\x00\"\x00", "", events.CodeInvalid},
		"a real one":             {json + "; charset=utf-8", "\"\ufffd\"", "\"\ufffd\"", ""},
		"a real one, no charset": {json, "\"\ufffd\"", "\"\ufffd\"", ""},
		"a real one, with mark":  {json + "; charset=latin1", "\xef\xbb\xbf\"\ufffd\"", "\"\ufffd\"", ""},
		"a real one, +json":      {"application/a+json; charset=latin1", "\"\ufffd\"", "\"\ufffd\"", ""},
		"a real one, form":       {form + "; charset=latin1", "payload=%22%EF%BF%BD%22", "\"\ufffd\"", ""},
		"utf-16, +json":          {"application/a+json; charset=utf-16", "\"\x00\xef\xbf\xbd\x00\"\x00", "\"\ubfef\u00bd\"", ""},
		"ascii in any charset":   {json + "; charset=big5", `{"a":"\\\u00e4"}`, `{"a":"\\\u00e4"}`, ""},
		"empty in any charset":   {json + "; charset=utf-16", "", "", ""},
		"a charset that is none": {json + "; charset=hz-gb-2312", "{}", "", events.CodeUnsupportedMediaType},
		"utf-7":                  {json + "; charset=utf-7", "{}", "", events.CodeUnsupportedMediaType},
		"form":                   {form, "payload=%7B%22a%22%3A+%22%C3%A4%2B%22%7D", `{"a": "ä+"}`, ""},
		"form with charset":      {form + "; charset=UTF-8", "payload={}", "{}", ""},
		"form in latin-1":        {form + ";charset=latin1", "payload=%22%e4\xe4%22", `"ää"`, ""},
		"form without payload":   {form, "a=b", "", events.CodeInvalid},
		"none":                   {"", "{}", "", events.CodeUnsupportedMediaType},
		"text":                   {"text/plain", "{}", "", events.CodeUnsupportedMediaType},
		"xml":                    {"application/xml", "<a/>", "", events.CodeUnsupportedMediaType},
		"multipart":              {"multipart/form-data; boundary=x", "--x--", "", events.CodeUnsupportedMediaType},
		"not a media type":       {"json; ;", "{}", "", events.CodeUnsupportedMediaType},
		"two of them":            {"application/json, application/json", "{}", "", events.CodeUnsupportedMediaType},
		"broken parameter":       {json + "; charset=", "{}", "", events.CodeUnsupportedMediaType},
		"unknown json dialect":   {"application/jsonp", "{}", "", events.CodeUnsupportedMediaType},
		"plus alone":             {"application/+jsonx", "{}", "", events.CodeUnsupportedMediaType},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, coding := range []string{"", "identity", "gzip", "X-GZip", "deflate"} {
				data := []byte(test.body)
				if coding != "" && coding != "identity" {
					data = compress(t, strings.ToLower(coding), data)
				}
				got, err := read(test.contentType, coding, data)
				if string(got) != test.want || events.ErrorCode(err) != test.code {
					t.Errorf("Content-Encoding %q: %q, %v; want %q, code %q", coding, got, err, test.want, test.code)
				}
			}
		})
	}
	if _, err := (body.Reader{Limit: limit}).Read(webhook.Request{}); events.ErrorCode(err) != events.CodeUnsupportedMediaType {
		t.Errorf("without a Content-Type: %v, want code %q", err, events.CodeUnsupportedMediaType)
	}
}

// A document is as large as the limit, however it is sent, and not a byte larger.
func TestRead_Limit(t *testing.T) {
	t.Parallel()
	fits, tooLarge := []byte(`"`+strings.Repeat("x", limit-2)+`"`), []byte(`"`+strings.Repeat("x", limit-1)+`"`)
	escaped := func(data []byte) []byte { return []byte("payload=" + url.QueryEscape(string(data))) }
	utf16 := func(data []byte) []byte {
		out, err := unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder().Bytes(data)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, test := range map[string]struct {
		contentType, coding string
		encode              func([]byte) []byte
	}{
		"json":       {"application/json", "", func(b []byte) []byte { return b }},
		"gzip":       {"application/json", "gzip", func(b []byte) []byte { return compress(t, "gzip", b) }},
		"deflate":    {"application/json", "deflate", func(b []byte) []byte { return compress(t, "deflate", b) }},
		"utf-16":     {"application/json; charset=utf-16", "", utf16},
		"form":       {form, "", escaped},
		"gzip, form": {form, "gzip", func(b []byte) []byte { return compress(t, "gzip", escaped(b)) }},
	} {
		got, err := read(test.contentType, test.coding, test.encode(fits))
		if err != nil || !bytes.Equal(got, fits) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(fits))
		}
		if _, err := read(test.contentType, test.coding, test.encode(tooLarge)); events.ErrorCode(err) != events.CodeTooLarge {
			t.Errorf("%s, a byte more: %v, want code %q", name, err, events.CodeTooLarge)
		}
	}
	for _, coding := range []string{"", "gzip", "deflate"} {
		data := make([]byte, 30*limit)
		if coding != "" {
			data = compress(t, coding, data)
		}
		if _, err := read("application/json", coding, data); events.ErrorCode(err) != events.CodeTooLarge {
			t.Errorf("far too much with the Content-Encoding %q: %v, want code %q", coding, err, events.CodeTooLarge)
		}
	}
}

func TestRead_Damaged(t *testing.T) {
	t.Parallel()
	good := compress(t, "gzip", []byte(`{"a":"some text"}`))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1 // the checksum
	for name, test := range map[string]struct {
		coding string
		data   []byte
		code   events.Code
		says   string
	}{
		"checksum":         {"gzip", flipped, events.CodeInvalid, "is not gzip"},
		"cut off":          {"gzip", good[:len(good)-1], events.CodeInvalid, "is not gzip"},
		"empty":            {"gzip", nil, events.CodeInvalid, "is not gzip"},
		"something behind": {"gzip", append(bytes.Clone(good), 0), events.CodeInvalid, "is not gzip"},
		"behind zlib":      {"deflate", append(compress(t, "deflate", []byte("{}")), '}'), events.CodeInvalid, "is not deflate"},
		"gzip as deflate":  {"deflate", good, events.CodeInvalid, "is not deflate"},
		"through a text":   {"gzip", []byte(strings.ToValidUTF8(string(good), "\ufffd")), events.CodeInvalid, "send another type"},
		"twice":            {"gzip, gzip", compress(t, "gzip", good), events.CodeUnsupportedMediaType, "more than once"},
		"brotli":           {"br", []byte("{}"), events.CodeUnsupportedMediaType, `"br" is not supported`},
	} {
		if _, err := read("application/json", test.coding, test.data); events.ErrorCode(err) != test.code || !strings.Contains(events.ErrorMessage(err), test.says) {
			t.Errorf("%s: %v, want code %q and a message with %q", name, err, test.code, test.says)
		}
	}
	members := append(bytes.Clone(good), good...) // which is one stream: https://www.rfc-editor.org/rfc/rfc1952#section-2.2
	if got, err := read("application/json", "gzip", members); err != nil || string(got) != `{"a":"some text"}{"a":"some text"}` {
		t.Errorf("two members: %q, %v", got, err)
	}
}

// Somebody's own parser gets the plain body, and comes before ours.
func TestRead_FurtherParsers(t *testing.T) {
	t.Parallel()
	quote := func(params map[string]string, data []byte, room int) ([]byte, error) {
		if room != limit {
			t.Errorf("the limit is %d, want %d", room, limit)
		}
		return []byte(`"` + params["q"] + string(data) + `"`), nil
	}
	rd := body.Reader{Limit: limit, Parsers: map[string]webhook.BodyParser{"text/plain": quote, "application/vnd.acme+json": quote, form: quote}}
	for contentType, want := range map[string]string{
		"Text/Plain; q=1": `"1{}"`, "application/vnd.acme+json": `"{}"`, form: `"{}"`, "application/json": "{}", "application/vnd.other+json": "{}",
	} {
		got, err := rd.Read(webhook.Request{Headers: events.Metadata{"content-type": contentType, "content-encoding": "gzip"}, Body: compress(t, "gzip", []byte("{}"))})
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", contentType, got, err, want)
		}
	}
	_, err := rd.Read(webhook.Request{Headers: events.Metadata{"content-type": "text/csv"}})
	if want := "send application/json, application/vnd.acme+json, text/plain or " + form; !strings.Contains(events.ErrorMessage(err), want) {
		t.Errorf("the error is %v, want it to end with %q", err, want)
	}
}

// charsets are names of all encodings but those that are UTF-8 or no encoding.
func charsets() []string {
	return []string{
		"ibm866", "iso-8859-1", "iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-5", "iso-8859-6", "iso-8859-7", "iso-8859-8", "iso-8859-10",
		"iso-8859-13", "iso-8859-14", "iso-8859-15", "iso-8859-16", "koi8-r", "koi8-u", "macintosh", "windows-874", "windows-1250", "windows-1251",
		"windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256", "windows-1257", "windows-1258", "x-mac-cyrillic",
		"gbk", "gb18030", "big5", "euc-jp", "iso-2022-jp", "shift_jis", "euc-kr", "utf-16", "utf-16be", "utf-16le",
	}
}

// What a sender encodes arrives as it was, in every charset.
func TestRead_EveryCharset(t *testing.T) {
	t.Parallel()
	for _, charset := range charsets() {
		t.Run(charset, func(t *testing.T) {
			t.Parallel()
			known, err := htmlindex.Get(charset)
			if err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) {
				var text strings.Builder
				for _, r := range rapid.SliceOf(rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune(`äéßжщ日本中文한글\"€…`)))).Draw(t, "text") {
					if _, err := known.NewEncoder().String(string(r)); err == nil && r >= ' ' && r != utf8.RuneError && r != 0x7f {
						text.WriteRune(r)
					}
				}
				want := `{"t":"` + text.String() + `"}`
				data, err := known.NewEncoder().Bytes([]byte(want))
				if err != nil {
					t.Fatal(err)
				}
				decoded, err := known.NewDecoder().Bytes(data)
				if err != nil || string(decoded) != want {
					t.Skip("the charset has no way back for this text")
				}
				got, err := read("application/json; charset="+charset, "", data)
				if utf8.Valid(data) && !strings.ContainsAny(string(data), "\x00\x1b") {
					want = string(data)
				}
				if err != nil || string(got) != want {
					t.Fatalf("%q became %q, %v; want %q", data, got, err, want)
				}
			})
		})
	}
}

// Whatever charset a header claims: JSON in UTF-8 is the document that was signed.
func TestRead_CharsetIsNotSigned(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.OneOf(rapid.RuneFrom([]rune(`\"ä…日{},:`)), rapid.Rune().Filter(func(r rune) bool { return r >= ' ' }))).Draw(t, "text")
		charset := rapid.SampledFrom(charsets()).Draw(t, "charset")
		signed := `{"t":"` + text + `"}`
		got, err := read("application/a+json; charset="+charset, "", []byte(signed))
		if err != nil || string(got) != signed {
			t.Fatalf("%q became %q, %v", signed, got, err)
		}
		got, err = read("application/json; charset="+charset, "", []byte(signed))
		if strings.Contains(text, "\ufffd") { // which the gateway may have left of something else
			if events.ErrorCode(err) != events.CodeInvalid {
				t.Fatalf("%q became %q, %v", signed, got, err)
			}
		} else if err != nil || string(got) != signed {
			t.Fatalf("%q became %q, %v", signed, got, err)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add("application/json", "", []byte("{}"))
	f.Add("application/x-www-form-urlencoded; charset=latin1", "gzip", compress(f, "gzip", []byte("a=%&payload=%7b%7D")))
	f.Add("application/a+json; charset=utf-16", "deflate", compress(f, "deflate", []byte("\xff\xfe{\x00}\x00")))
	f.Add("application/json; charset=gb18030", "identity", []byte("\"\x81\x30\x81\x30\""))
	for _, charset := range charsets() {
		f.Add("application/json; charset="+charset, "", []byte("\"\xe4\xf6\x95\x5c\x1b$B\x00\""))
	}
	f.Fuzz(func(t *testing.T, contentType, coding string, data []byte) {
		before := string(data)
		got, err := read(contentType, coding, data)
		switch events.ErrorCode(err) {
		case events.CodeUnsupportedMediaType, events.CodeInvalid:
		case events.CodeTooLarge:
			if len(data) <= limit && coding == "" && !strings.Contains(contentType, "charset") {
				t.Fatalf("%d bytes are too large", len(data))
			}
		case "":
			if len(got) > limit {
				t.Fatalf("%d bytes became %d", len(data), len(got))
			}
		default:
			t.Fatalf("error %v", err)
		}
		if string(data) != before {
			t.Fatal("the body was changed")
		}
		if bytes.Contains(got, []byte("\ufffd")) && !bytes.Contains(data, []byte("\ufffd")) && coding == "" && strings.HasPrefix(contentType, "application/json") &&
			!bytes.Contains(data, []byte{0xff, 0xfd}) && !bytes.Contains(data, []byte{0xfd, 0xff}) {
			t.Fatalf("%q became %q", data, got)
		}
	})
}
