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
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// ErrTest is what Verify returns for a connection test that its provider does not sign. It is answered like an
// event, and is none: nobody knows who sent it.
var ErrTest = errors.New("a connection test")

// Request is a webhook as it was received.
type Request struct {
	// Headers have lower-case names; several values of one name are joined with commas.
	Headers events.Metadata
	// Body is what the sender sent, to the byte. Signatures cover it.
	Body []byte
	// Token is the segment of the path behind the topic, or "".
	Token string
	// Time is when it was received; signatures with a time are measured against it.
	Time time.Time
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
	// Verify fails with [events.CodeForbidden] unless r was sent with one of the secrets, with
	// [events.CodeUnauthorized] if r has no credentials and Basic authentication would do, and with [ErrTest]. It
	// does not parse JSON and takes the same time whichever byte of a secret or signature is wrong.
	Verify(r Request, secrets []string) error
	// Describe reads a verified webhook; payload is its JSON document. It fails with [events.CodeInvalid] if
	// payload is not JSON, or does not fit an event type that is not covered by the signature.
	Describe(r Request, payload []byte) (Delivery, error)
}

// BodyParser makes the JSON document of a webhook from a body of one media type, which is not compressed any more. Params
// are the parameters of the Content-Type, and limit is the largest document that is of use, in bytes. It fails with
// [events.CodeInvalid], [events.CodeTooLarge] or [events.CodeUnsupportedMediaType]. What it returns is checked to be JSON in
// UTF-8 by others.
type BodyParser func(params map[string]string, body []byte, limit int) ([]byte, error)

// FormType is the media type of forms.
const FormType = "application/x-www-form-urlencoded"

// FormPayload returns the field "payload" of a form, decoded. It fails with [events.CodeInvalid] if there is none.
//
// No signature covers the media type. In a JSON document that is read as a form, what somebody wrote into a string, such as
// "&payload=…" in the message of a commit, would be the document. So what has a quote is no form: in one it is written "%22".
func FormPayload(form []byte) ([]byte, error) {
	if bytes.ContainsAny(form, "\"\x00") { // a zero is UTF-16
		return nil, events.Errorf(events.CodeInvalid, "the body is not a form, as the header Content-Type says: it has a quote or a zero that is not url-encoded")
	}
	for field := range bytes.SplitSeq(form, []byte("&")) {
		name, value, _ := bytes.Cut(field, []byte("="))
		if string(name) != "payload" {
			continue
		}
		payload, err := url.QueryUnescape(string(value))
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

// errSignatureOfText is for bodies that look as if the gateway has changed them.
var errSignatureOfText = events.Errorf(events.CodeForbidden, "%s; the gateway hands on application/json as text, in which bytes that are no UTF-8 are replaced: "+
	"send UTF-8 that is not compressed, or another type, such as application/vnd.acme+json", events.ErrorMessage(errSignature))

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
		return misfit(r)
	}
	return nil
}

// misfit says why a signature may not fit. API Gateway hands on some media types as text, and replaces what is not UTF-8.
func misfit(r Request) error {
	mediaType, params, err := mime.ParseMediaType(r.Headers["content-type"])
	if err != nil || mediaType != "application/json" {
		return errSignature
	}
	charset := strings.ToLower(params["charset"])
	if bytes.Contains(r.Body, []byte("\ufffd")) || charset != "" && charset != "utf-8" && charset != "utf8" {
		return errSignatureOfText
	}
	return errSignature
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

func (s Signature) set(r *Request, secret string) { r.Headers.Set(s.Header, s.Sign(r.Body, secret)) }

// pick returns the headers with the given names, or with names that start with a given one that ends in "*".
// Credentials and signatures are never among them.
func pick(headers events.Metadata, names []string, never string) events.Metadata {
	picked := events.Metadata{}
	for name, value := range headers {
		wanted := slices.ContainsFunc(names, func(want string) bool {
			prefix, isPattern := strings.CutSuffix(want, "*")
			return name == want || isPattern && strings.HasPrefix(name, prefix)
		})
		if wanted && value != "" && name != never && !SecretHeader(name) {
			picked[name] = value
		}
	}
	return picked
}

// SecretHeader tells whether a header, by its name in lower case, may carry a credential, a cookie or a signature, or would
// be mistaken for an attribute of ours: it never becomes metadata or the id of a delivery. GitHub once sent the webhook
// secret itself in a header of its own, hence the broad match.
func SecretHeader(name string) bool {
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
