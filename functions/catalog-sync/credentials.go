package catalogsync

import (
	"context"
	"slices"
	"time"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
)

// credentials finds the token for the repositories of an owner on one host: that of the first App which is installed
// there, else the one that the configuration names.
type credentials struct {
	host    string
	apps    []*scm.GitHubApp
	static  string // the name of the secret; "" without one
	secrets Secrets
}

// newCredentials returns nil for a host that is read without any.
func newCredentials(g config.GitHubIntegration, from Secrets) (*credentials, error) {
	c := &credentials{host: g.Host, static: g.Token, secrets: from}
	for _, a := range g.Apps {
		app, err := scm.NewGitHubApp(scm.GitHubAppOptions{
			APIBaseURL: g.APIBaseURL, ID: a.AppID, Owners: a.AllowedInstallationOwners, Now: time.Now,
			Keys: func(ctx context.Context, try func(key string) error) error { return c.keys(ctx, a.PrivateKey, try) },
		})
		if err != nil {
			return nil, err
		}
		c.apps = append(c.apps, app)
	}
	if c.static == "" && len(c.apps) == 0 {
		return nil, nil //nolint:nilnil // there are none, and that is no error
	}
	return c, nil
}

// token implements the function of [scm.GitHubOptions]. An App without a key is as one that is not installed, as long as
// there is something else.
func (c *credentials) token(ctx context.Context, owner, refused string) (string, error) {
	var missing error
	for _, app := range c.apps {
		token, err := app.Token(ctx, owner, refused)
		switch {
		case events.ErrorCode(err) == events.CodeNotFound:
			missing = err
		case err != nil || token != "":
			return token, err
		}
	}
	switch {
	case c.static != "":
		return c.staticToken(ctx, refused)
	case missing != nil:
		return "", missing
	}
	return "", events.Errorf(events.CodeUnavailable, "no GitHub App of integrations.github for %s is installed for %s: install it there, or add a token", c.host, owner)
}

// staticToken returns the newest live value, or the newest of those that are live now and were not refused.
func (c *credentials) staticToken(ctx context.Context, refused string) (string, error) {
	if refused == "" {
		values, err := c.secrets.Values(ctx, c.static)
		if err != nil {
			return "", err
		}
		return values[0], nil
	}
	values, err := c.now(ctx, c.static)
	if err != nil {
		return "", err
	}
	for _, v := range values {
		if v != refused {
			return v, nil
		}
	}
	return refused, nil
}

// keys tries the live values of a secret, newest first, until one is not refused. If all are, it looks for others that
// are there by now.
func (c *credentials) keys(ctx context.Context, name string, try func(key string) error) error {
	remembered, err := c.secrets.Values(ctx, name)
	if err != nil {
		return err
	}
	err = tryEach(remembered, try)
	if events.ErrorCode(err) != events.CodeUnauthorized {
		return err
	}
	now, unread := c.now(ctx, name)
	added := slices.DeleteFunc(slices.Clone(now), func(v string) bool { return slices.Contains(remembered, v) })
	if unread != nil || len(added) == 0 {
		return err
	}
	return tryEach(added, try)
}

// now returns the live values as they are, where the source remembers them.
func (c *credentials) now(ctx context.Context, name string) ([]string, error) {
	if r, ok := c.secrets.(secrets.Refresher); ok {
		return r.Refresh(ctx, name)
	}
	return c.secrets.Values(ctx, name)
}

func tryEach(keys []string, try func(key string) error) (err error) {
	for _, key := range keys {
		if err = try(key); events.ErrorCode(err) != events.CodeUnauthorized {
			return err
		}
	}
	return err
}
