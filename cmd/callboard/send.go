package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/callboard/callboard/functions/ingress"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

type sendCommand struct {
	Provider string `arg:"" enum:"${senders}" help:"The profile to send as: ${enum}."`
	Event    string `arg:"" help:"The event: a built-in sample (any name shows those of the provider), or the type of the payload in --file."`
	Topic    string `help:"The topic, by default the first one of the provider." placeholder:"NAME"`
	File     string `help:"Send this payload instead of a sample." type:"existingfile" placeholder:"FILE"`
	URL      string `help:"Where Callboard is, by default the engine of the state folder." placeholder:"URL"`
	Secret   string `help:"The secret to sign with, by default that of the topic in the state folder." env:"CALLBOARD_SECRET" placeholder:"TEXT"`
	Delivery string `help:"The delivery id, to send the same delivery again; by default a new one." placeholder:"ID"`
	Wait     bool   `help:"Wait until the engine has nothing left to do."`
	State    string `help:"The state folder." default:".callboard" placeholder:"DIR"`
	Config   string `help:"The configuration." default:"events-config.json" placeholder:"FILE"`

	Attribute map[string]string `help:"An attribute of the message, for a topic with a queue; may be repeated." mapsep:"none" placeholder:"NAME=TEXT"`
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
	topo, err := topology.Build(conf)
	if err != nil {
		return err
	}
	if topic.Queue != "" {
		if engineErr != nil {
			return engineErr
		}
		return c.enqueue(ctx, s, topo, name, topic, engine)
	}
	secret, err := c.secret(ctx, topic, engine, engineErr)
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
	profile := ingress.Topics(conf, topo)[name].Profile
	req, err := request(ctx, base+"/events/http/"+name, profile, secret, h)
	if err != nil {
		return err
	}
	answer, err := deliver(req)
	if err != nil {
		return err
	}
	return c.print(ctx, s, answer, engine)
}

// print writes the id of the event that was accepted, and waits if it should.
func (c *sendCommand) print(ctx context.Context, s streams, answer string, engine front.Running) error {
	if _, err := fmt.Fprintln(s.out, answer); err != nil || !c.Wait {
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

// secret returns what to sign with, the newest live value; "" if the topic verifies nothing. The copies of callboard attach
// may be older than the last rotation, so they are made anew.
func (c *sendCommand) secret(ctx context.Context, t config.Topic, engine front.Running, engineErr error) (string, error) {
	if c.Secret != "" || len(t.Secrets) == 0 {
		return c.Secret, nil
	}
	if engineErr == nil {
		if err := (local{engine: engine}).call(ctx, http.MethodPost, "/secrets", struct{}{}, &struct{}{}); err != nil {
			return "", err
		}
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
	var h hook
	if c.File != "" {
		payload, err := os.ReadFile(c.File)
		if err != nil {
			return hook{}, events.Wrap(err, events.CodeInvalid, "the file cannot be read")
		}
		h = hook{Event: c.Event, Payload: payload}
	}
	if c.Provider != config.FromGitHub {
		return providerHook(c.Provider, t, h, c.Event, delivery)
	}
	if c.File == "" {
		switch {
		case gitHubSamples[c.Event] == "":
			return hook{}, events.Errorf(events.CodeNotFound, "there is no sample %q; send a --file, or one of:%s", c.Event, list(gitHubSamples))
		case engineErr != nil:
			return hook{}, events.Wrap(engineErr, events.CodeNotFound, "a sample needs a running callboard dev or attach with a sample repository server; without one send a --file")
		}
		if err := (local{engine: engine}).call(ctx, http.MethodPost, "/sample/"+c.Event, nil, &h); err != nil {
			return hook{}, err
		}
	}
	h.Headers = map[string]string{"User-Agent": "GitHub-Hookshot/callboard", "X-GitHub-Event": h.Event, "X-GitHub-Delivery": delivery}
	return h, nil
}

// signer is a profile that can do what its sender does.
type signer interface {
	Sign(r *webhook.Request, secret string)
}

// request is the webhook as the provider sends it.
func request(ctx context.Context, address string, p webhook.Profile, secret string, h hook) (*http.Request, error) {
	r := webhook.Request{Headers: events.Metadata{"content-type": "application/json"}, Body: h.Payload, Time: time.Now()}
	for name, value := range h.Headers {
		r.Headers.Set(name, value)
	}
	p.(signer).Sign(&r, secret) //nolint:forcetypeassert // every profile of the configuration can
	if r.Token != "" {
		address += "/" + url.PathEscape(r.Token)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(r.Body))
	if err != nil {
		return nil, events.Errorf(events.CodeInvalid, "the URL is not valid: write it as http://localhost:8080") // it may have the secret
	}
	for name, value := range r.Headers {
		req.Header.Set(name, value)
	}
	return req, nil
}

// deliver sends the request and returns the id of the event that was accepted, or what was done with it instead.
func deliver(req *http.Request) (string, error) {
	response, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		cause := err
		if e, ok := errors.AsType[*url.Error](err); ok {
			cause = e.Err // without the address, which may have the secret
		}
		return "", events.Wrap(cause, events.CodeUnavailable, "Callboard cannot be reached")
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return "", events.Wrap(err, events.CodeUnavailable, "the answer broke off")
	}
	text := oneLine(string(bytes.TrimSpace(body)))
	switch {
	case response.StatusCode == http.StatusAccepted:
		return response.Header.Get("X-Events-Id"), nil
	case response.StatusCode == http.StatusOK && strings.Contains(text, `"ignored"`):
		return text, nil
	}
	return "", events.Errorf(events.CodeInvalid, "the webhook was refused with %s: %s", response.Status, text)
}
