package embedded

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// bucketName is what claim checks call the blobs of the state folder.
const bucketName = "embedded"

// Bucket is where the payloads are that are too large for a message.
func (e *Engine) Bucket() *events.Bucket { return &events.Bucket{Name: bucketName, Store: e.Blobs} }

// sweepPayloads deletes the payloads that are older than any message can be, but for those of dead letters: here
// nothing deletes them.
func (e *Engine) sweepPayloads(ctx context.Context, now time.Time) error {
	old, err := e.Blobs.Older(events.PayloadPrefix, now.Add(-topology.PayloadRetention))
	if err != nil || len(old) == 0 {
		return err
	}
	needed, err := e.Queues.payloads()
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range old {
		if !needed[key] {
			errs = append(errs, e.Blobs.Delete(ctx, key))
		}
	}
	return errors.Join(errs...)
}

// payloads returns the keys of the payloads of all messages, also those in queues that nobody uses any more.
func (q *Queues) payloads() (map[string]bool, error) {
	keys := map[string]bool{}
	err := q.db.View(func(tx *bbolt.Tx) error {
		root := tx.Bucket(queuesBucket)
		if root == nil {
			return nil
		}
		return root.ForEachBucket(func(name []byte) error {
			return root.Bucket(name).ForEach(func(_, v []byte) error {
				s, body, err := decodeStored(v)
				if err != nil {
					return err
				}
				if c, ok, err := (events.Message{Body: string(body), Attributes: s.Attributes}).ClaimCheck(); ok && err == nil {
					keys[c.Key] = true
				}
				return nil
			})
		})
	})
	return keys, err
}
