// Package body makes the JSON document of a webhook from its body: it undoes the compression, takes the document out of a
// form, and writes it in UTF-8. Nothing else changes. Whether the document is JSON is not its business.
//
// It is a package of its own because of the tables of charsets, which only the ingress needs.
package body

import (
	"maps"
	"mime"
	"slices"
	"strings"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// The media types that every reader knows. What ends in "+json" is JSON, too.
const (
	typeJSON = "application/json"
	typeForm = webhook.FormType
)

var parsers = map[string]webhook.BodyParser{typeJSON: parseText, typeForm: parseForm}

// formGrowth is how many times larger than its document a form can be: each byte becomes "%" and two digits.
const formGrowth = 3

// Reader reads the bodies of webhooks.
type Reader struct {
	// Parsers are further parsers by media type, in lower case. They come before those for JSON and forms.
	Parsers map[string]webhook.BodyParser
	// Limit is the largest document that is of use, in bytes. No body is inflated to more than three times of it, which is
	// how large a form with such a document can be.
	Limit int
}

// Read returns the JSON document of a verified webhook. It fails with [events.CodeUnsupportedMediaType] for media types,
// charsets and compressions that it does not know, [events.CodeTooLarge] for what is larger than the limit, and
// [events.CodeInvalid] for what is not what the headers say.
func (rd Reader) Read(r webhook.Request) ([]byte, error) {
	largest := formGrowth * rd.Limit
	if len(r.Body) > largest {
		return nil, tooLarge("body", len(r.Body), largest)
	}
	contentType, ok := r.Headers.Get("content-type")
	if !ok {
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the request has no Content-Type; send %s", rd.known())
	}
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the Content-Type %.100q is not valid; send %s", contentType, rd.known())
	}
	parse := rd.parser(mediaType)
	if parse == nil {
		return nil, events.Errorf(events.CodeUnsupportedMediaType, "the media type %.100q is not supported; send %s", mediaType, rd.known())
	}
	coding, _ := r.Headers.Get("content-encoding")
	plain, err := inflate(coding, r.Body, largest)
	if err != nil {
		return nil, err
	}
	document, err := parse(params, plain, rd.Limit)
	if err != nil {
		return nil, err
	}
	if len(document) > rd.Limit {
		return nil, tooLarge("document in the body", len(document), rd.Limit)
	}
	return document, nil
}

func tooLarge(what string, size, limit int) error {
	return events.Errorf(events.CodeTooLarge, "the %s has %d bytes; at most %d are possible", what, size, limit)
}

// parser returns what reads a media type; nil if nothing does.
func (rd Reader) parser(mediaType string) webhook.BodyParser {
	if parse, ok := rd.Parsers[mediaType]; ok {
		return parse
	}
	if strings.HasSuffix(mediaType, "+json") {
		return parseJSON
	}
	return parsers[mediaType]
}

// known lists the media types for people.
func (rd Reader) known() string {
	further := slices.DeleteFunc(slices.Sorted(maps.Keys(rd.Parsers)), func(t string) bool { return parsers[t] != nil })
	types := append([]string{typeJSON}, further...)
	return strings.Join(types, ", ") + " or " + typeForm
}

// parseText is parseJSON for the one type that the gateway hands on as text, not byte by byte.
func parseText(params map[string]string, body []byte, limit int) ([]byte, error) {
	if err := survived(params["charset"], body); err != nil {
		return nil, err
	}
	return parseJSON(params, body, limit)
}

func parseJSON(params map[string]string, body []byte, _ int) ([]byte, error) {
	return inUTF8(params["charset"], body)
}

// parseForm takes the document out of the field "payload".
func parseForm(params map[string]string, body []byte, _ int) ([]byte, error) {
	document, err := webhook.FormPayload(body)
	if err != nil {
		return nil, err
	}
	return inUTF8(params["charset"], document)
}
