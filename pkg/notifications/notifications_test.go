package notifications_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
)

func TestNotificationJSON(t *testing.T) {
	t.Parallel()
	created := time.Date(2024, 3, 1, 12, 0, 0, 5e6, time.FixedZone("", 3600))
	for _, tc := range []struct {
		name string
		give notifications.Notification
		want string
	}{
		{
			name: "what is missing is null",
			give: notifications.Notification{ID: "1", User: "user:default/a", Created: created, Origin: "ci", Payload: notifications.Payload{Title: "Hello"}},
			want: `{"id":"1","user":"user:default/a","created":"2024-03-01T11:00:00.005Z","saved":null,"read":null,"updated":null,"origin":"ci",` +
				`"payload":{"title":"Hello","description":null,"link":null,"severity":"normal","topic":null,"scope":null,"icon":null}}`,
		},
		{
			name: "everything",
			give: notifications.Notification{
				ID: "1", User: "user:default/a", Created: created, Saved: created, Read: created, Updated: created, Origin: "ci",
				Payload: notifications.Payload{
					Title: "Hello", Description: "d", Link: "/l", Severity: notifications.SeverityHigh, Topic: "t", Scope: "s", Icon: "i",
					Metadata: jsontext.Value(`{"a":1}`),
				},
			},
			want: `{"id":"1","user":"user:default/a","created":"2024-03-01T11:00:00.005Z","saved":"2024-03-01T11:00:00.005Z",` +
				`"read":"2024-03-01T11:00:00.005Z","updated":"2024-03-01T11:00:00.005Z","origin":"ci","payload":{"title":"Hello",` +
				`"description":"d","link":"/l","severity":"high","topic":"t","scope":"s","icon":"i","metadata":{"a":1}}}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(tc.give)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPayloadCanBeReadBack(t *testing.T) {
	t.Parallel()
	want := notifications.Payload{Title: "Hello", Severity: notifications.SeverityNormal}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got notifications.Payload
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

func TestPayloadValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		give notifications.Payload
		want string // part of the message; "" is valid
	}{
		{"smallest", notifications.Payload{Title: "x"}, ""},
		{"at the limits", notifications.Payload{
			Title: strings.Repeat("ü", 255), Description: strings.Repeat("d", 32<<10), Link: "/" + strings.Repeat("l", 2047),
			Metadata: jsontext.Value(`{"k":"` + strings.Repeat("m", 32<<10-8) + `"}`),
		}, ""},
		{"no title", notifications.Payload{}, "payload.title is missing"},
		{"blank title", notifications.Payload{Title: " \n"}, "payload.title is missing"},
		{"long title", notifications.Payload{Title: strings.Repeat("x", 256)}, "payload.title has 256 characters"},
		{"long topic", notifications.Payload{Title: "x", Topic: strings.Repeat("x", 256)}, "payload.topic has 256 characters"},
		{"long scope", notifications.Payload{Title: "x", Scope: strings.Repeat("x", 256)}, "payload.scope has 256 characters"},
		{"long icon", notifications.Payload{Title: "x", Icon: strings.Repeat("x", 256)}, "payload.icon has 256 characters"},
		{"long description", notifications.Payload{Title: "x", Description: strings.Repeat("x", 32<<10+1)}, "payload.description has 32769 bytes"},
		{"not UTF-8", notifications.Payload{Title: "x\xff"}, "payload.title is not valid UTF-8"},
		{"severity", notifications.Payload{Title: "x", Severity: "High"}, "payload.severity must be critical, high, normal or low"},
		{"metadata", notifications.Payload{Title: "x", Metadata: jsontext.Value(`[]`)}, "payload.metadata must be an object"},
		{"large metadata", notifications.Payload{Title: "x", Metadata: jsontext.Value(`{"k":"` + strings.Repeat("m", 32<<10) + `"}`)}, "payload.metadata has 32776 bytes"},
		{"null metadata", notifications.Payload{Title: "x", Metadata: jsontext.Value(`null`)}, ""},
		{"link", notifications.Payload{Title: "x", Link: "javascript:alert(1)"}, "payload.link must be a path or begin with http:// or https://"},
		{"several", notifications.Payload{Link: "//x", Severity: "x"}, "payload.title is missing; payload.link begins with two slashes; write a path, or the whole address with https://; payload.severity must"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := tc.give.Validate()
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(events.ErrorMessage(err), tc.want) {
				t.Errorf("got %v, want an invalid error with %q", err, tc.want)
			}
		})
	}
}

func TestValidateLink(t *testing.T) {
	t.Parallel()
	for _, link := range []string{
		"", "/", "/catalog/default/component/x", "catalog/x?y=1#z", "?id=1", "#top", "http://example.com", "HTTPS://example.com:8443/a b?c=//d",
		"https://[::1]/", "/a//b", "/a:b", "./a:b",
	} {
		if err := notifications.ValidateLink(link); err != nil {
			t.Errorf("%q: %v, want it to be valid", link, err)
		}
	}
	for _, link := range []string{
		"//example.com", "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "mailto:a@b", "ftp://example.com", "x:y", `/\example.com`,
		`https:\\example.com`, "https:///path", "https:example.com", "https://", "https://:80", "https://user@example.com", "https://u:p@example.com",
		"https://good.example@evil.example", " https://example.com", "/x ", "\t//example.com", "java\nscript:alert(1)", "/a\x00", "/a\u0085", "http://[::1",
		"\xff", "/" + strings.Repeat("x", 2048),
	} {
		if notifications.ValidateLink(link) == nil {
			t.Errorf("%q is valid, want an error", link)
		}
	}
}

func FuzzValidateLink(f *testing.F) {
	for _, link := range []string{"/a", "//a", "https://a@b", `/\a`, "http://example.com/"} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		if notifications.ValidateLink(link) != nil {
			return
		}
		lower := strings.ToLower(link)
		if before, _, ok := strings.Cut(lower, ":"); ok && !strings.ContainsAny(before, "/?#") && before != "http" && before != "https" {
			t.Errorf("%q has a scheme other than http and https", link)
		}
		if strings.HasPrefix(link, "//") || strings.ContainsAny(link, "\\\x00\t\r\n") {
			t.Errorf("%q is read differently by different programs", link)
		}
	})
}

func TestFit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 300)
	p := notifications.Payload{Title: long, Topic: long, Scope: long, Description: strings.Repeat("ü", 20<<10)}
	p.Fit()
	if err := p.Validate(); err != nil {
		t.Fatalf("the payload does not fit: %v", err)
	}
	for name, text := range map[string]string{"title": p.Title, "topic": p.Topic, "description": p.Description} {
		if !strings.HasSuffix(text, "ü…") || !utf8.ValidString(text) {
			t.Errorf("the %s ends in %q, want a whole character and an ellipsis", name, text[len(text)-6:])
		}
	}
	other := notifications.Payload{Title: "x", Scope: long + "2"}
	other.Fit()
	if other.Scope == p.Scope {
		t.Error("two long scopes became the same")
	}
	short := notifications.Payload{Title: "t", Description: "d", Topic: "t", Scope: "s"}
	want := short
	if short.Fit(); !cmp.Equal(short, want) {
		t.Errorf("a payload that fits was changed to %+v", short)
	}
}

func TestRecipientsJSON(t *testing.T) {
	t.Parallel()
	a := catalog.Ref{Kind: "user", Namespace: "default", Name: "a"}
	for _, tc := range []struct {
		give string
		want notifications.Refs
	}{
		{`{"entityRef":"User:A"}`, notifications.Refs{a}},
		{`{"entityRef":["user:default/a"]}`, notifications.Refs{a}},
		{`{"entityRef":null}`, nil},
		{`{"entityRef":[]}`, notifications.Refs{}},
	} {
		var got notifications.Recipients
		if err := json.Unmarshal([]byte(tc.give), &got); err != nil {
			t.Errorf("%s: %v", tc.give, err)
		}
		if diff := cmp.Diff(tc.want, got.EntityRef); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.give, diff)
		}
	}
	for _, give := range []string{`{"entityRef":1}`, `{"entityRef":[1]}`, `{"entityRef":"a"}`, `{"entityRef":""}`, `{"entityRef":["user:"]}`} {
		if err := json.Unmarshal([]byte(give), &notifications.Recipients{}); err == nil {
			t.Errorf("%s was read, want an error", give)
		}
	}
}

// directory is a catalog: groups with members, and entities with owners, by the text of their references.
type directory struct{ members, owners map[string][]string }

func (d directory) Members(_ context.Context, group catalog.Ref) ([]catalog.Ref, error) {
	return refs(d.members[group.String()]...), nil
}

func (d directory) Owners(_ context.Context, of []catalog.Ref) (map[catalog.Ref][]catalog.Ref, error) {
	owners := map[catalog.Ref][]catalog.Ref{}
	for _, ref := range of {
		owners[ref] = refs(d.owners[ref.String()]...)
	}
	return owners, nil
}

func refs(texts ...string) []catalog.Ref {
	var refs []catalog.Ref
	for _, text := range texts {
		ref, err := catalog.ParseRef(text)
		if err != nil {
			panic(err)
		}
		refs = append(refs, ref)
	}
	return refs
}

func TestResolver(t *testing.T) {
	t.Parallel()
	many := make([]string, 10_001)
	for i := range many {
		many[i] = fmt.Sprintf("user:default/u%05d", i)
	}
	d := directory{
		members: map[string][]string{
			"group:default/all":   {"group:default/team", "group:default/empty", "user:default/boss"},
			"group:default/team":  {"user:default/a", "user:default/b", "group:default/all", "component:default/robot"},
			"group:default/crowd": many,
			"group:default/pair":  {"user:default/a", "user:default/c"},
		},
		owners: map[string][]string{
			"component:default/shop":  {"group:default/team", "user:default/boss"},
			"component:default/robot": {"user:default/z"},
		},
	}
	for _, tc := range []struct {
		name             string
		refs, exclude    []string
		users, nobody    []string
		wantTooManyUsers bool
	}{
		{name: "a user need not exist", refs: []string{"user:x"}, users: []string{"user:x"}},
		{name: "each user once", refs: []string{"user:a", "group:team", "user:a"}, users: []string{"user:a", "user:b", "user:boss"}},
		{name: "child groups and circles", refs: []string{"group:all"}, users: []string{"user:a", "user:b", "user:boss"}},
		{name: "owners", refs: []string{"component:shop"}, users: []string{"user:a", "user:b", "user:boss"}},
		{name: "members that are neither user nor group", refs: []string{"component:robot"}, users: []string{"user:z"}},
		{name: "nobody", refs: []string{"group:empty", "user:a", "group:unknown", "component:unknown"}, users: []string{"user:a"}, nobody: []string{"group:empty", "group:unknown", "component:unknown"}},
		{name: "excluded user", refs: []string{"group:all"}, exclude: []string{"user:a"}, users: []string{"user:b", "user:boss"}},
		{name: "excluded group", refs: []string{"group:all"}, exclude: []string{"group:team"}},
		{name: "members of an excluded group", refs: []string{"user:a", "user:b"}, exclude: []string{"group:pair"}, users: []string{"user:b"}},
		{name: "too many", refs: []string{"group:crowd"}, wantTooManyUsers: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := notifications.Resolver{Catalog: d}
			users, nobody, err := r.Users(t.Context(), refs(tc.refs...), refs(tc.exclude...))
			if tc.wantTooManyUsers {
				if events.ErrorCode(err) != events.CodeInvalid {
					t.Fatalf("got %v, want an invalid error", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(refs(tc.users...), users); diff != "" {
				t.Errorf("users (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(refs(tc.nobody...), nobody); diff != "" {
				t.Errorf("nobody (-want +got):\n%s", diff)
			}
		})
	}
}
