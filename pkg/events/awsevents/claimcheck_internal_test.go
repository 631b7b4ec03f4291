package awsevents

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
)

// Whoever counts what some subscribers do not get is told of published claim checks, and of nothing else.
func TestPublisher_OnClaimCheck(t *testing.T) {
	t.Parallel()
	var told []string
	p := &Publisher{OnClaimCheck: func(_ context.Context, e events.Event) { told = append(told, e.ID) }}
	inline := events.Message{Body: "{}", Attributes: map[string]events.Attribute{events.AttributeID: {DataType: "String", StringValue: "x"}}}
	claim := events.Message{Body: "[]", Attributes: map[string]events.Attribute{events.AttributeExtendedSize: {DataType: "Number", StringValue: "2000000"}}}
	es := []events.Event{{ID: "inline"}, {ID: "claim"}, {ID: "failed"}, {ID: "other"}}
	first, second := &batch{}, &batch{}
	for i, m := range []events.Message{inline, claim, claim} {
		first.entries, first.events = append(first.entries, entry("", m)), append(first.events, i)
	}
	second.entries, second.events = append(second.entries, entry("", claim)), append(second.events, 3)
	errs := events.PublishError{nil, nil, events.Errorf(events.CodeUnavailable, "no"), nil}
	p.tell(t.Context(), []*batch{first, second}, es, errs)
	if diff := cmp.Diff([]string{"claim", "other"}, told); diff != "" {
		t.Errorf("told of (-want +got):\n%s", diff)
	}
}
