package webhook

import (
	"mime"

	"github.com/callboard/callboard/pkg/events"
)

// Gitea is the profile of Gitea and of its relatives Forgejo and Gogs
// (https://docs.gitea.com/usage/webhooks, https://forgejo.org/docs/latest/user/webhooks/).
type Gitea struct{}

var _ Profile = Gitea{}

// GiteaSubTopics are where the sub-topic is found: "push", "pull_request", … Gogs has headers of its own only.
var GiteaSubTopics = []string{"metadata:x-gitea-event", "metadata:x-forgejo-event", "metadata:x-gogs-event"}

// giteaSignatures are the headers with a signature. All that are there hold the same one.
var giteaSignatures = []Signature{
	{Header: "x-gitea-signature", Encoding: "hex"},
	{Header: "x-forgejo-signature", Encoding: "hex"},
	{Header: "x-gogs-signature", Encoding: "hex"},
	{Header: "x-hub-signature-256", Prefix: "sha256=", Encoding: "hex"},
}

var giteaMetadata = []string{
	"x-gitea-event", "x-gitea-event-type", "x-gitea-delivery", "x-gitea-hook-installation-target-type",
	"x-forgejo-event", "x-forgejo-event-type", "x-forgejo-delivery",
	"x-gogs-event", "x-gogs-event-type", "x-gogs-delivery",
}

// giteaShapes are like those of GitHub; but a pull request of Gitea always has "review", if only null.
var giteaShapes = map[string]shape{
	"push":   {needs: []string{"ref"}, lacks: []string{"ref_type"}},
	"create": {needs: []string{"ref", "ref_type"}},
	"delete": {needs: []string{"ref", "ref_type"}},
	"repository": {needs: []string{"action", "repository"}, lacks: []string{
		"comment", "commits", "forkee", "issue", "package", "page", "pull_request", "ref", "release", "review", "sha", "workflow_job", "workflow_run",
	}},
	"issues":        {needs: []string{"issue"}, lacks: []string{"comment"}},
	"issue_comment": {needs: []string{"issue", "comment"}},
	"pull_request":  {needs: []string{"pull_request"}},
	"release":       {needs: []string{"release"}},
	"fork":          {needs: []string{"forkee"}},

	"pull_request_approved": {needs: []string{"pull_request"}},
	"pull_request_rejected": {needs: []string{"pull_request"}},
	"pull_request_comment":  {needs: []string{"pull_request"}},
}

// Verify checks the first signature that is not empty: without a secret the headers are there, with nothing in them.
// A form may be signed as it is sent, as of late, or over the document in it, as Gogs and older versions do.
func (Gitea) Verify(r Request, secrets []string) error {
	for _, s := range giteaSignatures {
		if value := r.Headers[s.Header]; value == "" || value == s.Prefix {
			continue
		}
		err := s.verify(r, secrets)
		if mediaType, _, bad := mime.ParseMediaType(r.Headers["content-type"]); bad == nil && mediaType == FormType && err != nil {
			payload, formErr := FormPayload(r.Body)
			if formErr != nil {
				return err
			}
			r.Body = payload
			err = s.verify(r, secrets)
		}
		return err
	}
	return events.Errorf(events.CodeForbidden, "the request is not signed: the header %s is missing or empty; set the secret of the webhook at the sender", giteaSignatures[0].Header)
}

// Sign sets all signatures of Gitea.
func (Gitea) Sign(r *Request, secret string) {
	for _, s := range giteaSignatures {
		if s.Header != "x-forgejo-signature" {
			s.set(r, secret)
		}
	}
}

// Describe takes the delivery id from X-Gitea-Delivery or that of the relative. The bodies are like GitHub's.
func (Gitea) Describe(r Request, payload []byte) (Delivery, error) {
	first := func(what string) (string, string) {
		for _, family := range []string{"x-gitea-", "x-forgejo-", "x-gogs-"} {
			if value := r.Headers[family+what]; value != "" {
				return family + what, value
			}
		}
		return "x-gitea-" + what, ""
	}
	eventHeader, event := first("event")
	deliveryHeader, delivery := first("delivery")
	d := Delivery{ID: delivery, Metadata: pick(r.Headers, giteaMetadata, ""), Promoted: []string{eventHeader, deliveryHeader}}

	var web string
	names, err := read(payload, field{"repository.full_name", &d.Repository}, field{"repository.html_url", &web})
	if err != nil {
		return Delivery{}, err
	}
	if err := giteaShapes[event].fits(event, names); err != nil {
		return Delivery{}, err
	}
	d.Host = hostOf(web)
	return d, nil
}
