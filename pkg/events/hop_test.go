package events_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/callboard/callboard/pkg/events"
)

func TestLogObserver(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		hop  events.Hop
		want string
	}{
		{
			events.Hop{Event: "github:1", Topic: "github", Function: "router", Outcome: events.OutcomeOK, Attempt: 1, Milliseconds: 1.5},
			"level=INFO msg=hop event=github:1 function=router topic=github outcome=ok ms=1.5 attempt=1\n",
		},
		{
			events.Hop{Event: "a", Topic: "t", Function: "f", Outcome: events.OutcomeDropped, Reason: "no sub-topic"},
			"level=INFO msg=hop event=a function=f topic=t outcome=dropped ms=0 reason=\"no sub-topic\"\n",
		},
		{
			events.Hop{Event: "a", Topic: "t", Function: "f", Outcome: events.OutcomeRefused, Reason: "r"},
			"level=INFO msg=hop event=a function=f topic=t outcome=refused ms=0 reason=r\n",
		},
		{
			events.Hop{Event: "a", Topic: "t", Function: "f", Outcome: events.OutcomeRetry, Attempt: 2, Reason: "two\nlines"},
			"level=WARN msg=hop event=a function=f topic=t outcome=retry ms=0 attempt=2 reason=\"two\\nlines\"\n",
		},
		{
			events.Hop{Event: "a", Topic: "t", Function: "f", Outcome: events.OutcomeDefer},
			"level=WARN msg=hop event=a function=f topic=t outcome=defer ms=0\n",
		},
		{
			events.Hop{Event: "a", Topic: "t", Function: "f", Outcome: events.OutcomePark, Notes: []events.Note{{Kind: events.NoteEntity, Value: "+ component:default/x"}}},
			"level=ERROR msg=hop event=a function=f topic=t outcome=park ms=0 " +
				`notes="[{\"kind\":\"entity\",\"value\":\"+ component:default/x\"}]"` + "\n",
		},
	} {
		var b bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		events.LogObserver{Logger: logger}.Observe(t.Context(), test.hop)
		if got := b.String(); got != test.want {
			t.Errorf("the line is\n%swant\n%s", got, test.want)
		}
	}
}

func TestAddNote_OutsideOfABatch(t *testing.T) {
	t.Parallel()
	events.AddNote(context.Background(), events.NoteCount, "nobody listens") // and nothing breaks
}
