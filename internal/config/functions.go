package config

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

const (
	// FromPublish is the value of [Topic.From] for a topic that functions publish to, and nobody sends webhooks to.
	FromPublish = "publish"
	// fromCustom begins the value of [Topic.From] for a profile that the program of functions.ingress brings.
	fromCustom = "custom:"
	// ingressFunction is the function that takes webhooks.
	ingressFunction = "ingress"
	// publisherFunction is the function that reads the queues of others, by polls too.
	publisherFunction = "sqs-publisher"
)

// ourFunctions are the functions that a configuration cannot add, because they are there.
var ourFunctions = []string{"catalog-api", "catalog-sync", ingressFunction, "notifications-api", "notify", "router", publisherFunction}

// Limits of a function, and what its name may be: one that fits into those of its queues. The numbers are AWS's
// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const (
	maxFunction = 40
	maxTimeout  = 15 * time.Minute
	minMemory   = 128
	maxMemory   = 10_240
)

// Function is a function of somebody's own: a subscriber, or a program in the place of one of ours.
type Function struct {
	// Build is the folder of a Go main package, from the folder of the configuration on.
	Build string `json:"build" config:"required" is:"the folder of the program, such as \"./frobs\""`
	// On are the topics it subscribes to; empty for a program in the place of one of ours.
	On []string `json:"on" config:"filled" is:"the topics and sub-topics it listens to, such as \"frobs.add\""`
	// Publish are the topics it may publish to.
	Publish []string `json:"publish" config:"filled" is:"the topics and sub-topics it publishes to"`
	// Secrets are names of or references to the secrets that it may read; they are never generated.
	Secrets []string `json:"secrets" config:"filled" is:"the names of the secrets it reads"`
	// Timeout is how long an invocation may take, as [time.ParseDuration] reads it; "" for the usual time.
	Timeout string `json:"timeout" is:"how long an invocation may take, such as \"30s\" or \"2m\""`
	// Memory is what it gets, in MB; 0 for what is usual.
	Memory int `json:"memory" is:"what it gets in MB, such as 512"`
	// Environment are further variables of its process.
	Environment map[string]string `json:"environment" is:"further variables of its process"`
}

// InPlaceOfOurs tells whether a function of the configuration replaces the program of one of ours.
func InPlaceOfOurs(name string) bool { return slices.Contains(ourFunctions, name) }

// CustomProfile returns the name of the profile that functions.ingress brings for the topic, and whether it does.
func (t Topic) CustomProfile() (name string, ok bool) { return strings.CutPrefix(t.From, fromCustom) }

// TimeoutOr returns the timeout of the function, or the usual one.
func (f Function) TimeoutOr(usual time.Duration) time.Duration {
	d, err := time.ParseDuration(f.Timeout)
	if err != nil {
		return usual
	}
	return d
}

var variableName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`) })

func (v validator) functions() {
	for _, name := range sortedKeys(v.c.Functions) {
		f, path := v.c.Functions[name], member("$.functions", name)
		if len(name) > maxFunction || !resourceName.MatchString(name) {
			v.add(path, "the name of a function is at most %d lower-case letters, digits and \"-\", a letter first", maxFunction)
		}
		if name == publisherFunction && len(v.c.ByQueue()) > 0 {
			v.add(path, "takes the place of what reads the queues of topics.%s, and no other program can: remove it", v.c.ByQueue()[0])
		}
		v.functionLinks(path, name, f)
		v.functionLimits(path, f)
		for _, variable := range sortedKeys(f.Environment) {
			path := member(path+".environment", variable)
			upper := strings.ToUpper(variable)
			switch {
			case !variableName().MatchString(variable):
				v.add(path, "the name of a variable is letters, digits and \"_\", a letter first")
			case strings.HasPrefix(upper, "AWS_"), strings.HasPrefix(upper, "LAMBDA_"), strings.HasPrefix(upper, "CALLBOARD_"):
				v.add(path, "is reserved: AWS_, LAMBDA_ and CALLBOARD_ begin the variables that the deployment sets")
			}
		}
	}
}

// functionLinks checks what connects a function to topics and secrets.
func (v validator) functionLinks(path, name string, f Function) {
	if InPlaceOfOurs(name) {
		for key, written := range map[string]bool{"on": f.On != nil, "publish": f.Publish != nil, "secrets": f.Secrets != nil} {
			if written {
				v.add(path+"."+key, "is not for %q: the program takes the place of ours, with its queues, topics and secrets; remove it", name)
			}
		}
		return
	}
	if f.On == nil {
		v.add(path+".on", "is missing: write the topics it listens to, or, to replace one of ours, name it %s", oneOf(ourFunctions))
	}
	for i, topic := range f.On {
		path := element(path+".on", i)
		v.on(path, topic)
		switch {
		case slices.Contains(f.On[:i], topic):
			v.add(path, "%q is in the list twice: remove one of them", topic)
		case slices.Contains(f.Publish, topic):
			v.add(path, "%q is in \"publish\" too, so it would feed itself without an end: remove one of them", topic)
		}
	}
	for i, topic := range f.Publish {
		v.publishes(element(path+".publish", i), topic)
		if slices.Contains(f.Publish[:i], topic) {
			v.add(element(path+".publish", i), "%q is in the list twice: remove one of them", topic)
		}
	}
	for i, s := range f.Secrets {
		v.secret(element(path+".secrets", i), s)
	}
}

func (v validator) functionLimits(path string, f Function) {
	if f.Timeout != "" {
		d, err := time.ParseDuration(f.Timeout)
		if err != nil || d < time.Second || d > maxTimeout || d%time.Second != 0 {
			v.add(path+".timeout", "is %q: write whole seconds or minutes from \"1s\" to \"15m\"", f.Timeout)
		}
	}
	if f.Memory != 0 && (f.Memory < minMemory || f.Memory > maxMemory) {
		v.add(path+".memory", "is %d: write %d to %d, in MB", f.Memory, minMemory, maxMemory)
	}
}

// publishes checks a topic that a function publishes to.
func (v validator) publishes(path, topic string) {
	root, sub, isSub := strings.Cut(topic, ".")
	_, known := v.c.Topics[root]
	switch {
	case root == reservedTopic:
		v.add(path, "is %q: only Callboard itself publishes about the catalog; choose another topic", topic)
	case !known && len(v.c.Topics) > 0:
		v.add(path, "there is no topic %q in topics: add it with \"from\": %q", root, FromPublish)
	case isSub && (sub == "" || !events.ValidTopic(topic)):
		v.add(path, "is %q: a sub-topic is letters, digits, \"_\", \"-\" and \":\" in parts joined by dots, at most %d characters with its topic", topic, events.MaxTopicLength)
	}
}

// published tells whether a function says that it publishes to a topic.
func (v validator) published(topic string) bool {
	for _, f := range v.c.Functions {
		if slices.Contains(f.Publish, topic) {
			return true
		}
	}
	return false
}

// customProfile checks a topic whose profile comes with the program of functions.ingress.
func (v validator) customProfile(path, name string) {
	if !plainWord.MatchString(name) || len(name) > maxTopic {
		v.add(path+".from", "is %q: the name of a profile is at most %d letters, digits, \"_\" and \"-\"", fromCustom+name, maxTopic)
	}
	if _, ok := v.c.Functions[ingressFunction]; !ok {
		v.add(path+".from", "nothing brings the profile %q: name in functions.ingress the program that passes it to ingress.Start", name)
	}
}

// publishTopic checks a topic that nobody sends webhooks to.
func (v validator) publishTopic(path string, t Topic) {
	for key, written := range map[string]bool{
		"secrets": t.Secrets != nil, "verify": t.Verify != "", "allow": t.Allow != nil,
		keySignature: t.Signature != nil, keyToken: t.Token != nil, keyDeliveryID: t.DeliveryID != "", keyMetadata: t.Metadata != nil,
	} {
		if written {
			v.add(path+"."+key, "is not for from %q, which takes no webhooks: remove it", t.From)
		}
	}
}
