package sqspublisher

import (
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/blob/foreign"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/exports"
	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

// settle is how long before the deadline a batch that was asked for stops publishing, so that what is done is deleted.
const settle = 4 * time.Second

// Start runs the function in AWS Lambda.
func Start() {
	deployment.Start(awsclient.Background, func(d *deployment.Deployment) (lambda.Handler, error) {
		bucket := s3blob.Bucket(d.AWS, d.Value(deployment.Bucket))
		publisher := &awsevents.Publisher{
			Client: sns.NewFromConfig(d.AWS), ARNPrefix: d.Value(deployment.TopicARNPrefix), Name: d.Topology.SNSName,
			Limit: d.Topology.Limit, Bucket: bucket, OnClaimCheck: exports.Watch(d.Topology, d),
		}
		reader := &Reader{
			Sources: Sources(d.Config, d.Topology, func(q topology.ForeignQueue) Objects {
				cfg := d.AWS.Copy()
				cfg.Region = q.Region()
				return foreign.New(cfg)
			}),
			Secrets: awssecrets.New(d.AWS, d.Config.AWS.Prefix, time.Now),
			Bucket:  bucket,
		}
		batch := events.Batch{
			Function: topology.SQSPublisher, Subscriber: New(publisher), Foreign: reader.Read, Observer: d,
			Queue: sealed.Queue{
				Queue:  &awsevents.Queue{Client: sqs.NewFromConfig(d.AWS), DeadLetterURL: d.Value(deployment.DeadLetterQueueURL)},
				Bucket: bucket,
			},
		}
		h := &Handler{Batch: &batch, Queues: map[string]string{}, Own: d.Topology.AWSName(topology.QueueIngest)}
		for _, q := range d.Topology.Foreign {
			h.Queues[q.ARN] = q.Topic
		}
		var err error
		h.Polls, err = polls(d, batch, bucket)
		return h, err
	}, deployment.TopicARNPrefix, deployment.DeadLetterQueueURL, deployment.Bucket)
}

// polls returns what the schedules invoke; bucket takes what is too large to be parked.
func polls(d *deployment.Deployment, batch events.Batch, bucket *events.Bucket) (map[string]*Poll, error) {
	all := map[string]*Poll{}
	for _, q := range d.Topology.Foreign {
		if q.Poll == nil {
			continue
		}
		name, err := d.Require(deployment.Table)
		if err != nil {
			return nil, err
		}
		cfg, err := awsclient.Config(os.LookupEnv, awsclient.Polling)
		if err != nil {
			return nil, err
		}
		cfg.Region = q.Region()
		queue := &awsevents.Consumer{
			Client: sqs.NewFromConfig(cfg), URL: q.URL(), ARN: q.ARN,
			DeadLetters: &awsevents.Sender{Client: sqs.NewFromConfig(d.AWS), URL: d.Value(deployment.DeadLetterQueueURL)},
		}
		own := batch
		own.Queue, own.Reserve = sealed.Queue{Queue: queue, Bucket: bucket}, settle
		all[d.Topology.PollOf(q.Topic)] = &Poll{
			Topic: q.Topic, Queue: queue, Handle: own.Handle, Leases: dynamodb.New(awsdynamodb.NewFromConfig(d.AWS), name, time.Now),
			WaitTime: time.Duration(q.Poll.WaitTime), VisibilityTimeout: time.Duration(q.Poll.VisibilityTimeout),
		}
	}
	return all, nil
}
