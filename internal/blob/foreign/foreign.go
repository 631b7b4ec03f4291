// Package foreign reads objects from buckets of others: the bodies of messages that were too large for their queue.
package foreign

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/callboard/callboard/pkg/events"
)

// Buckets are buckets in S3, all in one region. The function may use s3:GetObject on their objects.
type Buckets struct{ client *s3.Client }

// New returns the buckets in the region of cfg. With an endpoint in cfg the bucket is a part of the path, because its
// name is not a host there.
func New(cfg aws.Config) *Buckets {
	return &Buckets{s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })}
}

// Read returns an object. It fails with [events.CodeTooLarge] if it has more than limit bytes, and with
// [events.CodeUnavailable] for everything else, also where there is no such object: it may be on its way, or the right to
// read it.
func (b *Buckets) Read(ctx context.Context, bucket, key string, limit int64) ([]byte, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, unavailable(err, bucket, key)
	}
	return read(out.Body, bucket, key, limit)
}

// Dir is a folder with a folder for each bucket: what stands for S3 where everything runs on one machine.
type Dir string

// Read returns an object, or fails as [Buckets.Read].
func (d Dir) Read(_ context.Context, bucket, key string, limit int64) ([]byte, error) {
	f, err := os.OpenInRoot(string(d), filepath.Join(bucket, filepath.FromSlash(key)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, events.Wrap(err, events.CodeUnavailable, "there is no object %s of the bucket %s: put it into the file %s", key, bucket, filepath.Join(string(d), bucket, key))
	}
	if err != nil {
		return nil, unavailable(err, bucket, key)
	}
	return read(f, bucket, key, limit)
}

func read(r io.ReadCloser, bucket, key string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, unavailable(err, bucket, key)
	}
	if int64(len(data)) > limit {
		return nil, events.Errorf(events.CodeTooLarge, "the object %s of the bucket %s has more than %d bytes", key, bucket, limit)
	}
	return data, nil
}

func unavailable(err error, bucket, key string) error {
	return events.Wrap(err, events.CodeUnavailable, "the object %s of the bucket %s cannot be read", key, bucket)
}
