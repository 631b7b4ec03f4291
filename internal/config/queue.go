package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Poll says how a queue is asked for messages by a schedule.
type Poll struct {
	// Every is how often, in whole minutes.
	Every Duration `json:"every" is:"how often the queue is asked, in whole minutes"`
	// WaitTime is how long one request waits for a message.
	WaitTime Duration `json:"waitTime" is:"how long a request waits for messages, 1 to 15 seconds"`
	// VisibilityTimeout is how long a message is hidden from others while it is worked on.
	VisibilityTimeout Duration `json:"visibilityTimeout" is:"how long a message is hidden from others, 30 seconds to 12 hours"`
}

// Events is where Backstage has its configuration of queues. What it says is moved to the topics, see [Topic.Queue].
type Events struct {
	Modules EventsModules `json:"modules" is:"the modules of Backstage's events backend"`
}

// EventsModules are the modules of Backstage's events backend.
type EventsModules struct {
	AWSSQS AWSSQSModule `json:"awsSqs" is:"Backstage's module for SQS"`
}

// AWSSQSModule is Backstage's module for SQS.
type AWSSQSModule struct {
	Publisher SQSConsumer `json:"awsSqsConsumingEventPublisher" is:"what reads queues and publishes their messages"`
}

// SQSConsumer is what reads queues in Backstage.
type SQSConsumer struct {
	Topics map[string]BackstageQueue `json:"topics" config:"filled" is:"the queues by topic"`
}

// BackstageQueue is the queue of a topic.
type BackstageQueue struct {
	Queue                     QueueAddress `json:"queue" config:"required" is:"the queue"`
	Timeout                   *Duration    `json:"timeout" is:"longer than waitTime and waitTimeAfterEmptyReceive together"`
	WaitTimeAfterEmptyReceive *Duration    `json:"waitTimeAfterEmptyReceive" is:"how long to rest when the queue is empty"`
}

// QueueAddress is where a queue is and how it is asked.
type QueueAddress struct {
	URL               string    `json:"url" config:"required" is:"the URL of the queue"`
	Region            string    `json:"region" config:"required" is:"the region of the queue"`
	Endpoint          string    `json:"endpoint" is:"nothing: AWS_ENDPOINT_URL says where AWS is"`
	VisibilityTimeout *Duration `json:"visibilityTimeout" is:"how long a message is hidden from others"`
	WaitTime          *Duration `json:"waitTime" is:"how long a request waits for messages, 0 to 20 seconds"`
}

// Bounds and defaults of [Poll].
const (
	// RunTimeout is how long one run of a poll may take: the timeout of the function.
	RunTimeout = 30 * time.Second

	minWait, maxWait     = time.Second, 15 * time.Second
	minHidden, maxHidden = RunTimeout, 12 * time.Hour
	minEvery, maxEvery   = time.Minute, 24 * time.Hour

	defaultWait   = time.Second
	defaultHidden = time.Minute
	defaultEvery  = time.Minute
)

// What Backstage does where its block says nothing; the wait is also the longest that it and SQS allow.
const (
	backstageWait       = 20 * time.Second
	backstageAfterEmpty = time.Minute
	backstageTopics     = "$.events.modules.awsSqs.awsSqsConsumingEventPublisher.topics"
)

const (
	exampleQueue  = "arn:aws:sqs:eu-west-1:111122223333:builds"
	maxQueueName  = 80
	maxBucketName = 63
)

// fromQueue are those senders whose webhooks may come by a queue; of those that are true a message can show the proof.
var fromQueue = map[string]bool{
	FromQueue: false, FromGitHub: true, FromGitLab: true, FromBitbucketCloud: true, FromBitbucketDataCenter: true, FromAzureDevOps: false,
	FromGerrit: false, FromGitea: true, FromHMAC: true, FromStandardWebhooks: true,
}

func queueARN() *regexp.Regexp {
	return regexp.MustCompile(`^arn:aws[a-z-]*:sqs:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]+(\.fifo)?$`)
}

func keyARN() *regexp.Regexp {
	return regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)
}

func bucketName() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*[a-z0-9]$`) }

// backstageQueues moves the queues of Backstage's block to the topics. What it says of a poll counts where the topic has
// one.
func backstageQueues(c *Config, found *problems) {
	v := validator{found, c}
	for _, name := range sortedKeys(c.Events.Modules.AWSSQS.Publisher.Topics) {
		b, path := c.Events.Modules.AWSSQS.Publisher.Topics[name], member(backstageTopics, name)
		v.backstageQueue(path, b)
		t, described := c.Topics[name]
		switch {
		case !described:
			t.From = FromQueue
		case t.Queue != "":
			found.add(path, "topics.%s has a queue already: remove one of them", name)
			continue
		case t.From == "": // has been said, but not what is right beside the block
			found.advise(member(member("$.topics", name), "from"), `write "queue", because Backstage's block has the queue of this topic`)
			t.From = FromQueue
		case t.From != FromQueue:
			found.add(path, "topics.%s takes webhooks: give one of them another name, or write the ARN of the queue in topics.%s.queue", name, name)
			continue
		}
		if t.Queue = b.Queue.arn(); !queueARN().MatchString(t.Queue) {
			found.unread = append(found.unread, member("$.topics", name)+".queue") // has been said of the block
		}
		if t.Poll != nil {
			b.completes(t.Poll)
		}
		if c.Topics == nil {
			c.Topics = map[string]Topic{}
		}
		c.Topics[name] = t
	}
}

// backstageQueue checks what Backstage checks, and refuses what has no meaning here.
func (v validator) backstageQueue(path string, b BackstageQueue) {
	if _, _, ok := b.Queue.owner(); !ok {
		v.add(path+".queue.url", "is %q: write the URL of a queue, such as \"https://sqs.eu-west-1.amazonaws.com/111122223333/builds\"", b.Queue.URL)
	}
	if !plainRegion(b.Queue.Region) {
		v.add(path+".queue.region", "is %q: write a region such as \"eu-west-1\"", b.Queue.Region)
	}
	if b.Queue.Endpoint != "" {
		v.add(path+".queue.endpoint", "has no meaning here: the variable AWS_ENDPOINT_URL says where AWS is, and callboard dev has a queue of its own; remove it")
	}
	wait, rest := span(b.Queue.WaitTime, backstageWait), span(b.WaitTimeAfterEmptyReceive, backstageAfterEmpty)
	if wait > backstageWait {
		v.add(path+".queue.waitTime", "is %s: write 0 to 20 seconds", Duration(wait))
	}
	if b.Timeout != nil && time.Duration(*b.Timeout) <= wait+rest {
		v.add(path+".timeout", "is %s: write more than waitTime and waitTimeAfterEmptyReceive together, %s, or remove it", *b.Timeout, Duration(wait+rest))
	}
}

func span(d *Duration, absent time.Duration) time.Duration {
	if d == nil {
		return absent
	}
	return time.Duration(*d)
}

// completes fills in what a poll leaves open, as near to what Backstage would do as a schedule comes.
func (b BackstageQueue) completes(p *Poll) {
	set := func(to *Duration, from *Duration, least, most, step time.Duration) {
		if *to == 0 && from != nil {
			whole := (time.Duration(*from) + step - 1) / step * step
			*to = Duration(min(max(whole, least), most))
		}
	}
	set(&p.WaitTime, b.Queue.WaitTime, minWait, maxWait, time.Second)
	set(&p.VisibilityTimeout, b.Queue.VisibilityTimeout, minHidden, maxHidden, time.Second)
	set(&p.Every, b.WaitTimeAfterEmptyReceive, minEvery, maxEvery, time.Minute)
}

// owner returns the account and the name of the queue, the last two parts of its URL.
func (q QueueAddress) owner() (account, name string, ok bool) {
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" {
		return "", "", false
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) < 2 {
		return "", "", false
	}
	account, name = parts[len(parts)-2], parts[len(parts)-1]
	return account, name, queueARN().MatchString("arn:aws:sqs:region:" + account + ":" + name)
}

func (q QueueAddress) arn() string {
	account, name, _ := q.owner()
	return strings.Join([]string{"arn", partition(q.Region), "sqs", q.Region, account, name}, ":")
}

// partition returns the partition of a region
// (https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html).
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

func plainRegion(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

// fillIn gives what a poll leaves open its default.
func (p *Poll) fillIn() {
	for _, x := range []struct {
		to     *Duration
		absent time.Duration
	}{{&p.Every, defaultEvery}, {&p.WaitTime, defaultWait}, {&p.VisibilityTimeout, defaultHidden}} {
		if *x.to == 0 {
			*x.to = Duration(x.absent)
		}
	}
}

// queue checks what a topic says about a queue of others.
func (v validator) queue(path, name string, t Topic) {
	if t.Queue == "" {
		if t.From == FromQueue {
			v.add(path+".queue", "is missing: write the ARN of the queue that others fill, such as %q", exampleQueue)
		}
		for key, written := range map[string]bool{"poll": t.Poll != nil, "buckets": t.Buckets != nil, "keys": t.Keys != nil} {
			if written && t.From != FromQueue {
				v.add(path+"."+key, "is for a topic with \"queue\" only: remove it")
			}
		}
		return
	}
	if m := queueARN().FindStringSubmatch(t.Queue); m == nil || len(t.Queue)-strings.LastIndexByte(t.Queue, ':')-1 > maxQueueName {
		v.add(path+".queue", "is %q: write the ARN of an SQS queue, such as %q", t.Queue, exampleQueue)
	}
	for _, other := range sortedKeys(v.c.Topics) {
		if other < name && v.c.Topics[other].Queue == t.Queue {
			v.add(path+".queue", "is the queue of topics.%s too, and a message goes to one of them: remove one", other)
		}
	}
	v.queueProof(path, t)
	if t.Poll != nil {
		v.poll(path+".poll", *t.Poll)
	}
	for i, b := range t.Buckets {
		if !bucketName().MatchString(b) || len(b) > maxBucketName {
			v.add(element(path+".buckets", i), "is %q: write the name of a bucket", b)
		}
	}
	for i, k := range t.Keys {
		if !keyARN().MatchString(k) {
			v.add(element(path+".keys", i), "is %q: write the ARN of a KMS key, such as \"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab\"", k)
		}
	}
}

// queueProof checks how the messages of a queue are verified. The policy of the queue says who may send, so that nothing
// has to be said here.
func (v validator) queueProof(path string, t Topic) {
	signed, possible := fromQueue[t.From]
	switch _, known := profiles[t.From]; {
	case !known: // has been said
	case !possible:
		v.add(path+".from", "is %q, for which a message has no place: write \"queue\", or the profile whose webhooks the messages are", t.From)
	case !signed && t.Secrets != nil:
		v.add(path+".secrets", "is of no use: messages from %q cannot show a secret; remove it, the policy of the queue says who may send", t.From)
	case t.From == FromHMAC && t.Secrets == nil:
		v.add(path+".secrets", "is missing: write the names of the secrets that messages are signed with, or \"from\": \"queue\" if they are not")
	}
	if t.Verify != "" {
		v.add(path+".verify", "is of no use with \"queue\", whose policy says who may send: remove it")
	}
	if t.Allow != nil {
		v.add(path+".allow", "is of no use with \"queue\": a message has no address; remove it")
	}
}

func (v validator) poll(path string, p Poll) {
	if every := time.Duration(p.Every); every < minEvery || every > maxEvery || every%time.Minute != 0 {
		v.add(path+".every", "is %s: write whole minutes, 1 minute to 24 hours", p.Every)
	}
	if wait := time.Duration(p.WaitTime); wait < minWait || wait > maxWait || wait%time.Second != 0 {
		v.add(path+".waitTime", "is %s: write whole seconds, 1 to 15", p.WaitTime)
	}
	if hidden := time.Duration(p.VisibilityTimeout); hidden < minHidden || hidden > maxHidden || hidden%time.Second != 0 {
		v.add(path+".visibilityTimeout", "is %s: write whole seconds, 30 seconds to 12 hours", p.VisibilityTimeout)
	}
}

// ByQueue returns the names of the topics whose messages come by a queue of others, in order.
func (c *Config) ByQueue() []string {
	return slices.DeleteFunc(sortedKeys(c.Topics), func(name string) bool { return c.Topics[name].Queue == "" })
}
