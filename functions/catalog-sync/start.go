package catalogsync

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/exports"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

// Start runs the function in AWS Lambda.
func Start() {
	deployment.Start(awsclient.Background, func(d *deployment.Deployment) (lambda.Handler, error) {
		providers, err := Providers(d.Config.Catalog.Providers)
		if err != nil {
			return nil, err
		}
		secrets := d.Metrics.Secrets(awssecrets.New(d.AWS, d.Config.AWS.Prefix, time.Now))
		readers, err := Readers(d.Config.Integrations.GitHub, secrets, d.Metrics.Transport)
		if err != nil {
			return nil, err
		}
		table := dynamodb.New(awsdynamodb.NewFromConfig(d.AWS), d.Value(deployment.Table), time.Now)
		sync := &Handler{
			Providers: providers, Readers: readers,
			Store: catalogstore.New(table, s3blob.New(d.AWS, d.Value(deployment.Bucket))),
			Publisher: &awsevents.Publisher{
				Client: sns.NewFromConfig(d.AWS), ARNPrefix: d.Value(deployment.TopicARNPrefix), Name: d.Topology.SNSName,
				Limit: d.Topology.Limit, OnClaimCheck: exports.Watch(d.Topology, d),
			},
		}
		batch := &events.Batch{
			Function: topology.CatalogSync, Subscriber: sync, Observer: d,
			Queue:  &awsevents.Queue{Client: sqs.NewFromConfig(d.AWS), DeadLetterURL: d.Value(deployment.DeadLetterQueueURL)},
			Bucket: s3blob.Bucket(d.AWS, d.Value(deployment.Bucket)),
		}
		// A token that is missing is counted before an event needs it.
		watch := func(ctx context.Context) {
			for _, g := range d.Config.Integrations.GitHub {
				if g.Token != "" {
					_, _ = secrets.Values(ctx, g.Token) // counts what is missing
				}
				for _, a := range g.Apps {
					_, _ = secrets.Values(ctx, a.PrivateKey)
				}
			}
		}
		return &Lambda{Batch: batch, Sync: sync, Watch: watch}, nil
	}, deployment.Table, deployment.Bucket, deployment.TopicARNPrefix, deployment.DeadLetterQueueURL)
}

// Secrets gives the live values of a secret.
type Secrets interface {
	Values(ctx context.Context, name string) ([]string, error)
}

// Readers returns a reader for each host. A token is asked for each time it is needed, so that a new one needs no
// restart. observe, unless nil, puts itself between a reader and the API of a host.
func Readers(hosts []config.GitHubIntegration, secrets Secrets, observe func(host string, next http.RoundTripper) http.RoundTripper) (map[string]Reader, error) {
	readers := make(map[string]Reader, len(hosts))
	for _, g := range hosts {
		options := scm.GitHubOptions{APIBaseURL: g.APIBaseURL, TokenPerOwner: len(g.Apps) > 0}
		if observe != nil {
			options.HTTPClient = &http.Client{Transport: observe(g.Host, http.DefaultTransport)}
		}
		c, err := newCredentials(g, secrets)
		if err != nil {
			return nil, err
		}
		if c != nil {
			options.Token = c.token
		}
		reader, err := scm.NewGitHub(options)
		if err != nil {
			return nil, err
		}
		readers[g.Host] = reader
	}
	return readers, nil
}
