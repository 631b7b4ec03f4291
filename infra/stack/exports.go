package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/config"
)

// consumers returns who of other accounts reads an export. In our own account IAM alone says so.
func consumers(e config.Export) []awsiam.IPrincipal {
	if e.Account != "" {
		return []awsiam.IPrincipal{awsiam.NewAccountPrincipal(e.Account)}
	}
	var list []awsiam.IPrincipal
	for _, arn := range e.Principals {
		list = append(list, awsiam.NewArnPrincipal(&arn))
	}
	return list
}

// admitConsumers lets consumers of other accounts read what is exported to them: their queues, the bodies that claim checks
// stand for where they resolve them, and what both are encrypted with.
func (b *builder) admitConsumers() {
	for _, e := range b.conf.Exports {
		principals := consumers(e)
		if len(principals) == 0 {
			continue
		}
		services := []any{"sqs." + *awscdk.Aws_REGION() + ".amazonaws.com"}
		for _, q := range b.topo.Queues {
			if q.Export == e.Name {
				made := b.queues[q.Name].sqs
				made.AddToResourcePolicy(admit(principals, made.QueueArn(), nil,
					"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"))
			}
		}
		if e.ClaimChecks {
			b.policy.Document().AddStatements(admit(principals, b.bucket.ArnForObjects(jsii.String(payloads)), nil, "s3:GetObject"))
			services = append(services, "s3."+*awscdk.Aws_REGION()+".amazonaws.com")
		}
		if b.key != nil { // a key that the stack did not make keeps its policy: docs/backstage.md says what it needs
			b.key.AddToResourcePolicy(admit(principals, jsii.String("*"), map[string]any{"kms:ViaService": services}, "kms:Decrypt"), jsii.Bool(true))
		}
	}
}

// admit allows principals to do something with a resource; equal are conditions.
func admit(principals []awsiam.IPrincipal, resource *string, equal map[string]any, actions ...string) awsiam.PolicyStatement {
	props := &awsiam.PolicyStatementProps{Principals: &principals, Actions: jsii.Strings(actions...), Resources: &[]*string{resource}}
	if equal != nil {
		props.Conditions = &map[string]any{"StringEquals": equal}
	}
	return awsiam.NewPolicyStatement(props)
}

// exportOutputs tells what to paste at each consumer.
func (b *builder) exportOutputs() {
	for _, q := range b.topo.Queues {
		if q.Export == "" {
			continue
		}
		awscdk.NewCfnOutput(b.stack, jsii.String(logicalID("Export", q.Export+" "+q.Topic)), &awscdk.CfnOutputProps{
			Value: b.queues[q.Name].sqs.QueueUrl(),
			Description: jsii.String("Paste this URL where " + q.Export + " asks for the queue of " + q.Topic + "; in Backstage it is queue.url. " +
				"The consumer needs rights of its own: see docs/backstage.md"),
		})
	}
}
