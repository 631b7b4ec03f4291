package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"text/tabwriter"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

type exportsCommand struct {
	List exportsListCommand `cmd:"" help:"Print the queues of the exports and how many events wait in them."`
	Read exportsReadCommand `cmd:"" help:"Take events from an export, as its consumer would, and print each as a line of JSON."`
}

type exportsListCommand struct {
	State string `help:"The state folder of the callboard dev that has the queues." default:".callboard" placeholder:"DIR"`
}

type exportsReadCommand struct {
	Export string `arg:"" help:"The name of the export."`
	Topic  string `arg:"" optional:"" help:"One of its topics; all if it is left out."`
	State  string `help:"The state folder of the callboard dev that has the queues." default:".callboard" placeholder:"DIR"`
	Max    int    `help:"How many events to take at most." default:"10" placeholder:"N"`
	Keep   bool   `help:"Leave them in the queue; they can be read again after two minutes."`
}

// Validate refuses numbers that make no sense.
func (c *exportsReadCommand) Validate() error {
	if c.Max < 1 {
		return events.Errorf(events.CodeInvalid, "--max is how many events to take, at least 1")
	}
	return nil
}

// exportedQueue is a queue of an export in a running engine.
type exportedQueue struct {
	Export  string `json:"export"`
	Topic   string `json:"topic"`
	Queue   string `json:"queue"`
	Waiting int    `json:"waiting"`
}

// exportedMessage is a message of such a queue. The body is the payload of the event, byte for byte.
type exportedMessage struct {
	Topic      string                      `json:"topic"`
	Receives   int                         `json:"receives"`
	Attributes map[string]events.Attribute `json:"attributes"`
	Body       string                      `json:"body"`
}

// taking and taken are requests to the local routes.
type taking struct {
	Queue string `json:"queue"`
	Max   int    `json:"max"`
}

type taken struct {
	Queue    string   `json:"queue"`
	Receipts []string `json:"receipts"`
}

// maxTaken is how many messages one request takes.
const maxTaken = 10

func exportedQueues(ctx context.Context, state string) (local, []exportedQueue, error) {
	engine, err := front.Find(ctx, state)
	if errNoEngine(err) {
		return local{}, nil, events.Errorf(events.CodeNotFound, "no callboard dev runs on the state folder %s: start it, or name another folder with --state", state)
	}
	if err != nil {
		return local{}, nil, err
	}
	l := local{engine: engine}
	var queues []exportedQueue
	err = l.call(ctx, http.MethodGet, "/exports", nil, &queues)
	if err == nil && len(queues) == 0 {
		err = events.Errorf(events.CodeNotFound, "the configuration has no exports: add one to \"exports\"")
	}
	return l, queues, err
}

// Run prints a line for each queue.
func (c *exportsListCommand) Run(ctx context.Context, s streams) error {
	_, queues, err := exportedQueues(ctx, c.State)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, q := range queues {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d waiting\n", q.Export, q.Topic, q.Waiting)
	}
	return w.Flush()
}

// Run prints what it takes, and deletes it when it is printed.
func (c *exportsReadCommand) Run(ctx context.Context, s streams) error {
	l, queues, err := exportedQueues(ctx, c.State)
	if err != nil {
		return err
	}
	known := false
	left := c.Max
	for _, q := range queues {
		if q.Export != c.Export || c.Topic != "" && q.Topic != c.Topic {
			continue
		}
		known = true
		for left > 0 {
			n, err := c.take(ctx, s, l, q, min(left, maxTaken))
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			left -= n
		}
	}
	if !known {
		return events.Errorf(events.CodeNotFound, "nothing is exported to %q under this name and topic: callboard exports list shows what is", c.Export)
	}
	return nil
}

func (c *exportsReadCommand) take(ctx context.Context, s streams, l local, q exportedQueue, n int) (int, error) {
	var messages []events.SQSMessage
	if err := l.call(ctx, http.MethodPost, "/exports/receive", taking{q.Queue, n}, &messages); err != nil {
		return 0, err
	}
	done := taken{Queue: q.Queue}
	for _, m := range messages {
		plain := m.Message()
		line, err := json.Marshal(exportedMessage{q.Topic, m.Receives(), plain.Attributes, plain.Body}, json.Deterministic(true))
		if err != nil {
			return 0, err
		}
		if _, err := fmt.Fprintf(s.out, "%s\n", line); err != nil {
			return 0, err
		}
		done.Receipts = append(done.Receipts, m.ReceiptHandle)
	}
	if c.Keep || len(messages) == 0 {
		return len(messages), nil
	}
	return len(messages), l.call(ctx, http.MethodPost, "/exports/delete", done, &struct{}{})
}

// exportRoutes are the local routes of the queues that the engine keeps for consumers.
type exportRoutes struct {
	topo   *topology.Topology
	queues *embedded.Queues
}

func (e *exportRoutes) answer(r *http.Request) (any, error) {
	switch {
	case r.URL.Path == "/exports" && r.Method == http.MethodGet:
		return e.list(), nil
	case r.URL.Path == "/exports/receive" && r.Method == http.MethodPost:
		var in taking
		if err := e.read(r, &in, &in.Queue); err != nil {
			return nil, err
		}
		messages, err := e.queues.Receive(r.Context(), in.Queue, min(max(in.Max, 1), maxTaken))
		return slices.Concat([]events.SQSMessage{}, messages), err
	case r.URL.Path == "/exports/delete" && r.Method == http.MethodPost:
		var in taken
		if err := e.read(r, &in, &in.Queue); err != nil {
			return nil, err
		}
		_, err := e.queues.Delete(in.Queue, in.Receipts...)
		return struct{}{}, err
	}
	return nil, events.Errorf(events.CodeNotFound, "there is no local route %s", r.URL.Path)
}

// read reads a request about a queue, which has to be that of an export.
func (e *exportRoutes) read(r *http.Request, into any, queue *string) error {
	if err := json.UnmarshalRead(r.Body, into); err != nil {
		return events.Wrap(err, events.CodeInvalid, "the request is not JSON")
	}
	if !slices.ContainsFunc(e.list(), func(q exportedQueue) bool { return q.Queue == *queue }) {
		return events.Errorf(events.CodeNotFound, "no export has the queue %q", *queue)
	}
	return nil
}

func (e *exportRoutes) list() []exportedQueue {
	depths := e.queues.Depths()
	list := []exportedQueue{}
	for _, q := range e.topo.Queues {
		if q.Export != "" {
			list = append(list, exportedQueue{q.Export, q.Topic, q.Name, depths[q.Name]})
		}
	}
	slices.SortFunc(list, func(a, b exportedQueue) int {
		return cmp.Or(cmp.Compare(a.Export, b.Export), cmp.Compare(a.Topic, b.Topic))
	})
	return list
}
