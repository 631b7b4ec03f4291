package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

type sendCommand struct {
	Provider string `arg:"" enum:"github,hmac" help:"The provider to send as: github, or hmac for a sender that the configuration describes."`
	Event    string `arg:"" help:"The event: a built-in sample (push, push-change, push-remove, push-unrelated, ping, repository-deleted), or the type of the payload in --file."`
	Topic    string `help:"The topic, by default the first one of the provider." placeholder:"NAME"`
	File     string `help:"Send this payload instead of a sample." type:"existingfile" placeholder:"FILE"`
	URL      string `help:"Where Callboard is, by default the engine of the state folder." placeholder:"URL"`
	Secret   string `help:"The secret to sign with, by default that of the topic in the state folder." env:"CALLBOARD_SECRET" placeholder:"TEXT"`
	Delivery string `help:"The delivery id, to send the same delivery again; by default a new one." placeholder:"ID"`
	Wait     bool   `help:"Wait until the engine has nothing left to do."`
	State    string `help:"The state folder." default:".callboard" placeholder:"DIR"`
	Config   string `help:"The configuration." default:"events-config.json" placeholder:"FILE"`
}

// Run sends one webhook and prints the id of its event.
func (c *sendCommand) Run(ctx context.Context, s streams) error {
	conf, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	name, topic, err := c.topic(conf)
	if err != nil {
		return err
	}
	engine, engineErr := front.Find(ctx, c.State)
	base := strings.TrimSuffix(c.URL, "/")
	if base == "" {
		if engineErr != nil {
			return engineErr
		}
		base = engine.URL
	}
	if c.Wait && engineErr != nil {
		return engineErr
	}
	secret, err := c.secret(ctx, topic)
	if err != nil {
		return err
	}
	delivery := c.Delivery
	if delivery == "" {
		delivery = uuid.NewString()
	}
	h, err := c.hook(ctx, topic, delivery, engine, engineErr)
	if err != nil {
		return err
	}
	req, err := c.request(ctx, base+"/events/http/"+name, topic, secret, delivery, h)
	if err != nil {
		return err
	}
	id, err := deliver(req)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(s.out, id); err != nil || !c.Wait {
		return err
	}
	if err := (local{engine: engine}).call(ctx, http.MethodPost, "/drain", nil, &struct{}{}); err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the event was accepted, but not everything is done: look at it with callboard trace")
	}
	return nil
}

// topic returns the topic to send to.
func (c *sendCommand) topic(conf *config.Config) (string, config.Topic, error) {
	if t, ok := conf.Topics[c.Topic]; ok && t.From == c.Provider {
		return c.Topic, t, nil
	}
	if c.Topic != "" {
		return "", config.Topic{}, events.Errorf(events.CodeNotFound, "%s has no topic %q from %s", c.Config, c.Topic, c.Provider)
	}
	for _, name := range slices.Sorted(maps.Keys(conf.Topics)) {
		if conf.Topics[name].From == c.Provider {
			return name, conf.Topics[name], nil
		}
	}
	return "", config.Topic{}, events.Errorf(events.CodeNotFound, "%s has no topic from %s", c.Config, c.Provider)
}

func (c *sendCommand) secret(ctx context.Context, t config.Topic) (string, error) {
	if c.Secret != "" {
		return c.Secret, nil
	}
	values, err := secrets.Dir(filepath.Join(c.State, "secrets")).Values(ctx, t.Secrets[0])
	if err != nil {
		return "", err
	}
	return values[0], nil
}

// hook returns what to send: a file, or a sample. A sample of GitHub is made by the engine, which first does to
// the sample repository what the webhook tells of.
func (c *sendCommand) hook(ctx context.Context, t config.Topic, delivery string, engine front.Running, engineErr error) (hook, error) {
	switch {
	case c.File != "":
		payload, err := os.ReadFile(c.File)
		if err != nil {
			return hook{}, events.Wrap(err, events.CodeInvalid, "the file cannot be read")
		}
		return hook{Event: c.Event, Payload: payload}, nil
	case c.Provider == config.FromHMAC:
		return genericHook(t, c.Event, delivery)
	case gitHubSamples[c.Event] == "":
		return hook{}, events.Errorf(events.CodeNotFound, "there is no sample %q; send a --file, or one of:%s", c.Event, list(gitHubSamples))
	case engineErr != nil:
		return hook{}, events.Wrap(engineErr, events.CodeNotFound, "a sample needs a running callboard dev or attach with a sample repository server; without one send a --file")
	}
	var h hook
	err := local{engine: engine}.call(ctx, http.MethodPost, "/sample/"+c.Event, nil, &h)
	return h, err
}

// request is the webhook as the provider sends it.
func (c *sendCommand) request(ctx context.Context, address string, t config.Topic, secret, delivery string, h hook) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(h.Payload))
	if err != nil {
		return nil, events.Wrap(err, events.CodeInvalid, "the URL %q is not valid", address)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range h.Headers {
		req.Header.Set(name, value)
	}
	if c.Provider == config.FromGitHub {
		req.Header.Set("User-Agent", "GitHub-Hookshot/callboard")
		req.Header.Set("X-GitHub-Event", h.Event)
		req.Header.Set("X-GitHub-Delivery", delivery)
		req.Header.Set(webhook.GitHubSignature.Header, webhook.GitHubSignature.Sign(h.Payload, secret))
		return req, nil
	}
	signature := webhook.Signature(*t.Signature)
	req.Header.Set(signature.Header, signature.Sign(h.Payload, secret))
	return req, nil
}

// deliver sends the request and returns the id of the event that was accepted.
func deliver(req *http.Request) (string, error) {
	response, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return "", events.Wrap(err, events.CodeUnavailable, "Callboard cannot be reached")
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return "", events.Wrap(err, events.CodeUnavailable, "the answer broke off")
	}
	if response.StatusCode != http.StatusAccepted {
		return "", events.Errorf(events.CodeInvalid, "the webhook was refused with %s: %s", response.Status, oneLine(string(bytes.TrimSpace(body))))
	}
	return response.Header.Get("X-Events-Id"), nil
}
