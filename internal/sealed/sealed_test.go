package sealed_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/pkg/events"
)

// place is a bucket and a dead-letter queue.
type place struct {
	blobs  map[string][]byte
	down   error // what the bucket answers
	parked []events.Message
}

func newPlace() *place { return &place{blobs: map[string][]byte{}} }

func (p *place) bucket() *events.Bucket { return &events.Bucket{Name: "our-bucket", Store: p} }

func (p *place) Put(_ context.Context, key string, data []byte) error {
	if p.down == nil {
		p.blobs[key] = data
	}
	return p.down
}

func (p *place) Get(_ context.Context, key string) ([]byte, error) {
	if data, ok := p.blobs[key]; ok && p.down == nil {
		return data, nil
	}
	return nil, events.Errorf(events.CodeNotFound, "there is no blob")
}

func (p *place) ChangeVisibility(context.Context, events.SQSMessage, time.Duration) error { return nil }

func (p *place) Park(_ context.Context, m events.Message) error {
	if err := m.Validate(events.MaxSQSMessageSize); err != nil {
		return err
	}
	p.parked = append(p.parked, m)
	return nil
}

// park hands a message of a queue of others to a function that does not understand it, and returns the dead letter.
func (p *place) park(tb rapid.TB, bucket *events.Bucket, m events.SQSMessage) (letter events.SQSMessage, parked bool) {
	tb.Helper()
	p.parked = nil
	b := &events.Batch{
		Function: "sqs-publisher", Queue: sealed.Queue{Queue: p, Bucket: bucket}, Observer: silent{}, Subscriber: events.SubscriberFunc(nil),
		Foreign: func(context.Context, events.SQSMessage) (events.Event, bool, error) {
			return events.Event{}, true, events.Park(errors.New(strings.Repeat("😀", 1000))) // as long as a reason gets
		},
	}
	again := b.Handle(context.Background(), events.SQSEvent{Records: []events.SQSMessage{sealed.Seal("builds", m)}}).BatchItemFailures
	if len(again)+len(p.parked) != 1 {
		tb.Fatalf("%d messages come again, %d are parked", len(again), len(p.parked))
	}
	if len(p.parked) == 0 {
		return events.SQSMessage{}, false
	}
	return p.parked[0].SQS("letter", "r", 1), true
}

type silent struct{}

func (silent) Observe(context.Context, events.Hop) {}

func message(body string, attributes map[string]events.SQSAttribute) events.SQSMessage {
	return events.SQSMessage{
		MessageID: "m-1", ReceiptHandle: "r-1", Body: body, MessageAttributes: attributes,
		EventSourceARN: "arn:aws:sqs:eu-west-1:111122223333:" + strings.Repeat("q", 80),
		Attributes:     map[string]string{"SentTimestamp": "1793610900120", "MessageGroupId": "team"},
	}
}

// size is what SQS counts of a message.
func size(m events.SQSMessage) int {
	n := len(m.Body)
	for name, a := range m.MessageAttributes {
		n += len(name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return n
}

// sent is what of a message is its sender's.
type sent struct {
	Body, Group string
	Attributes  map[string]events.SQSAttribute
}

func sentOf(m events.SQSMessage) sent {
	return sent{m.Body, m.Attributes["MessageGroupId"], m.MessageAttributes}
}

// holds fails the test unless a letter holds a message to the byte.
func (p *place) holds(tb rapid.TB, letter, m events.SQSMessage) {
	tb.Helper()
	original, err := sealed.Original(context.Background(), p.bucket(), letter)
	if err != nil {
		tb.Fatal(err)
	}
	// Not by cmp: a difference of a megabyte helps nobody.
	got, want := sentOf(original), sentOf(m)
	if got.Body != want.Body || got.Group != want.Group || !maps.EqualFunc(got.Attributes, want.Attributes, func(a, b events.SQSAttribute) bool {
		return a.DataType == b.DataType && a.StringValue == b.StringValue && string(a.BinaryValue) == string(b.BinaryValue)
	}) {
		tb.Fatalf("the letter holds another message: a body of %d bytes for %d, %d attributes for %d", len(got.Body), len(want.Body), len(got.Attributes), len(want.Attributes))
	}
}

// fill makes a text of n bytes of a unit, and of dots where that does not go.
func fill(unit string, n int) string {
	s := strings.Repeat(unit, n/len(unit))
	return s + strings.Repeat(".", n-len(s))
}

// Whatever SQS takes can be parked, and comes out as it was sent, with all that its own sender said.
func TestPark_AnySize(t *testing.T) {
	t.Parallel()
	var inQueue, inBucket int
	units := []string{"x", `"`, `\`, "\n", "é", "😀"}
	rapid.Check(t, func(t *rapid.T) {
		p := newPlace()
		left := rapid.OneOf(rapid.Just(events.MaxSQSMessageSize), rapid.IntRange(1, events.MaxSQSMessageSize), rapid.IntRange(events.MaxSQSMessageSize-4096, events.MaxSQSMessageSize)).Draw(t, "size")
		attributes := map[string]events.SQSAttribute{}
		for i := range rapid.IntRange(0, 10).Draw(t, "attributes") {
			name := fmt.Sprint("attribute-", i)
			kind := rapid.SampledFrom([]string{"String", "String.json", "Binary", "Binary.raw"}).Draw(t, "type")
			room := left - len(name) - len(kind) - 1
			if room < 1 {
				break
			}
			n := rapid.OneOf(rapid.IntRange(1, min(room, 100)), rapid.IntRange(1, room), rapid.Just(room)).Draw(t, "length")
			a := events.SQSAttribute{DataType: kind}
			if strings.HasPrefix(kind, "Binary") {
				a.BinaryValue = []byte(fill("\xff\x00", n))
			} else {
				a.StringValue = fill(rapid.SampledFrom(units).Draw(t, "unit"), n)
			}
			attributes[name] = a
			left -= len(name) + len(kind) + n
		}
		m := message(fill(rapid.SampledFrom(units).Draw(t, "unit"), left), attributes)
		if size(m) > events.MaxSQSMessageSize {
			t.Fatalf("the test made a message of %d bytes", size(m))
		}
		letter, parked := p.park(t, p.bucket(), m)
		if !parked {
			t.Fatalf("a message of %d bytes is not parked", size(m))
		}
		if sealed.Folded(letter) {
			inBucket++
		} else {
			inQueue++
		}
		if sealed.Folded(letter) != (len(p.blobs) == 1) {
			t.Fatalf("folded is %v, and %d objects are stored", sealed.Folded(letter), len(p.blobs))
		}
		p.holds(t, letter, m)
	})
	if inQueue == 0 || inBucket == 0 {
		t.Errorf("%d letters were whole, %d in the bucket: the test shows nothing of one of them", inQueue, inBucket)
	}
}

// The largest messages, and those at the limit where the bucket is needed, in each shape.
func TestPark_Largest(t *testing.T) {
	t.Parallel()
	text := func(unit string, n int) map[string]events.SQSAttribute {
		return map[string]events.SQSAttribute{"a": {DataType: "String", StringValue: fill(unit, n)}}
	}
	const beside = len("aString") // name and type of the attribute
	for name, made := range map[string]func(n int) events.SQSMessage{
		"a body":                 func(n int) events.SQSMessage { return message(fill("x", n), nil) },
		"a body of quotes":       func(n int) events.SQSMessage { return message(fill(`"`, n), nil) },
		"an attribute":           func(n int) events.SQSMessage { return message("-", text("x", n-1-beside)) },
		"an attribute of quotes": func(n int) events.SQSMessage { return message("-", text(`"`, n-1-beside)) },
		"half body, half quotes": func(n int) events.SQSMessage { return message(fill("x", n-n/2), text(`"`, n/2-beside)) },
		"an attribute that is raw": func(n int) events.SQSMessage {
			return message("-", map[string]events.SQSAttribute{"a": {DataType: "Binary", BinaryValue: []byte(fill("\xff", n-1-beside))}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folds := func(n int) bool {
				p := newPlace()
				m := made(n)
				if size(m) != n {
					t.Fatalf("the test made a message of %d bytes for %d", size(m), n)
				}
				letter, parked := p.park(t, p.bucket(), m)
				if !parked {
					t.Fatalf("a message of %d bytes is not parked", n)
				}
				p.holds(t, letter, m)
				return sealed.Folded(letter)
			}
			low, high := 100, events.MaxSQSMessageSize
			if folds(low) || !folds(high) {
				t.Fatal("a small message is in the bucket, or the largest is not")
			}
			for high-low > 1 {
				if mid := (low + high) / 2; folds(mid) {
					high = mid
				} else {
					low = mid
				}
			}
			if low < events.MaxSQSMessageSize/3 {
				t.Errorf("messages above %d bytes are in the bucket, where most would fit", low)
			}
		})
	}
}

// Without the bucket a message that is too large stays where it is: it comes again and is not lost.
func TestPark_NoBucket(t *testing.T) {
	t.Parallel()
	large := message(fill("x", events.MaxSQSMessageSize), nil)
	p := newPlace()
	p.down = errors.New("no network")
	for name, bucket := range map[string]*events.Bucket{"none": nil, "down": p.bucket()} {
		if _, parked := p.park(t, bucket, large); parked {
			t.Errorf("%s: the message is parked", name)
		}
		if _, parked := p.park(t, bucket, message("small", nil)); !parked {
			t.Errorf("%s: a message that needs no bucket is not parked", name)
		}
	}
	p.down = nil
	letter, _ := p.park(t, p.bucket(), large)
	for name, test := range map[string]struct {
		bucket *events.Bucket
		code   events.Code
	}{
		"no bucket":      {nil, events.CodeUnavailable},
		"another bucket": {&events.Bucket{Name: "other", Store: p}, events.CodeInvalid},
		"object gone":    {newPlace().bucket(), events.CodeNotFound},
	} {
		c, _, err := sealed.Open(t.Context(), test.bucket, letter)
		if events.ErrorCode(err) != test.code || c.ID != "m-1" {
			t.Errorf("%s: %+v, %v; want the id and the code %s", name, c, err, test.code)
		}
	}
}

// Who looks at a letter sees the message sealed, and why it was parked, wherever it is.
func TestUnfold(t *testing.T) {
	t.Parallel()
	for _, n := range []int{50, events.MaxSQSMessageSize} {
		p := newPlace()
		m := message(fill(`"`, n-len("aString.json")-1), map[string]events.SQSAttribute{"a": {DataType: "String.json", StringValue: "1"}})
		letter, _ := p.park(t, p.bucket(), m)
		whole, err := sealed.Unfold(t.Context(), p.bucket(), letter)
		if err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(sealed.Seal("builds", m).MessageAttributes)
		for name, a := range letter.MessageAttributes {
			if strings.HasPrefix(name, events.ParkedPrefix) {
				want[name] = a
			}
		}
		if diff := cmp.Diff(want, whole.MessageAttributes); diff != "" || whole.Body != m.Body {
			t.Errorf("%d bytes: a body of %d for %d, attributes (-want +got):\n%s", n, len(whole.Body), len(m.Body), diff)
		}
	}
}
