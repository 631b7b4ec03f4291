package notifications

import (
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"
)

const ellipsis = "…"

// shorten cuts s to a number of characters, the last of which then is an ellipsis.
func shorten(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + ellipsis
}

// digest cuts s to a number of characters, of which the last 64 then are the SHA-256 of s in hex.
func digest(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return shorten(s, limit-hex.EncodedLen(len(sum))) + hex.EncodeToString(sum[:])
}
