package ingress

import (
	"context"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

// patience is below the 5 s after which the most impatient sender gives up.
const patience = 4500 * time.Millisecond

// Start runs the function in AWS Lambda.
func Start() {
	deployment.Start(awsclient.Interactive, func(d *deployment.Deployment) (lambda.Handler, error) {
		return impatient{&Handler{
			Topics:   Topics(d.Config, d.Topology),
			Queue:    &awsevents.Sender{Client: sqs.NewFromConfig(d.AWS), URL: d.Value(deployment.IngestQueueURL)},
			Secrets:  awssecrets.New(d.AWS, d.Config.AWS.Prefix, time.Now),
			Observer: d,
		}}, nil
	}, deployment.IngestQueueURL)
}

// impatient answers before the sender gives up.
type impatient struct{ *Handler }

// Invoke implements lambda.Handler.
func (i impatient) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return i.Handler.Invoke(ctx, payload)
}
