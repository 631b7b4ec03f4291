package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// topic is an SNS topic that refuses requests without TLS.
type topic struct {
	topology.Topic
	sns awssns.Topic
	// subscriptions are there before anybody publishes to the topic.
	subscriptions []subscription
}

// subscription is one of a topic, with the name of the function that reads its queue; "" where somebody else does.
type subscription struct {
	made   constructs.IDependable
	reader string
}

// newTopic adds a topic that takes messages of up to limit bytes.
func newTopic(scope constructs.Construct, t topology.Topic, limit int, key awskms.IKey) *topic {
	id := logicalID("Topic", t.Name)
	made := awssns.NewTopic(scope, &id, &awssns.TopicProps{TopicName: jsii.String(t.AWSName), EnforceSSL: jsii.Bool(true), MasterKey: key})
	resource := pin(made, id)
	if limit > events.MaxMessageSize {
		takeMore(resource, limit)
	}
	return &topic{Topic: t, sns: made}
}

// takeMore lets a topic take messages of up to limit bytes and no more, whoever publishes: its queues could not park them. The
// property is younger than the schemas of the CDK and of cfn-lint
// (https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html).
func takeMore(topic awscdk.CfnResource, limit int) {
	topic.AddPropertyOverride(jsii.String("MaximumMessageSize"), limit)
	awscdk.Validations_Of(topic).Acknowledge(&awscdk.Acknowledgment{
		Id: jsii.String("CloudFormation-Validate::F3002"), Reason: jsii.String("MaximumMessageSize is younger than the schema of this CDK"),
	})
	topic.AddMetadata(jsii.String("cfn-lint"), map[string]any{"config": map[string]any{"ignore_checks": []string{"E3002"}}})
}

// subscribe delivers what is published to t to a queue: raw, so that the body of a message is the payload, and what
// cannot be delivered to the queue of dead letters. The subscription follows the policies of both queues, without which
// SNS drops silently, and the function that reads the queue, whose older code does not know the topic; reader is nil where
// somebody else reads it.
func (t *topic) subscribe(scope constructs.Construct, as topology.Subscription, to, deadLetter *queue, reader *function) {
	id := logicalID("Subscription", t.Name+" "+to.Name)
	props := &awssns.CfnSubscriptionProps{
		TopicArn:           t.sns.TopicArn(),
		Protocol:           jsii.String("sqs"),
		Endpoint:           to.sqs.QueueArn(),
		RawMessageDelivery: true,
		RedrivePolicy:      map[string]any{"deadLetterTargetArn": deadLetter.sqs.QueueArn()},
	}
	if as.WithoutClaimChecks {
		props.FilterPolicyScope = jsii.String("MessageAttributes")
		props.FilterPolicy = map[string]any{events.AttributeExtendedSize: []any{map[string]any{"exists": false}}}
	}
	s := awssns.NewCfnSubscription(scope, &id, props)
	s.Node().AddDependency(to.policy, deadLetter.policy)
	if reader != nil {
		s.Node().AddDependency(reader.lambda)
	}
	t.subscriptions = append(t.subscriptions, subscription{s, to.Function})
}
