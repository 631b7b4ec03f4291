package ingress_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// nothing is a queue and an observer that do nothing, and knows the secret.
type nothing struct{}

func (nothing) Send(context.Context, events.Message) error { return nil }
func (nothing) Observe(context.Context, events.Hop)        {}
func (nothing) Values(context.Context, string) ([]string, error) {
	return []string{secret}, nil
}

// benchmarkBody is a push with as many commits as make up about size bytes, and never more.
func benchmarkBody(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"ref":"refs/heads/main","repository":{"id":1,"full_name":"acme/petstore","html_url":"https://github.com/acme/petstore"},"commits":[`)
	for i := 0; ; i++ {
		commit := fmt.Sprintf(`{"id":"%040x","message":"Fix #%d: the \"shop\" says hello\n\nA längere text, with some words in it.","timestamp":"2026-01-02T03:04:05Z",`+
			`"author":{"name":"Jane Doe","email":"jane@example.com"},"distinct":true,"added":[],"removed":[],"modified":["services/shop/main-%d.go"]}`, i, i, i)
		if b.Len()+len(commit)+3 > size {
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(commit)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

// BenchmarkIngress measures the handler beside the floor under it: to decode the invocation, compute the HMAC of
// the body and check its syntax. Their ratio is what counts.
func BenchmarkIngress(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"8KB", 8 << 10}, {"100KB", 100 << 10}, {"1MB", events.MaxSQSMessageSize - 1000}} {
		body := benchmarkBody(size.bytes)
		headers := map[string]string{
			"content-type": "application/json", "user-agent": "GitHub-Hookshot/044aadd", "accept": "*/*", "host": "example.com",
			"x-github-event": "push", "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "x-github-hook-id": "292430182",
			"x-github-hook-installation-target-id": "1", "x-github-hook-installation-target-type": "repository",
			"x-hub-signature-256": webhook.GitHubSignature.Sign(body, secret), "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https",
		}
		for _, form := range []string{"string", "base64"} {
			payload := invocation("POST", "github", headers, body, form == "base64")
			b.Run("size="+size.name+"/form="+form+"/handler", func(b *testing.B) {
				h := newHandler(&world{})
				h.Queue, h.Secrets, h.Observer, h.MaxSize = nothing{}, nothing{}, nothing{}, events.MaxSQSMessageSize
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					answer, err := h.Invoke(b.Context(), payload)
					if err != nil || !bytes.HasPrefix(answer, []byte(`{"statusCode":202`)) {
						b.Fatalf("%s, %v", answer, err)
					}
				}
			})
			b.Run("size="+size.name+"/form="+form+"/floor", func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if !floor(payload) {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}

// floor decodes an invocation, verifies the signature and checks the syntax of the body, in as few words as possible.
func floor(payload []byte) bool {
	var body []byte
	var signature string
	encoded := false
	d := jsontext.NewDecoder(bytes.NewBuffer(payload))
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return false
		}
		switch name.String() {
		case "body":
			v, err := d.ReadValue()
			if err != nil {
				return false
			}
			if body, err = jsontext.AppendUnquote(make([]byte, 0, len(v)), v); err != nil {
				return false
			}
		case "isBase64Encoded":
			v, err := d.ReadValue()
			if err != nil {
				return false
			}
			encoded = v.Kind() == 't'
		case "headers":
			headers := make(map[string]string)
			if _, err := d.ReadToken(); err != nil {
				return false
			}
			for d.PeekKind() == '"' {
				t, err := d.ReadToken()
				if err != nil {
					return false
				}
				name := t.String()
				if t, err = d.ReadToken(); err != nil {
					return false
				}
				headers[name] = t.String()
			}
			if _, err := d.ReadToken(); err != nil {
				return false
			}
			signature = headers["x-hub-signature-256"]
		default:
			if err := d.SkipValue(); err != nil {
				return false
			}
		}
	}
	if encoded {
		n, err := base64.StdEncoding.Decode(body, body)
		if err != nil {
			return false
		}
		body = body[:n]
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	return err == nil && hmac.Equal(mac.Sum(nil), given) &&
		jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}
