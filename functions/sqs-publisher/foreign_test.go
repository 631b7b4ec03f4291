package sqspublisher_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	sqspublisher "github.com/callboard/callboard/functions/sqs-publisher"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/internal/senders"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

var update = flag.Bool("update", false, "rewrite what the fixtures expect")

// The secrets of the fixtures. No message that is published may have one.
const (
	liveSecret  = "canary-live-secret"
	wrongSecret = "canary-retired-secret"
)

// world is what messages are read with, and what becomes of them.
type world struct {
	conf *config.Config
	topo *topology.Topology

	objects     map[string]string // by "<bucket>/<key>"
	secretsDown bool
	refused     error // what publishing comes to
	// Where they are set, publishing tells that it has begun and waits.
	blocked chan struct{}
	release chan struct{}

	stored    map[string][]byte // by key: the bucket for what is too large to be parked
	published []events.Message
	parked    []events.Message
	hidden    map[string]time.Duration
	hops      []events.Hop
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	conf, err := config.Load("testdata/config.json")
	if err != nil {
		tb.Fatal(err)
	}
	topo, err := topology.Build(conf)
	if err != nil {
		tb.Fatal(err)
	}
	return &world{conf: conf, topo: topo, objects: map[string]string{}, stored: map[string][]byte{}, hidden: map[string]time.Duration{}}
}

// Put and Get are those of the bucket.
func (w *world) Put(_ context.Context, key string, data []byte) error {
	w.stored[key] = data
	return nil
}

func (w *world) Get(_ context.Context, key string) ([]byte, error) {
	if data, ok := w.stored[key]; ok {
		return data, nil
	}
	return nil, events.Errorf(events.CodeNotFound, "there is no blob")
}

func (w *world) bucket() *events.Bucket { return &events.Bucket{Name: "our-bucket", Store: w} }

func (w *world) reader() *sqspublisher.Reader {
	objects := func(topology.ForeignQueue) sqspublisher.Objects { return w }
	return &sqspublisher.Reader{Sources: sqspublisher.Sources(w.conf, w.topo, objects), Secrets: w, Bucket: w.bucket()}
}

func (w *world) handler() *sqspublisher.Handler {
	h := &sqspublisher.Handler{
		Batch: &events.Batch{
			Function: topology.SQSPublisher, Subscriber: sqspublisher.New(w), Foreign: w.reader().Read, Observer: w,
			Queue: sealed.Queue{Queue: w, Bucket: w.bucket()},
		},
		Queues: map[string]string{}, Own: w.topo.AWSName(topology.QueueIngest),
	}
	for _, q := range w.topo.Foreign {
		h.Queues[q.ARN] = q.Topic
	}
	return h
}

// handle invokes the function with a batch and returns the ids of the messages that come again.
func (w *world) handle(tb testing.TB, records ...events.SQSMessage) []string {
	tb.Helper()
	payload, err := json.Marshal(events.SQSEvent{Records: records})
	if err != nil {
		tb.Fatal(err)
	}
	answer, err := w.handler().Invoke(tb.Context(), payload)
	if err != nil {
		tb.Fatal(err)
	}
	var response events.SQSResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		tb.Fatal(err)
	}
	var ids []string
	for _, f := range response.BatchItemFailures {
		ids = append(ids, f.ItemIdentifier)
	}
	return ids
}

func (w *world) Publish(_ context.Context, es ...events.Event) error {
	if w.release != nil {
		w.blocked <- struct{}{}
		<-w.release
	}
	errs, failed := make(events.PublishError, len(es)), false
	for i, e := range es {
		var m events.Message
		if m, errs[i] = events.Encode(e); errs[i] == nil && w.refused != nil && strings.Contains(string(e.Payload), "refuse") {
			errs[i] = w.refused
		}
		if failed = failed || errs[i] != nil; errs[i] == nil {
			w.published = append(w.published, m)
		}
	}
	if failed {
		return errs
	}
	return nil
}

func (w *world) Values(context.Context, string) ([]string, error) {
	if w.secretsDown {
		return nil, errors.New("connection refused")
	}
	return []string{"canary-other-secret", liveSecret}, nil
}

func (w *world) Read(_ context.Context, bucket, key string, limit int64) ([]byte, error) {
	data, ok := w.objects[bucket+"/"+key]
	switch {
	case !ok:
		return nil, events.Errorf(events.CodeUnavailable, "there is no object")
	case int64(len(data)) > limit:
		return nil, events.Errorf(events.CodeTooLarge, "the object is too large")
	}
	return []byte(data), nil
}

func (w *world) ChangeVisibility(_ context.Context, m events.SQSMessage, hidden time.Duration) error {
	w.hidden[m.MessageID] = hidden
	return nil
}

func (w *world) Park(_ context.Context, m events.Message) error {
	if err := m.Validate(events.MaxSQSMessageSize); err != nil {
		return err
	}
	w.parked = append(w.parked, m)
	return nil
}

func (w *world) Observe(_ context.Context, h events.Hop) { w.hops = append(w.hops, h) }

// Each archive has a record as Lambda hands it over, objects of buckets, and what becomes of the message. An attribute
// "sign" lets the sender sign with the live or with a wrong secret.
func TestForeignGolden(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t)
			last := len(archive.Files) - 1
			for _, f := range archive.Files[1:last] {
				w.objects[strings.TrimPrefix(f.Name, "object ")] = strings.TrimSuffix(string(f.Data), "\n")
			}
			got := w.outcome(t, w.record(t, archive.Files[0].Data))
			if *update {
				archive.Files[last].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[last].Data), got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			for _, m := range w.published {
				if strings.Contains(fmt.Sprint(m), "canary") {
					t.Errorf("a secret is published: %v", m)
				}
			}
		})
	}
}

// record reads a record of a fixture, and signs it.
func (w *world) record(t *testing.T, data []byte) events.SQSMessage {
	t.Helper()
	var m events.SQSMessage
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	with, signed := m.MessageAttributes["sign"]
	if !signed {
		return m
	}
	delete(m.MessageAttributes, "sign")
	name := m.EventSourceARN[strings.LastIndex(m.EventSourceARN, ":")+1:]
	ms, _ := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64)
	r := webhook.Request{Headers: events.Metadata{}, Body: []byte(m.Body), Time: time.UnixMilli(ms)}
	for name, a := range m.MessageAttributes {
		r.Headers.Set(name, a.StringValue)
	}
	secret := map[string]string{"live": liveSecret, "wrong": wrongSecret}[with.StringValue]
	topic := w.conf.Topics[name]
	senders.Profile(topic, w.topo.SubTopicRules(name), w.topo.DeliveryID(name)).(interface {
		Sign(r *webhook.Request, secret string)
	}).Sign(&r, secret)
	for name, value := range r.Headers {
		m.MessageAttributes[name] = events.SQSAttribute{DataType: "String", StringValue: value}
	}
	return m
}

// outcome handles a record and describes what became of it.
func (w *world) outcome(t *testing.T, m events.SQSMessage) string {
	t.Helper()
	again := w.handle(t, m)
	var b strings.Builder
	for _, h := range w.hops {
		fmt.Fprintf(&b, "%s topic=%q event=%q reason=%q\n", h.Outcome, h.Topic, h.Event, h.Reason)
	}
	fmt.Fprintf(&b, "again: %q\n", again)
	for i, m := range slices.Concat(w.published, w.parked) {
		what := "published"
		if i >= len(w.published) {
			what = "parked"
		}
		fmt.Fprintf(&b, "\n%s, group %q\n", what, m.GroupID)
		for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
			value := m.Attributes[name].StringValue
			if name == events.AttributeParkedTime {
				value = "TIME"
			}
			fmt.Fprintf(&b, "%s: %s: %s\n", name, m.Attributes[name].DataType, value)
		}
		fmt.Fprintf(&b, "\n%s\n", m.Body)
	}
	return b.String()
}

// A dead letter that is sent to the ingest queue, without what parking added, becomes the event that it would have been.
func TestForeign_BroughtBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := message("builds", "m-1", `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"payloads","s3Key":"k"}]`)
	m.MessageAttributes["ExtendedPayloadSize"] = events.SQSAttribute{DataType: "Number", StringValue: "7"}
	for i := range 9 { // as many as a message can have
		m.MessageAttributes[fmt.Sprint("X-Attribute-", i)] = events.SQSAttribute{DataType: "Binary", BinaryValue: []byte{byte(i), 0xff}}
	}
	w.objects["payloads/k"] = strings.Repeat(" ", 7<<20)
	if again := w.handle(t, m); len(again) > 0 || len(w.parked) != 1 {
		t.Fatalf("%q come again, %d are parked; want the message parked: %v", again, len(w.parked), w.hops)
	}
	back := w.parked[0]
	maps.DeleteFunc(back.Attributes, func(name string, _ events.Attribute) bool { return strings.HasPrefix(name, "x-events-parked-") })
	w.objects["payloads/k"] = `{"a":1}`
	again := back.SQS("another-id", "r", 1)
	again.EventSourceARN = "arn:aws:sqs:eu-west-1:111122223333:callboard-ingest"
	if failed := w.handle(t, again); len(failed) > 0 || len(w.published) != 1 {
		t.Fatalf("%q come again, %d are published: %v", failed, len(w.published), w.hops)
	}
	e, err := events.Decode(w.published[0])
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "builds:m-1" || string(e.Payload) != `{"a":1}` || e.Group != "team" || e.Metadata["x-attribute-7"] != "B/8=" || !e.Time.Equal(time.UnixMilli(1793610900120)) {
		t.Errorf("the event is %+v", e)
	}
}

// So does one that was too large for our queues, also after it could not be understood a second time; its object is stored
// once.
func TestForeign_TooLargeBroughtBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused = events.Errorf(events.CodeInvalid, "not now")
	m := message("orders", "m-1", `{"order":{"id":"7"},"refuse":true}`)
	m.MessageAttributes["X-Order-State"] = events.SQSAttribute{DataType: "String.state", StringValue: "new"}
	m.MessageAttributes["blob"] = events.SQSAttribute{DataType: "Binary", BinaryValue: bytes.Repeat([]byte{0xff}, events.MaxSQSMessageSize-100)}
	again := m
	for try := range 3 {
		w.parked = nil
		if failed := w.handle(t, again); len(failed) > 0 || len(w.parked) != 1 || len(w.stored) != 1 {
			t.Fatalf("try %d: %q come again, %d are parked, %d objects are stored: %v", try, failed, len(w.parked), len(w.stored), w.hops)
		}
		back := w.parked[0]
		if reason := back.Attributes[events.AttributeParkedReason].StringValue; reason != "not now" {
			t.Errorf("try %d: the reason is %q", try, reason)
		}
		maps.DeleteFunc(back.Attributes, func(name string, _ events.Attribute) bool { return strings.HasPrefix(name, "x-events-parked-") })
		again = back.SQS("another-id", "r", 1)
		again.EventSourceARN = "arn:aws:sqs:eu-west-1:111122223333:callboard-ingest"
	}
	stored := w.stored
	w.stored = nil
	if failed := w.handle(t, again); len(failed) != 1 || len(w.published) > 0 {
		t.Errorf("without its object: %q come again, %d are published; want it to come again", failed, len(w.published))
	}
	w.stored, w.refused = stored, nil
	if failed := w.handle(t, again); len(failed) > 0 || len(w.published) != 1 {
		t.Fatalf("%q come again, %d are published: %v", failed, len(w.published), w.hops)
	}
	e, err := events.Decode(w.published[0])
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "orders:7" || string(e.Payload) != m.Body || e.Group != "team" || e.Metadata["x-order-state"] != "new" || !e.Time.Equal(time.UnixMilli(1793610900120)) {
		t.Errorf("the event is %+v", e)
	}
}

// message is a message of the queue of a topic.
func message(topic, id, body string) events.SQSMessage {
	return events.SQSMessage{
		MessageID: id, ReceiptHandle: "r-" + id, Body: body, EventSourceARN: "arn:aws:sqs:eu-west-1:111122223333:" + topic,
		Attributes:        map[string]string{"ApproximateReceiveCount": "1", "SentTimestamp": "1793610900120", "MessageGroupId": "team"},
		MessageAttributes: map[string]events.SQSAttribute{},
	}
}

// One bad message harms none of the others of its batch, whichever queue they are from.
func TestForeign_Batch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused = errors.New("refused")
	ours, err := events.Encode(events.Event{ID: "hooks:1", Topic: "hooks", Payload: []byte(`{}`), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	fromIngest := ours.SQS("ours", "r", 1)
	fromIngest.EventSourceARN = "arn:aws:sqs:eu-west-1:111122223333:callboard-ingest"
	missing := message("builds", "missing", `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"payloads","s3Key":"gone"}]`)
	missing.MessageAttributes["SQSLargePayloadSize"] = events.SQSAttribute{DataType: "Number", StringValue: "1"}
	again := w.handle(t,
		message("builds", "good", `{}`), message("builds", "bad", `{`), fromIngest, missing,
		message("builds", "refused", `{"refuse":true}`), message("builds", "unsigned", `{}`), message("orders", "order", `{"order":{"id":"7"}}`),
	)
	if diff := cmp.Diff([]string{"missing", "refused"}, again); diff != "" {
		t.Errorf("messages that come again (-want +got):\n%s", diff)
	}
	var ids []string
	for _, m := range w.published {
		ids = append(ids, m.Attributes[events.AttributeID].StringValue)
	}
	if diff := cmp.Diff([]string{"builds:good", "hooks:1", "builds:unsigned", "orders:7"}, ids); diff != "" {
		t.Errorf("published events (-want +got):\n%s", diff)
	}
	if len(w.parked) != 1 || w.parked[0].Body != `{` {
		t.Errorf("parked: %v, want the one that is no JSON", w.parked)
	}
	if w.hidden["missing"] == 0 || w.hidden["refused"] == 0 {
		t.Errorf("hidden for %v, want a rest for those that come again", w.hidden)
	}
}

// Metadata have to fit into a message. A message that has more in its attributes is parked, unless the topic leaves them out.
func TestForeign_LargeAttributes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var records []events.SQSMessage
	for _, topic := range []string{"builds", "orders"} { // orders takes x-order-* only
		m := message(topic, topic, `{"order":{"id":"7"}}`)
		m.MessageAttributes["X-Large"] = events.SQSAttribute{DataType: "String", StringValue: strings.Repeat("x", events.MaxMessageSize)}
		records = append(records, m)
	}
	again := w.handle(t, records...)
	if len(again) > 0 || len(w.parked) != 1 || len(w.published) != 1 {
		t.Fatalf("%q come again, %d are parked, %d published; want one parked and one published", again, len(w.parked), len(w.published))
	}
	if topic := w.parked[0].Attributes[events.AttributeTopic].StringValue; topic != "builds" {
		t.Errorf("the message of %s is parked", topic)
	}
}

// While a topic is removed its queue is still read by a function that does not know it any more: its messages stay there,
// whatever they look like. The same without Own is what callboard dev does.
func TestForeign_UnknownQueue(t *testing.T) {
	t.Parallel()
	records := func() []events.SQSMessage {
		ours, err := events.Encode(events.Event{ID: "hooks:1", Topic: "hooks", Payload: []byte(`{}`), Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		fromIngest, stranger := ours.SQS("ours", "r", 1), ours.SQS("looks-like-ours", "r", 1)
		fromIngest.EventSourceARN = "arn:aws:sqs:eu-west-1:111122223333:callboard-ingest"
		stranger.EventSourceARN = "arn:aws:sqs:eu-west-1:111122223333:removed-callboard-ingest"
		sealed := sealed.Seal("builds", message("removed", "looks-sealed", `{}`))
		return []events.SQSMessage{message("removed", "plain", `{}`), fromIngest, stranger, sealed, message("builds", "good", `{}`)}
	}
	w := newWorld(t)
	again := w.handle(t, records()...)
	if diff := cmp.Diff([]string{"plain", "looks-like-ours", "looks-sealed"}, again); diff != "" {
		t.Errorf("messages that stay (-want +got):\n%s", diff)
	}
	if len(w.parked) > 0 || len(w.published) != 2 || len(w.hidden) > 0 {
		t.Errorf("%d are parked, %d published, %d hidden; want the two of known queues published, and no more", len(w.parked), len(w.published), len(w.hidden))
	}

	w = newWorld(t)
	h := w.handler()
	h.Own = ""
	payload, err := json.Marshal(events.SQSEvent{Records: records()})
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := h.Invoke(t.Context(), payload); err != nil || string(answer) != `{"batchItemFailures":[]}` || len(w.parked) != 1 {
		t.Errorf("without a name of the own queue: %s, %v, %d are parked; want all handled", answer, err, len(w.parked))
	}
}

// A secret that cannot be read is no wrong signature.
func TestForeign_SecretsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.secretsDown = true
	if again := w.handle(t, message("hooks", "m", `{"zen":"x"}`)); len(again) != 1 || len(w.parked) > 0 {
		t.Errorf("%q come again, %d are parked; want the message to come again", again, len(w.parked))
	}
}

func TestHandler_Invoke(t *testing.T) {
	t.Parallel()
	h := newWorld(t).handler()
	for name, payload := range map[string]string{
		"no JSON": "{", "no schedule": `{}`, "unknown schedule": `{"source":"callboard.schedule","detail-type":"poll-other"}`,
	} {
		if _, err := h.Invoke(t.Context(), []byte(payload)); events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("%s: %v, want code %s", name, err, events.CodeInvalid)
		}
	}
	answer, err := h.Invoke(t.Context(), []byte(`{"Records":[]}`))
	if err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Errorf("an empty batch: %s %v", answer, err)
	}
}

// Whatever a body is, opening it ends, and what comes out of it is an event or parked; what is not an envelope is the
// payload to the byte.
func FuzzRead(f *testing.F) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var m events.SQSMessage
		if json.Unmarshal(archive.Files[0].Data, &m) == nil {
			_, marked := m.MessageAttributes["ExtendedPayloadSize"]
			f.Add([]byte(m.Body), marked)
		}
	}
	reading := newWorld(f)
	f.Fuzz(func(t *testing.T, body []byte, claimCheck bool) {
		w := &world{conf: reading.conf, topo: reading.topo, objects: map[string]string{"payloads/k": `{}`}}
		m := message("builds", "m", string(body))
		if claimCheck {
			m.MessageAttributes["ExtendedPayloadSize"] = events.SQSAttribute{DataType: "Number", StringValue: "2"}
		}
		e, foreign, err := w.reader().Read(t.Context(), sealed.Seal("builds", m))
		if !foreign {
			t.Fatal("a message of others is not known as one")
		}
		if err != nil {
			if code := events.ErrorCode(err); code != events.CodeInvalid && code != events.CodeUnavailable {
				t.Errorf("code %s: %v", code, err)
			}
			return
		}
		inside := bytes.Contains(body, []byte("Notification")) || bytes.Contains(body, []byte("detail")) || bytes.Contains(body, []byte(`\`)) || claimCheck
		if !inside && !bytes.Equal(e.Payload, body) {
			t.Errorf("the payload is %q", e.Payload)
		}
		if !e.Payload.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			t.Errorf("the payload is no JSON: %q", e.Payload)
		}
	})
}
