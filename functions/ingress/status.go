package ingress

import (
	"net/http"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/pkg/events"
)

// row is a row of the table of statuses. The words are those of docs/providers/README.md, which has all rows.
type row struct {
	status int
	// when says what came of a request, and why the reason for the status.
	when, why string
}

// The answers to a request that is no failure of anybody.
var (
	rowAccepted = row{http.StatusAccepted, "the event is on the queue", "every provider takes 202 as success; Gerrit takes 200, 201, 202 and 204 only"}
	rowTest     = row{http.StatusOK, "a connection test that is not signed", "the button of the provider says that it works; nothing is published, because nobody knows who sent it"}
	rowRepeat   = row{http.StatusOK, "the body was accepted before under another delivery id, and the topic has a `repeatWindow`", "nothing was lost, and a failure would make a provider repeat it or turn the webhook off; it is logged and counted as refused"}
	rowOdd      = row{http.StatusOK, "the sender is known, but the event can never be taken", "GitLab, Azure DevOps and Bitbucket Data Center turn a webhook off after failures, and one odd event must not cost the next; it is logged and counted as refused"}
)

// disables are the providers that turn a webhook off after failures, 4xx included.
var disables = map[string]bool{config.FromGitLab: true, config.FromAzureDevOps: true, config.FromBitbucketDataCenter: true}

// refusals are the statuses of errors. A code that is not among them is a failure of ours.
var refusals = map[events.Code]row{
	events.CodeInvalid:              {http.StatusBadRequest, "the body is no JSON, or does not fit the event type", "it can never be understood; nobody repeats a 400 but Gerrit, 4 times"},
	events.CodeUnauthorized:         {http.StatusUnauthorized, "no credentials, where Basic authentication would do", "clients that wait for the challenge get it"},
	events.CodeForbidden:            {http.StatusForbidden, "the secret or signature is missing or wrong, or the address may not send", "whoever set up the webhook has to see it; a provider that turns the webhook off is right"},
	events.CodeNotFound:             {http.StatusNotFound, "no such topic", "404 and never 410: Azure DevOps turns a subscription off at once that is answered 410"},
	events.CodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "not a POST", "the address was opened in a browser, or a redirect made a GET of a POST"},
	events.CodeTooLarge:             {http.StatusRequestEntityTooLarge, "the event is larger than what an invocation carries", "a second try would be as large"},
	events.CodeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "another content type, charset or compression", "a setting of the webhook; a second try would have the same"},
}

// rowOurs is the answer to failures of ours.
var rowOurs = row{http.StatusServiceUnavailable, "we cannot take it at the moment, for whatever reason", "503 with Retry-After is repeated by all providers that repeat at all: Azure DevOps repeats 503 and not 500 or 429, Bitbucket Cloud any 5xx"}

// refused is the answer to a webhook that became no event. From is the sender's profile; verified says whether the sender is
// known to be it.
func refused(err error, from string, verified bool) httpapi.Response {
	code := events.ErrorCode(err)
	if code == codeRepeat {
		return answer(rowRepeat, "ignored", events.ErrorMessage(err))
	}
	if _, theirs := refusals[code]; !theirs {
		return httpapi.Error(events.Wrap(err, events.CodeUnavailable, "%s", events.ErrorMessage(err)))
	}
	if verified && disables[from] {
		return answer(rowOdd, "refused", events.ErrorMessage(err))
	}
	r := httpapi.Error(err)
	r.StatusCode = refusals[code].status
	if r.StatusCode == http.StatusUnauthorized {
		r.Headers["www-authenticate"] = `Basic realm="events", charset="UTF-8"`
	}
	return r
}

func accepted(id string) httpapi.Response {
	r := answer(rowAccepted, "accepted", "")
	r.Headers["x-events-id"] = id
	return r
}

func answer(r row, status, reason string) httpapi.Response {
	return httpapi.JSON(r.status, struct {
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}{status, reason})
}
