package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// StandardWebhooks is the profile of senders that follow the specification of that name
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
type StandardWebhooks struct{ Generic }

var _ Profile = StandardWebhooks{}

// StandardWebhooksSubTopic is where the sub-topic is found, as the specification recommends.
const StandardWebhooksSubTopic = "body:type"

// The headers of a signature, and what begins the text form of its secrets.
const (
	standardID        = "webhook-id"
	standardTimestamp = "webhook-timestamp"
	standardSignature = "webhook-signature"
	standardVersion   = "v1,"
	standardSecret    = "whsec_"
)

// tolerance is how far the clocks of sender and receiver may be apart, and how long a signature is good; it is that
// of the specification's own libraries.
const tolerance = 5 * time.Minute

// Verify checks webhook-signature, which covers webhook-id, webhook-timestamp and the body.
func (StandardWebhooks) Verify(r Request, secrets []string) error { return verifyStandard(r, secrets) }

// Sign signs as a sender does.
func (StandardWebhooks) Sign(r *Request, secret string) { signStandard(r, secret) }

// Describe takes the delivery id from webhook-id, and the rest from the configuration.
func (p StandardWebhooks) Describe(r Request, payload []byte) (Delivery, error) {
	p.Metadata = append([]string{standardID}, p.Metadata...)
	p.Promoted = append([]string{standardID}, p.Promoted...)
	d, err := p.describe(r, payload, standardSignature)
	d.ID, _ = r.Headers.Get(standardID)
	return d, err
}

// verifyStandard takes any of several signatures: a sender that rotates its secret signs with both. Signatures of
// other versions are left out.
func verifyStandard(r Request, secrets []string) error {
	signatures, _ := r.Headers.Get(standardSignature)
	id, _ := r.Headers.Get(standardID)
	timestamp, _ := r.Headers.Get(standardTimestamp)
	if signatures == "" || id == "" || timestamp == "" {
		return events.Errorf(events.CodeForbidden, "the request is not signed: it needs the headers %s, %s and %s; set the secret of the webhook at the sender", standardID, standardTimestamp, standardSignature)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return events.Errorf(events.CodeForbidden, "the header %s is no time: it is the number of seconds since 1970", standardTimestamp)
	}
	// Compared as seconds: the difference to a very large number would not fit into a duration.
	now, apart := r.Time.Unix(), int64(tolerance/time.Second)
	if seconds < now-apart || seconds > now+apart {
		return events.Errorf(events.CodeForbidden, "the signature is of another time: the header %s is more than %d minutes away from now; is the clock of the sender right?", standardTimestamp, tolerance/time.Minute)
	}
	fits := false
	for _, secret := range secrets {
		if secret == "" {
			continue // an empty key signs nothing
		}
		want := standardDigest(r.Body, id, timestamp, secret)
		for signature := range strings.FieldsSeq(signatures) {
			digest, isVersion := strings.CutPrefix(signature, standardVersion)
			given, err := base64.StdEncoding.Strict().DecodeString(digest)
			if isVersion && err == nil && hmac.Equal(want, given) {
				fits = true
			}
		}
	}
	if !fits {
		return misfit(r)
	}
	return nil
}

func signStandard(r *Request, secret string) {
	id, ok := r.Headers.Get(standardID)
	if !ok {
		id = "msg_" + strconv.FormatInt(r.Time.UnixNano(), 36)
		r.Headers.Set(standardID, id)
	}
	timestamp := strconv.FormatInt(r.Time.Unix(), 10)
	r.Headers.Set(standardTimestamp, timestamp)
	r.Headers.Set(standardSignature, standardVersion+base64.StdEncoding.EncodeToString(standardDigest(r.Body, id, timestamp, secret)))
}

func standardDigest(body []byte, id, timestamp, secret string) []byte {
	mac := hmac.New(sha256.New, standardKey(secret))
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// standardKey returns the key of a secret: what is base64 stands for its bytes, with "whsec_" before it or without,
// and anything else for itself.
func standardKey(secret string) []byte {
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(secret, standardSecret))
	if err != nil || len(key) == 0 {
		return []byte(secret)
	}
	return key
}
