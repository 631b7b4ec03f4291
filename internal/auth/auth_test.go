package auth_test

import (
	"context"
	"errors"
	"testing"

	"github.com/callboard/callboard/internal/auth"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
)

// vault has the values of secrets; others cannot be read.
type vault map[string][]string

func (v vault) Values(_ context.Context, name string) ([]string, error) {
	values, ok := v[name]
	if !ok {
		return nil, errors.New("access denied")
	}
	return values, nil
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	a := auth.Authenticator{
		Tokens: []config.Token{
			{Secret: "portal", Subject: "user:default/guest", May: []string{auth.CatalogRead, auth.NotificationsRead}},
			{Secret: "ci", Subject: "ci", May: []string{auth.NotificationsSend}},
			{Secret: "empty", Subject: "nobody", May: []string{auth.CatalogRead}},
		},
		Secrets: vault{"portal": {"new-token", "old-token"}, "ci": {"ci-token"}, "empty": {""}},
	}
	for _, tc := range []struct {
		name, header, right string
		subject             string
		code                events.Code
	}{
		{"token", "Bearer new-token", auth.CatalogRead, "user:default/guest", ""},
		{"token before its rotation", "Bearer old-token", auth.NotificationsRead, "user:default/guest", ""},
		{"scheme in any case", "bEARER  ci-token ", auth.NotificationsSend, "ci", ""},
		{"no right", "Bearer ci-token", auth.CatalogRead, "", events.CodeForbidden},
		{"unknown token", "Bearer other", auth.CatalogRead, "", events.CodeUnauthorized},
		{"part of a token", "Bearer new-toke", auth.CatalogRead, "", events.CodeUnauthorized},
		{"no header", "", auth.CatalogRead, "", events.CodeUnauthorized},
		{"empty token", "Bearer ", auth.CatalogRead, "", events.CodeUnauthorized},
		{"no scheme", "new-token", auth.CatalogRead, "", events.CodeUnauthorized},
		{"other scheme", "Basic new-token", auth.CatalogRead, "", events.CodeUnauthorized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := a.Authenticate(t.Context(), tc.header, tc.right)
			if events.ErrorCode(err) != tc.code || p.Subject != tc.subject {
				t.Errorf("got %q, %v; want %q with code %q", p.Subject, err, tc.subject, tc.code)
			}
		})
	}
}

func TestSecretThatCannotBeRead(t *testing.T) {
	t.Parallel()
	a := auth.Authenticator{
		Tokens: []config.Token{
			{Secret: "locked", Subject: "a", May: []string{auth.CatalogRead}},
			{Secret: "open", Subject: "b", May: []string{auth.CatalogRead}},
		},
		Secrets: vault{"open": {"token"}},
	}
	if p, err := a.Authenticate(t.Context(), "Bearer token", auth.CatalogRead); err != nil || p.Subject != "b" {
		t.Errorf("got %q, %v; want the token that can be checked to work", p.Subject, err)
	}
	if _, err := a.Authenticate(t.Context(), "Bearer other", auth.CatalogRead); events.ErrorCode(err) != events.CodeUnavailable {
		t.Errorf("got %v, want unavailable: it may be the token that cannot be checked", err)
	}
}

// remembering is a source of secrets that remembers values.
type remembering struct{ remembered, now vault }

func (r *remembering) Values(ctx context.Context, name string) ([]string, error) {
	return r.remembered.Values(ctx, name)
}

func (r *remembering) Refresh(ctx context.Context, name string) ([]string, error) {
	r.remembered = r.now
	return r.now.Values(ctx, name)
}

// A token counts from the moment it is added, with its own subject.
func TestTokenIsAdded(t *testing.T) {
	t.Parallel()
	a := auth.Authenticator{
		Tokens: []config.Token{
			{Secret: "a", Subject: "a", May: []string{auth.CatalogRead}},
			{Secret: "b", Subject: "b", May: []string{auth.CatalogRead}},
		},
		Secrets: &remembering{remembered: vault{"a": {"1"}, "b": {"2"}}, now: vault{"a": {"1"}, "b": {"3", "2"}}},
	}
	for _, tc := range []struct {
		token, subject string
		code           events.Code
	}{{"3", "b", ""}, {"2", "b", ""}, {"1", "a", ""}, {"4", "", events.CodeUnauthorized}} {
		p, err := a.Authenticate(t.Context(), "Bearer "+tc.token, auth.CatalogRead)
		if events.ErrorCode(err) != tc.code || p.Subject != tc.subject {
			t.Errorf("%s: %q, %v; want %q with code %q", tc.token, p.Subject, err, tc.subject, tc.code)
		}
	}
}
