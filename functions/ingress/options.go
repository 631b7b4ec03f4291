package ingress

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// Validator may refuse a webhook that is verified already; payload is its JSON document. Its error decides the status by
// its [events.Code], 403 for [events.CodeForbidden]; providers that would turn the webhook off, GitLab, Azure DevOps and
// Bitbucket Data Center, are answered 200 and told that it is refused. [webhook.ErrTest] is answered 200 and makes no event.
type Validator func(ctx context.Context, r webhook.Request, payload []byte) error

// Option adds to what the ingress can do.
type Option func(*extensions)

// extensions are what the options have added.
type extensions struct {
	profiles   map[string]webhook.Profile
	parsers    map[string]webhook.BodyParser
	validators map[string][]Validator // by topic
	errs       []error
}

// WithProfile adds the profile of a sender: topics of the configuration with "from": "custom:<name>" are verified and
// described by it. What Describe returns is held to the rules of our profiles, see [webhook.Custom].
func WithProfile(name string, p webhook.Profile) Option {
	return func(x *extensions) {
		if _, twice := x.profiles[name]; twice || name == "" || p == nil {
			x.refuse("WithProfile: %q is no name of its own, or nil", name)
		}
		x.profiles[name] = p
	}
}

// WithBodyParser adds a parser for the bodies of a media type, such as "application/cloudevents+json". It comes before
// ours for that type.
func WithBodyParser(mediaType string, p webhook.BodyParser) Option {
	mediaType = strings.ToLower(mediaType)
	return func(x *extensions) {
		if _, twice := x.parsers[mediaType]; twice || mediaType == "" || p == nil {
			x.refuse("WithBodyParser: %q is no media type of its own, or nil", mediaType)
		}
		x.parsers[mediaType] = p
	}
}

// WithValidator adds a check of the webhooks of a topic, after those of its profile and in the order of the options.
func WithValidator(topic string, v Validator) Option {
	return func(x *extensions) {
		if v == nil {
			x.refuse("WithValidator: nil for the topic %q", topic)
		}
		x.validators[topic] = append(x.validators[topic], v)
	}
}

func (x *extensions) refuse(format string, args ...any) {
	x.errs = append(x.errs, events.Errorf(events.CodeInvalid, format, args...))
}

func extend(options []Option) *extensions {
	x := &extensions{profiles: map[string]webhook.Profile{}, parsers: map[string]webhook.BodyParser{}, validators: map[string][]Validator{}}
	for _, o := range options {
		o(x)
	}
	return x
}

// topics returns the topics of a configuration that take webhooks. It fails if the configuration and the options do not
// fit together.
func (x *extensions) topics(c *config.Config, t *topology.Topology) (map[string]Topic, error) {
	topics := Topics(c, t)
	errs := slices.Clone(x.errs)
	for name, topic := range c.Topics {
		profile, custom := topic.CustomProfile()
		if !custom {
			continue
		}
		p, ok := x.profiles[profile]
		if !ok {
			errs = append(errs, events.Errorf(events.CodeInvalid, "the topic %q is from %q, and this program has no such profile: pass ingress.WithProfile(%q, …) to ingress.Start", name, topic.From, profile))
			continue
		}
		topics[name] = made(topic, webhook.Custom(p), t.Limit(name))
	}
	for name, validators := range x.validators {
		topic, ok := topics[name]
		if !ok {
			errs = append(errs, events.Errorf(events.CodeInvalid, "WithValidator names the topic %q, which takes no webhooks in this configuration", name))
			continue
		}
		topic.Validators = validators
		topics[name] = topic
	}
	return topics, errors.Join(errs...)
}
