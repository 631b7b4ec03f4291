package rules_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
	"github.com/callboard/callboard/pkg/notifications/rules"
)

func rule(change func(*rules.Rule)) rules.Rule {
	r := rules.Rule{Name: "r", To: []string{"user:default/guest"}, Title: "t"}
	if change != nil {
		change(&r)
	}
	return r
}

func compile(t *testing.T, r rules.Rule) *rules.Compiled {
	t.Helper()
	c, err := rules.Compile(r)
	if err != nil {
		t.Fatalf("compile %+v: %v", r, err)
	}
	return c
}

func read(t *testing.T, payload string) *rules.Input {
	t.Helper()
	in, err := rules.Read(events.Event{
		ID: "github:1", Topic: "github.push", Payload: []byte(payload), Metadata: events.Metadata{"x-github-event": "push"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestRuleOfTheExample(t *testing.T) {
	t.Parallel()
	c := compile(t, rules.Rule{
		Name: "new-in-catalog", On: []string{"catalog.changed"}, When: "size(payload.added) > 0",
		To:    []string{"ownersOf:payload.added", "Group:team-a", "user:default/guest"},
		Title: "${size(payload.added)} new in the catalog", Description: "cause: ${payload.cause}", Link: "${payload.location}",
		Severity: notifications.SeverityHigh, Scope: "catalog:${payload.location}",
	})
	got, err := c.Evaluate(t.Context(), read(t, `{"cause":"github:1","location":"https://example.com/c.yaml","added":["Component:default/Shop","api:default/shop"]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := rules.Result{
		Match:    true,
		Refs:     []catalog.Ref{{Kind: "group", Namespace: "default", Name: "team-a"}, {Kind: "user", Namespace: "default", Name: "guest"}},
		OwnersOf: []catalog.Ref{{Kind: "component", Namespace: "default", Name: "shop"}, {Kind: "api", Namespace: "default", Name: "shop"}},
		Payload: notifications.Payload{
			Title: "2 new in the catalog", Description: "cause: github:1", Link: "https://example.com/c.yaml",
			Severity: notifications.SeverityHigh, Scope: "catalog:https://example.com/c.yaml",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}

	got, err = c.Evaluate(t.Context(), read(t, `{"added":[]}`))
	if diff := cmp.Diff(rules.Result{}, got); err != nil || diff != "" {
		t.Errorf("an event that does not match: %v (-want +got):\n%s", err, diff)
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	const payload = `{"s":"text","i":1234567890123,"d":0.1,"big":1e21,"neg":-7,"whole":3.0,"b":true,"o":{"n":{"k":"deep"}},
		"l":["a","b"],"twice":1,"twice":2,"surrogate":"\ud800x"}`
	for _, tc := range []struct{ give, want string }{
		{"plain $ {text} }", "plain $ {text} }"},
		{"${payload.s}", "text"},
		{"a ${payload.s} b ${payload.b}!", "a text b true!"},
		{"${payload.i}", "1234567890123"},
		{"${payload.d}", "0.1"},
		{"${payload.big}", "1000000000000000000000"},
		{"${payload.neg} ${payload.whole}", "-7 3"},
		{"${payload.i + 1}", "1234567890124"},
		{"${1u} ${2.5} ${false}", "1 2.5 false"},
		{"${payload.o.n.k}", "deep"},
		{"${ {'a': {'b': 'nested'}}['a'].b }", "nested"},
		{`${'}' + "{" + '\'}' + "\"}"}`, `}{'}"}`},
		{`${'''it's } here'''}`, "it's } here"},
		{`${r'\'}|${R"\"}|${'r' + r"}"}`, `\|\|r}`},
		{"${payload.s // } a comment\n}", "text"},
		{"$${payload.s}", "${payload.s}"},
		{"$$${payload.s} costs 5$", "$${payload.s} costs 5$"},
		{"${topic} ${metadata['x-github-event']}, ${metadata['X-GitHub-Event']}", "github.push push, push"},
		{"${'X-Github-EVENT' in metadata} ${'other' in metadata}", "true false"},
		{"${payload.?missing.orValue('default')} ${metadata[?'other'].orValue('none')}", "default none"},
		{"${has(payload.missing) ? payload.missing : 'absent'}", "absent"},
		{"${payload.l.join(', ')} ${payload.s.upperAscii()} ${math.greatest(1, 2)}", "a, b TEXT 2"},
		{"${payload.twice}", "2"},
		{"${payload.surrogate}", "\ufffdx"},
		{"${payload.i > 5.5}", "true"},
	} {
		t.Run(tc.give, func(t *testing.T) {
			t.Parallel()
			c := compile(t, rule(func(r *rules.Rule) { r.Title = tc.give }))
			got, err := c.Evaluate(t.Context(), read(t, payload))
			if err != nil {
				t.Fatal(err)
			}
			if got.Payload.Title != tc.want {
				t.Errorf("got %q, want %q", got.Payload.Title, tc.want)
			}
		})
	}
}

func TestCompileReportsEverything(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		give rules.Rule
		want rules.FieldErrors
	}{
		{"everything missing", rules.Rule{}, rules.FieldErrors{
			{"to", `is missing: name users or groups, or write "ownersOf:" and an expression`},
			{"title", "is missing"},
		}},
		{"all fields", rules.Rule{
			When: "payload.a +", To: []string{"user:x", "guest", "ownersOf:1", "component:shop", "user:${payload.x}", "ownersOf: "},
			Title: "${}", Description: "${nonsense}", Link: "javascript:x", Severity: "urgent", Scope: "${payload.x",
		}, rules.FieldErrors{
			{"when", "column 12: Syntax error: mismatched input '<EOF>'"},
			{"to[1]", "the entity reference \"guest\" has no kind; write <kind>:[<namespace>/]<name>, for example component:petstore"},
			{"to[2]", "yields int; it must yield a list of entityRefs"},
			{"to[3]", `is a component; name users or groups, or write "ownersOf:['component:default/shop']"`},
			{"to[4]", `is not a template: name a user or group, or write "ownersOf:" and an expression`},
			{"to[5]", "the expression is empty"},
			{"title", "${}: the expression is empty"},
			{"description", "${nonsense}: column 1: undeclared reference to 'nonsense'"},
			{"link", "must be a path or begin with http:// or https://"},
			{"scope", `${payload.x: the closing } is missing; for the text "${" write "$${"`},
			{"severity", "must be critical, high, normal or low"},
		}},
		{"types", rule(func(r *rules.Rule) {
			r.When = "topic"
			r.To = []string{"ownersOf:topic", "ownersOf:[1]", "ownersOf:payload.x", "ownersOf:[]", "ownersOf:payload.l.map(x, x.ref)"}
			r.Title = "${[topic]}"
			r.Description = "${timestamp('2024-01-01T00:00:00Z')}"
			r.Scope = "${payload.?x}"
		}), rules.FieldErrors{
			{"when", "yields string; it must yield a bool"},
			{"to[0]", "yields string; it must yield a list of entityRefs"},
			{"to[1]", "yields list(int); it must yield a list of entityRefs"},
			{"title", "${[topic]}: yields list(string); it must yield text, a number or a bool"},
			{"description", "${timestamp('2024-01-01T00:00:00Z')}: yields google.protobuf.Timestamp; it must yield text, a number or a bool"},
			{"scope", "${payload.?x}: yields optional_type(dyn); it must yield text, a number or a bool"},
		}},
		{"second line", rule(func(r *rules.Rule) { r.When = "true &&\n oops" }), rules.FieldErrors{{"when", "line 2, column 2: undeclared reference to 'oops'"}}},
		{"no clock", rule(func(r *rules.Rule) { r.When = "now() > 1" }), rules.FieldErrors{{"when", "column 4: undeclared reference to 'now'"}}},
		{"regular expression", rule(func(r *rules.Rule) { r.When = "topic.matches('(')" }), rules.FieldErrors{{"when", "column 15: invalid matches argument"}}},
		{"too long", rule(func(r *rules.Rule) { r.When = strings.Repeat("true&&", 2000) + "true" }), rules.FieldErrors{{"when", "expression code point size exceeds limit: size: 12004, limit 10000"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := rules.Compile(tc.give)
			got, ok := errors.AsType[rules.FieldErrors](err)
			if !ok {
				t.Fatalf("got %v, want problems", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for _, p := range got {
				if !strings.Contains(err.Error(), p.Field+": ") || strings.Contains(p.Message, "\n") {
					t.Errorf("the problem of %s is not one line of %q", p.Field, err)
				}
			}
		})
	}
}

func TestEvaluationFails(t *testing.T) {
	t.Parallel()
	const payload = `{"secret":"hunter2","number":5,"nothing":null,"list":["hunter2"],"owners":["component:a",7],"bad":["hunter2"],"huge":1e999,
		"link":"javascript:hunter2","items":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30]}`
	for _, tc := range []struct {
		name   string
		change func(*rules.Rule)
		want   string
	}{
		{"missing member", func(r *rules.Rule) { r.When = "payload.absent == 1" }, `rule r: when: the event has no "absent"`},
		{"member named by the event", func(r *rules.Rule) { r.Title = "${payload[payload.secret]}" }, "rule r: title: ${payload[payload.secret]}: the event has not the member that is asked for"},
		{"other type", func(r *rules.Rule) { r.When = "payload.secret > 1" }, "rule r: when: a value of the event is of another type than the expression expects"},
		{"condition of another type", func(r *rules.Rule) { r.When = "payload.secret" }, "rule r: when: yields a string; it must yield a bool"},
		{"null", func(r *rules.Rule) { r.Title = "${payload.nothing}" }, "rule r: title: ${payload.nothing}: yields a null_type; it must yield text, a number or a bool"},
		{"list", func(r *rules.Rule) { r.Scope = "${payload.list}" }, "rule r: scope: ${payload.list}: yields a list; it must yield text, a number or a bool"},
		{"conversion", func(r *rules.Rule) { r.Title = "${int(payload.secret)}" }, "rule r: title: ${int(payload.secret)}: the expression cannot be evaluated for the values of this event"},
		{"division", func(r *rules.Rule) { r.Title = "${1 / (payload.number - 5)}" }, "rule r: title: ${1 / (payload.number - 5)}: division by zero"},
		{"infinite", func(r *rules.Rule) { r.Title = "${payload.huge}" }, "rule r: title: ${payload.huge}: yields a number that is not finite"},
		{"recipients", func(r *rules.Rule) { r.To = []string{"ownersOf:payload.secret"} }, "rule r: to[0]: yields a string; it must yield a list of entityRefs"},
		{"recipient of another type", func(r *rules.Rule) { r.To = []string{"user:x", "ownersOf:payload.owners"} }, "rule r: to[1]: yields a list with a int in it; it must yield a list of entityRefs"},
		{"recipient that is no entityRef", func(r *rules.Rule) { r.To = []string{"ownersOf:payload.bad"} }, "rule r: to[0]: yields a text that is not an entityRef"},
		{"blank title", func(r *rules.Rule) { r.Title = "${''} " }, "rule r: payload: The notification is not valid: payload.title is missing."},
		{"link", func(r *rules.Rule) { r.Link = "${payload.link}" }, "rule r: payload: The notification is not valid: payload.link must be a path or begin with http:// or https://."},
		{"cost", func(r *rules.Rule) {
			r.When = "payload.items.all(a, payload.items.all(b, payload.items.all(c, payload.items.all(d, a + b + c + d > 0))))"
		}, "rule r: when: the expression costs too much on this event"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := compile(t, rule(tc.change)).Evaluate(t.Context(), read(t, payload))
			if _, ok := errors.AsType[*rules.Error](err); !ok {
				t.Fatalf("got %v, want an error of the rule", err)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error %q repeats the event", err)
			}
		})
	}
}

func TestEvaluationEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := compile(t, rule(func(r *rules.Rule) { r.When = "lists.range(1000).all(x, x >= 0)" }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Evaluate(ctx, read(t, `{}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context was canceled", err)
	}
}

func TestLongTextsAreShortened(t *testing.T) {
	t.Parallel()
	c := compile(t, rule(func(r *rules.Rule) {
		r.Title = "${payload.s}"
		r.Scope = "${payload.s}"
		r.Description = "${payload.s}"
	}))
	got, err := c.Evaluate(t.Context(), read(t, `{"s":"`+strings.Repeat("x", 40_000)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("x", 254) + "…"; got.Payload.Title != want {
		t.Errorf("the title is %q, want %q", got.Payload.Title, want)
	}
}

func TestReadRefusesWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{``, `{`, `[1,`, `{"a":}`, `{} {}`, `nope`, `{"a":1}x`} {
		if _, err := rules.Read(events.Event{ID: "x:1", Payload: []byte(payload)}); events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("%q: got %v, want an invalid error", payload, err)
		}
	}
	for _, payload := range []string{`null`, `1`, `"x"`, `[]`, ` {} `} {
		if _, err := rules.Read(events.Event{ID: "x:1", Payload: []byte(payload)}); err != nil {
			t.Errorf("%q: %v", payload, err)
		}
	}
}

// FuzzRule compiles any text as every part of a rule. What compiles is evaluated, and what it makes is valid.
func FuzzRule(f *testing.F) {
	f.Add("true", "ownersOf:payload.a", "${payload.a} $${ ${'}'}", `{"a":["component:x"]}`)
	f.Add("payload.a.exists(x, x == 1)", "group:a", "${r'}'}${{'a':1}['a']}", `{"a":[1,2.5,null]}`)
	f.Add("topic.matches('a+')", "user:a", "${'''}'''}", `[]`)
	f.Fuzz(func(t *testing.T, when, to, title, payload string) {
		in, err := rules.Read(events.Event{ID: "x:1", Topic: "x", Payload: []byte(payload)})
		if err != nil {
			return
		}
		c, err := rules.Compile(rules.Rule{Name: "r", When: when, To: []string{to}, Title: title, Description: title, Link: title})
		if err != nil {
			if _, ok := errors.AsType[rules.FieldErrors](err); !ok || strings.Contains(err.Error(), "\n") && !strings.Contains(when+to+title, "\n") {
				t.Fatalf("compile: %v, want problems on one line", err)
			}
			return
		}
		result, err := c.Evaluate(t.Context(), in)
		if err != nil || !result.Match {
			return
		}
		if err := result.Payload.Validate(); err != nil {
			t.Errorf("the rule made a notification that is not valid: %v", err)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	c, err := rules.Compile(rules.Rule{
		Name: "r", When: "size(payload.added) > 0", To: []string{"ownersOf:payload.added"}, Title: "${size(payload.added)} new", Scope: "catalog:${payload.location}",
	})
	if err != nil {
		b.Fatal(err)
	}
	e := events.Event{ID: "catalog:1", Topic: "catalog.changed", Payload: []byte(`{"location":"https://example.com/","added":["component:default/a","component:default/b"]}`)}
	for b.Loop() {
		in, err := rules.Read(e)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Evaluate(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
