package catalogsync_test

import (
	"context"
	"testing"

	catalogsync "github.com/callboard/callboard/functions/catalog-sync"
	"github.com/callboard/callboard/pkg/events"
)

// The function is invoked by its queue and by the schedule of the sweep.
func TestLambda(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "/catalog-info.yaml")
	watched := 0
	l := &catalogsync.Lambda{Watch: func(context.Context) { watched++ }, Batch: &events.Batch{Function: "catalog-sync", Subscriber: w.handler}, Sync: w.handler}
	for invocation, want := range map[string]string{
		`{"Records":[{"messageId":"1","body":"{}"}]}`:                               `{"batchItemFailures":[{"itemIdentifier":"1"}]}`,
		`{"source":"callboard.schedule","detail-type":"catalog-sync-outbox-sweep"}`: `{"published":0}`,
	} {
		answer, err := l.Invoke(t.Context(), []byte(invocation))
		if err != nil || string(answer) != want {
			t.Errorf("%s is answered %s, %v; want %s", invocation, answer, err, want)
		}
	}
	if watched != 1 {
		t.Errorf("%d invocations watched, want only the one of the schedule", watched)
	}
	if _, err := l.Invoke(t.Context(), []byte("no")); events.ErrorCode(err) != events.CodeInvalid {
		t.Errorf("nonsense is answered with the error %v", err)
	}
}
