//go:build services

package s3blob_test

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/callboard/callboard/internal/blob/blobtest"
	"github.com/callboard/callboard/internal/blob/s3blob"
)

// TestServices runs the suite against the services that tools/services has started.
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
			blobtest.Run(t, func(t *testing.T) blobtest.Store {
				cfg, bucket := config(url), "callboard-"+strings.ToLower(rand.Text())
				cfg.Retryer = nil // that of the SDK
				client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
				if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
					t.Fatal(err)
				}
				return s3blob.New(cfg, bucket)
			})
		})
	}
}
