package topology

import (
	"fmt"
	"strings"

	"github.com/callboard/callboard/internal/config"
)

// TopicAlarms is the name of the SNS topic that tells people of alarms, without the prefix.
const TopicAlarms = "alarms"

// Alarm returns the name of the alarm on the queue, without the prefix like all of them: on any message if it is for dead
// letters, else on the age of the oldest.
func (q Queue) Alarm() string {
	if q.DeadLetter == "" {
		return q.Name
	}
	return q.Name + "-age"
}

// Alarm returns the name of the alarm on the age of the oldest message.
func (q ForeignQueue) Alarm() string { return "queue-of-" + q.Topic + "-age" }

// Alarms returns the names of the alarms on invocations that fail, and on those that are refused.
func (f Function) Alarms() (errors, throttles string) {
	return f.Name + "-errors", f.Name + "-throttles"
}

// Alarm returns the name of the alarm on events that are published and not delivered.
func (t Topic) Alarm() string { return "nothing-out-" + t.Name }

// SecretAlarm returns the name of the alarm on a secret without a value.
func SecretAlarm(secret string) string { return "secret-" + strings.ReplaceAll(secret, "/", "-") }

// QuotaAlarm returns the name of the alarm on the requests that the API of a host still allows.
func QuotaAlarm(host string) string { return "quota-" + strings.ReplaceAll(host, ":", "-") }

// WithheldAlarm returns the name of the alarm on events that are too large for an export.
func WithheldAlarm(export string) string { return "withheld-" + export }

// alarms takes the names of all alarms that follow from the configuration. No other alarm of the stack can have one of
// them.
func (b *builder) alarms() {
	for _, f := range b.Functions {
		errors, throttles := f.Alarms()
		b.name(kindAlarm, errors, b.reason(f.Name))
		b.name(kindAlarm, throttles, b.reason(f.Name))
	}
	for _, q := range b.Queues {
		path := b.names[string(kindQueue)+" "+q.AWSName]
		if reader, ok := strings.CutSuffix(q.Name, "-dlq"); ok && path == "$.aws.prefix" {
			path = b.reason(reader)
		}
		b.name(kindAlarm, q.Alarm(), path)
	}
	for _, q := range b.Foreign {
		if q.Poll == nil {
			b.name(kindAlarm, q.Alarm(), "$.topics."+q.Topic)
		}
	}
	subscribed := map[string]bool{}
	for _, s := range b.Subscriptions {
		subscribed[s.Topic] = true
	}
	for _, t := range b.Topics {
		if subscribed[t.Name] {
			b.name(kindAlarm, t.Alarm(), b.names[string(kindTopic)+" "+t.AWSName])
		}
	}
	for _, name := range b.GivenSecrets() {
		b.name(kindAlarm, SecretAlarm(name), b.secretPath(name))
	}
	hosts := map[string]bool{}
	for _, id := range sortedKeys(b.c.Catalog.Providers.GitHub) {
		if host := b.c.Catalog.Providers.GitHub[id].Host; !hosts[host] {
			b.name(kindAlarm, QuotaAlarm(host), "$.catalog.providers.github."+id+".host")
			hosts[host] = true
		}
	}
	for i, e := range b.c.Exports {
		if !e.ClaimChecks {
			b.name(kindAlarm, WithheldAlarm(e.Name), fmt.Sprintf("$.exports[%d].name", i))
		}
	}
}

// reason returns the path of the configuration that a function is there for.
func (b *builder) reason(function string) string {
	if _, own := b.c.Functions[function]; own && !config.InPlaceOfOurs(function) {
		return "$.functions." + function
	}
	return "$.aws.prefix"
}

// secretPath returns where the configuration names a secret that was given to us.
func (b *builder) secretPath(name string) string {
	for i, g := range b.c.Integrations.GitHub {
		if g.Token == name {
			return fmt.Sprintf("$.integrations.github[%d].token", i)
		}
		for j, a := range g.Apps {
			if a.PrivateKey == name {
				return fmt.Sprintf("$.integrations.github[%d].apps[%d].privateKey", i, j)
			}
		}
	}
	for _, function := range sortedKeys(b.c.Functions) {
		for i, s := range b.c.Functions[function].Secrets {
			if s == name {
				return fmt.Sprintf("$.functions.%s.secrets[%d]", function, i)
			}
		}
	}
	return "$.aws.prefix" // nothing else is given to us
}
