// Package webhook knows how the webhooks of each provider look: how to verify them, what identifies a delivery,
// and what of it becomes metadata. A provider is one file and one [Profile].
package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Request is a webhook as it was received.
type Request struct {
	// Headers have lower-case names; several values of one name are joined with commas.
	Headers events.Metadata
	// Body is what the sender sent, to the byte. Signatures cover it.
	Body []byte
}

// Delivery is what the bus has to know of a verified webhook.
type Delivery struct {
	// ID is the sender's name of the delivery, the same when it is sent again, or "" if there is none.
	ID string
	// Metadata is what subscribers may see of the headers.
	Metadata events.Metadata
	// Promoted names the metadata that deserve an attribute of their own, most important first.
	Promoted []string
	// Host and Repository say which repository it is about; empty if none.
	Host, Repository string
}

// Profile knows the webhooks of one provider.
type Profile interface {
	// Verify fails with [events.CodeForbidden] unless r was signed with one of the secrets. It does not parse
	// the body and takes the same time whichever byte of a signature is wrong.
	Verify(r Request, secrets []string) error
	// Describe reads a verified webhook; payload is its JSON document. It fails with [events.CodeInvalid] if
	// payload is not JSON.
	Describe(r Request, payload []byte) (Delivery, error)
}

// Payload returns the JSON document of a webhook: the body, or the field "payload" of a form. It fails with
// [events.CodeUnsupportedMediaType] for other media types and charsets, and [events.CodeInvalid] for a bad form.
// It does not check that the document is JSON.
func Payload(r Request) ([]byte, error) {
	contentType, ok := r.Headers.Get("content-type")
	if !ok {
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the request has no Content-Type; send application/json or application/x-www-form-urlencoded")
	}
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the Content-Type %.100q is not valid; send application/json or application/x-www-form-urlencoded", contentType)
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the charset %.50q is not supported; send UTF-8", charset)
	}
	switch mediaType {
	case "application/json":
		return r.Body, nil
	case "application/x-www-form-urlencoded":
		return formPayload(r.Body)
	}
	return nil, events.Errorf(events.CodeUnsupportedMediaType, "the media type %.100q is not supported; send application/json or application/x-www-form-urlencoded", mediaType)
}

func formPayload(body []byte) ([]byte, error) {
	for field := range strings.SplitSeq(string(body), "&") {
		name, value, _ := strings.Cut(field, "=")
		if name != "payload" {
			continue
		}
		payload, err := url.QueryUnescape(value)
		if err != nil {
			return nil, events.Errorf(events.CodeInvalid, "the field \"payload\" of the form is not url-encoded")
		}
		return []byte(payload), nil
	}
	return nil, events.Errorf(events.CodeInvalid, "the form has no field \"payload\"")
}

// Signature says how a sender signs: the HMAC-SHA-256 of the body in a header.
type Signature struct {
	Header   string // lower-case name
	Prefix   string // what stands before the digest, such as "sha256="
	Encoding string // "hex" or "base64"
}

var errSignature = events.Errorf(events.CodeForbidden, "the signature does not fit: check that the sender uses the secret of this topic and that nothing changes the body on its way")

// verify checks the signature with every secret, so that the time it takes says nothing about which one fits.
func (s Signature) verify(r Request, secrets []string) error {
	value, ok := r.Headers.Get(s.Header)
	if !ok || value == "" {
		return events.Errorf(events.CodeForbidden, "the request is not signed: the header %s is missing; set the secret of the webhook at the sender", s.Header)
	}
	digest, ok := strings.CutPrefix(value, s.Prefix)
	if !ok {
		return errSignature
	}
	var given []byte
	var err error
	if s.Encoding == "base64" {
		given, err = base64.StdEncoding.Strict().DecodeString(digest)
	} else {
		given, err = hex.DecodeString(digest)
	}
	if err != nil || len(given) != sha256.Size {
		return errSignature
	}
	fits := false
	for _, secret := range secrets {
		if secret == "" {
			continue // an empty key signs nothing
		}
		if hmac.Equal(s.digest(r.Body, secret), given) {
			fits = true
		}
	}
	if !fits {
		return errSignature
	}
	return nil
}

func (s Signature) digest(body []byte, secret string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return mac.Sum(nil)
}

// Sign returns the value of the signature header for a body, as a sender makes it.
func (s Signature) Sign(body []byte, secret string) string {
	if s.Encoding == "base64" {
		return s.Prefix + base64.StdEncoding.EncodeToString(s.digest(body, secret))
	}
	return s.Prefix + hex.EncodeToString(s.digest(body, secret))
}

// pick returns the headers with the given names, or with names that start with a given one that ends in "*".
// Credentials and signatures are never among them.
func pick(headers events.Metadata, names []string, never string) events.Metadata {
	picked := events.Metadata{}
	for name, value := range headers {
		wanted := slices.ContainsFunc(names, func(want string) bool {
			prefix, isPattern := strings.CutSuffix(want, "*")
			return name == want || isPattern && strings.HasPrefix(name, prefix)
		})
		if wanted && value != "" && name != never && !secretHeader(name) {
			picked[name] = value
		}
	}
	return picked
}

// secretHeader tells whether a header may carry a credential, a cookie or a signature, or would be mistaken for
// an attribute of ours. GitHub once sent the webhook secret itself in a header of its own, hence the broad match.
func secretHeader(name string) bool {
	if strings.HasPrefix(name, events.AttributeEvents) {
		return true
	}
	for _, part := range []string{
		"authorization", "cookie", "credential", "signature", "secret", "token", "password", "api-key", "apikey",
	} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// members reads a JSON document in one pass: it checks the syntax of the whole and calls member for each member
// of the object at its root; member reads the value or leaves it, in which case it is skipped. Like RFC 8259 it
// lets names occur twice and "\ud83d" stand alone, as in a text that was cut off; bytes that are not UTF-8 never
// get into an event, see [events.Encode].
func members(payload []byte, member func(d *jsontext.Decoder, name string) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(payload), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err := walk(d, member); err != nil {
		return invalidJSON(err)
	}
	if _, err := d.ReadToken(); err == nil {
		return events.Errorf(events.CodeInvalid, "the body is not valid JSON: there is something behind the document")
	} else if !errors.Is(err, io.EOF) {
		return invalidJSON(err)
	}
	return nil
}

func walk(d *jsontext.Decoder, member func(d *jsontext.Decoder, name string) error) error {
	if d.PeekKind() != '{' {
		return skip(d)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		before := d.InputOffset()
		if err := member(d, t.String()); err != nil {
			return err
		}
		if d.InputOffset() == before {
			if err := skip(d); err != nil {
				return err
			}
		}
	}
	_, err := d.ReadToken()
	return err
}

// skip reads a value at once, which is faster than token by token as [jsontext.Decoder.SkipValue] does.
func skip(d *jsontext.Decoder) error {
	_, err := d.ReadValue()
	return err
}

// stringMember reads the value that comes next if it is a string.
func stringMember(d *jsontext.Decoder, into *string) error {
	if d.PeekKind() != '"' {
		return nil
	}
	t, err := d.ReadToken()
	if err == nil {
		*into = t.String()
	}
	return err
}

func invalidJSON(err error) error {
	return events.Wrap(err, events.CodeInvalid, "the body is not valid JSON: %s", syntaxProblem(err))
}

// syntaxProblem says where the problem is and keeps the content of the body out of the message.
func syntaxProblem(err error) string {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Sprintf("at byte %d", e.ByteOffset)
	}
	return "it ends too early"
}
