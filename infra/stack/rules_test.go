package stack_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
)

// maxResources leaves room below the 500 that a stack can have
// (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html).
const maxResources = 400

// wildcards are the statements that may have a wildcard, each with its reason.
var wildcards = map[string]string{
	`xray:PutTelemetryRecords,xray:PutTraceSegments *`:                                                           "X-Ray has no resources",
	`s3:DeleteObject,s3:GetObject,s3:PutObject {"Fn::Join":["",[{"Fn::GetAtt":["Blobs","Arn"]},"/catalog/*"]]}`:  "the keys of blobs are made while it runs",
	`s3:GetObject {"Fn::Join":["",[{"Fn::GetAtt":["Blobs","Arn"]},"/catalog/*"]]}`:                               "the keys of blobs are made while it runs",
	`s3:DeleteObject,s3:GetObject,s3:PutObject ` + adoptedBucket("/catalog/*"):                                   "the keys of blobs are made while it runs",
	`s3:GetObject ` + adoptedBucket("/catalog/*"):                                                                "the keys of blobs are made while it runs",
	`s3:PutObject {"Fn::Join":["",[{"Fn::GetAtt":["Blobs","Arn"]},"/events/*"]]}`:                                "the keys of payloads are made while it runs",
	`s3:GetObject {"Fn::Join":["",[{"Fn::GetAtt":["Blobs","Arn"]},"/events/*"]]}`:                                "the keys of payloads are made while it runs",
	`s3:PutObject ` + adoptedBucket("/events/*"):                                                                 "the keys of payloads are made while it runs",
	`s3:GetObject ` + adoptedBucket("/events/*"):                                                                 "the keys of payloads are made while it runs",
	`s3:GetObject,s3:PutObject {"Fn::Join":["",[{"Fn::GetAtt":["Blobs","Arn"]},"/events/*"]]}`:                   "the keys of payloads are made while it runs",
	`s3:GetObject,s3:PutObject ` + adoptedBucket("/events/*"):                                                    "the keys of payloads are made while it runs",
	`s3:GetObject {"Fn::Join":["",["arn:",{"Ref":"AWS::Partition"},":s3:::releases-payloads/*"]]}`:               "others choose the keys of the bodies of their messages",
	`secretsmanager:GetSecretValue ` + ofAccount("secretsmanager", "secret:callboard-dev/builds-webhook-??????"): "Secrets Manager chooses the last six characters",
	`secretsmanager:GetSecretValue ` + ofAccount("secretsmanager", "secret:callboard-dev/frobs-api-??????"):      "Secrets Manager chooses the last six characters",
	`secretsmanager:GetSecretValue ` + ofAccount("secretsmanager", "secret:callboard-dev/ghe-token-??????"):      "Secrets Manager chooses the last six characters",
	`secretsmanager:GetSecretValue ` + ofAccount("secretsmanager", "secret:callboard-dev/github-token-??????"):   "Secrets Manager chooses the last six characters",
	`secretsmanager:GetSecretValue ` + ofAccount("secretsmanager", "secret:callboard-dev/github-webhook-??????"): "Secrets Manager chooses the last six characters",
	`secretsmanager:GetSecretValue ` + ofAccount("secretsmanager", "secret:callboard-dev/portal-token-??????"):   "Secrets Manager chooses the last six characters",
}

// rule is something that holds for every stack.
type rule struct {
	name string
	// offenders returns what breaks the rule.
	offenders func(t *template) []string
	// breaks are changes of the template of a variant, each of which breaks the rule.
	breaks map[string]func(t *template)
	on     *variant // nil is plain
}

var rules = []rule{
	{name: "everything of the topology is there", offenders: offendTopology, breaks: map[string]func(*template){
		"queue":        func(t *template) { drop(t, "AWS::SQS::Queue", "Notify6") },
		"topic":        func(t *template) { drop(t, "AWS::SNS::Topic", "CatalogChanged") },
		"subscription": func(t *template) { drop(t, "AWS::SNS::Subscription", "GithubPush") },
		"function":     func(t *template) { drop(t, "AWS::Lambda::Function", "Router") },
		"route": func(t *template) {
			t.one("AWS::ApiGatewayV2::Route", "Events").Properties["RouteKey"] = "POST /events/http/{topic}"
		},
		"integration": func(t *template) { drop(t, "AWS::ApiGatewayV2::Integration", "Ingress") },
		"permission":  func(t *template) { drop(t, "AWS::Lambda::Permission", "Ingress") },
		"mapping":     func(t *template) { drop(t, "AWS::Lambda::EventSourceMapping", "Ingest") },
		"schedule":    func(t *template) { drop(t, "AWS::Scheduler::Schedule", "Sweep") },
		"permission for any API": func(t *template) {
			t.one("AWS::Lambda::Permission", "Ingress").Properties["SourceArn"] = object{"Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:*"}
		},
		"permission for anybody": func(t *template) { delete(t.one("AWS::Lambda::Permission", "Ingress").Properties, "SourceArn") },
		"one permission more": func(t *template) {
			more := *t.one("AWS::Lambda::Permission", "Ingress")
			more.Properties = maps.Clone(more.Properties)
			more.Properties["Principal"] = "*"
			t.Resources["More"] = &more
		},
		"schedule of any account": func(t *template) {
			delete(statements(t.one("AWS::IAM::Role", "ScheduleOutboxSweep").get("AssumeRolePolicyDocument"))[0], "Condition")
		},
		"schedule of another account": func(t *template) {
			trust := statements(t.one("AWS::IAM::Role", "ScheduleOutboxSweep").get("AssumeRolePolicyDocument"))[0]
			get(trust, "Condition.StringEquals").(object)["aws:SourceAccount"] = "111122223333"
		},
		"right of the schedule": func(t *template) {
			t.one("AWS::IAM::Role", "ScheduleOutboxSweep").Properties["Policies"] = []any{}
		},
	}},
	{name: "queues of others are read as the configuration says", offenders: offendTopology, breaks: map[string]func(*template){
		"mapping": func(t *template) { drop(t, "AWS::Lambda::EventSourceMapping", "MappingForeign") },
		"mapped and polled": func(t *template) {
			t.one("AWS::Lambda::EventSourceMapping", "MappingForeign").Properties["EventSourceArn"] = "arn:aws:sqs:us-west-2:444455556666:far"
		},
		"schedule": func(t *template) { drop(t, "AWS::Scheduler::Schedule", "PollFar") },
	}, on: full},
	{name: "queues are encrypted", offenders: offendEncryption, breaks: map[string]func(*template){
		"none": func(t *template) {
			delete(t.one("AWS::SQS::Queue", "").Properties, "SqsManagedSseEnabled")
			delete(t.one("AWS::SQS::Queue", "").Properties, "KmsMasterKeyId")
		},
	}},
	{name: "queues, topics and buckets refuse requests without TLS", offenders: offendTLS, breaks: map[string]func(*template){
		"queue":  func(t *template) { drop(t, "AWS::SQS::QueuePolicy", "Ingest") },
		"topic":  func(t *template) { drop(t, "AWS::SNS::TopicPolicy", "Github") },
		"alarms": func(t *template) { drop(t, "AWS::SNS::TopicPolicy", "Alarms") },
		"bucket": func(t *template) { drop(t, "AWS::S3::BucketPolicy", "") },
		"allows": func(t *template) {
			for _, s := range statements(t.one("AWS::SQS::QueuePolicy", "Ingest").get("PolicyDocument")) {
				s["Effect"] = "Allow"
			}
		},
	}},
	{name: "messages are kept 4 days, what others read 7, dead letters 14", offenders: offendRetention, breaks: map[string]func(*template){
		"source":  func(t *template) { t.one("AWS::SQS::Queue", "Ingest").Properties["MessageRetentionPeriod"] = 60.0 },
		"default": func(t *template) { delete(t.one("AWS::SQS::Queue", "Ingest").Properties, "MessageRetentionPeriod") },
		"dead letter": func(t *template) {
			t.one("AWS::SQS::Queue", "RouterDlq").Properties["MessageRetentionPeriod"] = 345600.0
		},
	}},
	{name: "queues that are read have dead letters after 5 receives or more", offenders: offendRedrive, breaks: map[string]func(*template){
		"none": func(t *template) { delete(t.one("AWS::SQS::Queue", "Ingest").Properties, "RedrivePolicy") },
		"too few": func(t *template) {
			t.one("AWS::SQS::Queue", "Ingest").Properties["RedrivePolicy"].(object)["maxReceiveCount"] = 4.0
		},
		"elsewhere": func(t *template) {
			t.one("AWS::SQS::Queue", "Ingest").Properties["RedrivePolicy"].(object)["deadLetterTargetArn"] = "arn:aws:sqs:eu-west-1:1:x"
		},
		"to itself": func(t *template) {
			id := t.ids("AWS::SQS::Queue")[slices.IndexFunc(t.ids("AWS::SQS::Queue"), func(s string) bool { return strings.Contains(s, "Ingest") })]
			t.Resources[id].Properties["RedrivePolicy"].(object)["deadLetterTargetArn"] = object{"Fn::GetAtt": []any{id, "Arn"}}
		},
	}},
	{name: "a message is hidden 6 times as long as a function may take, and the batch window", offenders: offendVisibility, breaks: map[string]func(*template){
		"shorter": func(t *template) { t.one("AWS::SQS::Queue", "Ingest").Properties["VisibilityTimeout"] = 29.0 },
		"default": func(t *template) { delete(t.one("AWS::SQS::Queue", "Ingest").Properties, "VisibilityTimeout") },
		"window": func(t *template) {
			t.one("AWS::Lambda::EventSourceMapping", "Ingest").Properties["MaximumBatchingWindowInSeconds"] = 5.0
		},
		"timeout": func(t *template) { t.one("AWS::Lambda::Function", "Router").Properties["Timeout"] = 31.0 },
	}},
	{name: "queues have an alarm: on dead letters, or on age", offenders: offendQueueAlarms, breaks: map[string]func(*template){
		"dead letters": func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "QueueNotifyDlq") },
		"age":          func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "QueueIngest") },
		"other metric": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "QueueNotifyDlq").Properties["MetricName"] = "NumberOfMessagesSent"
		},
		"more dead letters": func(t *template) { t.one("AWS::CloudWatch::Alarm", "QueueNotifyDlq").Properties["Threshold"] = 10.0 },
		"another queue": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "QueueNotifyDlq").Properties["Dimensions"] = t.one("AWS::CloudWatch::Alarm", "QueueRouterDlq").get("Dimensions")
		},
		"older": func(t *template) { t.one("AWS::CloudWatch::Alarm", "QueueIngest").Properties["Threshold"] = 86400.0 },
	}},
	{name: "mappings report single failures and have a maximum concurrency", offenders: offendMappings, breaks: map[string]func(*template){
		"whole batches": func(t *template) {
			delete(t.one("AWS::Lambda::EventSourceMapping", "").Properties, "FunctionResponseTypes")
		},
		"no maximum": func(t *template) { delete(t.one("AWS::Lambda::EventSourceMapping", "").Properties, "ScalingConfig") },
	}},
	{name: "subscriptions are raw, have dead letters, and both queues admit the topic", offenders: offendSubscriptions, breaks: map[string]func(*template){
		"not raw":                     func(t *template) { t.one("AWS::SNS::Subscription", "Github").Properties["RawMessageDelivery"] = false },
		"no dead letter":              func(t *template) { delete(t.one("AWS::SNS::Subscription", "Github").Properties, "RedrivePolicy") },
		"queue without policy":        func(t *template) { drop(t, "AWS::SQS::QueuePolicy", "CatalogSync9") },
		"dead letters without policy": func(t *template) { drop(t, "AWS::SQS::QueuePolicy", "SubscriptionsDlq") },
		"policy for one topic less": func(t *template) {
			s := delivery(t, "SubscriptionsDlq")
			arns := get(s, "Condition.ArnEquals").(object)
			arns["aws:SourceArn"] = list(arns["aws:SourceArn"])[1:]
		},
		"policy for any account": func(t *template) { delete(delivery(t, "SubscriptionsDlq")["Condition"].(object), "StringEquals") },
		"policy for anybody":     func(t *template) { delivery(t, "SubscriptionsDlq")["Principal"] = "*" },
		"before the policy":      func(t *template) { t.one("AWS::SNS::Subscription", "Github").DependsOn = nil },
	}},
	{name: "what is read is deployed before what is written", offenders: offendOrder, breaks: map[string]func(*template){
		"publisher before subscription": func(t *template) { t.one("AWS::Lambda::Function", "Router").DependsOn = nil },
		"ingress before publisher":      func(t *template) { t.one("AWS::Lambda::Function", "Ingress").DependsOn = nil },
		"subscription before reader": func(t *template) {
			s := t.one("AWS::SNS::Subscription", "GithubPush")
			s.DependsOn = slices.DeleteFunc(s.DependsOn, func(id string) bool { return strings.HasPrefix(id, "Function") })
		},
	}},
	{name: "functions run our program and log as JSON for 30 days", offenders: offendFunctions, breaks: map[string]func(*template){
		"runtime": func(t *template) { t.one("AWS::Lambda::Function", "").Properties["Runtime"] = "nodejs22.x" },
		"text": func(t *template) {
			t.one("AWS::Lambda::Function", "").Properties["LoggingConfig"].(object)["LogFormat"] = "Text"
		},
		"own group": func(t *template) { delete(t.one("AWS::Lambda::Function", "").Properties, "LoggingConfig") },
		"timeout":   func(t *template) { t.one("AWS::Lambda::Function", "Ingress").Properties["Timeout"] = 3.0 },
		"shared role": func(t *template) {
			t.one("AWS::Lambda::Function", "Ingress").Properties["Role"] = t.one("AWS::Lambda::Function", "Router").Properties["Role"]
		},
		"reserved": func(t *template) {
			t.one("AWS::Lambda::Function", "Router").Properties["ReservedConcurrentExecutions"] = 5.0
		},
	}},
	{name: "SAM finds the program of every function", offenders: offendAssets, breaks: map[string]func(*template){
		"no path":     func(t *template) { delete(t.one("AWS::Lambda::Function", "Router").Metadata, "aws:asset:path") },
		"no property": func(t *template) { delete(t.one("AWS::Lambda::Function", "Router").Metadata, "aws:asset:property") },
		"other property": func(t *template) {
			t.one("AWS::Lambda::Function", "Router").Metadata["aws:asset:property"] = "Layers"
		},
		"nothing there": func(t *template) { t.one("AWS::Lambda::Function", "Router").Metadata["aws:asset:path"] = "asset.0" },
		"outside": func(t *template) {
			f := t.one("AWS::Lambda::Function", "Router")
			f.Metadata["aws:asset:path"] = filepath.Join(t.dir, f.Metadata["aws:asset:path"].(string))
		},
		"no such program": func(t *template) { t.one("AWS::Lambda::Function", "Router").Properties["Handler"] = "ingress" },
	}},
	{name: "functions know where things are", offenders: offendEnvironment, breaks: map[string]func(*template){
		"prefix": func(t *template) { variables(t, "Router")["CALLBOARD_PREFIX"] = "other" },
		"table":  func(t *template) { delete(variables(t, "Notify"), "CALLBOARD_TABLE") },
		"bucket": func(t *template) { delete(variables(t, "Ingress"), "CALLBOARD_BUCKET") },
		"queue": func(t *template) {
			variables(t, "Ingress")["CALLBOARD_INGEST_QUEUE_URL"] = object{"Ref": t.ids("AWS::SQS::Queue")[0]}
		},
		"topics": func(t *template) { variables(t, "Router")["CALLBOARD_TOPIC_ARN_PREFIX"] = "arn:aws:sns:eu-west-1:1:" },
		"dead letters": func(t *template) {
			variables(t, "Router")["CALLBOARD_DEAD_LETTER_QUEUE_URL"] = variables(t, "Notify")["CALLBOARD_DEAD_LETTER_QUEUE_URL"]
		},
	}},
	{name: "functions of somebody's own know who they are", offenders: offendEnvironment, on: full, breaks: map[string]func(*template){
		"function":    func(t *template) { delete(variables(t, "FrobsSync"), "CALLBOARD_FUNCTION") },
		"replacement": func(t *template) { delete(variables(t, "Ingress"), "CALLBOARD_FUNCTION") },
		"topics":      func(t *template) { delete(variables(t, "Notify"), "CALLBOARD_TOPIC_ARN_PREFIX") },
		"variable":    func(t *template) { delete(variables(t, "FrobsSync"), "FROBS_URL") },
		"table":       func(t *template) { delete(variables(t, "FrobsSync"), "CALLBOARD_TABLE") },
	}},
	{name: "functions of somebody's own get what they ask for", offenders: offendFunctions, on: full, breaks: map[string]func(*template){
		"memory":  func(t *template) { t.one("AWS::Lambda::Function", "Ingress").Properties["MemorySize"] = 256.0 },
		"timeout": func(t *template) { t.one("AWS::Lambda::Function", "FrobsSync").Properties["Timeout"] = 30.0 },
	}},
	{name: "functions of somebody's own may do no more than they say", offenders: offendGrants, on: full, breaks: map[string]func(*template){
		"a replacement that cannot read payloads": func(t *template) { statement(t, "Notify", "UsePayloads")["Action"] = "s3:PutObject" },
		"a replacement that publishes": func(t *template) {
			grantTo(t, "Notify", object{"Sid": "Publish", "Effect": "Allow", "Action": "sns:Publish", "Resource": object{"Ref": t.ids("AWS::SNS::Topic")[0]}})
		},
		"a topic more": func(t *template) {
			grantTo(t, "FrobsSync", object{"Effect": "Allow", "Action": "sns:Publish", "Resource": object{"Ref": t.ids("AWS::SNS::Topic")[0]}})
		},
		"the table": func(t *template) {
			grantTo(t, "FrobsSync", object{"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": object{"Ref": "Table"}})
		},
		"all of the table": func(t *template) { delete(statement(t, "FrobsSync", "UseOnce"), "Condition") },
		"other partitions": func(t *template) {
			get(statement(t, "FrobsSync", "UseOnce"), "Condition.ForAllValues:StringLike").(object)["dynamodb:LeadingKeys"] = "*"
		},
		"a query": func(t *template) {
			s := statement(t, "FrobsSync", "UseOnce")
			s["Action"] = append(list(s["Action"]), "dynamodb:Query")
		},
		"nothing to remember with": func(t *template) {
			statement(t, "FrobsSync", "UseOnce")["Action"] = "dynamodb:GetItem"
		},
	}},
	{name: "log groups have a retention", offenders: offendLogs, breaks: map[string]func(*template){
		"forever": func(t *template) { delete(t.one("AWS::Logs::LogGroup", "").Properties, "RetentionInDays") },
	}},
	{name: "no right is wider than it must be", offenders: offendWildcards, breaks: map[string]func(*template){
		"resource": func(t *template) {
			grantTo(t, "Ingress", object{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"})
		},
		"action": func(t *template) {
			grantTo(t, "Ingress", object{"Effect": "Allow", "Action": "dynamodb:*", "Resource": object{"Ref": "Table"}})
		},
		"part of a name": func(t *template) {
			grantTo(t, "Ingress", object{"Effect": "Allow", "Action": "sns:Publish", "Resource": object{"Fn::Sub": "arn:aws:sns:eu-west-1:1:callboard-*"}})
		},
		"everything but": func(t *template) {
			grantTo(t, "Ingress", object{"Effect": "Allow", "NotAction": "iam:*", "Resource": object{"Ref": "Table"}})
		},
		"managed policy": func(t *template) {
			t.one("AWS::IAM::Role", "Ingress").Properties["ManagedPolicyArns"] = []any{"arn:aws:iam::aws:policy/AdministratorAccess"}
		},
		"assumed by more": func(t *template) {
			statements(t.one("AWS::IAM::Role", "Ingress").get("AssumeRolePolicyDocument"))[0]["Principal"] = "*"
		},
	}},
	{name: "functions may do what the list says, and nothing else", offenders: offendGrants, breaks: map[string]func(*template){
		"one more": func(t *template) {
			grantTo(t, "Ingress", object{"Sid": "UseTable", "Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": object{"Ref": "Table"}})
		},
		"one less": func(t *template) {
			p := list(t.one("AWS::IAM::Role", "Router").get("Policies"))[0].(object)["PolicyDocument"].(object)
			p["Statement"] = p["Statement"].([]any)[1:]
		},
		"another topic": func(t *template) {
			s := statement(t, "SqsPublisher", "Publish")
			s["Resource"] = append(list(s["Resource"]), object{"Ref": "Alarms"})
		},
		"one topic less": func(t *template) {
			s := statement(t, "SqsPublisher", "Publish")
			s["Resource"] = list(s["Resource"])[1:]
		},
		"one action more": func(t *template) {
			s := statement(t, "CatalogApi", "UseTable")
			s["Action"] = append(list(s["Action"]), "dynamodb:PutItem")
		},
		"another queue": func(t *template) {
			statement(t, "Notify", "ReadQueues")["Resource"] = statement(t, "CatalogSync", "ReadQueues")["Resource"]
		},
		"another secret": func(t *template) {
			statement(t, "NotificationsApi", "ReadSecrets")["Resource"] = statement(t, "Ingress", "ReadSecrets")["Resource"]
		},
		"another log": func(t *template) {
			statement(t, "Notify", "WriteLog")["Resource"] = statement(t, "Ingress", "WriteLog")["Resource"]
		},
		"another queue of others": func(t *template) {
			statement(t, "SqsPublisher", "ReadQueuesOfOthers")["Resource"] = "arn:aws:sqs:eu-west-1:444455556666:other"
		},
		"all buckets of others": func(t *template) { statement(t, "SqsPublisher", "ReadObjectsOfOthers")["Resource"] = "arn:aws:s3:::*" },
		"any key of others":     func(t *template) { statement(t, "SqsPublisher", "UseKeysOfOthers")["Resource"] = "*" },
		"more of a polled queue": func(t *template) {
			s := statement(t, "SqsPublisher", "PollQueuesOfOthers")
			s["Action"] = append(list(s["Action"]), "sqs:PurgeQueue")
		},
		"another parameter": func(t *template) {
			statement(t, "Ingress", "ReadParameters")["Resource"] = object{"Fn::Sub": "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/other"}
		},
		"more of the key": func(t *template) {
			s := statement(t, "Ingress", "UseKey")
			s["Action"] = append(list(s["Action"]), "kms:ScheduleKeyDeletion")
		},
		"the same name twice": func(t *template) {
			grantTo(t, "Ingress", object{"Sid": "WriteLog", "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": object{"Fn::GetAtt": []any{"QueueNotify6CD6F4", "Arn"}}})
		},
		"without a name": func(t *template) {
			grantTo(t, "Ingress", object{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": object{"Fn::GetAtt": []any{"QueueNotify6CD6F4", "Arn"}}})
		},
		"all of the table for bodies": func(t *template) { delete(statement(t, "Ingress", "UseTable"), "Condition") },
		"all of the table for leases": func(t *template) { delete(statement(t, "SqsPublisher", "UseTable"), "Condition") },
		"leases among the bodies": func(t *template) {
			get(statement(t, "SqsPublisher", "UseTable"), "Condition.ForAllValues:StringLike").(object)["dynamodb:LeadingKeys"] = []string{"body#*"}
		},
		"on a condition": func(t *template) {
			statement(t, "Notify", "UseTable")["Condition"] = object{"Bool": object{"aws:SecureTransport": "true"}}
		},
	}, on: full},
	{name: "the table expires items, can be restored and is billed on demand", offenders: offendTable, breaks: map[string]func(*template){
		"expiry": func(t *template) { delete(t.Resources["Table"].Properties, "TimeToLiveSpecification") },
		"restore": func(t *template) {
			delete(list(t.Resources["Table"].get("Replicas"))[0].(object), "PointInTimeRecoverySpecification")
		},
		"billing": func(t *template) { t.Resources["Table"].Properties["BillingMode"] = "PROVISIONED" },
		"key":     func(t *template) { list(t.Resources["Table"].get("KeySchema"))[0].(object)["AttributeName"] = "id" },
	}},
	{name: "payloads of large events outlive every dead letter, and nobody may delete them", offenders: offendPayloads, breaks: map[string]func(*template){
		"for ever":     func(t *template) { delete(t.Resources["Blobs"].Properties, "LifecycleConfiguration") },
		"too short":    func(t *template) { lifecycle(t, "events/")["ExpirationInDays"] = 36.0 },
		"switched off": func(t *template) { lifecycle(t, "events/")["Status"] = "Disabled" },
		"elsewhere":    func(t *template) { lifecycle(t, "events/")["Prefix"] = "event/" },
		"another rule": func(t *template) {
			c := t.Resources["Blobs"].get("LifecycleConfiguration").(object)
			c["Rules"] = append(list(c["Rules"]), object{"Id": "x", "Status": "Enabled", "ExpirationInDays": 1.0})
		},
		"another rule within": func(t *template) {
			c := t.Resources["Blobs"].get("LifecycleConfiguration").(object)
			c["Rules"] = append(list(c["Rules"]), object{"Id": "x", "Status": "Enabled", "Prefix": "events/2", "ExpirationInDays": 1.0})
		},
		"a function deletes": func(t *template) {
			grantTo(t, "Notify", object{"Effect": "Allow", "Action": []any{"s3:GetObject", "s3:DeleteObject"}, "Resource": object{"Fn::Join": []any{"", []any{object{"Fn::GetAtt": []any{"Blobs", "Arn"}}, "/events/*"}}}})
		},
		"a function deletes everything": func(t *template) {
			grantTo(t, "CatalogSync", object{"Effect": "Allow", "Action": "s3:*", "Resource": object{"Fn::Join": []any{"", []any{object{"Fn::GetAtt": []any{"Blobs", "Arn"}}, "/*"}}}})
		},
		"the bucket lets others delete": func(t *template) {
			p := t.one("AWS::S3::BucketPolicy", "").Properties["PolicyDocument"].(object)
			p["Statement"] = append(list(p["Statement"]), object{"Effect": "Allow", "Principal": "*", "Action": "s3:DeleteObject*", "Resource": object{"Fn::Join": []any{"", []any{object{"Fn::GetAtt": []any{"Blobs", "Arn"}}, "/*"}}}})
		},
		"a consumer writes": func(t *template) { statement(t, "Notify", "UsePayloads")["Action"] = "s3:PutObject" },
		"the bucket does not refuse it": func(t *template) {
			p := t.one("AWS::S3::BucketPolicy", "").Properties["PolicyDocument"].(object)
			p["Statement"] = slices.DeleteFunc(list(p["Statement"]), func(s any) bool { return get(s, "Sid") == "KeepPayloads" })
		},
		"the bucket allows it":           func(t *template) { refusal(t)["Effect"] = "Allow" },
		"refused to one":                 func(t *template) { refusal(t)["Principal"] = object{"AWS": "arn:aws:iam::111122223333:role/reader"} },
		"refused to all but one":         func(t *template) { refusal(t)["Condition"] = object{"StringNotLike": object{"aws:PrincipalArn": "*"}} },
		"not refused for old versions":   func(t *template) { refusal(t)["Action"] = "s3:DeleteObject" },
		"not refused for newest version": func(t *template) { refusal(t)["Action"] = "s3:DeleteObjectVersion" },
		"refused for blobs": func(t *template) {
			refusal(t)["Resource"] = object{"Fn::Join": []any{"", []any{object{"Fn::GetAtt": []any{"Blobs", "Arn"}}, "/catalog/*"}}}
		},
	}},
	{name: "payloads of a stack to throw away can be deleted with it", offenders: offendPayloads, on: full, breaks: map[string]func(*template){
		"kept": func(t *template) {
			p := t.one("AWS::S3::BucketPolicy", "").Properties["PolicyDocument"].(object)
			p["Statement"] = append(list(p["Statement"]), object{"Effect": "Deny", "Principal": object{"AWS": "*"}, "Action": "s3:DeleteObject", "Resource": "*"})
		},
	}},
	{name: "the access log has neither path nor query, and requests are limited", offenders: offendAPI, breaks: map[string]func(*template){
		"path":     func(t *template) { logFormat(t, `{"p":"$context.path"}`) },
		"query":    func(t *template) { logFormat(t, `{"p":"$context.requestOverride.querystring.x"}`) },
		"no log":   func(t *template) { delete(t.Resources["ApiStage"].Properties, "AccessLogSettings") },
		"no limit": func(t *template) { delete(t.Resources["ApiStage"].Properties, "DefaultRouteSettings") },
		"old payload": func(t *template) {
			t.one("AWS::ApiGatewayV2::Integration", "").Properties["PayloadFormatVersion"] = "1.0"
		},
	}},
	{name: "alarms tell a topic that CloudWatch may publish to", offenders: offendAlarms, breaks: map[string]func(*template){
		"nobody told": func(t *template) { delete(t.one("AWS::CloudWatch::Alarm", "").Properties, "AlarmActions") },
		"no right": func(t *template) {
			p := t.one("AWS::SNS::TopicPolicy", "Alarms").Properties["PolicyDocument"].(object)
			p["Statement"] = p["Statement"].([]any)[:1]
		},
		"right of any account": func(t *template) {
			delete(statements(t.one("AWS::SNS::TopicPolicy", "Alarms").get("PolicyDocument"))[1], "Condition")
		},
		"right of another account": func(t *template) {
			right := statements(t.one("AWS::SNS::TopicPolicy", "Alarms").get("PolicyDocument"))[1]
			get(right, "Condition.StringEquals").(object)["aws:SourceAccount"] = "111122223333"
		},
		"one right more": func(t *template) {
			p := t.one("AWS::SNS::TopicPolicy", "Alarms").Properties["PolicyDocument"].(object)
			p["Statement"] = append(p["Statement"].([]any), object{"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": object{"Ref": "Alarms"}})
		},
		"key of SNS": func(t *template) { t.Resources["Alarms"].Properties["KmsMasterKeyId"] = "alias/aws/sns" },
		"breaching": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "QueueIngest").Properties["TreatMissingData"] = "breaching"
		},
	}},
	{name: "what can go wrong has an alarm", offenders: offendMissingAlarms, breaks: map[string]func(*template){
		"errors":    func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "Errors") },
		"throttles": func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "Throttles") },
		"gateway":   func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "ApiRefused") },
		"nothing":   func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "NothingOutAlarm") },
		"lost":      func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "LostAlarm0") },
		"too large": func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "WithheldBackstage") },
		"quota":     func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "Quota") },
		"filter":    func(t *template) { drop(t, "AWS::Logs::MetricFilter", "") },
		"a topic":   func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "NothingOutGithubPush") },
		"a secret":  func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "SecretGithubToken") },
		"queue of others": func(t *template) {
			drop(t, "AWS::CloudWatch::Alarm", "ForeignReleases")
		},
		"errors of another function": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "FunctionRouter74C956Errors").Properties["Dimensions"] = by("FunctionName", object{"Ref": "FunctionIngress487A0A"})
		},
		"throttles of another service": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "Throttles").Properties["Namespace"] = "AWS/ApiGateway"
		},
		"5xx of another metric": func(t *template) { t.one("AWS::CloudWatch::Alarm", "Api5xx").Properties["MetricName"] = "4xx" },
		"5xx of another API":    func(t *template) { delete(t.one("AWS::CloudWatch::Alarm", "Api5xx").Properties, "Dimensions") },
		"refusals of another stack": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "ApiRefused").Properties["MetricName"] = "gateway-refused"
		},
		"another count of refusals": func(t *template) {
			list(t.one("AWS::Logs::MetricFilter", "").get("MetricTransformations"))[0].(object)["MetricName"] = "refused"
		},
		"refusals of another log": func(t *template) {
			t.one("AWS::Logs::MetricFilter", "").Properties["LogGroupName"] = object{"Ref": t.ids("AWS::Logs::LogGroup")[1]}
		},
		"another expression": func(t *template) {
			list(t.one("AWS::CloudWatch::Alarm", "NothingOutAlarm").get("Metrics"))[0].(object)["Expression"] = "m0 - m1"
		},
		"one period": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "NothingOutGithubPush").Properties["EvaluationPeriods"] = 1.0
		},
		"another topic": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "NothingOutGithubPush").Properties["Metrics"] = t.one("AWS::CloudWatch::Alarm", "NothingOutGithubC0B010").get("Metrics")
		},
		"lost of one topic less": func(t *template) {
			a := t.one("AWS::CloudWatch::Alarm", "LostAlarm0")
			a.Properties["Metrics"] = list(a.get("Metrics"))[:len(list(a.get("Metrics")))-1]
		},
		"quota the other way round": func(t *template) {
			t.one("AWS::CloudWatch::Alarm", "Quota").Properties["ComparisonOperator"] = "GreaterThanThreshold"
		},
		"no quota left": func(t *template) { t.one("AWS::CloudWatch::Alarm", "Quota").Properties["Threshold"] = 1.0 },
		"secret of another name": func(t *template) {
			list(t.one("AWS::CloudWatch::Alarm", "SecretGithubToken").get("Dimensions"))[1].(object)["Value"] = "github-webhook"
		},
		"secret of all stacks": func(t *template) {
			a := t.one("AWS::CloudWatch::Alarm", "SecretGithubToken")
			a.Properties["Dimensions"] = list(a.get("Dimensions"))[1:]
		},
		"one more": func(t *template) {
			more := *t.one("AWS::CloudWatch::Alarm", "Quota")
			more.Properties = maps.Clone(more.Properties)
			more.Properties["AlarmName"] = t.topo.Prefix + "-more"
			t.Resources["More"] = &more
		},
	}, on: full},
	{name: "secrets are generated, or empty with an alarm, and never in the template", offenders: offendSecrets, breaks: map[string]func(*template){
		"in the template": func(t *template) { t.one("AWS::SecretsManager::Secret", "").Properties["SecretString"] = "hunter2" },
		"empty": func(t *template) {
			delete(t.one("AWS::SecretsManager::Secret", "GithubWebhook").Properties, "GenerateSecretString")
		},
		"no name":       func(t *template) { t.one("AWS::SecretsManager::Secret", "").Properties["Name"] = "github-webhook" },
		"missing":       func(t *template) { drop(t, "AWS::SecretsManager::Secret", "PortalToken") },
		"alarm dropped": func(t *template) { drop(t, "AWS::CloudWatch::Alarm", "SecretGithubToken") },
	}, on: full},
	exportRules[0], exportRules[1], exportRules[2],
	{name: "there are outputs to go on with, and none for other stacks", offenders: offendOutputs, breaks: map[string]func(*template){
		"webhook": func(t *template) { delete(t.Outputs, "WebhookGithub") },
		"reader":  func(t *template) { t.Outputs["QueueReaderRoleArn"] = object{"Value": "x"} },
		"export":  func(t *template) { t.Outputs["ApiUrl"].(object)["Export"] = object{"Name": "x"} },
		"import":  func(t *template) { t.Resources["Table"].Properties["TableName"] = object{"Fn::ImportValue": "x"} },
	}},
	{name: "the stack is far below the limit of resources", offenders: offendCount, breaks: map[string]func(*template){
		"too many": func(t *template) {
			for i := range maxResources {
				t.Resources[fmt.Sprint("Another", i)] = &resource{Type: "AWS::SNS::Topic"}
			}
		},
	}},
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, v := range []*variant{plain, full, adopted, nagged} {
				for _, o := range r.offenders(v.template(t)) {
					t.Errorf("%s: %s", v.name, o)
				}
			}
			if len(r.breaks) == 0 {
				t.Error("nothing shows that this rule can be broken")
			}
			on := r.on
			if on == nil {
				on = plain
			}
			for name, change := range r.breaks {
				broken := on.template(t)
				change(broken)
				if len(r.offenders(broken)) == 0 {
					t.Errorf("the rule does not see this: %s", name)
				}
			}
		})
	}
}

// A wildcard that nothing has any more is not accepted any more.
func TestWildcardsAreNeeded(t *testing.T) {
	t.Parallel()
	kept := maps.Clone(wildcards)
	for _, v := range []*variant{plain, full, adopted} {
		tpl := v.template(t)
		for _, role := range tpl.ids("AWS::IAM::Role") {
			for _, s := range tpl.roleStatements(role) {
				for _, resource := range list(s["Resource"]) {
					delete(kept, wildcardKey(s, resource))
				}
			}
		}
	}
	for key := range kept {
		t.Errorf("%s is accepted and not needed", key)
	}
}

// kinds are those of resources that hold data, or what it is encrypted with.
var kinds = []string{"AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket", "AWS::SecretsManager::Secret", "AWS::KMS::Key"}

// Stateful resources, whose ids and fate must not change, unless the stack is one to throw away.
func TestStateful(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		v         *variant
		policy    string
		protected bool
		ids       []string
	}{
		{plain, "Retain", true, []string{"Table", "Blobs", "SecretFrobsWebhookF7CAD6", "SecretGithubWebhookB02852", "SecretPortalToken0BA11C", "SecretServiceToken784C8E"}},
		{full, "Delete", false, []string{"Table", "Blobs", "SecretBuildsWebhook4D4F6A", "SecretFrobsApi30D7DB", "SecretGheTokenC0C732", "SecretGithubToken141B3B", "SecretGithubWebhookB02852", "SecretPortalToken0BA11C", "Key"}},
	} {
		tpl := test.v.template(t)
		var ids []string
		for _, kind := range kinds {
			for _, id := range tpl.ids(kind) {
				ids = append(ids, id)
				if r := tpl.Resources[id]; r.DeletionPolicy != test.policy || r.UpdateReplacePolicy != test.policy {
					t.Errorf("%s: %s has the policies %s and %s", test.v.name, id, r.DeletionPolicy, r.UpdateReplacePolicy)
				}
			}
		}
		if !slices.Equal(ids, test.ids) {
			t.Errorf("%s: the logical ids are %q, want %q", test.v.name, ids, test.ids)
		}
		if got := list(tpl.Resources["Table"].get("Replicas"))[0].(object)["DeletionProtectionEnabled"]; got != test.protected {
			t.Errorf("%s: deletion protection is %v", test.v.name, got)
		}
	}
}

// With a customer key everything is encrypted with it, and whoever works with it may.
func TestCustomerKey(t *testing.T) {
	t.Parallel()
	tpl := full.template(t)
	for kind, property := range map[string]string{
		"AWS::SQS::Queue": "KmsMasterKeyId", "AWS::SNS::Topic": "KmsMasterKeyId", "AWS::SecretsManager::Secret": "KmsKeyId",
		"AWS::Logs::LogGroup": "KmsKeyId",
	} {
		for _, id := range tpl.ids(kind) {
			if target(tpl.Resources[id].get(property)) != "Key" {
				t.Errorf("%s is encrypted with %s", id, text(tpl.Resources[id].get(property)))
			}
		}
	}
	if !strings.Contains(text(tpl.Resources["Blobs"].Properties), `"KMSMasterKeyID":{"Fn::GetAtt":["Key","Arn"]}`) {
		t.Errorf("the bucket is not encrypted with the key: %s", text(tpl.Resources["Blobs"].Properties))
	}
	if !strings.Contains(text(tpl.Resources["Table"].Properties), `"KMSMasterKeyId":{"Fn::GetAtt":["Key","Arn"]}`) {
		t.Errorf("the table is not encrypted with the key: %s", text(tpl.Resources["Table"].Properties))
	}
	for _, service := range []string{"sns.amazonaws.com", "cloudwatch.amazonaws.com"} {
		if !slices.ContainsFunc(statements(tpl.Resources["Key"].get("KeyPolicy")), func(s object) bool {
			return get(s, "Principal.Service") == service && get(s, "Condition.StringEquals.aws:SourceAccount") != nil
		}) {
			t.Errorf("the key does not admit %s", service)
		}
	}
	const logs = `{"Fn::Join":["",["logs.",{"Ref":"AWS::Region"},".amazonaws.com"]]}`
	if !slices.ContainsFunc(statements(tpl.Resources["Key"].get("KeyPolicy")), func(s object) bool {
		return text(get(s, "Principal.Service")) == logs && strings.Contains(text(get(s, "Condition.ArnLike")), ":log-group:*")
	}) {
		t.Errorf("the key does not admit CloudWatch Logs: %s", text(tpl.Resources["Key"].get("KeyPolicy")))
	}
	for _, f := range tpl.ids("AWS::Lambda::Function") {
		role := target(tpl.Resources[f].get("Role"))
		if tpl.roleStatements(role)[role+" UseKey"] == nil {
			t.Errorf("%s may not use the key", f)
		}
	}
}

// A stack that adopts what holds data makes none of it, and works with it as the stack did that made it.
func TestAdopted(t *testing.T) {
	t.Parallel()
	before, tpl := full.template(t), adopted.template(t)
	for id, r := range before.Resources {
		if stateful := slices.Contains(kinds, r.Type); stateful != (tpl.Resources[id] == nil) {
			t.Errorf("%s: adopted %v", id, stateful)
		}
	}
	if len(tpl.Resources) >= len(before.Resources) {
		t.Error("nothing is adopted, or something is only for that")
	}
	for _, test := range []struct {
		function, grant string
		want            []string
	}{
		{"Ingress", "ReadSecrets", []string{
			`"arn:aws:secretsmanager:eu-west-1:111122223333:secret:ghe-AbCdEf"`, ofAccount("secretsmanager", "secret:callboard-dev/builds-webhook-??????"),
			ofAccount("secretsmanager", "secret:callboard-dev/github-webhook-??????"),
		}},
		{"Notify", "UseTable", []string{ofAccount("dynamodb", "table/callboard-dev-table")}},
		{"CatalogApi", "UseBlobs", []string{adoptedBucket("/catalog/*")}},
		{"CatalogApi", "MissBlobs", []string{adoptedBucket("")}},
		{"Router", "UseKey", []string{`"` + oldKey + `"`}},
	} {
		role := target(tpl.one("AWS::Lambda::Function", test.function).get("Role"))
		var got []string
		for _, resource := range list(tpl.roleStatements(role)[role+" "+test.grant]["Resource"]) {
			got = append(got, text(resource))
		}
		slices.Sort(got)
		slices.Sort(test.want)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s has the right %s on %s, not on %s", test.function, test.grant, got, test.want)
		}
	}
	for _, topic := range tpl.ids("AWS::SNS::Topic") {
		if tpl.Resources[topic].get("KmsMasterKeyId") != oldKey {
			t.Errorf("%s is encrypted with %v", topic, tpl.Resources[topic].get("KmsMasterKeyId"))
		}
	}
}

// ofAccount returns the ARN of something of the account, as the template has it.
func ofAccount(service, name string) string {
	return `{"Fn::Join":["",["arn:",{"Ref":"AWS::Partition"},":` + service + `:",{"Ref":"AWS::Region"},":",{"Ref":"AWS::AccountId"},":` + name + `"]]}`
}

// adoptedBucket returns the ARN of the bucket without its stack, with what follows.
func adoptedBucket(rest string) string {
	end := `]]}`
	if rest != "" {
		end = `,"` + rest + `"]]}`
	}
	return `{"Fn::Join":["",["arn:",{"Ref":"AWS::Partition"},":s3:::callboard-dev-",{"Ref":"AWS::AccountId"},"-",{"Ref":"AWS::Region"}` + end
}

func TestOtherOptions(t *testing.T) {
	t.Parallel()
	tpl := full.template(t)
	for _, id := range tpl.ids("AWS::Lambda::Function") {
		f := tpl.Resources[id]
		if text(f.get("Architectures")) != `["x86_64"]` || f.get("TracingConfig.Mode") != "Active" {
			t.Errorf("%s: %s, tracing %v", id, text(f.get("Architectures")), f.get("TracingConfig.Mode"))
		}
	}
	if got := tpl.one("AWS::Lambda::Function", "Ingress").number("ReservedConcurrentExecutions"); got != 50 {
		t.Errorf("reserved concurrency is %v", got)
	}
	if got := tpl.Resources["ApiStage"].number("DefaultRouteSettings.ThrottlingRateLimit"); got != 10 {
		t.Errorf("rate is %v", got)
	}
	if r := tpl.Resources["AlarmsEmail"]; r == nil || r.get("Endpoint") != "ops@example.com" {
		t.Errorf("subscription of alarms %v", r)
	}
	if r := tpl.Resources["Domain"]; r == nil || r.get("DomainName") != "hooks.example.com" {
		t.Errorf("domain %v", r)
	}
	if got := get(tpl.Outputs, "WebhookGithub.Value"); got != "https://hooks.example.com/events/http/github" {
		t.Errorf("webhook URL %v", got)
	}
	for topic, want := range map[string]string{
		"Gerrit": "settings of gerrit, with / and the value of the secret callboard-dev/builds-webhook behind it, and",
		"Inside": "settings of inside, with no secret (anybody who can reach it may send) and",
	} {
		if got, _ := get(tpl.Outputs, "Webhook"+topic+".Description").(string); !strings.Contains(got, want) {
			t.Errorf("the output says %q, want %q in it", got, want)
		}
	}
	role := target(tpl.one("AWS::Lambda::Function", "Ingress").get("Role"))
	read := text(tpl.roleStatements(role))
	for _, want := range []string{"parameter/shared/github-webhook", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ghe-AbCdEf"} {
		if !strings.Contains(read, want) {
			t.Errorf("the ingress may not read %s: %s", want, read)
		}
	}
}

// For an emulator nothing is missing but what watches.
func TestEmulator(t *testing.T) {
	t.Parallel()
	with, without := plain.template(t), emulated.template(t)
	var left []string
	for id := range with.Resources {
		if without.Resources[id] == nil {
			left = append(left, id)
		}
	}
	slices.Sort(left)
	want := []string{
		"LostAlarm0", "NothingOutAlarm", "NothingOutCatalogChanged13E4C4", "NothingOutCatalogError8E92FB", "NothingOutFrobs61F2B1",
		"NothingOutFrobsAdd93F677", "NothingOutGithubC0B010", "NothingOutGithubPushD6C87C", "NothingOutGithubRepositoryD892F1",
		"QueryFollowEvent", "QueryFollowTrace", "QueryGatewayRefusals", "QueryNotDone", "QueryRefusedWebhooks", "QuerySlowFunctions",
	}
	if !slices.Equal(left, want) {
		t.Errorf("left out: %q, want %q", left, want)
	}
	if len(without.Resources)+len(left) != len(with.Resources) {
		t.Error("there is something that is only for emulators")
	}
}

// drop removes the first resource of a type that a text occurs in the id of.
func drop(t *template, kind, part string) {
	gone := t.one(kind, part)
	maps.DeleteFunc(t.Resources, func(_ string, r *resource) bool { return r == gone })
}

func delivery(t *template, part string) object {
	for _, s := range statements(t.one("AWS::SQS::QueuePolicy", part).get("PolicyDocument")) {
		if s["Sid"] == "DeliveriesOfTopics" {
			return s
		}
	}
	panic("no deliveries to " + part)
}

func variables(t *template, function string) object {
	return t.one("AWS::Lambda::Function", function).get("Environment.Variables").(object)
}

func grantTo(t *template, function string, statement object) {
	p := list(t.one("AWS::IAM::Role", "Function"+function).get("Policies"))[0].(object)["PolicyDocument"].(object)
	p["Statement"] = append(p["Statement"].([]any), statement)
}

// statement returns the statement with a name of the role of a function.
func statement(t *template, function, name string) object {
	role := target(t.one("AWS::Lambda::Function", "Function"+function).get("Role"))
	s := t.roleStatements(role)[role+" "+name]
	if s == nil {
		panic(function + " has no right " + name)
	}
	return s
}

func logFormat(t *template, format string) {
	t.Resources["ApiStage"].get("AccessLogSettings").(object)["Format"] = format
}

func offendTopology(t *template) []string {
	var bad []string
	functions := map[string]string{} // logical id → name
	for _, f := range t.topo.Functions {
		id, _ := t.named("AWS::Lambda::Function", "FunctionName", f.AWSName)
		if id == "" {
			bad = append(bad, "no function "+f.AWSName)
		}
		functions[id] = f.Name
	}
	queues, topics := map[string]string{}, map[string]string{}
	for _, q := range t.topo.Queues {
		id, _ := t.named("AWS::SQS::Queue", "QueueName", q.AWSName)
		if id == "" {
			bad = append(bad, "no queue "+q.AWSName)
			continue
		}
		queues[id] = q.Name
		if q.Function == "" {
			continue
		}
		if !slices.ContainsFunc(t.ids("AWS::Lambda::EventSourceMapping"), func(m string) bool {
			return target(t.Resources[m].get("EventSourceArn")) == id && functions[target(t.Resources[m].get("FunctionName"))] == q.Function
		}) {
			bad = append(bad, "nothing feeds "+q.Function+" from "+q.Name)
		}
	}
	for _, x := range t.topo.Topics {
		id, _ := t.named("AWS::SNS::Topic", "TopicName", x.AWSName)
		if id == "" {
			bad = append(bad, "no topic "+x.AWSName)
		}
		topics[id] = x.Name
	}
	for _, s := range t.topo.Subscriptions {
		if !slices.ContainsFunc(t.ids("AWS::SNS::Subscription"), func(id string) bool {
			r := t.Resources[id]
			return topics[target(r.get("TopicArn"))] == s.Topic && queues[target(r.get("Endpoint"))] == s.Queue && queues[target(r.get("RedrivePolicy.deadLetterTargetArn"))] == s.DeadLetter
		}) {
			bad = append(bad, fmt.Sprintf("no subscription %+v", s))
		}
	}
	for _, q := range t.topo.Foreign {
		if mapped := q.Poll == nil; mapped != slices.ContainsFunc(t.ids("AWS::Lambda::EventSourceMapping"), func(m string) bool {
			return t.Resources[m].get("EventSourceArn") == q.ARN && functions[target(t.Resources[m].get("FunctionName"))] == q.Function
		}) {
			bad = append(bad, fmt.Sprintf("the queue %s is mapped: %t", q.ARN, !mapped))
		}
	}
	bad = append(bad, offendRoutes(t, functions)...)
	for _, s := range t.topo.Schedules {
		_, r := t.named("AWS::Scheduler::Schedule", "Name", s.AWSName)
		if r == nil || functions[target(r.get("Target.Arn"))] != s.Function {
			bad = append(bad, "no schedule "+s.AWSName)
			continue
		}
		if !allows(t.roleStatements(target(r.get("Target.RoleArn"))), "lambda:InvokeFunction", target(r.get("Target.Arn"))) {
			bad = append(bad, "the schedule "+s.AWSName+" may not invoke its function")
		}
		for _, trust := range statements(t.Resources[target(r.get("Target.RoleArn"))].get("AssumeRolePolicyDocument")) {
			if get(trust, "Principal.Service") != "scheduler.amazonaws.com" || !ofOurs(trust) {
				bad = append(bad, "somebody else than the schedule "+s.AWSName+" has its role")
			}
		}
	}
	return bad
}

// ofOurs tells whether a statement is for requests on behalf of our account only.
func ofOurs(s object) bool {
	return text(get(s, "Condition.StringEquals.aws:SourceAccount")) == `{"Ref":"AWS::AccountId"}`
}

func offendRoutes(t *template, functions map[string]string) []string {
	bad := t.each("AWS::Lambda::Permission", func(_ string, p *resource) bool {
		return p.get("Action") == "lambda:InvokeFunction" && p.get("Principal") == "apigateway.amazonaws.com" &&
			text(p.get("SourceArn")) == `{"Fn::Sub":"arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"}`
	}, "lets others than our API invoke a function")
	for _, route := range t.topo.Routes {
		_, r := t.named("AWS::ApiGatewayV2::Route", "RouteKey", route.Method+" "+route.Path)
		if r == nil {
			bad = append(bad, "no route "+route.Path)
			continue
		}
		found := false
		for _, id := range t.ids("AWS::ApiGatewayV2::Integration") {
			found = found || strings.Contains(text(r.get("Target")), `"`+id+`"`) && functions[target(t.Resources[id].get("IntegrationUri"))] == route.Function
		}
		if !found {
			bad = append(bad, "the route "+route.Path+" does not lead to "+route.Function)
		}
		if !slices.ContainsFunc(t.ids("AWS::Lambda::Permission"), func(id string) bool {
			return functions[target(t.Resources[id].get("FunctionName"))] == route.Function
		}) {
			bad = append(bad, "the API may not invoke "+route.Function)
		}
	}
	return bad
}

func offendEncryption(t *template) []string {
	return t.each("AWS::SQS::Queue", func(_ string, q *resource) bool {
		return q.get("SqsManagedSseEnabled") == true || ownKey(q.get("KmsMasterKeyId"))
	}, "is not encrypted")
}

// ownKey tells whether a key is that of the stack, or the one that it was given.
func ownKey(v any) bool { return target(v) == "Key" || v == oldKey }

// each returns the resources of a type that something is not true of.
func (t *template) each(kind string, ok func(id string, r *resource) bool, otherwise string) []string {
	var bad []string
	for _, id := range t.ids(kind) {
		if !ok(id, t.Resources[id]) {
			bad = append(bad, id+" "+otherwise)
		}
	}
	return bad
}

func offendTLS(t *template) []string {
	bad := t.each("AWS::SQS::Queue", func(id string, _ *resource) bool {
		return refusesPlain(t.policyOf("AWS::SQS::QueuePolicy", "Queues", id))
	}, "takes requests without TLS")
	bad = append(bad, t.each("AWS::SNS::Topic", func(id string, _ *resource) bool {
		return refusesPlain(t.policyOf("AWS::SNS::TopicPolicy", "Topics", id))
	}, "takes requests without TLS")...)
	for _, id := range t.ids("AWS::S3::BucketPolicy") {
		if p := t.Resources[id]; text(p.get("Bucket")) == text(t.bucket()) && refusesPlain(statements(p.get("PolicyDocument"))) {
			return bad
		}
	}
	return append(bad, "the bucket takes requests without TLS")
}

// deadLetters are the queues that take what others cannot handle or deliver.
func (t *template) deadLetters() map[string]bool {
	ids := map[string]bool{}
	for _, id := range t.ids("AWS::SQS::Queue") {
		ids[target(t.Resources[id].get("RedrivePolicy.deadLetterTargetArn"))] = true
	}
	for _, id := range t.ids("AWS::SNS::Subscription") {
		ids[target(t.Resources[id].get("RedrivePolicy.deadLetterTargetArn"))] = true
	}
	return ids
}

func offendRetention(t *template) []string {
	const day = 24 * 60 * 60
	dead := t.deadLetters()
	return t.each("AWS::SQS::Queue", func(id string, q *resource) bool {
		want := 4.0 * day
		if dead[id] {
			want = 14 * day
		}
		if t.exported()[id].Export != "" {
			want = 7 * day
		}
		return q.number("MessageRetentionPeriod") == want
	}, "keeps messages for another time")
}

func offendRedrive(t *template) []string {
	dead := t.deadLetters()
	return t.each("AWS::SQS::Queue", func(id string, q *resource) bool {
		to := target(q.get("RedrivePolicy.deadLetterTargetArn"))
		if dead[id] && to == "" {
			return true
		}
		r := t.Resources[to]
		return r != nil && r.Type == "AWS::SQS::Queue" && to != id && r.get("RedrivePolicy") == nil && q.number("RedrivePolicy.maxReceiveCount") >= 5
	}, "has no dead letters, or too soon")
}

func offendVisibility(t *template) []string {
	return t.each("AWS::Lambda::EventSourceMapping", func(_ string, m *resource) bool {
		if arn, foreign := m.get("EventSourceArn").(string); foreign { // others say how long its messages are hidden
			return slices.ContainsFunc(t.topo.Foreign, func(q topology.ForeignQueue) bool { return q.ARN == arn })
		}
		q, f := t.Resources[target(m.get("EventSourceArn"))], t.Resources[target(m.get("FunctionName"))]
		window := max(m.number("MaximumBatchingWindowInSeconds"), 0)
		return q != nil && f != nil && q.number("VisibilityTimeout") == 6*f.number("Timeout")+window
	}, "reads a queue whose messages come back too early")
}

func offendMappings(t *template) []string {
	return t.each("AWS::Lambda::EventSourceMapping", func(_ string, m *resource) bool {
		n := m.number("ScalingConfig.MaximumConcurrency")
		return slices.Contains(list(m.get("FunctionResponseTypes")), any("ReportBatchItemFailures")) && n >= 2 && n <= 1000
	}, "fails as a whole, or grows without end")
}

func offendSubscriptions(t *template) []string {
	return t.each("AWS::SNS::Subscription", func(_ string, s *resource) bool {
		if s.get("Protocol") == "email" {
			return target(s.get("TopicArn")) == "Alarms"
		}
		topic, queue, dead := target(s.get("TopicArn")), target(s.get("Endpoint")), target(s.get("RedrivePolicy.deadLetterTargetArn"))
		return s.get("RawMessageDelivery") == true && dead != "" && t.admits(queue, topic, s.DependsOn) && t.admits(dead, topic, s.DependsOn)
	}, "would lose what it delivers")
}

// admits tells whether a queue takes what SNS delivers of a topic, and one of the resources makes sure of it.
func (t *template) admits(queue, topic string, by []string) bool {
	for _, id := range by {
		r := t.Resources[id]
		if r == nil || r.Type != "AWS::SQS::QueuePolicy" || target(list(r.get("Queues"))[0]) != queue {
			continue
		}
		for _, s := range statements(r.get("PolicyDocument")) {
			topics := list(get(s, "Condition.ArnEquals.aws:SourceArn"))
			if s["Effect"] == "Allow" && get(s, "Principal.Service") == "sns.amazonaws.com" && s["Action"] == "sqs:SendMessage" &&
				ofOurs(s) &&
				slices.ContainsFunc(topics, func(v any) bool { return target(v) == topic }) {
				return true
			}
		}
	}
	return false
}

// after tells whether CloudFormation makes one resource after another, as far as DependsOn says.
func (t *template) after(id, other string) bool {
	return slices.Contains(t.Resources[id].DependsOn, other)
}

func offendOrder(t *template) []string {
	var bad []string
	for _, f := range t.ids("AWS::Lambda::Function") {
		role := target(t.Resources[f].get("Role"))
		for _, s := range t.ids("AWS::SNS::Subscription") {
			topic := target(t.Resources[s].get("TopicArn"))
			if allows(t.roleStatements(role), "sns:Publish", topic) && !t.after(f, s) {
				bad = append(bad, f+" publishes before there is "+s)
			}
		}
	}
	for _, m := range t.ids("AWS::Lambda::EventSourceMapping") {
		queue, f := target(t.Resources[m].get("EventSourceArn")), target(t.Resources[m].get("FunctionName"))
		for _, s := range t.ids("AWS::SNS::Subscription") {
			if queue != "" && target(t.Resources[s].get("Endpoint")) == queue && !t.after(s, f) {
				bad = append(bad, s+" delivers before there is "+f)
			}
		}
		if _, r := t.named("AWS::SQS::Queue", "QueueName", t.topo.Prefix+"-"+topology.QueueIngest); t.Resources[queue] == r {
			id, _ := t.named("AWS::Lambda::Function", "FunctionName", t.topo.Prefix+"-"+topology.Ingress)
			if !t.after(id, f) {
				bad = append(bad, id+" accepts events before there is "+f)
			}
		}
	}
	return bad
}

func offendFunctions(t *template) []string {
	roles := map[string]bool{}
	return t.each("AWS::Lambda::Function", func(_ string, f *resource) bool {
		i := slices.IndexFunc(t.topo.Functions, func(x topology.Function) bool { return x.AWSName == f.get("FunctionName") })
		role, group := target(f.get("Role")), t.Resources[target(f.get("LoggingConfig.LogGroup"))]
		shared := roles[role]
		roles[role] = true
		_, reserved := f.Properties["ReservedConcurrentExecutions"]
		if i >= 0 && t.topo.Functions[i].Memory > 0 && f.number("MemorySize") != float64(t.topo.Functions[i].Memory) {
			return false
		}
		return i >= 0 && f.number("Timeout") == t.topo.Functions[i].Timeout.Seconds() && !shared &&
			f.get("Runtime") == "provided.al2023" && f.get("Handler") == "bootstrap" && f.get("LoggingConfig.LogFormat") == "JSON" &&
			group != nil && group.get("LogGroupName") == "/aws/lambda/"+t.topo.Functions[i].AWSName &&
			(!reserved || t.topo.Functions[i].Name == topology.Ingress)
	}, "is not as functions are")
}

// What SAM runs is the handler in the folder that the metadata name, from the folder of the template on
// (https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-cdk-testing.html).
func offendAssets(t *template) []string {
	return t.each("AWS::Lambda::Function", func(_ string, f *resource) bool {
		path, _ := f.Metadata["aws:asset:path"].(string)
		handler, _ := f.get("Handler").(string)
		if !filepath.IsLocal(path) || f.Metadata["aws:asset:property"] != "Code" {
			return false
		}
		program, err := os.Stat(filepath.Join(t.dir, path, handler))
		return err == nil && program.Mode().IsRegular() && program.Mode().Perm()&0o100 != 0
	}, "cannot be run by SAM")
}

func offendEnvironment(t *template) []string {
	prefix := `{"Fn::Join":["",["arn:",{"Ref":"AWS::Partition"},":sns:",{"Ref":"AWS::Region"},":",{"Ref":"AWS::AccountId"},":"]]}`
	stores := []string{topology.CatalogSync, topology.Notify, topology.CatalogAPI, topology.NotificationsAPI}
	publishers := []string{topology.SQSPublisher, topology.Router, topology.CatalogSync}
	var bad []string
	for _, f := range t.topo.Functions {
		want := object{"CALLBOARD_PREFIX": t.topo.Prefix}
		ref := func(kind, property, name string) object {
			id, _ := t.named(kind, property, t.topo.Prefix+"-"+name)
			return object{"Ref": id}
		}
		if slices.Contains(stores, f.Name) || t.tableActions(f.Name) != nil || claims(f) {
			want["CALLBOARD_TABLE"] = t.table()
		}
		if blobActions[f.Name] != nil || t.mayDoToPayloads(f) != nil {
			want["CALLBOARD_BUCKET"] = t.bucket()
		}
		if f.Name == topology.Ingress {
			want["CALLBOARD_INGEST_QUEUE_URL"] = ref("AWS::SQS::Queue", "QueueName", topology.QueueIngest)
		}
		if f.DeadLetter != "" {
			want["CALLBOARD_DEAD_LETTER_QUEUE_URL"] = ref("AWS::SQS::Queue", "QueueName", f.DeadLetter)
		}
		own, isOwn := t.conf.Functions[f.Name]
		if isOwn {
			want["CALLBOARD_FUNCTION"] = f.Name
		}
		for name, value := range own.Environment {
			want[name] = value
		}
		_, r := t.named("AWS::Lambda::Function", "FunctionName", f.AWSName)
		got, _ := r.get("Environment.Variables").(object)
		got = maps.Clone(got)
		if slices.Contains(publishers, f.Name) || isOwn && f.DeadLetter != "" {
			if arns := text(got["CALLBOARD_TOPIC_ARN_PREFIX"]); arns != prefix {
				bad = append(bad, f.Name+" has the ARN prefix "+arns)
			}
			delete(got, "CALLBOARD_TOPIC_ARN_PREFIX")
		}
		if text(got) != text(want) {
			bad = append(bad, fmt.Sprintf("%s has the variables %s, not %s", f.Name, text(got), text(want)))
		}
	}
	return bad
}

// refusal returns the statement of the bucket that refuses to delete payloads.
func refusal(t *template) object {
	for _, s := range statements(t.one("AWS::S3::BucketPolicy", "").get("PolicyDocument")) {
		if s["Sid"] == "KeepPayloads" {
			return s
		}
	}
	panic("payloads can be deleted")
}

// lifecycle returns the rule of the bucket for a prefix.
func lifecycle(t *template, prefix string) object {
	for _, r := range list(t.Resources["Blobs"].get("LifecycleConfiguration.Rules")) {
		if get(r, "Prefix") == prefix {
			return r.(object)
		}
	}
	return nil
}

// offendPayloads checks that a payload is there as long as a message can be that needs it: three queues one after the
// other, dead letters, a queue again, and so once more.
func offendPayloads(t *template) []string {
	var bad []string
	if !t.adopted {
		days := 0.0
		for _, r := range list(t.Resources["Blobs"].get("LifecycleConfiguration.Rules")) {
			prefix, _ := get(r, "Prefix").(string)
			n, expires := get(r, "ExpirationInDays").(float64)
			common := min(len(prefix), len("events/"))
			if !expires || get(r, "Status") != "Enabled" || prefix[:common] != "events/"[:common] {
				continue
			}
			if prefix == "events/" {
				days = n
			}
			if n < 3*4+2*(14+4) {
				bad = append(bad, fmt.Sprintf("payloads expire after %g days", n))
			}
		}
		if days == 0 {
			bad = append(bad, "payloads never expire")
		}
	}
	reaches := func(s object) bool {
		return s["Effect"] == "Allow" && slices.ContainsFunc(list(s["Resource"]), func(r any) bool {
			return strings.Contains(text(r), `"/events/`) || strings.Contains(text(r), `"/*"`) || r == "*"
		})
	}
	may := func(s object, action string) bool {
		return slices.ContainsFunc(texts(s["Action"]), func(a string) bool {
			prefix, wild := strings.CutSuffix(a, "*")
			return a == action || wild && strings.HasPrefix(action, prefix)
		})
	}
	writes := func(role string) bool {
		return slices.ContainsFunc(t.topo.Functions, func(f topology.Function) bool {
			_, r := t.named("AWS::Lambda::Function", "FunctionName", f.AWSName)
			return slices.Contains(t.mayDoToPayloads(f), "PutObject") && r != nil && target(r.get("Role")) == role
		})
	}
	for _, role := range t.ids("AWS::IAM::Role") {
		for id, s := range t.roleStatements(role) {
			if reaches(s) && (may(s, "s3:DeleteObject") || may(s, "s3:DeleteObjectVersion")) {
				bad = append(bad, id+" may delete payloads")
			}
			if reaches(s) && may(s, "s3:PutObject") && !writes(role) {
				bad = append(bad, id+" may write payloads")
			}
		}
	}
	if refused := t.refusesToDeletePayloads(); refused != t.kept {
		bad = append(bad, fmt.Sprintf("the bucket refuses to delete payloads: %t", refused))
	}
	for _, id := range t.ids("AWS::S3::BucketPolicy") {
		for _, s := range statements(t.Resources[id].get("PolicyDocument")) {
			if reaches(s) && (may(s, "s3:DeleteObject") || may(s, "s3:DeleteObjectVersion")) {
				bad = append(bad, id+" lets others delete payloads")
			}
		}
	}
	return bad
}

// refusesToDeletePayloads tells whether the bucket refuses it to everybody. What refuses requests without TLS does not count.
func (t *template) refusesToDeletePayloads() bool {
	for _, id := range t.ids("AWS::S3::BucketPolicy") {
		for _, s := range statements(t.Resources[id].get("PolicyDocument")) {
			if s["Effect"] != "Deny" || s["Condition"] != nil {
				continue
			}
			if !t.kept {
				return true
			}
			resource := `{"Fn::Join":["",[` + attribute("Blobs", "Arn") + `,"/events/*"]]}`
			if t.adopted {
				resource = adoptedBucket("/events/*")
			}
			if text(s["Principal"]) == `{"AWS":"*"}` && text(s["Resource"]) == resource &&
				slices.Equal(texts(s["Action"]), []string{"s3:DeleteObject", "s3:DeleteObjectVersion"}) {
				return true
			}
		}
	}
	return false
}

func offendLogs(t *template) []string {
	return t.each("AWS::Logs::LogGroup", func(_ string, g *resource) bool { return g.number("RetentionInDays") > 0 }, "keeps logs forever")
}

var star = regexp.MustCompile(`[*?]`)

func offendWildcards(t *template) []string {
	var bad []string
	for _, role := range t.ids("AWS::IAM::Role") {
		r := t.Resources[role]
		if r.get("ManagedPolicyArns") != nil {
			bad = append(bad, role+" has a managed policy")
		}
		if trust := statements(r.get("AssumeRolePolicyDocument")); len(trust) != 1 || get(trust[0], "Principal.Service") == nil {
			bad = append(bad, role+" can be assumed by more than one service")
		}
		for id, s := range t.roleStatements(role) {
			if s["NotAction"] != nil || s["NotResource"] != nil {
				bad = append(bad, id+" says what is not meant")
			}
			for _, resource := range list(s["Resource"]) {
				key := wildcardKey(s, resource)
				if _, accepted := wildcards[key]; !accepted && star.MatchString(key) {
					bad = append(bad, id+": "+key)
				}
			}
		}
	}
	return bad
}

// wildcardKey writes the actions of a statement and one of its resources, as the list of wildcards does.
func wildcardKey(s object, resource any) string {
	written, ok := resource.(string)
	if !ok {
		written = text(resource)
	}
	return strings.Join(texts(s["Action"]), ",") + " " + written
}

// texts returns a list of texts in order.
func texts(v any) []string {
	var all []string
	for _, x := range list(v) {
		s, ok := x.(string)
		if !ok {
			s = text(x)
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// allows tells whether one of the statements allows an action on a resource.
func allows(all map[string]object, action, id string) bool {
	for _, s := range all {
		if s["Effect"] == "Allow" && slices.Contains(texts(s["Action"]), action) &&
			slices.ContainsFunc(list(s["Resource"]), func(v any) bool { return target(v) == id }) {
			return true
		}
	}
	return false
}

func offendTable(t *template) []string {
	return t.each("AWS::DynamoDB::GlobalTable", func(_ string, r *resource) bool {
		replicas := list(r.get("Replicas"))
		return r.get("BillingMode") == "PAY_PER_REQUEST" && r.get("TimeToLiveSpecification.AttributeName") == "expires" && r.get("TimeToLiveSpecification.Enabled") == true &&
			len(replicas) == 1 && get(replicas[0], "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled") == true &&
			text(r.get("KeySchema")) == `[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]`
	}, "is not as the table is")
}

func offendAPI(t *template) []string {
	bad := t.each("AWS::ApiGatewayV2::Stage", func(_ string, s *resource) bool {
		format, _ := s.get("AccessLogSettings.Format").(string)
		lower := strings.ToLower(format)
		return strings.Contains(format, "$context.routeKey") && !strings.Contains(lower, "path") && !strings.Contains(lower, "query") &&
			s.number("DefaultRouteSettings.ThrottlingRateLimit") > 0 && s.number("DefaultRouteSettings.ThrottlingBurstLimit") > 0
	}, "logs too much, or takes any number of requests")
	return append(bad, t.each("AWS::ApiGatewayV2::Integration", func(_ string, i *resource) bool {
		return i.get("PayloadFormatVersion") == "2.0" && i.get("IntegrationType") == "AWS_PROXY"
	}, "has another payload")...)
}

func offendAlarms(t *template) []string {
	bad := t.each("AWS::CloudWatch::Alarm", func(_ string, a *resource) bool {
		actions := list(a.get("AlarmActions"))
		return len(actions) == 1 && target(actions[0]) == "Alarms" && a.get("TreatMissingData") == "notBreaching" && a.get("AlarmDescription") != nil
	}, "tells nobody, or too much")
	allowed := slices.DeleteFunc(t.policyOf("AWS::SNS::TopicPolicy", "Topics", "Alarms"), func(s object) bool { return s["Effect"] == "Deny" })
	if len(allowed) != 1 || get(allowed[0], "Principal.Service") != "cloudwatch.amazonaws.com" || allowed[0]["Action"] != "sns:Publish" || !ofOurs(allowed[0]) {
		bad = append(bad, "CloudWatch, of our account and alone, may not publish to Alarms: "+text(allowed))
	}
	if key := t.Resources["Alarms"].get("KmsMasterKeyId"); key != nil && !ownKey(key) {
		bad = append(bad, "CloudWatch may not use the key of Alarms")
	}
	return bad
}

func offendSecrets(t *template) []string {
	var bad []string
	for _, f := range t.topo.Functions {
		for _, name := range f.Secrets {
			if strings.Contains(name, ":") {
				continue
			}
			if t.adopted { // they are there
				continue
			}
			_, s := t.named("AWS::SecretsManager::Secret", "Name", t.topo.Prefix+"/"+name)
			if s == nil {
				bad = append(bad, "no secret "+name)
				continue
			}
			generated := s.number("GenerateSecretString.PasswordLength") >= 32
			_, alarm := t.named("AWS::CloudWatch::Alarm", "AlarmName", t.topo.Prefix+"-secret-"+name)
			if s.get("SecretString") != nil || generated == (alarm != nil) {
				bad = append(bad, name+" is neither generated nor empty with an alarm")
			}
		}
	}
	return bad
}

func offendOutputs(t *template) []string {
	var bad []string
	values := map[string]bool{}
	for id, o := range t.Outputs {
		if get(o, "Export") != nil {
			bad = append(bad, id+" is for other stacks")
		}
		values[id] = true
	}
	webhooks := slices.DeleteFunc(slices.Collect(maps.Keys(values)), func(id string) bool { return !strings.HasPrefix(id, "Webhook") })
	roots := slices.DeleteFunc(slices.Clone(t.topo.Topics), func(x topology.Topic) bool {
		return strings.Contains(x.Name, ".") || t.conf.Topics[x.Name].Queue != "" || t.conf.Topics[x.Name].From == config.FromPublish
	})
	if len(webhooks) != len(roots) {
		bad = append(bad, fmt.Sprintf("there are %d webhooks for %d topics", len(webhooks), len(roots)))
	}
	bad = append(bad, t.unshownExports()...)
	if values["QueueReaderRoleArn"] != (len(t.topo.Foreign) > 0) {
		bad = append(bad, "the role that reads queues of others is told where there are none, or the other way round")
	}
	for _, id := range []string{"ApiUrl", "AlarmTopicArn", "TableName", "BucketName"} {
		if !values[id] {
			bad = append(bad, "no output "+id)
		}
	}
	for id, r := range t.Resources {
		if strings.Contains(text(r.Properties), "Fn::ImportValue") {
			bad = append(bad, id+" imports from another stack")
		}
	}
	return bad
}

func offendCount(t *template) []string {
	if n := len(t.Resources); n >= maxResources {
		return []string{fmt.Sprintf("there are %d resources", n)}
	}
	return nil
}
