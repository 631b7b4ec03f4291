package webhook_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// All attributes of a message become metadata but those that hold a credential or a signature, or would be mistaken for
// ours. The profile says the rest.
func TestMessage(t *testing.T) {
	t.Parallel()
	r := webhook.Request{Body: []byte(`{"repository":{"full_name":"a/b","html_url":"https://github.com/a/b"},"ref":"x"}`), Headers: events.Metadata{
		"x-github-event": "push", "x-github-delivery": "d", "tenant": "acme", "authorization": "canary", "x-api-token": "canary", "x-events-id": "forged",
	}}
	p := webhook.Message{Profile: webhook.GitHub{}}
	p.Sign(&r, "secret")
	if err := p.Verify(r, []string{"secret"}); err != nil {
		t.Error(err)
	}
	if err := p.Verify(r, []string{"other"}); events.ErrorCode(err) != events.CodeForbidden {
		t.Errorf("another secret: %v", err)
	}
	d, err := p.Describe(r, r.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := webhook.Delivery{
		ID: "d", Host: "github.com", Repository: "a/b", Promoted: []string{"x-github-event", "x-github-delivery"},
		Metadata: events.Metadata{"x-github-event": "push", "x-github-delivery": "d", "tenant": "acme"},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
	if _, err := p.Describe(r, []byte(`{`)); events.ErrorCode(err) != events.CodeInvalid {
		t.Errorf("no JSON: %v", err)
	}
}
