//go:build services

package sqspublisher_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	sqspublisher "github.com/callboard/callboard/functions/sqs-publisher"
	"github.com/callboard/callboard/internal/blob/foreign"
	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

// A queue of another region, asked by a schedule, with everything that SQS does itself: what is published is deleted, what
// is not stays and comes again, a claim check is read, and a second run at the same time does nothing.
func TestServices(t *testing.T) {
	emulator.Each(t, []string{emulator.MiniStack, emulator.Moto}, func(t *testing.T, _ string, cfg aws.Config) {
		cfg.Region = "us-west-2"
		ctx, client, queue := t.Context(), sqs.NewFromConfig(cfg), "callboard-"+strings.ToLower(rand.Text())
		created, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &queue})
		if err != nil {
			t.Fatal(err)
		}
		arn := attribute(t, client, created.QueueUrl, types.QueueAttributeNameQueueArn)
		far := topology.ForeignQueue{Topic: "builds", ARN: arn}
		w := newWorld(t)
		w.refused = errors.New("refused")
		objects := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
		here := &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(cfg.Region)}
		if _, err := objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &queue, CreateBucketConfiguration: here}); err != nil {
			t.Fatal(err)
		}
		if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &queue, Key: aws.String("a/b"), Body: strings.NewReader(`{"large":true}`)}); err != nil {
			t.Fatal(err)
		}
		send := func(body string, attributes map[string]types.MessageAttributeValue) {
			t.Helper()
			if _, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: created.QueueUrl, MessageBody: &body, MessageAttributes: attributes}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 12 {
			send(fmt.Sprintf(`{"n":%d}`, i), map[string]types.MessageAttributeValue{
				"X-Build-State": {DataType: aws.String("String.state"), StringValue: aws.String("failed")},
				"raw":           {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}},
			})
		}
		send(`{"refuse":true}`, nil)
		send(`no JSON`, nil)
		send(`["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"`+queue+`","s3Key":"a/b"}]`, map[string]types.MessageAttributeValue{
			"ExtendedPayloadSize": {DataType: aws.String("Number"), StringValue: aws.String("14")},
		})

		reader := w.reader()
		source := reader.Sources["builds"]
		source.Buckets, source.Objects = []string{queue}, foreign.New(cfg)
		reader.Sources["builds"] = source
		// The URL is the one that follows from the ARN, as in a deployment.
		consumer := &awsevents.Consumer{Client: client, URL: far.URL(), ARN: arn}
		batch := w.handler().Batch
		batch.Foreign, batch.Backoff = reader.Read, []time.Duration{5 * time.Second}
		batch.Queue = parker{consumer, w}
		poll := func() *sqspublisher.Poll {
			return &sqspublisher.Poll{
				Topic: "builds", Queue: consumer, Handle: batch.Handle, Leases: boltdbtest.Open(t, time.Now),
				WaitTime: time.Second, VisibilityTimeout: time.Minute, Reserve: time.Second,
			}
		}
		first := poll()
		w.release = make(chan struct{})
		w.blocked = make(chan struct{}, 100)
		ended := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			_, err := first.Run(ctx)
			ended <- err
		}()
		<-w.blocked // it publishes
		if done, err := run(t, first); err != nil || !done.Busy {
			t.Errorf("a second run: %+v %v, want it busy", done, err)
		}
		close(w.release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		payloads := map[string]bool{}
		for _, m := range w.published {
			e, err := events.Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			payloads[string(e.Payload)] = true
			if strings.HasPrefix(m.Body, `{"n"`) && (e.Metadata["x-build-state"] != "failed" || e.Metadata["raw"] != "AP8=") {
				t.Errorf("the metadata are %v", e.Metadata)
			}
			if age := time.Since(e.Time); age < -time.Minute || age > 10*time.Minute {
				t.Errorf("the event is of %v", e.Time)
			}
		}
		if len(payloads) != 13 || !payloads[`{"large":true}`] || payloads[`{"refuse":true}`] {
			t.Errorf("published %v, want 12 builds and the large one", payloads)
		}
		if len(w.parked) != 1 || w.parked[0].Body != "no JSON" {
			t.Errorf("parked %v", w.parked)
		}
		left := 0
		for _, name := range []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible} {
			n, _ := strconv.Atoi(attribute(t, client, created.QueueUrl, name))
			left += n
		}
		if left != 1 {
			t.Errorf("%d messages are left, want the one that was refused", left)
		}

		w.refused, w.published = nil, nil
		for len(w.published) == 0 { // when its rest is over
			if _, err := run(t, poll()); err != nil {
				t.Fatal(err)
			}
		}
		if w.published[0].Body != `{"refuse":true}` {
			t.Errorf("it comes again as %v", w.published[0])
		}
	})
}

// parker parks in the world what comes from a queue.
type parker struct {
	*awsevents.Consumer
	world *world
}

func (p parker) Park(ctx context.Context, m events.Message) error { return p.world.Park(ctx, m) }

func attribute(t *testing.T, client *sqs.Client, url *string, name types.QueueAttributeName) string {
	t.Helper()
	out, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []types.QueueAttributeName{name}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Attributes[string(name)]
}
