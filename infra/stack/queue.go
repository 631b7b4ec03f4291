package stack

import (
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/topology"
)

// maxAge is how old the oldest message of a queue may become before somebody is told: more than all tries of a
// message take together.
const maxAge = 30 * time.Minute

// maxAgeExport is the same for a queue that somebody else reads: a consumer may be down for a while, and messages are kept
// for days.
const maxAgeExport = 6 * time.Hour

// queue is an SQS queue that is encrypted, refuses requests without TLS, and has an alarm: on any message if it is for
// dead letters, else on the age of the oldest.
type queue struct {
	topology.Queue
	sqs awssqs.Queue
	// policy is what SNS needs before it delivers.
	policy constructs.IConstruct
}

// newQueue adds a queue. Topics are those that deliver to it, deadLetter is nil for a queue of dead letters.
func newQueue(scope constructs.Construct, q topology.Queue, deadLetter *queue, topics []*topic, key awskms.IKey, alarms *alarms) *queue {
	id := logicalID("Queue", q.Name)
	props := &awssqs.QueueProps{
		QueueName:       jsii.String(q.AWSName),
		Encryption:      awssqs.QueueEncryption_SQS_MANAGED,
		EnforceSSL:      jsii.Bool(true),
		RetentionPeriod: seconds(q.Retention),
	}
	if key != nil {
		props.Encryption, props.EncryptionMasterKey = awssqs.QueueEncryption_KMS, key
	}
	if deadLetter != nil {
		props.VisibilityTimeout = seconds(q.VisibilityTimeout)
		props.DeadLetterQueue = &awssqs.DeadLetterQueue{Queue: deadLetter.sqs, MaxReceiveCount: jsii.Number(q.MaxReceiveCount)}
	}
	made := awssqs.NewQueue(scope, &id, props)
	pin(made, id)
	if len(topics) > 0 {
		made.AddToResourcePolicy(deliveries(made, topics))
	}
	switch {
	case deadLetter == nil:
		description := "Messages in the queue " + q.AWSName + " could not be handled. Find out why, then move them to the queue they came from."
		if q.Name == topology.QueueSubscriptionsDLQ { // SQS moves only what another queue has put there
			description = "SNS could not deliver the messages in the queue " + q.AWSName + ". Find out why, then send them to the queues of their topics."
		}
		alarms.add(alarm{
			id: id + "Alarm", name: q.Alarm(), title: "there are dead letters",
			description: description,
			metric:      queueMetric("ApproximateNumberOfMessagesVisible", "Maximum", made), period: time.Minute, above: 0,
		})
	case q.Export != "":
		alarms.add(alarm{
			id: id + "Alarm", name: q.Alarm(), title: "nobody reads an export",
			description: "The consumer " + q.Export + " has not taken the oldest message of the queue " + q.AWSName + " for 6 hours; after 7 days it is gone. Does the consumer run, with the right to read?",
			metric:      queueMetric("ApproximateAgeOfOldestMessage", "Maximum", made), period: 5 * time.Minute, above: maxAgeExport.Seconds(),
		})
	default:
		alarms.add(alarm{
			id: id + "Alarm", name: q.Alarm(), title: "messages wait too long",
			description: "The oldest message of the queue " + q.AWSName + " is older than all tries of one take. Is the function throttled, failing or too slow?",
			metric:      queueMetric("ApproximateAgeOfOldestMessage", "Maximum", made), period: 5 * time.Minute, above: maxAge.Seconds(),
		})
	}
	return &queue{Queue: q, sqs: made, policy: made.Node().FindChild(jsii.String("Policy"))}
}

// deliveries allows SNS to deliver what is published to the topics, and nothing else. All of them are in one statement,
// because SQS takes only 20 (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html).
func deliveries(q awssqs.Queue, topics []*topic) awsiam.PolicyStatement {
	arns := make([]*string, len(topics))
	for i, t := range topics {
		arns[i] = t.sns.TopicArn()
	}
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid:        jsii.String("DeliveriesOfTopics"),
		Principals: &[]awsiam.IPrincipal{service("sns.amazonaws.com")},
		Actions:    jsii.Strings("sqs:SendMessage"),
		Resources:  &[]*string{q.QueueArn()},
		Conditions: &map[string]any{
			"ArnEquals":    map[string]any{"aws:SourceArn": arns},
			"StringEquals": map[string]any{"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()},
		},
	})
}

func queueMetric(name, statistic string, q awssqs.Queue) metric {
	return metric{namespace: "AWS/SQS", name: name, statistic: statistic, dimensions: []dimension{{"QueueName", q.QueueName()}}}
}

// pin gives the resource of a construct a logical id that does not depend on where the construct is.
func pin(c constructs.Construct, id string) awscdk.CfnResource {
	resource, ok := c.Node().DefaultChild().(awscdk.CfnResource)
	if !ok {
		panic("stack: " + id + " has no resource of its own") // a construct of another kind than all that are pinned
	}
	resource.OverrideLogicalId(&id)
	return resource
}

func seconds(d time.Duration) awscdk.Duration {
	return awscdk.Duration_Seconds(jsii.Number(d.Seconds()))
}

func service(name string) awsiam.IPrincipal {
	return awsiam.NewServicePrincipal(&name, nil)
}
