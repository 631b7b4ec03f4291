package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// The topics that Callboard itself publishes. Their root is reserved.
const (
	TopicCatalogChanged = "catalog.changed"
	TopicCatalogError   = "catalog.error"

	reservedTopic = "catalog"
)

// The lengths are checked apart from the patterns, because a repetition that is counted takes ten times as long to
// compile, in every start of every function.
const (
	maxTopic        = 64
	maxProvider     = 64
	maxOrganization = 100
	maxRule         = 64
	maxExport       = 32
	maxPrefix       = 31
)

var (
	plainWord  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	secretName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)
	secretRef  = regexp.MustCompile(`^(secretsmanager|ssm|env|file):.+$`)
	// headerName is a token of RFC 9110, section 5.6.2.
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	hostName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$`)
	// branchName leaves out what git refuses in a name (git-check-ref-format(1)).
	branchName   = regexp.MustCompile(`^[^\x00-\x20\x7f~^:?*\[\\]+$`)
	ruleName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	entityRef    = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]*):(?:([A-Za-z0-9][A-Za-z0-9-]*)/)?([A-Za-z0-9][A-Za-z0-9_.-]*)$`)
	serviceName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)
	resourceName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
)

var (
	encodings  = []string{"hex", "base64"}
	severities = []string{"critical", "high", "normal", "low"}
	rights     = []string{"catalog.read", "notifications.read", "notifications.send"}
)

// validator checks what the types cannot say.
type validator struct {
	*problems
	c *Config
}

func validate(c *Config, found *problems) {
	v := validator{found, c}
	if len(c.Topics) == 0 {
		v.unreadable("$.topics", "is missing: write the root topics by name")
	}
	for _, name := range sortedKeys(c.Topics) {
		v.topic(member("$.topics", name), name, c.Topics[name])
	}
	v.integrations()
	v.providers()
	v.rules()
	v.exports()
	v.functions()
	v.tokens()
	if len(c.AWS.Prefix) > maxPrefix || !resourceName.MatchString(c.AWS.Prefix) {
		v.add("$.aws.prefix", "is %q: write at most %d lower-case letters, digits and \"-\", a letter first", c.AWS.Prefix, maxPrefix)
	}
}

func (v validator) topic(path, name string, t Topic) {
	if len(name) > maxTopic || !plainWord.MatchString(name) {
		v.add(path, "the name of a root topic is at most %d letters, digits, \"_\" and \"-\"", maxTopic)
	}
	if name == reservedTopic {
		v.add(path, "the topic %q is reserved for events of the catalog: choose another name", name)
	}
	for i, s := range t.Secrets {
		v.secret(element(member(path, "secrets"), i), s)
	}
	v.profile(path, t)
	v.queue(path, name, t)
	if t.Queue == "" && t.From != FromQueue {
		v.verification(path, t)
	}
	sent := headers{published: t.From == FromPublish}
	if t.Signature != nil {
		sent.never = t.Signature.Header
		v.header(path+".signature.header", sent.never)
		v.oneOf(path+".signature.encoding", t.Signature.Encoding, encodings)
	}
	if t.Token != nil {
		sent.never = t.Token.Header
		v.header(path+".token.header", sent.never)
	}
	v.repeatWindow(path+".repeatWindow", t)
	for i, m := range t.Metadata {
		v.metadata(element(path+".metadata", i), m, sent)
	}
	if t.DeliveryID != "" {
		kinds := []string{"header"}
		if t.Queue != "" {
			kinds = append(kinds, "metadata")
		}
		v.selector(path+".deliveryId", t.DeliveryID, sent, kinds...)
	}
	for i, s := range t.SubTopic {
		v.selector(element(path+".subTopic", i), s, sent, "header", "metadata")
	}
	for i, sub := range t.Publish {
		v.publishedSubTopic(element(path+".publish", i), name, t, sub)
		if slices.Contains(t.Publish[:i], sub) {
			v.add(element(path+".publish", i), "%q is in the list twice: remove one of them", sub)
		}
	}
}

// profile checks that a topic has the keys its profile needs, and no others.
func (v validator) profile(path string, t Topic) {
	p, known := profiles[t.From]
	switch name, custom := t.CustomProfile(); {
	case custom:
		v.customProfile(path, name)
	case t.From == FromPublish:
		v.publishTopic(path, t)
		return
	case !known:
		v.oneOf(path+".from", t.From, append(Senders(), FromPublish))
		return
	}
	if t.From == FromHMAC && t.Signature == nil {
		v.add(path+".signature", "is missing: from %q needs the header that holds the signature, such as {\"header\": \"x-signature\"}", t.From)
	}
	for key, written := range map[string]bool{
		keySignature: t.Signature != nil, keyToken: t.Token != nil, keyDeliveryID: t.DeliveryID != "", keyMetadata: t.Metadata != nil,
	} {
		switch {
		case !written || p.describes(key):
		case len(p.takes) == 0:
			v.add(path+"."+key, "is not for from %q, which brings its own: remove it", t.From)
		default:
			v.add(path+"."+key, "is not for from %q: remove it", t.From)
		}
	}
}

// verification checks that a topic says with which secrets requests are sent, or that anybody may send.
func (v validator) verification(path string, t Topic) {
	switch {
	case t.Verify != "" && t.Verify != VerifyNone:
		v.add(path+".verify", "is %q: write \"none\" if anybody may send, or leave it out", t.Verify)
	case t.Verify == VerifyNone && t.Secrets != nil:
		v.add(path+".secrets", "is of no use, because \"verify\" is \"none\": remove one of them")
	case t.From == FromPublish:
	case t.Verify == "" && t.From == FromNone:
		v.add(path+".verify", "is missing: from \"none\" lets anybody send, so write \"verify\": \"none\"")
		if t.Secrets != nil {
			v.add(path+".secrets", "is of no use with from \"none\": remove it")
		}
	case t.Verify == "" && t.Secrets == nil:
		v.add(path+".secrets", "is missing: write the names of the secrets that requests are sent with, or \"verify\": \"none\" if anybody may send")
	}
	for i, s := range t.Allow {
		if _, err := parsePrefix(s); err != nil {
			v.add(element(path+".allow", i), "is %q: write an address or a range of them, such as \"192.0.2.0/24\" or \"2001:db8::/32\"", s)
		}
	}
}

func (v validator) secret(path, s string) {
	if strings.Contains(s, "-----BEGIN") {
		v.add(path, "is a key: put it into a secret, write the name of that, and consider the key known to whoever has seen this file")
		return
	}
	if !secretName.MatchString(s) && !secretRef.MatchString(s) {
		v.add(path, "is %q: write a name of letters, digits, \"_\", \"-\", \".\" and \"/\" between them, "+
			"or a reference that starts with \"secretsmanager:\", \"ssm:\", \"env:\" or \"file:\"", s)
	}
}

func (v validator) oneOf(path, s string, allowed []string) {
	if !slices.Contains(allowed, s) {
		v.add(path, "is %q: write %s", s, oneOf(allowed))
	}
}

// oneOf lists quoted values as a person would.
func oneOf(values []string) string {
	quoted := mapped(values, func(s string) string { return `"` + s + `"` })
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

func (v validator) header(path, name string) {
	if !headerName.MatchString(name) {
		v.add(path, "is %q: the name of a header has letters, digits, \"-\" and few other characters, without spaces", name)
	}
}

// metadata checks a name, or a pattern that ends in "*", of headers that become metadata. Patterns may cover what
// is never metadata, because it is left out of what they match.
func (v validator) metadata(path, name string, sent headers) {
	start, pattern := strings.CutSuffix(name, "*")
	switch {
	case name == "*":
		v.add(path, "would take every header: write the names that are needed, or a pattern such as \"x-frobs-*\"")
	case strings.Contains(start, "*"):
		v.add(path, "is %q: a pattern has one \"*\", at its end", name)
	case pattern && strings.HasPrefix(start, "x-events"):
		v.add(path, "%q is reserved for Callboard: remove it", name)
	case pattern && webhook.SecretHeader(start):
		v.add(path, secretive, name)
	case pattern:
		v.header(path, start)
	default:
		v.carried(path, name, sent)
	}
}

// headers are those that come with the events of a topic.
type headers struct {
	// never is the name of the one that holds the secret or the signature.
	never string
	// published says that they are no headers: a function chooses the metadata of its events, and all of it is carried.
	published bool
}

const secretive = "%q sounds like a secret or a signature, which never leaves the ingress, so it would never be found: let the sender use another name, or remove it"

// carried checks the name of a header whose value leaves the ingress.
func (v validator) carried(path, name string, sent headers) {
	v.header(path, name)
	switch {
	case slices.Contains([]string{"authorization", "proxy-authorization", "cookie", "set-cookie"}, name), strings.HasPrefix(name, "x-hub-signature"):
		v.add(path, "%q holds a secret or a signature, which never leaves the ingress: remove it", name)
	case name != "" && name == sent.never:
		v.add(path, "%q holds the signature or secret of this topic, which never leaves the ingress: remove it", name)
	case strings.HasPrefix(name, "x-events"):
		v.add(path, "%q is reserved for Callboard: remove it", name)
	case !sent.published && webhook.SecretHeader(name):
		v.add(path, secretive, name)
	}
}

// selector checks the text of an [events.Selector] that may start with one of the given kinds or with "body", or is a
// template.
func (v validator) selector(path, s string, sent headers, kinds ...string) {
	if strings.Contains(s, template) {
		parsed, err := events.ParseSelector(s)
		if err != nil {
			v.add(path, "%s", events.ErrorMessage(err))
			return
		}
		for _, name := range parsed.Metadata() {
			v.carried(path, name, sent)
		}
		return
	}
	kind, name, _ := strings.Cut(s, ":")
	if slices.Contains(kinds, kind) {
		v.carried(path, name, sent)
		return
	}
	if _, err := events.ParseSelector(s); kind != "body" || err != nil {
		forms := append(mapped(kinds, func(k string) string { return k + ":<name>" }), "body:<path>")
		v.add(path, "is %q: write %s; a path has the names of members and the numbers of elements joined by dots, such as \"body:event.type\" or \"body:changes.0.type\", "+
			"and any other name in brackets and quotes", s, oneOf(forms))
	}
}

func (v validator) host(path, host string) {
	if !hostName.MatchString(host) {
		v.add(path, "is %q: write a host name such as \"github.com\", without scheme and path", host)
	}
}

func (v validator) integrations() {
	seen := map[string]string{}
	for i, g := range v.c.Integrations.GitHub {
		path := element("$.integrations.github", i)
		v.host(path+".host", g.Host)
		if first, twice := seen[g.Host]; twice {
			v.add(path+".host", "%s is described in %s already: remove one of them", g.Host, first)
		}
		seen[g.Host] = path
		if g.APIBaseURL != "" {
			v.apiURL(path+".apiBaseUrl", g.APIBaseURL)
		}
		if g.Token != "" {
			v.secret(path+".token", g.Token)
		}
		v.apps(path+".apps", g.Apps)
	}
}

func (v validator) apps(path string, apps []GitHubApp) {
	seen := map[int64]string{}
	for i, a := range apps {
		path := element(path, i)
		if first, twice := seen[a.AppID]; twice {
			v.add(path+".appId", "%d is described in %s already: remove one of them", a.AppID, first)
		}
		seen[a.AppID] = path
		v.secret(path+".privateKey", a.PrivateKey)
		for j, owner := range a.AllowedInstallationOwners {
			if len(owner) > maxOrganization || !plainWord.MatchString(owner) {
				v.add(element(path+".allowedInstallationOwners", j), "is %q: write the login of an organization or user, as in the URL of its repositories", owner)
			}
		}
	}
}

// apiURL checks an address to which tokens are sent, so it must be encrypted unless it is on this machine.
func (v validator) apiURL(path, s string) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(s, "?#") || (!strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://")) {
		v.add(path, "is %q: write a URL such as \"https://ghe.example.com/api/v3\", without user, query and fragment", s)
		return
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		v.add(path, "is %q: write https, so that nobody on the way reads the token", s)
	}
}

func (v validator) providers() {
	const path = "$.catalog.providers.github"
	seen := map[string]string{}
	for _, id := range sortedKeys(v.c.Catalog.Providers.GitHub) {
		p, path := v.c.Catalog.Providers.GitHub[id], member(path, id)
		if len(id) > maxProvider || !plainWord.MatchString(id) {
			v.add(path, "the id of a provider is at most %d letters, digits, \"_\" and \"-\"", maxProvider)
		}
		v.host(path+".host", p.Host)
		if hostName.MatchString(p.Host) && !v.c.Integrations.host(p.Host) {
			v.add(path+".host", "nothing says how %s is reached: add {\"host\": %q} to integrations.github", p.Host, p.Host)
		}
		if len(p.Organization) > maxOrganization || !plainWord.MatchString(p.Organization) {
			v.add(path+".organization", "is %q: write the login as in the URL of its repositories", p.Organization)
		}
		owner := p.Host + "/" + strings.ToLower(p.Organization)
		if first, twice := seen[owner]; twice {
			v.add(path+".organization", "%s is read by the provider %s already, and a repository belongs to one: remove one of them", owner, first)
		}
		seen[owner] = id
		v.catalogPath(path+".catalogPath", p.CatalogPath)
		if b := p.Filters.Branch; b != "" && (!branchName.MatchString(b) || strings.Contains(b, "..") || strings.HasPrefix(b, "refs/")) {
			v.add(path+".filters.branch", "is %q: write the name of a branch such as \"main\"", b)
		}
	}
	if len(v.c.Topics) > 0 && len(v.c.Catalog.Providers.GitHub) > 0 && !v.hasTopicFrom(FromGitHub) {
		v.add(path, "no topic has \"from\": \"github\", so no provider would hear of a push: add such a topic")
	}
}

// hasTopicFrom tells whether some topic has a profile, or may have meant to.
func (v validator) hasTopicFrom(from string) bool {
	for _, t := range v.c.Topics {
		if t.From == from || t.From == "" {
			return true
		}
	}
	return false
}

func (v validator) catalogPath(path, s string) {
	if _, err := catalog.CompilePattern(s); err != nil {
		v.add(path, "%s", events.ErrorMessage(err))
	}
}

func (v validator) rules() {
	names := map[string]string{}
	for i, r := range v.c.Notifications.Rules {
		path := element("$.notifications.rules", i)
		if len(r.Name) > maxRule || !ruleName.MatchString(r.Name) {
			v.add(path+".name", "is %q: write at most %d letters, digits, \".\", \"_\" and \"-\", a letter or digit first", r.Name, maxRule)
		}
		if first, twice := names[r.Name]; twice {
			v.add(path+".name", "%q is the name of %s already: choose another one", r.Name, first)
		}
		names[r.Name] = path
		for j, topic := range r.On {
			v.on(element(path+".on", j), topic)
			if slices.Contains(r.On[:j], topic) {
				v.add(element(path+".on", j), "%q is in the list twice: remove one of them", topic)
			}
		}
		for j, to := range r.To {
			v.recipient(element(path+".to", j), to)
		}
		v.oneOf(path+".severity", r.Severity, severities)
	}
}

// on checks that something publishes to a topic.
func (v validator) on(path, topic string) {
	root, sub, isSub := strings.Cut(topic, ".")
	t, known := v.c.Topics[root]
	switch {
	case topic == TopicCatalogChanged || topic == TopicCatalogError:
		if len(v.c.Catalog.Providers.GitHub) == 0 {
			v.add(path, "%q is published for catalog providers only: add one to catalog.providers.github", topic)
		}
	case root == reservedTopic:
		v.add(path, "%q does not exist: the catalog publishes %q and %q", topic, TopicCatalogChanged, TopicCatalogError)
	case !known && len(v.c.Topics) > 0:
		v.add(path, "there is no topic %q in topics: %s", root, suggest(root, sortedKeys(v.c.Topics)))
	case isSub && (sub == "" || !events.ValidTopic(topic)):
		v.add(path, "is %q: a sub-topic is letters, digits, \"_\", \"-\" and \":\" in parts joined by dots, at most %d characters with its topic", topic, events.MaxTopicLength)
	case isSub && len(t.SubTopic) == 0 && t.From != "" && !v.published(topic):
		v.add(path, "the topic %q has no sub-topics: add \"subTopic\" to it, or listen to %q itself", root, root)
	}
}

func (v validator) recipient(path, s string) {
	if expression, ok := strings.CutPrefix(s, "ownersOf:"); ok {
		if strings.TrimSpace(expression) == "" {
			v.add(path, "has no expression: write one that yields entityRefs, such as \"ownersOf:payload.added\"")
		}
		return
	}
	// A misspelt ownersOf looks like an entityRef of an odd kind.
	if !entityRef.MatchString(s) || strings.HasPrefix(lower(s), "owner") {
		v.add(path, "is %q: write an entityRef with its kind, such as \"user:default/guest\" or \"group:default/team-a\", or \"ownersOf:<CEL>\"", s)
	}
}

func (v validator) tokens() {
	seen := map[string]string{}
	for i, t := range v.c.API.Tokens {
		path := element("$.api.tokens", i)
		v.secret(path+".secret", t.Secret)
		if first, twice := seen[t.Secret]; twice {
			v.add(path+".secret", "%q is the secret of %s already, and a token has one subject: choose another one", t.Secret, first)
		}
		seen[t.Secret] = path
		_, isUser := userRef(t.Subject)
		if !isUser && (!serviceName.MatchString(t.Subject) || strings.HasPrefix(lower(t.Subject), "user:")) {
			v.add(path+".subject", "is %q: write the entityRef of a user, such as \"user:default/guest\", "+
				"or the name of a service, letters, digits, \".\", \"_\", \":\" and \"-\"", t.Subject)
		}
		for j, right := range t.May {
			v.oneOf(element(path+".may", j), right, rights)
			if right == "notifications.read" && !isUser {
				v.add(element(path+".may", j), "only a user has an inbox to read: make the subject the entityRef of a user, or remove the right")
			}
		}
	}
}
