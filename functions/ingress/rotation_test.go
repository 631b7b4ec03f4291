package ingress_test

import (
	"context"
	"strings"
	"testing"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// remembering is a source of secrets that remembers values.
type remembering struct {
	remembered, now []string
	refreshed       int
}

func (r *remembering) Values(context.Context, string) ([]string, error) { return r.remembered, nil }

func (r *remembering) Refresh(context.Context, string) ([]string, error) {
	r.refreshed++
	r.remembered = r.now
	return r.now, nil
}

// A value counts from the moment it is added, also where another one is remembered, and one that is retired does not
// count any more once the secret was looked at.
func TestHandler_Rotation(t *testing.T) {
	t.Parallel()
	body := []byte(`{"ref":"refs/heads/main"}`)
	source := &remembering{remembered: []string{"old"}, now: []string{"old"}}
	w := &world{}
	h := newHandler(w)
	h.Secrets = source
	for _, step := range []struct {
		what, value string
		now         []string
		status      string
		refreshed   int
	}{
		{"before", "old", []string{"old"}, "202", 0},
		{"added", "new", []string{"new", "old"}, "202", 1},
		{"both are good", "old", []string{"new", "old"}, "202", 1},
		{"retired, but remembered", "old", []string{"new"}, "202", 1},
		{"unknown", "nobody's", []string{"new"}, "403", 2},
		{"retired", "old", []string{"new"}, "403", 3},
		{"after", "new", []string{"new"}, "202", 3},
	} {
		source.now = step.now
		answer, err := h.Invoke(t.Context(), invocation("POST", "github", map[string]string{
			"content-type": "application/json", "x-github-event": "push", "x-github-delivery": "1",
			"x-hub-signature-256": webhook.GitHubSignature.Sign(body, step.value),
		}, body, false))
		if err != nil || !strings.HasPrefix(string(answer), `{"statusCode":`+step.status) || source.refreshed != step.refreshed {
			t.Errorf("%s: %s, %v after %d looks; want %s after %d", step.what, answer, err, source.refreshed, step.status, step.refreshed)
		}
	}
	for _, hop := range w.hops {
		if hop.Outcome == events.OutcomeRefused && strings.Contains(hop.Reason, "nobody's") {
			t.Errorf("the reason tells more than it should: %s", hop.Reason)
		}
	}
}
