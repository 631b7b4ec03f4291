package ingress

import (
	"context"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
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
			h.Queue, h.Secrets, h.Bucket = d.Engine, d.Engine, d.Engine.Bucket()
			return impatient{h}, nil
		}
		h.Queue = &awsevents.Sender{Client: sqs.NewFromConfig(d.AWS), URL: d.Value(deployment.IngestQueueURL)}
		h.Secrets = awssecrets.New(d.AWS, d.Config.AWS.Prefix, time.Now)
		h.Bucket = s3blob.Bucket(awsclient.With(d.AWS, awsclient.Upload), d.Value(deployment.Bucket))
		return impatient{h}, nil
	}, deployment.IngestQueueURL, deployment.Bucket)
}

// impatient answers before the sender gives up.
type impatient struct{ *Handler }

// Invoke implements lambda.Handler.
func (i impatient) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return i.Handler.Invoke(ctx, payload)
}
