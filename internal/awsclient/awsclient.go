// Package awsclient is how every AWS client is made: its region, credentials and endpoint, and how long it may take.
// The configuration is built by hand: reading it with the config package of the SDK takes half of the time in which
// a function starts.
//
//	cfg, err := awsclient.Config(os.LookupEnv, awsclient.Interactive)
//	client := sqs.NewFromConfig(cfg)
//
// It reads the variables that Lambda sets and those with which the tools of AWS are pointed at something else
// (https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html). It does not read profiles.
package awsclient

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/callboard/callboard/pkg/events"
)

// Budget is what one call to AWS may take. It ends, however bad the network, within [Budget.Total].
type Budget struct {
	Attempts int           // how often it is tried, at least 1
	Timeout  time.Duration // of one attempt
	Backoff  time.Duration // the longest rest between two attempts
}

var (
	// Interactive is for functions with somebody waiting. The most impatient sender of webhooks gives up after 5 s;
	// two calls one after the other, for the secret and to the queue, leave time to answer 503 before.
	Interactive = Budget{Attempts: 2, Timeout: 950 * time.Millisecond, Backoff: 100 * time.Millisecond}
	// Upload is for a call that sends megabytes while somebody waits. It may take all the time that there is but for
	// that of one attempt to the queue; whoever makes it has to end it when no time is left.
	Upload = Budget{Attempts: 2, Timeout: 3 * time.Second, Backoff: 100 * time.Millisecond}
	// Background is for functions that read queues: their messages come again after a failure.
	Background = Budget{Attempts: 3, Timeout: 4 * time.Second, Backoff: time.Second}
	// Polling is for requests that wait for messages, up to 15 s, in a function that may run for 30 s.
	Polling = Budget{Attempts: 1, Timeout: 19 * time.Second}
)

// Total is how long a call can take with all of its attempts.
func (b Budget) Total() time.Duration {
	return time.Duration(b.Attempts)*b.Timeout + time.Duration(b.Attempts-1)*b.Backoff
}

// Config returns what the SDK makes clients from. Lookup is [os.LookupEnv], or stands for it. It fails with
// [events.CodeInvalid] where a variable is missing or wrong.
func Config(lookup func(name string) (string, bool), budget Budget) (aws.Config, error) {
	get := func(name string) string { v, _ := lookup(name); return v }
	region := get("AWS_REGION")
	if region == "" {
		region = get("AWS_DEFAULT_REGION")
	}
	if region == "" {
		return aws.Config{}, events.Errorf(events.CodeInvalid, "there is no AWS region: set AWS_REGION")
	}
	credentials := aws.Credentials{
		AccessKeyID: get("AWS_ACCESS_KEY_ID"), SecretAccessKey: get("AWS_SECRET_ACCESS_KEY"), SessionToken: get("AWS_SESSION_TOKEN"),
		Source: "environment",
	}
	if !credentials.HasKeys() {
		return aws.Config{}, events.Errorf(events.CodeInvalid, "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if they are temporary")
	}
	client, err := httpClient(get("AWS_CA_BUNDLE"), budget)
	if err != nil {
		return aws.Config{}, err
	}
	cfg := aws.Config{
		Region:     region,
		HTTPClient: client,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return credentials, nil
		}),
		Retryer:    budget.retryer,
		APIOptions: []func(*middleware.Stack) error{SendOnce},
	}
	if ignored := get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"); strings.EqualFold(ignored, "true") {
		return cfg, nil
	}
	if url := get("AWS_ENDPOINT_URL"); url != "" {
		cfg.BaseEndpoint = &url
	}
	cfg.ConfigSources = []any{endpoints(get)}
	return cfg, nil
}

// With returns a configuration of [Config] with another budget.
func With(cfg aws.Config, budget Budget) aws.Config {
	cfg = cfg.Copy()
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = client.WithTimeout(budget.Timeout)
	}
	cfg.Retryer = budget.retryer
	return cfg
}

func (b Budget) retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = b.Attempts, b.Backoff })
}

// endpoints gives the SDK the endpoint of a single service: it asks every config source for it that has this method.
type endpoints func(name string) string

// GetServiceBaseEndpoint returns AWS_ENDPOINT_URL_<SERVICE>. The name of the service in the SDK, such as
// "Secrets Manager", becomes SECRETS_MANAGER.
func (e endpoints) GetServiceBaseEndpoint(_ context.Context, service string) (string, bool, error) {
	url := e("AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(service, " ", "_")))
	return url, url != "", nil
}

// SendOnce is an API option that keeps the SDK from asking again for what was done and answered. The SDK ends the body of a
// request as soon as the answer begins, and one that is an [io.WriterTo] then fails with EOF (smithy-go v1.28.8,
// transport/http/internal/io/safe.go). Where net/http has not yet looked whether there is more of the body, it takes that for a
// failure and closes the connection while the answer is read; the SDK tries again. So no body is an io.WriterTo. It is rare, as
// the answer has to be faster than that look.
func SendOnce(stack *middleware.Stack) error {
	return stack.Build.Add(middleware.BuildMiddlewareFunc("SendOnce", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
		if request, ok := in.Request.(*smithyhttp.Request); ok {
			if body, ok := request.GetStream().(io.ReadSeeker); ok {
				request, err := request.SetStream(struct{ io.ReadSeeker }{body})
				if err != nil {
					return middleware.BuildOutput{}, middleware.Metadata{}, err
				}
				in.Request = request
			}
		}
		return next.HandleBuild(ctx, in)
	}), middleware.Before)
}

// OverHTTP1 returns a client that does without HTTP/2. After a number of requests servers end a connection: in HTTP/1.1 between
// two of them, but in HTTP/2 that of MiniStack ends the last one too.
func OverHTTP1(c *awshttp.BuildableClient) *awshttp.BuildableClient {
	return c.WithTransportOptions(func(t *http.Transport) {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
		if t.TLSClientConfig != nil {
			t.TLSClientConfig = t.TLSClientConfig.Clone()
			t.TLSClientConfig.NextProtos = nil
		}
	})
}

// httpClient returns a client that trusts the certificates in a file, in place of the system's, unless there is none.
func httpClient(caBundle string, budget Budget) (*awshttp.BuildableClient, error) {
	client := awshttp.NewBuildableClient().WithTimeout(budget.Timeout)
	if caBundle == "" {
		return client, nil
	}
	pem, err := os.ReadFile(caBundle) // #nosec G304 G703 -- the operator says which file
	if err != nil {
		return nil, events.Wrap(err, events.CodeInvalid, "the file %s of AWS_CA_BUNDLE cannot be read", caBundle)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, events.Errorf(events.CodeInvalid, "the file %s of AWS_CA_BUNDLE holds no certificate in PEM form", caBundle)
	}
	return client.WithTransportOptions(func(t *http.Transport) { t.TLSClientConfig.RootCAs = pool }), nil
}
