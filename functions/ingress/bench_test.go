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
	"github.com/callboard/callboard/internal/config"
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
		besideSend(b, newHandler(&world{}), payload, body, func() bool { return floor(payload) })
	})
}

// BenchmarkIngressProfiles is BenchmarkIngressSend for 8 KB of each profile. The floor computes an HMAC where the profile
// does, and looks into the body once.
func BenchmarkIngressProfiles(b *testing.B) {
	now := time.Now()
	members := map[string]string{
		config.FromGitHub: `"ref":"refs/heads/main"`, config.FromGitLab: `"object_kind":"push","project":{"path_with_namespace":"acme/petstore","web_url":"https://gitlab.com/acme/petstore"}`,
		config.FromBitbucketCloud:      `"actor":{},"push":{"changes":[]},"repository":{"full_name":"acme/petstore"}`,
		config.FromBitbucketDataCenter: `"eventKey":"repo:refs_changed","actor":{},"changes":[],"repository":{"slug":"petstore","project":{"key":"ACME"}}`,
		config.FromAzureDevOps:         `"id":"27646e0e-b520-4d2b-9411-bba7524947cd","eventType":"git.push","publisherId":"tfs","resource":{"repository":{"name":"petstore"}}`,
		config.FromGerrit:              `"type":"ref-updated","refUpdate":{"project":"petstore","refName":"refs/heads/main"},"eventCreatedOn":1767323045`,
		config.FromGitea:               `"ref":"refs/heads/main"`,
	}
	kinds := map[string]map[string]string{
		config.FromGitHub:              {"x-github-event": "push", "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"},
		config.FromGitLab:              {"x-gitlab-event": "Push Hook", "x-gitlab-event-uuid": "13792a34-cac6-4fda-95a8-c58e00a3954e", "idempotency-key": "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"},
		config.FromBitbucketCloud:      {"x-event-key": "repo:push", "x-request-uuid": "f4d6c1d2-3d4f-4b6c-8a2b-1c2d3e4f5a6b"},
		config.FromBitbucketDataCenter: {"x-event-key": "repo:refs_changed", "x-request-id": "f4d6c1d2-3d4f-4b6c-8a2b-1c2d3e4f5a6b"},
		config.FromGitea:               {"x-gitea-event": "push", "x-gitea-delivery": "f6266f16-1bf3-46a5-9ea4-602e06ead473"},
		config.FromStandardWebhooks:    {"webhook-id": "msg_1"},
	}
	signed := []string{
		config.FromGitHub, config.FromBitbucketCloud, config.FromBitbucketDataCenter, config.FromGitea, config.FromStandardWebhooks, config.FromHMAC,
	}
	h := newHandler(&world{})
	for _, from := range config.Senders() {
		topic := from
		if from == config.FromHMAC {
			topic = "frobs"
		}
		profile, ok := h.Topics[topic].Profile.(signer)
		if !ok {
			continue // what is no sender of webhooks
		}
		body := benchmarkBody(8 << 10)
		if members[from] != "" {
			body = append([]byte("{"+members[from]+","), body[1:]...)
		}
		r := webhook.Request{Headers: webhookHeaders(kinds[from]), Body: body, Time: now}
		profile.Sign(&r, secret)
		payload := request{Method: "POST", Topic: topic, Headers: r.Headers, Body: r.Body, Token: r.Token}.invocation()
		b.Run(from, func(b *testing.B) {
			besideSend(b, newHandler(&world{}), payload, body, func() bool {
				decoded, _, ok := decode(payload)
				if slices.Contains(signed, from) {
					ok = ok && len(digest(decoded)) > 0
				}
				return ok && valid(decoded)
			})
		})
	}
}

// webhookHeaders adds what every sender sends.
func webhookHeaders(own map[string]string) events.Metadata {
	h := events.Metadata{"content-type": "application/json", "user-agent": "sender", "host": "example.com", "x-forwarded-for": "192.0.2.1"}
	for name, value := range own {
		h[name] = value
	}
	return h
}

// besideSend measures the handler as it is in AWS beside the floor and the same call of the SDK made alone.
func besideSend(b *testing.B, h *ingress.Handler, payload, body []byte, floor func() bool) {
	endpoint := fakeSQS(b, body)
	url := endpoint + "/0/ingest"
	client := sqs.NewFromConfig(clientConfig(b, endpoint))
	var sent capture
	h.Queue, h.Secrets, h.Observer = &sent, nothing{}, nothing{}
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
	body, headers, ok := decode(payload)
	if !ok || !valid(body) {
		return false
	}
	given, err := hex.DecodeString(strings.TrimPrefix(headers["x-hub-signature-256"], "sha256="))
	return err == nil && hmac.Equal(digest(body), given)
}

func digest(body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return mac.Sum(nil)
}

func valid(body []byte) bool {
	return jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// decode returns the body and the headers of an invocation.
func decode(payload []byte) (body []byte, headers map[string]string, ok bool) {
	encoded := false
	d := jsontext.NewDecoder(bytes.NewBuffer(payload))
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, false
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, nil, false
		}
		switch name.String() {
		case "body":
			v, err := d.ReadValue()
			if err != nil {
				return nil, nil, false
			}
			if body, err = jsontext.AppendUnquote(make([]byte, 0, len(v)), v); err != nil {
				return nil, nil, false
			}
		case "isBase64Encoded":
			v, err := d.ReadValue()
			if err != nil {
				return nil, nil, false
			}
			encoded = v.Kind() == 't'
		case "headers":
			headers = make(map[string]string)
			if _, err := d.ReadToken(); err != nil {
				return nil, nil, false
			}
			for d.PeekKind() == '"' {
				t, err := d.ReadToken()
				if err != nil {
					return nil, nil, false
				}
				name := t.String()
				if t, err = d.ReadToken(); err != nil {
					return nil, nil, false
				}
				headers[name] = t.String()
			}
			if _, err := d.ReadToken(); err != nil {
				return nil, nil, false
			}
		default:
			if err := d.SkipValue(); err != nil {
				return nil, nil, false
			}
		}
	}
	if encoded {
		n, err := base64.StdEncoding.Decode(body, body)
		if err != nil {
			return nil, nil, false
		}
		body = body[:n]
	}
	return body, headers, true
}
