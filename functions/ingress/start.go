package ingress

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

// patience is below the 5 s after which the most impatient sender gives up.
const patience = 4500 * time.Millisecond

// Start runs the function in AWS Lambda. A program of somebody's own passes what it adds as options; "functions" in the
// configuration puts it in the place of ours, in `callboard dev` too.
func Start(options ...Option) {
	x := extend(options)
	deployment.StartAnywhere(awsclient.Interactive, func(d *deployment.Deployment) (lambda.Handler, error) {
		topics, err := x.topics(d.Config, d.Topology)
		if err != nil {
			return nil, err
		}
		h := &Handler{Topics: topics, Parsers: x.parsers, Observer: d}
		if d.Engine != nil {
			if err := withoutTable(topics); err != nil {
				return nil, err
			}
			h.Queue, h.Secrets, h.Bucket = d.Engine, d.Engine, d.Engine.Bucket()
			return impatient{h}, nil
		}
		h.Queue = &awsevents.Sender{Client: sqs.NewFromConfig(d.AWS), URL: d.Value(deployment.IngestQueueURL)}
		h.Secrets = awssecrets.New(d.AWS, d.Config.AWS.Prefix, time.Now)
		h.Bucket = s3blob.Bucket(awsclient.With(d.AWS, awsclient.Upload), d.Value(deployment.Bucket))
		if d.Config.Repeats() {
			name, err := d.Require(deployment.Table)
			if err != nil {
				return nil, err
			}
			h.Table = dynamodb.New(awsdynamodb.NewFromConfig(d.AWS), name, time.Now)
		}
		return impatient{h}, nil
	}, deployment.IngestQueueURL, deployment.Bucket)
}

// withoutTable fails if a topic remembers bodies, which a program that `callboard dev` runs cannot: only the engine has the
// table.
func withoutTable(topics map[string]Topic) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if topics[name].RepeatWindow > 0 {
			errs = append(errs, events.Errorf(events.CodeInvalid, "the topic %q has a \"repeatWindow\", for which an ingress of your own has no table in callboard dev: leave it out of the configuration you try this program with; in AWS it works", name))
		}
	}
	return errors.Join(errs...)
}

// impatient answers before the sender gives up.
type impatient struct{ *Handler }

// Invoke implements lambda.Handler.
func (i impatient) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return i.Handler.Invoke(ctx, payload)
}
