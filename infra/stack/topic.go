package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/topology"
)

// topic is an SNS topic that refuses requests without TLS.
type topic struct {
	topology.Topic
	sns awssns.Topic
	// subscriptions are there before anybody publishes to the topic.
	subscriptions []constructs.IDependable
}

func newTopic(scope constructs.Construct, t topology.Topic, key awskms.IKey) *topic {
	id := logicalID("Topic", t.Name)
	made := awssns.NewTopic(scope, &id, &awssns.TopicProps{TopicName: jsii.String(t.AWSName), EnforceSSL: jsii.Bool(true), MasterKey: key})
	pin(made, id)
	return &topic{Topic: t, sns: made}
}

// subscribe delivers what is published to t to a queue: raw, so that the body of a message is the payload, and what
// cannot be delivered to the queue of dead letters. The subscription follows the policies of both queues, without which
// SNS drops silently, and the function that reads the queue, whose older code does not know the topic.
func (t *topic) subscribe(scope constructs.Construct, to, deadLetter *queue, reader *function) {
	id := logicalID("Subscription", t.Name+" "+to.Name)
	s := awssns.NewCfnSubscription(scope, &id, &awssns.CfnSubscriptionProps{
		TopicArn:           t.sns.TopicArn(),
		Protocol:           jsii.String("sqs"),
		Endpoint:           to.sqs.QueueArn(),
		RawMessageDelivery: true,
		RedrivePolicy:      map[string]any{"deadLetterTargetArn": deadLetter.sqs.QueueArn()},
	})
	s.Node().AddDependency(to.policy, deadLetter.policy, reader.lambda)
	t.subscriptions = append(t.subscriptions, s)
}
