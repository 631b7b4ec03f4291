package webhook

import (
	"slices"
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// GitLab is the profile of gitlab.com and GitLab Self-Managed
// (https://docs.gitlab.com/user/project/integrations/webhooks/).
type GitLab struct{}

var _ Profile = GitLab{}

// GitLabSubTopics are where the sub-topic of GitLab's events is found: "push", "merge_request", … System hooks may have
// no object_kind.
var GitLabSubTopics = []string{"body:object_kind", "body:event_name"}

const (
	gitLabEvent = "x-gitlab-event"
	gitLabToken = "x-gitlab-token" //nolint:gosec // the name of a header
)

var gitLabMetadata = []string{
	gitLabEvent, "x-gitlab-event-uuid", "x-gitlab-webhook-uuid", "x-gitlab-instance", "idempotency-key", standardID,
}

// gitLabKinds tell the object_kind of events that have always the same one.
var gitLabKinds = map[string]string{
	"Push Hook": "push", "Tag Push Hook": "tag_push", "Merge Request Hook": "merge_request", "Pipeline Hook": "pipeline",
	"Wiki Page Hook": "wiki_page", "Deployment Hook": "deployment", "Release Hook": "release",
}

// gitLabOwnKinds are all kinds that GitLab itself writes. Any other is a word of somebody's template.
var gitLabOwnKinds = []string{
	"push", "tag_push", "merge_request", "pipeline", "wiki_page", "deployment", "release", "issue", "work_item", "note", "build", "feature_flag",
	"emoji", "access_token", "milestone", "vulnerability",
}

// Verify checks the signature where there is one, and X-Gitlab-Token where there is not. A hook that has both, as while
// people move from one to the other, is good if its signature is.
func (GitLab) Verify(r Request, secrets []string) error {
	if _, signed := r.Headers.Get(standardSignature); signed {
		return verifyStandard(r, secrets)
	}
	token, _ := r.Headers.Get(gitLabToken)
	if token == "" {
		return events.Errorf(events.CodeForbidden, "the request has neither %s nor %s: set a signing token or a secret token in the settings of the webhook", standardSignature, gitLabToken)
	}
	return verifySecret(token, secrets)
}

// Sign signs if the secret is a signing token, as GitLab makes them, and shows it if it is not.
func (GitLab) Sign(r *Request, secret string) {
	if strings.HasPrefix(secret, standardSecret) {
		signStandard(r, secret)
		return
	}
	r.Headers.Set(gitLabToken, secret)
}

// Describe takes the delivery id from webhook-id or Idempotency-Key, which are the same in every try. Before 17.4
// GitLab has none. X-Gitlab-Event-UUID is shared by hooks that cause one another, so it is no such id.
func (GitLab) Describe(r Request, payload []byte) (Delivery, error) {
	var kind, web string
	d := Delivery{
		Metadata: pick(r.Headers, gitLabMetadata, gitLabToken),
		Promoted: []string{gitLabEvent, "idempotency-key"},
	}
	_, err := read(payload,
		field{"object_kind", &kind}, field{"project.path_with_namespace", &d.Repository}, field{"project.web_url", &web})
	if err != nil {
		return Delivery{}, err
	}
	// Somebody may have changed the whole body with a template, so that there is no kind, or one of their own.
	if event := r.Headers[gitLabEvent]; gitLabKinds[event] != "" && gitLabKinds[event] != kind && slices.Contains(gitLabOwnKinds, kind) {
		return Delivery{}, events.Errorf(events.CodeInvalid, "the header X-Gitlab-Event is %q, but the object_kind of the body is %.50q: does something change the headers on their way?", event, kind)
	}
	d.Host = hostOf(web)
	d.ID = r.Headers[standardID]
	if d.ID == "" {
		d.ID = r.Headers["idempotency-key"]
	}
	return d, nil
}
