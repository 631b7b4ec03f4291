package deadletter

import (
	"cmp"
	"context"
	"crypto/rand"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// Store is where the queues are. Names of queues are those of the topology, those of others included; a store may know
// others.
type Store interface {
	// Count returns how many messages are in a queue, roughly where it is not known better.
	Count(ctx context.Context, queue string) (int, error)
	// Receive yields the messages of a queue, each once, and hides them from other receivers for the given time,
	// unless they are released before. An error ends it.
	Receive(ctx context.Context, queue string, hidden time.Duration) iter.Seq2[events.SQSMessage, error]
	// Renew hides a received message for the given time from now. It fails if the message is hidden no more:
	// somebody else may have received it.
	Renew(ctx context.Context, queue string, m events.SQSMessage, hidden time.Duration) error
	// Release shows received messages to others at once.
	Release(ctx context.Context, queue string, ms []events.SQSMessage) error
	// Bucket returns where large messages of a dead-letter queue are, see [sealed.Queue].
	Bucket(ctx context.Context, queue string) (*events.Bucket, error)
	// Send sends body, attributes and group of a message to a queue.
	Send(ctx context.Context, queue string, m events.SQSMessage) error
	// Delete deletes a received message.
	Delete(ctx context.Context, queue string, m events.SQSMessage) error
}

const (
	// looking is how long letters are hidden that somebody looks at, working while they are replayed or dropped. They
	// are released when that is done; after a crash they come back after this time.
	looking, working = time.Minute, 10 * time.Minute
	// maxLooked is how many letters of a queue are looked at to find the oldest one.
	maxLooked = 1000
	// maxTaken and maxBytes are how many letters, and bytes of them, are replayed or dropped at once.
	maxTaken, maxBytes = 10_000, 256 << 20
	// parallel is how many letters are replayed or dropped at the same time.
	parallel = 8
	// patience is how long the release of letters may take after the command was interrupted.
	patience = 10 * time.Second
)

// Desk is where a person works on dead letters. Its methods may be called by many goroutines at once.
type Desk struct {
	Topology *topology.Topology
	Store    Store

	one sync.Mutex // replays or drops
}

// Queue is how much is in a dead-letter queue.
type Queue struct {
	Name    string `json:"queue"`
	Letters int    `json:"letters"`
	// Oldest is the time of the oldest letter, of the Looked that were looked at.
	Oldest time.Time `json:"oldest,omitzero"`
	Looked int       `json:"looked"`
}

// Selection says which letters are meant: those that fit everything that is not zero.
type Selection struct {
	Queue  string   `json:"queue,omitempty"`  // without the prefix, with it, or an ARN
	IDs    []string `json:"ids,omitempty"`    // of messages or events
	Reason string   `json:"reason,omitempty"` // a part of it
	Limit  int      `json:"limit,omitempty"`
}

// Order is what should be done with letters.
type Order struct {
	Selection
	// Confirmed lets it be done to more than one letter.
	Confirmed bool `json:"confirmed,omitempty"`
	// To is the queue to replay to, where it is not the one that a letter came from. It may be one of others.
	To string `json:"to,omitempty"`
	// Again makes subscribers that are done with an event do it once more.
	Again bool `json:"again,omitempty"`
}

// Result is what was found, and done with it.
type Result struct {
	Letters []Letter `json:"letters"`
	// More tells that there are other letters that fit.
	More bool `json:"more,omitempty"`
	// Done tells that the order was carried out. A letter where that failed has an Error and is still there.
	Done bool `json:"done,omitempty"`
}

// Queues counts the letters of all dead-letter queues.
func (d *Desk) Queues(ctx context.Context) ([]Queue, error) {
	names := Queues(d.Topology)
	list := make([]Queue, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() (err error) {
			list[i], err = d.count(ctx, name)
			return err
		})
	}
	return list, g.Wait()
}

func (d *Desk) count(ctx context.Context, name string) (Queue, error) {
	q := Queue{Name: name}
	found, err := d.take(ctx, Selection{Queue: name, Limit: maxLooked}, looking, false)
	defer found.release(ctx, d.Store)
	if err != nil {
		return q, err
	}
	for _, l := range found.letters {
		if at := l.letter.Time; !at.IsZero() && (q.Oldest.IsZero() || at.Before(q.Oldest)) {
			q.Oldest = at
		}
	}
	q.Looked = len(found.letters)
	if q.Letters, err = d.Store.Count(ctx, name); err != nil {
		return q, err
	}
	if !found.more || q.Letters < q.Looked { // a count may lag behind
		q.Letters = q.Looked
	}
	return q, nil
}

// List returns the letters of a selection, oldest first; with their attributes and bodies if whole is set.
func (d *Desk) List(ctx context.Context, s Selection, whole bool) (Result, error) {
	found, err := d.take(ctx, s, looking, whole)
	defer found.release(ctx, d.Store)
	if err != nil {
		return Result{}, err
	}
	r := Result{Letters: make([]Letter, len(found.letters)), More: found.more}
	for i, l := range found.letters {
		r.Letters[i] = l.letter
		if whole {
			m, err := d.unfolded(ctx, l)
			if err != nil { // what is in the queue is shown
				r.Letters[i].Error = err.Error()
			}
			r.Letters[i].Attributes, r.Letters[i].Body, r.Letters[i].Bytes = m.MessageAttributes, m.Body, len(m.Body)
		}
	}
	return r, nil
}

// Replay sends letters, without what made dead letters of them, to the queues where they should be handled, and
// deletes each when it is there. After a crash between the two a letter is both sent and still there.
func (d *Desk) Replay(ctx context.Context, o Order) (Result, error) {
	to, err := d.destination(o.To)
	if err != nil {
		return Result{}, err
	}
	again := ""
	if o.Again {
		again = rand.Text() // the same for all: an event that has several letters is done once more, not several times
	}
	return d.work(ctx, o, to, func(ctx context.Context, l *taken) error {
		if l.letter.Unknown != "" {
			return events.Errorf(events.CodeNotFound, "%s", l.letter.Unknown)
		}
		m, err := restored(l.message, bySNS(d.Topology, l.letter.Queue, l.message), again)
		if err != nil {
			return err
		}
		for _, queue := range l.letter.To {
			suited, err := d.suited(ctx, l, m, queue)
			if err != nil {
				return err
			}
			if err := d.Store.Send(ctx, queue, suited); err != nil {
				return err
			}
		}
		return nil
	})
}

// suited returns the message that a letter becomes in a queue; m is what it was. A message of a queue of others stays
// sealed for the function that reads it. In any other queue but ours it is as its sender sent it.
func (d *Desk) suited(ctx context.Context, l *taken, m events.SQSMessage, queue string) (events.SQSMessage, error) {
	if !sealed.Is(m) {
		return m, nil
	}
	for _, q := range d.Topology.Queues {
		if isARN := strings.HasPrefix(queue, "arn:"); queue != q.Name && (!isARN || !strings.HasSuffix(queue, ":"+q.AWSName)) {
			continue
		}
		if q.Function != topology.SQSPublisher {
			return m, events.Errorf(events.CodeInvalid, "it is of a queue of others, and only %s reads such messages: replay it to %s, or with --to to the queue of others", topology.SQSPublisher, topology.QueueIngest)
		}
		return m, nil
	}
	bucket, err := d.bucket(ctx, l)
	if err != nil {
		return m, err
	}
	return sealed.Original(ctx, bucket, m)
}

// unfolded returns the message of a letter as a person wants to see it: with a body and attributes that are in the bucket.
// With an error it is as it is in the queue.
func (d *Desk) unfolded(ctx context.Context, l *taken) (events.SQSMessage, error) {
	if !sealed.Folded(l.message) {
		return l.message, nil
	}
	bucket, err := d.bucket(ctx, l)
	if err != nil {
		return l.message, err
	}
	return sealed.Unfold(ctx, bucket, l.message)
}

// bucket returns where the message of a letter is, nil if that is the queue.
func (d *Desk) bucket(ctx context.Context, l *taken) (*events.Bucket, error) {
	if !sealed.Folded(l.message) {
		return nil, nil //nolint:nilnil // nobody asks it
	}
	return d.Store.Bucket(ctx, l.letter.Queue)
}

// Drop deletes letters.
func (d *Desk) Drop(ctx context.Context, o Order) (Result, error) {
	return d.work(ctx, o, "", func(context.Context, *taken) error { return nil })
}

// work carries out an order: do does what has to be done before a letter is deleted. To is the queue for all letters,
// if it is not empty.
func (d *Desk) work(ctx context.Context, o Order, to string, do func(context.Context, *taken) error) (Result, error) {
	d.one.Lock()
	defer d.one.Unlock()
	// All letters are there before the first is worked on: one that comes back is not taken again.
	found, err := d.take(ctx, o.Selection, working, true)
	defer found.release(ctx, d.Store)
	if err != nil {
		return Result{}, err
	}
	r := Result{Letters: make([]Letter, len(found.letters)), More: found.more, Done: o.Confirmed || len(found.letters) == 1}
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, l := range found.letters {
		if to != "" {
			l.letter.To, l.letter.Unknown = []string{to}, ""
		}
		g.Go(func() error {
			if r.Done {
				if err := d.finish(ctx, l, do); err != nil {
					l.letter.Error = err.Error()
				}
			}
			r.Letters[i] = l.letter // each has one writer
			return nil
		})
	}
	_ = g.Wait() // the errors are in the letters
	return r, nil
}

// finish works on a letter and deletes it.
func (d *Desk) finish(ctx context.Context, l *taken, do func(context.Context, *taken) error) error {
	if err := d.Store.Renew(ctx, l.letter.Queue, l.message, working); err != nil {
		return err
	}
	if err := do(ctx, l); err != nil {
		return err
	}
	// What was sent has to go, also where somebody has lost patience meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := d.Store.Delete(ctx, l.letter.Queue, l.message); err != nil {
		return err
	}
	l.gone = true
	return nil
}

// destination returns the queue that a person has named: one that is read, one of others, or an ARN.
func (d *Desk) destination(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	var names, others []string
	for _, q := range d.Topology.Queues {
		if slices.Contains(Queues(d.Topology), q.Name) {
			continue
		}
		if name == q.Name || name == q.AWSName {
			return q.Name, nil
		}
		names = append(names, q.Name)
	}
	for _, q := range d.Topology.Foreign {
		if name == q.Name || name == q.ARN {
			return q.Name, nil
		}
		if name == q.AWSName() {
			others = append(others, q.Name)
		}
		names = append(names, q.Name)
	}
	switch {
	case strings.HasPrefix(name, "arn:"):
		return name, nil
	case len(others) == 1:
		return others[0], nil
	case len(others) > 1:
		return "", events.Errorf(events.CodeInvalid, "%q is the name of several queues: --to takes one of %s", name, strings.Join(others, ", "))
	}
	return "", events.Errorf(events.CodeInvalid, "%q is not a queue that is read: --to takes one of %s", name, strings.Join(names, ", "))
}

// queues returns the dead-letter queues of a selection.
func (d *Desk) queues(name string) ([]string, error) {
	all := Queues(d.Topology)
	if name == "" {
		return all, nil
	}
	if strings.HasPrefix(name, "arn:") {
		return []string{name}, nil
	}
	for _, q := range d.Topology.Queues {
		if (name == q.Name || name == q.AWSName) && slices.Contains(all, q.Name) {
			return []string{q.Name}, nil
		}
	}
	return nil, events.Errorf(events.CodeInvalid, "%q is not a dead-letter queue: --queue takes one of %s", name, strings.Join(all, ", "))
}

// taken is a letter that was received.
type taken struct {
	letter  Letter
	message events.SQSMessage
	gone    bool // from its queue
}

// hand is what was received: the letters that fit, oldest first, and those that have to be released beside them.
type hand struct {
	letters []*taken
	others  map[string][]events.SQSMessage // by queue
	bytes   int                            // of the bodies of letters
	more    bool                           // there are others that fit
}

// take receives the letters of a selection. What it received has to be released, whatever it returns.
func (d *Desk) take(ctx context.Context, s Selection, hidden time.Duration, whole bool) (*hand, error) {
	h := &hand{others: map[string][]events.SQSMessage{}}
	queues, err := d.queues(s.Queue)
	if err != nil {
		return h, err
	}
	for _, queue := range queues {
		for m, err := range d.Store.Receive(ctx, queue, hidden) {
			if err != nil {
				return h, err
			}
			h.add(s, &taken{letter: letter(d.Topology, queue, m), message: m}, whole)
			if h.more {
				break
			}
		}
		if h.more {
			break
		}
	}
	slices.SortStableFunc(h.letters, func(a, b *taken) int {
		return cmp.Or(a.letter.Time.Compare(b.letter.Time), cmp.Compare(a.letter.ID, b.letter.ID))
	})
	return h, nil
}

// add adds a letter that was received.
func (h *hand) add(s Selection, l *taken, whole bool) {
	fits := s.is(l.letter)
	h.more = fits && (len(h.letters) >= min(cmp.Or(s.Limit, maxTaken), maxTaken) || h.bytes > maxBytes)
	if !fits || h.more || !whole {
		l.message.Body, l.message.MessageAttributes = "", nil // nobody needs them, and they may be large
	}
	if !fits || h.more {
		h.others[l.letter.Queue] = append(h.others[l.letter.Queue], l.message)
		return
	}
	h.letters = append(h.letters, l)
	h.bytes += len(l.message.Body)
}

// release gives back what was received and is still there. What cannot be released comes back by itself.
func (h *hand) release(ctx context.Context, s Store) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for _, l := range h.letters {
		if !l.gone {
			h.others[l.letter.Queue] = append(h.others[l.letter.Queue], l.message)
		}
	}
	for queue, ms := range h.others {
		_ = s.Release(ctx, queue, ms)
	}
}
