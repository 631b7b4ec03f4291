package ingress

import (
	"errors"
	"testing"
	"time"

	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// Two requests have the same delivery at the same time. That one fails, and frees the claim of both, does not make the
// other's body unknown.
func TestOnce_FreedByTheSameDelivery(t *testing.T) {
	t.Parallel()
	h := &Handler{Table: boltdbtest.Open(t, time.Now)}
	hook := webhook.Request{Headers: events.Metadata{}, Body: []byte("{}"), Time: time.Now()}
	send := func(event string, store func() error) error {
		return h.once(t.Context(), time.Hour, "g", hook, event, store)
	}
	down := errors.New("the queue is down")
	if err := send("g:1", func() error {
		if err := send("g:1", func() error { return down }); !errors.Is(err, down) {
			t.Errorf("the one that fails: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := send("g:2", func() error { return nil }); events.ErrorCode(err) != codeRepeat {
		t.Errorf("the body under another id: %v, want it recognised", err)
	}
}
