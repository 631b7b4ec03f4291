package ingress_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/functions/ingress"
	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/internal/telemetry"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
	"github.com/callboard/callboard/pkg/webhook"
)

// nothing is a queue and an observer that do nothing, and knows the secret.
type nothing struct{}

func (nothing) Send(context.Context, events.Message) error { return nil }
func (nothing) Observe(context.Context, events.Hop)        {}
func (nothing) Values(context.Context, string) ([]string, error) {
	return []string{secret}, nil
}

// benchmarkBody is a push with as many commits as make up about size bytes, and never more.
func benchmarkBody(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"ref":"refs/heads/main","repository":{"id":1,"full_name":"acme/petstore","html_url":"https://github.com/acme/petstore"},"commits":[`)
	for i := 0; ; i++ {
		commit := fmt.Sprintf(`{"id":"%040x","message":"Fix #%d: the \"shop\" says hello\n\nA längere text, with some words in it.","timestamp":"2026-01-02T03:04:05Z",`+
			`"author":{"name":"Jane Doe","email":"jane@example.com"},"distinct":true,"added":[],"removed":[],"modified":["services/shop/main-%d.go"]}`, i, i, i)
		if b.Len()+len(commit)+3 > size {
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(commit)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

// deliveries are the invocations that are measured: pushes of three sizes, as text and as base64.
func deliveries(b *testing.B, measure func(b *testing.B, payload, body []byte)) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"8KB", 8 << 10}, {"100KB", 100 << 10}, {"1MB", events.MaxSQSMessageSize - 1000}} {
		body := benchmarkBody(size.bytes)
		headers := map[string]string{
			"content-type": "application/json", "user-agent": "GitHub-Hookshot/044aadd", "accept": "*/*", "host": "example.com",
			"x-github-event": "push", "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "x-github-hook-id": "292430182",
			"x-github-hook-installation-target-id": "1", "x-github-hook-installation-target-type": "repository",
			"x-hub-signature-256": webhook.GitHubSignature.Sign(body, secret), "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https",
		}
		for _, form := range []string{"text", "base64"} {
			payload := invocation("POST", "github", headers, body, form == "base64")
			b.Run(size.name+"/"+form, func(b *testing.B) { measure(b, payload, body) })
		}
	}
}

// BenchmarkIngress measures the handler beside the floor under it: to decode the invocation, compute the HMAC of
// the body and check its syntax. The queue and the observer do nothing.
func BenchmarkIngress(b *testing.B) {
	deliveries(b, func(b *testing.B, payload, body []byte) {
		h := newHandler(&world{})
		h.Queue, h.Secrets, h.Observer = nothing{}, nothing{}, nothing{}
		inline(h)
		beside(b, len(body), func() { accept(b, h, payload) }, func() {
			if !floor(payload) {
				b.Fatal("refused")
			}
		})
	})
}

// BenchmarkIngressSend measures the function as it is in AWS, with its log and its metrics and the SDK that sends to
// the queue, beside the floor and the same call of the SDK made alone. SQS is a server in this process.
func BenchmarkIngressSend(b *testing.B) {
	deliveries(b, func(b *testing.B, payload, body []byte) {
		besideSend(b, nothing{}, payload, body, func() bool { return floor(payload) })
	})
}

// BenchmarkIngressProfiles is [BenchmarkIngressSend] for every profile. The floor of those that do not sign the body
// computes no HMAC.
func BenchmarkIngressProfiles(b *testing.B) {
	type profile struct {
		topic, secret string
		signs         bool
	}
	for _, size := range []struct {
		name  string
		bytes int
	}{{"8KB", 8 << 10}, {"100KB", 100 << 10}, {"1MB", events.MaxSQSMessageSize - 1000}} {
		body := benchmarkBody(size.bytes)
		profiles := map[string]profile{
			"github": {"github", secret, true}, "gitlab-signed": {"gitlab", signingToken, true}, "gitlab-token": {"gitlab", secret, false},
			"bitbucket-cloud": {"bitbucket-cloud", secret, true}, "bitbucket-data-center": {"bitbucket-data-center", secret, true},
			"azure-devops": {"azure-devops", secret, false}, "gerrit": {"gerrit", secret, false}, "gitea": {"gitea", secret, true},
			"hmac": {"frobs", secret, true}, "standard-webhooks": {"standard-webhooks", signingToken, true}, "basic": {"basic", secret, false},
			"token": {"token", secret, false}, "token-in-address": {"address", secret, false}, "none": {"none", secret, false},
		}
		for _, name := range slices.Sorted(maps.Keys(profiles)) {
			p, h := profiles[name], newHandler(&world{})
			r := webhook.Request{Headers: events.Metadata{"content-type": "application/json", "host": "example.com"}, Body: body, Time: time.Now()}
			if s, ok := h.Topics[p.topic].Profile.(signer); ok {
				s.Sign(&r, p.secret)
			}
			payload := request{Method: "POST", Topic: p.topic, Headers: r.Headers, Body: body, Token: r.Token}.invocation()
			b.Run(size.name+"/"+name, func(b *testing.B) {
				besideSend(b, known(p.secret), payload, body, func() bool {
					body, _, ok := opened(payload)
					if ok && p.signs {
						mac := hmac.New(sha256.New, []byte(p.secret))
						mac.Write(body)
						mac.Sum(nil)
					}
					return ok && isJSON(body)
				})
			})
		}
	}
}

// known is a secret with one value.
type known string

func (k known) Values(context.Context, string) ([]string, error) { return []string{string(k)}, nil }

// besideSend measures the function as it is in AWS beside a floor and the same call of the SDK made alone.
func besideSend(b *testing.B, secrets ingress.Secrets, payload, body []byte, floor func() bool) {
	endpoint := fakeSQS(b, body)
	url := endpoint + "/0/ingest"
	client := sqs.NewFromConfig(clientConfig(b, endpoint))
	var sent capture
	h := newHandler(&world{})
	h.Queue, h.Secrets, h.Observer = &sent, secrets, nothing{}
	inline(h)
	accept(b, h, payload)
	in := &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: &sent.Body, MessageGroupId: &sent.GroupID, MessageAttributes: map[string]types.MessageAttributeValue{},
	}
	for name, a := range sent.Attributes {
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: &a.DataType, StringValue: &a.StringValue}
	}
	h.Queue = &awsevents.Sender{Client: client, URL: url}
	h.Observer = discarding(b)
	beside(b, len(body), func() { accept(b, h, payload) }, func() {
		if !floor() {
			b.Fatal("refused")
		}
		if _, err := client.SendMessage(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkIngressClaimCheck measures the function with events that are too large for a message, beside the floor and the
// same two calls of the SDK made alone. S3 and SQS are a server in this process.
func BenchmarkIngressClaimCheck(b *testing.B) {
	claimChecks(b, func(b *testing.B, h *ingress.Handler, payload, body []byte, endpoint string) {
		cfg := clientConfig(b, endpoint)
		objects, queue, url := s3blob.New(cfg, "blobs"), sqs.NewFromConfig(cfg), endpoint+"/0/ingest"
		var sent capture
		h.Queue = &sent
		accept(b, h, payload)
		in := &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &sent.Body, MessageGroupId: &sent.GroupID, MessageAttributes: map[string]types.MessageAttributeValue{}}
		for name, a := range sent.Attributes {
			in.MessageAttributes[name] = types.MessageAttributeValue{DataType: &a.DataType, StringValue: &a.StringValue}
		}
		h.Queue = &awsevents.Sender{Client: queue, URL: url}
		beside(b, len(body), func() { accept(b, h, payload) }, func() {
			if !floor(payload) {
				b.Fatal("refused")
			}
			if err := objects.Put(b.Context(), "events/x", body); err != nil {
				b.Fatal(err)
			}
			if _, err := queue.SendMessage(b.Context(), in); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkClaimCheck measures an event that goes into the bucket beside the same event in a message, where the queue takes
// both: what is called floor is the message.
func BenchmarkClaimCheck(b *testing.B) {
	claimChecks(b, func(b *testing.B, h *ingress.Handler, payload, body []byte, endpoint string) {
		if len(body) > events.MaxSQSMessageSize {
			b.Skip("larger than a message can be")
		}
		other := *h
		other.Topics = maps.Clone(h.Topics)
		inline(&other)
		beside(b, len(body), func() { accept(b, h, payload) }, func() { accept(b, &other, payload) })
	})
}

// claimChecks measures with pushes that are too large for a message, and a handler as it is in AWS.
func claimChecks(b *testing.B, measure func(b *testing.B, h *ingress.Handler, payload, body []byte, endpoint string)) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"300KB", 300 << 10}, {"1MB", events.MaxSQSMessageSize - 1000}, {"5MB", 5 << 20}} {
		body := benchmarkBody(size.bytes)
		headers := map[string]string{
			"content-type": "application/json", "x-github-event": "push", "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
			"x-hub-signature-256": webhook.GitHubSignature.Sign(body, secret),
		}
		payload := invocation("POST", "github", headers, body, false)
		b.Run(size.name, func(b *testing.B) {
			endpoint := fakeAWS(b, body)
			cfg := clientConfig(b, endpoint)
			h := newHandler(&world{})
			h.Secrets, h.Observer = nothing{}, discarding(b)
			h.Queue, h.Bucket = &awsevents.Sender{Client: sqs.NewFromConfig(cfg), URL: endpoint + "/0/ingest"}, s3blob.Bucket(cfg, "blobs")
			measure(b, h, payload, body, endpoint)
		})
	}
}

// clientConfig is that of the clients of the function, for a server in the place of AWS.
func clientConfig(b *testing.B, endpoint string) aws.Config {
	cfg, err := awsclient.Config(func(name string) (string, bool) {
		value, ok := map[string]string{
			"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "test",
			"AWS_ENDPOINT_URL": endpoint,
		}[name]
		return value, ok
	}, awsclient.Interactive)
	if err != nil {
		b.Fatal(err)
	}
	return cfg
}

// discarding is the observer of a deployment, with its log and its metrics, neither of which goes anywhere.
func discarding(b *testing.B) events.Observer {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	log := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(nowhere, nil)))
	b.Cleanup(func() {
		slog.SetDefault(log)
		_ = nowhere.Close()
	})
	return &deployment.Deployment{Metrics: &telemetry.Metrics{Prefix: "callboard", Out: nowhere}}
}

// inline lets a handler send what a queue takes.
func inline(h *ingress.Handler) {
	for name, topic := range h.Topics {
		topic.Limit = events.MaxSQSMessageSize
		h.Topics[name] = topic
	}
}

// capture keeps the last message.
type capture struct{ events.Message }

func (c *capture) Send(_ context.Context, m events.Message) error {
	c.Message = m
	return nil
}

// fakeSQS takes every message and answers as SQS does to one with this body: the SDK compares the MD5.
func fakeSQS(b *testing.B, body []byte) string {
	answer := fmt.Sprintf(`{"MessageId":"1","MD5OfMessageBody":"%x"}`, md5.Sum(body))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, answer)
	}))
	b.Cleanup(s.Close)
	return s.URL
}

// fakeAWS takes every object and every message, and answers as SQS does to a message with this body or to a small one: the
// SDK compares the MD5.
func fakeAWS(b *testing.B, body []byte) string {
	whole := fmt.Sprintf("%x", md5.Sum(body))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := whole
		if r.Method == http.MethodPut || r.ContentLength > int64(len(body)) {
			_, _ = io.Copy(io.Discard, r.Body)
		} else {
			var sent struct{ MessageBody string }
			if err := json.UnmarshalRead(r.Body, &sent); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			sum = fmt.Sprintf("%x", md5.Sum([]byte(sent.MessageBody)))
		}
		if r.Method != http.MethodPut {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			_, _ = fmt.Fprintf(w, `{"MessageId":"1","MD5OfMessageBody":%q}`, sum)
		}
	}))
	b.Cleanup(s.Close)
	return s.URL
}

func accept(b *testing.B, h *ingress.Handler, payload []byte) {
	answer, err := h.Invoke(b.Context(), payload)
	if err != nil || !bytes.HasPrefix(answer, []byte(`{"statusCode":202`)) {
		b.Fatalf("%s, %v", answer, err)
	}
}

// beside reports how long two functions take, in microseconds, and the ratio of neighbouring turns with its quartiles.
// They take turns, so that a noisy machine is noisy for both, and each collects its own garbage.
func beside(b *testing.B, size int, function, floor func()) {
	turn := max(4, 256<<10/size) // calls
	measure := func(f func()) float64 {
		runtime.GC()
		start := time.Now()
		for range turn {
			f()
		}
		return float64(time.Since(start).Nanoseconds()) / 1e3 / float64(turn)
	}
	measure(function)
	measure(floor)
	var ours, theirs, ratios []float64
	for b.Loop() {
		x, y := measure(function), measure(floor)
		ours, theirs, ratios = append(ours, x), append(theirs, y), append(ratios, x/y)
	}
	for _, s := range [][]float64{ours, theirs, ratios} {
		slices.Sort(s)
	}
	n := len(ratios)
	b.ReportMetric(ours[n/2], "handler-µs")
	b.ReportMetric(theirs[n/2], "floor-µs")
	b.ReportMetric(ratios[n/2], "ratio")
	b.ReportMetric(ratios[n/4], "ratio-q1")
	b.ReportMetric(ratios[n*3/4], "ratio-q3")
	b.ReportMetric(0, "ns/op")
}

// floor decodes an invocation, verifies the signature and checks the syntax of the body, in as few words as possible.
func floor(payload []byte) bool {
	body, signature, ok := opened(payload)
	if !ok {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	return err == nil && hmac.Equal(mac.Sum(nil), given) && isJSON(body)
}

func isJSON(body []byte) bool {
	return jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// opened returns the body of an invocation and the signature of GitHub, if there is one.
func opened(payload []byte) (body []byte, signature string, ok bool) {
	encoded := false
	d := jsontext.NewDecoder(bytes.NewBuffer(payload))
	if _, err := d.ReadToken(); err != nil {
		return nil, "", false
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, "", false
		}
		switch name.String() {
		case "body":
			v, err := d.ReadValue()
			if err != nil {
				return nil, "", false
			}
			if body, err = jsontext.AppendUnquote(make([]byte, 0, len(v)), v); err != nil {
				return nil, "", false
			}
		case "isBase64Encoded":
			v, err := d.ReadValue()
			if err != nil {
				return nil, "", false
			}
			encoded = v.Kind() == 't'
		case "headers":
			headers := make(map[string]string)
			if _, err := d.ReadToken(); err != nil {
				return nil, "", false
			}
			for d.PeekKind() == '"' {
				t, err := d.ReadToken()
				if err != nil {
					return nil, "", false
				}
				name := t.String()
				if t, err = d.ReadToken(); err != nil {
					return nil, "", false
				}
				headers[name] = t.String()
			}
			if _, err := d.ReadToken(); err != nil {
				return nil, "", false
			}
			signature = headers["x-hub-signature-256"]
		default:
			if err := d.SkipValue(); err != nil {
				return nil, "", false
			}
		}
	}
	if encoded {
		n, err := base64.StdEncoding.Decode(body, body)
		if err != nil {
			return nil, "", false
		}
		body = body[:n]
	}
	return body, signature, true
}
