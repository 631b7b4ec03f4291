package topology_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each archive has a configuration, and the topology or the errors that come out.
func TestBuildGolden(t *testing.T) {
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
			got := outcome(t, archive.Files[0].Data)
			if *update {
				archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

func outcome(t *testing.T, data []byte) string {
	t.Helper()
	c, err := config.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	top, err := topology.Build(c)
	if err == nil {
		return top.String()
	}
	if _, ok := errors.AsType[config.Errors](err); !ok {
		t.Errorf("error is a %T", err)
	}
	return err.Error() + "\n"
}

func build(t *testing.T, data string) *topology.Topology {
	t.Helper()
	c, err := config.Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	top, err := topology.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func TestLookups(t *testing.T) {
	t.Parallel()
	top := build(t, `{
		"topics": {
			"github": {"from": "github", "secrets": ["a"]},
			"frobs": {"from": "hmac", "secrets": ["a"], "signature": {"header": "x-sig"}, "deliveryId": "body:id", "subTopic": ["header:X-Kind", "body:type"]},
			"flat": {"from": "hmac", "secrets": ["a"], "signature": {"header": "x-sig"}}
		},
		"notifications": {"rules": [{"name": "r", "on": ["github.push"], "to": ["user:guest"], "title": "t"}]}
	}`)
	for topic, want := range map[string]bool{"github": true, "github.push": true, "flat": true, "github.ping": false, "GitHub": false, "push": false, "": false} {
		if got := top.Wanted(topic); got != want {
			t.Errorf("Wanted(%q) = %t", topic, got)
		}
	}
	if name, ok := top.SNSName("github.push"); name != "callboard-github_push" || !ok {
		t.Errorf("SNSName = %q, %t", name, ok)
	}
	if name, ok := top.SNSName("github.ping"); name != "" || ok {
		t.Errorf("SNSName of a topic that nobody wants = %q, %t", name, ok)
	}
	if got, none := top.AWSName(topology.QueueIngest), top.AWSName("other"); got != "callboard-ingest" || none != "" {
		t.Errorf("AWSName = %q, of a queue that is not there %q", got, none)
	}
	for topic, want := range map[string][]string{"github": {"metadata:x-github-event"}, "frobs": {"metadata:x-kind", "body:type"}, "flat": nil, "other": nil} {
		var got []string
		for _, s := range top.SubTopicRules(topic) {
			got = append(got, s.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("SubTopicRules(%q) (-want +got):\n%s", topic, diff)
		}
	}
	if d := top.DeliveryID("frobs"); d == nil || d.String() != "body:id" {
		t.Errorf("DeliveryID = %v", d)
	}
	if d := top.DeliveryID("flat"); d != nil {
		t.Errorf("DeliveryID of a topic without one = %v", d)
	}
}

// A topic that somebody exports, or a sub-topic of it, carries more on all hops; the others carry what SNS takes.
func TestLimit(t *testing.T) {
	t.Parallel()
	top := build(t, `{
		"topics": {"github": {"from": "github", "secrets": ["a"]}, "gitlab": {"from": "gitlab", "secrets": ["a"], "publish": ["push"]}},
		"exports": [
			{"name": "backstage", "topics": ["github.push", "github"]}, {"name": "lake", "topics": ["github"], "claimChecks": true},
			{"name": "other", "topics": ["github"]}
		]
	}`)
	const much = 1<<20 - 4<<10
	for topic, want := range map[string]int{"github": much, "github.push": much, "github.ping": much, "gitlab": 1 << 18, "gitlab.push": 1 << 18, "": 1 << 18} {
		if got := top.Limit(topic); got != want {
			t.Errorf("Limit(%q) = %d, want %d", topic, got, want)
		}
	}
	for topic, want := range map[string][]string{"github": {"backstage", "other"}, "github.push": {"backstage"}, "github.ping": nil, "gitlab": nil} {
		if diff := cmp.Diff(want, top.Withheld(topic)); diff != "" {
			t.Errorf("Withheld(%q) (-want +got):\n%s", topic, diff)
		}
	}
	if !top.Wanted("gitlab.push") {
		t.Error("what a topic publishes has no SNS topic")
	}
}

// A function gets the secrets it needs and no others.
func TestSecrets(t *testing.T) {
	t.Parallel()
	top := build(t, `{
		"topics": {
			"github": {"from": "github", "secrets": ["hook", "hook-2"]},
			"other": {"from": "github", "secrets": ["hook"]}
		},
		"integrations": {"github": [
			{"token": "read", "apps": [{"appId": 1, "privateKey": "app-key"}]},
			{"host": "unused.example.com", "token": "unused", "apps": [{"appId": 1, "privateKey": "unused-key"}]}
		]},
		"catalog": {"providers": {"github": {"a": {"organization": "a"}, "b": {"organization": "b"}}}},
		"notifications": {"rules": [{"name": "r", "on": ["github.push"], "to": ["user:guest"], "title": "t"}]},
		"api": {"tokens": [{"secret": "portal", "subject": "user:guest", "may": ["catalog.read"]}]}
	}`)
	got := map[string][]string{}
	for _, f := range top.Functions {
		got[f.Name] = f.Secrets
	}
	want := map[string][]string{
		topology.Ingress: {"hook", "hook-2"}, topology.SQSPublisher: nil, topology.Router: nil, topology.CatalogSync: {"app-key", "read"},
		topology.Notify: nil, topology.CatalogAPI: {"portal"}, topology.NotificationsAPI: {"portal"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestBuildRejectsBadSelectors(t *testing.T) {
	t.Parallel()
	_, err := topology.Build(&config.Config{Topics: map[string]config.Topic{"a": {DeliveryID: "x", SubTopic: []string{"body:ok", "body:"}}}})
	errs, _ := errors.AsType[config.Errors](err)
	var paths []string
	for _, e := range errs {
		paths = append(paths, e.Path)
	}
	if diff := cmp.Diff([]string{"$.topics.a.subTopic[1]", "$.topics.a.deliveryId"}, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

var awsName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Whatever the names are: AWS takes what comes out, no two things have one name, everything that is referred to
// exists, and every queue that is read has a dead-letter queue and enough time.
func TestBuildProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		top, err := topology.Build(c)
		if err != nil {
			errs, ok := errors.AsType[config.Errors](err)
			if !ok || len(errs) == 0 || !strings.Contains(err.Error(), "would be called") {
				t.Fatalf("error %v", err)
			}
			return
		}
		checkNames(t, top)
		checkReferences(t, top)
		again, err := topology.Build(c)
		if err != nil || again.String() != top.String() {
			t.Fatalf("a second run differs: %v", err)
		}
	})
}

func drawConfig(t *rapid.T) *config.Config {
	c := &config.Config{
		Topics: map[string]config.Topic{},
		AWS:    config.AWS{Prefix: rapid.StringMatching(`[a-z][a-z0-9-]{0,30}`).Draw(t, "prefix")},
	}
	// A small alphabet makes collisions, and the long names are too long for a queue.
	roots := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab_-]{1,3}|dlq|a{40,64}`), 1, 4, rapid.ID).Draw(t, "topics")
	for _, root := range roots {
		from := rapid.SampledFrom(config.Senders()).Draw(t, "from")
		topic := config.Topic{From: from, Secrets: []string{"s"}}
		if rapid.Bool().Draw(t, "has sub-topics") {
			topic.SubTopic = []string{"body:type"}
		}
		c.Topics[root] = topic
	}
	if rapid.Bool().Draw(t, "has a provider") {
		c.Catalog.Providers.GitHub = map[string]config.GitHubProvider{"a": {Host: "github.com", Organization: "a"}}
	}
	on := rapid.Map(rapid.StringMatching(`(\.[ab:_-]{1,2}){0,2}`), func(sub string) string {
		return roots[0] + sub
	})
	for range rapid.IntRange(0, 3).Draw(t, "rules") {
		c.Notifications.Rules = append(c.Notifications.Rules, config.Rule{On: rapid.SliceOfN(on, 1, 2).Draw(t, "on")})
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "exports") {
		c.Exports = append(c.Exports, config.Export{
			Name: []string{"a", "a-b"}[i], Topics: rapid.SliceOfNDistinct(on, 1, 2, rapid.ID).Draw(t, "exported"), ClaimChecks: rapid.Bool().Draw(t, "claim checks"),
		})
	}
	return c
}

func checkNames(t *rapid.T, top *topology.Topology) {
	var topics, queues, functions []string
	for _, x := range top.Topics {
		topics = append(topics, x.AWSName)
		if !events.ValidTopic(x.Name) {
			t.Errorf("topic %q is not valid", x.Name)
		}
	}
	for _, x := range top.Queues {
		queues = append(queues, x.AWSName)
	}
	for _, x := range top.Functions {
		functions = append(functions, x.AWSName)
	}
	for kind, names := range map[string][]string{"topics": topics, "queues": queues, "functions": functions} {
		limit := map[string]int{"topics": 256, "queues": 80, "functions": 64}[kind]
		for i, n := range names {
			if !awsName.MatchString(n) || len(n) > limit || !strings.HasPrefix(n, top.Prefix+"-") || slices.Contains(names[:i], n) {
				t.Errorf("name %q of %s %v", n, kind, names)
			}
		}
	}
}

func checkReferences(t *rapid.T, top *topology.Topology) {
	queues := map[string]topology.Queue{}
	for _, q := range top.Queues {
		queues[q.Name] = q
	}
	isDeadLetter := func(name string) bool {
		q, ok := queues[name]
		return ok && q.Function == "" && q.Export == "" && q.Retention == 14*24*time.Hour
	}
	functions, read := map[string]topology.Function{}, map[string]string{}
	for _, f := range top.Functions {
		functions[f.Name] = f
		for _, name := range f.Queues {
			read[name] = f.Name
		}
		if len(f.Queues) > 0 != isDeadLetter(f.DeadLetter) {
			t.Errorf("function %+v has queues or dead letters, but not both", f)
		}
	}
	for _, q := range top.Queues {
		if q.Function != read[q.Name] {
			t.Errorf("queue %s is read by %q, which reads it: %q", q.Name, q.Function, read[q.Name])
		}
		if q.Export != "" && (!isDeadLetter(q.DeadLetter) || q.Function != "" || !top.Wanted(q.Topic) || q.Retention >= 14*24*time.Hour) {
			t.Errorf("queue %+v", q)
		}
		if q.Function != "" && (!isDeadLetter(q.DeadLetter) || q.VisibilityTimeout < 6*functions[q.Function].Timeout) {
			t.Errorf("queue %+v", q)
		}
	}
	for i, s := range top.Subscriptions {
		if !top.Wanted(s.Topic) || isDeadLetter(s.Queue) || queues[s.Queue].Name == "" || s.WithoutClaimChecks && queues[s.Queue].Export == "" || !isDeadLetter(s.DeadLetter) || slices.Contains(top.Subscriptions[:i], s) {
			t.Errorf("subscription %+v", s)
		}
	}
	for _, r := range top.Routes {
		if _, ok := functions[r.Function]; !ok {
			t.Errorf("route %+v leads nowhere", r)
		}
	}
	for _, s := range top.Schedules {
		if _, ok := functions[s.Function]; !ok {
			t.Errorf("schedule %+v leads nowhere", s)
		}
	}
}

// A queue of others is found where its ARN says, and the function that asks it has the time that a poll counts on.
func TestForeignQueue(t *testing.T) {
	t.Parallel()
	top := build(t, `{"topics": {
		"a": {"from": "queue", "queue": "arn:aws:sqs:eu-west-1:111122223333:a", "poll": {}},
		"b": {"from": "queue", "queue": "arn:aws-cn:sqs:cn-north-1:444455556666:b.fifo"}
	}}`)
	var urls []string
	for _, q := range top.Foreign {
		urls = append(urls, q.URL())
	}
	want := []string{"https://sqs.eu-west-1.amazonaws.com/111122223333/a", "https://sqs.cn-north-1.amazonaws.com.cn/444455556666/b.fifo"}
	if diff := cmp.Diff(want, urls); diff != "" {
		t.Errorf("URLs (-want +got):\n%s", diff)
	}
	if a, b := top.PollOf("a"), top.PollOf("b"); a != "poll-a" || b != "" {
		t.Errorf("the schedules are %q and %q", a, b)
	}
	for _, f := range top.Functions {
		if f.Name == topology.SQSPublisher && f.Timeout != config.RunTimeout {
			t.Errorf("the publisher has %v, a poll counts on %v", f.Timeout, config.RunTimeout)
		}
	}
}

// What Callboard publishes to a topic with exports can be parked, with the longest that parking adds.
func TestLimit_RoomForParking(t *testing.T) {
	t.Parallel()
	topo := build(t, `{
		"topics": {"github": {"from": "github", "secrets": ["s"]}},
		"exports": [{"name": "backstage", "topics": ["github.push"]}]}`)
	limit := topo.Limit("github.push")
	e := events.Event{
		ID: "github:" + strings.Repeat("i", 500), Topic: "github." + strings.Repeat("t", events.MaxTopicLength-len("github.")), Time: time.Now(), Payload: []byte(`""`),
	}
	fits := func(n int) bool {
		e.Payload = []byte(`"` + strings.Repeat("x", n) + `"`)
		_, err := events.Encoder{MaxSize: limit}.Encode(e)
		return err == nil
	}
	low, high := 0, events.MaxSQSMessageSize
	for high-low > 1 {
		if mid := (low + high) / 2; fits(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	e.Payload = []byte(`"` + strings.Repeat("x", low) + `"`)
	m, err := events.Encoder{MaxSize: limit}.Encode(e)
	if err != nil || m.Size() != limit {
		t.Fatalf("the largest message has %d bytes of %d: %v", m.Size(), limit, err)
	}
	q := &letters{}
	b := &events.Batch{
		Function: strings.Repeat("f", 64), Queue: q, Observer: q,
		Subscriber: events.SubscriberFunc(func(context.Context, events.Event) error {
			return events.Park(errors.New(strings.Repeat("😀", 1000)))
		}),
	}
	record := m.SQS("m", "r", 1)
	record.EventSourceARN = "arn:aws-us-gov:sqs:us-gov-west-1:111122223333:" + strings.Repeat("q", 80)
	if again := b.Handle(t.Context(), events.SQSEvent{Records: []events.SQSMessage{record}}).BatchItemFailures; len(again) > 0 || len(q.parked) != 1 {
		t.Fatal("the message is not parked")
	}
	if n := q.parked[0].Size(); n > events.MaxSQSMessageSize || len(q.parked[0].Attributes) != 7 {
		t.Errorf("the dead letter has %d bytes and %d attributes; SQS takes %d", n, len(q.parked[0].Attributes), events.MaxSQSMessageSize)
	}
}

// letters is a dead-letter queue.
type letters struct{ parked []events.Message }

func (*letters) ChangeVisibility(context.Context, events.SQSMessage, time.Duration) error { return nil }

func (*letters) Observe(context.Context, events.Hop) {}

func (l *letters) Park(_ context.Context, m events.Message) error {
	l.parked = append(l.parked, m)
	return nil
}
