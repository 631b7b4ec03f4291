package router_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/functions/router"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
	"github.com/callboard/callboard/pkg/events/memory"
)

// wants routes by the given rules; nobody wants the unwanted topics.
type wants struct {
	rules    []events.Selector
	unwanted []string
}

func (w wants) SubTopicRules(topic string) []events.Selector {
	if topic != "github" {
		return nil
	}
	return w.rules
}

func (w wants) Wanted(topic string) bool { return !slices.Contains(w.unwanted, topic) }

// recorder is a publisher that remembers what it got.
type recorder struct{ got []events.Event }

func (r *recorder) Publish(_ context.Context, es ...events.Event) error {
	r.got = append(r.got, es...)
	return nil
}

// hops collects hops.
type hops []events.Hop

func (h *hops) Observe(_ context.Context, hop events.Hop) { *h = append(*h, hop) }

func rules(t *testing.T, texts ...string) []events.Selector {
	t.Helper()
	list := make([]events.Selector, len(texts))
	for i, text := range texts {
		var err error
		if list[i], err = events.ParseSelector(text); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func batchOf(t *testing.T, es ...events.Event) events.SQSEvent {
	t.Helper()
	var batch events.SQSEvent
	for i, e := range es {
		m, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		batch.Records = append(batch.Records, m.SQS(fmt.Sprint("m", i), "r", 1))
	}
	return batch
}

func TestRouter(t *testing.T) {
	t.Parallel()
	const none, odd, long, unwanted = "no sub-topic", "sub-topic is not a name", "sub-topic is too long", "nobody subscribes to the sub-topic"
	for name, test := range map[string]struct {
		topic    string
		rules    []string
		metadata events.Metadata
		payload  string
		want     string // the topic
		dropped  string // or why there is none
	}{
		"header":           {"github", []string{"header:X-Type"}, events.Metadata{"x-type": "push"}, `{}`, "github.push", ""},
		"body":             {"github", []string{"body:event.type"}, nil, `{"event":{"type":"add"}}`, "github.add", ""},
		"first rule":       {"github", []string{"header:x-type", "body:type"}, events.Metadata{"x-type": "a"}, `{"type":"b"}`, "github.a", ""},
		"second rule":      {"github", []string{"header:x-type", "body:type"}, events.Metadata{"x-type": ""}, `{"type":"b"}`, "github.b", ""},
		"several segments": {"github", []string{"body:type"}, nil, `{"type":"a.b"}`, "github.a.b", ""},
		"longest":          {"github", []string{"body:type"}, nil, `{"type":"` + strings.Repeat("s", 193) + `"}`, "github." + strings.Repeat("s", 193), ""},
		"any case":         {"github", []string{"header:X-TYPE"}, events.Metadata{"x-type": "push"}, `{}`, "github.push", ""},
		"element":          {"github", []string{"body:changes[1].new.type"}, nil, `{"changes":[{},{"new":{"type":"tag"}}]}`, "github.tag", ""},
		"dotted member":    {"github", []string{`body:labels["a.b/c"]`}, nil, `{"labels":{"a.b/c":"x","a":{"b/c":"y"}}}`, "github.x", ""},
		"joined":           {"github", []string{"${header:X-Type}.${body:object_attributes.action}"}, events.Metadata{"x-type": "issue"}, `{"object_attributes":{"action":"open"}}`, "github.issue.open", ""},
		"half of a name":   {"github", []string{"${header:x-type}.${body:action}", "header:x-type"}, events.Metadata{"x-type": "issue"}, `{"action":1}`, "github.issue", ""},
		"joined to a line": {"github", []string{"${body:a}-${body:b}"}, nil, `{"a":"x\t","b":"y"}`, "", odd},
		"true":             {"github", []string{"body:type"}, nil, `{"type":true}`, "", none},
		"absent":           {"github", []string{"header:x-type", "body:type"}, nil, `{}`, "", none},
		"empty":            {"github", []string{"body:type"}, nil, `{"type":""}`, "", none},
		"object":           {"github", []string{"body:type"}, nil, `{"type":{"name":"push"}}`, "", none},
		"number":           {"github", []string{"body:type"}, nil, `{"type":1}`, "", none},
		"not an object":    {"github", []string{"body:type"}, nil, `["type"]`, "", none},
		"no rules":         {"other", []string{"body:type"}, nil, `{"type":"push"}`, "", none},
		"space":            {"github", []string{"body:type"}, nil, `{"type":"a b"}`, "", odd},
		"slash":            {"github", []string{"body:type"}, nil, `{"type":"../a"}`, "", odd},
		"line":             {"github", []string{"body:type"}, nil, `{"type":"a\n"}`, "", odd},
		"umlaut":           {"github", []string{"header:x-type"}, events.Metadata{"x-type": "ä"}, `{}`, "", odd},
		"too long":         {"github", []string{"body:type"}, nil, `{"type":"` + strings.Repeat("s", 300) + `"}`, "", long},
		"nobody":           {"github", []string{"body:type"}, nil, `{"type":"star"}`, "", unwanted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := eventstest.NewEvent(test.topic, 1)
			e.Payload, e.Promoted, e.Metadata = []byte(" "+test.payload+"\n"), nil, events.Metadata{"x-other": "kept"}
			for name, value := range test.metadata {
				e.Metadata[name] = value
			}
			p, h := &recorder{}, &hops{}
			b := &events.Batch{Function: topology.Router, Observer: h, Subscriber: router.New(p, wants{rules(t, test.rules...), []string{"github.star"}})}
			if got := b.Handle(t.Context(), batchOf(t, e)); len(got.BatchItemFailures) != 0 {
				t.Errorf("failures %v, want none: there is nothing to try again", got)
			}
			var want []events.Event
			outcome := events.OutcomeDropped
			if test.want != "" {
				outcome, e.Topic = events.OutcomeOK, test.want
				want = append(want, e)
			}
			if diff := cmp.Diff(want, p.got); diff != "" {
				t.Errorf("published events, which differ from the received ones in the topic only (-want +got):\n%s", diff)
			}
			if hop := (*h)[0]; hop.Outcome != outcome || hop.Reason != test.dropped {
				t.Errorf("outcome %q because of %q, want %q because of %q", hop.Outcome, hop.Reason, outcome, test.dropped)
			}
		})
	}
}

func TestRouter_Batch(t *testing.T) {
	t.Parallel()
	broker := memory.New()
	defer func() { _ = broker.Close() }()
	pushes, all := &eventstest.Recorder{}, &eventstest.Recorder{}
	for id, s := range map[string]*eventstest.Recorder{"github.push": pushes, "github.ping": all} {
		if err := broker.Subscribe(id, []string{id}, s); err != nil {
			t.Fatal(err)
		}
	}
	es := make([]events.Event, 4)
	for i, kind := range []string{"push", "nothing wanted", "ping", "push"} {
		es[i] = eventstest.NewEvent("github", i)
		es[i].Metadata["x-type"] = kind
	}
	b := &events.Batch{Observer: &hops{}, Subscriber: router.New(broker, wants{rules: rules(t, "header:x-type")})}
	if got := b.Handle(t.Context(), batchOf(t, es...)); len(got.BatchItemFailures) != 0 {
		t.Errorf("failures %v, want none", got)
	}
	if err := broker.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := make(map[string]events.Event)
	for _, i := range []int{0, 3} {
		e := es[i]
		e.Topic = "github.push"
		want[e.ID] = e
	}
	if diff := cmp.Diff(want, pushes.Events()); diff != "" {
		t.Errorf("events of github.push (-want +got):\n%s", diff)
	}
	if got := all.Events(); len(got) != 1 || got[es[2].ID].Topic != "github.ping" {
		t.Errorf("events of github.ping: %v, want the third", got)
	}
}

// countingStore keeps payloads and counts what is asked of it.
type countingStore struct {
	payloads map[string][]byte
	gets     int
}

func (s *countingStore) Put(_ context.Context, key string, data []byte) error {
	s.payloads[key] = data
	return nil
}

func (s *countingStore) Get(_ context.Context, key string) ([]byte, error) {
	s.gets++
	return s.payloads[key], nil
}

// A payload that is in the bucket is fetched only where a rule looks for the sub-topic in it; the claim check goes on as
// it came either way.
func TestRouter_LargeEvents(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules    []string
		metadata events.Metadata
		gets     int
		want     string
	}{
		"header":               {[]string{"header:x-type"}, events.Metadata{"x-type": "push"}, 0, "github.push"},
		"header, absent":       {[]string{"header:x-type"}, nil, 0, ""},
		"header before body":   {[]string{"header:x-type", "body:type"}, events.Metadata{"x-type": "push"}, 0, "github.push"},
		"body after no header": {[]string{"header:x-type", "body:type"}, nil, 1, "github.add"},
		"body before header":   {[]string{"body:type", "header:x-type"}, events.Metadata{"x-type": "push"}, 1, "github.add"},
		"body, absent":         {[]string{"body:other", "header:x-type"}, events.Metadata{"x-type": "push"}, 1, "github.push"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &countingStore{payloads: map[string][]byte{}}
			bucket := &events.Bucket{Name: "b", Store: s}
			e := eventstest.NewEvent("github", 1)
			e.Payload, e.Metadata, e.Promoted = []byte(`{"type":"add"}`+strings.Repeat(" ", events.MaxMessageSize)), test.metadata, nil
			m, err := events.Encoder{Bucket: bucket}.Offload(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			p := &recorder{}
			b := &events.Batch{Observer: &hops{}, Bucket: bucket, Subscriber: router.New(p, wants{rules: rules(t, test.rules...)})}
			b.Handle(t.Context(), events.SQSEvent{Records: []events.SQSMessage{m.SQS("m", "r", 1)}})
			if s.gets != test.gets {
				t.Errorf("%d payloads were fetched, want %d", s.gets, test.gets)
			}
			var topics []string
			for _, e := range p.got {
				topics = append(topics, e.Topic)
				if out, err := events.Encode(e); err != nil || out.Body != m.Body {
					t.Errorf("the message is %.200s, %v; want the claim check as it came", out.Body, err)
				}
			}
			if got := strings.Join(topics, " "); got != test.want {
				t.Errorf("published to %q, want %q", got, test.want)
			}
		})
	}
}
