package senders_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/senders"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// What becomes metadata, and whether anything is verified, depends on where a webhook comes in.
func TestProfile(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:sqs:eu-west-1:111122223333:a"
	for name, test := range map[string]struct {
		topic    config.Topic
		verified bool
		metadata events.Metadata
	}{
		"HTTP":                {config.Topic{From: config.FromHMAC, Secrets: []string{"s"}, Signature: &config.Signature{Header: "x-sig"}, Metadata: []string{"x-a"}}, true, events.Metadata{"x-a": "1"}},
		"HTTP, none wanted":   {config.Topic{From: config.FromNone}, false, events.Metadata{}},
		"queue":               {config.Topic{From: config.FromQueue, Queue: arn}, false, events.Metadata{"x-a": "1", "x-b": "2", "x-sig": "0"}},
		"queue, some wanted":  {config.Topic{From: config.FromQueue, Queue: arn, Metadata: []string{"x-b"}}, false, events.Metadata{"x-b": "2"}},
		"queue, signed":       {config.Topic{From: config.FromHMAC, Queue: arn, Secrets: []string{"s"}, Signature: &config.Signature{Header: "x-sig"}}, true, events.Metadata{"x-a": "1", "x-b": "2"}},
		"queue of a provider": {config.Topic{From: config.FromGitLab, Queue: arn}, false, events.Metadata{"x-a": "1", "x-b": "2", "x-sig": "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := senders.Profile(test.topic, nil, nil)
			r := webhook.Request{Headers: events.Metadata{"x-a": "1", "x-b": "2", "x-sig": "0"}, Body: []byte(`{"object_kind":"push"}`)}
			if err := p.Verify(r, []string{"s"}); (err != nil) != test.verified {
				t.Errorf("verifying: %v", err)
			}
			d, err := p.Describe(r, r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.metadata, d.Metadata); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
		})
	}
}
