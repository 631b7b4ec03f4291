// Package stack is the AWS stack of a configuration: everything of its topology, with a construct for each pattern, so
// that no queue, function or subscription can be written without what makes it safe.
package stack

import (
	"maps"
	"path/filepath"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
)

// builder holds what has been added to the stack.
type builder struct {
	stack     awscdk.Stack
	conf      *config.Config
	topo      *topology.Topology
	options   Options
	key       awskms.IKey // nil for the keys of the services
	alarms    *alarms
	table     awsdynamodb.ITable
	bucket    awss3.IBucket
	secrets   map[string]*string   // ARNs by name
	topics    map[string]*topic    // by name
	queues    map[string]*queue    // by name
	functions map[string]*function // by name
	api       *api
	policy    awss3.BucketPolicy // of the bucket
}

// New adds the stack of a configuration to an app; its name is the prefix. The folder programs has a folder for each
// function, with its program and a copy of the configuration. New fails with [config.Errors] or an [events.Error] if the
// configuration cannot be deployed like this.
func New(app awscdk.App, c *config.Config, o Options, programs string) (awscdk.Stack, error) {
	named := *c
	named.AWS.Prefix = c.AWS.PrefixIn(o.Environment)
	t, err := topology.Build(&named)
	if err != nil {
		return nil, err
	}
	if err := check(t, c, o); err != nil {
		return nil, err
	}
	b := &builder{
		conf: c, topo: t, options: o,
		stack: awscdk.NewStack(app, &t.Prefix, &awscdk.StackProps{
			Description:           jsii.String("Callboard: webhooks to events, a software catalog and notifications"),
			TerminationProtection: &o.Protect,
		}),
		secrets: map[string]*string{}, topics: map[string]*topic{}, queues: map[string]*queue{}, functions: map[string]*function{},
	}
	switch {
	case o.KeyARN != "":
		b.key = awskms.Key_FromKeyArn(b.stack, jsii.String("Key"), &o.KeyARN)
	case o.CustomerKey:
		b.key = newKey(b.stack, t.Prefix, o.Retain)
	}
	b.alarms = newAlarms(b.stack, t.Prefix, b.key, o)
	b.addStores()
	b.addSecrets()
	for _, x := range t.Topics {
		b.topics[x.Name] = newTopic(b.stack, x, t.Limit(x.Name), b.key)
	}
	b.addQueues()
	b.admitConsumers()
	b.addFunctions(programs)
	b.api = newAPI(b.stack, t, b.functions, b.key, o)
	b.addSchedules()
	b.alarms.path(b)
	b.alarms.own(t.GivenSecrets(), b.hosts())
	b.alarms.exports(c.Exports)
	b.dashboard()
	if !o.Emulator {
		b.queries()
	}
	b.api.outputs(b.stack, b)
	b.exportOutputs()
	b.foreignOutputs()
	return b.stack, nil
}

// addStores adds the table and the bucket, or takes those that are there.
func (b *builder) addStores() {
	table, bucket := b.topo.Prefix+"-table", bucketName(b.topo.Prefix)
	if b.options.Adopt {
		b.table = awsdynamodb.TableV2_FromTableName(b.stack, jsii.String("Table"), &table)
		b.bucket = awss3.Bucket_FromBucketName(b.stack, jsii.String("Blobs"), &bucket)
	} else {
		b.table = newTable(b.stack, table, b.key, b.options.Retain)
		b.bucket = newBucket(b.stack, bucket, b.key, b.options.Retain)
	}
	b.policy = refusePlain(b.stack, b.bucket)
	if b.options.Retain || b.options.Adopt { // else somebody empties the bucket before the stack goes, and the bucket with it
		keepPayloads(b.policy, b.bucket)
	}
}

// addSecrets adds the secrets of all functions, or takes those that are there.
func (b *builder) addSecrets() {
	ours := b.topo.Secrets()
	for _, name := range sortedKeys(ours) {
		if _, _, reference := isReference(name); reference {
			continue
		}
		if b.options.Adopt {
			b.secrets[name] = secretARN(b.stack, b.topo.Prefix, name)
		} else {
			b.secrets[name] = newSecret(b.stack, b.topo.Prefix, name, ours[name], b.key, b.options)
		}
	}
}

// addQueues adds the queues; those for dead letters come first, because others name them.
func (b *builder) addQueues() {
	for _, deadLetters := range []bool{true, false} {
		for _, q := range b.topo.Queues {
			if (q.DeadLetter == "") != deadLetters {
				continue
			}
			var topics []*topic
			for _, s := range b.topo.Subscriptions {
				if t := b.topics[s.Topic]; (s.Queue == q.Name || s.DeadLetter == q.Name) && !slices.Contains(topics, t) {
					topics = append(topics, t)
				}
			}
			b.queues[q.Name] = newQueue(b.stack, q, b.queues[q.DeadLetter], topics, b.key, b.alarms)
		}
	}
}

// addFunctions adds the functions with the queues they read and the subscriptions of these. An update of the stack goes
// against the stream: who reads a topic knows it before it is subscribed to, it is subscribed to before anybody publishes
// to it, and the ingress, which starts everything, comes last. What is removed goes after all of that.
func (b *builder) addFunctions(programs string) {
	known := works(b.conf, b.topo)
	for _, f := range b.topo.Functions {
		u := known[f.Name]
		b.functions[f.Name] = newFunction(b.stack, f, filepath.Join(programs, f.Name), b.environment(f, u), b.grants(f, u), b.key, b.options)
		b.functions[f.Name].alarms(b.alarms)
	}
	for _, q := range b.topo.Queues {
		if q.Function != "" {
			b.functions[q.Function].reads(b.stack, b.queues[q.Name])
		}
	}
	for _, q := range b.topo.Foreign {
		b.functions[q.Function].readsForeign(b.stack, q, b.alarms)
	}
	for _, s := range b.topo.Subscriptions {
		to := b.queues[s.Queue]
		b.topics[s.Topic].subscribe(b.stack, s, to, b.queues[s.DeadLetter], b.functions[to.Function])
	}
	for _, f := range b.topo.Functions {
		u := known[f.Name]
		for _, t := range b.published(u) {
			b.functions[f.Name].lambda.Node().AddDependency(t.sns)
			for _, s := range t.subscriptions {
				if config.InPlaceOfOurs(f.Name) || !b.reaches(known, s.reader, f.Name, map[string]bool{}) {
					b.functions[f.Name].lambda.Node().AddDependency(s.made)
				}
			}
		}
		if u.ingest {
			b.functions[f.Name].lambda.Node().AddDependency(b.functions[topology.SQSPublisher].lambda)
		}
	}
}

// reaches tells whether what a function publishes comes to another one, maybe by others. Functions of somebody's own may
// answer what comes of their own events, and then none of the circle can be there before the others: they do not wait.
func (b *builder) reaches(known map[string]uses, from, to string, seen map[string]bool) bool {
	if from == to || from == "" || seen[from] {
		return from == to
	}
	seen[from] = true
	for _, t := range b.published(known[from]) {
		for _, s := range t.subscriptions {
			if b.reaches(known, s.reader, to, seen) {
				return true
			}
		}
	}
	return false
}

func (b *builder) addSchedules() {
	var scheduled []string
	for _, s := range b.topo.Schedules {
		f := b.functions[s.Function]
		newSchedule(b.stack, s, f)
		if !slices.Contains(scheduled, f.Name) {
			once(b.stack, f)
			scheduled = append(scheduled, f.Name)
		}
	}
}

// hosts returns the hosts whose APIs are asked.
func (b *builder) hosts() []string {
	hosts := map[string]bool{}
	for _, p := range b.conf.Catalog.Providers.GitHub {
		hosts[p.Host] = true
	}
	return sortedKeys(hosts)
}

// serviceUse lets a service of the account use the key that the statement belongs to: in the policy of a key "*" is
// that key.
func serviceUse(name string) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Principals: &[]awsiam.IPrincipal{service(name + ".amazonaws.com")},
		Actions:    jsii.Strings("kms:Decrypt", "kms:GenerateDataKey"),
		Resources:  jsii.Strings("*"),
		Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()}},
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
