package stack

import (
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/topology"
)

// readsForeign feeds the function from a queue that others fill, unless a schedule asks that one. The queue is in the
// region of the stack, and maybe in another account, whose metrics are not seen here.
func (f *function) readsForeign(scope constructs.Construct, q topology.ForeignQueue, alarms *alarms) {
	if q.Poll != nil {
		return
	}
	// The id follows from the queue: Lambda refuses a second mapping of one queue to one function, so that of a topic with
	// another name has to be the same.
	awslambda.NewCfnEventSourceMapping(scope, jsii.String(logicalID("MappingForeign", q.ARN)), &awslambda.CfnEventSourceMappingProps{
		FunctionName:          f.lambda.FunctionName(),
		EventSourceArn:        jsii.String(q.ARN),
		BatchSize:             jsii.Number(q.BatchSize),
		FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
		ScalingConfig:         &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: jsii.Number(q.MaxConcurrency)},
	})
	alarms.add(alarm{
		id: logicalID("Foreign", q.Topic) + "Alarm", name: q.Alarm(), title: "messages of others wait too long",
		description: "The oldest message of the queue " + q.ARN + " is older than all tries of one take. Is its mapping enabled, and may the function read it? " +
			"This looks at a queue of this account only.",
		metric: metric{
			namespace: "AWS/SQS", name: "ApproximateAgeOfOldestMessage", statistic: "Maximum",
			dimensions: []dimension{{"QueueName", jsii.String(q.AWSName())}},
		},
		period: 5 * time.Minute, above: maxAge.Seconds(),
	})
}

// foreignGrants allows a function to read the queues of others, and what belongs to their messages.
func (b *builder) foreignGrants(f topology.Function) []grant {
	var mapped, polled, objects, keys []*string
	for _, q := range b.topo.Foreign {
		if q.Function != f.Name {
			continue
		}
		if q.Poll == nil {
			mapped = append(mapped, jsii.String(q.ARN))
		} else {
			polled = append(polled, jsii.String(q.ARN))
		}
		for _, bucket := range q.Buckets {
			objects = append(objects, b.stack.FormatArn(&awscdk.ArnComponents{
				Service: jsii.String("s3"), Region: jsii.String(""), Account: jsii.String(""), Resource: jsii.String(bucket), ResourceName: jsii.String("*"),
			}))
		}
		for _, key := range q.Keys {
			keys = append(keys, jsii.String(key))
		}
	}
	var list []grant
	for _, g := range []grant{
		allow("ReadQueuesOfOthers", []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"}, mapped...),
		allow("PollQueuesOfOthers", []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}, polled...),
		allow("ReadObjectsOfOthers", []string{"s3:GetObject"}, objects...),
		allow("UseKeysOfOthers", []string{"kms:Decrypt"}, keys...),
	} {
		if len(g.resources) > 0 {
			list = append(list, g)
		}
	}
	return list
}

// foreignOutputs tells whom the policies of the queues of others have to allow to read.
func (b *builder) foreignOutputs() {
	if len(b.topo.Foreign) == 0 {
		return
	}
	awscdk.NewCfnOutput(b.stack, jsii.String("QueueReaderRoleArn"), &awscdk.CfnOutputProps{
		Value:       b.functions[topology.SQSPublisher].lambda.Role().RoleArn(),
		Description: jsii.String("The role that the policies of queues, buckets and keys of other accounts have to allow to read (docs/queues.md)"),
	})
}
