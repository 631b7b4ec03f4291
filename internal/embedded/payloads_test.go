package embedded

import (
	"context"
	"testing"
	"time"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

// claimCheck stores a payload and returns its message.
func claimCheck(t *testing.T, e *Engine, n int) (m events.Message, key string) {
	t.Helper()
	m, err := events.Encoder{MaxSize: 2000, Bucket: e.Bucket()}.Offload(t.Context(), large(n))
	if err != nil {
		t.Fatal(err)
	}
	c, ok, err := m.ClaimCheck()
	if !ok || err != nil {
		t.Fatalf("no claim check: %v", err)
	}
	return m, c.Key
}

func large(n int) events.Event {
	e := eventstest.NewEvent("t", n)
	e.Payload = append(e.Payload, make([]byte, 3000)...)
	for i := range 3000 {
		e.Payload[len(e.Payload)-1-i] = ' '
	}
	return e
}

// Payloads are there as long as a message can need them; those of dead letters, which stay here, for ever.
func TestSweepPayloads(t *testing.T) {
	t.Parallel()
	e, ctx := openEngine(t, t.TempDir()), t.Context()
	_, gone := claimCheck(t, e, 1)
	m, dead := claimCheck(t, e, 2)
	if err := e.Queue("dead").Park(ctx, m); err != nil {
		t.Fatal(err)
	}
	if err := e.Blobs.Put(ctx, "catalog/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	missing := func(after time.Duration) (keys []string) {
		if err := e.sweepPayloads(ctx, time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{gone, dead, "catalog/x"} {
			if _, err := e.Blobs.Get(ctx, key); err != nil {
				keys = append(keys, key)
			}
		}
		return keys
	}
	if got := missing(topology.PayloadRetention - time.Hour); len(got) > 0 {
		t.Errorf("%v are gone too early", got)
	}
	if got := missing(topology.PayloadRetention + time.Hour); len(got) != 1 || got[0] != gone {
		t.Errorf("%v are gone, want %s", got, gone)
	}
	if topology.PayloadRetention < 30*24*time.Hour {
		t.Errorf("payloads are kept for %v", topology.PayloadRetention)
	}
}

// Who publishes can be told what went out as a claim check, and what a topic takes decides what does.
func TestPublish_ClaimChecks(t *testing.T) {
	t.Parallel()
	e := openEngine(t, t.TempDir())
	var told []string
	e.Queues.OnClaimCheck = func(_ context.Context, e events.Event) { told = append(told, e.ID) }
	e.Queues.Limit = func(topic string) int { return map[string]int{"t": 2000}[topic] }
	other := large(3)
	other.Topic = "other"
	if err := e.Queues.Publish(t.Context(), large(1), eventstest.NewEvent("t", 2), other); err != nil {
		t.Fatal(err)
	}
	if want := large(1).ID; len(told) != 1 || told[0] != want {
		t.Errorf("told of %v, want %s", told, want)
	}
}
