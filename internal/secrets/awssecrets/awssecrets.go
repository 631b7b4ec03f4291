// Package awssecrets reads secrets from Secrets Manager and from the parameters of Systems Manager.
package awssecrets

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
)

const (
	// fresh is how long a value is used without asking again, and so how long a rotation takes to arrive. It is what
	// AWS's own cache for functions has
	// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieving-secrets_lambda.html).
	fresh = 5 * time.Minute
	// stale is how long a value is used while it cannot be asked for: that long, an outage stops no webhook.
	stale = time.Hour
	// absent is how long a secret without a value is not asked for again: meanwhile strangers who send webhooks for it
	// cost no requests, and who puts a value in need not wait.
	absent = 10 * time.Second
	// refreshes is how often a secret is read again before its time without a pause, and refreshEvery how often if that
	// goes on: strangers who send bad signatures make no more requests than that.
	refreshes    = 5
	refreshEvery = 10 * time.Second
)

// Store reads secrets and remembers them for five minutes. A name is that of the secret "<prefix>/<name>" in Secrets
// Manager. The references "secretsmanager:<arn>" and "ssm:<name>" work wherever a name does. The function may use
// secretsmanager:GetSecretValue or ssm:GetParameter on them.
type Store struct {
	secretsManager *secretsmanager.Client
	parameters     parameters
	prefix         string
	clock          func() time.Time

	mu    sync.Mutex
	known map[string]entry
	again map[string]*allowance
}

// entry is what was read last: the values of a secret, or that it has none.
type entry struct {
	values []string
	absent error
	read   time.Time // when the request began
}

// allowance says how often a secret may still be read before its time.
type allowance struct {
	mu   sync.Mutex // held while it is read
	left float64
	at   time.Time // when left was so much
}

// take takes one reading out, if there is one.
func (a *allowance) take(now time.Time) bool {
	a.left = min(refreshes, a.left+now.Sub(a.at).Seconds()/refreshEvery.Seconds())
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

var _ secrets.Refresher = (*Store)(nil)

// New returns the store of the secrets whose names begin with prefix and "/". Clock, for example [time.Now], says how
// old a value is.
func New(cfg aws.Config, prefix string, clock func() time.Time) *Store {
	return &Store{
		secretsManager: secretsmanager.NewFromConfig(cfg), parameters: parameters{cfg}, prefix: prefix, clock: clock,
		known: make(map[string]entry), again: make(map[string]*allowance),
	}
}

// Values returns the live values of a secret. It fails with [events.CodeNotFound] if there is none, with
// [events.CodeInvalid] for a reference that does not work in AWS, and with [events.CodeUnavailable] if it cannot be read.
func (s *Store) Values(ctx context.Context, name string) ([]string, error) {
	now := s.clock()
	old, known := s.remembered(name)
	age := now.Sub(old.read)
	switch {
	case known && old.absent != nil && age < absent:
		return nil, old.absent
	case known && old.absent == nil && age < fresh:
		return slices.Clone(old.values), nil
	}
	return s.load(ctx, name, now)
}

// Refresh implements [secrets.Refresher]: it reads a secret although it is remembered. A secret is read five times
// without a pause, then every ten seconds.
func (s *Store) Refresh(ctx context.Context, name string) ([]string, error) {
	asked := s.clock()
	s.mu.Lock()
	a := s.again[name]
	if a == nil {
		a = &allowance{left: refreshes, at: asked}
		s.again[name] = a
	}
	s.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	now := s.clock()
	if old, known := s.remembered(name); known && old.read.After(asked) || !a.take(now) {
		return s.Values(ctx, name) // somebody else has read it meanwhile, or it was enough
	}
	return s.load(ctx, name, now)
}

func (s *Store) remembered(name string) (e entry, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known = s.known[name]
	return e, known
}

// load reads a secret and remembers what it is. While it cannot be read, it is what it was.
func (s *Store) load(ctx context.Context, name string, now time.Time) ([]string, error) {
	old, known := s.remembered(name)
	age := now.Sub(old.read)
	text, err := s.read(ctx, name)
	var values []string
	if err == nil {
		values, err = secrets.Parse(name, text)
	}
	code := events.ErrorCode(err)
	if known && old.absent == nil && code == events.CodeUnavailable && age < stale {
		return slices.Clone(old.values), nil
	}
	read := entry{values: values, read: now}
	if code == events.CodeNotFound {
		read.absent = err
	} else if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.known[name] = read
	s.mu.Unlock()
	return slices.Clone(values), err
}

func (s *Store) read(ctx context.Context, name string) (string, error) {
	kind, reference, isReference := strings.Cut(name, ":")
	switch {
	case !isReference:
		return s.secret(ctx, name, s.prefix+"/"+name)
	case kind == "secretsmanager":
		return s.secret(ctx, name, reference)
	case kind == "ssm":
		return s.parameter(ctx, name, reference)
	}
	return "", events.Errorf(events.CodeInvalid, "secret %q: a reference of kind %q does not work in AWS; here use a name, secretsmanager: or ssm:", name, kind)
}

func (s *Store) secret(ctx context.Context, name, id string) (string, error) {
	out, err := s.secretsManager.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id, VersionStage: aws.String(current)})
	if err != nil {
		return "", failed(err, name, "the secret "+id+" of Secrets Manager")
	}
	if out.SecretString == nil {
		return string(out.SecretBinary), nil
	}
	return *out.SecretString, nil
}

func (s *Store) parameter(ctx context.Context, name, parameter string) (string, error) {
	text, err := s.parameters.get(ctx, parameter)
	if err != nil {
		return "", failed(err, name, "the parameter "+parameter+" of Systems Manager")
	}
	return text, nil
}

func failed(err error, name, what string) error {
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return events.Wrap(err, events.CodeUnavailable, "secret %q cannot be read: AWS cannot be reached for %s", name, what)
	}
	switch e.ErrorCode() {
	case "ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound":
		return events.Wrap(err, events.CodeNotFound, "secret %q does not exist: %s has no value", name, what)
	}
	return events.Wrap(err, events.CodeUnavailable, "secret %q cannot be read: AWS answers %s for %s", name, e.ErrorCode(), what)
}
