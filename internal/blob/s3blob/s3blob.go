// Package s3blob keeps blobs in an S3 bucket.
package s3blob

import (
	"bytes"
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/pkg/events"
)

// maxPrepared is the largest blob, in bytes, for which memory is taken before it has arrived.
const maxPrepared = 16 << 20

// Store is a blob store in a bucket. Its keys are those of [blob.Dir]. The function may use s3:GetObject, s3:PutObject and
// s3:DeleteObject on the bucket's objects and s3:ListBucket on the bucket: without it S3 answers AccessDenied for an
// object that does not exist.
type Store struct {
	client *s3.Client
	bucket string
}

// New returns the store in a bucket. With an endpoint in cfg the bucket is a part of the path, because its name is not a
// host there.
func New(cfg aws.Config, bucket string) *Store {
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = o.BaseEndpoint != nil
		o.ContinueHeaderThresholdBytes = -1 // to ask first whether a large blob may come takes time that a webhook has not
	})
	return &Store{client: client, bucket: bucket}
}

// Bucket is a bucket as the place of payloads that are too large for a message. Who reads them needs s3:GetObject on
// their keys only: whether one is missing or forbidden makes no difference, it is tried again.
func Bucket(cfg aws.Config, bucket string) *events.Bucket {
	return &events.Bucket{Name: bucket, Store: New(cfg, bucket)}
}

// Put stores data under key, in place of what was there.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	if _, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(data)}); err != nil {
		return s.failed(err, "stored", key)
	}
	return nil
}

// Get returns the blob under key, or an error with [events.CodeNotFound].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorCode() == "NoSuchKey" {
		return nil, events.Wrap(err, events.CodeNotFound, "there is no blob %s", key)
	}
	if err != nil {
		return nil, s.failed(err, "read", key)
	}
	var b bytes.Buffer
	if n := aws.ToInt64(out.ContentLength); n > 0 && n <= maxPrepared {
		b.Grow(int(n) + bytes.MinRead) // a large blob is in memory once
	}
	_, err = b.ReadFrom(out.Body)
	data := b.Bytes()
	if err := errors.Join(err, out.Body.Close()); err != nil {
		return nil, s.failed(err, "read", key)
	}
	return data, nil
}

// Delete removes the blob under key, if there is one.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key}); err != nil {
		return s.failed(err, "deleted", key)
	}
	return nil
}

func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return blob.ValidateKey(key)
}

// failed is always [events.CodeUnavailable]: a bucket that is missing or forbidden is no missing blob.
func (s *Store) failed(err error, what, key string) error {
	return events.Wrap(err, events.CodeUnavailable, "the blob %s cannot be %s in the bucket %s", key, what, s.bucket)
}
