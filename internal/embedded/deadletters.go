package embedded

import (
	"context"
	"iter"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/pkg/events"
)

// DeadLetters are the queues as [deadletter.Desk] needs them. Nobody receives from dead-letter queues here, so nothing
// has to be hidden from others.
type DeadLetters struct{ Queues *Queues }

var _ deadletter.Store = DeadLetters{}

// Count implements [deadletter.Store].
func (d DeadLetters) Count(_ context.Context, queue string) (int, error) {
	n, ok := d.Queues.Depths()[queue]
	if !ok {
		return 0, noQueue(queue)
	}
	return n, nil
}

func noQueue(name string) error {
	return events.Errorf(events.CodeNotFound, "there is no queue %s", name)
}

// page is how many messages are read at once.
const page = 100

// Receive implements [deadletter.Store]. The receipt handle is the place of the message in the queue.
func (d DeadLetters) Receive(ctx context.Context, queue string, _ time.Duration) iter.Seq2[events.SQSMessage, error] {
	return func(yield func(events.SQSMessage, error) bool) {
		for from := uint64(0); ; {
			ms, next, err := d.read(queue, from)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(events.SQSMessage{}, err)
				return
			}
			for _, m := range ms {
				if !yield(m, nil) {
					return
				}
			}
			if next == 0 {
				return
			}
			from = next
		}
	}
}

// read returns some messages, and where to go on; 0 after the last.
func (d DeadLetters) read(queue string, from uint64) (ms []events.SQSMessage, next uint64, err error) {
	if d.Queues.get(queue) == nil {
		return nil, 0, noQueue(queue)
	}
	err = d.Queues.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(queuesBucket).Bucket([]byte(queue)).Cursor()
		for k, v := c.Seek(key(from)); k != nil; k, v = c.Next() {
			if len(ms) == page {
				next = sequence(k)
				return nil
			}
			s, body, err := decodeStored(v)
			if err != nil {
				return err
			}
			m := events.Message{Body: string(body), Attributes: s.Attributes, GroupID: s.GroupID}.SQS(s.ID, strconv.FormatUint(sequence(k), 10), s.Receives)
			m.EventSourceARN = arnPrefix + queue
			if !s.Sent.IsZero() {
				m.Attributes[deadletter.SystemSent] = strconv.FormatInt(s.Sent.UnixMilli(), 10)
			}
			if s.Source != "" {
				m.Attributes[deadletter.SystemSource] = arnPrefix + s.Source
			}
			ms = append(ms, m)
		}
		return nil
	})
	return ms, next, err
}

// Renew implements [deadletter.Store]: it fails if the message is gone.
func (d DeadLetters) Renew(_ context.Context, queue string, m events.SQSMessage, _ time.Duration) error {
	d.Queues.mu.Lock()
	defer d.Queues.mu.Unlock()
	_, err := d.Queues.queues[queue].find(m)
	return err
}

// Release implements [deadletter.Store].
func (DeadLetters) Release(context.Context, string, []events.SQSMessage) error { return nil }

// Bucket implements [deadletter.Store].
func (d DeadLetters) Bucket(context.Context, string) (*events.Bucket, error) {
	return d.Queues.Bucket, nil
}

// Send implements [deadletter.Store].
func (d DeadLetters) Send(ctx context.Context, queue string, m events.SQSMessage) error {
	return d.Queues.Send(ctx, queue, m.Message())
}

// Delete implements [deadletter.Store].
func (d DeadLetters) Delete(ctx context.Context, queue string, m events.SQSMessage) error {
	d.Queues.mu.Lock()
	one := d.Queues.queues[queue]
	e, err := one.find(m)
	if err == nil {
		one.show(e, outOfSight) // of another deletion
	}
	d.Queues.mu.Unlock()
	if err != nil {
		return err
	}
	if err := d.Queues.store(ctx, nil, queue, []*entry{e}); err != nil {
		d.Queues.mu.Lock()
		defer d.Queues.mu.Unlock()
		one.show(e, time.Time{})
		return err
	}
	return nil
}

// find returns the entry of a message that Receive has yielded. Queues.mu is held.
func (one *queue) find(m events.SQSMessage) (*entry, error) {
	seq, err := strconv.ParseUint(m.ReceiptHandle, 10, 64)
	if err == nil && one != nil {
		for _, e := range one.entries {
			if e.seq == seq && !e.visible.Equal(outOfSight) {
				return e, nil
			}
		}
	}
	return nil, events.Errorf(events.CodeNotFound, "the message %s is not in the queue any more", m.MessageID)
}
