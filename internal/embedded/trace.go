package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.etcd.io/bbolt"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/pkg/events"
)

// traceRetention is how long hops are kept: as long as SQS can keep a message.
const traceRetention = 14 * 24 * time.Hour

var hopsBucket = []byte("hops")

// Trace remembers the hops of every event. It writes them behind the events' backs: what a process did in its
// last moment before it was killed may be missing, the effects themselves are not.
type Trace struct {
	db   *bolt.DB
	wake chan struct{}
	done chan struct{}

	mu       sync.Mutex
	pending  []events.Hop
	observed uint64 // how many hops there were
	written  uint64 // how many of them are on the disk, or never will be
	progress *sync.Cond
	closed   bool
}

var _ events.Observer = (*Trace)(nil)

// OpenTrace opens the trace in a database.
func OpenTrace(db *bolt.DB) (*Trace, error) {
	t := &Trace{db: db, wake: make(chan struct{}, 1), done: make(chan struct{})}
	t.progress = sync.NewCond(&t.mu)
	err := db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(hopsBucket)
		return err
	})
	if err != nil {
		return nil, events.Wrap(err, events.CodeInternal, "the trace cannot be opened")
	}
	go t.run()
	return t, nil
}

// prune deletes what is too old, a bounded part in each commit, until ctx ends.
func (t *Trace) prune(ctx context.Context) error {
	const most = 1000
	oldest := time.Now().Add(-traceRetention)
	var from []byte
	for ctx.Err() == nil {
		var old [][]byte
		err := t.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(hopsBucket).Cursor()
			k, _ := c.Seek(from)
			for ; k != nil && len(old) < most; k, _ = c.Next() {
				if hopTime(k).Before(oldest) {
					old = append(old, slices.Clone(k))
				}
			}
			from = slices.Clone(k)
			return nil
		})
		if err != nil {
			return err
		}
		if len(old) > 0 {
			err = t.db.Update(func(tx *bbolt.Tx) error {
				for _, k := range old {
					if err := tx.Bucket(hopsBucket).Delete(k); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil || from == nil {
			return err
		}
	}
	return nil
}

// Observe remembers a hop.
func (t *Trace) Observe(_ context.Context, h events.Hop) {
	if h.Event == "" {
		return // a refused request that is no event
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.pending = append(t.pending, h)
	t.observed++
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Trace) run() {
	defer close(t.done)
	for range t.wake {
		t.write()
	}
	t.write()
}

func (t *Trace) write() {
	t.mu.Lock()
	hops, number := t.pending, uint32(t.written) //nolint:gosec // only tells hops of one nanosecond apart
	t.pending = nil
	t.mu.Unlock()
	if len(hops) == 0 {
		return
	}
	err := t.db.Update(func(tx *bbolt.Tx) error {
		for i, h := range hops {
			// What comes from outside need not be text, and no hop may take others with it.
			value, err := json.Marshal(h, jsontext.AllowInvalidUTF8(true))
			if err == nil {
				err = tx.Bucket(hopsBucket).Put(hopKey(h, number+uint32(i)), value)
			}
			if err != nil {
				slog.Error("a hop cannot be written to the trace", "function", h.Function, "error", err)
			}
		}
		return nil
	})
	if err != nil {
		slog.Error("the trace cannot be written", "error", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written += uint64(len(hops))
	t.progress.Broadcast()
}

// Close writes what is left. Closing twice is no error.
func (t *Trace) Close() {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.wake)
	}
	t.mu.Unlock()
	<-t.done
}

// flush waits until all that was observed so far is on the disk.
func (t *Trace) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for until := t.observed; t.written < until; {
		t.progress.Wait()
	}
}

// Find returns the hops of an event and of all events that were published because of it, in the order of time.
// It is empty for an event that is not known.
func (t *Trace) Find(id string) ([]events.Hop, error) {
	t.flush()
	return findHops(t.db, id)
}

func findHops(db *bolt.DB, id string) ([]events.Hop, error) {
	var hops []events.Hop
	seen := map[string]bool{id: true}
	err := db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(hopsBucket)
		for queue := []string{id}; len(queue) > 0 && bucket != nil; queue = queue[1:] {
			prefix := hopPrefix(queue[0])
			c := bucket.Cursor()
			for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
				if len(k) != len(prefix)+hopSuffix {
					continue // of an id that has a zero byte itself
				}
				var h events.Hop
				if err := json.Unmarshal(v, &h); err != nil {
					return err
				}
				hops = append(hops, h)
				for _, n := range h.Notes {
					if n.Kind == events.NotePublished && !seen[n.Value] {
						seen[n.Value] = true
						queue = append(queue, n.Value)
					}
				}
			}
		}
		return nil
	})
	slices.SortStableFunc(hops, func(a, b events.Hop) int { return a.Time.Compare(b.Time) })
	return hops, err
}

// The key of a hop: event, a zero byte, nanoseconds and a number that tells hops of the same time apart.
const hopSuffix = 8 + 4

func hopPrefix(id string) []byte { return append([]byte(id), 0) }

func hopKey(h events.Hop, number uint32) []byte {
	k := binary.BigEndian.AppendUint64(hopPrefix(h.Event), uint64(h.Time.UnixNano()))
	return binary.BigEndian.AppendUint32(k, number)
}

func hopTime(k []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(k[len(k)-hopSuffix:]))) //nolint:gosec // as written
}
