// Package deadletter lets a person look at dead letters, send them again to the queue that they came from, and delete
// them. A letter is a message of a dead-letter queue: one that a function parked, that failed too often, or that SNS
// could not deliver.
package deadletter

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// System attributes of a message that say where it has been
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html).
const (
	// SystemSent is when the message was sent, in milliseconds since 1970.
	SystemSent = "SentTimestamp"
	// SystemSource is the ARN of the queue where the message was received too often.
	SystemSource = "DeadLetterQueueSourceArn"
)

// Attributes that SNS adds to a message that it puts into the dead-letter queue of a subscription.
const (
	snsRequest = "RequestID"
	snsCode    = "ErrorCode"
	snsMessage = "ErrorMessage"
)

var snsAttributes = []string{snsRequest, snsCode, snsMessage}

// What stands for the reason and the function where nobody wrote them.
const (
	reasonTooOften    = "failed too often"
	reasonUndelivered = "could not be delivered"
	functionSNS       = "SNS"
)

// Letter is what a person is shown of a dead letter.
type Letter struct {
	Queue string `json:"queue"` // without the prefix, or an ARN
	ID    string `json:"id"`    // of the message
	Event string `json:"event,omitempty"`
	Topic string `json:"topic,omitempty"`
	// Reason is what the function said that parked it, or the error of SNS.
	Reason   string `json:"reason"`
	Function string `json:"function,omitempty"`
	// Time is when it was parked, else when it was sent to the queue that it came from.
	Time     time.Time `json:"time,omitzero"`
	Receives int       `json:"receives"`
	Group    string    `json:"group,omitempty"`
	Bytes    int       `json:"bytes"` // of the body
	// To are the queues that a replay sends it to; without any Unknown says why.
	To      []string `json:"to,omitempty"`
	Unknown string   `json:"unknown,omitempty"`
	// Attributes and Body are there when all of a letter was asked for.
	Attributes map[string]events.SQSAttribute `json:"attributes,omitempty"`
	Body       string                         `json:"body,omitempty"`
	// Error says what went wrong with a letter that should have been replayed or dropped, or could not be shown whole.
	Error string `json:"error,omitempty"`
}

// letter describes a message of a dead-letter queue.
func letter(t *topology.Topology, queue string, m events.SQSMessage) Letter {
	text := func(name string) string { return m.MessageAttributes[name].StringValue }
	l := Letter{
		Queue: queue, ID: m.MessageID, Event: text(events.AttributeID), Topic: text(events.AttributeTopic),
		Reason: text(events.AttributeParkedReason), Function: text(events.AttributeParkedFunction),
		Receives: m.Receives(), Group: m.Attributes["MessageGroupId"], Bytes: len(m.Body),
	}
	if sent, err := strconv.ParseInt(m.Attributes[SystemSent], 10, 64); err == nil {
		l.Time = time.UnixMilli(sent).UTC()
	}
	if parked, err := time.Parse(time.RFC3339, text(events.AttributeParkedTime)); err == nil {
		l.Time = parked.UTC()
	}
	switch {
	case l.Reason != "":
	case bySNS(t, queue, m):
		l.Reason, l.Function = cmp.Or(strings.Trim(text(snsCode)+": "+text(snsMessage), ": "), reasonUndelivered), functionSNS
	default:
		l.Reason, l.Function = reasonTooOften, reader(t, queue)
	}
	to, err := targets(t, queue, m)
	l.To = to
	if err != nil {
		l.Unknown = events.ErrorMessage(err)
	}
	return l
}

// is tells whether a letter is one that was asked for.
func (s Selection) is(l Letter) bool {
	return (len(s.IDs) == 0 || slices.Contains(s.IDs, l.ID) || slices.Contains(s.IDs, l.Event)) && strings.Contains(l.Reason, s.Reason)
}

// Queues returns the names of the dead-letter queues of a topology, in its order.
func Queues(t *topology.Topology) []string {
	dead := map[string]bool{}
	for _, q := range t.Queues {
		dead[q.DeadLetter] = true
	}
	for _, f := range t.Functions {
		dead[f.DeadLetter] = true
	}
	for _, s := range t.Subscriptions {
		dead[s.DeadLetter] = true
	}
	var names []string
	for _, q := range t.Queues {
		if dead[q.Name] {
			names = append(names, q.Name)
		}
	}
	return names
}

// sources returns the queues whose messages go to a dead-letter queue.
func sources(t *topology.Topology, deadLetters string) []topology.Queue {
	return slices.DeleteFunc(slices.Clone(t.Queues), func(q topology.Queue) bool { return q.DeadLetter != deadLetters })
}

// reader returns the function that a dead-letter queue belongs to, or "".
func reader(t *topology.Topology, deadLetters string) string {
	for _, q := range sources(t, deadLetters) {
		return q.Function
	}
	return ""
}

// targets returns the queues that a letter has to be sent to.
//
// SQS says from which queue it moved a message; who parks one says it too, where there is room for another
// attribute. Otherwise the topic tells: a function reads one queue for each topic, or one for all. SNS does not say
// which of the topic's queues it could not reach, so what it has written goes to all of them: subscribers take an
// event that they had already.
func targets(t *topology.Topology, deadLetters string, m events.SQSMessage) ([]string, error) {
	topic := m.MessageAttributes[events.AttributeTopic].StringValue
	from := sources(t, deadLetters)
	if len(from) == 0 {
		_, claimCheck := m.MessageAttributes[events.AttributeExtendedSize]
		return subscribed(t, deadLetters, topic, claimCheck)
	}
	for _, arn := range []string{m.Attributes[SystemSource], m.MessageAttributes[events.AttributeParkedQueue].StringValue} {
		name := arn[strings.LastIndexByte(arn, ':')+1:]
		for _, q := range from {
			if name == q.AWSName || name == q.Name {
				return []string{q.Name}, nil
			}
		}
	}
	if len(from) == 1 {
		return []string{from[0].Name}, nil
	}
	for _, s := range t.Subscriptions {
		if s.Topic == topic && slices.ContainsFunc(from, func(q topology.Queue) bool { return q.Name == s.Queue }) {
			return []string{s.Queue}, nil
		}
	}
	return nil, events.Errorf(events.CodeNotFound, "it does not say which queue it came from; say it with --to")
}

// subscribed returns the queues that have the dead-letter queue for what cannot be delivered of a topic.
// Those that get no claim checks are not among them for one.
func subscribed(t *topology.Topology, deadLetters, topic string, claimCheck bool) (names []string, err error) {
	for _, s := range t.Subscriptions {
		if s.DeadLetter == deadLetters && s.Topic == topic && (!claimCheck || !s.WithoutClaimChecks) {
			names = append(names, s.Queue)
		}
	}
	switch {
	case topic == "":
		return nil, events.Errorf(events.CodeNotFound, "it does not say its topic; say with --to which queue should have it")
	case len(names) == 0:
		return nil, events.Errorf(events.CodeNotFound, "no queue subscribes to the topic %s any more; say with --to which one should have it, or drop it", topic)
	}
	return names, nil
}

// bySNS tells whether SNS has put a message into a dead-letter queue: it did if the queue is that of subscriptions of ours.
// Of a queue that the topology does not know, what SNS adds tells it.
func bySNS(t *topology.Topology, queue string, m events.SQSMessage) bool {
	if strings.HasPrefix(queue, "arn:") {
		return !slices.ContainsFunc(snsAttributes, func(name string) bool { return m.MessageAttributes[name].StringValue == "" })
	}
	return slices.ContainsFunc(t.Subscriptions, func(s topology.Subscription) bool { return s.DeadLetter == queue })
}

// restored returns the message as it was before it became a dead letter, with another [events.Event.Again] if that
// is not empty. The body stays as it is, byte for byte.
func restored(m events.SQSMessage, fromSNS bool, again string) (events.SQSMessage, error) {
	attributes := maps.Clone(m.MessageAttributes)
	maps.DeleteFunc(attributes, func(name string, _ events.SQSAttribute) bool {
		return strings.HasPrefix(name, events.ParkedPrefix) || fromSNS && slices.Contains(snsAttributes, name)
	})
	m.MessageAttributes = attributes
	if again == "" {
		return m, nil
	}
	packed := attributes[events.AttributeEvents]
	value, err := events.SetAgain(packed.StringValue, again)
	if err != nil {
		return m, events.Wrap(err, events.CodeInvalid, "it is no event of Callboard, so nobody can be done with it; replay it without --again")
	}
	attributes[events.AttributeEvents] = events.SQSAttribute{DataType: cmp.Or(packed.DataType, "String"), StringValue: value}
	return m, nil
}
