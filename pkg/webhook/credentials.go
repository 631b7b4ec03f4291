package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

var errSecret = events.Errorf(events.CodeForbidden, "the secret does not fit: check that the sender uses the secret of this topic")

// verifySecret compares what a sender gave with every secret, so that the time it takes says nothing about them,
// not even their lengths.
func verifySecret(given string, secrets []string) error {
	sum, fits := sha256.Sum256([]byte(given)), 0
	for _, secret := range secrets {
		want := sha256.Sum256([]byte(secret))
		if secret != "" { // an empty secret protects nothing
			fits |= subtle.ConstantTimeCompare(sum[:], want[:])
		}
	}
	if fits == 0 {
		return errSecret
	}
	return nil
}

// verifyBasic checks the password of Basic authentication (https://www.rfc-editor.org/rfc/rfc7617). The name of the
// user is not looked at: a topic has secrets and no users.
func verifyBasic(r Request, secrets []string) error {
	value, _ := r.Headers.Get("authorization")
	if value == "" {
		return events.Errorf(events.CodeUnauthorized, "the request has no credentials: set a user of any name, with the secret of this topic as its password, at the sender")
	}
	scheme, credentials, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return events.Errorf(events.CodeForbidden, "the credentials are not those of Basic authentication: set user and password at the sender")
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(credentials)
	_, password, hasPassword := strings.Cut(string(decoded), ":")
	if err != nil || !hasPassword {
		return events.Errorf(events.CodeForbidden, "the credentials are not those of Basic authentication: it is the base64 form of user, colon and password")
	}
	return verifySecret(password, secrets)
}

// basicUser is who a sample is sent by.
const basicUser = "callboard"

func signBasic(r *Request, secret string) {
	r.Headers.Set("authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(basicUser+":"+secret)))
}
