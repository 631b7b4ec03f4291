package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// WireVersion is the version of the wire format that [Encode] writes. [Decode] also reads the one before.
const WireVersion = 1

// Names of the message attributes that carry an event.
const (
	AttributeTopic  = "x-events-topic"
	AttributeID     = "x-events-id"
	AttributeEvents = "x-events"

	// AttributeExtendedSize marks a message whose body is a claim check, and is the size of its payload (AWS extended
	// client libraries). AttributeLegacySize is what some of them write in its place; it is read and never written.
	AttributeExtendedSize = "ExtendedPayloadSize"
	AttributeLegacySize   = "SQSLargePayloadSize"
)

// Limits of a message. SQS and SNS refuse what exceeds those of AWS; the others keep a message that fits on
// one hop from not fitting on a later one.
const (
	// MaxMessageSize is the smallest limit on the path of an event, in bytes: an SNS topic takes 262,144 with
	// attributes (https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html).
	MaxMessageSize = 262_144
	// MaxSQSMessageSize is what an SQS queue takes at most, in bytes, with attributes
	// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
	MaxSQSMessageSize = 1_048_576
	// MaxPayloadSize is the largest payload, in bytes, wherever it is kept. It is what one invocation of Lambda carries,
	// and a webhook comes in one (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
	MaxPayloadSize = 6 << 20
	// MaxPromoted is how many metadata travel as attributes of their own. AWS allows 10 attributes; three
	// are ours and four are left to the claim check and to whoever moves a message to a dead-letter queue.
	MaxPromoted = 3
	// MaxTopicLength is how long a topic with its sub-topic may be, in bytes. A message is measured as if
	// its topic had this length, because a router makes it longer.
	MaxTopicLength = 200

	maxAttributes     = 10
	maxIDLength       = 512
	maxDeliveryLength = 128
	maxGroupLength    = 128
)

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// Message is what travels on SQS and SNS.
type Message struct {
	Body       string
	Attributes map[string]Attribute
	GroupID    string // MessageGroupId, a fair-queue tenant; never an order
}

// Attribute is a message attribute. Binary attributes are not part of the wire format.
type Attribute struct {
	DataType    string // "String" or "Number", with an optional custom label
	StringValue string
}

// Size is what AWS counts of the message, in bytes: the body and each attribute's name, type and value.
func (m Message) Size() int {
	n := len(m.Body)
	for name, a := range m.Attributes {
		n += len(name) + len(a.DataType) + len(a.StringValue)
	}
	return n
}

// measure is Size with the topic taken at its maximal length.
func (m Message) measure() int {
	return m.Size() + MaxTopicLength - len(m.Attributes[AttributeTopic].StringValue)
}

// Validate reports what SQS and SNS would refuse about the message on a hop that takes limit bytes: too many
// bytes or attributes, names, types, empty values and characters
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html). What
// [Encode] returns is always valid.
func (m Message) Validate(limit int) error {
	if n := m.Size(); n > limit {
		return Errorf(CodeTooLarge, "the message has %d bytes with its attributes; at most %d are possible", n, limit)
	}
	if m.Body == "" {
		return Errorf(CodeInvalid, "the message is empty")
	}
	if err := checkText(m.Body); err != nil {
		return Errorf(CodeInvalid, "the message body %s", err)
	}
	if len(m.Attributes) > maxAttributes {
		return Errorf(CodeInvalid, "the message has %d attributes; at most %d are possible", len(m.Attributes), maxAttributes)
	}
	for name, a := range m.Attributes {
		kind, _, _ := strings.Cut(a.DataType, ".")
		switch {
		case !validAttributeName(strings.ToLower(name)):
			return Errorf(CodeInvalid, "the attribute name %.100q is not valid", name)
		case kind != "String" && kind != "Number":
			return Errorf(CodeInvalid, "attribute %s has the type %.100q; it must be String or Number", name, a.DataType)
		case a.StringValue == "":
			return Errorf(CodeInvalid, "attribute %s is empty", name)
		case checkText(a.StringValue) != nil:
			return Errorf(CodeInvalid, "attribute %s %s", name, checkText(a.StringValue))
		}
	}
	if len(m.GroupID) > maxGroupLength || !printable(m.GroupID) {
		return Errorf(CodeInvalid, "the message group %.100q is not valid", m.GroupID)
	}
	return nil
}

// NewID returns the ID of the event that a delivery of a sender makes on a topic. A delivery id that is
// empty, long or not printable ASCII is replaced by its SHA-256, so the same delivery always has the same ID.
func NewID(topic, delivery string) string {
	if delivery == "" || len(delivery) > maxDeliveryLength || !printable(delivery) {
		sum := sha256.Sum256([]byte(delivery))
		delivery = hex.EncodeToString(sum[:])
	}
	return topic + ":" + delivery
}

// Group returns the message group of a repository: the first 32 hex digits of the SHA-256 of host and name.
// Both are compared without case.
func Group(host, repository string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(host + "/" + repository)))
	return hex.EncodeToString(sum[:16])
}

// topicGroup is the message group of events that belong to no repository.
func topicGroup(topic string) string {
	if len(topic) > maxGroupLength {
		return Group("", topic)
	}
	return topic
}

// ValidTopic tells whether s can name a topic or sub-topic: segments of letters, digits, "_", "-" and ":"
// joined by dots, at most [MaxTopicLength] bytes.
func ValidTopic(s string) bool {
	if len(s) > MaxTopicLength {
		return false
	}
	for segment := range strings.SplitSeq(s, ".") {
		if segment == "" {
			return false
		}
		for _, c := range []byte(segment) {
			if !isAlphanumeric(c) && c != '_' && c != '-' && c != ':' {
				return false
			}
		}
	}
	return true
}

// Encoder encodes events for a transport. The zero value is right for every path that leads over SNS.
type Encoder struct {
	// MaxSize is the largest message, in bytes as AWS counts them; 0 means [MaxMessageSize].
	MaxSize int
	// Bucket is where [Encoder.Offload] puts payloads that are too large.
	Bucket *Bucket
}

func (enc Encoder) limit() int {
	if enc.MaxSize == 0 {
		return MaxMessageSize
	}
	return enc.MaxSize
}

// Encode is [Encoder.Encode] of the zero Encoder.
func Encode(e Event) (Message, error) { return Encoder{}.Encode(e) }

// Encode returns the message that carries e. AWS accepts every message it returns. It fails with
// [CodeTooLarge] if the message would exceed the limit, and with [CodeInvalid] if e cannot be written: a bad
// topic or ID, a payload that is empty or not UTF-8 text. An event that came as a claim check, and whose payload is
// the same, becomes the same claim check.
func (enc Encoder) Encode(e Event) (Message, error) {
	if !ValidTopic(e.Topic) {
		return Message{}, Errorf(CodeInvalid, "topic %.100q is not valid: use letters, digits, '_', '-' and ':' in segments joined by dots, at most %d bytes", e.Topic, MaxTopicLength)
	}
	if e.ID == "" || len(e.ID) > maxIDLength || !printable(e.ID) {
		return Message{}, Errorf(CodeInvalid, "event id %.100q is not valid: it must be 1 to %d printable ASCII characters without spaces", e.ID, maxIDLength)
	}
	group := e.Group
	if group == "" {
		group = topicGroup(e.Topic)
	}
	if len(group) > maxGroupLength || !printable(group) {
		return Message{}, Errorf(CodeInvalid, "group %.100q is not valid: it must be at most %d printable ASCII characters without spaces", e.Group, maxGroupLength)
	}
	var body string
	var err error
	check, claimed := e.claimCheck()
	if claimed {
		body, err = check.body()
	} else {
		body, err = text(e.Payload)
	}
	if err != nil {
		return Message{}, Errorf(CodeInvalid, "the payload of event %s %s", e.ID, err)
	}

	m := Message{
		Body: body,
		Attributes: map[string]Attribute{
			AttributeTopic: {"String", e.Topic},
			AttributeID:    {"String", e.ID},
		},
		GroupID: group,
	}
	if claimed {
		m.Attributes[AttributeExtendedSize] = Attribute{"Number", strconv.Itoa(check.Size)}
	}
	e.Metadata = e.Metadata.lower()
	promoted := promotable(e)
	for _, name := range promoted {
		m.Attributes[name] = Attribute{"String", e.Metadata[name]}
	}
	packed, err := pack(e, promoted)
	if err != nil {
		return Message{}, err
	}
	m.Attributes[AttributeEvents] = Attribute{"String", packed}

	if n := m.measure(); n > enc.limit() {
		return Message{}, Errorf(CodeTooLarge, "event %s has %d bytes with its metadata; at most %d are possible", e.ID, n, enc.limit())
	}
	return m, nil
}

// Decode returns the event that m carries. It fails with [CodeInvalid] if m is not a message of Callboard, or
// of a version it does not know. The event of a claim check has no payload: a [Batch] fetches it for its subscriber.
func Decode(m Message) (Event, error) {
	e := Event{
		ID:      m.Attributes[AttributeID].StringValue,
		Topic:   m.Attributes[AttributeTopic].StringValue,
		Payload: jsontext.Value(m.Body),
		Group:   m.GroupID,
	}
	for _, name := range []string{AttributeID, AttributeTopic, AttributeEvents} {
		if m.Attributes[name].StringValue == "" {
			return Event{}, Errorf(CodeInvalid, "the message has no attribute %s: it was not sent by Callboard", name)
		}
	}
	if c, ok, err := m.ClaimCheck(); err != nil {
		return Event{}, err
	} else if ok {
		e.Payload, e.claim = nil, &claim{ClaimCheck: c}
	}

	var p packedEvent
	if err := json.Unmarshal([]byte(m.Attributes[AttributeEvents].StringValue), &p); err != nil {
		return Event{}, Wrap(err, CodeInvalid, "attribute %s of event %s is not valid", AttributeEvents, e.ID)
	}
	if p.Version > WireVersion || p.Version < max(1, WireVersion-1) {
		return Event{}, Errorf(CodeInvalid, "event %s has version %d of the wire format, which this version of Callboard does not read", e.ID, p.Version)
	}
	accepted, err := time.Parse(timeLayout, p.Time)
	if err != nil {
		return Event{}, Wrap(err, CodeInvalid, "the time of event %s is not valid", e.ID)
	}
	e.Time, e.TraceParent, e.Again = accepted.UTC(), p.TraceParent, p.Again

	e.Metadata = p.Metadata.lower()
	if e.Metadata == nil {
		e.Metadata = Metadata{}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		if !isOurs(name) {
			e.Metadata.Set(name, m.Attributes[name].StringValue)
			e.Promoted = append(e.Promoted, strings.ToLower(name))
		}
	}
	slices.Sort(e.Promoted)
	e.Promoted = slices.Compact(e.Promoted)
	e.Promoted = e.Promoted[:min(len(e.Promoted), MaxPromoted)]
	return e, nil
}

// packedEvent is the JSON object in the attribute x-events.
type packedEvent struct {
	Version     int      `json:"v"`
	Time        string   `json:"time"`
	TraceParent string   `json:"traceparent,omitempty"`
	Again       string   `json:"again,omitempty"`
	Metadata    Metadata `json:"metadata,omitempty"`
}

func pack(e Event, promoted []string) (string, error) {
	if y := e.Time.UTC().Year(); y < 1 || y > 9999 {
		return "", Errorf(CodeInvalid, "event %s has a time outside the years 1 to 9999", e.ID)
	}
	p := packedEvent{Version: WireVersion, Time: e.Time.UTC().Format(timeLayout), TraceParent: e.TraceParent, Again: e.Again}
	if len(e.Metadata) > len(promoted) {
		p.Metadata = make(Metadata, len(e.Metadata))
		for name, value := range e.Metadata {
			if !slices.Contains(promoted, name) {
				p.Metadata[name] = value
			}
		}
	}
	data, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		return "", Wrap(err, CodeInvalid, "the metadata of event %s is not valid UTF-8", e.ID)
	}
	return escapeNoncharacters(string(data)), nil
}

// promotable returns those of e.Promoted that can be an attribute, in lower case and sorted; what cannot stays in x-events.
// The metadata have lower-case names.
func promotable(e Event) []string {
	names := make([]string, 0, MaxPromoted)
	for _, name := range e.Promoted {
		name = lowerName(name)
		value, ok := e.Metadata[name]
		if ok && value != "" && len(names) < MaxPromoted && !slices.Contains(names, name) &&
			!isOurs(name) && validAttributeName(name) && checkText(value) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// SetAgain returns the value of the attribute x-events with another [Event.Again], and everything else in it as it
// is. It fails with [CodeInvalid] if value is not one.
func SetAgain(value, again string) (string, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal([]byte(value), &members); err != nil || members["v"] == nil {
		return "", Wrap(err, CodeInvalid, "attribute %s is not valid", AttributeEvents)
	}
	text, err := json.Marshal(again)
	if err != nil {
		return "", Wrap(err, CodeInvalid, "%q is not text", again)
	}
	members["again"] = text
	data, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return "", Wrap(err, CodeInvalid, "attribute %s is not valid", AttributeEvents)
	}
	return escapeNoncharacters(string(data)), nil
}

func isOurs(name string) bool {
	return strings.HasPrefix(strings.ToLower(name), AttributeEvents) || name == AttributeExtendedSize || name == AttributeLegacySize
}

// validAttributeName follows
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
func validAttributeName(s string) bool {
	if s == "" || len(s) > 256 || s != strings.ToLower(s) || s[0] == '.' || s[len(s)-1] == '.' ||
		strings.Contains(s, "..") || strings.HasPrefix(s, "aws.") || strings.HasPrefix(s, "amazon.") {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// text returns a JSON document as a message body: unchanged but for two code points that SQS refuses and
// that JSON can escape.
func text(payload []byte) (string, error) {
	if len(payload) == 0 {
		return "", fmt.Errorf("is empty")
	}
	s := escapeNoncharacters(string(payload))
	if err := checkText(s); err != nil {
		return "", err
	}
	return s, nil
}

// checkText reports what SQS and SNS would refuse in a body or in the value of an attribute: they take #x9,
// #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD and #x10000 to #x10FFFF
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html).
func checkText(s string) error {
	ascii := true
	for i := 0; i < len(s); {
		// Eight characters at once: most of a payload is ASCII without control characters.
		if i+8 <= len(s) {
			word := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
				uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
			if (word|(word-spaces))&highBits == 0 {
				i += 8
				continue
			}
		}
		for end := min(i+8, len(s)); i < end; i++ {
			switch c := s[i]; {
			case c >= utf8.RuneSelf:
				ascii = false
			case c < ' ' && c != '\t' && c != '\n' && c != '\r':
				return fmt.Errorf("holds the control character 0x%02x", c)
			}
		}
	}
	if ascii {
		return nil
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("is not valid UTF-8")
	}
	if strings.Contains(s, "\xef\xbf") && (strings.Contains(s, "\ufffe") || strings.Contains(s, "\uffff")) {
		return fmt.Errorf("holds the code point U+FFFE or U+FFFF")
	}
	return nil
}

// Eight bytes: a space each, and the highest bit of each.
const (
	spaces   = 0x2020202020202020
	highBits = 0x8080808080808080
)

var noncharacters = strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`)

// escapeNoncharacters escapes U+FFFE and U+FFFF in a JSON text, where they only occur inside strings.
func escapeNoncharacters(s string) string {
	if !strings.Contains(s, "\xef\xbf") {
		return s
	}
	return noncharacters.Replace(s)
}

// Equal tells whether two events are the same in everything a subscriber can see.
func (e Event) Equal(o Event) bool {
	mine, _ := e.outside()
	theirs, _ := o.outside()
	return mine == theirs && e.ID == o.ID && e.Topic == o.Topic && bytes.Equal(e.Payload, o.Payload) &&
		e.Time.Equal(o.Time) && e.TraceParent == o.TraceParent && e.Group == o.Group && e.Again == o.Again &&
		slices.EqualFunc(e.Promoted, o.Promoted, func(a, b string) bool { return lowerName(a) == lowerName(b) }) &&
		maps.Equal(e.Metadata.lower(), o.Metadata.lower())
}
