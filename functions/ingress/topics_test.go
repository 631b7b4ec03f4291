package ingress_test

import (
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/functions/ingress"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// Every profile that can be configured is wired, with its list of addresses, and verified unless the file says otherwise.
func TestTopics(t *testing.T) {
	t.Parallel()
	conf, err := config.Parse([]byte(`{"topics": {
		"github": {"from": "github", "secrets": ["a"], "repeatWindow": "24h"}, "gitlab": {"from": "gitlab", "secrets": ["a", "b"], "allow": ["34.74.90.64/28", "2001:db8::1"]},
		"bitbucket-cloud": {"from": "bitbucket-cloud", "secrets": ["a"]}, "bitbucket-data-center": {"from": "bitbucket-data-center", "secrets": ["a"]},
		"azure-devops": {"from": "azure-devops", "secrets": ["a"]}, "gerrit": {"from": "gerrit", "secrets": ["a"]}, "gitea": {"from": "gitea", "secrets": ["a"]},
		"hmac": {"from": "hmac", "secrets": ["a"], "signature": {"header": "x-signature"}, "metadata": ["x-a"],
			"subTopic": ["header:X-Type", "body:type", "${metadata:X-Kind}.${body:action}"], "deliveryId": "${header:x-id}-${body:id}"},
		"standard-webhooks": {"from": "standard-webhooks", "secrets": ["a"]}, "basic": {"from": "basic", "secrets": ["a"], "deliveryId": "header:x-id"},
		"token": {"from": "token", "secrets": ["a"], "token": {"header": "X-Key", "prefix": "k "}}, "none": {"from": "none", "verify": "none"},
		"address": {"from": "token", "secrets": ["a"]}, "open": {"from": "gitea", "verify": "none", "allow": ["10.0.0.0/8"]}
	}, "exports": [{"name": "a", "topics": ["gitlab.push"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	topo, err := topology.Build(conf)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	topics := ingress.Topics(conf, topo)
	for name, topic := range topics {
		got[name] = fmt.Sprintf("%s %T %v %v", topic.From, topic.Profile, topic.Secrets, topic.Allow)
	}
	want := map[string]string{
		"github":                "github webhook.GitHub [a] []",
		"gitlab":                "gitlab webhook.GitLab [a b] [34.74.90.64/28 2001:db8::1/128]",
		"bitbucket-cloud":       "bitbucket-cloud webhook.BitbucketCloud [a] []",
		"bitbucket-data-center": "bitbucket-data-center webhook.BitbucketDataCenter [a] []",
		"azure-devops":          "azure-devops webhook.AzureDevOps [a] []",
		"gerrit":                "gerrit webhook.Gerrit [a] []",
		"gitea":                 "gitea webhook.Gitea [a] []",
		"hmac":                  "hmac webhook.HMAC [a] []",
		"standard-webhooks":     "standard-webhooks webhook.StandardWebhooks [a] []",
		"basic":                 "basic webhook.Basic [a] []",
		"token":                 "token webhook.Token [a] []",
		"address":               "token webhook.Token [a] []",
		"none":                  "none webhook.Unverified [] []",
		"open":                  "gitea webhook.Unverified [] [10.0.0.0/8]",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
	if a, b := topics["github"].RepeatWindow, topics["gitlab"].RepeatWindow; a != 24*time.Hour || b != 0 {
		t.Errorf("the windows are %s and %s, want that of one topic only", a, b)
	}
	if p, ok := topics["token"].Profile.(webhook.Token); !ok || p.Header != "x-key" || p.Prefix != "k " {
		t.Errorf("the token is %+v", topics["token"].Profile)
	}
	if p, ok := topics["hmac"].Profile.(webhook.HMAC); !ok || gocmp.Diff([]string{"x-type", "x-kind", "x-id"}, p.Promoted) != "" || p.Signature.Header != "x-signature" {
		t.Errorf("the sender is %+v", topics["hmac"].Profile)
	}
	if p, ok := topics["basic"].Profile.(webhook.Basic); !ok || p.DeliveryID == nil || p.DeliveryID.String() != "metadata:x-id" {
		t.Errorf("the sender is %+v", topics["basic"].Profile)
	}
	for name, topic := range topics {
		want := events.MaxMessageSize
		if name == "gitlab" { // somebody exports a sub-topic of it
			want = 1<<20 - 4<<10
		}
		if topic.Limit != want {
			t.Errorf("%s takes %d bytes, want %d", name, topic.Limit, want)
		}
		err := topic.Profile.Verify(webhook.Request{Headers: events.Metadata{}, Body: []byte("{}")}, []string{"a"})
		if open := name == "none" || name == "open"; open != (err == nil) {
			t.Errorf("%s: a request that proves nothing: %v", name, err)
		}
	}
}
