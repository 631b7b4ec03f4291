package events

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// PayloadPrefix begins the keys of all payloads in a [Bucket]. Nothing else may have keys like that, and nothing with
// another key is read as a payload.
const PayloadPrefix = "events/"

// The class names with which the extended client libraries of AWS begin a claim check; the second is that of their
// version 1.0 (https://github.com/awslabs/payload-offloading-java-common-lib-for-aws).
const (
	pointerClass       = "software.amazon.payloadoffloading.PayloadS3Pointer"
	pointerClassLegacy = "com.amazon.sqs.javamessaging.MessageS3Pointer"
)

const (
	maxBucketName = 63
	maxKeyLength  = 1024
)

// ClaimCheck says where the payload of an event is that is too large for a message.
type ClaimCheck struct {
	Bucket string
	Key    string
	Size   int // of the payload, in bytes
}

// pointer is the second element of the array that a claim check is.
type pointer struct {
	Bucket string `json:"s3BucketName"`
	Key    string `json:"s3Key"`
}

// ClaimCheck returns the claim check that the body of m is, and whether it is one: then the message has the attribute
// [AttributeExtendedSize], or the older [AttributeLegacySize]. It fails with [CodeInvalid] if the attribute is there and
// the body or the size are not what the extended client libraries of AWS write, and with [CodeTooLarge] if the payload
// has more than [MaxPayloadSize] bytes.
func (m Message) ClaimCheck() (c ClaimCheck, ok bool, err error) {
	size, ok := m.Attributes[AttributeExtendedSize]
	if !ok {
		if size, ok = m.Attributes[AttributeLegacySize]; !ok {
			return ClaimCheck{}, false, nil
		}
	}
	if c.Size, err = strconv.Atoi(size.StringValue); err != nil || c.Size < 1 {
		return ClaimCheck{}, true, Errorf(CodeInvalid, "the size %.50q of the claim check is not a number of bytes", size.StringValue)
	}
	if c.Size > MaxPayloadSize {
		return ClaimCheck{}, true, Errorf(CodeTooLarge, "the payload of the claim check has %d bytes; at most %d are read", c.Size, MaxPayloadSize)
	}
	p, err := parsePointer(m.Body)
	if err != nil {
		return ClaimCheck{}, true, Wrap(err, CodeInvalid, "the message has the size of a claim check, and its body is none")
	}
	c.Bucket, c.Key = p.Bucket, p.Key
	return c, true, nil
}

func parsePointer(body string) (p pointer, err error) {
	var parts []jsontext.Value
	var class string
	// What the library says of JSON that does not fit differs from process to process.
	if json.Unmarshal([]byte(body), &parts) != nil || len(parts) != 2 || json.Unmarshal(parts[0], &class) != nil || json.Unmarshal(parts[1], &p) != nil {
		return pointer{}, fmt.Errorf("it is not an array of a class and a pointer")
	}
	if class != pointerClass && class != pointerClassLegacy {
		return pointer{}, fmt.Errorf("the class is %.100q", class)
	}
	if p.Bucket == "" || len(p.Bucket) > maxBucketName || strings.ContainsFunc(p.Bucket, isNotOf("._-")) {
		return pointer{}, fmt.Errorf("%.100q is not the name of a bucket", p.Bucket)
	}
	// The extended client libraries make no other keys.
	if p.Key == "" || len(p.Key) > maxKeyLength || p.Key[0] == '.' || p.Key[0] == '/' || strings.Contains(p.Key, "..") || strings.ContainsFunc(p.Key, isNotOf("._-/")) {
		return pointer{}, fmt.Errorf("%.100q is not the key of a payload", p.Key)
	}
	return p, nil
}

// isNotOf returns what finds characters other than letters, digits and those of a list.
func isNotOf(others string) func(rune) bool {
	return func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	}
}

// body is the claim check as the body of a message.
func (c ClaimCheck) body() (string, error) {
	data, err := json.Marshal([]any{pointerClass, pointer{c.Bucket, c.Key}})
	return string(data), err
}

// claim is what an event knows of the claim check that it came as.
type claim struct {
	ClaimCheck
	fetched bool
	sum     uint64 // of the payload that was fetched
}

var claimSeed = maphash.MakeSeed()

// claimCheck returns the claim check of an event whose payload is the one in the bucket. It is none any more if somebody
// has changed the payload.
func (e Event) claimCheck() (ClaimCheck, bool) {
	c := e.claim
	switch {
	case c == nil,
		c.fetched && (len(e.Payload) != c.Size || maphash.Bytes(claimSeed, e.Payload) != c.sum),
		!c.fetched && len(e.Payload) > 0:
		return ClaimCheck{}, false
	}
	return c.ClaimCheck, true
}

// outside returns the claim check of an event whose payload has not been fetched.
func (e Event) outside() (ClaimCheck, bool) {
	if e.claim == nil || e.claim.fetched {
		return ClaimCheck{}, false
	}
	return e.claimCheck()
}

// BlobStore keeps payloads. When Put returns the payload is durable; it does not change the data. An error of Get has the [Code] that decides what
// becomes of the event: a payload that is missing or forbidden is tried again.
type BlobStore interface {
	Put(ctx context.Context, key string, data []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
}

// Bucket is where payloads are that are too large for a message. They are never changed, and not deleted by those who
// read them: others may read them too, and dead letters that are sent again. Who owns the bucket lets them expire.
type Bucket struct {
	// Name is the name of the bucket in claim checks. A claim check that names another one is refused.
	Name  string
	Store BlobStore
}

// fetch returns an event with its payload.
func (b *Bucket) fetch(ctx context.Context, e Event) (Event, error) {
	c, ok := e.outside()
	if !ok {
		return e, nil
	}
	data, err := b.read(ctx, c, "the payload of event "+e.ID)
	if err != nil {
		return e, err
	}
	e.Payload = data
	e.claim = &claim{ClaimCheck: c, fetched: true, sum: maphash.Bytes(claimSeed, data)}
	return e, nil
}

// Read returns what a claim check stands for. It fails with [CodeInvalid] for one that [Bucket.Keep] and [Encoder.Offload]
// have not made for this bucket, and with the error of the store.
func (b *Bucket) Read(ctx context.Context, c ClaimCheck) ([]byte, error) {
	return b.read(ctx, c, "what the claim check stands for")
}

// read is Read; what says of which payload an error is.
func (b *Bucket) read(ctx context.Context, c ClaimCheck, what string) ([]byte, error) {
	switch {
	case b == nil:
		return nil, Errorf(CodeUnavailable, "%s is in the bucket %s, and this function knows no bucket", what, c.Bucket)
	case c.Bucket != b.Name:
		return nil, Errorf(CodeInvalid, "%s is in the bucket %s; payloads are read from %s only", what, c.Bucket, b.Name)
	case !strings.HasPrefix(c.Key, PayloadPrefix):
		return nil, Errorf(CodeInvalid, "%s has the key %s; those of payloads begin with %s", what, c.Key, PayloadPrefix)
	}
	data, err := b.Store.Get(ctx, c.Key)
	if err != nil {
		return nil, Wrap(err, ErrorCode(err), "%s cannot be read", what)
	}
	if len(data) != c.Size {
		return nil, Errorf(CodeInvalid, "%s has %d bytes; its claim check is for %d", what, len(data), c.Size)
	}
	return data, nil
}

// Keep puts data into the bucket and returns its claim check: a message with body and marker, and nothing else. When it
// returns the data are durable. It fails with [CodeTooLarge] above [MaxPayloadSize] bytes, and with [CodeUnavailable] if
// there is no bucket or the data cannot be stored.
func (b *Bucket) Keep(ctx context.Context, data []byte) (Message, error) {
	if b == nil {
		return Message{}, Errorf(CodeUnavailable, "%d bytes are too many for a message, and this function knows no bucket", len(data))
	}
	if len(data) > MaxPayloadSize {
		return Message{}, Errorf(CodeTooLarge, "there are %d bytes for the bucket; at most %d are possible", len(data), MaxPayloadSize)
	}
	c := ClaimCheck{Bucket: b.Name, Key: PayloadPrefix + rand.Text(), Size: len(data)}
	body, err := c.body()
	if err != nil {
		return Message{}, err
	}
	if err := b.Store.Put(ctx, c.Key, data); err != nil {
		return Message{}, Wrap(err, CodeUnavailable, "%d bytes cannot be stored in the bucket %s", len(data), b.Name)
	}
	return Message{Body: body, Attributes: map[string]Attribute{AttributeExtendedSize: {"Number", strconv.Itoa(c.Size)}}}, nil
}

// Offload is [Encoder.Encode] for an event of any size: where the message would be too large, the payload goes into the
// bucket and the message becomes a claim check. When it returns the payload is durable; one whose message is not sent
// afterwards expires with the others. It fails with [CodeTooLarge] if there is no bucket, if the payload has more than
// [MaxPayloadSize] bytes or if the metadata alone are too large, and with [CodeUnavailable] if the payload cannot be
// stored.
func (enc Encoder) Offload(ctx context.Context, e Event) (Message, error) {
	_, claimed := e.claimCheck()
	if inline := claimed || enc.Bucket == nil; inline || len(e.Payload) < enc.limit() {
		m, err := enc.Encode(e)
		if inline || ErrorCode(err) != CodeTooLarge {
			return m, err
		}
	}
	payload := e.Payload
	body, err := text(payload)
	if err != nil {
		return Message{}, Errorf(CodeInvalid, "the payload of event %s %s", e.ID, err)
	}
	if len(body) > MaxPayloadSize {
		return Message{}, Errorf(CodeTooLarge, "the payload of event %s has %d bytes; at most %d are possible", e.ID, len(body), MaxPayloadSize)
	}
	// A key of its own for each try: what is there is never written again, whoever tries at the same time.
	c := ClaimCheck{Bucket: enc.Bucket.Name, Key: PayloadPrefix + rand.Text(), Size: len(body)}
	e.Payload, e.claim = nil, &claim{ClaimCheck: c}
	m, err := enc.Encode(e)
	if err != nil {
		return Message{}, err
	}
	data := []byte(payload)
	if len(body) != len(payload) { // something was escaped
		data = []byte(body)
	}
	if err := enc.Bucket.Store.Put(ctx, c.Key, data); err != nil {
		return Message{}, Wrap(err, CodeUnavailable, "the payload of event %s cannot be stored", e.ID)
	}
	return m, nil
}

// PayloadReader is a [Subscriber] that does not read the payload of every event. Where ReadsPayload says no, a claim
// check comes as an event without a payload; published as it is, it is the same claim check again, and nobody has
// fetched or stored anything.
type PayloadReader interface {
	Subscriber
	ReadsPayload(e Event) bool
}

// needs tells whether the payload of an event has to be fetched for a subscriber.
func needs(s Subscriber, e Event) bool {
	if _, ok := e.outside(); !ok {
		return false
	}
	reader, ok := s.(PayloadReader)
	return !ok || reader.ReadsPayload(e)
}
