package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// logicalID returns the logical id of the thing of a kind with a name, such as "QueueRouterGithub5F0A12". It follows
// from nothing else: whatever has a name of its own in AWS must keep its id, or CloudFormation would create it a second
// time and fail on the name. The hash keeps apart what looks the same without punctuation.
func logicalID(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return kind + camel(name) + strings.ToUpper(hex.EncodeToString(sum[:3]))
}

// camel returns the letters and digits of a name, with a capital letter where a word begins.
func camel(name string) string {
	var b strings.Builder
	begins := true
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z' && begins:
			b.WriteRune(r - ('a' - 'A'))
			begins = false
		case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9':
			b.WriteRune(r)
			begins = false
		default:
			begins = true
		}
	}
	return b.String()
}

// root returns the root topic of a topic or sub-topic.
func root(topic string) string {
	name, _, _ := strings.Cut(topic, ".")
	return name
}
