// Package rules turns events into notifications by rules that people write: conditions and recipients in CEL
// (https://cel.dev), texts as templates with CEL in "${…}".
//
// An expression sees three variables: topic, a string; payload, the JSON document of the event; and metadata, a
// map of strings whose names are looked up in any case. Whole numbers of the payload are int, others double.
// Beside CEL's own functions there are those of its extensions for strings, lists, sets and math, and
// optional values ("payload.?owner.orValue('nobody')"). Nothing reads a clock or does I/O, and what an
// expression may cost is bounded.
package rules

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/notifications"
)

// Rule says which events become notifications, and what they say to whom.
type Rule struct {
	Name string
	On   []string // topics and sub-topics
	When string   // CEL that yields a bool; "" is always
	// To are the recipients: references to users and groups, or "ownersOf:" with CEL that yields a list of
	// entityRefs whose owners are meant.
	To []string
	// Templates of the notification. Only the title is required.
	Title, Description, Link, Scope string
	Severity                        notifications.Severity // "" is normal
}

// FieldError is one thing that is wrong with a rule.
type FieldError struct {
	Field   string // "when", "to[0]", "title", …
	Message string
}

// FieldErrors is the error of [Compile]: everything that is wrong with a rule, in the order of the fields.
type FieldErrors []FieldError

// Error is all problems in one line.
func (p FieldErrors) Error() string {
	texts := make([]string, len(p))
	for i, problem := range p {
		texts[i] = problem.Field + ": " + problem.Message
	}
	return strings.Join(texts, "; ")
}

func (p *FieldErrors) add(field string, err error) {
	if err != nil {
		*p = append(*p, FieldError{field, err.Error()})
	}
}

const ownersOf = "ownersOf:"

// Compiled is a rule that can be evaluated, by many goroutines at once.
type Compiled struct {
	Name string
	On   []string

	when     *expression // nil is always
	refs     []catalog.Ref
	owners   []*expression
	fields   []field
	severity notifications.Severity
}

// field is a template and the part of the payload that it makes.
type field struct {
	name     string
	template template
	set      func(p *notifications.Payload, text string)
}

// Compile checks the types and templates of a rule. Its error is [FieldErrors]. Name and topics are taken as they are.
func Compile(r Rule) (*Compiled, error) {
	c := &Compiled{Name: r.Name, On: r.On, severity: r.Severity}
	var problems FieldErrors
	if r.When != "" {
		var err error
		c.when, err = compile("when", r.When, yieldsBool)
		problems.add("when", err)
	}
	c.compileTo(r.To, &problems)
	c.compileFields(r, &problems)
	if r.Severity.Rank() < 0 {
		problems.add("severity", errors.New("must be critical, high, normal or low"))
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

func (c *Compiled) compileTo(to []string, problems *FieldErrors) {
	if len(to) == 0 {
		problems.add("to", errors.New(`is missing: name users or groups, or write "ownersOf:" and an expression`))
	}
	for i, recipient := range to {
		name := fmt.Sprintf("to[%d]", i)
		if source, ok := strings.CutPrefix(recipient, ownersOf); ok {
			e, err := compile(name, source, yieldsRefs)
			problems.add(name, err)
			c.owners = append(c.owners, e)
			continue
		}
		ref, err := recipientRef(recipient)
		problems.add(name, err)
		c.refs = append(c.refs, ref)
	}
}

func recipientRef(s string) (catalog.Ref, error) {
	if strings.Contains(s, "${") {
		return catalog.Ref{}, errors.New(`is not a template: name a user or group, or write "ownersOf:" and an expression`)
	}
	ref, err := catalog.ParseRef(s)
	if err != nil {
		return catalog.Ref{}, err
	}
	if ref.Kind != "user" && ref.Kind != "group" {
		return catalog.Ref{}, fmt.Errorf(`is a %s; name users or groups, or write "ownersOf:['%s']"`, ref.Kind, ref)
	}
	return ref, nil
}

func (c *Compiled) compileFields(r Rule, problems *FieldErrors) {
	if strings.TrimSpace(r.Title) == "" {
		problems.add("title", errors.New("is missing"))
	}
	for _, f := range []struct {
		name, source string
		set          func(p *notifications.Payload, text string)
	}{
		{"title", r.Title, func(p *notifications.Payload, text string) { p.Title = text }},
		{"description", r.Description, func(p *notifications.Payload, text string) { p.Description = text }},
		{"link", r.Link, func(p *notifications.Payload, text string) { p.Link = text }},
		{"scope", r.Scope, func(p *notifications.Payload, text string) { p.Scope = text }},
	} {
		if f.source == "" {
			continue
		}
		t, err := parseTemplate(f.name, f.source)
		if text, ok := t.constant(); ok && err == nil && f.name == "link" {
			err = notifications.ValidateLink(text)
		}
		problems.add(f.name, err)
		c.fields = append(c.fields, field{f.name, t, f.set})
	}
}

// Result is what a rule makes of an event.
type Result struct {
	Match    bool          // whether the condition holds; the rest is empty if not
	Refs     []catalog.Ref // users and groups
	OwnersOf []catalog.Ref // entities whose owners are recipients too
	Payload  notifications.Payload
}

// Error says that a rule failed on an event. It names the rule and the field, and nothing of the event.
type Error struct {
	Rule, Field string
	Reason      string
}

// Error is the text for the log.
func (e *Error) Error() string { return fmt.Sprintf("rule %s: %s: %s", e.Rule, e.Field, e.Reason) }

// Evaluate applies the rule to an event. Texts that become too long are shortened, see
// [notifications.Payload.Fit]. The error is an [*Error], or that of ctx where it ended.
func (c *Compiled) Evaluate(ctx context.Context, in *Input) (Result, error) {
	result, field, err := c.evaluate(ctx, in)
	if err == nil {
		return result, nil
	}
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	return Result{}, &Error{c.Name, field, err.Error()}
}

func (c *Compiled) evaluate(ctx context.Context, in *Input) (result Result, failed string, err error) {
	if c.when != nil {
		if result.Match, err = c.when.bool(ctx, in); err != nil || !result.Match {
			return result, c.when.field, err
		}
	}
	result.Match, result.Refs = true, c.refs
	for _, e := range c.owners {
		refs, err := e.refs(ctx, in)
		if err != nil {
			return result, e.field, err
		}
		result.OwnersOf = append(result.OwnersOf, refs...)
	}
	for _, f := range c.fields {
		text, err := f.template.text(ctx, in)
		if err != nil {
			return result, f.name, err
		}
		f.set(&result.Payload, text)
	}
	result.Payload.Severity = c.severity
	result.Payload.Fit()
	return result, "payload", result.Payload.Validate()
}
