// Package subscriber starts a subscriber of somebody's own: a function that "functions" in the configuration names, with
// its own queue, dead letters, secrets and topics. It is all that its main function needs:
//
//	func main() {
//		subscriber.Start(func(f *subscriber.Function) (events.Subscriber, error) {
//			return &frobs.Sync{Secrets: f.Secrets}, nil
//		})
//	}
//
// The same program runs in AWS Lambda and in `callboard dev`.
package subscriber

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/exports"
	"github.com/callboard/callboard/internal/once"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

// Secrets gives the live values of a secret.
type Secrets interface {
	// Values returns the live values of a secret that the configuration names for this function, the one to use first.
	// It fails with [events.CodeNotFound] if the secret has none.
	Values(ctx context.Context, name string) ([]string, error)
}

// Function is what a subscriber is made from.
type Function struct {
	// Name is the name of the function in the configuration.
	Name string
	// Publisher publishes to the topics that the configuration names for this function; any other is an error. Events
	// of topics that nobody subscribes to go nowhere.
	Publisher events.Publisher
	Secrets   Secrets
	// Once is the store for [events.Once], which keeps an effect outside of Callboard, a mail for example, from being made
	// again when its event comes again. It is in the table of the deployment, and in `callboard dev` in that of the engine.
	// All functions share it: who wraps several subscribers gives each a name of its own.
	Once events.OnceStore
}

// Start handles invocations until the process ends: every event of the function's queue goes to the subscriber that wire
// returns. What its errors mean is that of [events.Subscriber]. A function that cannot be wired says why in its log and
// ends.
func Start(wire func(*Function) (events.Subscriber, error)) {
	deployment.StartAnywhere(awsclient.Background, func(d *deployment.Deployment) (lambda.Handler, error) {
		own, err := self(d)
		if err != nil {
			return nil, err
		}
		f := &Function{Name: own.Name}
		var queue events.Queue
		var bucket *events.Bucket
		if d.Engine != nil {
			f.Publisher, f.Secrets, f.Once, queue, bucket = d.Engine, d.Engine, d.Engine, d.Engine, d.Engine.Bucket()
		} else {
			bucket = s3blob.Bucket(d.AWS, d.Value(deployment.Bucket))
			f.Publisher = &awsevents.Publisher{
				Client: sns.NewFromConfig(d.AWS), ARNPrefix: d.Value(deployment.TopicARNPrefix), Name: d.Topology.SNSName,
				Limit: d.Topology.Limit, Bucket: bucket, OnClaimCheck: exports.Watch(d.Topology, d),
			}
			f.Secrets = d.Metrics.Secrets(awssecrets.New(d.AWS, d.Config.AWS.Prefix, time.Now))
			f.Once = once.New(dynamodb.New(awsdynamodb.NewFromConfig(d.AWS), d.Value(deployment.Table), time.Now), time.Now)
			queue = &awsevents.Queue{Client: sqs.NewFromConfig(d.AWS), DeadLetterURL: d.Value(deployment.DeadLetterQueueURL)}
		}
		f.Publisher = limited{f.Publisher, own}
		s, err := wire(f)
		if err != nil {
			return nil, err
		}
		return &events.Batch{Function: own.Name, Subscriber: s, Queue: queue, Observer: d, Bucket: bucket}, nil
	}, deployment.Table, deployment.TopicARNPrefix, deployment.DeadLetterQueueURL, deployment.Bucket)
}

// self returns the function that this process is.
func self(d *deployment.Deployment) (topology.Function, error) {
	name := os.Getenv(deployment.Function)
	i := slices.IndexFunc(d.Topology.Functions, func(f topology.Function) bool { return f.Name == name })
	if i < 0 {
		return topology.Function{}, events.Errorf(events.CodeInvalid, "the variable %s is %q, and the configuration has no such function; the deployment has to set it", deployment.Function, name)
	}
	return d.Topology.Functions[i], nil
}

// limited publishes to the topics of a function only.
type limited struct {
	events.Publisher
	function topology.Function
}

// Publish implements [events.Publisher].
func (l limited) Publish(ctx context.Context, es ...events.Event) error {
	for _, e := range es {
		if !l.function.MayPublish(e.Topic) {
			return events.Errorf(events.CodeInvalid, "the function %s publishes to the topic %.100q: add it to \"publish\" of functions.%s", l.function.Name, e.Topic, l.function.Name)
		}
	}
	return l.Publisher.Publish(ctx, es...)
}
