// Package memory is the broker for one process: topics and queues as SQS and SNS have them, in memory. It is
// for tests and for programs that need no durability; what it holds is gone when the process ends.
package memory

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

const (
	batchSize   = 10
	maxReceives = 5
)

// encoder takes every payload as it is: nothing here needs a claim check.
var encoder = events.Encoder{MaxSize: events.MaxPayloadSize}

var defaultBackoff = []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second}

// Broker delivers events to the subscribers of their topics, at least once and in no order. A subscriber that
// fails gets the event again, at most five times; then, or when it is parked, it becomes a dead letter.
type Broker struct {
	backoff []time.Duration
	timeout time.Duration

	mu     sync.Mutex
	queues []*queue
	closed bool
}

var _ events.Publisher = (*Broker)(nil)

// Option changes how a Broker works.
type Option func(*Broker)

// WithBackoff sets how long an event rests after its first, second, … failure.
func WithBackoff(d ...time.Duration) Option { return func(b *Broker) { b.backoff = d } }

// WithTimeout sets how long a subscriber has for the events that it gets at once, as a function has a timeout: the
// last 2 seconds of it are for those that are left (see [events.Batch]). Without it there is no limit.
func WithTimeout(d time.Duration) Option { return func(b *Broker) { b.timeout = d } }

// New returns a broker without subscribers.
func New(opts ...Option) *Broker {
	b := &Broker{backoff: defaultBackoff}
	for _, o := range opts {
		o(b)
	}
	return b
}

// Publish puts each event on the queues of its topic's subscribers.
func (b *Broker) Publish(_ context.Context, es ...events.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return events.Errorf(events.CodeUnavailable, "the broker is closed")
	}
	errs := make(events.PublishError, len(es))
	failed := false
	for i, e := range es {
		m, err := encoder.Encode(e)
		if err != nil {
			errs[i], failed = err, true
			continue
		}
		for _, q := range b.queues {
			if slices.Contains(q.topics, e.Topic) {
				q.put(m)
			}
		}
	}
	if failed {
		return errs
	}
	return nil
}

// Subscribe delivers the events of the named topics, from now on, to s. The id names the subscriber in
// [Broker.DeadLetters] and must be new.
func (b *Broker) Subscribe(id string, topics []string, s events.Subscriber) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return events.Errorf(events.CodeUnavailable, "the broker is closed")
	}
	if b.queue(id) != nil {
		return events.Errorf(events.CodeConflict, "there is already a subscriber %q", id)
	}
	q := &queue{id: id, topics: topics, timeout: b.timeout, wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	q.idle = sync.NewCond(&q.mu)
	q.batch = &events.Batch{Function: id, Subscriber: s, Queue: q, Backoff: b.backoff}
	b.queues = append(b.queues, q)
	go q.run()
	return nil
}

func (b *Broker) queue(id string) *queue {
	for _, q := range b.queues {
		if q.id == id {
			return q
		}
	}
	return nil
}

// DeadLetters returns the messages that the subscriber did not or could not handle.
func (b *Broker) DeadLetters(id string) []events.Message {
	b.mu.Lock()
	q := b.queue(id)
	b.mu.Unlock()
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.dead)
}

// Drain waits until every event that was published is handled or has become a dead letter.
func (b *Broker) Drain(ctx context.Context) error {
	b.mu.Lock()
	queues := slices.Clone(b.queues)
	b.mu.Unlock()
	// A handler may publish to a queue that was looked at before, so one quiet round is not enough.
	for quiet := false; !quiet; {
		quiet = true
		for _, q := range queues {
			worked, err := q.drain(ctx)
			if err != nil {
				return err
			}
			quiet = quiet && !worked
		}
	}
	return nil
}

// Close stops delivery after the batches that are being handled.
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	queues := b.queues
	b.mu.Unlock()
	for _, q := range queues {
		close(q.stop)
	}
	for _, q := range queues {
		<-q.stopped
	}
	return nil
}

// queue is the queue of one subscriber.
type queue struct {
	id      string
	topics  []string
	batch   *events.Batch
	timeout time.Duration // 0 for none
	wake    chan struct{}
	stop    chan struct{}
	stopped chan struct{}

	mu       sync.Mutex
	idle     *sync.Cond // signalled when messages becomes empty
	next     int
	messages []*message // waiting, resting or in flight
	dead     []events.Message
}

type message struct {
	events.Message
	id       string
	receives int
	due      time.Time
}

func (q *queue) put(m events.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next++
	q.messages = append(q.messages, &message{Message: m, id: strconv.Itoa(q.next)})
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) run() {
	defer close(q.stopped)
	for {
		select {
		case <-q.stop:
			return
		default:
		}
		batch, wait := q.receive()
		if len(batch) > 0 {
			q.settle(batch, q.handle(batch))
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-q.stop:
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (q *queue) handle(batch []*message) events.SQSResponse {
	ctx := context.Background()
	if q.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.timeout)
		defer cancel()
	}
	return q.batch.Handle(ctx, sqsEvent(batch))
}

// receive returns the messages that are due, or how long to wait for the next one.
func (q *queue) receive() (batch []*message, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	wait = time.Hour
	for _, m := range q.messages {
		if rest := m.due.Sub(now); rest > 0 {
			wait = min(wait, rest)
			continue
		}
		m.receives++
		if batch = append(batch, m); len(batch) == batchSize {
			break
		}
	}
	return batch, wait
}

func (q *queue) settle(batch []*message, response events.SQSResponse) {
	failed := make(map[string]bool)
	for _, f := range response.BatchItemFailures {
		failed[f.ItemIdentifier] = true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range batch {
		if failed[m.id] && m.receives < maxReceives {
			continue
		}
		if failed[m.id] {
			q.dead = append(q.dead, m.Message)
		}
		q.messages = slices.DeleteFunc(q.messages, func(o *message) bool { return o == m })
	}
	if len(q.messages) == 0 {
		q.idle.Broadcast()
	}
}

func (q *queue) drain(ctx context.Context) (worked bool, err error) {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.idle.Broadcast()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.messages) > 0 {
		if ctx.Err() != nil {
			return worked, ctx.Err()
		}
		worked = true
		q.idle.Wait()
	}
	return worked, nil
}

// ChangeVisibility implements [events.Queue].
func (q *queue) ChangeVisibility(_ context.Context, r events.SQSMessage, hidden time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		if m.id == r.MessageID {
			m.due = time.Now().Add(hidden)
		}
	}
	return nil
}

// Park implements [events.Queue].
func (q *queue) Park(_ context.Context, m events.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = append(q.dead, m)
	return nil
}

func sqsEvent(batch []*message) events.SQSEvent {
	e := events.SQSEvent{Records: make([]events.SQSMessage, len(batch))}
	for i, m := range batch {
		e.Records[i] = m.SQS(m.id, m.id, m.receives)
	}
	return e
}
