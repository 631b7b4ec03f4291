package stack_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/callboard/callboard/internal/topology"
)

// What functions do with the table and the blobs, and what the services need for the customer key.
var (
	tableActions = map[string][]string{
		topology.CatalogSync:      {"GetItem", "BatchGetItem", "Query", "PutItem", "DeleteItem", "BatchWriteItem"},
		topology.Notify:           {"GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem"},
		topology.CatalogAPI:       {"GetItem", "BatchGetItem", "Query"},
		topology.NotificationsAPI: {"GetItem", "Query", "PutItem", "UpdateItem"},
	}
	blobActions = map[string][]string{
		topology.CatalogSync: {"GetObject", "PutObject", "DeleteObject"},
		topology.CatalogAPI:  {"GetObject"},
	}
	payloadActions = map[string][]string{
		topology.Ingress:      {"PutObject"},
		topology.SQSPublisher: {"PutObject"},
		topology.Router:       {"GetObject", "PutObject"},
		topology.CatalogSync:  {"GetObject"},
		topology.Notify:       {"GetObject"},
	}
	keyActions      = []string{"kms:Decrypt", "kms:GenerateDataKey"}
	tableKeyActions = []string{"kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey", "kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo"}
)

// offendGrants compares the statements of each function, as a whole, with those that follow from the topology.
func offendGrants(t *template) []string {
	var bad []string
	for _, f := range t.topo.Functions {
		_, r := t.named("AWS::Lambda::Function", "FunctionName", f.AWSName)
		var got []string
		for _, s := range t.roleStatements(target(r.get("Role"))) {
			s = maps.Clone(s)
			s["Action"], s["Resource"] = texts(s["Action"]), texts(s["Resource"])
			got = append(got, text(s))
		}
		want := t.rights(f, r.get("TracingConfig.Mode") == "Active")
		for _, s := range got {
			if !slices.Contains(want, s) {
				bad = append(bad, f.Name+" has the right "+s)
			}
		}
		for _, s := range want {
			if !slices.Contains(got, s) {
				bad = append(bad, f.Name+" has not the right "+s)
			}
		}
		if len(got) != len(want) {
			bad = append(bad, fmt.Sprintf("%s has %d rights, not %d", f.Name, len(got), len(want)))
		}
	}
	return bad
}

// mayDoToPayloads returns what a function needs of the payloads of large events: one of somebody's own reads them, and
// stores those that it publishes, also in the place of one of ours that has queues.
func (t *template) mayDoToPayloads(f topology.Function) []string {
	switch {
	case f.Build != "" && (f.Name == topology.SQSPublisher || f.Name == topology.CatalogSync):
		return []string{"GetObject", "PutObject"}
	case f.Name == topology.SQSPublisher && len(t.topo.Foreign) > 0: // what could not be parked otherwise comes back
		return []string{"GetObject", "PutObject"}
	case f.Build == "" || payloadActions[f.Name] != nil:
		return payloadActions[f.Name]
	case len(f.Publish) > 0:
		return []string{"GetObject", "PutObject"}
	}
	return []string{"GetObject"}
}

// right writes a statement; those of the CDK have no name.
func right(name string, actions, resources []string) string {
	slices.Sort(resources)
	s := object{"Effect": "Allow", "Action": slices.Sorted(slices.Values(actions)), "Resource": slices.Compact(resources)}
	if name != "" {
		s["Sid"] = name
	}
	return text(s)
}

// rights returns the statements that a function needs.
func (t *template) rights(f topology.Function, traced bool) []string {
	group, _ := t.named("AWS::Logs::LogGroup", "LogGroupName", "/aws/lambda/"+f.AWSName)
	all := []string{right("WriteLog", []string{"logs:CreateLogStream", "logs:PutLogEvents"}, []string{attribute(group, "Arn")})}
	add := func(name string, resources []string, actions ...string) {
		if len(resources) > 0 {
			all = append(all, right(name, actions, resources))
		}
	}
	var queues []string
	for _, name := range f.Queues {
		queues = append(queues, t.queueARN(name))
	}
	add("ReadQueues", queues, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility")
	if f.DeadLetter != "" {
		add("Park", []string{t.queueARN(f.DeadLetter)}, "sqs:SendMessage")
	}
	if f.Name == topology.Ingress {
		add("SendToIngest", []string{t.queueARN(topology.QueueIngest)}, "sqs:SendMessage")
	}
	add("Publish", t.published(f.Name), "sns:Publish")
	table, bucket := attribute("Table", "Arn"), attribute("Blobs", "Arn")
	objects, payloads := `{"Fn::Join":["",[`+bucket+`,"/catalog/*"]]}`, `{"Fn::Join":["",[`+bucket+`,"/events/*"]]}`
	if t.adopted {
		table, bucket, objects = ofAccount("dynamodb", "table/"+t.topo.Prefix+"-table"), adoptedBucket(""), adoptedBucket("/catalog/*")
		payloads = adoptedBucket("/events/*")
	}
	if f.Name == topology.SQSPublisher {
		t.addForeign(add)
	}
	within := func(name, partitions string, actions []string) {
		all = append(all, text(object{
			"Sid": name, "Effect": "Allow", "Resource": []string{table}, "Action": slices.Sorted(slices.Values(prefixed("dynamodb:", actions))),
			"Condition": object{"ForAllValues:StringLike": object{"dynamodb:LeadingKeys": []string{partitions}}},
		}))
	}
	switch actions := t.tableActions(f.Name); {
	case actions == nil:
	case f.Name == topology.Ingress:
		within("UseTable", "body#*", actions)
	case f.Name == topology.SQSPublisher:
		within("UseTable", "poll#*", actions)
	default:
		add("UseTable", []string{table}, prefixed("dynamodb:", actions)...)
	}
	if claims(f) {
		within("UseOnce", "once#*", []string{"DeleteItem", "GetItem", "PutItem"})
	}
	if actions := blobActions[f.Name]; actions != nil {
		add("UseBlobs", []string{objects}, prefixed("s3:", actions)...)
		add("MissBlobs", []string{bucket}, "s3:ListBucket")
	}
	if actions := t.mayDoToPayloads(f); actions != nil {
		add("UsePayloads", []string{payloads}, prefixed("s3:", actions)...)
	}
	secrets, parameters := t.secretARNs(f)
	add("ReadSecrets", secrets, "secretsmanager:GetSecretValue")
	add("ReadParameters", parameters, "ssm:GetParameter")
	if key := t.Resources["Alarms"].get("KmsMasterKeyId"); key != nil {
		actions := keyActions
		if t.tableActions(f.Name) != nil || claims(f) {
			actions = tableKeyActions
		}
		add("UseKey", texts(key), actions...)
	}
	if traced {
		add("", []string{"*"}, "xray:PutTelemetryRecords", "xray:PutTraceSegments")
	}
	return all
}

// tableActions returns what a function does with the table. Whoever asks queues of others has leases there. The ingress keeps
// the bodies of topics that say so, and nothing else.
func (t *template) tableActions(function string) []string {
	if function == topology.SQSPublisher && slices.ContainsFunc(t.topo.Foreign, func(q topology.ForeignQueue) bool { return q.Poll != nil }) {
		return []string{"PutItem", "DeleteItem"}
	}
	if function == topology.Ingress && t.conf.Repeats() {
		return []string{"GetItem", "PutItem", "DeleteItem"}
	}
	return tableActions[function]
}

// claims tells whether a function remembers events that it has handled: one of somebody's own that reads a queue.
func claims(f topology.Function) bool { return f.Build != "" && f.DeadLetter != "" }

// addForeign adds the rights to read queues of others.
func (t *template) addForeign(add func(name string, resources []string, actions ...string)) {
	var mapped, polled, objects, keys []string
	for _, q := range t.topo.Foreign {
		if q.Poll == nil {
			mapped = append(mapped, q.ARN)
		} else {
			polled = append(polled, q.ARN)
		}
		for _, bucket := range q.Buckets {
			objects = append(objects, `{"Fn::Join":["",["arn:",{"Ref":"AWS::Partition"},":s3:::`+bucket+`/*"]]}`)
		}
		keys = append(keys, q.Keys...)
	}
	add("ReadQueuesOfOthers", mapped, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility")
	add("PollQueuesOfOthers", polled, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
	add("ReadObjectsOfOthers", objects, "s3:GetObject")
	add("UseKeysOfOthers", keys, "kms:Decrypt")
}

func (t *template) queueARN(name string) string {
	id, _ := t.named("AWS::SQS::Queue", "QueueName", t.topo.Prefix+"-"+name)
	return attribute(id, "Arn")
}

// published returns the topics that a function publishes to: webhooks come to root topics, the router sends them to
// sub-topics, what happens to the catalog is told by who changes it, and functions of somebody's own say what they publish.
func (t *template) published(function string) []string {
	var arns []string
	own := t.conf.Functions[function].Publish
	for _, x := range t.topo.Topics {
		by := topology.SQSPublisher
		root, _, sub := strings.Cut(x.Name, ".")
		switch topic := t.conf.Topics[root]; {
		case root == "catalog":
			by = topology.CatalogSync
		case sub && len(topic.SubTopic) > 0:
			by = topology.Router
		case sub || topic.From == "publish":
			by = ""
		}
		if by == function || slices.Contains(own, x.Name) {
			id, _ := t.named("AWS::SNS::Topic", "TopicName", x.AWSName)
			arns = append(arns, text(object{"Ref": id}))
		}
	}
	return arns
}

// secretARNs returns what a function reads of Secrets Manager, and of the parameters.
func (t *template) secretARNs(f topology.Function) (secrets, parameters []string) {
	for _, name := range f.Secrets {
		if arn, ok := strings.CutPrefix(name, "secretsmanager:"); ok {
			secrets = append(secrets, arn)
			continue
		}
		if path, ok := strings.CutPrefix(name, "ssm:/"); ok {
			parameters = append(parameters, ofAccount("ssm", "parameter/"+path))
			continue
		}
		if t.adopted {
			secrets = append(secrets, ofAccount("secretsmanager", "secret:"+t.topo.Prefix+"/"+name+"-??????"))
			continue
		}
		id, _ := t.named("AWS::SecretsManager::Secret", "Name", t.topo.Prefix+"/"+name)
		secrets = append(secrets, attribute(id, "Id"))
	}
	return secrets, parameters
}

// attribute writes what refers to an attribute of a resource.
func attribute(id, name string) string { return text(object{"Fn::GetAtt": []any{id, name}}) }

func prefixed(prefix string, names []string) []string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = prefix + n
	}
	return list
}
