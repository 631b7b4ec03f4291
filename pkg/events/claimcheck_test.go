package events_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/memory"
)

// store is a blob store that counts what is asked of it.
type store struct {
	blobs      map[string][]byte
	gets, puts int
	getErr     error
	putErr     error
}

func (s *store) Put(_ context.Context, key string, data []byte) error {
	s.puts++
	if s.putErr != nil {
		return s.putErr
	}
	if s.blobs == nil {
		s.blobs = map[string][]byte{}
	}
	s.blobs[key] = bytes.Clone(data)
	return nil
}

func (s *store) Get(_ context.Context, key string) ([]byte, error) {
	s.gets++
	if s.getErr != nil {
		return nil, s.getErr
	}
	data, ok := s.blobs[key]
	if !ok {
		return nil, events.Errorf(events.CodeNotFound, "there is no blob %s", key)
	}
	return bytes.Clone(data), nil
}

func bucketOf(s *store) *events.Bucket { return &events.Bucket{Name: "our-bucket", Store: s} }

// largeEvent is an event whose payload has n bytes.
func largeEvent(n int) events.Event {
	e := validEvent()
	e.Payload = []byte(`"` + strings.Repeat("x", n-2) + `"`)
	return e
}

// offload returns the message of an event and the store that has its payload.
func offload(tb testing.TB, e events.Event) (events.Message, *store) {
	tb.Helper()
	s := &store{}
	m, err := events.Encoder{Bucket: bucketOf(s)}.Offload(tb.Context(), e)
	if err != nil {
		tb.Fatal(err)
	}
	if len(s.blobs) != 1 {
		tb.Fatalf("%d payloads are stored, want 1", len(s.blobs))
	}
	return m, s
}

// The message is what the extended client libraries of AWS write.
func TestOffload_Format(t *testing.T) {
	t.Parallel()
	e := largeEvent(300_000)
	e.Metadata = events.Metadata{"a": "1", "b": "2", "c": "3", "d": "4"}
	e.Promoted = []string{"a", "b", "c", "d"}
	m, s := offload(t, e)
	key := slices.Collect(maps.Keys(s.blobs))[0]
	if want := `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"our-bucket","s3Key":"` + key + `"}]`; m.Body != want {
		t.Errorf("the body is %s, want %s", m.Body, want)
	}
	if got, want := m.Attributes["ExtendedPayloadSize"], (events.Attribute{DataType: "Number", StringValue: "300000"}); got != want {
		t.Errorf("the marker is %+v, want %+v", got, want)
	}
	if !strings.HasPrefix(key, "events/") || !bytes.Equal(s.blobs[key], e.Payload) {
		t.Errorf("%s has %d bytes, want the payload below events/", key, len(s.blobs[key]))
	}
	if len(m.Attributes) != 7 {
		t.Errorf("%d attributes, want 7", len(m.Attributes))
	}
	again, other := offload(t, e)
	if again.Body == m.Body {
		t.Error("two tries write the same object")
	}
	if _, same := other.blobs[key]; same {
		t.Error("two tries write the same object")
	}
}

// What fits is not offloaded; one byte more is. What fits nowhere is refused, and nothing is stored.
func TestOffload_Limits(t *testing.T) {
	t.Parallel()
	inline := 0
	for n := events.MaxMessageSize; inline == 0; n-- {
		if _, err := events.Encode(largeEvent(n)); err == nil {
			inline = n
		}
	}
	manyBytes := largeEvent(10)
	manyBytes.Metadata = events.Metadata{"x": strings.Repeat("x", events.MaxMessageSize)}
	notText := largeEvent(events.MaxMessageSize)
	notText.Payload[7] = 0
	grows := largeEvent(events.MaxPayloadSize - 1000) // U+FFFF is written as an escape, which is twice as long
	grows.Payload = append(append(grows.Payload[:len(grows.Payload)-1:len(grows.Payload)-1], strings.Repeat("\uffff", 300)...), '"')
	for name, test := range map[string]struct {
		e    events.Event
		max  int
		want events.Code
		puts int
	}{
		"largest message":     {largeEvent(inline), 0, "", 0},
		"one byte more":       {largeEvent(inline + 1), 0, "", 1},
		"higher limit":        {largeEvent(inline + 1), events.MaxSQSMessageSize, "", 0},
		"lower limit":         {largeEvent(2000), 1500, "", 1},
		"largest payload":     {largeEvent(events.MaxPayloadSize), 0, "", 1},
		"one byte too many":   {largeEvent(events.MaxPayloadSize + 1), 0, events.CodeTooLarge, 0},
		"too many as escapes": {grows, 0, events.CodeTooLarge, 0},
		"metadata alone":      {manyBytes, 0, events.CodeTooLarge, 0},
		"not text":            {notText, 0, events.CodeInvalid, 0},
		"no id":               {events.Event{Topic: "t", Payload: largeEvent(300_000).Payload}, 0, events.CodeInvalid, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &store{}
			m, err := events.Encoder{MaxSize: test.max, Bucket: bucketOf(s)}.Offload(t.Context(), test.e)
			if events.ErrorCode(err) != test.want || s.puts != test.puts {
				t.Fatalf("%v after %d puts, want code %q after %d", err, s.puts, test.want, test.puts)
			}
			if err == nil {
				if err := m.Validate(max(test.max, events.MaxMessageSize)); err != nil {
					t.Errorf("AWS would refuse the message: %v", err)
				}
			}
		})
	}
}

func TestOffload_Fails(t *testing.T) {
	t.Parallel()
	e := largeEvent(300_000)
	if _, err := (events.Encoder{}).Offload(t.Context(), e); events.ErrorCode(err) != events.CodeTooLarge {
		t.Errorf("without a bucket: %v, want code %s", err, events.CodeTooLarge)
	}
	s := &store{putErr: events.Errorf(events.CodeInvalid, "a code of the store's own")}
	if _, err := (events.Encoder{Bucket: bucketOf(s)}).Offload(t.Context(), e); events.ErrorCode(err) != events.CodeUnavailable {
		t.Errorf("the bucket is not there: %v, want code %s", err, events.CodeUnavailable)
	}
}

// received hands a message to a subscriber as a queue does, and returns the event that it got.
func received(tb testing.TB, m events.Message, b *events.Bucket) (e events.Event, outcome events.Outcome, q *fakeQueue) {
	tb.Helper()
	q, h := &fakeQueue{}, &hops{}
	batch := &events.Batch{Function: "f", Queue: q, Observer: h, Bucket: b, Subscriber: events.SubscriberFunc(func(_ context.Context, got events.Event) error {
		e = got
		return nil
	})}
	batch.Handle(tb.Context(), events.SQSEvent{Records: []events.SQSMessage{m.SQS("m", "r", 1)}})
	return e, h.list[0].Outcome, q
}

// Whether an event travels in a message or in the bucket makes no difference to its subscriber, nor to who gets it from there.
func TestOffload_IsNotSeen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		e := anyEvent(rt)
		inline, err := events.Encode(e)
		if err != nil {
			rt.Fatal(err)
		}
		s := &store{}
		// What is left beside the payload fits into the limit, and the payload does not.
		enc := events.Encoder{Bucket: bucketOf(s), MaxSize: inline.Size() - len(inline.Body) + events.MaxTopicLength + 200}
		e.Payload = append(e.Payload, strings.Repeat(" ", enc.MaxSize)...)
		if inline, err = (events.Encoder{MaxSize: events.MaxSQSMessageSize}).Encode(e); err != nil {
			rt.Fatal(err)
		}
		claim, err := enc.Offload(t.Context(), e)
		if err != nil {
			rt.Fatal(err)
		}
		if s.puts != 1 || len(claim.Body) > 200 {
			rt.Fatalf("%d payloads are stored and the body has %d bytes: nothing was offloaded", s.puts, len(claim.Body))
		}
		want, _, _ := received(t, inline, nil)
		got, outcome, _ := received(t, claim, bucketOf(s))
		if diff := cmp.Diff(want, got); diff != "" || outcome != events.OutcomeOK {
			rt.Fatalf("%s (-inline +claim check):\n%s", outcome, diff)
		}
		again, err := enc.Offload(t.Context(), got)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(claim, again); diff != "" || s.puts != 1 {
			rt.Fatalf("passed on after %d puts (-first +second):\n%s", s.puts, diff)
		}
	})
}

// A subscriber that changes the payload publishes what it has changed, whether it makes a new one or writes into the old.
func TestClaimCheck_ChangedPayload(t *testing.T) {
	t.Parallel()
	m, s := offload(t, largeEvent(300_000))
	for name, change := range map[string]func(e *events.Event){
		"new":      func(e *events.Event) { e.Payload = []byte(`{"small":1}`) },
		"in place": func(e *events.Event) { e.Payload[100] = 'y' },
		"shorter":  func(e *events.Event) { e.Payload = append(e.Payload[:10:10], '"') },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _, _ := received(t, m, bucketOf(&store{blobs: s.blobs}))
			change(&e)
			got, err := events.Encoder{MaxSize: events.MaxSQSMessageSize}.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if _, claimed, _ := got.ClaimCheck(); claimed || got.Body != string(e.Payload) {
				t.Errorf("the message is %.200s, want the payload that was changed", got.Body)
			}
		})
	}
}

// Who does not read payloads fetches none, and publishes the claim check as it came.
func TestRouter_PassesClaimChecks(t *testing.T) {
	t.Parallel()
	m, s := offload(t, largeEvent(300_000))
	for _, test := range []struct {
		reads func(events.Event) bool
		gets  int
	}{
		{func(events.Event) bool { return false }, 0},
		{func(events.Event) bool { return true }, 3},
		{func(e events.Event) bool { return e.ID == "github:1" }, 3},
		{nil, 3},
	} {
		own := &store{blobs: s.blobs}
		var published []events.Event
		r := &events.Router{
			Publisher: publisherFunc(func(es []events.Event) error { published = append(published, es...); return nil }),
			Route: func(e events.Event) (string, error) {
				if (len(e.Payload) > 0) != (test.gets > 0) {
					t.Errorf("the router gets %d bytes of payload after %d gets", len(e.Payload), own.gets)
				}
				return "github.push", nil
			},
			Reads: test.reads,
		}
		var batch events.SQSEvent
		for i := range 3 {
			batch.Records = append(batch.Records, m.SQS(fmt.Sprint("m", i), "r", 1))
		}
		b := &events.Batch{Subscriber: r, Queue: &fakeQueue{}, Observer: &hops{}, Bucket: bucketOf(own)}
		if failed := failures(b.Handle(t.Context(), batch)); failed != "" {
			t.Errorf("%s failed", failed)
		}
		if own.gets != test.gets || own.puts != 0 || len(published) != 3 {
			t.Errorf("%d gets, %d puts and %d events, want %d, 0 and 3", own.gets, own.puts, len(published), test.gets)
		}
		for _, e := range published {
			got, err := events.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			want := m
			want.Attributes = maps.Clone(m.Attributes)
			want.Attributes[events.AttributeTopic] = events.Attribute{DataType: "String", StringValue: "github.push"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the message (-received +published):\n%s", diff)
			}
		}
	}
}

// Once does not hide that its subscriber does without payloads.
func TestOnce_PassesClaimChecks(t *testing.T) {
	t.Parallel()
	m, s := offload(t, largeEvent(300_000))
	for reads, gets := range map[bool]int{false: 0, true: 1} {
		own := &store{blobs: s.blobs}
		var published []events.Event
		r := &events.Router{
			Publisher: publisherFunc(func(es []events.Event) error { published = append(published, es...); return nil }),
			Route:     func(events.Event) (string, error) { return "github.push", nil },
			Reads:     func(events.Event) bool { return reads },
		}
		b := &events.Batch{Subscriber: events.Once("router", &memory.OnceStore{}, r), Queue: &fakeQueue{}, Observer: &hops{}, Bucket: bucketOf(own)}
		if failed := failures(b.Handle(t.Context(), events.SQSEvent{Records: []events.SQSMessage{m.SQS("m", "r", 1)}})); failed != "" {
			t.Errorf("%s failed", failed)
		}
		if own.gets != gets || len(published) != 1 {
			t.Errorf("%d gets and %d events, want %d and 1", own.gets, len(published), gets)
		}
	}
}

// A payload that cannot be had is tried again, a claim check that cannot be right is parked as it came; the others of
// the batch are handled, together where they are small.
func TestBatch_ClaimChecks(t *testing.T) {
	t.Parallel()
	good, s := offload(t, largeEvent(300_000))
	key := slices.Collect(maps.Keys(s.blobs))[0]
	pointing := func(bucket, key string, size int) events.Message {
		m := good
		m.Attributes = maps.Clone(good.Attributes)
		m.Attributes["ExtendedPayloadSize"] = events.Attribute{DataType: "Number", StringValue: strconv.Itoa(size)}
		m.Body = `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"` + bucket + `","s3Key":"` + key + `"}]`
		return m
	}
	legacy := good
	legacy.Attributes = maps.Clone(good.Attributes)
	legacy.Attributes["SQSLargePayloadSize"] = legacy.Attributes["ExtendedPayloadSize"]
	delete(legacy.Attributes, "ExtendedPayloadSize")
	legacy.Body = strings.Replace(good.Body, "software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer", 1)
	forbidden := &store{getErr: events.Errorf(events.CodeUnavailable, "AccessDenied")}
	for name, test := range map[string]struct {
		m      events.Message
		bucket *events.Bucket
		want   events.Outcome
	}{
		"fits":              {good, bucketOf(s), events.OutcomeOK},
		"older spelling":    {legacy, bucketOf(s), events.OutcomeOK},
		"missing":           {good, bucketOf(&store{}), events.OutcomeRetry},
		"forbidden":         {good, bucketOf(forbidden), events.OutcomeRetry},
		"any other error":   {good, bucketOf(&store{getErr: errors.New("broken pipe")}), events.OutcomeRetry},
		"no bucket":         {good, nil, events.OutcomeRetry},
		"other bucket":      {pointing("other-bucket", key, 300_000), bucketOf(s), events.OutcomePark},
		"key of another":    {pointing("our-bucket", "catalog/ab/1", 300_000), bucketOf(s), events.OutcomePark},
		"key that leads up": {pointing("our-bucket", "events/../catalog/1", 300_000), bucketOf(s), events.OutcomePark},
		"other size":        {pointing("our-bucket", key, 299_999), bucketOf(s), events.OutcomePark},
		"no size":           {pointing("our-bucket", key, 0), bucketOf(s), events.OutcomePark},
		"too large":         {pointing("our-bucket", key, events.MaxPayloadSize+1), bucketOf(s), events.OutcomePark},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.bucket != nil {
				own := *test.bucket.Store.(*store)
				test.bucket = bucketOf(&own)
			}
			batch := sqsEvent(t, 3, 1)
			batch.Records = append(batch.Records, test.m.SQS("large", "r", 1))
			q, h, sub := &fakeQueue{}, &hops{}, &together{}
			b := &events.Batch{Function: "f", Queue: q, Observer: h, Bucket: test.bucket, Subscriber: sub}
			failed := failures(b.Handle(t.Context(), batch))
			if got := h.outcomes(); got["github:1"] != test.want && got["large"] != test.want {
				t.Errorf("the outcomes are %v, want %s", got, test.want)
			}
			if want := map[events.Outcome]string{events.OutcomeRetry: "large"}[test.want]; failed != want {
				t.Errorf("%q is reported, want %q", failed, want)
			}
			if sub.batches != 1 {
				t.Errorf("the small events came in %d batches, want 1", sub.batches)
			}
			if test.want != events.OutcomePark {
				return
			}
			if len(q.parked) != 1 || q.parked[0].Body != test.m.Body || q.parked[0].Attributes["ExtendedPayloadSize"] != test.m.Attributes["ExtendedPayloadSize"] {
				t.Errorf("%+v is parked, want the claim check as it came", q.parked)
			}
			if n := len(q.parked[0].Attributes); n > 10 {
				t.Errorf("the dead letter has %d attributes, AWS allows 10", n)
			}
		})
	}
}

func TestMessage_ClaimCheck(t *testing.T) {
	t.Parallel()
	const class = `"software.amazon.payloadoffloading.PayloadS3Pointer"`
	claim := events.ClaimCheck{Bucket: "b", Key: "k/1", Size: 7}
	for name, test := range map[string]struct {
		body, size string
		want       events.ClaimCheck
		code       events.Code
	}{
		"of the Java library": {`[` + class + `,{"s3BucketName":"b","s3Key":"k/1"}]`, "7", claim, ""},
		"of version 1.0":      {`["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"b","s3Key":"k/1"}]`, "7", claim, ""},
		"spaces":              {" [ " + class + " ,\n{ \"s3Key\" : \"k/1\", \"s3BucketName\":\"b\"} ] ", "7", claim, ""},
		"later members":       {`[` + class + `,{"s3BucketName":"b","s3Key":"k/1","region":"eu-west-1"}]`, "7", claim, ""},
		"largest":             {`[` + class + `,{"s3BucketName":"b","s3Key":"k/1"}]`, "6291456", events.ClaimCheck{Bucket: "b", Key: "k/1", Size: 6 << 20}, ""},
		"too large":           {`[` + class + `,{"s3BucketName":"b","s3Key":"k/1"}]`, "6291457", events.ClaimCheck{}, events.CodeTooLarge},
		"payload":             {`{"a":1}`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"empty":               {``, "7", events.ClaimCheck{}, events.CodeInvalid},
		"other class":         {`["java.lang.Runtime",{"s3BucketName":"b","s3Key":"k/1"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"no class":            {`[{"s3BucketName":"b","s3Key":"k/1"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"three elements":      {`[` + class + `,{"s3BucketName":"b","s3Key":"k/1"},1]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"no bucket":           {`[` + class + `,{"s3Key":"k/1"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"no key":              {`[` + class + `,{"s3BucketName":"b"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"key of the root":     {`[` + class + `,{"s3BucketName":"b","s3Key":"/k"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"key that leads up":   {`[` + class + `,{"s3BucketName":"b","s3Key":"k/../1"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"key with a query":    {`[` + class + `,{"s3BucketName":"b","s3Key":"k?versionId=1"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"key not of ASCII":    {`[` + class + `,{"s3BucketName":"b","s3Key":"k\u0161"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"bucket with a host":  {`[` + class + `,{"s3BucketName":"evil.example/","s3Key":"k"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"long key":            {`[` + class + `,{"s3BucketName":"b","s3Key":"` + strings.Repeat("k", 1025) + `"}]`, "7", events.ClaimCheck{}, events.CodeInvalid},
		"negative":            {`[` + class + `,{"s3BucketName":"b","s3Key":"k/1"}]`, "-1", events.ClaimCheck{}, events.CodeInvalid},
		"not a number":        {`[` + class + `,{"s3BucketName":"b","s3Key":"k/1"}]`, "7.0", events.ClaimCheck{}, events.CodeInvalid},
	} {
		for _, attribute := range []string{"ExtendedPayloadSize", "SQSLargePayloadSize"} {
			m := events.Message{Body: test.body, Attributes: map[string]events.Attribute{attribute: {DataType: "Number", StringValue: test.size}}}
			got, ok, err := m.ClaimCheck()
			if !ok || events.ErrorCode(err) != test.code || test.code == "" && got != test.want {
				t.Errorf("%s, %s: %+v %v %v, want %+v and code %q", name, attribute, got, ok, err, test.want, test.code)
			}
		}
	}
	if c, ok, err := (events.Message{Body: `[` + class + `,{"s3BucketName":"b","s3Key":"k"}]`}).ClaimCheck(); ok || err != nil {
		t.Errorf("a payload that looks like a claim check is taken for one: %+v, %v", c, err)
	}
}

func FuzzClaimCheck(f *testing.F) {
	m, _ := offload(f, largeEvent(300_000))
	f.Add(m.Body, "300000")
	f.Add(`["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"our-bucket","s3Key":"events/x"}]`, "8")
	f.Add(`["",{}]`, "-1")
	f.Fuzz(func(t *testing.T, body, size string) {
		in := events.Message{Body: body, GroupID: "g", Attributes: maps.Clone(m.Attributes)}
		in.Attributes[events.AttributeExtendedSize] = events.Attribute{DataType: "Number", StringValue: size}
		c, ok, err := in.ClaimCheck()
		e, decodeErr := events.Decode(in)
		if !ok || (err == nil) != (decodeErr == nil) {
			t.Fatalf("%v as a claim check and %v as a message", err, decodeErr)
		}
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid && code != events.CodeTooLarge {
				t.Fatalf("error code %q: it would be tried again", code)
			}
			return
		}
		out, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := out.ClaimCheck(); again != c || err != nil {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
		if err := out.Validate(events.MaxMessageSize); err != nil {
			t.Fatalf("AWS would refuse the message: %v", err)
		}
		// Nothing but a payload of ours is read.
		s := &store{blobs: map[string][]byte{c.Key: []byte(strings.Repeat("x", min(c.Size, 1000)))}}
		received(t, in, bucketOf(s))
		if s.gets > 0 && (c.Bucket != "our-bucket" || !strings.HasPrefix(c.Key, events.PayloadPrefix)) {
			t.Fatalf("%+v was read", c)
		}
	})
}

// What is kept can be read by its claim check, which is one of the extended clients; nothing else is read.
func TestBucket_Keep(t *testing.T) {
	t.Parallel()
	s := &store{}
	data := []byte("any bytes: \x00\xff")
	m, err := bucketOf(s).Keep(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	c, claimed, err := m.ClaimCheck()
	if err != nil || !claimed || c.Size != len(data) || len(m.Attributes) != 1 || m.Validate(events.MaxMessageSize) != nil {
		t.Fatalf("the message is %+v: %+v, %v", m, c, err)
	}
	if got, err := bucketOf(s).Read(t.Context(), c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %q, %v", got, err)
	}
	other := c
	other.Bucket = "other"
	if _, err := bucketOf(s).Read(t.Context(), other); events.ErrorCode(err) != events.CodeInvalid {
		t.Errorf("a claim check of another bucket: %v", err)
	}
	for name, test := range map[string]struct {
		bucket *events.Bucket
		size   int
		code   events.Code
	}{
		"no bucket": {nil, 1, events.CodeUnavailable},
		"too large": {bucketOf(s), events.MaxPayloadSize + 1, events.CodeTooLarge},
		"down":      {bucketOf(&store{putErr: errors.New("broken pipe")}), 1, events.CodeUnavailable},
	} {
		if _, err := test.bucket.Keep(t.Context(), make([]byte, test.size)); events.ErrorCode(err) != test.code {
			t.Errorf("%s: %v, want code %s", name, err, test.code)
		}
	}
	if len(s.blobs) != 1 {
		t.Errorf("%d objects are stored, want one", len(s.blobs))
	}
}
