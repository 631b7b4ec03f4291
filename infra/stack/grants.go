package stack

import (
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// uses is what a function works with beside its queues and secrets.
type uses struct {
	table    []string // actions on the table; a transaction needs those of its operations
	keys     string   // pattern of the partitions of the table that it uses; "" for all
	blobs    []string // actions on the blobs
	payloads []string // actions on the payloads of large events
	publish  func(topic string) bool
	ingest   bool // sends to the ingest queue
	once     bool // claims events in the table
}

// works returns what each function works with. The actions are those of the requests that its code makes.
func works(c *config.Config, t *topology.Topology) map[string]uses {
	var leases []string // of polls
	for _, name := range c.ByQueue() {
		if c.Topics[name].Poll != nil {
			leases = []string{"PutItem", "DeleteItem"}
		}
	}
	var bodies []string
	if c.Repeats() {
		bodies = []string{"GetItem", "PutItem", "DeleteItem"}
	}
	// What was too large to be parked comes back to the function.
	publisherPayloads := []string{"PutObject"}
	if len(t.Foreign) > 0 {
		publisherPayloads = []string{"GetObject", "PutObject"}
	}
	// What was large for the ingress is in the bucket already. An event is also stored on a later hop: what queues of
	// others bring, and what became too large on its way, as an export that was removed lowers the limit.
	known := map[string]uses{
		topology.Ingress: {ingest: true, table: bodies, keys: "body#*", payloads: []string{"PutObject"}},
		topology.SQSPublisher: {table: leases, keys: "poll#*", payloads: publisherPayloads, publish: func(t string) bool {
			root, isRoot := c.Topics[t]
			return isRoot && root.From != config.FromPublish
		}},
		topology.Router: {payloads: []string{"GetObject", "PutObject"}, publish: func(t string) bool {
			return len(c.Topics[root(t)].SubTopic) > 0 && t != root(t)
		}},
		topology.CatalogSync: {
			table:    []string{"GetItem", "BatchGetItem", "Query", "PutItem", "DeleteItem", "BatchWriteItem"},
			blobs:    []string{"GetObject", "PutObject", "DeleteObject"},
			payloads: []string{"GetObject"},
			publish:  func(t string) bool { return t == config.TopicCatalogChanged || t == config.TopicCatalogError },
		},
		topology.Notify:           {table: []string{"GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem"}, payloads: []string{"GetObject"}},
		topology.CatalogAPI:       {table: []string{"GetItem", "BatchGetItem", "Query"}, blobs: []string{"GetObject"}},
		topology.NotificationsAPI: {table: []string{"GetItem", "Query", "PutItem", "UpdateItem"}},
	}
	for _, f := range t.Functions {
		if f.Build != "" && !config.InPlaceOfOurs(f.Name) {
			u := uses{publish: f.MayPublish, payloads: []string{"GetObject"}}
			if len(f.Publish) > 0 {
				u.payloads = append(u.payloads, "PutObject")
			}
			known[f.Name] = u
		}
		if f.Build != "" && config.InPlaceOfOurs(f.Name) && len(f.Queues) > 0 {
			known[f.Name] = replaced(known[f.Name])
		}
		if u := known[f.Name]; claims(f) {
			u.once = true
			known[f.Name] = u
		}
	}
	return known
}

// replaced returns what a program in the place of one of ours works with that reads queues: what ours does, and what
// subscriber.Start needs, which gets every event whole and has a publisher.
func replaced(u uses) uses {
	needed := []string{"GetObject"}
	if u.publish == nil {
		u.publish = func(string) bool { return false }
	} else {
		needed = append(needed, "PutObject")
	}
	for _, action := range needed {
		if !slices.Contains(u.payloads, action) {
			u.payloads = append(u.payloads, action)
		}
	}
	return u
}

// published returns the topics that a function publishes to.
func (b *builder) published(u uses) []*topic {
	var list []*topic
	for _, t := range b.topo.Topics {
		if u.publish != nil && u.publish(t.Name) {
			list = append(list, b.topics[t.Name])
		}
	}
	return list
}

// environment returns the variables of a function: what its code cannot know before it is deployed.
func (b *builder) environment(f topology.Function, u uses) map[string]*string {
	variables := map[string]*string{"CALLBOARD_PREFIX": jsii.String(b.topo.Prefix)}
	if len(u.table) > 0 || u.once {
		variables["CALLBOARD_TABLE"] = b.table.TableName()
	}
	if len(u.blobs)+len(u.payloads) > 0 {
		variables["CALLBOARD_BUCKET"] = b.bucket.BucketName()
	}
	if u.ingest {
		variables["CALLBOARD_INGEST_QUEUE_URL"] = b.queues[topology.QueueIngest].sqs.QueueUrl()
	}
	if u.publish != nil {
		variables["CALLBOARD_TOPIC_ARN_PREFIX"] = jsii.String(strings.Join([]string{"arn", *awscdk.Aws_PARTITION(), "sns", *awscdk.Aws_REGION(), *awscdk.Aws_ACCOUNT_ID(), ""}, ":"))
	}
	if f.DeadLetter != "" {
		variables["CALLBOARD_DEAD_LETTER_QUEUE_URL"] = b.queues[f.DeadLetter].sqs.QueueUrl()
	}
	if f.Build != "" {
		variables["CALLBOARD_FUNCTION"] = jsii.String(f.Name)
	}
	for name, value := range f.Environment {
		variables[name] = jsii.String(value)
	}
	return variables
}

// grants returns what a function may do.
func (b *builder) grants(f topology.Function, u uses) []grant {
	var list []grant
	if len(f.Queues) > 0 {
		var arns []*string
		for _, name := range f.Queues {
			arns = append(arns, b.queues[name].sqs.QueueArn())
		}
		list = append(list,
			// The first three are Lambda's own, which polls with the rights of the function.
			allow("ReadQueues", []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"}, arns...),
			allow("Park", []string{"sqs:SendMessage"}, b.queues[f.DeadLetter].sqs.QueueArn()))
	}
	if u.ingest {
		list = append(list, allow("SendToIngest", []string{"sqs:SendMessage"}, b.queues[topology.QueueIngest].sqs.QueueArn()))
	}
	if topics := b.published(u); len(topics) > 0 {
		var arns []*string
		for _, t := range topics {
			arns = append(arns, t.sns.TopicArn())
		}
		actions := []string{"sns:Publish"}
		if b.options.Emulator { // in AWS the right to publish covers batches
			actions = append(actions, "sns:PublishBatch")
		}
		list = append(list, allow("Publish", actions, arns...))
	}
	if len(u.table) > 0 {
		list = append(list, allow("UseTable", prefixed("dynamodb:", u.table), b.table.TableArn()).within(u.keys))
	}
	if u.once {
		list = append(list, b.onceGrant())
	}
	if len(u.blobs) > 0 {
		list = append(list,
			allow("UseBlobs", prefixed("s3:", u.blobs), b.bucket.ArnForObjects(jsii.String(blobs))),
			// Without it S3 answers "forbidden" for a blob that is gone, and nobody could tell the one from the other.
			allow("MissBlobs", []string{"s3:ListBucket"}, b.bucket.BucketArn()))
	}
	if len(u.payloads) > 0 { // whether one is missing or forbidden makes no difference
		list = append(list, allow("UsePayloads", prefixed("s3:", u.payloads), b.bucket.ArnForObjects(jsii.String(payloads))))
	}
	list = append(list, b.foreignGrants(f)...)
	list = append(list, b.secretGrants(f)...)
	if b.key != nil {
		list = append(list, allow("UseKey", keyActions(u), b.key.KeyArn()))
	}
	return list
}

// keyActions returns what a function does with the customer key through the services. DynamoDB needs more than the
// others (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html).
func keyActions(u uses) []string {
	actions := []string{"kms:Decrypt", "kms:GenerateDataKey"}
	if len(u.table) > 0 || u.once {
		actions = append(actions, "kms:DescribeKey", "kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo")
	}
	return actions
}

// secretGrants allows a function to read its secrets: those of the stack, and those that it has references to.
func (b *builder) secretGrants(f topology.Function) []grant {
	var values, parameters []*string
	for _, name := range f.Secrets {
		switch kind, target, reference := isReference(name); {
		case !reference:
			values = append(values, b.secrets[name])
		case kind == "secretsmanager":
			values = append(values, jsii.String(target))
		case kind == "ssm":
			parameters = append(parameters, b.stack.FormatArn(&awscdk.ArnComponents{
				Service: jsii.String("ssm"), Resource: jsii.String("parameter"), ResourceName: jsii.String(strings.TrimPrefix(target, "/")),
			}))
		}
	}
	var list []grant
	if len(values) > 0 {
		list = append(list, allow("ReadSecrets", []string{"secretsmanager:GetSecretValue"}, values...))
	}
	if len(parameters) > 0 {
		list = append(list, allow("ReadParameters", []string{"ssm:GetParameter"}, parameters...))
	}
	return list
}

// secretARNs matches the whole ARN of a secret: its name, and "-" and 6 characters that Secrets Manager chose
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/permissions_grant-limited-resources.html).
var secretARNs = regexp.MustCompile(`^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}$`)

// check refuses what a stack cannot do, before anything is made.
func check(t *topology.Topology, c *config.Config, o Options) error {
	if len(t.Prefix) > maxBucketPrefix {
		return events.Errorf(events.CodeInvalid, "the prefix %q is too long for the name of the bucket: it can have %d characters", t.Prefix, maxBucketPrefix)
	}
	known := works(c, t)
	reserved := 0
	for _, f := range t.Functions {
		if _, ok := known[f.Name]; !ok {
			return events.Errorf(events.CodeInternal, "the stack does not know what the function %s works with: say it in works, infra/stack/grants.go", f.Name)
		}
		for _, name := range f.Secrets {
			kind, target, ok := isReference(name)
			if ok && kind != "secretsmanager" && kind != "ssm" {
				return events.Errorf(events.CodeInvalid, "the secret %q of the function %s is on somebody's machine: AWS reads names, \"secretsmanager:\" and \"ssm:\"", name, f.Name)
			}
			if kind == "secretsmanager" && !secretARNs.MatchString(target) {
				return events.Errorf(events.CodeInvalid, "the secret %q of the function %s does not name an ARN, and a role can allow nothing else: "+
					"write all of it, with the six characters at its end, such as \"secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:hook-AbCdEf\"", name, f.Name)
			}
		}
		n, ok := o.Reserved[f.Name]
		if !ok {
			continue
		}
		reserved++
		if sum := concurrency(t, f); n < sum {
			return events.Errorf(events.CodeInvalid, "the function %s would have a reserved concurrency of %d where its queues and schedules start up to %d: reserve more", f.Name, n, sum)
		}
	}
	if reserved < len(o.Reserved) {
		return events.Errorf(events.CodeInvalid, "the context value \"reserved\" names a function that this configuration does not have")
	}
	return nil
}

// concurrency returns how many invocations the queues and schedules of a function start at the same time. Of a schedule
// that is one: the polls of a queue do not overlap, and a sweep that has to wait loses nothing.
func concurrency(t *topology.Topology, f topology.Function) int {
	sum := 0
	for _, q := range t.Queues {
		if slices.Contains(f.Queues, q.Name) {
			sum += q.MaxConcurrency
		}
	}
	for _, q := range t.Foreign {
		if q.Function == f.Name && q.Poll == nil {
			sum += q.MaxConcurrency
		}
	}
	for _, s := range t.Schedules {
		if s.Function == f.Name {
			sum++
		}
	}
	return sum
}

func prefixed(prefix string, names []string) []string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = prefix + n
	}
	return list
}
