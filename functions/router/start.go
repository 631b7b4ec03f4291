package router

import (
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/exports"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

// Start runs the function in AWS Lambda.
func Start() {
	deployment.Start(awsclient.Background, func(d *deployment.Deployment) (lambda.Handler, error) {
		bucket := s3blob.Bucket(d.AWS, d.Value(deployment.Bucket))
		publisher := &awsevents.Publisher{
			Client: sns.NewFromConfig(d.AWS), ARNPrefix: d.Value(deployment.TopicARNPrefix), Name: d.Topology.SNSName,
			Limit: d.Topology.Limit, Bucket: bucket, OnClaimCheck: exports.Watch(d.Topology, d),
		}
		return &events.Batch{
			Function: topology.Router, Subscriber: New(publisher, d.Topology), Observer: d,
			Queue:  &awsevents.Queue{Client: sqs.NewFromConfig(d.AWS), DeadLetterURL: d.Value(deployment.DeadLetterQueueURL)},
			Bucket: bucket,
		}, nil
	}, deployment.TopicARNPrefix, deployment.DeadLetterQueueURL, deployment.Bucket)
}
