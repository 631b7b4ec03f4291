package webhook

// BitbucketCloud is the profile of bitbucket.org
// (https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/).
type BitbucketCloud struct{}

var _ Profile = BitbucketCloud{}

// BitbucketSignature is how Bitbucket Cloud and Data Center sign: with SHA-256, in a header of that name
// (https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/).
var BitbucketSignature = Signature{Header: "x-hub-signature", Prefix: "sha256=", Encoding: "hex"}

// BitbucketSubTopic is where the sub-topic of Bitbucket's events is found: "repo:push", "pr:merged", …
const BitbucketSubTopic = "metadata:" + bitbucketEvent

const bitbucketEvent = "x-event-key"

var bitbucketCloudMetadata = []string{
	bitbucketEvent, "x-event-time", "x-hook-uuid", "x-request-uuid", "x-attempt-number",
}

// bitbucketCloudShapes are by the part of the event key before the colon, or by all of it.
var bitbucketCloudShapes = map[string]shape{
	"repo:push":                   {needs: []string{"push"}},
	"repo:updated":                {needs: []string{"changes"}, lacks: []string{"pullrequest", "issue"}},
	"repo:fork":                   {needs: []string{"fork"}},
	"repo:deleted":                {needs: []string{"repository"}, lacks: []string{"pullrequest", "issue", "push", "fork", "changes", "comment", "commit_status"}},
	"repo:commit_comment_created": {needs: []string{"comment", "repository"}, lacks: []string{"pullrequest", "issue"}},
	"repo:commit_status_created":  {needs: []string{"commit_status"}},
	"repo:commit_status_updated":  {needs: []string{"commit_status"}},
	"repo":                        {needs: []string{"repository"}, lacks: []string{"pullrequest", "issue", "push"}},

	"pullrequest:created":         bitbucketCloudPull,
	"pullrequest:updated":         bitbucketCloudPull,
	"pullrequest:fulfilled":       bitbucketCloudPull,
	"pullrequest:rejected":        bitbucketCloudPull,
	"pullrequest:approved":        {needs: []string{"pullrequest", "approval"}},
	"pullrequest:unapproved":      {needs: []string{"pullrequest", "approval"}},
	"pullrequest:comment_created": {needs: []string{"pullrequest", "comment"}},
	"pullrequest:comment_updated": {needs: []string{"pullrequest", "comment"}},
	"pullrequest:comment_deleted": {needs: []string{"pullrequest", "comment"}},
	"pullrequest":                 {needs: []string{"pullrequest"}},

	"issue:comment_created": {needs: []string{"issue", "comment"}},
	"issue":                 {needs: []string{"issue"}},
}

// bitbucketCloudPull is what happens to a pull request as a whole: a comment must not look like a merge.
var bitbucketCloudPull = shape{needs: []string{"pullrequest"}, lacks: []string{"approval", "comment"}}

// Verify checks X-Hub-Signature.
func (BitbucketCloud) Verify(r Request, secrets []string) error {
	return BitbucketSignature.verify(r, secrets)
}

// Sign sets X-Hub-Signature.
func (BitbucketCloud) Sign(r *Request, secret string) { BitbucketSignature.set(r, secret) }

// Describe takes the delivery id from X-Request-UUID.
func (BitbucketCloud) Describe(r Request, payload []byte) (Delivery, error) {
	var web string
	d := Delivery{
		Metadata: pick(r.Headers, bitbucketCloudMetadata, BitbucketSignature.Header),
		Promoted: []string{bitbucketEvent, "x-request-uuid"},
	}
	names, err := read(payload, field{"repository.full_name", &d.Repository}, field{"repository.links.html.href", &web})
	if err != nil {
		return Delivery{}, err
	}
	if err := fitsBitbucket(r, bitbucketCloudShapes, names); err != nil {
		return Delivery{}, err
	}
	d.Host = hostOf(web)
	d.ID = r.Headers["x-request-uuid"]
	return d, nil
}
