// Package bolt opens a bbolt file whose writers share commits: every change is on the disk when its caller
// hears of it, and many changes that wait at the same time cost one fsync.
package bolt

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/callboard/callboard/internal/fault"
	"github.com/callboard/callboard/pkg/events"
)

const (
	lockTimeout = time.Second
	maxGroup    = 256 // functions in one transaction; bounds its memory and how long the first one waits
)

// ErrClosed is the answer to everything that is asked of a closed [DB].
var ErrClosed = events.Errorf(events.CodeUnavailable, "the database is closed")

// errAgain rolls back a transaction one of whose functions failed.
var errAgain = errors.New("a function of the group failed")

// DB is an open bbolt file. It may be used by many goroutines at once.
type DB struct {
	file  *bbolt.DB
	queue chan *call
	done  chan struct{} // closed when the writer has answered everything

	mu     sync.RWMutex // held for reading while something is put into the queue
	closed bool
}

// call is one function that waits for its commit.
type call struct {
	fn     func(*bbolt.Tx) error
	err    error
	answer chan error
}

// Open opens the bbolt file at path and creates it, with mode 0600, where there is none; its folder has to
// exist. A file that another process keeps open for longer than a second is an error with
// [events.CodeUnavailable].
func Open(path string) (*DB, error) {
	file, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, events.Wrap(err, events.CodeUnavailable,
			"the database file %s is in use by another process; stop that process or use another folder", path)
	}
	if err != nil {
		return nil, events.Wrap(err, events.CodeInternal, "the database file %s cannot be opened", path)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, events.Wrap(errors.Join(err, file.Close()), events.CodeInternal,
			"the folder of the database file %s cannot be written to the disk", path)
	}

	d := &DB{file: file, queue: make(chan *call, maxGroup), done: make(chan struct{})}
	go d.write()
	return d, nil
}

// syncFolder makes the name of a file that was just created survive a loss of power.
func syncFolder(path string) error {
	folder, err := os.Open(path) // #nosec G304 -- the folder of a file that the caller chose
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// View runs fn in a read-only transaction and returns its error. What fn reads is valid only until it
// returns. fn must not call Update: the two can wait for each other.
func (d *DB) View(fn func(*bbolt.Tx) error) error {
	defer fault.Call()()
	err := d.file.View(fn)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// Update runs fn in a read-write transaction and returns when its changes are on the disk. An error of fn
// means that none of them was made; a panic of fn is such an error. Where the file cannot be written the
// error has [events.CodeUnavailable].
//
// The transaction is shared with other callers. Where one of their functions fails, everything is rolled
// back and the others run again: fn must therefore be able to run several times, from the start, and what it
// hands out through variables must be set anew by each run. Only the last run counts. An error costs a roll
// back, so an outcome that is to be expected and wrote nothing is better handed out through a variable.
//
// fn must not call View, Update or [runtime.Goexit], and must not keep the transaction.
func (d *DB) Update(fn func(*bbolt.Tx) error) error {
	defer fault.Call()()
	c := &call{fn: fn, answer: make(chan error, 1)}
	if !d.enqueue(c) {
		return ErrClosed
	}
	return <-c.answer
}

func (d *DB) enqueue(c *call) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return false
	}
	d.queue <- c
	return true
}

// Close lets the functions that already wait finish and closes the file. Closing twice is no error.
func (d *DB) Close() error {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.queue)
	}
	d.mu.Unlock()
	<-d.done
	return d.file.Close()
}

// write is the only writer: it commits groups until the queue is closed and empty.
func (d *DB) write() {
	defer close(d.done)
	for c := range d.queue {
		// Those whom the last commit set free get a chance to join, without anybody waiting for a clock.
		runtime.Gosched()
		group := d.drain([]*call{c})
		err := d.commit(group)
		for _, c := range group {
			c.answer <- cmp.Or(err, c.err)
		}
	}
}

// drain adds to group whatever waits right now.
func (d *DB) drain(group []*call) []*call {
	for len(group) < maxGroup {
		select {
		case c, ok := <-d.queue:
			if !ok {
				return group
			}
			group = append(group, c)
		default:
			return group
		}
	}
	return group
}

// commit runs the functions of group in one transaction and commits those that do not fail; the others get
// their err. Its own error concerns all of them: also a function that failed may have done so because of what
// it saw of the others. Nobody may therefore be answered before commit returns.
func (d *DB) commit(group []*call) error {
	for {
		err := d.file.Update(func(tx *bbolt.Tx) error {
			for _, c := range group {
				if c.err != nil {
					continue // failed in a transaction that was rolled back
				}
				if c.err = run(c.fn, tx); c.err != nil {
					return errAgain
				}
			}
			return nil
		})
		if err == nil {
			return nil
		}
		if !errors.Is(err, errAgain) {
			return events.Wrap(err, events.CodeUnavailable, "the database cannot be written")
		}
	}
}

// run calls fn and turns a panic, which would end the process from the writer's goroutine, into an error.
func run(fn func(*bbolt.Tx) error, tx *bbolt.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = events.Wrap(fmt.Errorf("panic: %v\n%s", p, debug.Stack()), events.CodeInternal, "a database update panicked")
		}
	}()
	return fn(tx)
}
