// Package auth tells who calls an API: static bearer tokens, each with a subject and rights.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
)

// Rights that a token may have.
const (
	CatalogRead       = "catalog.read"
	NotificationsRead = "notifications.read"
	NotificationsSend = "notifications.send"
)

// Secrets gives the live values of a secret. One that remembers them may be a [secrets.Refresher] too.
type Secrets interface {
	Values(ctx context.Context, name string) ([]string, error)
}

// Principal is an authenticated caller.
type Principal struct {
	// Subject is a user's entityRef, or the name of a service.
	Subject string
	may     []string
}

// Authenticator knows the tokens of the configuration.
type Authenticator struct {
	Tokens  []config.Token
	Secrets Secrets
}

// Authenticate returns who calls with the given Authorization header, provided that they have the right. No or an
// unknown token is [events.CodeUnauthorized], a missing right [events.CodeForbidden].
func (a *Authenticator) Authenticate(ctx context.Context, authorization, right string) (Principal, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return Principal{}, events.Errorf(events.CodeUnauthorized, "Missing credentials: send the header \"Authorization: Bearer <token>\".")
	}
	p, err := a.find(ctx, token)
	if err != nil {
		return Principal{}, err
	}
	if !slices.Contains(p.may, right) {
		return Principal{}, events.Errorf(events.CodeForbidden, "This token has not the right %s.", right)
	}
	return p, nil
}

// find compares with every token, so that the time it takes says nothing about which one is close.
func (a *Authenticator) find(ctx context.Context, token string) (p Principal, err error) {
	given := sha256.Sum256([]byte(token))
	names := make([]string, len(a.Tokens))
	for i, t := range a.Tokens {
		names[i] = t.Secret
	}
	err = secrets.Verify(ctx, a.Secrets, names, func(values [][]string) error {
		known := false
		for i, t := range a.Tokens {
			for _, v := range values[i] {
				want := sha256.Sum256([]byte(v))
				if subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
					p, known = Principal{Subject: t.Subject, may: t.May}, true
				}
			}
		}
		if !known {
			return events.Errorf(events.CodeUnauthorized, "The token is not known.")
		}
		return nil
	})
	return p, err
}
