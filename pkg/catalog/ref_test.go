package catalog_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

func TestParseRef(t *testing.T) {
	t.Parallel()
	group := catalog.DefaultKind("Group")
	tests := []struct {
		in       string
		defaults []catalog.RefOption
		want     catalog.Ref
	}{
		{"component:default/petstore", nil, catalog.Ref{Kind: "component", Namespace: "default", Name: "petstore"}},
		{"Component:Team-A/PetStore", nil, catalog.Ref{Kind: "component", Namespace: "team-a", Name: "petstore"}},
		{"component:petstore", nil, catalog.Ref{Kind: "component", Namespace: "default", Name: "petstore"}},
		{"tools", []catalog.RefOption{group}, catalog.Ref{Kind: "group", Namespace: "default", Name: "tools"}},
		{"user:jane", []catalog.RefOption{group}, catalog.Ref{Kind: "user", Namespace: "default", Name: "jane"}},
		{"tools", []catalog.RefOption{group, catalog.InNamespace("acme")}, catalog.Ref{Kind: "group", Namespace: "acme", Name: "tools"}},
		{"other/tools", []catalog.RefOption{group, catalog.InNamespace("acme")}, catalog.Ref{Kind: "group", Namespace: "other", Name: "tools"}},
		{"tools", []catalog.RefOption{group, catalog.InNamespace("")}, catalog.Ref{Kind: "group", Namespace: "default", Name: "tools"}},
		{"acme/a:b", []catalog.RefOption{group}, catalog.Ref{Kind: "group", Namespace: "acme", Name: "a:b"}},
		{"component:acme/a/b", nil, catalog.Ref{Kind: "component", Namespace: "acme", Name: "a/b"}},
	}
	for _, tt := range tests {
		got, err := catalog.ParseRef(tt.in, tt.defaults...)
		if err != nil || got != tt.want {
			t.Errorf("ParseRef(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseRefErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", "is empty"},
		{"petstore", `"petstore" has no kind`},
		{"acme/petstore", `"acme/petstore" has no kind`},
		{"acme/a:b", `"acme/a:b" has no kind`},
		{":petstore", `":petstore" has an empty part`},
		{"component:", "empty part"},
		{"component:/petstore", "empty part"},
		{"component:acme/", "empty part"},
		{"component:a\nb", "cannot be printed"},
		{"component:\xff", "cannot be printed"},
		{"component:" + strings.Repeat("a", 238), "256 characters"},
	}
	for _, tt := range tests {
		got, err := catalog.ParseRef(tt.in)
		if events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseRef(%q) = %v, want an invalid error with %q", tt.in, err, tt.want)
		}
		if got != (catalog.Ref{}) {
			t.Errorf("ParseRef(%q) = %v beside its error", tt.in, got)
		}
	}
	if _, err := catalog.ParseRef("component:" + strings.Repeat("a", 237)); err != nil {
		t.Errorf("a reference of 255 characters: %v", err)
	}
}

func TestRefRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(
			rapid.StringMatching(`([a-zA-Z]{1,4}:)?([a-z:]{1,4}/)?[a-zA-Z:/.-]{0,8}`),
			rapid.String(),
		).Draw(t, "ref")
		ref, err := catalog.ParseRef(in, catalog.DefaultKind("Component"))
		if err != nil {
			return
		}
		again, err := catalog.ParseRef(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q is %+v, which reads back as %+v, %v", in, ref, again, err)
		}
	})
}

func TestRefIsAStringInJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal([]catalog.Ref{{Kind: "Component", Namespace: "default", Name: "A"}})
	if err != nil || string(b) != `["component:default/a"]` {
		t.Fatalf("got %s, %v", b, err)
	}
	var refs []catalog.Ref
	if err := json.Unmarshal([]byte(`["User:Jane"]`), &refs); err != nil || refs[0].String() != "user:default/jane" {
		t.Errorf("got %v, %v", refs, err)
	}
	if err := json.Unmarshal([]byte(`["jane"]`), &refs); err == nil {
		t.Error("a reference without a kind was read")
	}
	if got := (catalog.Ref{}).String(); got != "" {
		t.Errorf("the zero reference is %q", got)
	}
}
