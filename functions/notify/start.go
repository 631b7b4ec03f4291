package notify

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

// Start runs the function in AWS Lambda.
func Start() {
	deployment.Start(awsclient.Background, func(d *deployment.Deployment) (lambda.Handler, error) {
		rules, err := Compile(d.Config.Notifications.Rules)
		if err != nil {
			return nil, err
		}
		table := dynamodb.New(awsdynamodb.NewFromConfig(d.AWS), d.Value(deployment.Table), time.Now)
		return &events.Batch{
			Function: topology.Notify, Observer: d,
			Subscriber: &Handler{
				Rules: rules, Inbox: &inbox.Inbox{Table: table, Now: time.Now},
				Catalog: catalogstore.New(table, nil), // owners and members are in the table
			},
			Queue:  &awsevents.Queue{Client: sqs.NewFromConfig(d.AWS), DeadLetterURL: d.Value(deployment.DeadLetterQueueURL)},
			Bucket: s3blob.Bucket(d.AWS, d.Value(deployment.Bucket)),
		}, nil
	}, deployment.Table, deployment.DeadLetterQueueURL, deployment.Bucket)
}
