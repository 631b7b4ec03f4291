//go:build services

package sqsletters_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/internal/deadletter/deadlettertest"
	"github.com/callboard/callboard/internal/deadletter/sqsletters"
	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/internal/topology"
)

func TestServices(t *testing.T) {
	emulator.Each(t, []string{emulator.MiniStack, emulator.Moto, emulator.LocalStack}, func(t *testing.T, _ string, cfg aws.Config) {
		deadlettertest.Run(t, func(t *testing.T, topo *topology.Topology) deadletter.Store {
			t.Helper()
			client := sqs.NewFromConfig(cfg)
			for _, q := range topo.Queues {
				if _, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &q.AWSName}); err != nil {
					t.Fatal(err)
				}
			}
			for _, q := range topo.Foreign {
				if _, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(q.AWSName())}); err != nil {
					t.Fatal(err)
				}
			}
			store := sqsletters.New(cfg, topo)
			bucket, err := store.Bucket(t.Context(), "sqs-publisher-dlq")
			if err != nil {
				t.Fatal(err)
			}
			objects := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
			if _, err := objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket.Name}); err != nil {
				t.Fatal(err)
			}
			return store
		})
	})
}
