//go:build services

package sqsletters_test

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/internal/deadletter/deadlettertest"
	"github.com/callboard/callboard/internal/deadletter/sqsletters"
	"github.com/callboard/callboard/internal/topology"
)

// TestServices runs the suite on the services that tools/services has started.
func TestServices(t *testing.T) {
	for name, variable := range map[string]string{
		"MiniStack": "CALLBOARD_TEST_MINISTACK", "moto": "CALLBOARD_TEST_MOTO", "LocalStack": "CALLBOARD_TEST_LOCALSTACK",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := os.Getenv(variable)
			if url == "" && name == "LocalStack" {
				t.Skipf("%s is not set: tools/services/localstack sets it", variable)
			}
			if url == "" {
				t.Fatalf("%s is not set: run this with tools/services/run", variable)
			}
			deadlettertest.Run(t, func(t *testing.T, topo *topology.Topology) deadletter.Store {
				t.Helper()
				cfg := aws.Config{Region: "us-east-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
				client := sqs.NewFromConfig(cfg)
				for _, q := range topo.Queues {
					if _, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &q.AWSName}); err != nil {
						t.Fatal(err)
					}
				}
				return sqsletters.New(cfg, topo)
			})
		})
	}
}
