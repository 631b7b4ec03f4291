package awsevents_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

// server answers as told and records the requests.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
}

func serve(t *testing.T, answer func(body string) (status int, answer string)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // whoever asks has given up
		}
		s.mu.Lock()
		s.bodies = append(s.bodies, string(body))
		s.mu.Unlock()
		status, text := answer(string(body))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bodies)
}

// request is a PublishBatch as it came.
type request struct {
	topic   string
	entries []url.Values // fields of each entry, without their common prefix
	size    int
}

func parse(t *testing.T, body string) request {
	t.Helper()
	form, err := url.ParseQuery(body)
	if err != nil || form.Get("Action") != "PublishBatch" {
		t.Errorf("not a PublishBatch: %s, %v", body, err)
	}
	r := request{topic: form.Get("TopicArn")}
	for i := 1; ; i++ {
		entry := url.Values{}
		for name, values := range form {
			if field, ok := strings.CutPrefix(name, fmt.Sprintf("PublishBatchRequestEntries.member.%d.", i)); ok {
				entry[field] = values
			}
		}
		if len(entry) == 0 {
			return r
		}
		r.entries = append(r.entries, entry)
		r.size += len(entry.Get("Message"))
		for name, values := range entry {
			if strings.HasPrefix(name, "MessageAttributes.") {
				r.size += len(values[0])
			}
		}
	}
}

// published is the answer in which entries fail, by id with a code and a message, or are not mentioned.
func published(r request, failed map[string][2]string, silent ...string) string {
	var ok, bad strings.Builder
	for _, entry := range r.entries {
		id := entry.Get("Id")
		if f, is := failed[id]; is {
			fmt.Fprintf(&bad, "<member><Id>%s</Id><Code>%s</Code><Message>%s</Message><SenderFault>true</SenderFault></member>", id, f[0], f[1])
		} else if !slices.Contains(silent, id) {
			fmt.Fprintf(&ok, "<member><Id>%s</Id><MessageId>m</MessageId></member>", id)
		}
	}
	return "<PublishBatchResponse><PublishBatchResult><Successful>" + ok.String() + "</Successful><Failed>" + bad.String() + "</Failed></PublishBatchResult></PublishBatchResponse>"
}

func publisher(t *testing.T, s *server) *awsevents.Publisher {
	t.Helper()
	return &awsevents.Publisher{
		Client: sns.NewFromConfig(awsclienttest.Config(t, s.URL)), ARNPrefix: "arn:aws:sns:us-east-1:1:",
		Name: func(topic string) (string, bool) {
			return "callboard-" + strings.ReplaceAll(topic, ".", "_"), topic != "nobody"
		},
	}
}

func TestPublish_Batches(t *testing.T) {
	t.Parallel()
	s := serve(t, func(body string) (int, string) { return 200, published(parse(t, body), nil) })
	var es []events.Event
	for i := range 25 {
		es = append(es, eventstest.NewEvent("github.push", i))
	}
	es = append(es, eventstest.NewEvent("gitlab", 25), eventstest.NewEvent("nobody", 26))
	for i := range 5 { // two of these fit into a request
		large := eventstest.NewEvent("large", i)
		large.Payload = []byte(`"` + strings.Repeat("x", events.MaxMessageSize/5*2) + `"`)
		es = append(es, large)
	}
	if err := publisher(t, s).Publish(t.Context(), es...); err != nil {
		t.Fatal(err)
	}

	got := map[string][]int{}
	for _, body := range s.requests() {
		r := parse(t, body)
		got[r.topic] = append(got[r.topic], len(r.entries))
		if len(r.entries) > 10 || r.size > events.MaxMessageSize {
			t.Errorf("a request for %s has %d entries and %d bytes", r.topic, len(r.entries), r.size)
		}
		ids := map[string]bool{}
		for _, entry := range r.entries {
			ids[entry.Get("Id")] = true
		}
		if len(ids) != len(r.entries) {
			t.Errorf("the ids %v of %d entries are not distinct", ids, len(r.entries))
		}
	}
	for _, sizes := range got {
		slices.Sort(sizes)
	}
	want := map[string][]int{
		"arn:aws:sns:us-east-1:1:callboard-github_push": {5, 10, 10},
		"arn:aws:sns:us-east-1:1:callboard-gitlab":      {1},
		"arn:aws:sns:us-east-1:1:callboard-large":       {1, 2, 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries of the requests (-want +got):\n%s", diff)
	}
}

// A topic that takes more gets more, in one message and in one request.
func TestPublish_Limit(t *testing.T) {
	t.Parallel()
	s := serve(t, func(body string) (int, string) { return 200, published(parse(t, body), nil) })
	p := publisher(t, s)
	p.Limit = func(topic string) int {
		if topic == "large" {
			return 1_000_000
		}
		return events.MaxMessageSize
	}
	var es []events.Event
	for i, topic := range []string{"large", "large", "large", "small"} {
		e := eventstest.NewEvent(topic, i)
		e.Payload = []byte(`"` + strings.Repeat("x", 400_000) + `"`)
		es = append(es, e)
	}
	err := p.Publish(t.Context(), es...)
	for i, want := range []events.Code{"", "", "", events.CodeTooLarge} {
		if got := events.ErrorCode(events.PublishErrorOf(err, i)); got != want {
			t.Errorf("event %d: %q, want %q", i, got, want)
		}
	}
	var sizes []int
	for _, body := range s.requests() {
		r := parse(t, body)
		sizes = append(sizes, len(r.entries))
		if r.size > 1_000_000 {
			t.Errorf("a request has %d bytes", r.size)
		}
	}
	slices.Sort(sizes)
	if diff := cmp.Diff([]int{1, 2}, sizes); diff != "" {
		t.Errorf("entries of the requests (-want +got):\n%s", diff)
	}
}

func TestPublish_Entry(t *testing.T) {
	t.Parallel()
	s := serve(t, func(body string) (int, string) { return 200, published(parse(t, body), nil) })
	e := eventstest.NewEvent("github.push", 1)
	if err := publisher(t, s).Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	entry := parse(t, s.requests()[0]).entries[0]
	got := events.Message{Body: entry.Get("Message"), GroupID: entry.Get("MessageGroupId"), Attributes: map[string]events.Attribute{}}
	for i := 1; entry.Has(fmt.Sprintf("MessageAttributes.entry.%d.Name", i)); i++ {
		field := fmt.Sprintf("MessageAttributes.entry.%d.", i)
		got.Attributes[entry.Get(field+"Name")] = events.Attribute{
			DataType: entry.Get(field + "Value.DataType"), StringValue: entry.Get(field + "Value.StringValue"),
		}
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("the entry (-message +sent):\n%s", diff)
	}
}

// TestPublish_PartialFailure: of each request the second entry fails, the third is not mentioned in the answer.
func TestPublish_PartialFailure(t *testing.T) {
	t.Parallel()
	s := serve(t, func(body string) (int, string) {
		return 200, published(parse(t, body), map[string][2]string{"1": {"InternalError", "try again"}}, "2")
	})
	var es []events.Event
	for i := range 12 {
		es = append(es, eventstest.NewEvent("t", i))
	}
	es[0].Payload = []byte("{\x01}") // is never sent
	err := publisher(t, s).Publish(t.Context(), es...)
	for i := range es {
		want := map[int]events.Code{0: events.CodeInvalid, 2: events.CodeUnavailable, 3: events.CodeUnavailable}[i] // 11 is alone in its request
		if got := events.ErrorCode(events.PublishErrorOf(err, i)); got != want {
			t.Errorf("event %d: code %q, want %q (%v)", i, got, want, events.PublishErrorOf(err, i))
		}
	}
}

// blobs is a store of payloads.
type blobs map[string][]byte

func (b blobs) Put(_ context.Context, key string, data []byte) error { b[key] = data; return nil }

func (b blobs) Get(_ context.Context, key string) ([]byte, error) { return b[key], nil }

// What a topic takes decides what goes into the bucket; who publishes is told of what was published as a claim check.
func TestPublish_ClaimChecks(t *testing.T) {
	t.Parallel()
	s := serve(t, func(body string) (int, string) {
		if strings.Contains(body, "refused") {
			return 403, "<ErrorResponse><Error><Code>AuthorizationError</Code></Error></ErrorResponse>"
		}
		return 200, published(parse(t, body), nil)
	})
	large := func(topic string, n int) events.Event {
		e := eventstest.NewEvent(topic, n)
		e.Payload = []byte(`"` + strings.Repeat("x", events.MaxMessageSize) + `"`)
		return e
	}
	es := []events.Event{large("t", 0), eventstest.NewEvent("t", 1), large("exported", 2), large("nobody", 3), large("refused", 4)}
	store, told := blobs{}, []string{}
	p := publisher(t, s)
	p.Limit = func(topic string) int {
		return map[string]int{"exported": events.MaxSQSMessageSize}[topic]
	}
	p.OnClaimCheck = func(_ context.Context, e events.Event) { told = append(told, e.ID) }
	err := p.Publish(t.Context(), es...)
	for i, want := range []events.Code{events.CodeTooLarge, "", "", "", events.CodeTooLarge} {
		if got := events.ErrorCode(events.PublishErrorOf(err, i)); got != want {
			t.Errorf("without a bucket: event %d: code %q, want %q", i, got, want)
		}
	}
	p.Bucket = &events.Bucket{Name: "b", Store: store}
	err = p.Publish(t.Context(), es...)
	for i, want := range []events.Code{"", "", "", "", events.CodeUnavailable} {
		if got := events.ErrorCode(events.PublishErrorOf(err, i)); got != want {
			t.Errorf("event %d: code %q, want %q", i, got, want)
		}
	}
	if len(store) != 2 { // that of the topic nobody subscribes to is not among them
		t.Errorf("%d payloads are stored, want 2", len(store))
	}
	if diff := cmp.Diff([]string{es[0].ID}, told); diff != "" {
		t.Errorf("the publisher was told of (-want +got):\n%s", diff)
	}
}

// failures are answers of SQS and SNS, and what follows from them.
var failures = []struct {
	status        int
	code, message string
	want          events.Code
}{
	{400, "InvalidParameter", "Invalid parameter: Message too long", events.CodeTooLarge},
	{400, "InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.", events.CodeTooLarge},
	{400, "BatchRequestTooLong", "The length of all the messages put together is more than the limit.", events.CodeTooLarge},
	{400, "InvalidParameter", "Invalid parameter: MessageAttributes", events.CodeInvalid},
	{400, "InvalidMessageContents", "", events.CodeInvalid},
	{400, "InvalidParameter", "Invalid parameter: TopicArn", events.CodeUnavailable},
	{404, "NotFound", "Topic does not exist", events.CodeUnavailable},
	{400, "AWS.SimpleQueueService.NonExistentQueue", "", events.CodeUnavailable},
	{403, "AuthorizationError", "is not authorized to perform: SNS:Publish", events.CodeUnavailable},
	{403, "AccessDenied", "", events.CodeUnavailable},
	{400, "Throttling", "Rate exceeded", events.CodeUnavailable},
	{400, "KMSThrottlingException", "", events.CodeUnavailable},
	{500, "InternalError", "", events.CodeUnavailable},
	{503, "ServiceUnavailable", "", events.CodeUnavailable},
}

func TestPublish_Errors(t *testing.T) {
	t.Parallel()
	for _, tt := range failures {
		s := serve(t, func(string) (int, string) {
			return tt.status, fmt.Sprintf("<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", tt.code, tt.message)
		})
		err := publisher(t, s).Publish(t.Context(), eventstest.NewEvent("t", 1), eventstest.NewEvent("t", 2))
		want := tt.want
		if want == events.CodeTooLarge { // the topic is to blame, see TestPublish_TopicTakesLess
			want = events.CodeUnavailable
		}
		for i := range 2 {
			e := events.PublishErrorOf(err, i)
			if got := events.ErrorCode(e); got != want || !strings.Contains(e.Error(), "callboard-t") {
				t.Errorf("%d %s %q: event %d has %v (%s), want %s and the name of the topic", tt.status, tt.code, tt.message, i, e, got, want)
			}
		}
	}
}

// While a deployment changes what a topic takes, function and topic may differ: an event that only the topic finds too
// large comes again, whether its request was refused or it alone, and is not parked.
func TestPublish_TopicTakesLess(t *testing.T) {
	t.Parallel()
	const tooLong = "Invalid parameter: Message too long"
	for name, answer := range map[string]func(body string) (int, string){
		"the request": func(string) (int, string) {
			return 400, "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>" + tooLong + "</Message></Error></ErrorResponse>"
		},
		"the event": func(body string) (int, string) {
			return 200, published(parse(t, body), map[string][2]string{"0": {"InvalidParameter", tooLong}})
		},
	} {
		s := serve(t, func(body string) (int, string) {
			if strings.Contains(body, "VisibilityTimeout") {
				return 200, "{}"
			}
			return answer(body)
		})
		b := &events.Batch{
			Function: "f", Observer: silent{}, Queue: &awsevents.Queue{Client: sqs.NewFromConfig(awsclienttest.Config(t, s.URL)), DeadLetterURL: s.URL + "/1/f-dlq"},
			Subscriber: &events.Router{Publisher: publisher(t, s), Route: func(e events.Event) (string, error) { return e.Topic, nil }},
		}
		record := message(t).SQS("m", "receipt", 1)
		record.EventSourceARN = "arn:aws:sqs:us-east-1:1:f"
		got := b.Handle(t.Context(), events.SQSEvent{Records: []events.SQSMessage{record}})
		if requests := s.requests(); len(got.BatchItemFailures) != 1 || len(requests) != 2 || !strings.Contains(requests[1], `"VisibilityTimeout":5`) {
			t.Errorf("%s is too large: %v is reported after the requests %q, want the message after a rest of 5 s", name, got, requests)
		}
	}
}

func TestPublish_Unreachable(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.Close()
	err := publisher(t, s).Publish(t.Context(), eventstest.NewEvent("t", 1))
	if got := events.ErrorCode(events.PublishErrorOf(err, 0)); got != events.CodeUnavailable {
		t.Errorf("%v, want code %s", err, events.CodeUnavailable)
	}
}

func sender(t *testing.T, s *server) *awsevents.Sender {
	t.Helper()
	return &awsevents.Sender{Client: sqs.NewFromConfig(awsclienttest.Config(t, s.URL)), URL: s.URL + "/1/ingest"}
}

func message(t *testing.T) events.Message {
	t.Helper()
	m, err := events.Encode(eventstest.NewEvent("github", 1))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSend(t *testing.T) {
	t.Parallel()
	s := serve(t, func(string) (int, string) { return 200, "{}" })
	m := message(t)
	if err := sender(t, s).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var sent struct {
		QueueURL          string `json:"QueueUrl"`
		Body              string `json:"MessageBody"`
		GroupID           string `json:"MessageGroupId"`
		MessageAttributes map[string]events.Attribute
	}
	if err := json.Unmarshal([]byte(s.requests()[0]), &sent); err != nil {
		t.Fatal(err)
	}
	got := events.Message{Body: sent.Body, Attributes: sent.MessageAttributes, GroupID: sent.GroupID}
	if diff := cmp.Diff(m, got); diff != "" || sent.QueueURL != s.URL+"/1/ingest" {
		t.Errorf("sent to %s (-message +sent):\n%s", sent.QueueURL, diff)
	}
}

func TestSend_Errors(t *testing.T) {
	t.Parallel()
	for _, tt := range failures {
		s := serve(t, func(string) (int, string) {
			return tt.status, fmt.Sprintf(`{"__type":%q,"message":%q}`, tt.code, tt.message)
		})
		err := sender(t, s).Send(t.Context(), message(t))
		want := tt.want
		if strings.Contains(tt.message, "TopicArn") {
			continue // not an answer of SQS
		}
		if got := events.ErrorCode(err); got != want || !strings.Contains(events.ErrorMessage(err), "/1/ingest") {
			t.Errorf("%d %s %q: %v (%s), want %s and the name of the queue", tt.status, tt.code, tt.message, err, got, want)
		}
	}
}

func TestSend_RefusesWhatSQSWould(t *testing.T) {
	t.Parallel()
	s := serve(t, func(string) (int, string) { return 200, "{}" })
	large, empty := message(t), message(t)
	large.Body, empty.Body = strings.Repeat("x", events.MaxSQSMessageSize), ""
	for want, m := range map[events.Code]events.Message{events.CodeTooLarge: large, events.CodeInvalid: empty} {
		if err := sender(t, s).Send(t.Context(), m); events.ErrorCode(err) != want {
			t.Errorf("%v, want code %s", err, want)
		}
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestChangeVisibility(t *testing.T) {
	t.Parallel()
	for hidden, want := range map[time.Duration]int{
		-time.Second: 0, 0: 0, time.Nanosecond: 1, time.Second: 1, 1500 * time.Millisecond: 2, 10 * time.Minute: 600, 13 * time.Hour: 43_200,
	} {
		s := serve(t, func(string) (int, string) { return 200, "{}" })
		q := &awsevents.Queue{Client: sqs.NewFromConfig(awsclienttest.Config(t, s.URL)), DeadLetterURL: s.URL + "/1/notify-dlq"}
		m := events.SQSMessage{ReceiptHandle: "receipt", EventSourceARN: "arn:aws:sqs:us-east-1:2:notify"}
		if err := q.ChangeVisibility(t.Context(), m, hidden); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(s.requests()[0]), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"QueueUrl": s.URL + "/2/notify", "ReceiptHandle": "receipt", "VisibilityTimeout": float64(want)}, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", hidden, diff)
		}
	}
}

func TestChangeVisibility_BadAddresses(t *testing.T) {
	t.Parallel()
	s := serve(t, func(string) (int, string) { return 200, "{}" })
	for i, tt := range []struct{ arn, dead string }{
		{"", s.URL + "/1/dlq"},
		{"arn:aws:sns:us-east-1:2:topic", s.URL + "/1/dlq"},
		{"arn:aws:sqs:us-east-1:2:", s.URL + "/1/dlq"},
		{"arn:aws:sqs:us-east-1:2:notify", "dlq"},
	} {
		q := &awsevents.Queue{Client: sqs.NewFromConfig(awsclienttest.Config(t, s.URL)), DeadLetterURL: tt.dead}
		if err := q.ChangeVisibility(t.Context(), events.SQSMessage{EventSourceARN: tt.arn}, time.Second); events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("%s: %v, want code %s", strconv.Itoa(i), err, events.CodeInvalid)
		}
	}
}

func TestPark(t *testing.T) {
	t.Parallel()
	s := serve(t, func(string) (int, string) { return 200, "{}" })
	q := &awsevents.Queue{Client: sqs.NewFromConfig(awsclienttest.Config(t, s.URL)), DeadLetterURL: s.URL + "/1/notify-dlq"}
	m := message(t)
	if err := q.Park(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if body := s.requests()[0]; !strings.Contains(body, s.URL+"/1/notify-dlq") {
		t.Errorf("parked with %s, want in the dead-letter queue", body)
	}
}

// A topic or a dead-letter queue that is missing or forbidden is the state of a deployment: the event comes again, and is
// neither lost nor parked.
func TestBatch_MissingOrForbiddenComesAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"NotFound", "AuthorizationError", "AccessDenied", "AWS.SimpleQueueService.NonExistentQueue", "KMSAccessDeniedException"} {
		for name, subscriber := range map[string]func(s *server) events.Subscriber{
			"publishing": func(s *server) events.Subscriber {
				return &events.Router{Publisher: publisher(t, s), Route: func(e events.Event) (string, error) { return e.Topic, nil }}
			},
			"parking": func(*server) events.Subscriber {
				return events.SubscriberFunc(func(context.Context, events.Event) error { return events.Park(errors.New("no use")) })
			},
		} {
			s := serve(t, func(body string) (int, string) {
				if strings.Contains(body, "VisibilityTimeout") {
					return 200, "{}"
				}
				return 403, fmt.Sprintf(`<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error></ErrorResponse>`, code)
			})
			b := &events.Batch{
				Function: "f", Subscriber: subscriber(s), Observer: silent{},
				Queue: &awsevents.Queue{Client: sqs.NewFromConfig(awsclienttest.Config(t, s.URL)), DeadLetterURL: s.URL + "/1/f-dlq"},
			}
			record := message(t).SQS("m", "receipt", 1)
			record.EventSourceARN = "arn:aws:sqs:us-east-1:1:f"
			got := b.Handle(t.Context(), events.SQSEvent{Records: []events.SQSMessage{record}})
			if len(got.BatchItemFailures) != 1 {
				t.Errorf("%s, %s: %v is reported, want the message", name, code, got)
			}
			last := s.requests()[len(s.requests())-1]
			if len(s.requests()) != 2 || !strings.Contains(last, `"VisibilityTimeout":5`) {
				t.Errorf("%s, %s: the requests are %q, want the failed one and a rest of 5 s", name, code, s.requests())
			}
		}
	}
}

// silent observes nothing.
type silent struct{}

func (silent) Observe(context.Context, events.Hop) {}
