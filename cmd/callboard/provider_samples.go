package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
)

// providerSample is a webhook of a provider without a sample server. Its body has DELIVERY, TIME and SECONDS where a
// real one has what is different each time.
type providerSample struct{ about, body string }

// providerSamples are what `callboard send` can send without a file, by profile and event.
var providerSamples = map[string]map[string]providerSample{
	config.FromGitLab: {
		"push": {"a push to the default branch", `{"object_kind":"push","event_name":"push","before":"95790bf891e76fee5e1747ab589903a6a1f80f22",` +
			`"after":"da1560886d4f094c3e6c9ef40349f7d38b5d27d7","ref":"refs/heads/main","checkout_sha":"da1560886d4f094c3e6c9ef40349f7d38b5d27d7",` +
			`"user_username":"ann-example","project_id":15,"project":{"id":15,"name":"petstore","web_url":"https://gitlab.com/acme/petstore",` +
			`"path_with_namespace":"acme/petstore","default_branch":"main"},"commits":[{"id":"da1560886d4f094c3e6c9ef40349f7d38b5d27d7",` +
			`"message":"Describe the petstore","timestamp":"TIME","added":[],"modified":["catalog-info.yaml"],"removed":[]}],"total_commits_count":1}`},
		"merge_request": {"a merge request is opened", `{"object_kind":"merge_request","event_type":"merge_request","user":{"username":"ann-example"},` +
			`"project":{"id":15,"name":"petstore","web_url":"https://gitlab.com/acme/petstore","path_with_namespace":"acme/petstore","default_branch":"main"},` +
			`"object_attributes":{"iid":1,"title":"Describe the petstore","state":"opened","action":"open","source_branch":"describe","target_branch":"main"}}`},
		"project_create": {"a project is created, as a system hook tells it", `{"event_name":"project_create","created_at":"TIME","name":"petstore",` +
			`"path":"petstore","path_with_namespace":"acme/petstore","project_id":15,"project_visibility":"private"}`},
	},
	config.FromBitbucketCloud: {
		"repo:push": {"a push to the main branch", `{"actor":{"display_name":"Ann Example"},"repository":` + bitbucketCloudRepository + `,"push":{"changes":[` +
			`{"created":false,"closed":false,"forced":false,"new":{"type":"branch","name":"main","target":{"hash":"709d658dc5b6d6afcd46049c2f332ee3f515a67d"}},` +
			`"old":{"type":"branch","name":"main","target":{"hash":"1e65c05c1d5171631d92438a13901ca7dae9618c"}}}]}}`},
		"repo:updated": {"a repository is renamed", `{"actor":{"display_name":"Ann Example"},"repository":` + bitbucketCloudRepository +
			`,"changes":{"name":{"new":"petstore","old":"petshop"}}}`},
		"pullrequest:created": {"a pull request is opened", `{"actor":{"display_name":"Ann Example"},"repository":` + bitbucketCloudRepository +
			`,"pullrequest":{"id":1,"title":"Describe the petstore","state":"OPEN","source":{"branch":{"name":"describe"}},"destination":{"branch":{"name":"main"}}}}`},
	},
	config.FromBitbucketDataCenter: {
		"repo:refs_changed": {"a push to the default branch", `{"eventKey":"repo:refs_changed","date":"TIME","actor":{"name":"ann"},"repository":` + bitbucketRepository +
			`,"changes":[{"ref":{"id":"refs/heads/main","displayId":"main","type":"BRANCH"},"refId":"refs/heads/main",` +
			`"fromHash":"ecddabb624f6f5ba43816f5926e580a5f680a932","toHash":"178864a7d521b6f5e720b386b2c2b0ef8563e0dc","type":"UPDATE"}]}`},
		"pr:opened": {"a pull request is opened", `{"eventKey":"pr:opened","date":"TIME","actor":{"name":"ann"},"pullRequest":{"id":1,"title":"Describe the petstore",` +
			`"state":"OPEN","fromRef":{"id":"refs/heads/describe","repository":` + bitbucketRepository + `},"toRef":{"id":"refs/heads/main","repository":` + bitbucketRepository + `}}}`},
		"diagnostics:ping": {"the test of the connection, which is not signed", `{"test":true}`},
	},
	config.FromAzureDevOps: {
		"git.push": {"a push to the default branch", `{"subscriptionId":"5c3a3f1e-6f0b-4bd2-a3a1-3c9d8a1f7e11","notificationId":1,"id":"DELIVERY","eventType":"git.push",` +
			`"publisherId":"tfs","resource":{"refUpdates":[{"name":"refs/heads/main","oldObjectId":"aad331d8d3b131fa9ae03cf5e53965b51942618a",` +
			`"newObjectId":"33b55f7cb7e7e245323987634f960cf4a6e6bc74"}],"repository":` + azureRepository + `,"pushId":14},"resourceVersion":"1.0","createdDate":"TIME"}`},
		"git.pullrequest.created": {"a pull request is opened", `{"subscriptionId":"5c3a3f1e-6f0b-4bd2-a3a1-3c9d8a1f7e11","notificationId":2,"id":"DELIVERY",` +
			`"eventType":"git.pullrequest.created","publisherId":"tfs","resource":{"repository":` + azureRepository + `,"pullRequestId":1,"status":"active",` +
			`"title":"Describe the petstore","sourceRefName":"refs/heads/describe","targetRefName":"refs/heads/main"},"resourceVersion":"1.0","createdDate":"TIME"}`},
	},
	config.FromGerrit: {
		"change-merged": {"a change is merged", `{"submitter":{"username":"ann"},"newRev":"5b1d0c9e6f7a4e0db2a3c8f1947e6d5a0b3c2d1e","patchSet":{"number":2,` +
			`"revision":"5b1d0c9e6f7a4e0db2a3c8f1947e6d5a0b3c2d1e"},"change":{"project":"acme/petstore","branch":"main","id":"I3f1c","number":42,` +
			`"subject":"Describe the petstore","status":"MERGED"},"project":"acme/petstore","refName":"refs/heads/main","type":"change-merged","eventCreatedOn":SECONDS}`},
		"ref-updated": {"a branch moves", `{"submitter":{"username":"ann"},"refUpdate":{"oldRev":"c3d0be41ecbe669545ee3e94d31ed9a4bc91ee3c",` +
			`"newRev":"5b1d0c9e6f7a4e0db2a3c8f1947e6d5a0b3c2d1e","refName":"refs/heads/main","project":"acme/petstore"},"type":"ref-updated","eventCreatedOn":SECONDS}`},
		"project-created": {"a repository is created", `{"projectName":"acme/petstore","headName":"refs/heads/main","type":"project-created","eventCreatedOn":SECONDS}`},
	},
	config.FromGitea: {
		"push": {"a push to the default branch", `{"ref":"refs/heads/main","before":"28e1879d029cb852e4844d9c718537df08844e03",` +
			`"after":"bffeb74224043ba2feb48d137756c8a9331c449a","commits":[{"id":"bffeb74224043ba2feb48d137756c8a9331c449a","message":"Describe the petstore",` +
			`"timestamp":"TIME","added":[],"removed":[],"modified":["catalog-info.yaml"]}],"total_commits":1,"repository":` + giteaRepository + `,"pusher":{"login":"ann"}}`},
		"pull_request": {"a pull request is opened", `{"action":"opened","number":1,"pull_request":{"number":1,"title":"Describe the petstore","state":"open"},` +
			`"repository":` + giteaRepository + `,"sender":{"login":"ann"},"review":null}`},
		"repository": {"a repository is deleted", `{"action":"deleted","repository":` + giteaRepository + `,"organization":{"login":"acme"},"sender":{"login":"ann"}}`},
	},
}

// The repository of the samples, as each provider writes it.
const (
	bitbucketCloudRepository = `{"type":"repository","name":"petstore","full_name":"acme/petstore","links":{"html":{"href":"https://bitbucket.org/acme/petstore"}},"is_private":true}`
	bitbucketRepository      = `{"slug":"petstore","id":84,"name":"petstore","project":{"key":"ACME","name":"Acme"},` +
		`"links":{"self":[{"href":"https://bitbucket.example.com/projects/ACME/repos/petstore/browse"}]}}`
	azureRepository = `{"id":"278d5cd2-584d-4b63-824a-2ba458937249","name":"petstore","project":{"name":"Pets"},"defaultBranch":"refs/heads/main",` +
		`"remoteUrl":"https://dev.azure.com/acme/Pets/_git/petstore"}`
	giteaRepository = `{"id":1,"name":"petstore","full_name":"acme/petstore","html_url":"https://gitea.example.com/acme/petstore","default_branch":"main"}`
)

// providerHook returns the webhook of a profile other than GitHub's: with the payload of h if there is one, else a
// sample, which for a sender that the configuration describes may have any type.
func providerHook(provider string, t config.Topic, h hook, event, delivery string) (hook, error) {
	samples, isProvider := providerSamples[provider]
	if h.Payload == nil {
		sample, known := samples[event]
		switch {
		case !isProvider:
			made, err := genericHook(t, event, delivery)
			if err != nil {
				return hook{}, err
			}
			h = made
		case !known:
			return hook{}, events.Errorf(events.CodeNotFound, "there is no sample %q; send a --file, or one of:%s", event, list(about(samples)))
		default:
			now := time.Now().UTC()
			replace := strings.NewReplacer("DELIVERY", delivery, "TIME", now.Format(time.RFC3339), "SECONDS", strconv.FormatInt(now.Unix(), 10))
			h = hook{Event: event, Payload: []byte(replace.Replace(sample.body))}
		}
	}
	if h.Headers == nil {
		h.Headers = map[string]string{}
	}
	maps.Copy(h.Headers, providerHeaders(provider, event, delivery))
	return h, nil
}

func about(samples map[string]providerSample) map[string]string {
	texts := map[string]string{}
	for name, s := range samples {
		texts[name] = s.about
	}
	return texts
}

// providerHeaders are the headers that a provider sends besides the signature.
func providerHeaders(provider, event, delivery string) map[string]string {
	switch provider {
	case config.FromGitLab:
		return map[string]string{
			"User-Agent": "GitLab/callboard", "X-Gitlab-Event": gitLabHook(event), "X-Gitlab-Instance": "https://gitlab.com",
			"Idempotency-Key": delivery, "webhook-id": delivery,
		}
	case config.FromBitbucketCloud:
		return map[string]string{
			"User-Agent": "Bitbucket-Webhooks/2.0", "X-Event-Key": event, "X-Request-UUID": delivery, "X-Attempt-Number": "1",
			"X-Hook-UUID": "36b2e3f4-2c0a-4d2d-9a35-0b6d3a6c9d11",
		}
	case config.FromBitbucketDataCenter:
		return map[string]string{"User-Agent": "Atlassian HttpClient", "X-Event-Key": event, "X-Request-Id": delivery}
	case config.FromGerrit:
		return map[string]string{"X-Origin-Url": "https://gerrit.example.com/"}
	case config.FromGitea:
		headers := map[string]string{}
		for _, family := range []string{"X-Gitea-", "X-Gogs-", "X-GitHub-"} {
			headers[family+"Event"], headers[family+"Event-Type"], headers[family+"Delivery"] = event, event, delivery
		}
		return headers
	case config.FromStandardWebhooks:
		return map[string]string{"webhook-id": delivery}
	}
	return nil
}

// gitLabHook is what the header X-Gitlab-Event says of an event: "Merge Request Hook" of merge_request.
func gitLabHook(event string) string {
	if strings.HasSuffix(event, " Hook") {
		return event
	}
	if slices.ContainsFunc([]string{"project_", "user_", "group_", "repository_", "key_"}, func(family string) bool { return strings.HasPrefix(event, family) }) {
		return "System Hook"
	}
	words := strings.Split(event, "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ") + " Hook"
}
