package topology

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
)

// kind is a kind of AWS resource, each with names of its own.
type kind string

const (
	kindTopic    kind = "SNS topic"
	kindQueue    kind = "SQS queue"
	kindFunction kind = "Lambda function"
	kindSchedule kind = "schedule"
	kindAlarm    kind = "CloudWatch alarm"
)

// maxLength is how long a name of a kind may be, in characters
// (https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html).
var maxLength = map[kind]int{kindTopic: 256, kindQueue: 80, kindFunction: 64, kindSchedule: 64, kindAlarm: 255}

// snsName makes the name of an SNS topic, which has letters, digits, "_" and "-" only. Different topics may get
// the same name, which is an error, because a code without that is not readable.
var snsName = strings.NewReplacer(".", "_", ":", "-")

// gitHubSubTopics are the sub-topics that catalog-sync needs of every topic from GitHub.
var gitHubSubTopics = []string{"push", "repository"}

type builder struct {
	*Topology
	c    *config.Config
	errs config.Errors
	// names tells by kind and AWS name which path of the configuration named it.
	names map[string]string
	// deadLetters are kept apart until all other queues are there.
	deadLetters []Queue
}

func (b *builder) failf(path, format string, args ...any) {
	b.errs = append(b.errs, config.FieldError{Path: path, Message: fmt.Sprintf(format, args...)})
}

// name returns the AWS name of something, which path of the configuration is the reason for.
func (b *builder) name(k kind, name, path string) string {
	full := b.c.AWS.Prefix + "-" + name
	if len(full) > maxLength[k] {
		b.failf(path, "the %s would be called %q, which has %d characters where %d are allowed: choose shorter names or a shorter aws.prefix", k, full, len(full), maxLength[k])
		return full
	}
	if k == kindTopic && name == TopicAlarms {
		b.failf(path, "the %s would be called %q, which is the one that tells people of alarms: choose another name", k, full)
		return full
	}
	if other, taken := b.names[string(k)+" "+full]; taken {
		b.failf(path, "the %s would be called %q, like that of %s: rename one of them", k, full, other)
		return full
	}
	b.names[string(k)+" "+full] = path
	return full
}

// selectors parses the rules of all topics.
func (b *builder) selectors() {
	for _, name := range sortedKeys(b.c.Topics) {
		t := b.c.Topics[name]
		for i, text := range t.SubTopic {
			if s, ok := b.selector(fmt.Sprintf("$.topics.%s.subTopic[%d]", name, i), text); ok {
				b.subTopics[name] = append(b.subTopics[name], s)
			}
		}
		if t.DeliveryID == "" {
			continue
		}
		if s, ok := b.selector("$.topics."+name+".deliveryId", t.DeliveryID); ok {
			b.deliveries[name] = &s
		}
	}
}

func (b *builder) selector(path, text string) (events.Selector, bool) {
	s, err := events.ParseSelector(text)
	if err != nil {
		b.failf(path, "%s", events.ErrorMessage(err))
	}
	return s, err == nil
}

// topics adds all SNS topics, and the subscriptions of functions to them.
func (b *builder) topics() {
	for _, root := range sortedKeys(b.c.Topics) {
		path := "$.topics." + root
		b.topic(root, path)
		if len(b.subTopics[root]) > 0 {
			b.subscribe(root, routerQueue(root))
		}
		for i, sub := range b.c.Topics[root].Publish {
			b.topic(root+"."+sub, fmt.Sprintf("%s.publish[%d]", path, i))
		}
	}
	if b.hasProvider() {
		b.catalogTopics()
	}
	for i, rule := range b.c.Notifications.Rules {
		for j, topic := range rule.On {
			b.topic(topic, fmt.Sprintf("$.notifications.rules[%d].on[%d]", i, j))
			b.subscribe(topic, Notify)
		}
	}
	b.exportTopics()
	b.subscribers()
	slices.SortFunc(b.Topics, func(x, y Topic) int { return cmp.Compare(x.Name, y.Name) })
	slices.SortFunc(b.Subscriptions, func(x, y Subscription) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Queue, y.Queue))
	})
}

// catalogTopics adds what catalog-sync reads and publishes.
func (b *builder) catalogTopics() {
	const path = "$.catalog.providers.github"
	for _, root := range sortedKeys(b.c.Topics) {
		if b.c.Topics[root].From != config.FromGitHub {
			continue
		}
		for _, sub := range gitHubSubTopics {
			topic := root + "." + sub
			b.topic(topic, path)
			b.subscribe(topic, CatalogSync)
		}
	}
	b.topic(config.TopicCatalogChanged, path)
	b.topic(config.TopicCatalogError, path)
}

func (b *builder) hasProvider() bool { return len(b.c.Catalog.Providers.GitHub) > 0 }

// topic adds a topic unless it is there already.
func (b *builder) topic(name, path string) {
	if !b.Wanted(name) {
		b.Topics = append(b.Topics, Topic{Name: name, AWSName: b.name(kindTopic, snsName.Replace(name), path)})
	}
}

func (b *builder) subscribe(topic, queue string) {
	s := Subscription{Topic: topic, Queue: queue, DeadLetter: QueueSubscriptionsDLQ}
	if !slices.Contains(b.Subscriptions, s) {
		b.Subscriptions = append(b.Subscriptions, s)
	}
}

func routerQueue(root string) string { return "router-" + root }

// source is a queue and what of the configuration it is there for.
type source struct{ name, path string }

// functions adds the functions that have something to do, with their queues.
func (b *builder) functions() {
	const (
		http    = 10 * time.Second
		worker  = 30 * time.Second
		catalog = 120 * time.Second // reads files from a slow API
	)
	var routers []source
	for _, root := range sortedKeys(b.subTopics) {
		routers = append(routers, source{routerQueue(root), "$.topics." + root})
	}

	b.answers(Ingress, http, b.senderSecrets(false))
	b.reads(SQSPublisher, config.RunTimeout, b.senderSecrets(true), source{QueueIngest, "$.aws.prefix"})
	if len(routers) > 0 {
		b.reads(Router, worker, nil, routers...)
	}
	if b.hasProvider() {
		b.reads(CatalogSync, catalog, b.integrationTokens(), source{CatalogSync, "$.catalog.providers"})
		const sweep = "outbox-sweep"
		b.Schedules = append(b.Schedules, Schedule{Name: sweep, AWSName: b.name(kindSchedule, sweep, "$.catalog.providers"), Function: CatalogSync, Every: sweepEvery})
	}
	if len(b.c.Notifications.Rules) > 0 {
		b.reads(Notify, worker, nil, source{Notify, "$.notifications.rules"})
	}
	b.exportQueues()
	b.answers(CatalogAPI, http, b.apiTokens())
	b.answers(NotificationsAPI, http, b.apiTokens())
	b.own(worker)
	b.deadLetter(QueueSubscriptionsDLQ)
	b.Queues = append(b.Queues, b.deadLetters...)
}

// answers adds a function that answers HTTP.
func (b *builder) answers(name string, timeout time.Duration, secrets []string) {
	b.Functions = append(b.Functions, Function{
		Name: name, AWSName: b.name(kindFunction, name, "$.aws.prefix"), Timeout: b.timeout(name, timeout), Secrets: secrets,
	})
}

// reads adds a function with the queues it reads.
func (b *builder) reads(name string, timeout time.Duration, secrets []string, sources ...source) {
	timeout = b.timeout(name, timeout)
	f := Function{
		Name: name, AWSName: b.name(kindFunction, name, "$.aws.prefix"), Timeout: timeout, Secrets: secrets, DeadLetter: name + "-dlq",
	}
	// Its name is taken first, so that a clash is reported where a person can rename something.
	b.deadLetter(f.DeadLetter)
	for _, s := range sources {
		f.Queues = append(f.Queues, s.name)
		b.Queues = append(b.Queues, Queue{
			Name: s.name, AWSName: b.name(kindQueue, s.name, s.path), Function: name,
			DeadLetter: f.DeadLetter, MaxReceiveCount: maxReceiveCount,
			// What AWS recommends, so that a message is not seen again while it is worked on
			// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
			VisibilityTimeout: 6*timeout + batchWindow,
			BatchSize:         batchSize, BatchWindow: batchWindow, MaxConcurrency: maxConcurrency, Retention: retention,
		})
	}
	b.Functions = append(b.Functions, f)
}

func (b *builder) deadLetter(name string) {
	b.deadLetters = append(b.deadLetters, Queue{Name: name, AWSName: b.name(kindQueue, name, "$.aws.prefix"), Retention: retentionDeadLetter})
}

// senderSecrets returns what webhooks are signed with: those that come by a queue of others, or those that come by HTTP.
func (b *builder) senderSecrets(byQueue bool) []string {
	var names []string
	for _, t := range b.c.Topics {
		if (t.Queue != "") == byQueue {
			names = append(names, t.Secrets...)
		}
	}
	return sorted(names)
}

// foreign adds the queues that others fill, and the schedules that ask some of them for messages.
func (b *builder) foreign() {
	for _, topic := range b.c.ByQueue() {
		t := b.c.Topics[topic]
		b.Foreign = append(b.Foreign, ForeignQueue{
			Topic: topic, Name: "queue." + topic, ARN: t.Queue, Function: SQSPublisher, Poll: t.Poll,
			BatchSize: batchSize, MaxConcurrency: maxConcurrency, Buckets: t.Buckets, Keys: t.Keys,
		})
		if t.Poll != nil {
			name := "poll-" + topic
			b.Schedules = append(b.Schedules, Schedule{
				Name: name, AWSName: b.name(kindSchedule, name, "$.topics."+topic), Function: SQSPublisher,
				Every: time.Duration(t.Poll.Every), Topic: topic,
			})
		}
	}
}

// integrationTokens returns the tokens, and the keys of Apps, of the hosts that a provider reads.
func (b *builder) integrationTokens() []string {
	var names []string
	for _, g := range b.c.Integrations.GitHub {
		for _, p := range b.c.Catalog.Providers.GitHub {
			if g.Host != p.Host {
				continue
			}
			if g.Token != "" {
				names = append(names, g.Token)
			}
			for _, a := range g.Apps {
				names = append(names, a.PrivateKey)
			}
		}
	}
	return sorted(names)
}

// apiTokens returns all tokens: a function has to know those without a right too, to say that it is missing.
func (b *builder) apiTokens() []string {
	var names []string
	for _, t := range b.c.API.Tokens {
		names = append(names, t.Secret)
	}
	return sorted(names)
}

// routes adds what API Gateway answers: every path also below /api, where Backstage has its plugins.
func (b *builder) routes() {
	for _, r := range []Route{
		{Path: "/events/http/{topic}", Function: Ingress},
		{Path: "/events/http/{topic}/{token}", Function: Ingress},
		{Path: "/catalog/{proxy+}", Function: CatalogAPI},
		{Path: "/notifications", Function: NotificationsAPI},
		{Path: "/notifications/{proxy+}", Function: NotificationsAPI},
	} {
		b.Routes = append(b.Routes, Route{"ANY", r.Path, r.Function}, Route{"ANY", "/api" + r.Path, r.Function})
	}
}

// sorted returns the different names in order.
func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
