package config_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	rootFile   = "../../events-config.json"
	schemaFile = "../../docs/events-config.schema.json"
)

func compileSchema(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func validate(s *jsonschema.Schema, data []byte) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(document)
}

// Each archive has a configuration and the errors it gives. Where its comment says "unseen by the schema", the JSON
// Schema accepts the configuration; otherwise both agree on whether it is good.
func TestParseGolden(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			in, want := archive.Files[0].Data, string(archive.Files[1].Data)
			got := ""
			if _, err := config.Parse(in); err != nil {
				if _, ok := errors.AsType[config.Errors](err); !ok {
					t.Errorf("error is a %T", err)
				}
				got = err.Error() + "\n"
			}
			if *update {
				archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			accepted := got == "" || strings.Contains(strings.ToLower(string(archive.Comment)), "unseen by the schema")
			if err := validate(schema, in); (err == nil) != accepted {
				t.Errorf("schema accepts it: %t, want %t: %v", err == nil, accepted, err)
			}
		})
	}
}

func TestParseFillsIn(t *testing.T) {
	t.Parallel()
	got, err := config.Parse([]byte(`{
		"topics": {
			"github": {"from": "github", "secrets": ["a"]},
			"frobs": {
				"from": "hmac", "secrets": ["a"], "signature": {"header": "X-Signature"}, "deliveryId": "header:X-Id",
				"metadata": ["X-Frob-*"], "subTopic": ["header:X-Kind", "body:Data.Kind", "${header:X-Kind}.${body:Kind}"],
				"publish": ["add"]
			},
			"gitlab": {"from": "gitlab", "verify": "none", "allow": ["192.0.2.77/24", "192.0.2.7", "2001:DB8:0::1", "2001:db8::1/32", "::ffff:10.1.2.3/104", "::ffff:192.0.2.7"]},
			"alerts": {"from": "token", "secrets": ["a"], "token": {"header": "X-Token", "prefix": "Bearer "}}
		},
		"integrations": {"github": [{"host": "GHE.example.com", "token": "ghe"}, {"host": "other.example.com", "apiBaseUrl": "https://x/api/"}]},
		"catalog": {"providers": {"github": {"acme": {"organization": "Acme"}, "ghe": {"host": "ghe.Example.com", "organization": "acme"}}}},
		"notifications": {"rules": [{"name": "r", "on": ["github"], "to": ["user:guest"], "title": "t"}]},
		"exports": [{"name": "a", "topics": ["github"], "claimChecks": true}, {"name": "b", "topics": ["github"]}],
		"api": {"tokens": [{"secret": "b", "subject": "User:Guest", "may": ["catalog.read"]}]}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	const path = "/catalog-info.yaml"
	want := &config.Config{
		Topics: map[string]config.Topic{
			"github": {From: "github", Secrets: []string{"a"}, SubTopic: []string{"metadata:x-github-event"}},
			"frobs": {
				From: "hmac", Secrets: []string{"a"}, Signature: &config.Signature{Header: "x-signature", Encoding: "hex"},
				DeliveryID: "header:x-id", Metadata: []string{"x-frob-*"}, SubTopic: []string{"header:x-kind", "body:Data.Kind", "${header:X-Kind}.${body:Kind}"},
				Publish: []string{"add"},
			},
			"gitlab": {
				From: "gitlab", Verify: "none", Allow: []string{"192.0.2.0/24", "192.0.2.7/32", "2001:db8::1/128", "2001:db8::/32", "10.0.0.0/8", "192.0.2.7/32"},
				SubTopic: []string{"body:object_kind", "body:event_name"},
			},
			"alerts": {From: "token", Secrets: []string{"a"}, Token: &config.TokenHeader{Header: "x-token", Prefix: "Bearer "}},
		},
		Integrations: config.Integrations{GitHub: []config.GitHubIntegration{
			{Host: "ghe.example.com", APIBaseURL: "https://ghe.example.com/api/v3", Token: "ghe"},
			{Host: "other.example.com", APIBaseURL: "https://x/api"},
			{Host: "github.com", APIBaseURL: "https://api.github.com"},
		}},
		Catalog: config.Catalog{Providers: config.Providers{GitHub: map[string]config.GitHubProvider{
			"acme": {Host: "github.com", Organization: "Acme", CatalogPath: path},
			"ghe":  {Host: "ghe.example.com", Organization: "acme", CatalogPath: path},
		}}},
		Notifications: config.Notifications{Rules: []config.Rule{
			{Name: "r", On: []string{"github"}, To: []string{"user:guest"}, Title: "t", Severity: "normal"},
		}},
		Exports: []config.Export{{Name: "a", Topics: []string{"github"}, ClaimChecks: true}, {Name: "b", Topics: []string{"github"}}},
		API:     config.API{Tokens: []config.Token{{Secret: "b", Subject: "user:default/guest", May: []string{"catalog.read"}}}},
		AWS:     config.AWS{Prefix: "callboard"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestTopic_SecretInAddress(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		topic config.Topic
		want  bool
	}{
		"github":               {config.Topic{From: "github"}, false},
		"gerrit":               {config.Topic{From: "gerrit"}, true},
		"gerrit, not verified": {config.Topic{From: "gerrit", Verify: "none"}, false},
		"token":                {config.Topic{From: "token"}, true},
		"token in a header":    {config.Topic{From: "token", Token: &config.TokenHeader{Header: "x"}}, false},
	} {
		if got := test.topic.SecretInAddress(); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

func TestParseSyntaxErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, want string }{
		"empty":        {" \n", "the file is empty"},
		"unclosed":     {"{\n  \"topics\": {", "line 2, column 14"},
		"comma":        {"{\n  \"topics\": {},\n}", "line 2, column 15"},
		"comment":      {"{\n  // topics\n}", "line 2, column 3"},
		"second value": {"{\"topics\": {}}\n\n  {}", "line 3, column 3: text after the end"},
		"not UTF-8":    {"{\"topics\": \"\xff\"}", "line 1, column 13"},
		"in runes":     {"{\"ü\": x}", "line 1, column 7"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse([]byte(tt.in))
			errs, ok := errors.AsType[config.Errors](err)
			if !ok || len(errs) != 1 || !strings.Contains(errs[0].Message, tt.want) {
				t.Errorf("got %v, want one error with %q", err, tt.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	c, err := config.Load(rootFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Topics) == 0 || len(c.Notifications.Rules) == 0 {
		t.Errorf("the file at the root shows no topics or rules: %+v", c)
	}
	missing := filepath.Join(t.TempDir(), "none.json")
	if _, err := config.Load(missing); events.ErrorCode(err) != events.CodeNotFound || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := config.Load(t.TempDir()); events.ErrorCode(err) != events.CodeUnavailable {
		t.Errorf("a folder: %v", err)
	}
}

// Whatever is accepted is in its normal form, and the schema accepts it too.
func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	root, err := os.ReadFile(rootFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(root)
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data)
		if err != nil {
			if errs, ok := errors.AsType[config.Errors](err); !ok || len(errs) == 0 {
				t.Fatalf("error without errors: %#v", err)
			}
			return
		}
		if err := validate(schema, data); err != nil {
			t.Errorf("accepted, but not by the schema: %v", err)
		}
		if slices.ContainsFunc(c.Integrations.GitHub, func(g config.GitHubIntegration) bool { return g.APIBaseURL == "" }) {
			t.Errorf("an integration has no URL: %+v", c.Integrations)
		}
	})
}
