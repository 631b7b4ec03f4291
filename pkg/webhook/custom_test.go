package webhook_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// careless is a profile of somebody who does not know our rules.
type careless struct{ secrets *[]string }

func (c careless) Verify(_ webhook.Request, secrets []string) error {
	*c.secrets = secrets
	return nil
}

func (careless) Describe(r webhook.Request, _ []byte) (webhook.Delivery, error) {
	return webhook.Delivery{ID: "1", Metadata: r.Headers, Promoted: []string{"authorization", "x-kind"}}, nil
}

func TestCustom(t *testing.T) {
	t.Parallel()
	var secrets []string
	p := webhook.Custom(careless{&secrets})
	for _, none := range [][]string{nil, {""}, {"", ""}} {
		if err := p.Verify(webhook.Request{}, none); events.ErrorCode(err) != events.CodeForbidden || secrets != nil {
			t.Errorf("secrets %q: error %v and %q verified with, want it refused", none, err, secrets)
		}
	}
	given := []string{"", "a", "", "b"}
	if err := p.Verify(webhook.Request{}, given); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"", "a", "", "b"}, given); diff != "" {
		t.Errorf("the caller's secrets are changed (-want +got):\n%s", diff)
	}

	r := webhook.Request{Headers: events.Metadata{
		"authorization": "x", "x-kind": "add", "x-frob-signature": "x", "cookie": "x", "x-events-id": "x", "x-api-key": "x",
		"Authorization": "x", "X-Frob-Token": "x", "X-Events-Topic": "x", "X-Size": "1", "x-none": "",
	}}
	d, err := p.Describe(r, []byte(`{"a":1,"a":"\ud83d"}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events.Metadata{"x-kind": "add", "x-size": "1"}, d.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if len(r.Headers) != 11 {
		t.Errorf("the headers of the request are changed: %v", r.Headers)
	}
	for _, bad := range []string{"", "{", "{} {}", "x"} {
		if _, err := p.Describe(r, []byte(bad)); events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("payload %q: error %v, want %s", bad, err, events.CodeInvalid)
		}
	}
}
