package awsclient_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/pkg/events"
)

func environment(more map[string]string) func(string) (string, bool) {
	all := map[string]string{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
	for name, value := range more {
		all[name] = value
	}
	return func(name string) (string, bool) { v, ok := all[name]; return v, ok }
}

func config(t *testing.T, more map[string]string, budget awsclient.Budget) aws.Config {
	t.Helper()
	cfg, err := awsclient.Config(environment(more), budget)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestConfig_RegionAndCredentials(t *testing.T) {
	t.Parallel()
	cfg := config(t, nil, awsclient.Interactive)
	c, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil || cfg.Region != "eu-west-1" || c.AccessKeyID != "key" || c.SecretAccessKey != "secret" || c.SessionToken != "token" {
		t.Errorf("region %q, credentials %+v, %v", cfg.Region, c, err)
	}
	if cfg := config(t, map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, awsclient.Interactive); cfg.Region != "us-west-2" {
		t.Errorf("region %q, want that of AWS_DEFAULT_REGION", cfg.Region)
	}
}

func TestConfig_Fails(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		environment map[string]string
		want        string
	}{
		"no region":      {map[string]string{"AWS_REGION": ""}, "AWS_REGION"},
		"no key":         {map[string]string{"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID"},
		"no secret":      {map[string]string{"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"},
		"no bundle":      {map[string]string{"AWS_CA_BUNDLE": empty + "-absent"}, empty + "-absent"},
		"no certificate": {map[string]string{"AWS_CA_BUNDLE": empty}, empty},
	} {
		_, err := awsclient.Config(environment(test.environment), awsclient.Interactive)
		if events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(events.ErrorMessage(err), test.want) {
			t.Errorf("%s: %v, want an error that names %s", name, err, test.want)
		}
	}
}

// server counts its requests and answers each as AWS does an empty one.
func server(t *testing.T) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(s.Close)
	return s, &n
}

func TestConfig_Endpoints(t *testing.T) {
	t.Parallel()
	all, toAll := server(t)
	one, toOne := server(t)
	cfg := config(t, map[string]string{"AWS_ENDPOINT_URL": all.URL, "AWS_ENDPOINT_URL_SECRETS_MANAGER": one.URL}, awsclient.Interactive)
	if _, err := sqs.NewFromConfig(cfg).ListQueues(t.Context(), &sqs.ListQueuesInput{}); err != nil {
		t.Error(err)
	}
	if _, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: new("a")}); err != nil {
		t.Error(err)
	}
	if toAll.Load() != 1 || toOne.Load() != 1 {
		t.Errorf("%d requests to the endpoint of all services and %d to that of Secrets Manager, want one each", toAll.Load(), toOne.Load())
	}

	ignored := config(t, map[string]string{"AWS_ENDPOINT_URL": all.URL, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, awsclient.Interactive)
	if ignored.BaseEndpoint != nil || len(ignored.ConfigSources) > 0 {
		t.Error("the endpoints are used although they are to be ignored")
	}
}

func TestConfig_CABundle(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	t.Cleanup(s.Close)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	once := awsclient.Budget{Attempts: 1, Timeout: time.Minute}
	call := func(more map[string]string) error {
		more["AWS_ENDPOINT_URL"] = s.URL
		_, err := sqs.NewFromConfig(config(t, more, once)).ListQueues(t.Context(), &sqs.ListQueuesInput{})
		return err
	}
	if err := call(map[string]string{"AWS_CA_BUNDLE": bundle}); err != nil {
		t.Errorf("with the bundle: %v", err)
	}
	if err := call(map[string]string{}); err == nil {
		t.Error("the certificate is trusted without the bundle")
	}
}

// TestBudget_Attempts has a server that never answers in time.
func TestBudget_Attempts(t *testing.T) {
	t.Parallel()
	closing, stop := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-closing.Done():
		}
	}))
	t.Cleanup(func() { stop(); s.Close() })
	budget := awsclient.Budget{Attempts: 3, Timeout: 20 * time.Millisecond, Backoff: time.Millisecond}
	at := map[string]string{"AWS_ENDPOINT_URL": s.URL}
	for name, cfg := range map[string]aws.Config{
		"its own": config(t, at, budget), "another": awsclient.With(config(t, at, awsclient.Background), budget),
	} {
		_, err := sqs.NewFromConfig(cfg).ListQueues(t.Context(), &sqs.ListQueuesInput{})
		if e, ok := errors.AsType[*retry.MaxAttemptsError](err); !ok || e.Attempt != 3 {
			t.Errorf("%s: a call to a server that does not answer: %v, want three attempts", name, err)
		}
	}
}

// sluggish is a client whose connections let go of what they have sent only when the answer is being read, which is after the SDK
// has ended the body of the request.
type sluggish struct {
	http.Transport
	read chan struct{}
}

func (s *sluggish) Do(r *http.Request) (*http.Response, error) {
	s.read = make(chan struct{})
	s.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return sluggishConn{c, s.read}, err
	}
	response, err := s.RoundTrip(r)
	if err == nil {
		response.Body = &announced{response.Body, sync.OnceFunc(func() { close(s.read) })}
	}
	return response, err
}

type sluggishConn struct {
	net.Conn
	read chan struct{}
}

func (c sluggishConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if bytes.Contains(p, []byte("the message")) {
		<-c.read
	}
	return n, err
}

// announced is the body of an answer that tells when somebody begins to read it.
type announced struct {
	io.ReadCloser
	begin func()
}

func (a *announced) Read(p []byte) (int, error) {
	a.begin()
	return a.ReadCloser.Read(p)
}

// An answer that comes before the client has noticed that it has sent everything is an answer, and no reason to ask again.
func TestSendOnce(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"MessageId":"1"}`)
	}))
	t.Cleanup(s.Close)
	cfg := config(t, map[string]string{"AWS_ENDPOINT_URL": s.URL}, awsclient.Background)
	client := &sluggish{Transport: http.Transport{DisableKeepAlives: true}}
	cfg.HTTPClient = client
	written := make(chan error, awsclient.Background.Attempts)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteRequest: func(i httptrace.WroteRequestInfo) { written <- i.Err },
	})
	out, err := sqs.NewFromConfig(cfg).SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: aws.String(s.URL + "/1/q"), MessageBody: aws.String("the message"),
	}, func(o *sqs.Options) { o.DisableMessageChecksumValidation = true })
	if err != nil || aws.ToString(out.MessageId) != "1" {
		t.Errorf("the answer is %+v, %v", out, err)
	}
	if err := <-written; err != nil {
		t.Errorf("the request is said to have failed: %v", err)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("the message was sent %d times", n)
	}
}

// TestBudget_Interactive: a request makes two calls at most, and has to be answered within 5 s, with time left for
// the way there and back.
func TestBudget_Interactive(t *testing.T) {
	t.Parallel()
	if got, limit := 2*awsclient.Interactive.Total(), 4500*time.Millisecond; got > limit {
		t.Errorf("two calls take up to %v, want at most %v", got, limit)
	}
	if got, limit := awsclient.Upload.Timeout+awsclient.Interactive.Timeout, 4500*time.Millisecond; got > limit {
		t.Errorf("one attempt to the bucket and one to the queue take up to %v, want at most %v", got, limit)
	}
}

// TestBudget_Polling: a request waits up to 15 s, and has to end within the 30 s of the function, with time left for what
// it brings.
func TestBudget_Polling(t *testing.T) {
	t.Parallel()
	if total := awsclient.Polling.Total(); total < 18*time.Second || total > 20*time.Second {
		t.Errorf("a request can take %v", total)
	}
}
