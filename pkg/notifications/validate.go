package notifications

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Limits of a payload. Together they keep a stored notification far below DynamoDB's 400 KB for an item, even
// where JSON escapes every character of a text.
const (
	MaxTitle       = 255      // characters of title, topic, scope and icon
	MaxDescription = 32 << 10 // bytes
	MaxLink        = 2048     // bytes
	MaxMetadata    = 32 << 10 // bytes of JSON
)

// Validate reports everything that is wrong with p in one error with [events.CodeInvalid].
func (p *Payload) Validate() error {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	if strings.TrimSpace(p.Title) == "" {
		problem("payload.title is missing")
	}
	for _, f := range []struct{ name, value string }{{"title", p.Title}, {"topic", p.Topic}, {"scope", p.Scope}, {"icon", p.Icon}} {
		if n := utf8.RuneCountInString(f.value); n > MaxTitle {
			problem("payload.%s has %d characters; at most %d are allowed", f.name, n, MaxTitle)
		}
	}
	if n := len(p.Description); n > MaxDescription {
		problem("payload.description has %d bytes; at most %d are allowed", n, MaxDescription)
	}
	for _, f := range []struct{ name, value string }{
		{"title", p.Title}, {"description", p.Description}, {"topic", p.Topic}, {"scope", p.Scope}, {"icon", p.Icon},
	} {
		if !utf8.ValidString(f.value) {
			problem("payload.%s is not valid UTF-8", f.name)
		}
	}
	if err := ValidateLink(p.Link); err != nil {
		problem("payload.link %s", err)
	}
	if p.Severity.Rank() < 0 {
		problem("payload.severity must be critical, high, normal or low")
	}
	if m := p.metadata(); m != nil {
		switch {
		case m.Kind() != jsontext.KindBeginObject || !m.IsValid():
			problem("payload.metadata must be an object")
		case len(m) > MaxMetadata:
			problem("payload.metadata has %d bytes; at most %d are allowed", len(m), MaxMetadata)
		}
	}
	if len(problems) > 0 {
		return events.Errorf(events.CodeInvalid, "The notification is not valid: %s.", strings.Join(problems, "; "))
	}
	return nil
}

// ValidateLink tells whether a link is safe to be followed wherever it is shown: a path within the portal, or an
// absolute http or https address. "" is no link and valid. Everything that programs read differently is refused:
// "//host", backslashes, control characters and names or passwords before the host. The text of the error begins
// with a verb and does not repeat the link.
func ValidateLink(link string) error {
	switch {
	case link == "":
		return nil
	case len(link) > MaxLink:
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(link), MaxLink)
	case !utf8.ValidString(link):
		return fmt.Errorf("is not valid UTF-8")
	case strings.ContainsFunc(link, unicode.IsControl):
		return fmt.Errorf("holds a control character")
	case strings.TrimSpace(link) != link:
		return fmt.Errorf("begins or ends with a space")
	case strings.Contains(link, `\`):
		return fmt.Errorf("holds a backslash; write %%5C")
	case strings.HasPrefix(link, "//"):
		return fmt.Errorf("begins with two slashes; write a path, or the whole address with https://")
	}
	u, err := url.Parse(link)
	if err != nil {
		return fmt.Errorf("is not a valid address")
	}
	if u.Scheme == "" {
		return nil
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("must be a path or begin with http:// or https://")
	}
	if u.Host == "" || u.Hostname() == "" {
		return fmt.Errorf("names no host")
	}
	if u.User != nil {
		return fmt.Errorf("must not hold a user name or password")
	}
	return nil
}

// Fit shortens the texts of p that are too long, so that a generated payload does not fail for its length. Title
// and topic end in an ellipsis then, as does the description. A long scope keeps its beginning and gets the
// SHA-256 of the whole, so that different scopes stay different.
func (p *Payload) Fit() {
	p.Title = shorten(p.Title, MaxTitle)
	p.Topic = shorten(p.Topic, MaxTitle)
	p.Scope = digest(p.Scope, MaxTitle)
	if len(p.Description) > MaxDescription {
		p.Description = strings.ToValidUTF8(p.Description[:MaxDescription-len(ellipsis)], "") + ellipsis
	}
}
