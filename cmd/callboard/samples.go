package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
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
		return placed(t, nil, event, delivery)
	}
	for _, rule := range t.SubTopic {
		where, ok := aims(rule, event)
		if !ok {
			continue
		}
		h, err := placed(t, where, event, delivery)
		if err != nil {
			return hook{}, err
		}
		if found(t.SubTopic, h) == event && (t.DeliveryID == "" || found([]string{t.DeliveryID}, h) != "") {
			return h, nil
		}
	}
	return hook{}, events.Errorf(events.CodeInvalid, "\"subTopic\" does not say where a webhook of the type %q has it: send one of your own with --file", event)
}

// placed returns a webhook that has the delivery id, and texts where selectors look for them.
func placed(t config.Topic, where map[string]string, event, delivery string) (hook, error) {
	var body any = map[string]any{"message": "sent by callboard send"}
	headers := map[string]string{}
	all := map[string]string{}
	if ids, ok := selectors(t.DeliveryID); ok {
		for _, id := range ids {
			all[id] = delivery
		}
	}
	maps.Copy(all, where)
	for _, selector := range slices.Sorted(maps.Keys(all)) {
		if name, isHeader := strings.CutPrefix(selector, "metadata:"); isHeader {
			headers[name] = all[selector]
		} else {
			body = put(body, strings.TrimPrefix(selector, "body:"), all[selector])
		}
	}
	payload, err := json.Marshal(body, json.Deterministic(true))
	return hook{Event: event, Payload: payload, Headers: headers}, err
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

// aims tells what the selectors of a rule have to find so that it finds a text. In a template it is what stands between the
// fixed texts; false where they are not in the text, or nothing stands between two selectors.
func aims(rule, text string) (map[string]string, bool) {
	ids, ok := selectors(rule)
	if !ok {
		return nil, false
	}
	fixed := fixedTexts(rule)
	where := map[string]string{}
	text, ok = strings.CutPrefix(text, fixed[0])
	for i, id := range ids {
		var part string
		var ends bool
		switch next := fixed[i+1]; {
		case i == len(ids)-1:
			part, ends = strings.CutSuffix(text, next)
		case next != "":
			part, text, ends = strings.Cut(text, next)
		}
		ok = ok && ends && part != ""
		where[id] = part
	}
	return where, ok
}

// templateOpen begins a selector in a template, and "}" ends it.
const templateOpen = "${"

// selectors returns those of a rule, in the form that [events.Selector] writes; false if there is none that can be read.
func selectors(rule string) ([]string, bool) {
	texts := []string{rule}
	if strings.Contains(rule, templateOpen) {
		texts = nil
		for i, piece := range strings.Split(rule, templateOpen) {
			if inner, _, _ := strings.Cut(piece, "}"); i > 0 {
				texts = append(texts, inner)
			}
		}
	}
	for i, text := range texts {
		selector, err := events.ParseSelector(text)
		if err != nil {
			return nil, false
		}
		texts[i] = selector.String()
	}
	return texts, true
}

// fixedTexts returns what stands before, between and behind the selectors of a rule.
func fixedTexts(rule string) []string {
	if !strings.Contains(rule, templateOpen) {
		return []string{"", ""}
	}
	texts := strings.Split(rule, templateOpen)
	for i := range texts {
		if i > 0 {
			_, texts[i], _ = strings.Cut(texts[i], "}")
		}
	}
	return texts
}

// maxElement is the last element of an array that a sample is made with; the ones before are null.
const maxElement = 99

// put returns a document with a text at a path, which has the form of [events.Selector].
func put(at any, path, text string) any {
	if path == "" {
		return text
	}
	name, rest, quoted := step(path)
	if n, err := strconv.Atoi(name); err == nil && !quoted && n <= maxElement {
		list, _ := at.([]any)
		for len(list) <= n {
			list = append(list, nil)
		}
		list[n] = put(list[n], rest, text)
		return list
	}
	object, ok := at.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	object[name] = put(object[name], rest, text)
	return object
}

// step takes the first step off a path. One in quotes is a name, whatever it looks like.
func step(path string) (name, rest string, quoted bool) {
	if path[0] != '[' {
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return path, "", false
		}
		return path[:end], strings.TrimPrefix(path[end:], "."), false
	}
	d := jsontext.NewDecoder(strings.NewReader(path[1:]))
	token, err := d.ReadToken()
	if err != nil {
		return path, "", true // no selector is written so
	}
	rest = strings.TrimPrefix(path[1+d.InputOffset():], "]")
	return token.String(), strings.TrimPrefix(rest, "."), true
}

func list(samples map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		fmt.Fprintf(&b, "\n  %-20s %s", name, samples[name])
	}
	return b.String()
}
