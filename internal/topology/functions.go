package topology

import (
	"fmt"
	"slices"
	"time"

	"github.com/callboard/callboard/internal/config"
)

// subscribers adds the topics that functions of somebody's own listen and publish to.
func (b *builder) subscribers() {
	for _, name := range sortedKeys(b.c.Functions) {
		f, path := b.c.Functions[name], "$.functions."+name
		for i, topic := range f.On {
			b.topic(topic, fmt.Sprintf("%s.on[%d]", path, i))
			b.subscribe(topic, name)
		}
		for i, topic := range f.Publish {
			b.topic(topic, fmt.Sprintf("%s.publish[%d]", path, i))
		}
	}
}

// own adds the functions of somebody's own, and gives those of ours that have another program what they need.
func (b *builder) own(timeout time.Duration) {
	for _, name := range sortedKeys(b.c.Functions) {
		f, path := b.c.Functions[name], "$.functions."+name
		if name+"-dlq" == QueueSubscriptionsDLQ {
			b.failf(path, "%q is the queue for what SNS cannot deliver, and would be that for its dead letters: choose another name", QueueSubscriptionsDLQ)
			continue
		}
		if !config.InPlaceOfOurs(name) {
			b.reads(name, timeout, sorted(slices.Clone(f.Secrets)), source{name, path})
			b.Functions[len(b.Functions)-1].Publish = f.Publish
		}
		i := slices.IndexFunc(b.Functions, func(x Function) bool { return x.Name == name })
		if i < 0 {
			b.failf(path, "this configuration has nothing to do for %s: remove it, or add what it works on", name)
			continue
		}
		made := &b.Functions[i]
		made.Build, made.Memory, made.Environment = f.Build, f.Memory, f.Environment
	}
}

// timeout returns the timeout of a function of ours: that of the program in its place, if it has one.
func (b *builder) timeout(name string, usual time.Duration) time.Duration {
	return b.c.Functions[name].TimeoutOr(usual)
}

// MayPublish tells whether a function may publish to a topic, as far as the configuration says: what those of ours
// publish to that do is up to them.
func (f Function) MayPublish(topic string) bool {
	switch f.Name {
	case SQSPublisher, Router, CatalogSync:
		return true
	}
	return slices.Contains(f.Publish, topic)
}
