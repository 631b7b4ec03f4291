//go:build services

package cloudtrace_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/cloudtrace"
	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/pkg/events"
)

// TestServices finds what was logged. moto is not among the emulators: it takes a filter of several terms for one.
func TestServices(t *testing.T) {
	emulator.Each(t, []string{emulator.MiniStack, emulator.LocalStack}, func(t *testing.T, _ string, cfg aws.Config) {
		prefix := "/aws/lambda/callboard-" + rand.Text() + "-"
		client := cloudwatchlogs.NewFromConfig(cfg)
		now := time.Now()
		put := func(function string, at time.Time, lines ...string) {
			group, stream := prefix+function, "2026/01/02/[$LATEST]"+rand.Text()
			_, err := client.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &stream})
			if err != nil {
				t.Fatal(err)
			}
			in := &cloudwatchlogs.PutLogEventsInput{LogGroupName: &group, LogStreamName: &stream}
			for _, line := range lines {
				in.LogEvents = append(in.LogEvents, types.InputLogEvent{Timestamp: new(at.UnixMilli()), Message: &line})
			}
			if _, err := client.PutLogEvents(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
		hop := func(at time.Time, format, id, function string, published ...string) string {
			h := events.Hop{Time: at, Event: id, Function: function, Outcome: events.OutcomeOK}
			for _, p := range published {
				h.Notes = append(h.Notes, events.Note{Kind: events.NotePublished, Value: p})
			}
			return logged(h, format)
		}
		put("ingress", now.Add(-time.Minute), "START RequestId: 1", hop(now.Add(-time.Minute), "text", "github:1-a", "ingress"), "github:1-a is mentioned")
		put("catalog-sync", now, hop(now, "JSON", "github:1-a", "catalog-sync", "catalog.changed:1"), hop(now, "JSON", "github:1-ab", "longer"))
		put("notify", now, hop(now.Add(time.Second), "JSON", "catalog.changed:1", "notify"))

		f := cloudtrace.New(cfg, []string{prefix + "never-ran", prefix + "notify", prefix + "catalog-sync", prefix + "ingress"})
		if diff := cmp.Diff([]string{"ingress", "catalog-sync", "notify"}, functions(t, f, "github:1-a", now.Add(-time.Hour))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"catalog-sync", "notify"}, functions(t, f, "github:1-a", now.Add(-time.Second))); diff != "" {
			t.Errorf("since a second ago (-want +got):\n%s", diff)
		}
		if got := functions(t, f, "github:unknown", now.Add(-time.Hour)); got != nil {
			t.Errorf("an unknown event went through %v", got)
		}
		_, err := cloudtrace.New(cfg, []string{prefix + "never-ran"}).Find(t.Context(), "github:1-a", now)
		if events.ErrorCode(err) != events.CodeNotFound {
			t.Errorf("without a log group: %v", err)
		}
	})
}
