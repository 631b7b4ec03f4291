// Package topology turns the configuration into the names and connections of everything that runs: topics, queues,
// subscriptions, functions, routes and schedules. Whoever needs a name takes it from here; nobody derives one.
package topology

import (
	"slices"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
)

// The names of the functions, without the prefix.
const (
	Ingress          = "ingress"
	SQSPublisher     = "sqs-publisher"
	Router           = "router"
	CatalogSync      = "catalog-sync"
	Notify           = "notify"
	CatalogAPI       = "catalog-api"
	NotificationsAPI = "notifications-api"
)

// The names of the queues whose users have to find them, without the prefix.
const (
	// QueueIngest takes what the ingress accepts.
	QueueIngest = "ingest"
	// QueueSubscriptionsDLQ takes what SNS cannot deliver to a queue.
	QueueSubscriptionsDLQ = "subscriptions-dlq"
)

// ExportHop is before the name of an export in hops that tell what its consumer did not get.
const ExportHop = "export:"

// Every queue that a function reads is read in the same way.
const (
	maxReceiveCount = 5
	batchSize       = 10
	batchWindow     = 0 * time.Second // no waiting for a batch to fill: most hooks come alone
	maxConcurrency  = 5

	retention           = 4 * 24 * time.Hour
	retentionDeadLetter = 14 * 24 * time.Hour // the longest that SQS keeps a message

	sweepEvery = time.Minute

	// What others read waits longer: nobody here can start their consumers. Dead letters keep the age that they had before
	// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html), so that
	// half of the longest time is left for them.
	retentionExport       = 7 * 24 * time.Hour
	visibilityExport      = 2 * time.Minute
	maxReceiveCountExport = 10

	// deadLetterRoom is what SNS, or a function that parks it, may add to a message on its way to a dead-letter queue, which
	// takes no more bytes than the queue before it.
	deadLetterRoom = 4 << 10
)

// PayloadRetention is how long the payload of an event that is too large for a message is kept at least: as long as the
// message may wait in the three queues of its path, be a dead letter, be sent again and wait, and all that once more.
const PayloadRetention = 3*retention + 2*(retentionDeadLetter+retention)

// Topology is everything that runs for a configuration. Lists are in a fixed order.
type Topology struct {
	Prefix        string
	Topics        []Topic
	Queues        []Queue
	Subscriptions []Subscription
	Functions     []Function
	Routes        []Route
	Schedules     []Schedule
	Foreign       []ForeignQueue

	subTopics  map[string][]events.Selector
	deliveries map[string]*events.Selector
	exported   map[string]bool // root topics that somebody exports, or a sub-topic of them
}

// Topic is an SNS topic. What it takes is [Topology.Limit] of it.
type Topic struct {
	// Name is the topic or sub-topic of the events, such as "github.push".
	Name string
	// AWSName is the name of the SNS topic.
	AWSName string
}

// Queue is an SQS queue. A queue with neither Function nor Export is for dead letters.
type Queue struct {
	// Name is the name without the prefix, AWSName the one in SQS.
	Name, AWSName string
	// Function reads the queue; the fields from DeadLetter to MaxConcurrency say how.
	Function string
	// Export is the name of the export whose consumer reads the queue, and Topic the name of the topic it gets. BatchSize and
	// what follows up to MaxConcurrency are the consumer's own business.
	Export, Topic string
	// DeadLetter is the Name of the queue that takes what was received MaxReceiveCount times, or is parked.
	DeadLetter        string
	MaxReceiveCount   int
	VisibilityTimeout time.Duration
	// BatchSize is the largest number of messages of one invocation, BatchWindow how long it waits for them.
	BatchSize   int
	BatchWindow time.Duration
	// MaxConcurrency is how many invocations at most work on the queue at the same time.
	MaxConcurrency int
	// Retention is how long a message is kept.
	Retention time.Duration
}

// Subscription delivers the events of a topic to a queue, raw: the body of the message is the payload.
type Subscription struct {
	Topic      string // name of a [Topic]
	Queue      string // name of a [Queue]
	DeadLetter string // name of the [Queue] for what cannot be delivered
	// WithoutClaimChecks keeps claim checks from the queue: who reads it cannot resolve them.
	WithoutClaimChecks bool
}

// Function is a Lambda function.
type Function struct {
	// Name is the name without the prefix, AWSName the one in Lambda.
	Name, AWSName string
	Timeout       time.Duration
	// Queues are the names of the queues it reads, and DeadLetter that of the one where it parks; both are empty
	// for a function that answers HTTP.
	Queues     []string
	DeadLetter string
	// Secrets are the names of the secrets it needs, or references to them.
	Secrets []string

	// Build is the folder of a program of somebody's own, as the configuration has it; "" for ours.
	Build string
	// Publish are the topics that a function of somebody's own may publish to.
	Publish []string
	// Memory is what a program of somebody's own asks for, in MB; 0 for what is usual.
	Memory int
	// Environment are variables that it gets beside those of the deployment.
	Environment map[string]string
}

// verifies tells whether its secrets are those that senders and callers show.
func (f Function) verifies() bool { return len(f.Queues) == 0 || f.Name == SQSPublisher }

// Secrets returns the names of the secrets that the functions need, and references to such, each with whether its value is
// ours to choose: senders and callers show it to us. The others were given to us, to show them to somebody.
func (t *Topology) Secrets() map[string]bool {
	ours := map[string]bool{}
	for _, f := range t.Functions {
		for _, name := range f.Secrets {
			ours[name] = ours[name] || f.verifies()
		}
	}
	return ours
}

// GivenSecrets returns the names of the secrets of the stack that others have given us, sorted. A person has to fill them;
// references are not among them, because what they lead to is watched by its owner.
func (t *Topology) GivenSecrets() []string {
	var names []string
	for name, ours := range t.Secrets() {
		if !ours && !strings.Contains(name, ":") {
			names = append(names, name)
		}
	}
	return sorted(names)
}

// LogGroup returns the name of the log group in CloudWatch that the function writes to.
func (f Function) LogGroup() string { return "/aws/lambda/" + f.AWSName }

// Route leads requests to a function. Method "ANY" and parameters such as {topic} and {proxy+} are those of an
// HTTP API of API Gateway.
type Route struct {
	Method, Path string
	Function     string
}

// Schedule invokes a function again and again.
type Schedule struct {
	// Name is the name without the prefix, AWSName the one in AWS.
	Name, AWSName string
	Function      string
	Every         time.Duration
	// Topic is that of the queue of others that is asked for messages; "" for a schedule that does something else.
	Topic string
}

// ForeignQueue is a queue that others fill.
type ForeignQueue struct {
	// Topic is the root topic of its messages.
	Topic string
	// Name is the name of the queue that stands for it in the embedded engine.
	Name string
	// ARN is that of the queue itself.
	ARN string
	// Function reads it, by itself unless Poll is set: then a schedule asks for messages.
	Function string
	Poll     *config.Poll
	// BatchSize and MaxConcurrency are those of a [Queue].
	BatchSize, MaxConcurrency int
	// Buckets are the names of the buckets that hold the bodies of large messages, Keys the ARNs of the KMS keys with
	// which the queue and they are encrypted.
	Buckets, Keys []string
}

// Region returns the region of the queue.
func (q ForeignQueue) Region() string { return q.part(3) }

// URL returns the URL of the queue
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html).
func (q ForeignQueue) URL() string {
	domain := "amazonaws.com"
	if q.part(1) == "aws-cn" {
		domain = "amazonaws.com.cn"
	}
	return "https://sqs." + q.Region() + "." + domain + "/" + q.Account() + "/" + q.AWSName()
}

// Account returns the account that the queue belongs to.
func (q ForeignQueue) Account() string { return q.part(4) }

// AWSName returns the name of the queue in SQS.
func (q ForeignQueue) AWSName() string { return q.part(5) }

func (q ForeignQueue) part(i int) string { return strings.Split(q.ARN, ":")[i] }

// SubTopicRules returns where the sub-topic of a root topic's events is found; the first rule that finds one
// counts. There is none for a topic without sub-topics.
func (t *Topology) SubTopicRules(topic string) []events.Selector { return t.subTopics[topic] }

// PollOf returns the name of the schedule that asks the queue of a topic for messages; "" if there is none.
func (t *Topology) PollOf(topic string) string {
	i := slices.IndexFunc(t.Schedules, func(s Schedule) bool { return s.Topic == topic })
	if i < 0 {
		return ""
	}
	return t.Schedules[i].Name
}

// DeliveryID returns what identifies a delivery to a root topic. It is nil where the profile knows or nothing does.
func (t *Topology) DeliveryID(topic string) *events.Selector { return t.deliveries[topic] }

// Wanted tells whether there is an SNS topic for exactly this topic or sub-topic.
func (t *Topology) Wanted(topic string) bool {
	_, ok := t.SNSName(topic)
	return ok
}

// SNSName returns the name of the SNS topic of a topic or sub-topic, and whether there is one. Its ARN is the
// prefix of the account's ARNs and this name.
func (t *Topology) SNSName(topic string) (string, bool) {
	i := slices.IndexFunc(t.Topics, func(s Topic) bool { return s.Name == topic })
	if i < 0 {
		return "", false
	}
	return t.Topics[i].AWSName, true
}

// BucketName returns the name of the bucket of a stack. No other account can have the same, and whoever looks for the bucket
// knows it.
func BucketName(prefix, account, region string) string {
	return strings.Join([]string{prefix, account, region}, "-")
}

// AWSName returns the name in SQS of a [Queue]; "" if there is none of that name.
func (t *Topology) AWSName(queue string) string {
	i := slices.IndexFunc(t.Queues, func(q Queue) bool { return q.Name == queue })
	if i < 0 {
		return ""
	}
	return t.Queues[i].AWSName
}

// Limit returns how many bytes a message may have on every hop of a topic or sub-topic, as AWS counts them: what SNS
// takes by default, or nearly what SQS takes where somebody exports a topic of the same root. The payload of a larger
// event goes into the bucket.
func (t *Topology) Limit(topic string) int {
	root, _, _ := strings.Cut(topic, ".")
	if t.exported[root] {
		return events.MaxSQSMessageSize - deadLetterRoom
	}
	return events.MaxMessageSize
}

// Withheld returns the names of the exports that get the events of a topic, but no claim checks.
func (t *Topology) Withheld(topic string) []string {
	var names []string
	for _, s := range t.Subscriptions {
		if s.Topic != topic || !s.WithoutClaimChecks {
			continue
		}
		for _, q := range t.Queues {
			if q.Name == s.Queue {
				names = append(names, q.Export)
			}
		}
	}
	return names
}

// Build returns the topology of a configuration. It is a pure function. It fails with [config.Errors] if two things
// would have the same name, or a name would be too long for AWS.
func Build(c *config.Config) (*Topology, error) {
	b := &builder{
		c: c, names: map[string]string{},
		Topology: &Topology{Prefix: c.AWS.Prefix, subTopics: map[string][]events.Selector{}, deliveries: map[string]*events.Selector{}, exported: map[string]bool{}},
	}
	b.selectors()
	b.topics()
	b.functions()
	b.foreign()
	b.routes()
	if len(b.errs) == 0 {
		b.alarms()
	}
	if len(b.errs) > 0 {
		return nil, b.errs
	}
	return b.Topology, nil
}
