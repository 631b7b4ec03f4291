package rules

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// template is text with expressions in "${…}". "$${" stands for the text "${".
type template []part

// part is text, or an expression that yields some.
type part struct {
	literal    string
	expression *expression
}

// constant returns the text of a template without expressions.
func (t template) constant() (text string, ok bool) {
	for _, p := range t {
		if p.expression != nil {
			return "", false
		}
		text += p.literal
	}
	return text, true
}

func (t template) text(ctx context.Context, in *Input) (string, error) {
	var b strings.Builder
	for _, p := range t {
		if p.expression == nil {
			b.WriteString(p.literal)
			continue
		}
		text, err := p.expression.text(ctx, in)
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", p.expression.source, err)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func parseTemplate(field, source string) (template, error) {
	var t template
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			t = append(t, part{literal: literal.String()})
			literal.Reset()
		}
	}
	for rest := source; rest != ""; {
		i := strings.IndexByte(rest, '$')
		if i < 0 {
			literal.WriteString(rest)
			break
		}
		literal.WriteString(rest[:i])
		rest = rest[i:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			literal.WriteString("${")
			rest = rest[len("$${"):]
		case strings.HasPrefix(rest, "${"):
			rest = rest[len("${"):]
			n := expressionLength(rest)
			if n < 0 {
				return nil, fmt.Errorf(`${%s: the closing } is missing; for the text "${" write "$${"`, rest)
			}
			e, err := compile(field, rest[:n], yieldsText)
			if err != nil {
				return nil, fmt.Errorf("${%s}: %w", rest[:n], err)
			}
			flush()
			t = append(t, part{expression: e})
			rest = rest[n+len("}"):]
		default:
			literal.WriteByte('$')
			rest = rest[1:]
		}
	}
	flush()
	if len(t) == 0 {
		return nil, errors.New("is empty")
	}
	return t, nil
}

// expressionLength returns where the "}" is that ends the expression at the beginning of s, or -1. It knows as much
// of CEL's tokens as that takes: strings, comments, and braces that are opened inside.
func expressionLength(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '}':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case c == '{':
			depth++
			i++
		case c == '"' || c == '\'':
			n := stringLength(s[i:], false)
			if n < 0 {
				return -1
			}
			i += n
		case strings.HasPrefix(s[i:], "//"):
			n := strings.IndexByte(s[i:], '\n')
			if n < 0 {
				return -1
			}
			i += n
		case isWord(c):
			word := i
			for i < len(s) && isWord(s[i]) {
				i++
			}
			if i < len(s) && (s[i] == '"' || s[i] == '\'') && isRawPrefix(s[word:i]) {
				n := stringLength(s[i:], true)
				if n < 0 {
					return -1
				}
				i += n
			}
		default:
			i++
		}
	}
	return -1
}

// stringLength returns the length of the CEL string at the beginning of s with its quotes, or -1 if it does not end.
func stringLength(s string, raw bool) int {
	quote := s[:1]
	if strings.HasPrefix(s, strings.Repeat(quote, 3)) {
		quote = s[:3]
	}
	for i := len(quote); i < len(s); i++ {
		if !raw && s[i] == '\\' {
			i++
			continue
		}
		if strings.HasPrefix(s[i:], quote) {
			return i + len(quote)
		}
	}
	return -1
}

func isRawPrefix(word string) bool {
	switch strings.ToLower(word) {
	case "r", "br", "rb":
		return true
	}
	return false
}

func isWord(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
