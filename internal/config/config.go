// Package config turns events-config.json into one validated value. It is the only place that knows the file.
//
// The struct tags of [Config] describe the shape: "json" is the key, "config" says whether it is required (and
// then not empty) or may not be empty where it is written, "default" is what an absent key means, and "is" tells a
// person what to write. A JSON Schema for editors, docs/events-config.schema.json, is checked against them.
package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// Config is the content of events-config.json with defaults filled in and names in their normal form: headers,
// hosts and the subjects of users are lower-case. CEL conditions and templates are kept as text.
type Config struct {
	Schema        string           `json:"$schema" is:"where the JSON Schema of this file is"`
	Topics        map[string]Topic `json:"topics" config:"filled" is:"the root topics by name"`
	Integrations  Integrations     `json:"integrations" is:"how the APIs of source-control systems are reached"`
	Catalog       Catalog          `json:"catalog" is:"what the catalog is filled from"`
	Notifications Notifications    `json:"notifications" is:"who is told about what"`
	Exports       []Export         `json:"exports" is:"the consumers that read events from queues of their own"`
	API           API              `json:"api" is:"who may call the HTTP APIs"`
	AWS           AWS              `json:"aws" is:"what is particular to AWS"`

	Functions map[string]Function `json:"functions" is:"functions of your own by name"`
	// Events is Backstage's own block about queues. [Parse] moves what it says to Topics.
	Events Events `json:"events" is:"Backstage's own block about queues"`
}

// Topic is a root topic: where its events come from, how they are verified and how their sub-topic is found.
type Topic struct {
	// From is the profile of the sender.
	From string `json:"from" config:"required" is:"the sender's profile, such as \"github\" or \"hmac\""`
	// Secrets are names of or references to secrets; a request sent with any live value of any of them is good. It is
	// empty if nothing is verified.
	Secrets []string `json:"secrets" config:"filled" is:"the names of the secrets that requests are sent with"`
	// Verify is "" or [VerifyNone].
	Verify string `json:"verify" is:"\"none\" if anybody may send"`
	// Allow are the addresses that may send, as CIDR prefixes; empty if all may.
	Allow []string `json:"allow" config:"filled" is:"the addresses that may send, such as \"192.0.2.0/24\""`
	// Signature says how the sender signs; nil where the profile knows.
	Signature *Signature `json:"signature" is:"how the sender signs"`
	// Token says which header holds the secret; nil where the address or something else does.
	Token *TokenHeader `json:"token" is:"the header that holds the secret"`
	// DeliveryID selects what identifies a delivery, as [events.ParseSelector] reads it; "" where the profile knows
	// or nothing does.
	DeliveryID string `json:"deliveryId" is:"what identifies a delivery, \"header:<name>\", \"body:<path>\" or text with them in ${…}"`
	// RepeatWindow is how long a body is recognised under another delivery id, as [time.ParseDuration] reads it; "" if
	// it is not. See [Topic.RepeatFor].
	RepeatWindow string `json:"repeatWindow" is:"how long a body is recognised under another delivery id, such as \"30m\" or \"24h\""`
	// Metadata are the headers that become metadata, or patterns that end in "*".
	Metadata []string `json:"metadata" is:"the names of headers that become metadata, or patterns that end in \"*\""`
	// SubTopic are the rules that find the sub-topic, as [events.ParseSelector] reads them; the first that finds
	// one counts. Where the file has none it is the default of the profile.
	SubTopic []string `json:"subTopic" config:"filled" is:"the rules that find the sub-topic, \"header:<name>\", \"metadata:<name>\", \"body:<path>\" or text with them in ${…}"`
	// Publish are sub-topics, without the name of the topic, that are published although nothing else names them.
	Publish []string `json:"publish" config:"filled" is:"sub-topics that are published although nothing else names them, such as \"push\""`
	// Queue is the ARN of a queue that others fill, where the topic's messages come from it and not by HTTP.
	Queue string `json:"queue" is:"the ARN of the queue that others fill"`
	// Poll says how a schedule asks the queue; nil if Lambda reads it.
	Poll *Poll `json:"poll" is:"how a schedule asks a queue that Lambda cannot read, such as one in another region"`
	// Buckets are the names of those buckets from which the bodies of large messages may be read.
	Buckets []string `json:"buckets" config:"filled" is:"the buckets that hold the bodies of large messages"`
	// Keys are the ARNs of the KMS keys with which the queue and the buckets are encrypted.
	Keys []string `json:"keys" config:"filled" is:"the KMS keys with which others encrypt queue and buckets"`
}

// Signature says how a sender signs the body with HMAC-SHA-256.
type Signature struct {
	Header   string `json:"header" config:"required" is:"the name of the header that holds the signature"`
	Prefix   string `json:"prefix" is:"the text before the signature, such as \"sha256=\""`
	Encoding string `json:"encoding" default:"hex" is:"\"hex\" or \"base64\""`
}

// TokenHeader says which header of a request holds the secret.
type TokenHeader struct {
	Header string `json:"header" config:"required" is:"the name of the header that holds the secret"`
	Prefix string `json:"prefix" is:"the text before the secret, such as \"Bearer \""`
}

// Integrations says how the APIs of source-control systems are reached.
type Integrations struct {
	// GitHub has an entry for github.com even if the file has none.
	GitHub []GitHubIntegration `json:"github" is:"the GitHub hosts"`
}

// GitHubIntegration is one GitHub host.
type GitHubIntegration struct {
	Host string `json:"host" default:"github.com" is:"a host name such as \"github.com\""`
	// APIBaseURL has no slash at its end.
	APIBaseURL string `json:"apiBaseUrl" is:"the URL of the REST API, such as \"https://ghe.example.com/api/v3\""`
	// Token is the name of or reference to the secret with the API token; "" for anonymous calls.
	Token string `json:"token" is:"the name of the secret that holds the API token"`
	// Apps are used for the owners that have installed them, before Token.
	Apps []GitHubApp `json:"apps" config:"filled" is:"the GitHub Apps that read repositories"`
}

// GitHubApp is a GitHub App that reads the repositories of those who have installed it.
type GitHubApp struct {
	AppID int64 `json:"appId" config:"required" is:"the App ID in the settings of the App"`
	// PrivateKey is the name of or reference to the secret with the private key, in PEM.
	PrivateKey string `json:"privateKey" config:"required" is:"the name of the secret that holds the private key of the App"`
	// AllowedInstallationOwners are the logins of those whose installations are used; empty for all.
	AllowedInstallationOwners []string `json:"allowedInstallationOwners" config:"filled" is:"the logins of the organizations and users for which the App is used"`
}

// Catalog says what the catalog is filled from.
type Catalog struct {
	Providers Providers `json:"providers" is:"the catalog's providers by kind"`
}

// Providers are the catalog's providers by kind and id.
type Providers struct {
	GitHub map[string]GitHubProvider `json:"github" is:"the GitHub providers by an id of your choice"`
}

// GitHubProvider reads the catalog files of one organization on one host. No other provider has both.
type GitHubProvider struct {
	Host         string `json:"host" default:"github.com" is:"a host name such as \"github.com\""`
	Organization string `json:"organization" config:"required" is:"the login of the organization or user that owns the repositories"`
	// CatalogPath is a path with a leading slash, or a glob.
	CatalogPath string        `json:"catalogPath" default:"/catalog-info.yaml" is:"the path of the catalog file in a repository, or a glob such as \"**/catalog-info.yaml\""`
	Filters     GitHubFilters `json:"filters" is:"which repositories and branches count"`
}

// GitHubFilters says which part of an organization a provider reads.
type GitHubFilters struct {
	// Branch is the tracked branch; "" is the default branch of each repository.
	Branch string `json:"branch" is:"the branch that is read, such as \"main\""`
}

// Notifications says who is told about what.
type Notifications struct {
	Rules []Rule `json:"rules" is:"the rules"`
}

// Rule turns events into notifications. When is a CEL condition, To recipients, and Title, Description, Link and
// Scope are text with CEL in ${…}.
type Rule struct {
	Name        string   `json:"name" config:"required" is:"a name that no other rule has"`
	On          []string `json:"on" config:"required" is:"the topics and sub-topics it listens to, such as \"github.push\""`
	When        string   `json:"when" is:"a CEL condition over topic, payload and metadata"`
	To          []string `json:"to" config:"required" is:"the recipients, entityRefs such as \"user:default/guest\" or \"ownersOf:<CEL>\""`
	Title       string   `json:"title" config:"required" is:"the title, text with CEL in ${…}"`
	Description string   `json:"description" is:"the text below the title, with CEL in ${…}"`
	Link        string   `json:"link" is:"a URL, text with CEL in ${…}"`
	Severity    string   `json:"severity" default:"normal" is:"\"critical\", \"high\", \"normal\" or \"low\""`
	Scope       string   `json:"scope" is:"text with CEL in ${…}; a newer notification of the same scope replaces the older one"`
}

// Export gives a consumer that is not part of Callboard a queue for each of its topics.
type Export struct {
	Name   string   `json:"name" config:"required" is:"a name that no other export has"`
	Topics []string `json:"topics" config:"required" is:"the topics and sub-topics it gets, such as \"github\""`
	// Account is the AWS account that the consumer runs in, and Principals are who of it may read; both are empty for the
	// account of the deployment, where IAM alone decides.
	Account    string   `json:"account" is:"the 12 digits of the AWS account that the consumer runs in"`
	Principals []string `json:"principals" config:"filled" is:"the ARNs of the roles or users that may read, in the place of account"`
	// ClaimChecks tells that the consumer resolves claim checks, as the extended clients of AWS do.
	ClaimChecks bool `json:"claimChecks" is:"true if the consumer resolves claim checks"`
}

// API says who may call the HTTP APIs.
type API struct {
	Tokens []Token `json:"tokens" is:"the bearer tokens"`
}

// Token is a static bearer token.
type Token struct {
	Secret string `json:"secret" config:"required" is:"the name of the secret that holds the token"`
	// Subject is the full entityRef of a user, in lower case, or the name of a service.
	Subject string   `json:"subject" config:"required" is:"who calls with it, the entityRef of a user or the name of a service"`
	May     []string `json:"may" config:"required" is:"the rights \"catalog.read\", \"notifications.read\" and \"notifications.send\""`
}

// AWS is what is particular to AWS.
type AWS struct {
	Prefix string `json:"prefix" default:"callboard" is:"what the names of all resources start with"`
}

// PrefixIn returns what the names of everything in an environment start with; "" is the one without a name.
func (a AWS) PrefixIn(environment string) string {
	if environment == "" {
		return a.Prefix
	}
	return a.Prefix + "-" + environment
}

// FieldError is one thing that is wrong with the file.
type FieldError struct {
	// Path is a JSONPath from the root of the file, such as "$.notifications.rules[0].on[1]".
	Path string
	// Message says what is wrong there and what would be right.
	Message string
}

// Error is the path and the message.
func (e FieldError) Error() string { return e.Path + ": " + e.Message }

// Errors is everything that is wrong with the file, in the order of the file.
type Errors []FieldError

// Error has one line for each error.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads and validates the file at path. It fails with [events.CodeNotFound] or [events.CodeUnavailable] if
// the file cannot be read and with [Errors] if its content is wrong.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the operator says which file
	if errors.Is(err, fs.ErrNotExist) {
		return nil, events.Errorf(events.CodeNotFound, "the configuration %s does not exist: name another file or create it", path)
	}
	if err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "the configuration %s cannot be read", path)
	}
	return Parse(data)
}

// Parse validates the content of events-config.json. It fails with [Errors], which has everything that is wrong,
// or only the first syntax error if it is not JSON.
func Parse(data []byte) (*Config, error) {
	c, found := &Config{}, &problems{offsets: map[string]int64{}}
	if err := decode(data, c, found); err != nil {
		return nil, Errors{*err}
	}
	backstageQueues(c, found)
	complete(c)
	validate(c, found)
	if errs := found.sorted(); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// host tells whether there is an integration for a host.
func (i Integrations) host(name string) bool {
	for _, g := range i.GitHub {
		if g.Host == name {
			return true
		}
	}
	return false
}

// complete fills in the defaults that depend on other values, and brings names into their normal form. The defaults
// that do not are tags of the types.
func complete(c *Config) {
	for name, t := range c.Topics {
		if len(t.SubTopic) == 0 {
			t.SubTopic = profiles[t.From].subTopic
		}
		if t.Poll != nil {
			t.Poll.fillIn()
		}
		t.DeliveryID = normalSelector(t.DeliveryID)
		t.Metadata = mapped(t.Metadata, lower)
		t.SubTopic = mapped(t.SubTopic, normalSelector)
		if t.Signature != nil {
			t.Signature.Header = lower(t.Signature.Header)
		}
		if t.Token != nil {
			t.Token.Header = lower(t.Token.Header)
		}
		for i, text := range t.Allow {
			if p, err := parsePrefix(text); err == nil {
				t.Allow[i] = p.String()
			}
		}
		c.Topics[name] = t
	}
	for i := range c.Integrations.GitHub {
		g := &c.Integrations.GitHub[i]
		g.Host = lower(g.Host)
		if g.APIBaseURL == "" && hostName.MatchString(g.Host) {
			g.APIBaseURL = gitHubAPI(g.Host)
		}
		g.APIBaseURL = strings.TrimRight(g.APIBaseURL, "/")
	}
	if !c.Integrations.host(gitHubHost) {
		c.Integrations.GitHub = append(c.Integrations.GitHub, GitHubIntegration{Host: gitHubHost, APIBaseURL: gitHubAPI(gitHubHost)})
	}
	for id, p := range c.Catalog.Providers.GitHub {
		p.Host = lower(p.Host)
		c.Catalog.Providers.GitHub[id] = p
	}
	for i := range c.API.Tokens {
		if user, ok := userRef(c.API.Tokens[i].Subject); ok {
			c.API.Tokens[i].Subject = user
		}
	}
}

// mappedBits are the bits of an IPv6 address before the IPv4 address in it.
const mappedBits = 96

// parsePrefix reads addresses in the form 192.0.2.0/24, or one of them. ::ffff:192.0.2.0/120 is another way to write those.
func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil || !p.Addr().Is4In6() {
			return p.Masked(), err
		}
		if p.Bits() < mappedBits {
			return netip.Prefix{}, errors.New("more than the IPv4 addresses")
		}
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mappedBits).Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("not an address")
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

const gitHubHost = "github.com"

// gitHubAPI returns where the REST API of a GitHub host is
// (https://docs.github.com/en/enterprise-server/rest/using-the-rest-api/getting-started-with-the-rest-api).
func gitHubAPI(host string) string {
	if host == gitHubHost {
		return "https://api.github.com"
	}
	return "https://" + host + "/api/v3"
}

// template is in every selector that is text with others in it.
const template = "${"

// normalSelector writes the name of a header in lower case. The path into a body, and a template, stay as they are.
func normalSelector(s string) string {
	if kind, _, _ := strings.Cut(s, ":"); (kind == "header" || kind == "metadata") && !strings.Contains(s, template) {
		return lower(s)
	}
	return s
}

// userRef returns the full entityRef of a user, in lower case, and whether s is one.
func userRef(s string) (string, bool) {
	m := entityRef.FindStringSubmatch(lower(s))
	if m == nil || m[1] != "user" {
		return "", false
	}
	if m[2] == "" {
		m[2] = "default"
	}
	return "user:" + m[2] + "/" + m[3], true
}

// lower changes ASCII letters only, so that no other letter becomes one.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}

func mapped(list []string, f func(string) string) []string {
	var out []string
	for _, s := range list {
		out = append(out, f(s))
	}
	return out
}
