package config

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/callboard/callboard/pkg/events"
)

// principal is the ARN of an account, a role or a user
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html).
var principal = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^arn:[a-z-]+:iam::([0-9]+):(root|(role|user)/[A-Za-z0-9_+=,.@/-]+)$`)
})

const accountLength = 12

// publishedSubTopic checks a sub-topic that the topic itself names.
func (v validator) publishedSubTopic(path, name string, t Topic, sub string) {
	switch {
	case !events.ValidTopic(name + "." + sub):
		v.add(path, "is %q: write the sub-topic without the name of its topic, letters, digits, \"_\", \"-\" and \":\" in parts joined by dots, at most %d characters with its topic", sub, events.MaxTopicLength)
	case len(t.SubTopic) == 0 && t.From != "":
		v.add(path, "the topic %q has no sub-topics: add \"subTopic\" to it", name)
	}
}

func (v validator) exports() {
	names := map[string]string{}
	for i, e := range v.c.Exports {
		path := element("$.exports", i)
		if len(e.Name) > maxExport || !plainWord.MatchString(e.Name) {
			v.add(path+".name", "is %q: write at most %d letters, digits, \"_\" and \"-\"", e.Name, maxExport)
		}
		if first, twice := names[e.Name]; twice {
			v.add(path+".name", "%q is the name of %s already: choose another one", e.Name, first)
		}
		names[e.Name] = path
		for j, topic := range e.Topics {
			v.on(element(path+".topics", j), topic)
			if slices.Contains(e.Topics[:j], topic) {
				v.add(element(path+".topics", j), "%q is in the list twice: remove one of them", topic)
			}
		}
		if e.Account != "" && !isAccount(e.Account) {
			v.add(path+".account", "is %q: write the %d digits of an AWS account", e.Account, accountLength)
		}
		if e.Account != "" && e.Principals != nil {
			v.add(path+".account", "is of no use, because \"principals\" name their accounts: remove one of them")
		}
		for j, arn := range e.Principals {
			if m := principal().FindStringSubmatch(arn); m == nil || !isAccount(m[1]) {
				v.add(element(path+".principals", j), "is %q: write the ARN of a role or a user, such as \"arn:aws:iam::111122223333:role/backstage\"", arn)
			}
		}
	}
}

func isAccount(s string) bool { return len(s) == accountLength && strings.Trim(s, "0123456789") == "" }
