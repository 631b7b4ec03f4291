//go:build services

package s3blob_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/callboard/callboard/internal/blob/blobtest"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/internal/emulator"
)

func TestServices(t *testing.T) {
	emulator.Each(t, []string{emulator.MiniStack, emulator.Moto, emulator.LocalStack}, func(t *testing.T, _ string, cfg aws.Config) {
		blobtest.Run(t, func(t *testing.T) blobtest.Store {
			bucket := "callboard-" + strings.ToLower(rand.Text())
			client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
			if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
				t.Fatal(err)
			}
			return s3blob.New(cfg, bucket)
		})
	})
}
