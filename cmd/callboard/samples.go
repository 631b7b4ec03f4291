package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/pkg/events"
)

// hook is a webhook of a provider, before it is signed.
type hook struct {
	Event   string            `json:"event"`
	Payload jsontext.Value    `json:"payload"`
	Headers map[string]string `json:"headers,omitempty"`
}

// sampleHooks makes GitHub's webhooks of what it first does to the sample repository, as GitHub would.
type sampleHooks struct {
	server              *sample.Server
	host, owner, branch string
	path                string // of the catalog file
}

const sampleRepository = "petstore"

// newSampleHooks makes webhooks that the first GitHub provider of a configuration listens to.
func newSampleHooks(server *sample.Server, c *config.Config) *sampleHooks {
	h := &sampleHooks{server: server, host: "github.com", owner: "acme", branch: "main", path: "catalog-info.yaml"}
	ids := slices.Sorted(maps.Keys(c.Catalog.Providers.GitHub))
	if len(ids) == 0 {
		return h
	}
	p := c.Catalog.Providers.GitHub[ids[0]]
	h.host, h.owner = p.Host, p.Organization
	if p.Filters.Branch != "" {
		h.branch = p.Filters.Branch
	}
	if !strings.ContainsAny(p.CatalogPath, "*?[{") {
		h.path = strings.TrimPrefix(p.CatalogPath, "/")
	}
	return h
}

// gitHubSamples is what `callboard send github` can send without a file.
var gitHubSamples = map[string]string{
	"push":               "a push that adds the catalog file",
	"push-change":        "a push that changes the catalog file",
	"push-remove":        "a push that removes the catalog file",
	"push-unrelated":     "a push that matters to nobody",
	"ping":               "what GitHub sends when a webhook is created",
	"repository-deleted": "the repository is deleted",
}

// make does what the sample says and returns its webhook. The sample "commit" makes the change in body.
func (h *sampleHooks) make(ctx context.Context, name string, body io.Reader) (hook, error) {
	now := time.Now().UTC().Format(time.RFC3339)
	switch name {
	case "push":
		return h.push(ctx, sample.Change{Message: "Add the petstore to the catalog", Files: file(h.path, h.catalogFile("The store where pets are sold"))})
	case "push-change":
		return h.push(ctx, sample.Change{Message: "Describe the petstore", Files: file(h.path, h.catalogFile("The store where pets are sold, described at "+now))})
	case "push-remove":
		return h.push(ctx, sample.Change{Message: "Remove the petstore from the catalog", Files: map[string]*string{h.path: nil}})
	case "push-unrelated":
		return h.push(ctx, sample.Change{Message: "Write a README", Files: file("README.md", "# Petstore\n\nWritten at "+now+".\n")})
	case "ping":
		r, err := h.server.CreateRepository(ctx, h.owner, sampleRepository)
		if err != nil {
			return hook{}, err
		}
		payload, err := r.PingPayload(h.host)
		return hook{Event: "ping", Payload: payload}, err
	case "repository-deleted":
		if _, err := h.server.CreateRepository(ctx, h.owner, sampleRepository); err != nil {
			return hook{}, err
		}
		r, err := h.server.DeleteRepository(ctx, h.owner, sampleRepository)
		if err != nil {
			return hook{}, err
		}
		payload, err := r.EventPayload(h.host, "deleted")
		return hook{Event: "repository", Payload: payload}, err
	case "commit":
		var change sample.Change
		if err := json.UnmarshalRead(body, &change); err != nil {
			return hook{}, events.Wrap(err, events.CodeInvalid, "the change is not valid JSON")
		}
		return h.push(ctx, change)
	}
	return hook{}, events.Errorf(events.CodeNotFound, "there is no sample %q; there are:%s", name, list(gitHubSamples))
}

func (h *sampleHooks) push(ctx context.Context, c sample.Change) (hook, error) {
	if c.Owner == "" {
		c.Owner = h.owner
	}
	if c.Repo == "" {
		c.Repo = sampleRepository
	}
	if c.Branch == "" {
		c.Branch = h.branch
	}
	p, err := h.server.Commit(ctx, c)
	if err != nil {
		return hook{}, err
	}
	payload, err := p.Payload(h.host)
	return hook{Event: "push", Payload: payload}, err
}

func file(path, content string) map[string]*string { return map[string]*string{path: &content} }

func (h *sampleHooks) catalogFile(description string) string {
	return fmt.Sprintf(`apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: petstore
  description: %s
  annotations:
    github.com/project-slug: %s/%s
spec:
  type: service
  lifecycle: production
  owner: petkeepers
  providesApis: [petstore-api]
---
apiVersion: backstage.io/v1alpha1
kind: API
metadata:
  name: petstore-api
spec:
  type: openapi
  lifecycle: production
  owner: petkeepers
  definition: |
    openapi: 3.1.0
    info: { title: Petstore, version: 1.0.0 }
    paths: {}
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: petkeepers
spec:
  type: team
  children: []
  members: [guest]
`, description, h.owner, sampleRepository)
}

// genericHook is a webhook of a sender that the configuration describes: what makes the event a given type, and
// what identifies the delivery, is where the topic's rules look for it. It fails if they do not say where that is.
func genericHook(t config.Topic, event, delivery string) (hook, error) {
	if len(t.SubTopic) == 0 {
		h, _, err := placed(t, "", event, delivery)
		return h, err
	}
	for _, rule := range t.SubTopic {
		h, ok, err := placed(t, rule, event, delivery)
		if err != nil {
			return hook{}, err
		}
		if ok && found(t.SubTopic, h) == event && (t.DeliveryID == "" || found([]string{t.DeliveryID}, h) != "") {
			return h, nil
		}
	}
	return hook{}, events.Errorf(events.CodeInvalid, "\"subTopic\" does not say where a webhook of the type %q has it: send one of your own with --file", event)
}

// placed returns a webhook that has the delivery id where the topic looks for it, and its type where the rule does, unless
// that is empty; false if that cannot be seen from the rule.
func placed(t config.Topic, rule, event, delivery string) (hook, bool, error) {
	var body any = map[string]any{"message": "sent by callboard send"}
	headers, ok := events.Metadata{}, true
	if id, err := events.ParseSelector(t.DeliveryID); err == nil {
		for _, one := range id.Selectors() {
			body, _ = one.Place(delivery, headers, body)
		}
	}
	if rule != "" {
		selector, err := events.ParseSelector(rule)
		if err != nil {
			return hook{}, false, err
		}
		body, ok = selector.Place(event, headers, body)
	}
	payload, err := json.Marshal(body, json.Deterministic(true))
	return hook{Event: event, Payload: payload, Headers: headers}, ok, err
}

// found returns the first text that rules find in a webhook.
func found(rules []string, h hook) string {
	for _, rule := range rules {
		selector, err := events.ParseSelector(rule)
		if err != nil {
			continue
		}
		if text, ok := selector.Select(h.Headers, h.Payload); ok {
			return text
		}
	}
	return ""
}

func list(samples map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		fmt.Fprintf(&b, "\n  %-20s %s", name, samples[name])
	}
	return b.String()
}
