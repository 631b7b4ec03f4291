// Package deadlettertest is the conformance suite of the stores of dead letters: what a person does at the desk has
// the same outcome on each of them.
package deadlettertest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

const configuration = `{
  "topics": {
    "github": {"from": "github", "secrets": ["s"]},
    "frobs": {"from": "hmac", "secrets": ["s"], "signature": {"header": "x-signature"}, "subTopic": ["body:type"]},
    "builds": {"from": "queue", "queue": "arn:aws:sqs:us-east-1:000000000000:QUEUE"}
  },
  "catalog": {"providers": {"github": {"acme": {"organization": "acme", "catalogPath": "/catalog-info.yaml", "filters": {"branch": "main"}}}}},
  "notifications": {"rules": [{"name": "r", "on": ["github.push", "frobs.add"], "to": ["user:default/guest"], "title": "t"}]}
}`

// Topology returns the one that the suite needs, with names of its own.
func Topology(t testing.TB) *topology.Topology {
	t.Helper()
	c, err := config.Parse([]byte(strings.ReplaceAll(configuration, "QUEUE", "builds-"+strings.ToLower(rand.Text()[:12]))))
	if err != nil {
		t.Fatal(err)
	}
	c.AWS.Prefix = "callboard-" + strings.ToLower(rand.Text()[:12])
	topo, err := topology.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// Run tests the stores that open returns. Each has the queues of the topology, those of others included, and they are empty;
// and its bucket.
func Run(t *testing.T, open func(t *testing.T, topo *topology.Topology) deadletter.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, d desk)
	}{
		{"Replay", testReplay},
		{"Subscriptions", testSubscriptions},
		{"Again", testAgain},
		{"Select", testSelect},
		{"Confirm", testConfirm},
		{"Drop", testDrop},
		{"To", testTo},
		{"Others", testOthers},
		{"OthersTooLarge", testOthersTooLarge},
		{"OthersBinary", testOthersBinary},
		{"NoTarget", testNoTarget},
		{"Whole", testWhole},
		{"Many", testMany},
		{"Failures", testFailures},
		{"ComesBack", testComesBack},
		{"Interrupted", testInterrupted},
		{"Queues", testQueues},
		{"NoSuchQueue", testNoSuchQueue},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			topo := Topology(t)
			test.run(t, desk{&deadletter.Desk{Topology: topo, Store: open(t, topo)}})
		})
	}
}

type desk struct{ *deadletter.Desk }

// all is the order that means every letter.
var all = deadletter.Order{Confirmed: true}

// message is an event of a topic as it lies in a queue, with more attributes.
func message(t testing.TB, topic string, n int, more map[string]string) events.SQSMessage {
	t.Helper()
	e := eventstest.NewEvent(topic, n)
	e.Payload = []byte(fmt.Sprintf("{ \"n\" :%d,\n \"a\":1, \"a\":2.50, \"text\":\"\\u00e4 ä 😀\" }\r\n", n))
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range more {
		m.Attributes[name] = events.Attribute{DataType: "String", StringValue: value}
	}
	return m.SQS("", "", 0)
}

func parked(function, reason string) map[string]string {
	return map[string]string{
		events.AttributeParkedFunction: function, events.AttributeParkedReason: reason, events.AttributeParkedTime: "2026-01-02T03:04:05.006Z",
	}
}

// put sends a message to a queue.
func (d desk) put(t testing.TB, queue string, m events.SQSMessage) {
	t.Helper()
	if err := d.Store.Send(t.Context(), queue, m); err != nil {
		t.Fatal(err)
	}
}

// content is what of a message has to stay as it is.
type content struct {
	Body, Group string
	Attributes  map[string]events.SQSAttribute
}

func contentOf(m events.SQSMessage) content {
	return content{m.Body, m.Attributes["MessageGroupId"], m.MessageAttributes}
}

// in returns what is in a queue, in the order of the bodies.
func (d desk) in(t testing.TB, queue string) []content {
	t.Helper()
	var list []content
	var held []events.SQSMessage
	for m, err := range d.Store.Receive(t.Context(), queue, time.Minute) {
		if err != nil {
			t.Fatal(err)
		}
		list, held = append(list, contentOf(m)), append(held, m)
	}
	if err := d.Store.Release(t.Context(), queue, held); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b content) int { return cmp.Compare(a.Body, b.Body) })
	return list
}

func (d desk) has(t testing.TB, queue string, want ...events.SQSMessage) {
	t.Helper()
	contents := make([]content, len(want))
	for i, m := range want {
		contents[i] = contentOf(m)
	}
	slices.SortFunc(contents, func(a, b content) int { return cmp.Compare(a.Body, b.Body) })
	if diff := gocmp.Diff(contents, d.in(t, queue), equateEmpty); diff != "" {
		t.Errorf("%s has (-want +got):\n%s", queue, diff)
	}
}

var equateEmpty = gocmp.Transformer("nonNil", func(list []content) []content { return append([]content{}, list...) })

// replay replays and fails the test where a letter was not.
func (d desk) replay(t testing.TB, o deadletter.Order) deadletter.Result {
	t.Helper()
	r, err := d.Replay(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Letters {
		if l.Error != "" {
			t.Errorf("the letter %s of %s: %s", l.ID, l.Queue, l.Error)
		}
	}
	return r
}

func (d desk) list(t testing.TB, s deadletter.Selection) []deadletter.Letter {
	t.Helper()
	r, err := d.List(t.Context(), s, false)
	if err != nil {
		t.Fatal(err)
	}
	return r.Letters
}

// A letter is back in the queue that it came from as it was there.
func testReplay(t *testing.T, d desk) {
	for n, test := range []struct{ function, topic, queue string }{
		{topology.SQSPublisher, "github", topology.QueueIngest},
		{topology.SQSPublisher, "frobs", topology.QueueIngest},
		{topology.Router, "github", "router-github"},
		{topology.Router, "frobs", "router-frobs"},
		{topology.CatalogSync, "github.push", topology.CatalogSync},
		{topology.Notify, "frobs.add", topology.Notify},
	} {
		letters := test.function + "-dlq"
		d.put(t, letters, message(t, test.topic, n, parked(test.function, "why")))
		listed := d.list(t, deadletter.Selection{})
		if len(listed) != 1 {
			t.Fatalf("%s: the list is %+v, want one letter", letters, listed)
		}
		l := listed[0]
		want := deadletter.Letter{
			Queue: letters, ID: l.ID, Event: events.NewID(test.topic, fmt.Sprintf("delivery-%d", n)), Topic: test.topic, Reason: "why", Function: test.function,
			Time: time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC), Receives: l.Receives, Group: l.Group,
			Bytes: len(message(t, test.topic, n, nil).Body), To: []string{test.queue},
		}
		if diff := gocmp.Diff(want, l); diff != "" || l.ID == "" || l.Group == "" {
			t.Errorf("the letter (-want +got):\n%s", diff)
		}
		if r := d.replay(t, deadletter.Order{Selection: deadletter.Selection{IDs: []string{l.ID}}}); !r.Done || len(r.Letters) != 1 {
			t.Errorf("%s: %+v", letters, r)
		}
		d.has(t, letters)
		var inQueue []events.SQSMessage
		for i := range n + 1 { // what the cases before have left there
			if before := []string{topology.QueueIngest, topology.QueueIngest, "router-github", "router-frobs", topology.CatalogSync, topology.Notify}; before[i] == test.queue {
				inQueue = append(inQueue, message(t, []string{"github", "frobs", "github", "frobs", "github.push", "frobs.add"}[i], i, nil))
			}
		}
		d.has(t, test.queue, inQueue...)
	}
}

// What SNS could not deliver goes to all queues of its topic, without what SNS has added.
func testSubscriptions(t *testing.T, d desk) {
	sns := map[string]string{"RequestID": "7f0e", "ErrorCode": "AWS.SimpleQueueService.NonExistentQueue", "ErrorMessage": "The specified queue does not exist"}
	d.put(t, topology.QueueSubscriptionsDLQ, message(t, "github.push", 1, sns))
	d.put(t, topology.QueueSubscriptionsDLQ, message(t, "github", 2, sns))
	l := d.list(t, deadletter.Selection{IDs: []string{"github.push:delivery-1"}})
	if len(l) != 1 || l[0].Function != "SNS" || l[0].Reason != sns["ErrorCode"]+": "+sns["ErrorMessage"] || !slices.Equal(l[0].To, []string{topology.CatalogSync, topology.Notify}) {
		t.Errorf("the letter is %+v", l)
	}
	d.replay(t, all)
	d.has(t, topology.QueueSubscriptionsDLQ)
	d.has(t, topology.CatalogSync, message(t, "github.push", 1, nil))
	d.has(t, topology.Notify, message(t, "github.push", 1, nil))
	d.has(t, "router-github", message(t, "github", 2, nil))
	d.has(t, "router-frobs")
}

// Once more means the same event, which a subscriber has to handle once more: all letters of one event count as one.
func testAgain(t *testing.T, d desk) {
	keys := map[string]int{}
	for range 2 {
		for range 2 {
			d.put(t, "notify-dlq", message(t, "frobs.add", 1, parked(topology.Notify, "why")))
		}
		d.replay(t, deadletter.Order{Again: true, Confirmed: true})
	}
	want := eventstest.NewEvent("frobs.add", 1)
	for _, c := range d.in(t, topology.Notify) {
		m := events.SQSMessage{Body: c.Body, Attributes: map[string]string{"MessageGroupId": c.Group}, MessageAttributes: c.Attributes}
		e, err := events.Decode(m.Message())
		if err != nil {
			t.Fatal(err)
		}
		if e.Again == "" || e.Key() == e.ID {
			t.Errorf("the event is %+v, want it to be done once more", e)
		}
		keys[e.Key()]++
		want.Again, want.Payload = e.Again, []byte(message(t, "frobs.add", 1, nil).Body)
		if diff := gocmp.Diff(want, e); diff != "" {
			t.Errorf("the event (-want +got):\n%s", diff)
		}
	}
	if len(keys) != 2 || slices.ContainsFunc(slices.Collect(maps.Values(keys)), func(n int) bool { return n != 2 }) {
		t.Errorf("the keys are %v, want two, each twice", keys)
	}
	d.put(t, "notify-dlq", events.SQSMessage{Body: "{}", MessageAttributes: map[string]events.SQSAttribute{"x": {DataType: "String", StringValue: "y"}}})
	r, err := d.Replay(t.Context(), deadletter.Order{Again: true})
	if err != nil || len(r.Letters) != 1 || !strings.Contains(r.Letters[0].Error, "without --again") {
		t.Errorf("what is no event: %+v, %v", r, err)
	}
	if got := len(d.in(t, "notify-dlq")); got != 1 {
		t.Errorf("%d letters are left, want the one that could not be replayed", got)
	}
}

// What somebody looks at, or does not select, is there for the next one at once.
func testSelect(t *testing.T, d desk) {
	for n := range 12 {
		queue, function := "notify-dlq", topology.Notify
		if n%3 == 0 {
			queue, function = "catalog-sync-dlq", topology.CatalogSync
		}
		d.put(t, queue, message(t, "github.push", n, parked(function, fmt.Sprintf("the reason %d.", n))))
	}
	first := d.list(t, deadletter.Selection{Queue: "notify-dlq"})[0].ID
	for _, test := range []struct {
		name string
		s    deadletter.Selection
		want int
	}{
		{"everything", deadletter.Selection{}, 12},
		{"a queue", deadletter.Selection{Queue: "catalog-sync-dlq"}, 4},
		{"a queue by its whole name", deadletter.Selection{Queue: d.Topology.Prefix + "-catalog-sync-dlq"}, 4},
		{"a message", deadletter.Selection{IDs: []string{first}}, 1},
		{"a message that is in another queue", deadletter.Selection{Queue: "catalog-sync-dlq", IDs: []string{first}}, 0},
		{"events", deadletter.Selection{IDs: []string{"github.push:delivery-3", "github.push:delivery-4", "github.push:delivery-99"}}, 2},
		{"a reason", deadletter.Selection{Reason: "reason 1"}, 3},
		{"a reason with its end", deadletter.Selection{Reason: "reason 1."}, 1},
		{"some", deadletter.Selection{Limit: 5}, 5},
		{"some of a reason", deadletter.Selection{Limit: 2, Reason: "reason 1"}, 2},
	} {
		if got := len(d.list(t, test.s)); got != test.want {
			t.Errorf("%s: %d letters, want %d", test.name, got, test.want)
		}
	}
	d.replay(t, deadletter.Order{Selection: deadletter.Selection{Reason: "reason 1", Queue: "notify-dlq"}, Confirmed: true})
	if got := len(d.list(t, deadletter.Selection{})); got != 9 {
		t.Errorf("%d letters are left, want 9", got)
	}
	d.has(t, topology.Notify, message(t, "github.push", 1, nil), message(t, "github.push", 10, nil), message(t, "github.push", 11, nil))
	d.has(t, topology.CatalogSync)
}

// More than one letter takes a second thought.
func testConfirm(t *testing.T, d desk) {
	for n := range 2 {
		d.put(t, "notify-dlq", message(t, "frobs.add", n, parked(topology.Notify, "why")))
	}
	for name, do := range map[string]func(context.Context, deadletter.Order) (deadletter.Result, error){"replay": d.Replay, "drop": d.Drop} {
		r, err := do(t.Context(), deadletter.Order{})
		if err != nil || r.Done || len(r.Letters) != 2 || !slices.Equal(r.Letters[0].To, []string{topology.Notify}) {
			t.Errorf("%s: %+v, %v; want to hear what would be done", name, r, err)
		}
	}
	d.has(t, topology.Notify)
	if r := d.replay(t, deadletter.Order{Selection: deadletter.Selection{Limit: 1}}); !r.Done || !r.More {
		t.Errorf("one of two: %+v", r)
	}
	if r := d.replay(t, deadletter.Order{}); !r.Done || r.More {
		t.Errorf("the last one: %+v", r)
	}
	d.has(t, topology.Notify, message(t, "frobs.add", 0, nil), message(t, "frobs.add", 1, nil))
}

func testDrop(t *testing.T, d desk) {
	for n := range 3 {
		d.put(t, "router-dlq", message(t, "frobs", n, parked(topology.Router, "why")))
	}
	r, err := d.Drop(t.Context(), deadletter.Order{Selection: deadletter.Selection{IDs: []string{"frobs:delivery-1"}}})
	if err != nil || !r.Done || len(r.Letters) != 1 || r.Letters[0].Error != "" {
		t.Errorf("%+v, %v", r, err)
	}
	d.has(t, "router-dlq", message(t, "frobs", 0, parked(topology.Router, "why")), message(t, "frobs", 2, parked(topology.Router, "why")))
	if r, err := d.Drop(t.Context(), all); err != nil || len(r.Letters) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	d.has(t, "router-dlq")
	d.has(t, "router-frobs")
}

// A person may know better where a letter belongs.
func testTo(t *testing.T, d desk) {
	d.put(t, topology.QueueSubscriptionsDLQ, message(t, "github.push", 1, nil))
	d.put(t, "notify-dlq", message(t, "github.push", 2, parked(topology.Notify, "why")))
	for _, to := range []string{"notify-dlq", "nothing", d.Topology.Prefix + "-subscriptions-dlq"} {
		if _, err := d.Replay(t.Context(), deadletter.Order{To: to, Confirmed: true}); events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(err.Error(), "router-frobs") {
			t.Errorf("to %s: %v, want to hear which queues there are", to, err)
		}
	}
	d.replay(t, deadletter.Order{To: d.Topology.Prefix + "-catalog-sync", Confirmed: true})
	d.has(t, topology.CatalogSync, message(t, "github.push", 1, nil), message(t, "github.push", 2, nil))
	d.has(t, topology.Notify)
}

// ofOthers is a message of the queue of others with as many attributes as there can be, and what else a body may be.
func ofOthers(body string) events.SQSMessage {
	m := events.SQSMessage{MessageID: "m-1", Body: body, Attributes: map[string]string{"MessageGroupId": "team", "SentTimestamp": "1793610900120"}}
	m.MessageAttributes = map[string]events.SQSAttribute{"ExtendedPayloadSize": {DataType: "Number.int", StringValue: "7"}}
	for i := range 9 {
		m.MessageAttributes[fmt.Sprint("X-Attribute-", i)] = events.SQSAttribute{DataType: "String.custom", StringValue: fmt.Sprintf("\"%d\"\n ä 😀", i)}
	}
	return m
}

// A message of a queue of others is read again by the function that reads it, or is in a queue of others as it was sent.
func testOthers(t *testing.T, d desk) {
	const body = "no \"event\" \\ ä 😀\r\n"
	letter := func() events.SQSMessage {
		m := sealed.Seal("builds", ofOthers(body))
		for name, value := range parked(topology.SQSPublisher, "why") {
			m.MessageAttributes[name] = events.SQSAttribute{DataType: "String", StringValue: value}
		}
		return m
	}
	q := d.Topology.Foreign[0]
	d.put(t, "sqs-publisher-dlq", letter())
	for _, to := range []string{"router-github", d.Topology.Prefix + "-notify"} {
		r, err := d.Replay(t.Context(), deadletter.Order{To: to})
		if err != nil || len(r.Letters) != 1 || !strings.Contains(r.Letters[0].Error, "--to") {
			t.Errorf("to %s: %+v, %v; want to hear who reads it", to, r, err)
		}
	}
	d.has(t, "router-github")
	d.replay(t, deadletter.Order{})
	d.has(t, topology.QueueIngest, sealed.Seal("builds", ofOthers(body)))
	want := []events.SQSMessage{}
	for _, to := range []string{q.Name, q.AWSName(), q.ARN} {
		d.put(t, "sqs-publisher-dlq", letter())
		if r := d.replay(t, deadletter.Order{To: to}); !slices.Equal(r.Letters[0].To, []string{q.Name}) {
			t.Errorf("--to %s is %v", to, r.Letters[0].To)
		}
		want = append(want, ofOthers(body))
		d.has(t, q.Name, want...)
	}
	d.has(t, "sqs-publisher-dlq")
	d.has(t, topology.QueueIngest, sealed.Seal("builds", ofOthers(body)))
}

// parkInto parks in a queue.
type parkInto struct {
	events.Queue

	desk  desk
	queue string
}

func (p parkInto) Park(ctx context.Context, m events.Message) error {
	return p.desk.Store.Send(ctx, p.queue, m.SQS("", "", 0))
}

// So is one that was too large to be parked, and a person can see it.
func testOthersTooLarge(t *testing.T, d desk) {
	const letters = "sqs-publisher-dlq"
	sent := ofOthers("")
	room := events.MaxSQSMessageSize - sent.Message().Size()
	sent.Body = strings.Repeat("\"\n", room/2) + strings.Repeat(".", room%2)
	bucket, err := d.Store.Bucket(t.Context(), letters)
	if err != nil {
		t.Fatal(err)
	}
	park := func() {
		t.Helper()
		m := sealed.Seal("builds", sent)
		for name, value := range parked(topology.SQSPublisher, "why") {
			m.MessageAttributes[name] = events.SQSAttribute{DataType: "String", StringValue: value}
		}
		if err := (sealed.Queue{Queue: parkInto{desk: d, queue: letters}, Bucket: bucket}).Park(t.Context(), m.Message()); err != nil {
			t.Fatal(err)
		}
	}
	park()
	listed := d.list(t, deadletter.Selection{})
	if len(listed) != 1 || listed[0].Reason != "why" || listed[0].Topic != "builds" || listed[0].Event != "builds:m-1" || !slices.Equal(listed[0].To, []string{topology.QueueIngest}) {
		t.Fatalf("the list is %+v, want the letter", listed)
	}
	whole, err := d.List(t.Context(), deadletter.Selection{IDs: []string{listed[0].ID}}, true)
	if err != nil || len(whole.Letters) != 1 {
		t.Fatalf("%+v, %v", whole, err)
	}
	l := whole.Letters[0]
	want := sealed.Seal("builds", sent).MessageAttributes[sealed.Attribute]
	if l.Error != "" || l.Body != sent.Body || l.Bytes != len(sent.Body) || !equalAttribute(l.Attributes[sealed.Attribute], want) || l.Attributes[events.AttributeParkedReason].StringValue != "why" {
		t.Errorf("the letter has %d bytes of %d, error %q, attributes %v", len(l.Body), len(sent.Body), l.Error, slices.Sorted(maps.Keys(l.Attributes)))
	}

	store, q := d.Store, d.Topology.Foreign[0]
	d.Store = broken{Store: store, bucket: errors.New("no network")}
	if r, err := d.Replay(t.Context(), deadletter.Order{To: q.ARN}); err != nil || !strings.Contains(r.Letters[0].Error, "no network") {
		t.Errorf("without the bucket: %+v, %v", r, err)
	}
	if r, err := d.List(t.Context(), deadletter.Selection{}, true); err != nil || len(r.Letters) != 1 || !strings.Contains(r.Letters[0].Error, "no network") || r.Letters[0].Body == "" {
		t.Errorf("without the bucket the letter is %+v, %v", r, err)
	}
	d.Store = store
	d.replay(t, deadletter.Order{To: q.ARN})
	if got := d.in(t, q.Name); len(got) != 1 || !equal(got[0], contentOf(sent)) {
		t.Error("it is not in the queue of others as it was sent")
	}
	park()
	d.replay(t, deadletter.Order{})
	got := d.in(t, topology.QueueIngest)
	if len(got) != 1 {
		t.Fatalf("%d messages are in the ingest queue", len(got))
	}
	read := events.SQSMessage{Body: got[0].Body, MessageAttributes: got[0].Attributes, Attributes: map[string]string{"MessageGroupId": got[0].Group}}
	if original, err := sealed.Original(t.Context(), bucket, read); err != nil || !equal(contentOf(original), contentOf(sent)) {
		t.Errorf("the function that reads it gets another message: %v", err)
	}
	if slices.ContainsFunc(slices.Collect(maps.Keys(got[0].Attributes)), func(name string) bool { return strings.HasPrefix(name, events.ParkedPrefix) }) {
		t.Error("what parking has added is still there")
	}
	d.has(t, letters)
}

func equal(a, b content) bool {
	return a.Body == b.Body && a.Group == b.Group && maps.EqualFunc(a.Attributes, b.Attributes, equalAttribute)
}

func equalAttribute(a, b events.SQSAttribute) bool {
	return a.DataType == b.DataType && a.StringValue == b.StringValue && string(a.BinaryValue) == string(b.BinaryValue)
}

// What a queue cannot take as it was sent stays a letter: nothing is changed on the way.
func testOthersBinary(t *testing.T, d desk) {
	sent := ofOthers("{}")
	sent.MessageAttributes["X-Attribute-0"] = events.SQSAttribute{DataType: "Binary.raw", BinaryValue: []byte{0, 0xff}}
	letter := sealed.Seal("builds", sent)
	d.put(t, "sqs-publisher-dlq", letter)
	r, err := d.Replay(t.Context(), deadletter.Order{To: d.Topology.Foreign[0].Name})
	if err != nil || len(r.Letters) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if failure := r.Letters[0].Error; failure != "" {
		if !strings.Contains(failure, "Binary") {
			t.Errorf("it is not replayed: %s", failure)
		}
		d.has(t, d.Topology.Foreign[0].Name)
		d.has(t, "sqs-publisher-dlq", letter)
		return
	}
	d.has(t, d.Topology.Foreign[0].Name, sent)
	d.has(t, "sqs-publisher-dlq")
}

// A letter of which nobody can say where it came from stays until a person does.
func testNoTarget(t *testing.T, d desk) {
	foreign := events.SQSMessage{Body: "no event", MessageAttributes: map[string]events.SQSAttribute{"x-mark": {DataType: "Number.int", StringValue: "7"}}}
	queueless := message(t, "gone.topic", 1, nil)
	d.put(t, "router-dlq", foreign)
	d.put(t, topology.QueueSubscriptionsDLQ, queueless)
	d.put(t, topology.QueueSubscriptionsDLQ, foreign)
	r, err := d.Replay(t.Context(), all)
	if err != nil || len(r.Letters) != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, l := range r.Letters {
		if !strings.Contains(l.Error, "--to") || l.Error != l.Unknown {
			t.Errorf("%s: %+v, want to hear what to do", l.Queue, l)
		}
	}
	d.has(t, "router-dlq", foreign)
	d.replay(t, deadletter.Order{Selection: deadletter.Selection{Queue: "router-dlq"}, To: "router-frobs"})
	d.has(t, "router-frobs", foreign)
	d.has(t, topology.QueueSubscriptionsDLQ, foreign, queueless)

	said := parked(topology.Router, "why")
	said[events.AttributeParkedQueue] = "arn:aws:sqs:eu-west-1:111122223333:" + d.Topology.Prefix + "-router-github"
	d.put(t, "router-dlq", message(t, "gone", 2, said))
	d.replay(t, deadletter.Order{Selection: deadletter.Selection{Queue: "router-dlq"}})
	d.has(t, "router-github", message(t, "gone", 2, nil))
}

// All of a letter, for somebody who wants to know.
func testWhole(t *testing.T, d desk) {
	m := message(t, "frobs.add", 1, parked(topology.Notify, "why"))
	d.put(t, "notify-dlq", m)
	r, err := d.List(t.Context(), deadletter.Selection{}, true)
	if err != nil || len(r.Letters) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if diff := gocmp.Diff(contentOf(m), content{r.Letters[0].Body, r.Letters[0].Group, r.Letters[0].Attributes}); diff != "" {
		t.Errorf("the letter (-want +got):\n%s", diff)
	}
}

// More than one request can take.
func testMany(t *testing.T, d desk) {
	var want []events.SQSMessage
	for n := range 25 {
		d.put(t, "notify-dlq", message(t, "frobs.add", n, parked(topology.Notify, "why")))
		want = append(want, message(t, "frobs.add", n, nil))
	}
	if r := d.replay(t, all); len(r.Letters) != 25 {
		t.Errorf("%d letters were replayed, want 25", len(r.Letters))
	}
	d.has(t, "notify-dlq")
	d.has(t, topology.Notify, want...)
}

// broken fails as told.
type broken struct {
	deadletter.Store
	send, remove func(queue string, m events.SQSMessage) error
	bucket       error
}

func (b broken) Bucket(ctx context.Context, queue string) (*events.Bucket, error) {
	if b.bucket != nil {
		return nil, b.bucket
	}
	return b.Store.Bucket(ctx, queue)
}

func (b broken) Send(ctx context.Context, queue string, m events.SQSMessage) error {
	if b.send != nil {
		if err := b.send(queue, m); err != nil {
			return err
		}
	}
	return b.Store.Send(ctx, queue, m)
}

func (b broken) Delete(ctx context.Context, queue string, m events.SQSMessage) error {
	if b.remove != nil {
		if err := b.remove(queue, m); err != nil {
			return err
		}
	}
	return b.Store.Delete(ctx, queue, m)
}

// A failure may double a letter and never loses one.
func testFailures(t *testing.T, d desk) {
	store, failure := d.Store, errors.New("no network")
	letter, whole := message(t, "github.push", 1, parked(topology.Notify, "why")), message(t, "github.push", 1, nil)
	d.put(t, "notify-dlq", letter)
	for _, test := range []struct {
		name         string
		send, remove error
		sent         []events.SQSMessage
	}{
		{"sending", failure, nil, nil},
		{"deleting", nil, failure, []events.SQSMessage{whole}},
	} {
		d.Store = broken{
			Store: store, send: func(string, events.SQSMessage) error { return test.send }, remove: func(string, events.SQSMessage) error { return test.remove },
		}
		r, err := d.Replay(t.Context(), deadletter.Order{})
		if err != nil || len(r.Letters) != 1 || !strings.Contains(r.Letters[0].Error, "no network") {
			t.Errorf("%s fails: %+v, %v; want to hear of it", test.name, r, err)
		}
		d.has(t, topology.Notify, test.sent...)
		d.has(t, "notify-dlq", letter)
	}
	d.Store = store
	d.replay(t, all)
	d.has(t, topology.Notify, whole, whole)
	d.has(t, "notify-dlq")

	d.put(t, topology.QueueSubscriptionsDLQ, message(t, "github.push", 2, nil)) // goes to two queues
	d.Store = broken{Store: store, send: func(queue string, _ events.SQSMessage) error {
		if queue == topology.Notify {
			return failure
		}
		return nil
	}}
	if r, err := d.Replay(t.Context(), all); err != nil || r.Letters[0].Error == "" {
		t.Errorf("one of two queues fails: %+v, %v", r, err)
	}
	d.has(t, topology.CatalogSync, message(t, "github.push", 2, nil))
	d.has(t, topology.QueueSubscriptionsDLQ, message(t, "github.push", 2, nil))
}

// What cannot be handled still is a dead letter again, and is not replayed for ever.
func testComesBack(t *testing.T, d desk) {
	store := d.Store
	for n := range 12 {
		d.put(t, "notify-dlq", message(t, "frobs.add", n, parked(topology.Notify, "why")))
	}
	d.Store = broken{Store: store, send: func(_ string, m events.SQSMessage) error { return store.Send(t.Context(), "notify-dlq", m) }}
	if r := d.replay(t, all); len(r.Letters) != 12 {
		t.Errorf("%d letters were replayed, want 12", len(r.Letters))
	}
	if got := len(d.in(t, "notify-dlq")); got != 12 {
		t.Errorf("%d letters are there again, want 12", got)
	}
}

// A person who loses patience leaves every letter somewhere, and can go on at once.
func testInterrupted(t *testing.T, d desk) {
	store := d.Store
	var want []events.SQSMessage
	for n := range 20 {
		d.put(t, "notify-dlq", message(t, "frobs.add", n, parked(topology.Notify, "why")))
		want = append(want, message(t, "frobs.add", n, nil))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.Store = broken{Store: store, remove: func(string, events.SQSMessage) error { cancel(); return nil }}
	r, err := d.Replay(ctx, all)
	failed := 0
	for _, l := range r.Letters {
		if l.Error != "" {
			failed++
		}
	}
	if err != nil || failed == 0 || failed == 20 {
		t.Errorf("%d of 20 letters were not replayed, %v; the test shows nothing", failed, err)
	}
	d.Store = store
	if got := len(d.in(t, "notify-dlq")); got != failed {
		t.Errorf("%d letters are left, want the %d that were not replayed", got, failed)
	}
	d.replay(t, all)
	bodies := map[string]bool{}
	for _, c := range d.in(t, topology.Notify) {
		bodies[c.Body] = true
	}
	for _, m := range want {
		if !bodies[m.Body] {
			t.Errorf("lost: %s", m.Body)
		}
	}
}

func testQueues(t *testing.T, d desk) {
	before := time.Now().Add(-time.Minute)
	d.put(t, "notify-dlq", message(t, "frobs.add", 1, parked(topology.Notify, "why")))
	d.put(t, "notify-dlq", message(t, "frobs.add", 2, nil))
	d.put(t, "router-dlq", message(t, "frobs", 3, nil))
	list, err := d.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, q := range list {
		counts[q.Name] = q.Letters
		switch old := q.Oldest.Before(before); {
		case q.Name == "notify-dlq" && !q.Oldest.Equal(time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)),
			q.Name == "router-dlq" && old, q.Letters == 0 && !q.Oldest.IsZero():
			t.Errorf("the oldest letter of %s is of %s", q.Name, q.Oldest)
		}
	}
	want := map[string]int{"sqs-publisher-dlq": 0, "router-dlq": 1, "catalog-sync-dlq": 0, "notify-dlq": 2, topology.QueueSubscriptionsDLQ: 0}
	if diff := gocmp.Diff(want, counts); diff != "" {
		t.Errorf("letters (-want +got):\n%s", diff)
	}
	d.has(t, "router-dlq", message(t, "frobs", 3, nil))
}

func testNoSuchQueue(t *testing.T, d desk) {
	for _, queue := range []string{"notify", "nothing", "notify-dl"} {
		if _, err := d.List(t.Context(), deadletter.Selection{Queue: queue}, false); events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(err.Error(), "subscriptions-dlq") {
			t.Errorf("%s: %v, want to hear which queues there are", queue, err)
		}
	}
	absent := "arn:aws:sqs:us-east-1:000000000000:" + d.Topology.Prefix + "-absent"
	if _, err := d.List(t.Context(), deadletter.Selection{Queue: absent}, false); events.ErrorCode(err) != events.CodeNotFound {
		t.Errorf("a queue that is not there: %v", err)
	}
}
