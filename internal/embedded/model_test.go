package embedded

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/pkg/events"
)

// modelMessage is what has to be true of a message of a queue.
type modelMessage struct {
	receives, stored     int
	hidden, hiddenOnDisk bool
	receipt              string // "" if it is not in flight
}

// model is what a person expects of two queues, of which the first has a dead-letter queue.
type model struct {
	path     string
	db       *bolt.DB
	queues   *Queues
	sent     int
	messages map[string]map[string]*modelMessage // queue → body
	dead     []string
	batches  map[string][][]*received // that were handed out and not settled
}

const modelMaxReceives = 2

func (m *model) open(t *rapid.T) {
	var err error
	if m.db, err = bolt.Open(m.path); err != nil {
		t.Fatal(err)
	}
	m.queues, err = OpenQueues(m.db, []QueueSpec{
		{Name: "dead"}, {Name: "a", Visibility: time.Hour, MaxReceives: modelMaxReceives, DeadLetter: "dead"}, {Name: "b", Visibility: time.Hour},
	}, map[string][]string{"t": {"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	m.batches = map[string][][]*received{}
}

func (m *model) add(queues ...string) string {
	m.sent++
	body := fmt.Sprint(m.sent)
	for _, q := range queues {
		m.messages[q][body] = &modelMessage{}
	}
	return body
}

// receive expects what is visible, and what was received too often in the dead-letter queue.
func (m *model) receive(t *rapid.T, queue string, n int) {
	visible := 0
	for _, one := range m.messages[queue] {
		if !one.hidden {
			visible++
		}
	}
	one := m.queues.get(queue)
	taken, wait := m.queues.take(one, n)
	if len(taken) != min(n, visible) || visible == 0 && wait <= 0 {
		t.Fatalf("queue %s: %d of %d messages were handed out to one who takes %d; the next in %v", queue, len(taken), visible, n, wait)
	}
	moved := len(taken)
	batch, err := m.queues.load(t.Context(), one, taken, func(given events.Message) {
		got := m.messages[queue][given.Body]
		if got == nil || got.receives != modelMaxReceives || queue != "a" {
			t.Fatalf("queue %s: message %s was given up with %+v", queue, given.Body, got)
		}
		delete(m.messages[queue], given.Body)
		m.dead = append(m.dead, given.Body)
		moved--
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(batch) != moved {
		t.Fatalf("queue %s: %d messages were taken and %d handed out", queue, moved, len(batch))
	}
	for _, r := range batch {
		got := m.messages[queue][r.message.Body]
		if got == nil || got.hidden {
			t.Fatalf("queue %s: message %s is handed out with %+v", queue, r.message.Body, got)
		}
		if got.receives > got.stored {
			got.stored, got.hiddenOnDisk = got.receives, false
		}
		got.receives++
		got.hidden, got.receipt = true, r.receipt
		if r.message.Receives() != got.receives {
			t.Fatalf("queue %s: message %s is received for the %d. time, not the %d.", queue, r.message.Body, got.receives, r.message.Receives())
		}
	}
	if len(batch) > 0 {
		m.batches[queue] = append(m.batches[queue], batch)
	}
}

func (m *model) hide(t *rapid.T, queue string, r *received, d time.Duration) {
	got := m.messages[queue][r.message.Body]
	err := m.queues.hide(queue, r.receipt, d)
	if current := got != nil && got.receipt == r.receipt; current != (err == nil) {
		t.Fatalf("queue %s: hide message %s with a receipt that is current (%v): %v", queue, r.message.Body, current, err)
	}
	if err == nil {
		got.hidden = d > 0
	}
}

func (m *model) settle(t *rapid.T, queue string, batch []*received, done []bool) {
	answer := map[string]bool{}
	for i, r := range batch {
		answer[r.receipt] = done[i]
		got := m.messages[queue][r.message.Body]
		switch {
		case got == nil || got.receipt != r.receipt:
		case done[i]:
			delete(m.messages[queue], r.message.Body)
		default:
			got.stored, got.hiddenOnDisk, got.receipt = got.receives, got.hidden, ""
		}
	}
	if err := m.queues.settle(queue, batch, func(r *received) bool { return answer[r.receipt] }); err != nil {
		t.Fatal(err)
	}
}

// reopen is what a process finds whose predecessor was killed.
func (m *model) reopen(t *rapid.T) {
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
	for _, messages := range m.messages {
		for _, one := range messages {
			one.receives, one.hidden, one.receipt = one.stored, one.hiddenOnDisk, ""
		}
	}
}

func (m *model) check(t *rapid.T) {
	for _, queue := range []string{"a", "b", "dead"} {
		var want, got []string
		for body := range m.messages[queue] {
			want = append(want, body)
		}
		if queue == "dead" {
			want = slices.Clone(m.dead)
		}
		list, err := m.queues.Messages(queue)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list {
			got = append(got, one.Body)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("queue %s (-want +got):\n%s", queue, diff)
		}
		if depth := m.queues.Depths()[queue]; depth != len(want) {
			t.Fatalf("queue %s has %d messages, want %d", queue, depth, len(want))
		}
	}
}

// Whatever receivers do and whenever the process is killed: nothing is lost, nothing comes again after it was
// deleted, and receives are counted right.
func TestQueues_Model(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		m := &model{
			path:     filepath.Join(folder, fmt.Sprint(runs)),
			messages: map[string]map[string]*modelMessage{"a": {}, "b": {}},
		}
		m.open(t)
		defer func() { _ = m.db.Close() }()
		queue := rapid.SampledFrom([]string{"a", "b"})
		batchOf := func(t *rapid.T) (string, int) {
			name := queue.Draw(t, "queue")
			if len(m.batches[name]) == 0 {
				t.Skip("nothing is in flight")
			}
			return name, rapid.IntRange(0, len(m.batches[name])-1).Draw(t, "batch")
		}
		t.Repeat(map[string]func(*rapid.T){
			"": m.check,
			"send": func(t *rapid.T) {
				name := queue.Draw(t, "queue")
				if err := m.queues.Send(t.Context(), name, events.Message{Body: m.add(name)}); err != nil {
					t.Fatal(err)
				}
			},
			"publish": func(t *rapid.T) {
				body := m.add("a", "b")
				if err := m.queues.Publish(t.Context(), events.Event{ID: "t:" + body, Topic: "t", Payload: []byte(body)}); err != nil {
					t.Fatal(err)
				}
			},
			"receive": func(t *rapid.T) {
				m.receive(t, queue.Draw(t, "queue"), rapid.IntRange(1, 3).Draw(t, "n"))
			},
			"hide": func(t *rapid.T) {
				name, i := batchOf(t)
				r := rapid.SampledFrom(m.batches[name][i]).Draw(t, "message")
				m.hide(t, name, r, rapid.SampledFrom([]time.Duration{0, 0, time.Hour}).Draw(t, "duration"))
			},
			"settle": func(t *rapid.T) {
				name, i := batchOf(t)
				batch := m.batches[name][i]
				m.batches[name] = slices.Delete(m.batches[name], i, i+1)
				m.settle(t, name, batch, rapid.SliceOfN(rapid.Bool(), len(batch), len(batch)).Draw(t, "done"))
			},
			"reopen": m.reopen,
		})
	})
}
