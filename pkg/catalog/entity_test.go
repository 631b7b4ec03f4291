package catalog_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

func ref(t *testing.T, s string) catalog.Ref {
	t.Helper()
	r, err := catalog.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// entity is a valid entity of a kind with the spec given as JSON.
func entity(t *testing.T, kind, spec string) *catalog.Entity {
	t.Helper()
	e := &catalog.Entity{
		APIVersion: "backstage.io/v1alpha1",
		Kind:       kind,
		Metadata:   catalog.Metadata{Name: "Thing", Namespace: "acme"},
	}
	if spec != "" {
		if err := json.Unmarshal([]byte(spec), &e.Spec); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func TestEntityJSON(t *testing.T) {
	t.Parallel()
	const text = `{"apiVersion":"backstage.io/v1alpha1","kind":"Component","metadata":{"uid":"u","etag":"e","namespace":"default",` +
		`"name":"petstore","title":"Pets","description":"All pets","labels":{"a":"1","b":"2"},"annotations":{"c":"3"},"tags":["go"],` +
		`"links":[{"url":"https://example.com/","title":"Home","icon":"web","type":"page","rank":1}],"cost":{"a":1.5,"b":null},"zone":[]},` +
		`"spec":{"lifecycle":"production","owner":"tools","type":"service"},` +
		`"relations":[{"type":"ownedBy","targetRef":"group:default/tools"}]}`
	var e catalog.Entity
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		b, err := json.Marshal(&e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, string(b)); diff != "" {
			t.Fatal(diff)
		}
	}
	if b, err := json.Marshal([]catalog.Entity{e}); err != nil || string(b) != "["+text+"]" {
		t.Errorf("by value: %s, %v", b, err)
	}
}

func TestEntityJSONRefusesWhatItWouldLose(t *testing.T) {
	t.Parallel()
	var e catalog.Entity
	err := json.Unmarshal([]byte(`{"apiVersion":"v1","kind":"Component","metadata":{"name":"a"},"status":{}}`), &e)
	if err == nil || !strings.Contains(err.Error(), `no root field "status"`) {
		t.Errorf("got %v", err)
	}
	if err := json.Unmarshal([]byte(`{"kind":1}`), &e); err == nil {
		t.Error("a number was read as the kind")
	}
}

func TestEntityRef(t *testing.T) {
	t.Parallel()
	e := entity(t, "Component", "")
	if got := e.Ref(); got != ref(t, "component:acme/thing") {
		t.Errorf("got %s", got)
	}
	e.Metadata.Namespace = ""
	if got := e.Ref(); got != ref(t, "component:default/thing") {
		t.Errorf("without a namespace: %s", got)
	}
}

func TestValidateEnvelope(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	tests := []struct {
		name   string
		change func(*catalog.Entity)
		want   []string // of the error; none when the entity is valid
	}{
		{"nothing", func(*catalog.Entity) {}, nil},
		{"no apiVersion", func(e *catalog.Entity) { e.APIVersion = "" }, []string{"apiVersion is missing"}},
		{"apiVersion without prefix", func(e *catalog.Entity) { e.APIVersion = "1" }, nil},
		{"apiVersion with upper-case prefix", func(e *catalog.Entity) { e.APIVersion = "Acme.io/v1" }, []string{"apiVersion must"}},
		{"apiVersion with two slashes", func(e *catalog.Entity) { e.APIVersion = "a/b/c" }, []string{"apiVersion must"}},
		{"apiVersion with a dot in the suffix", func(e *catalog.Entity) { e.APIVersion = "acme.io/v1.0" }, []string{"apiVersion must"}},
		{"long apiVersion prefix", func(e *catalog.Entity) { e.APIVersion = strings.Repeat("a.", 127) + "a/v1" }, []string{"apiVersion must"}},
		{"kind with a digit first", func(e *catalog.Entity) { e.Kind = "1Thing" }, []string{`kind must be 1 to 63 letters and digits and start with a letter, but is "1Thing"`}},
		{"long kind", func(e *catalog.Entity) { e.Kind = long }, []string{"kind must"}},
		{"no name", func(e *catalog.Entity) { e.Metadata.Name = "" }, []string{"metadata.name is missing"}},
		{"name of one letter", func(e *catalog.Entity) { e.Metadata.Name = "a" }, nil},
		{"name with all characters", func(e *catalog.Entity) { e.Metadata.Name = "a-B_c.1" }, nil},
		{"name that ends with a dash", func(e *catalog.Entity) { e.Metadata.Name = "a-" }, []string{"metadata.name must"}},
		{"name of 63", func(e *catalog.Entity) { e.Metadata.Name = long[:63] }, nil},
		{"name of 64", func(e *catalog.Entity) { e.Metadata.Name = long }, []string{"metadata.name must"}},
		{"name with a line break", func(e *catalog.Entity) { e.Metadata.Name = "a\n" }, []string{"metadata.name must"}},
		{"upper-case namespace", func(e *catalog.Entity) { e.Metadata.Namespace = "Acme" }, []string{"metadata.namespace must"}},
		{"namespace with dashes", func(e *catalog.Entity) { e.Metadata.Namespace = "a--b-c" }, nil},
		{"namespace of 64", func(e *catalog.Entity) { e.Metadata.Namespace = long }, []string{"metadata.namespace must"}},
		{"labels", func(e *catalog.Entity) { e.Metadata.Labels = map[string]string{"acme.io/a_b": "C.d", "x": ""} }, nil},
		{"label with a wrong value", func(e *catalog.Entity) { e.Metadata.Labels = map[string]string{"x": "a b"} }, []string{`metadata.labels.x must be empty or`, `"a b"`}},
		{"label with a wrong key", func(e *catalog.Entity) { e.Metadata.Labels = map[string]string{"A/x": "a"} }, []string{"metadata.labels.A/x has a wrong key"}},
		{"annotations", func(e *catalog.Entity) {
			e.Metadata.Annotations = map[string]string{"acme.io/a_b": "any text\nat all", "x": ""}
		}, nil},
		{"annotation with a wrong key", func(e *catalog.Entity) { e.Metadata.Annotations = map[string]string{"a b": "x"} }, []string{"metadata.annotations.a b has a wrong key"}},
		{"tags", func(e *catalog.Entity) { e.Metadata.Tags = []string{"go", "c++", "c#", "a:b-c"} }, nil},
		{"upper-case tag", func(e *catalog.Entity) { e.Metadata.Tags = []string{"go", "Go"} }, []string{"metadata.tags[1] must"}},
		{"long tag", func(e *catalog.Entity) { e.Metadata.Tags = []string{long} }, []string{"metadata.tags[0] must"}},
		{"links", func(e *catalog.Entity) {
			e.Metadata.Links = []catalog.Link{{URL: "https://example.com/"}, {URL: "mailto:a@example.com", Title: "Mail"}}
		}, nil},
		{"link without URL", func(e *catalog.Entity) { e.Metadata.Links = []catalog.Link{{Title: "x"}} }, []string{"metadata.links[0].url is missing"}},
		{"link without scheme", func(e *catalog.Entity) { e.Metadata.Links = []catalog.Link{{URL: "example.com"}} }, []string{"metadata.links[0].url must"}},
		{"link without host", func(e *catalog.Entity) { e.Metadata.Links = []catalog.Link{{URL: "https:///x"}} }, []string{"metadata.links[0].url must"}},
		{"link with blank title and icon", func(e *catalog.Entity) {
			e.Metadata.Links = []catalog.Link{{URL: "https://example.com/", Title: " ", Icon: " "}}
		}, []string{"metadata.links[0].title must not be blank", "metadata.links[0].icon must not be blank"}},
		{"other metadata", func(e *catalog.Entity) { e.Metadata.Extra = map[string]any{"cost": 1.0} }, nil},
		{"metadata that differ in case", func(e *catalog.Entity) { e.Metadata.Extra = map[string]any{"Title": "x"} }, []string{"metadata.Title differs from metadata.title in letter case only"}},
		{"several", func(e *catalog.Entity) { e.Kind, e.Metadata.Name = "", "" }, []string{"kind is missing; metadata.name is missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := entity(t, "Frob", "")
			e.APIVersion = "acme.io/v1"
			tt.change(e)
			checkError(t, e.Validate(), tt.want)
		})
	}
}

// checkError checks that err is an invalid error with all parts of its text, or nil if there are none.
func checkError(t *testing.T, err error, want []string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
		return
	}
	if events.ErrorCode(err) != events.CodeInvalid {
		t.Errorf("got %v, want an invalid error", err)
		return
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %q in it", err, part)
		}
	}
}

func TestValidateSpec(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind, spec string
		want       []string
	}{
		{"Component", `{"type":"service","lifecycle":"production","owner":"tools"}`, nil},
		{"Component", ``, []string{"spec is missing; the kind Component needs it"}},
		{"Component", `{}`, []string{"spec.type is missing", "spec.lifecycle is missing", "spec.owner is missing"}},
		{"component", `{}`, []string{"spec.type is missing"}},
		{"Component", `{"type":"","lifecycle":1,"owner":null}`, []string{"spec.type must not be empty", "spec.lifecycle must be a string, but is a number", "spec.owner must be a string, but is empty"}},
		{"Component", `{"type":"a","lifecycle":"b","owner":"c","dependsOn":"component:x"}`, []string{"spec.dependsOn must be a list of strings, but is a string"}},
		{"Component", `{"type":"a","lifecycle":"b","owner":"c","dependsOn":["component:x","x"]}`, []string{"spec.dependsOn is wrong", `"x" has no kind`}},
		{"Component", `{"type":"a","lifecycle":"b","owner":"c","providesApis":["x",true]}`, []string{"spec.providesApis[1] must be a string, but is a boolean"}},
		{"Component", `{"type":"a","lifecycle":"b","owner":"group:"}`, []string{"spec.owner is wrong", "empty part"}},
		{"Component", `{"$yaml":"./spec.yaml"}`, nil},
		{"API", `{"type":"openapi","lifecycle":"b","owner":"c","definition":"x"}`, nil},
		{"API", `{"type":"openapi","lifecycle":"b","owner":"c","definition":{"$text":"./openapi.yaml"}}`, nil},
		{"API", `{"type":"openapi","lifecycle":"b","owner":"c","definition":{"$text":"./a.yaml","x":1}}`, []string{"spec.definition must be a string, but is a mapping"}},
		{"API", `{"type":"openapi","lifecycle":"b","owner":"c"}`, []string{"spec.definition is missing"}},
		{"API", `{"type":"mcp-server","lifecycle":"b","owner":"c","remotes":[{"type":"sse","url":"https://example.com/"}]}`, nil},
		{"API", `{"type":"mcp-server","lifecycle":"b","owner":"c","definition":"x"}`, []string{"spec.remotes is missing"}},
		{"API", `{"type":"mcp-server","lifecycle":"b","owner":"c","remotes":[]}`, []string{"spec.remotes must be a list of at least one"}},
		{"API", `{"type":"mcp-server","lifecycle":"b","owner":"c","remotes":[{"type":"sse"},1]}`, []string{"spec.remotes[0].url must", "spec.remotes[1] must be a mapping"}},
		{"Resource", `{"type":"database","owner":"c"}`, nil},
		{"Resource", `{}`, []string{"spec.type is missing", "spec.owner is missing"}},
		{"System", `{"owner":"c","domain":"d"}`, nil},
		{"System", `{"domain":1}`, []string{"spec.owner is missing", "spec.domain must be a string"}},
		{"Domain", `{"owner":"c"}`, nil},
		{"Domain", `{"subdomainOf":[]}`, []string{"spec.owner is missing", "spec.subdomainOf must be a string, but is a list"}},
		{"Group", `{"type":"team","children":[]}`, nil},
		{"Group", `{"type":"team"}`, []string{"spec.children is missing"}},
		{"Group", `{"type":"team","children":[],"profile":{"email":"","picture":1}}`, []string{"spec.profile.email must not be empty", "spec.profile.picture must be a string"}},
		{"Group", `{"type":"team","children":[],"profile":1}`, []string{"spec.profile must be a mapping"}},
		{"User", `{"memberOf":[]}`, nil},
		{"User", `{}`, []string{"spec.memberOf is missing"}},
		{"Location", `{}`, nil},
		{"Location", ``, []string{"spec is missing"}},
		{"Location", `{"targets":["./a.yaml"],"presence":"optional"}`, nil},
		{"Location", `{"presence":"maybe"}`, []string{"spec.presence must be required or optional"}},
		{"AiResource", `{"type":"skill"}`, []string{"spec.lifecycle is missing", "spec.owner is missing"}},
		{"Frob", `{"owner":1}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.kind+tt.spec, func(t *testing.T) {
			t.Parallel()
			e := entity(t, tt.kind, tt.spec)
			checkError(t, e.Validate(), tt.want)
			e.APIVersion = "backstage.io/v1beta1"
			checkError(t, e.Validate(), tt.want)
			e.APIVersion = "acme.io/v1"
			checkError(t, e.Validate(), nil)
		})
	}
}

func TestValidateLimitsTheErrorText(t *testing.T) {
	t.Parallel()
	e := entity(t, "Location", "{}")
	for range 1000 {
		e.Metadata.Tags = append(e.Metadata.Tags, strings.Repeat("Ä", 1000))
	}
	err := e.Validate()
	checkError(t, err, []string{"and 980 more"})
	if n := len(err.Error()); n > 10_000 {
		t.Errorf("the error text has %d bytes", n)
	}
}

func TestRelations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind, spec string
		want       []string
	}{
		{
			"Component",
			`{"owner":"tools","system":"shop","subcomponentOf":"base","providesApis":["pets","other/pets","pets"],"consumesApis":["api:x"],` +
				`"dependsOn":["resource:db","Component:Default/Y"],"dependencyOf":["component:z"],"domain":"not-here","members":["nobody"]}`,
			[]string{
				"consumesApi api:acme/x", "dependencyOf component:acme/z", "dependsOn component:default/y", "dependsOn resource:acme/db",
				"ownedBy group:acme/tools", "partOf component:acme/base", "partOf system:acme/shop",
				"providesApi api:acme/pets", "providesApi api:other/pets",
			},
		},
		{"API", `{"owner":"user:jane","system":"shop"}`, []string{"ownedBy user:acme/jane", "partOf system:acme/shop"}},
		{"Resource", `{"owner":"tools","dependencyOf":["component:z"]}`, []string{"dependencyOf component:acme/z", "ownedBy group:acme/tools"}},
		{"System", `{"owner":"tools","domain":"retail"}`, []string{"ownedBy group:acme/tools", "partOf domain:acme/retail"}},
		{"Domain", `{"owner":"tools","subdomainOf":"retail"}`, []string{"ownedBy group:acme/tools", "partOf domain:acme/retail"}},
		{"Group", `{"parent":"all","children":["a"],"members":["jane"]}`, []string{"childOf group:acme/all", "hasMember user:acme/jane", "parentOf group:acme/a"}},
		{"User", `{"memberOf":["tools","default/all"]}`, []string{"memberOf group:acme/tools", "memberOf group:default/all"}},
		{"Frob", `{"owner":"tools","system":"shop"}`, []string{"ownedBy group:acme/tools"}},
		{"Component", `{"owner":["tools"],"dependsOn":["no-kind"],"system":1}`, []string{"ownedBy group:acme/tools"}},
	}
	for _, tt := range tests {
		t.Run(tt.kind+tt.spec, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, r := range entity(t, tt.kind, tt.spec).OutgoingRelations() {
				got = append(got, r.Type+" "+r.TargetRef.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	t.Parallel()
	tests := map[string][]catalog.Ref{
		`{"owner":"Tools"}`:              {ref(t, "group:acme/tools")},
		`{"owner":"user:default/jane"}`:  {ref(t, "user:default/jane")},
		`{"owner":":"}`:                  nil,
		`{"owner":{"$text":"./a"}}`:      nil,
		`{"system":"owner-is-not-here"}`: nil,
	}
	for spec, want := range maps.All(tests) {
		for _, kind := range []string{"Component", "Template"} {
			if diff := cmp.Diff(want, entity(t, kind, spec).Owners()); diff != "" {
				t.Errorf("%s %s:\n%s", kind, spec, diff)
			}
		}
	}
}

func TestMemberships(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind, spec string
		want       []catalog.Membership
	}{
		{"Group", `{"members":["jane"],"children":["a"],"parent":"all"}`, []catalog.Membership{
			{Group: ref(t, "group:acme/all"), Member: ref(t, "group:acme/thing")},
			{Group: ref(t, "group:acme/thing"), Member: ref(t, "user:acme/jane")},
			{Group: ref(t, "group:acme/thing"), Member: ref(t, "group:acme/a")},
		}},
		{"User", `{"memberOf":["tools"]}`, []catalog.Membership{
			{Group: ref(t, "group:acme/tools"), Member: ref(t, "user:acme/thing")},
		}},
		{"Component", `{"owner":"tools","members":["jane"]}`, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, entity(t, tt.kind, tt.spec).Memberships()); diff != "" {
			t.Errorf("%s %s:\n%s", tt.kind, tt.spec, diff)
		}
	}
}
