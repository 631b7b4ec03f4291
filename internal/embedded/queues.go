package embedded

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"go.etcd.io/bbolt"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/pkg/events"
)

// QueueSpec describes a queue.
type QueueSpec struct {
	Name string
	// Visibility is how long a received message stays hidden if nobody says otherwise.
	Visibility time.Duration
	// MaxReceives is how often a message is handed out before it goes to DeadLetter; 0 means for ever.
	MaxReceives int
	DeadLetter  string
	// WithoutClaimChecks keeps claim checks that are published from the queue.
	WithoutClaimChecks bool
}

// Queues are durable queues and topics with the semantics of SQS and SNS: at least once, visibility timeout,
// receive count, redrive to a dead-letter queue, and AWS's limits on messages. Everything that was accepted is on
// the disk. What a process had received and not deleted when it died is visible again when the next one opens the
// file, and that receive does not count.
type Queues struct {
	// Limit returns what a topic takes, in bytes as AWS counts them; nil and 0 mean [events.MaxMessageSize]. Like Bucket
	// and OnClaimCheck it is set before anybody publishes.
	Limit func(topic string) int
	// Bucket takes the payloads of events that are published and larger than that; nil refuses them.
	Bucket *events.Bucket
	// OnClaimCheck is told of each event that was published as a claim check; nil tells nobody.
	OnClaimCheck func(ctx context.Context, e events.Event)
	// OnGivenUp is told of each message that went to the dead-letter queue because [Queues.Receive] has handed it out too
	// often; nil tells nobody.
	OnGivenUp func(ctx context.Context, queue string, m events.Message)

	db *bolt.DB

	deleting sync.Mutex // held by [Queues.Delete]

	mu            sync.Mutex
	queues        map[string]*queue
	subscriptions map[string][]string // topic → names of queues
	changed       chan struct{}       // closed and replaced whenever a message is gone, or rests again
}

// arnPrefix makes an ARN of the name of a queue.
const arnPrefix = "arn:aws:sqs:embedded:000000000000:"

// QueueARN returns the ARN that messages of a queue say they come from.
func QueueARN(name string) string { return arnPrefix + name }

var queuesBucket = []byte("queues")

// outOfSight is when a message becomes visible that is being deleted or moved.
var outOfSight = time.Unix(1<<40, 0)

// OpenQueues makes the queues of a database usable; messages of queues that are not in specs are kept.
func OpenQueues(db *bolt.DB, specs []QueueSpec, subscriptions map[string][]string) (*Queues, error) {
	q := &Queues{db: db, queues: make(map[string]*queue), subscriptions: maps.Clone(subscriptions), changed: make(chan struct{})}
	if q.subscriptions == nil {
		q.subscriptions = make(map[string][]string)
	}
	for _, spec := range specs {
		if err := q.add(spec); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// add creates a queue, or loads what is in it.
func (q *Queues) add(spec QueueSpec) error {
	one := &queue{QueueSpec: spec, wake: make(chan struct{}, 1), open: make(map[string]*entry)}
	err := q.db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists(queuesBucket)
		if err != nil {
			return err
		}
		bucket, err := root.CreateBucketIfNotExists([]byte(spec.Name))
		if err != nil {
			return err
		}
		one.entries = nil
		return bucket.ForEach(func(k, v []byte) error {
			s, _, err := decodeStored(v)
			if err != nil {
				return err
			}
			one.entries = append(one.entries, &entry{seq: sequence(k), visible: s.Visible, receives: s.Receives, stored: s.Receives, index: len(one.entries)})
			return nil
		})
	})
	if err != nil {
		return events.Wrap(err, events.CodeInternal, "queue %s cannot be opened", spec.Name)
	}
	heap.Init(&one.entries)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queues[spec.Name] = one
	return nil
}

// queue is the state of one queue beside its messages, which stay on the disk.
type queue struct {
	QueueSpec
	wake chan struct{} // something may have become visible

	entries entries           // guarded by Queues.mu
	open    map[string]*entry // what is in flight, by receipt; guarded by Queues.mu
}

// entry is one message of a queue.
type entry struct {
	seq      uint64
	visible  time.Time // when it can be received
	receives int       // how often it was handed out
	stored   int       // the same as the disk knows it
	receipt  string    // of the last receive; "" if it is not in flight
	index    int       // in the heap; -1 when it is not there
}

// entries is a heap: the entry that is visible first, then the oldest.
type entries []*entry

func (h entries) Len() int { return len(h) }
func (h entries) Less(i, j int) bool {
	return cmp.Or(h[i].visible.Compare(h[j].visible), cmp.Compare(h[i].seq, h[j].seq)) < 0
}

func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *entries) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *entries) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}

// stored is the head of a message on the disk; the body follows it.
type stored struct {
	ID         string                      `json:"id"`
	Attributes map[string]events.Attribute `json:"attributes"`
	GroupID    string                      `json:"group"`
	Receives   int                         `json:"receives"`
	Visible    time.Time                   `json:"visible"`
	Sent       time.Time                   `json:"sent,omitzero"`
	// Source is the queue where a dead letter was received too often.
	Source string `json:"source,omitzero"`
}

func encodeStored(s stored, body string) ([]byte, error) {
	head, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	data := binary.AppendUvarint(make([]byte, 0, len(head)+len(body)+4), uint64(len(head)))
	return append(append(data, head...), body...), nil
}

func decodeStored(data []byte) (s stored, body []byte, err error) {
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) { //nolint:gosec // n is at most the length of data
		return stored{}, nil, events.Errorf(events.CodeInternal, "a stored message is damaged")
	}
	head := data[n : n+int(size)] //nolint:gosec // bounded by the length of data
	if err := json.Unmarshal(head, &s); err != nil {
		return stored{}, nil, events.Wrap(err, events.CodeInternal, "a stored message is damaged")
	}
	return s, data[n+len(head):], nil
}

// put is a message on its way into a queue.
type put struct {
	queue   string
	message events.Message
	id      string // of the message; "" for a new one

	// Of a message that was received too often: where, and how often.
	source   string
	receives int
}

// Send puts a message into a queue.
func (q *Queues) Send(ctx context.Context, queue string, m events.Message) error {
	if err := m.Validate(events.MaxSQSMessageSize); err != nil {
		return err
	}
	return q.store(ctx, []put{{queue: queue, message: m}}, "", nil)
}

// Enqueue is Send that returns the id of the message.
func (q *Queues) Enqueue(ctx context.Context, queue string, m events.Message) (id string, err error) {
	if err := m.Validate(events.MaxSQSMessageSize); err != nil {
		return "", err
	}
	id = uuid.NewString()
	return id, q.store(ctx, []put{{queue: queue, message: m, id: id}}, "", nil)
}

// Publish puts each event into the queues that subscribe to its topic, in one commit.
func (q *Queues) Publish(ctx context.Context, es ...events.Event) error {
	errs := make(events.PublishError, len(es))
	failed := false
	var puts []put
	var claims []events.Event
	for i, e := range es {
		m, err := q.encoder(e.Topic).Offload(ctx, e)
		if err != nil {
			errs[i], failed = err, true
			continue
		}
		if isClaimCheck(m) {
			claims = append(claims, e)
		}
		puts = append(puts, q.deliveries(e.Topic, m)...)
	}
	if err := q.store(ctx, puts, "", nil); err != nil {
		return err
	}
	if q.OnClaimCheck != nil {
		for _, e := range claims {
			q.OnClaimCheck(ctx, e)
		}
	}
	if failed {
		return errs
	}
	return nil
}

// deliveries returns what is put where when a message is published to a topic.
func (q *Queues) deliveries(topic string, m events.Message) []put {
	q.mu.Lock()
	defer q.mu.Unlock()
	var puts []put
	for _, name := range q.subscriptions[topic] {
		if one := q.queues[name]; one != nil && one.WithoutClaimChecks && isClaimCheck(m) {
			continue
		}
		puts = append(puts, put{queue: name, message: m})
	}
	return puts
}

func isClaimCheck(m events.Message) bool {
	_, is := m.Attributes[events.AttributeExtendedSize]
	return is
}

func (q *Queues) encoder(topic string) events.Encoder {
	enc := events.Encoder{Bucket: q.Bucket}
	if q.Limit != nil {
		enc.MaxSize = q.Limit(topic)
	}
	return enc
}

// store puts messages into queues and removes entries of one queue, in one commit.
func (q *Queues) store(ctx context.Context, puts []put, from string, remove []*entry) error {
	if err := ctx.Err(); err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the time is over")
	}
	if len(puts) == 0 && len(remove) == 0 {
		return nil
	}
	values := make([][]byte, len(puts))
	for i, p := range puts {
		if q.get(p.queue) == nil {
			return noQueue(p.queue)
		}
		var err error
		if values[i], err = encodeStored(stored{
			ID: cmp.Or(p.id, uuid.NewString()), Attributes: p.message.Attributes, GroupID: p.message.GroupID, Receives: p.receives, Sent: time.Now().UTC(), Source: p.source,
		}, p.message.Body); err != nil {
			return events.Wrap(err, events.CodeInvalid, "the message cannot be stored")
		}
	}
	seqs := make([]uint64, len(puts))
	err := q.db.Update(func(tx *bbolt.Tx) error {
		root := tx.Bucket(queuesBucket)
		for i, p := range puts {
			bucket := root.Bucket([]byte(p.queue))
			seq, err := bucket.NextSequence()
			if err != nil {
				return err
			}
			seqs[i] = seq
			if err := bucket.Put(key(seq), values[i]); err != nil {
				return err
			}
		}
		return removeEntries(root, from, remove)
	})
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the queue cannot be written")
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	for i, p := range puts {
		to := q.queues[p.queue]
		heap.Push(&to.entries, &entry{seq: seqs[i]})
		to.signal()
	}
	q.forget(from, remove)
	return nil
}

func removeEntries(root *bbolt.Bucket, from string, remove []*entry) error {
	for _, e := range remove {
		if err := root.Bucket([]byte(from)).Delete(key(e.seq)); err != nil {
			return err
		}
	}
	return nil
}

// forget takes entries that are gone from the disk out of the heap. Queues.mu is held.
func (q *Queues) forget(from string, gone []*entry) {
	for _, e := range gone {
		q.queues[from].rest(e)
		heap.Remove(&q.queues[from].entries, e.index)
	}
	if len(gone) > 0 {
		q.change()
	}
}

// change wakes those who wait for queues to become empty. Queues.mu is held.
func (q *Queues) change() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// rest ends the last receive of an entry. Queues.mu is held.
func (one *queue) rest(e *entry) {
	delete(one.open, e.receipt)
	e.receipt = ""
}

// show sets when an entry becomes visible. Queues.mu is held.
func (one *queue) show(e *entry, at time.Time) {
	e.visible = at
	heap.Fix(&one.entries, e.index)
}

func (q *Queues) get(name string) *queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queues[name]
}

func (one *queue) signal() {
	select {
	case one.wake <- struct{}{}:
	default:
	}
}

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func sequence(key []byte) uint64 { return binary.BigEndian.Uint64(key) }

// received is a message that was handed out.
type received struct {
	entry   *entry
	receipt string
	count   int       // receives of the message with this one
	stored  int       // receives that the disk knows
	visible time.Time // when it could be received, before this one
	message events.SQSMessage
	size    int             // of the message as AWS counts it
	dead    *events.Message // what goes to the dead-letter queue, if it was received too often
}

// receive waits for up to n messages, and fewer if one invocation cannot carry them. Those that were handed out too often go to the dead-letter queue instead,
// of which gaveUp is told. It returns nothing when ctx ends.
func (q *Queues) receive(ctx context.Context, name string, n int, gaveUp func(events.Message)) ([]*received, error) {
	one := q.get(name)
	for ctx.Err() == nil {
		batch, wait := q.take(one, n)
		if len(batch) > 0 {
			loaded, err := q.load(ctx, one, batch, gaveUp)
			if err != nil {
				q.stepBack(one, batch)
				return nil, err
			}
			loaded, rest, err := carried(loaded)
			if err != nil {
				q.release(one, batch)
				return nil, err
			}
			if len(rest) > 0 {
				q.release(one, rest)
			}
			if len(loaded) > 0 {
				return loaded, nil
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-one.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil, nil
}

// take hides up to n visible entries and counts their receive, or tells when the next one becomes visible.
func (q *Queues) take(one *queue, n int) (batch []*received, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(batch) < n && len(one.entries) > 0 && !one.entries[0].visible.After(now) {
		e := heap.Pop(&one.entries).(*entry)
		one.rest(e)
		before := e.visible
		e.visible, e.receipt = now.Add(one.Visibility), uuid.NewString()
		e.receives++
		one.open[e.receipt] = e
		batch = append(batch, &received{entry: e, receipt: e.receipt, count: e.receives, stored: e.stored, visible: before})
	}
	for _, r := range batch {
		heap.Push(&one.entries, r.entry)
	}
	if len(batch) > 0 {
		// This receiver looks away from the queue now; another one has to watch for what becomes visible next.
		one.signal()
		return batch, 0
	}
	if len(one.entries) == 0 {
		return nil, time.Hour
	}
	return nil, one.entries[0].visible.Sub(now)
}

// release undoes take for a batch that could not be handed out.
func (q *Queues) release(one *queue, batch []*received) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range batch {
		if r.entry.receipt == r.receipt {
			r.entry.receives--
			one.rest(r.entry)
			one.show(r.entry, r.visible)
		}
	}
	one.signal()
	q.change()
}

// stepBack is release for a batch that cannot be read: others come first, so that one bad message does not stop the queue.
func (q *Queues) stepBack(one *queue, batch []*received) {
	for _, r := range batch {
		r.visible = time.Now()
	}
	q.release(one, batch)
}

// load reads the messages of a batch. Receives that ended without an answer are counted on the disk first.
func (q *Queues) load(ctx context.Context, one *queue, batch []*received, gaveUp func(events.Message)) ([]*received, error) {
	var kept, uncounted, gone []*received
	err := q.db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(queuesBucket).Bucket([]byte(one.Name))
		for _, r := range batch {
			value := bucket.Get(key(r.entry.seq))
			if value == nil { // it was deleted by a commit that was reported as failed
				gone = append(gone, r)
				continue
			}
			s, body, err := decodeStored(value)
			if err != nil {
				return err
			}
			m := events.Message{Body: string(body), Attributes: s.Attributes, GroupID: s.GroupID}
			if one.MaxReceives > 0 && r.count > one.MaxReceives {
				r.dead = &m
				gone = append(gone, r)
				continue
			}
			if r.count-1 > r.stored {
				uncounted = append(uncounted, r)
			}
			r.message, r.size = m.SQS(s.ID, r.receipt, r.count), m.Size()
			r.message.EventSourceARN = QueueARN(one.Name)
			if !s.Sent.IsZero() {
				r.message.Attributes["SentTimestamp"] = strconv.FormatInt(s.Sent.UnixMilli(), 10)
			}
			kept = append(kept, r)
		}
		return nil
	})
	if err != nil {
		return nil, events.Wrap(err, events.CodeInternal, "queue %s cannot be read", one.Name)
	}
	if err := q.count(one, uncounted); err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "queue %s cannot be written", one.Name)
	}
	var puts []put
	var remove []*entry
	for _, r := range q.withhold(one, gone) {
		remove = append(remove, r.entry)
		if r.dead != nil {
			puts = append(puts, put{queue: one.DeadLetter, message: *r.dead, source: one.Name, receives: r.count - 1})
		}
	}
	if err := q.store(context.WithoutCancel(ctx), puts, one.Name, remove); err != nil {
		return nil, err
	}
	for _, p := range puts {
		gaveUp(p.message)
	}
	return kept, nil
}

// withhold keeps messages from being handed out again while they are moved. It returns those that have not been
// already.
func (q *Queues) withhold(one *queue, batch []*received) (current []*received) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range batch {
		if r.entry.receipt == r.receipt {
			one.show(r.entry, outOfSight)
			current = append(current, r)
		}
	}
	return current
}

// count stores all receives of the messages but this last one.
func (q *Queues) count(one *queue, list []*received) error {
	if len(list) == 0 {
		return nil
	}
	return q.db.Update(func(tx *bbolt.Tx) error {
		for _, r := range list {
			if err := rewrite(tx, one.Name, r.entry.seq, r.count-1, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// rewrite stores the receive count of a message and when it becomes visible. What somebody who has received it
// since has written stays: that it is deleted, or received more often.
func rewrite(tx *bbolt.Tx, queue string, seq uint64, receives int, visible time.Time) error {
	bucket := tx.Bucket(queuesBucket).Bucket([]byte(queue))
	value := bucket.Get(key(seq))
	if value == nil {
		return nil
	}
	s, body, err := decodeStored(value)
	if err != nil {
		return err
	}
	if s.Receives > receives {
		return nil
	}
	s.Receives, s.Visible = receives, visible
	if value, err = encodeStored(s, string(body)); err != nil {
		return err
	}
	return bucket.Put(key(seq), value)
}

// hide sets when a received message becomes visible again. It is made durable by settle.
func (q *Queues) hide(name, receipt string, d time.Duration) error {
	if d < 0 || d > 12*time.Hour {
		return events.Errorf(events.CodeInvalid, "a message can be hidden for 0 to 12 hours, not %v", d)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	one := q.queues[name]
	if one == nil || one.open[receipt] == nil || one.open[receipt].visible.Equal(outOfSight) {
		return events.Errorf(events.CodeNotFound, "the receipt handle is not valid any more")
	}
	one.show(one.open[receipt], time.Now().Add(d))
	one.signal() // it may be visible at once, also while its function has not answered: as in SQS
	return nil
}

// settle ends the receive of a batch in one commit: what is done is deleted, the rest keeps its receive count and
// becomes visible when it should. Receipts that are not the last of their message are ignored. If the commit
// fails the visibility timeout decides when the messages come again.
func (q *Queues) settle(name string, batch []*received, done func(*received) bool) error {
	type change struct {
		e       *entry
		count   int
		visible time.Time
	}
	var gone, failed []change
	var remove []*entry
	q.mu.Lock()
	one := q.queues[name]
	for _, r := range batch {
		if r.entry.receipt != r.receipt { // handed out again since
			continue
		}
		c := change{r.entry, r.entry.receives, r.entry.visible}
		if done(r) {
			one.show(r.entry, outOfSight)
			gone, remove = append(gone, c), append(remove, r.entry)
		} else {
			one.rest(r.entry)
			failed = append(failed, c)
		}
	}
	q.mu.Unlock()
	if len(gone)+len(failed) == 0 {
		return nil
	}
	err := q.db.Update(func(tx *bbolt.Tx) error {
		for _, c := range failed {
			if err := rewrite(tx, name, c.e.seq, c.count, c.visible); err != nil {
				return err
			}
		}
		return removeEntries(tx.Bucket(queuesBucket), name, remove)
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.change()
	if err != nil {
		for _, c := range gone {
			one.rest(c.e)
			one.show(c.e, c.visible)
		}
		one.signal()
		return events.Wrap(err, events.CodeUnavailable, "queue %s cannot be written", name)
	}
	for _, c := range failed {
		c.e.stored = max(c.e.stored, c.count)
	}
	q.forget(name, remove)
	return nil
}

// Depths returns how many messages each queue holds, hidden ones included.
func (q *Queues) Depths() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	depths := make(map[string]int, len(q.queues))
	for name, one := range q.queues {
		depths[name] = len(one.entries)
	}
	return depths
}

// Drain waits until the named queues are empty. Where ctx has a deadline it does not wait for messages that rest
// beyond it.
func (q *Queues) Drain(ctx context.Context, names []string) error {
	deadline, bounded := ctx.Deadline()
	busy := func(name string) bool {
		one := q.queues[name]
		if len(one.entries) == 0 {
			return false
		}
		return !bounded || len(one.open) > 0 || one.entries[0].visible.Before(deadline)
	}
	for {
		q.mu.Lock()
		changed, wait := q.changed, slices.ContainsFunc(names, busy)
		q.mu.Unlock()
		if !wait {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Messages returns what is in a queue, oldest first.
func (q *Queues) Messages(name string) ([]events.Message, error) {
	var list []events.Message
	err := q.db.View(func(tx *bbolt.Tx) error {
		root := tx.Bucket(queuesBucket)
		if root == nil || root.Bucket([]byte(name)) == nil {
			return nil
		}
		return root.Bucket([]byte(name)).ForEach(func(_, v []byte) error {
			s, body, err := decodeStored(v)
			if err != nil {
				return err
			}
			list = append(list, events.Message{Body: string(body), Attributes: s.Attributes, GroupID: s.GroupID})
			return nil
		})
	})
	return list, err
}
