package deadletter

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// A dead-letter queue that is named by its ARN may be one of a function or of subscriptions.
func TestLetter_OfAnARN(t *testing.T) {
	t.Parallel()
	const queue = "arn:aws:sqs:eu-west-1:111122223333:builds-dlq"
	for _, test := range []struct {
		name             string
		attributes, left []string
		function, reason string
	}{
		{"from SNS", []string{"ErrorCode", "ErrorMessage", "RequestID", "x-build"}, []string{"x-build"}, "SNS", "text: text"},
		{"with attributes of such names", []string{"ErrorCode", "RequestID", "x-build"}, []string{"ErrorCode", "RequestID", "x-build"}, "", "failed too often"},
	} {
		m := events.SQSMessage{MessageAttributes: map[string]events.SQSAttribute{}}
		for _, name := range test.attributes {
			m.MessageAttributes[name] = events.SQSAttribute{DataType: "String", StringValue: "text"}
		}
		l := letter(&topology.Topology{}, queue, m)
		if l.Function != test.function || l.Reason != test.reason {
			t.Errorf("%s: function %q, reason %q; want %q, %q", test.name, l.Function, l.Reason, test.function, test.reason)
		}
		back, err := restored(m, bySNS(&topology.Topology{}, queue, m), "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.left, slices.Sorted(maps.Keys(back.MessageAttributes))); diff != "" {
			t.Errorf("%s: attributes that are sent (-want +got):\n%s", test.name, diff)
		}
	}
}
