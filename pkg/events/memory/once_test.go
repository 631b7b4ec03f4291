package memory_test

import (
	"testing"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
)

func TestOnceStore(t *testing.T) {
	t.Parallel()
	eventstest.RunOnceStore(t, func(*testing.T) events.OnceStore { return &memory.OnceStore{} })
}
