package embedded

import (
	"context"
	"slices"

	"github.com/callboard/callboard/pkg/events"
)

// Receive hands out up to n messages of a queue to a consumer that is no function of the engine, and does not wait for any.
// They come again unless [Queues.Delete] is told their receipt handles in time; those that came too often go to the
// dead-letter queue, of which OnGivenUp is told. It fails with [events.CodeNotFound] if there is no such queue.
func (q *Queues) Receive(ctx context.Context, name string, n int) ([]events.SQSMessage, error) {
	one := q.get(name)
	if one == nil {
		return nil, noQueue(name)
	}
	batch, _ := q.take(one, n)
	if len(batch) == 0 {
		return nil, nil
	}
	loaded, err := q.load(ctx, one, batch, func(m events.Message) {
		if q.OnGivenUp != nil {
			q.OnGivenUp(ctx, name, m)
		}
	})
	if err != nil {
		q.stepBack(one, batch)
		return nil, err
	}
	messages := make([]events.SQSMessage, len(loaded))
	for i, r := range loaded {
		messages[i] = r.message
	}
	return messages, nil
}

// Delete deletes received messages by their receipt handles, and returns how many there were. One that is not valid any
// more, because its message was handed out again or deleted, is passed over.
func (q *Queues) Delete(name string, receipts ...string) (int, error) {
	q.deleting.Lock() // one after the other, so that none is deleted twice
	defer q.deleting.Unlock()
	var batch []*received
	q.mu.Lock()
	one := q.queues[name]
	if one == nil {
		q.mu.Unlock()
		return 0, noQueue(name)
	}
	for _, receipt := range slices.Compact(slices.Sorted(slices.Values(receipts))) {
		if e := one.open[receipt]; e != nil && !e.visible.Equal(outOfSight) {
			batch = append(batch, &received{entry: e, receipt: receipt})
		}
	}
	q.mu.Unlock()
	return len(batch), q.settle(name, batch, func(*received) bool { return true })
}
