// Package frobs connects Callboard with Frobs, a provider that exists in this example only: its webhooks, which no profile
// of Callboard knows, and a subscriber that asks its API. Everything here could be in a repository of your own.
package frobs

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// Profile knows the webhooks of Frobs: the header frob-signature is "t=<Unix time>,v1=<hex>", the HMAC-SHA-256 of the time,
// a dot and the body.
type Profile struct{}

// tolerance is how old a signature may be, or how wrong a clock.
const tolerance = 5 * time.Minute

// Verify implements webhook.Profile.
func (Profile) Verify(r webhook.Request, secrets []string) error {
	header, _ := r.Headers.Get("frob-signature")
	sent, digest, ok := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	if !ok {
		return events.Errorf(events.CodeForbidden, "the request is not signed: it has no frob-signature")
	}
	given, err := hex.DecodeString(digest)
	seconds, timeErr := strconv.ParseInt(sent, 10, 64)
	if err != nil || timeErr != nil || r.Time.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return events.Errorf(events.CodeForbidden, "the signature cannot be read, or is of another time")
	}
	fits := false
	for _, secret := range secrets { // all of them, so that the time it takes says nothing about which one fits
		if hmac.Equal(sign(sent, r.Body, secret), given) {
			fits = true
		}
	}
	if !fits {
		return events.Errorf(events.CodeForbidden, "the signature does not fit: is the secret at Frobs that of this topic?")
	}
	return nil
}

// Sign does what Frobs does.
func Sign(now time.Time, body []byte, secret string) string {
	sent := strconv.FormatInt(now.Unix(), 10)
	return "t=" + sent + ",v1=" + hex.EncodeToString(sign(sent, body, secret))
}

func sign(sent string, body []byte, secret string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(sent + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// frob is what a webhook is about.
type frob struct {
	Type string `json:"type"`
	Name string `json:"name"`
	Rev  string `json:"rev"`
}

// Describe implements webhook.Profile.
func (Profile) Describe(r webhook.Request, payload []byte) (webhook.Delivery, error) {
	var f frob
	if err := json.Unmarshal(payload, &f); err != nil {
		return webhook.Delivery{}, events.Wrap(err, events.CodeInvalid, "the body describes no frob")
	}
	d := webhook.Delivery{Metadata: events.Metadata{}, Host: "frobs.example.com", Repository: f.Name}
	if f.Rev != "" {
		d.ID = f.Type + "-" + f.Name + "-" + f.Rev
	}
	if tenant, ok := r.Headers.Get("frob-tenant"); ok {
		d.Metadata.Set("frob-tenant", tenant)
		d.Promoted = []string{"frob-tenant"}
	}
	return d, nil
}

// LinesType is the media type of old versions of Frobs.
const LinesType = "text/x-frob"

// Lines reads what old versions of Frobs send: a line "name: value" for each member.
func Lines(_ map[string]string, body []byte, _ int) ([]byte, error) {
	members := map[string]string{}
	for line := range bytes.Lines(body) {
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		if !ok {
			return nil, events.Errorf(events.CodeInvalid, "the body has a line that is not \"name: value\"")
		}
		members[string(name)] = string(value)
	}
	return json.Marshal(members)
}

// Named refuses events about frobs without a name, which nobody can do anything with.
func Named(_ context.Context, _ webhook.Request, payload []byte) error {
	var f frob
	if err := json.Unmarshal(payload, &f); err != nil || f.Name == "" {
		return events.Errorf(events.CodeInvalid, "the frob has no name")
	}
	return nil
}
