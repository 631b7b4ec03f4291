package catalog

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The rules for names, as Backstage has them (catalog-model, KubernetesValidatorFunctions).
var (
	suffixRule    = matcher(`^[a-z0-9A-Z]{1,63}$`)
	kindRule      = matcher(`^[a-zA-Z][a-z0-9A-Z]{0,62}$`)
	nameRule      = matcher(`^([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$`)
	namespaceRule = matcher(`^[a-z0-9]+(-+[a-z0-9]+)*$`)
	tagRule       = matcher(`^[a-z0-9:+#]+(-[a-z0-9:+#]+)*$`)
)

// matcher tells whether a text matches a pattern. It is compiled when it is needed: every function has this package,
// because its configuration holds path patterns, and most read no entity.
func matcher(pattern string) func(string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
	return func(s string) bool { return compiled().MatchString(s) }
}

// Validate checks the envelope and, for the built-in kinds, the spec, and reports all problems in one error.
// Kinds and apiVersions of others have the rules of the envelope only. Placeholders ($text, $json, $yaml)
// stand for anything.
func (e *Entity) Validate() error {
	var p problems
	e.check(&p)
	return p.err()
}

func (e *Entity) check(p *problems) {
	check(p, field{"apiVersion"}, e.APIVersion, isAPIVersion, "be [<DNS name>/]<letters and digits>, for example backstage.io/v1alpha1")
	check(p, field{"kind"}, e.Kind, kindRule, "be 1 to 63 letters and digits and start with a letter")
	e.Metadata.check(p)
	e.checkSpec(p)
}

const nameForm = "be 1 to 63 letters, digits and any of - _ . between them"

func (m *Metadata) check(p *problems) {
	at := field{"metadata"}
	check(p, at.name("name"), m.Name, nameRule, nameForm)
	if m.Namespace != "" {
		check(p, at.name("namespace"), m.Namespace, isNamespace, "be 1 to 63 lower-case letters and digits, with - between them")
	}
	for _, key := range slices.Sorted(maps.Keys(m.Labels)) {
		checkKey(p, at.name("labels").name(key), key)
		if value := m.Labels[key]; value != "" {
			check(p, at.name("labels").name(key), value, nameRule, "be empty or "+nameForm)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m.Annotations)) {
		checkKey(p, at.name("annotations").name(key), key)
	}
	for i, tag := range m.Tags {
		check(p, at.name("tags").item(i), tag, isTag, "be 1 to 63 lower-case letters, digits and any of : + #, with - between them")
	}
	for i, link := range m.Links {
		link.check(p, at.name("links").item(i))
	}
	m.checkExtra(p, at)
}

func (l *Link) check(p *problems, at field) {
	check(p, at.name("url"), l.URL, isURL, "be a URL with its scheme, for example https://example.com/")
	if l.Title != "" && strings.TrimSpace(l.Title) == "" {
		p.add(at.name("title"), "must not be blank")
	}
	if l.Icon != "" && strings.TrimSpace(l.Icon) == "" {
		p.add(at.name("icon"), "must not be blank")
	}
}

// checkExtra refuses metadata whose names differ in letter case only, which Backstage cannot index.
func (m *Metadata) checkExtra(p *problems, at field) {
	seen := map[string]string{}
	for _, name := range metadataFields {
		seen[strings.ToLower(name)] = name
	}
	for _, name := range slices.Sorted(maps.Keys(m.Extra)) {
		if other, ok := seen[strings.ToLower(name)]; ok {
			p.add(at.name(name), "differs from %s in letter case only", at.name(other))
		}
		seen[strings.ToLower(name)] = name
	}
}

// check notes that a required value is missing or against its rule.
func check(p *problems, at field, value string, allowed func(string) bool, must string) {
	if value == "" {
		p.add(at, "is missing")
	} else if !allowed(value) {
		p.add(at, "must %s, but is %s", must, quote(value))
	}
}

func checkKey(p *problems, at field, key string) {
	if !isPrefixed(key, nameRule) {
		p.add(at, "has a wrong key: it must be [<DNS name>/]<name>, the name at most 63 letters, digits and any of - _ . between them")
	}
}

func isAPIVersion(s string) bool { return isPrefixed(s, suffixRule) }

func isNamespace(s string) bool { return len(s) <= 63 && namespaceRule(s) }

func isTag(s string) bool { return len(s) <= 63 && tagRule(s) }

// isPrefixed says whether s is [<DNS subdomain>/]<suffix>.
func isPrefixed(s string, suffix func(string) bool) bool {
	prefix, rest, ok := strings.Cut(s, "/")
	if !ok {
		return suffix(s)
	}
	if len(prefix) > 253 || !suffix(rest) {
		return false
	}
	for label := range strings.SplitSeq(prefix, ".") {
		if !isNamespace(label) {
			return false
		}
	}
	return true
}

func isURL(s string) bool {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme == "" {
		return false
	}
	return u.Host != "" || u.Scheme != "http" && u.Scheme != "https"
}
