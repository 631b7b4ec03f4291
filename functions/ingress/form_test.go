package ingress_test

import (
	"net/http"
	"testing"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// The signature does not cover the media type: a signed document that is sent once more as a form is not read as the form
// that somebody has written into one of its strings.
func TestHandler_DocumentAsForm(t *testing.T) {
	t.Parallel()
	const body = `{"ref":"refs/heads/a","commits":[{"message":"hello&payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D&"}]}`
	for _, test := range []struct {
		contentType string
		want        int
	}{{"application/json", http.StatusAccepted}, {webhook.FormType, http.StatusBadRequest}} {
		w := &world{}
		hook := webhook.Request{Body: []byte(body), Headers: events.Metadata{"content-type": test.contentType, "x-github-event": "push", "x-github-delivery": "1"}}
		webhook.GitHub{}.Sign(&hook, secret)
		r := &httpapi.Request{Method: http.MethodPost, Headers: hook.Headers, Body: hook.Body, Parameters: map[string]string{"topic": config.FromGitHub}}
		answer, err := newHandler(w).Handle(t.Context(), r)
		if err != nil || answer.StatusCode != test.want {
			t.Errorf("as %s: status %d, %v, want %d", test.contentType, answer.StatusCode, err, test.want)
		}
		if sent := len(w.messages) > 0; sent != (test.want == http.StatusAccepted) {
			t.Errorf("as %s: %d messages", test.contentType, len(w.messages))
		}
	}
}
