package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

const petstore = `apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: petstore
  labels:
    tier: "1.0"
  links:
    - url: https://example.com/
spec:
  type: service
  lifecycle: production
  owner: tools
`

// frob is an entity of a foreign kind with more text in its spec.
func frob(name, spec string) string {
	return "apiVersion: acme.io/v1\nkind: Frob\nmetadata:\n  name: " + name + "\nspec:\n" + indent(spec)
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") + "\n" }

// brief says in one line what a document is.
func brief(d catalog.Document) string {
	switch {
	case d.Err != nil:
		return fmt.Sprintf("%d:%d %s error: %v", d.Index, d.Line, d.Ref, d.Err)
	case d.Ref != d.Entity.Ref():
		return fmt.Sprintf("%d:%d %s is not the reference %s", d.Index, d.Line, d.Entity.Ref(), d.Ref)
	default:
		return fmt.Sprintf("%d:%d %s", d.Index, d.Line, d.Ref)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	documents := catalog.Parse([]byte(petstore))
	if len(documents) != 1 || documents[0].Err != nil {
		t.Fatalf("got %+v", documents)
	}
	want := &catalog.Entity{
		APIVersion: "backstage.io/v1alpha1",
		Kind:       "Component",
		Metadata: catalog.Metadata{
			Namespace: "default",
			Name:      "petstore",
			Labels:    map[string]string{"tier": "1.0"},
			Links:     []catalog.Link{{URL: "https://example.com/"}},
		},
		Spec: map[string]any{"type": "service", "lifecycle": "production", "owner": "tools"},
	}
	if diff := cmp.Diff(want, documents[0].Entity); diff != "" {
		t.Error(diff)
	}
}

func TestParseStream(t *testing.T) {
	t.Parallel()
	a, b := frob("a", "x: 1"), frob("b", "x: 1")
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	tests := []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"only a byte order mark", "\ufeff", nil},
		{"only comments", "# a\n  # b\n\n", nil},
		{"one", a, []string{"1:1 frob:default/a"}},
		{"two", a + "---\n" + b, []string{"1:1 frob:default/a", "2:8 frob:default/b"}},
		{"marker first and last", "---\n" + a + "---\n" + b + "---\n", []string{"1:2 frob:default/a", "2:9 frob:default/b"}},
		{"comments first", "# a\n\n--- # b\n# c\n" + a, []string{"1:5 frob:default/a"}},
		{"empty documents count", "---\n---\n# a\n---\nnull\n---\n" + a, []string{"4:7 frob:default/a"}},
		{"end markers", a + "...\n# x\n...\n---\n" + b + "...\n", []string{"1:1 frob:default/a", "2:11 frob:default/b"}},
		{"document after an end marker", a + "... # end\n" + b, []string{"1:1 frob:default/a", "2:8 frob:default/b"}},
		{"directives", "%YAML 1.2\n---\n" + a + "...\n%TAG !e! tag:e,2026:\n---\n" + b, []string{"1:3 frob:default/a", "2:12 frob:default/b"}},
		{"directive without a document", a + "...\n%TAG !e! tag:e,2026:\n", []string{"1:1 frob:default/a", "2:9  error: invalid YAML: did not find expected <document start>"}},
		{"version without a document", "%YAML 1.2\n", []string{"1:1  error: invalid YAML: yaml: no documents in stream"}},
		{"byte order mark", "\ufeff" + a + "---\n" + b, []string{"1:1 frob:default/a", "2:8 frob:default/b"}},
		{"Windows line breaks", crlf(a + "---\n" + b), []string{"1:1 frob:default/a", "2:8 frob:default/b"}},
		{"old Mac line breaks", strings.ReplaceAll(a+"---\n"+b, "\n", "\r"), []string{"1:1 frob:default/a", "2:8 frob:default/b"}},
		{"content beside the marker", "--- {apiVersion: v1, kind: Frob, metadata: {name: a}}\n--- # x\n" + b, []string{"1:1 frob:default/a", "2:3 frob:default/b"}},
		{"markers inside a block", frob("a", "x: |\n  ---\n  ...\n  %x") + "---\n" + b, []string{"1:1 frob:default/a", "2:11 frob:default/b"}},
		{"not a marker", frob("a", "x: 1") + "---x: 1\n", []string{"1:7 frob:default/a error: invalid entity: ---x is not allowed here; the root fields are apiVersion, kind, metadata and spec"}},
		{"JSON", `{"apiVersion":"v1","kind":"Frob","metadata":{"name":"a"}}`, []string{"1:1 frob:default/a"}},
		{"namespace", strings.Replace(a, "name: a", "name: A\n  namespace: acme", 1), []string{"1:1 frob:acme/a"}},
		{"twice", a + "---\n" + b + "---\n" + strings.Replace(a, "a\n", "A\n", 1) + "---\n" + a, []string{
			"1:1 frob:default/a", "2:8 frob:default/b",
			"3:15 frob:default/a error: frob:default/a is already defined in document 1",
			"4:22 frob:default/a error: frob:default/a is already defined in document 1",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, d := range catalog.Parse([]byte(tt.in)) {
				got = append(got, brief(d))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     string // the place and the reference
		text     []string
	}{
		{"syntax", frob("a", "x: [1\ny: 2"), "1:7 frob:default/a", []string{"invalid YAML: "}},
		{"syntax in the metadata", "kind: Frob\nmetadata:\n  name: a\n  x: [1\n  namespace: b\n", "1:5 ", []string{"invalid YAML: "}},
		{"tab", frob("a", "x: 1\n\ty: 2"), "1:7 frob:default/a", []string{"invalid YAML: "}},
		{"list", "- a\n", "1:1 ", []string{"the root must be a mapping, but is a list"}},
		{"text", "\nhello\n", "1:2 ", []string{"the root must be a mapping, but is a string"}},
		{"duplicate key", frob("a", "x: 1\nx: 2"), "1:7 frob:default/a", []string{`the key "x" is there twice`}},
		{"duplicate root key", frob("a", "x: 1") + "kind: Other\n", "1:7 ", []string{`the key "kind" is there twice`}},
		{"keys equal as text", frob("a", "1: 1\n\"1\": 2"), "1:7 frob:default/a", []string{`the key "1" is there twice`}},
		{"key and its alias", frob("a", "&k x: 1\n*k : 2"), "1:7 frob:default/a", []string{`the key "x" is there twice`}},
		{"mapping as key", frob("a", "? {a: 1}\n: 2"), "1:6 frob:default/a", []string{"cannot be a key"}},
		{"unknown alias", frob("a", "x: *u"), "1:6 frob:default/a", []string{"unknown anchor 'u'"}},
		{"binary", frob("a", "x: !!binary aGk="), "1:6 frob:default/a", []string{"!!binary is not supported"}},
		{"set", frob("a", "x: !!set {a}"), "1:6 frob:default/a", []string{"!!set is not supported"}},
		{"wrong tag", frob("a", "x: !!int a"), "1:6 frob:default/a", []string{`"a" is not a value of the tag !!int`}},
		{"not a number", frob("a", "x: [.nan]"), "1:6 frob:default/a", []string{`".nan" is not a number that JSON can hold`}},
		{"wrong tag inside a list", frob("a", "x: [!!float .inf]"), "1:6 frob:default/a", []string{`".inf" is not a number that JSON can hold`}},
		{"aliases in the envelope", "apiVersion: &x v1\nkind: Frob\nmetadata: &m\n  name: *x\n  labels: {a: 1}\nspec: *m\n", "1:5 frob:default/v1", []string{"metadata.labels.a must be a string"}},
		{"infinity", frob("a", "x: -.inf"), "1:6 frob:default/a", []string{`"-.inf" is not a number that JSON can hold`}},
		{"huge number", frob("a", "x: 1e999"), "1:6 frob:default/a", []string{"is not a number that JSON can hold"}},
		{"huge hexadecimal number", frob("a", "x: 0x"+strings.Repeat("f", 1000)), "1:6 frob:default/a", []string{"is not a number that JSON can hold"}},
		{"not UTF-8", frob("a", "x: 1\ny: \xff"), "1:7 frob:default/a", []string{"the text is not UTF-8"}},
		{"unclosed quote", frob("a", "x: 'it\ny: 2"), "1:9 frob:default/a", []string{"invalid YAML: "}},
		{"future version", "%YAML 2.0\n---\n" + frob("a", "x: 1"), "1:1 ", []string{"incompatible YAML"}},
		{"nesting", frob("a", "x: "+strings.Repeat("[", 100)+strings.Repeat("]", 100)), "1:6 frob:default/a", []string{"nested deeper than 100 levels"}},
		{"alias inside itself", frob("a", "x: &x [*x]"), "1:6 frob:default/a", []string{"an alias contains itself"}},
		{"root fields of the catalog", frob("a", "x: 1") + "relations: []\nstatus: {}\n", "1:7 frob:default/a", []string{
			"relations is not allowed here", "status is not allowed here",
		}},
		{"merge key", "x: &x {kind: Frob}\n<<: *x\napiVersion: v1\nmetadata: {name: a}\n", "1:2 ", []string{"<< is not allowed here", "kind is missing"}},
		{"no metadata", "apiVersion: v1\nkind: Frob\n", "1:1 ", []string{"metadata is missing"}},
		{"metadata of a wrong type", "apiVersion: v1\nkind: Frob\nmetadata: a\n", "1:3 ", []string{"invalid entity: metadata must be a mapping, but is a string"}},
		{"spec of a wrong type", "apiVersion: v1\nkind: Frob\nmetadata: {name: a}\nspec: [1]\n", "1:4 frob:default/a", []string{"spec must be a mapping, but is a list"}},
		{"number as name", "apiVersion: v1\nkind: Frob\nmetadata:\n  name: 12\n", "1:4 frob:default/12", []string{"invalid entity: metadata.name must be a string, but is a number"}},
		{"number as label", "apiVersion: v1\nkind: Frob\nmetadata:\n  name: a\n  labels:\n    b: c\n    x: 1.0\n", "1:7 frob:default/a", []string{"metadata.labels.x must be a string, but is a number"}},
		{"labels of a wrong type", "apiVersion: v1\nkind: Frob\nmetadata: {name: a, labels: [], tags: x, links: [1], title: '', namespace:, description:}\n", "1:3 ", []string{
			"metadata.labels must be a mapping, but is a list", "metadata.tags must be a list, but is a string",
			"metadata.links[0] must be a mapping, but is a number", "metadata.title must not be empty",
			"metadata.namespace must be a string, but is empty", "metadata.description must be a string, but is empty",
		}},
		{"tag of a wrong type", "apiVersion: v1\nkind: Frob\nmetadata:\n  name: a\n  tags:\n    - b\n    - 1\n", "1:7 frob:default/a", []string{"metadata.tags[1] must be a string, but is a number"}},
		{"name against the rule", "apiVersion: v1\nkind: Frob\nmetadata: {name: a b}\n", "1:3 ", []string{`metadata.name must be 1 to 63 letters`, `"a b"`}},
		{"spec of a built-in kind", strings.Replace(petstore, "  owner: tools\n", "", 1), "1:9 component:default/petstore", []string{"spec.owner is missing; the kind Component needs it"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// A good document after the bad one is still read.
			documents := catalog.Parse([]byte(tt.in + "\n---\n" + frob("good", "x: 1")))
			if len(documents) != 2 || documents[1].Err != nil || documents[1].Index != 2 {
				t.Fatalf("got %+v, want an error and an entity", documents)
			}
			d := documents[0]
			checkError(t, d.Err, tt.text)
			if got := fmt.Sprintf("%d:%d %s", d.Index, d.Line, d.Ref); got != tt.want || d.Entity != nil {
				t.Errorf("got %s, want %s (%v)", got, tt.want, d.Err)
			}
		})
	}
}

// A broken document that can still be told from others defends its reference: the entity it means keeps its
// last good version, so no other document may take its place.
func TestParseBrokenDocumentKeepsItsRef(t *testing.T) {
	t.Parallel()
	documents := catalog.Parse([]byte(frob("a", "x: *u") + "---\n" + frob("a", "x: 1")))
	if len(documents) != 2 || documents[1].Entity != nil {
		t.Fatalf("got %+v", documents)
	}
	checkError(t, documents[1].Err, []string{"frob:default/a is already defined in document 1"})
}

// What Backstage's parser, version 2 of the npm package yaml, makes of the same text.
func TestParseValues(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"b: yes\nd: on\ny: n", `{"b":"yes","d":"on","y":"n"}`},
		{"a: true\nb: True\nc: TRUE\nd: tRUE\ne: false", `{"a":true,"b":true,"c":true,"d":"tRUE","e":false}`},
		{"a:\nb: ~\nc: null\nd: Null\ne: nULL\nf: ''", `{"a":null,"b":null,"c":null,"d":null,"e":"nULL","f":""}`},
		{"c: 1.10", `{"c":1.1}`},
		{"a: 2020-01-01\nb: 2020-01-01T10:00:00Z", `{"a":"2020-01-01","b":"2020-01-01T10:00:00Z"}`},
		{"c: 014\nd: +014\ne: -7", `{"c":14,"d":14,"e":-7}`},
		{"b: 0o14\nd: 0x1f\ne: 0b1\nf: -0x1\ng: 0o8", `{"b":12,"d":31,"e":"0b1","f":"-0x1","g":"0o8"}`},
		{"g: 1_000\nh: 1:30\ni: 1.2.3", `{"g":"1_000","h":"1:30","i":"1.2.3"}`},
		{"f: 12345678901234567890", `{"f":12345678901234567000}`},
		{"a: 1e3\nb: .5\nc: 5.\nd: 1e\ne: .\nf: +.5e-1", `{"a":1000,"b":0.5,"c":5,"d":"1e","e":".","f":0.05}`},
		{"x: &x {a: 1}\ny: {<<: *x, b: 2}", `{"x":{"a":1},"y":{"<<":{"a":1},"b":2}}`},
		{"1: x\ntrue: y\n~: z\n1.50: v\n0x10: w\n-0: u", `{"":"z","0":"u","1":"x","1.5":"v","16":"w","true":"y"}`},
		{"a: !!str 12\nb: !!int '12'\nc: !!float 1.5\nd: ! 12\ne: !own 12\nf: !!null ''\ng: !!bool 'true'\nh: !own {a: 1}", `{"a":"12","b":12,"c":1.5,"d":"12","e":"12","f":null,"g":true,"h":{"a":1}}`},
		{"a: 'it''s'\nb: \"\\u00e4\\n\"\nc: |\n  x\n  y\nd: >-\n  x\n  y", `{"a":"it's","b":"ä\n","c":"x\ny\n","d":"x y"}`},
		{"a: [1, [], {}, {b: c}]", `{"a":[1,[],{},{"b":"c"}]}`},
		{"a: x #y\nb: x#y\nc: http://a:b", `{"a":"x","b":"x#y","c":"http://a:b"}`},
	}
	for _, tt := range tests {
		for _, in := range []string{tt.in, strings.ReplaceAll(tt.in, "\n", "\r\n")} {
			d := catalog.Parse([]byte(frob("a", in)))[0]
			if d.Err != nil {
				t.Errorf("%q: %v", in, d.Err)
				continue
			}
			got, err := json.Marshal(d.Entity.Spec, json.Deterministic(true))
			if err != nil || string(got) != tt.want {
				t.Errorf("%q is %s, %v, want %s", in, got, err, tt.want)
			}
		}
	}
}

// A %YAML 1.1 directive changes nothing, and the catalog alone gives out uid and etag.
func TestParseIgnores(t *testing.T) {
	t.Parallel()
	in := "%YAML 1.1\n---\n" + strings.Replace(frob("a", "x: yes"), "name: a", "name: a\n  uid: u\n  etag: e", 1)
	d := catalog.Parse([]byte(in))[0]
	if d.Err != nil {
		t.Fatal(d.Err)
	}
	if d.Entity.Spec["x"] != "yes" || d.Entity.Metadata.UID != "" || d.Entity.Metadata.Etag != "" || d.Entity.Metadata.Extra != nil {
		t.Errorf("got %+v", d.Entity)
	}
}

func TestParseKeepsOtherMetadata(t *testing.T) {
	t.Parallel()
	d := catalog.Parse([]byte("apiVersion: v1\nkind: Frob\nmetadata: {name: a, cost: {eur: 1}, links: [{url: 'https://a.example/', rank: 1}]}\n"))[0]
	if d.Err != nil {
		t.Fatal(d.Err)
	}
	want := catalog.Metadata{
		Namespace: "default", Name: "a",
		Links: []catalog.Link{{URL: "https://a.example/", Extra: map[string]any{"rank": 1.0}}},
		Extra: map[string]any{"cost": map[string]any{"eur": 1.0}},
	}
	if diff := cmp.Diff(want, d.Entity.Metadata); diff != "" {
		t.Error(diff)
	}
}

func TestParseLimits(t *testing.T) {
	t.Parallel()
	big := frob("a", "x: 1")
	big += strings.Repeat("#", catalog.MaxFileSize-len(big))
	if d := catalog.Parse([]byte(big)); len(d) != 1 || d[0].Err != nil {
		t.Errorf("the largest file: %+v", d)
	}
	if d := catalog.Parse([]byte(big + "#")); len(d) != 1 || events.ErrorCode(d[0].Err) != events.CodeTooLarge {
		t.Errorf("a larger file: %+v", d)
	}

	many := strings.Repeat("---\n- x\n", catalog.MaxDocuments)
	if d := catalog.Parse([]byte(many)); len(d) != catalog.MaxDocuments {
		t.Errorf("%d documents of the most that are allowed", len(d))
	}
	d := catalog.Parse([]byte(many + "---\n- x\n---\n- x\n"))
	if last := d[len(d)-1]; len(d) != catalog.MaxDocuments+1 || events.ErrorCode(last.Err) != events.CodeTooLarge || last.Line != 2*catalog.MaxDocuments+1 {
		t.Errorf("%d documents, the last %+v", len(d), last)
	}

	deep := frob("a", "x: "+strings.Repeat("[", catalog.MaxDepth-2)+strings.Repeat("]", catalog.MaxDepth-2))
	if d := catalog.Parse([]byte(deep)); d[0].Err != nil {
		t.Errorf("the deepest document: %v", d[0].Err)
	}
}

func TestParseAliasBomb(t *testing.T) {
	t.Parallel()
	var laughs strings.Builder
	laughs.WriteString("x0: &x0 lol\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&laughs, "x%d: &x%d [*x%d, *x%d, *x%d]\n", i, i, i-1, i-1, i-1)
	}
	tests := map[string]string{
		"billion laughs": laughs.String(),
		"long text":      "x: &x " + strings.Repeat("a", 1<<20) + "\ny: [" + strings.Repeat("*x, ", 1000) + "]",
		"inside itself":  "x: &x [*x, *x, *x]",
	}
	for name, spec := range tests {
		d := catalog.Parse([]byte(frob("a", spec) + "---\n" + frob("b", "x: 1")))
		if len(d) != 2 || d[1].Err != nil || d[0].Ref != ref(t, "frob:default/a") {
			t.Fatalf("%s: %+v", name, d)
		}
		checkError(t, d[0].Err, []string{"alias"})
	}
	few := frob("a", "x: &x ["+strings.Repeat("a, ", 100)+"]\ny: ["+strings.Repeat("*x, ", 100)+"]")
	if d := catalog.Parse([]byte(few)); d[0].Err != nil {
		t.Errorf("aliases in reasonable number: %v", d[0].Err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(petstore))
	f.Add([]byte("\ufeff%YAML 1.2\n---\n" + petstore + "...\n---\n" + frob("a", "x: &x [1, 0o7, .5, 'a']\ny: {<<: *x, 1: ~}")))
	f.Add([]byte(frob("a", "x: |\n  ---\n y: [") + "\r---\r\n" + frob("b", "? a\n: !!str 1")))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Frob","metadata":{"name":"a","links":[{"url":"a:b"}],"tags":["x"],"x":{"$text":"y"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		last := 0
		for _, d := range catalog.Parse(data) {
			if d.Index <= last || d.Line < 1 || d.Line > len(data)+1 {
				t.Errorf("document %d on line %d follows %d", d.Index, d.Line, last)
			}
			last = d.Index
			if (d.Entity == nil) == (d.Err == nil) {
				t.Fatalf("got %+v, want an entity or an error", d)
			}
			if d.Err != nil {
				if events.ErrorCode(d.Err) == events.CodeInternal || len(d.Err.Error()) > 20_000 {
					t.Errorf("not an error for people: %v", d.Err)
				}
				continue
			}
			if err := d.Entity.Validate(); err != nil || d.Entity.Ref() != d.Ref {
				t.Errorf("%s, read as %s, is not valid: %v", d.Entity.Ref(), d.Ref, err)
			}
			text, err := json.Marshal(d.Entity)
			if err != nil {
				t.Fatal(err)
			}
			var again catalog.Entity
			if err := json.Unmarshal(text, &again); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d.Entity, &again); diff != "" {
				t.Error(diff)
			}
		}
	})
}
