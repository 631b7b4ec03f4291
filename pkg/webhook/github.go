package webhook

// GitHub is the profile of github.com and GitHub Enterprise Server
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads).
type GitHub struct{}

var _ Profile = GitHub{}

// GitHubSignature is how GitHub signs; its older SHA-1 header is not accepted
// (https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries).
var GitHubSignature = Signature{Header: "x-hub-signature-256", Prefix: "sha256=", Encoding: "hex"}

// GitHubSubTopic is where the sub-topic of GitHub's events is found: "push", "repository", …
const GitHubSubTopic = "metadata:x-github-event"

var gitHubMetadata = []string{
	"x-github-event", "x-github-delivery", "x-github-hook-id",
	"x-github-hook-installation-target-id", "x-github-hook-installation-target-type",
	"x-github-enterprise-host", "x-github-enterprise-version",
}

// gitHubShapes are those of events that somebody would gain from: a deleted issue must not look like a deleted
// repository, nor a ping like a push.
var gitHubShapes = map[string]shape{
	"ping":   {needs: []string{"zen"}},
	"push":   {needs: []string{"ref"}, lacks: []string{"ref_type", "alert", "inputs", "deployment"}},
	"create": {needs: []string{"ref", "ref_type"}},
	"delete": {needs: []string{"ref", "ref_type"}, lacks: []string{"master_branch"}},
	"repository": {needs: []string{"action", "repository"}, lacks: []string{
		"alert", "blocked_user", "branch", "check_run", "check_suite", "client_payload", "comment", "commits", "deployment", "discussion", "forkee",
		"hook", "issue", "key", "label", "member", "membership", "milestone", "package", "project", "project_card", "project_column",
		"pull_request", "ref", "registry_package", "release", "repository_advisory", "repository_ruleset", "review", "rule", "scope",
		"starred_at", "team", "thread", "workflow", "workflow_job", "workflow_run", "zen",
	}},
	"issues":        {needs: []string{"issue"}, lacks: []string{"comment"}},
	"issue_comment": {needs: []string{"issue", "comment"}},
	"pull_request":  {needs: []string{"pull_request"}, lacks: []string{"review", "comment", "thread"}},
	"release":       {needs: []string{"release"}},
	"workflow_run":  {needs: []string{"workflow_run"}},
	"workflow_job":  {needs: []string{"workflow_job"}},

	"check_run":                   {needs: []string{"check_run"}},
	"check_suite":                 {needs: []string{"check_suite"}},
	"deployment":                  {needs: []string{"deployment"}, lacks: []string{"deployment_status"}},
	"deployment_status":           {needs: []string{"deployment", "deployment_status"}},
	"discussion":                  {needs: []string{"discussion"}, lacks: []string{"comment"}},
	"fork":                        {needs: []string{"forkee"}},
	"installation":                {needs: []string{"action", "installation"}},
	"label":                       {needs: []string{"label"}, lacks: []string{"issue", "pull_request", "discussion"}},
	"member":                      {needs: []string{"member"}},
	"milestone":                   {needs: []string{"milestone"}, lacks: []string{"issue", "pull_request"}},
	"pull_request_review":         {needs: []string{"pull_request", "review"}},
	"pull_request_review_comment": {needs: []string{"pull_request", "comment"}},
}

// Verify checks X-Hub-Signature-256.
func (GitHub) Verify(r Request, secrets []string) error { return GitHubSignature.verify(r, secrets) }

// Sign sets X-Hub-Signature-256.
func (GitHub) Sign(r *Request, secret string) { GitHubSignature.set(r, secret) }

// Describe takes the delivery id from X-GitHub-Delivery, which GitHub keeps when a delivery is sent again.
func (GitHub) Describe(r Request, payload []byte) (Delivery, error) {
	var web string
	d := Delivery{
		ID:       r.Headers["x-github-delivery"],
		Metadata: pick(r.Headers, gitHubMetadata, GitHubSignature.Header),
		Promoted: []string{"x-github-event", "x-github-delivery"},
	}
	names, err := read(payload, field{"repository.full_name", &d.Repository}, field{"repository.html_url", &web})
	if err != nil {
		return Delivery{}, err
	}
	event := r.Headers["x-github-event"]
	if err := gitHubShapes[event].fits(event, names); err != nil {
		return Delivery{}, err
	}
	d.Host = hostOf(web)
	return d, nil
}
