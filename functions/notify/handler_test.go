package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/functions/notify"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications/rules"
)

// directory is a catalog: groups with members, and entities with owners, by the text of their references.
type directory struct {
	members, owners map[string][]string
	err             error
}

func (d directory) Members(_ context.Context, group catalog.Ref) ([]catalog.Ref, error) {
	return refs(d.members[group.String()]...), d.err
}

func (d directory) Owners(_ context.Context, of []catalog.Ref) (map[catalog.Ref][]catalog.Ref, error) {
	owners := map[catalog.Ref][]catalog.Ref{}
	for _, ref := range of {
		owners[ref] = refs(d.owners[ref.String()]...)
	}
	return owners, d.err
}

func refs(texts ...string) []catalog.Ref {
	var refs []catalog.Ref
	for _, text := range texts {
		ref, err := catalog.ParseRef(text)
		if err != nil {
			panic(err)
		}
		refs = append(refs, ref)
	}
	return refs
}

func compile(t testing.TB, rs ...config.Rule) []*rules.Compiled {
	t.Helper()
	compiled, err := notify.Compile(rs)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func openInbox(t *testing.T) *inbox.Inbox {
	t.Helper()
	tab := boltdbtest.Open(t, time.Now)
	return &inbox.Inbox{Table: tab, Now: time.Now}
}

// titles are the sorted "origin: title" of what a user has.
func titles(t interface{ Fatal(...any) }, b *inbox.Inbox, user string) []string {
	list, _, err := b.List(context.Background(), refs(user)[0], inbox.Filter{}, nil, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{}
	for _, n := range list {
		texts = append(texts, n.Origin+": "+n.Payload.Title)
	}
	slices.Sort(texts)
	return texts
}

func event(id, topic, payload string) events.Event {
	return events.Event{ID: id, Topic: topic, Payload: []byte(payload), Metadata: events.Metadata{}, Time: time.UnixMilli(0).UTC()}
}

// hops collects what a batch says of its records.
type hops struct {
	mu   sync.Mutex
	list []events.Hop
}

func (h *hops) Observe(_ context.Context, hop events.Hop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, hop)
}

// deliver hands events to the handler as its queue does and returns the hop of each.
func deliver(t testing.TB, h *notify.Handler, es ...events.Event) []events.Hop {
	t.Helper()
	observer := &hops{}
	batch := events.Batch{Function: "notify", Subscriber: h, Observer: observer}
	var messages events.SQSEvent
	for i, e := range es {
		m, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		messages.Records = append(messages.Records, m.SQS(fmt.Sprint(i), "", 1))
	}
	batch.Handle(context.Background(), messages)
	return observer.list
}

func counts(h events.Hop) []string {
	list := []string{}
	for _, n := range h.Notes {
		if n.Kind == events.NoteCount {
			list = append(list, n.Value)
		}
	}
	return list
}

func TestRules(t *testing.T) {
	t.Parallel()
	world := directory{
		members: map[string][]string{"group:default/team": {"user:default/ann", "group:default/sub"}, "group:default/sub": {"user:default/bob", "group:default/team"}},
		owners:  map[string][]string{"component:default/known": {"group:default/sub"}, "component:default/moved": {"user:default/old"}},
	}
	for _, tc := range []struct {
		name    string
		rules   []config.Rule
		event   events.Event
		want    map[string][]string
		outcome events.Outcome
		counts  []string
	}{
		{
			name:  "users need no entity and get it once",
			rules: []config.Rule{{Name: "r", On: []string{"github.push"}, To: []string{"User:Ann", "user:default/ann", "group:team"}, Title: "${payload.x}"}},
			event: event("github:1", "github.push", `{"x":"hello"}`),
			want:  map[string][]string{"user:ann": {"callboard:rule:r: hello"}, "user:bob": {"callboard:rule:r: hello"}},
		},
		{
			name:  "owners that the event names",
			rules: []config.Rule{{Name: "r", On: []string{"catalog.changed"}, To: []string{"ownersOf:payload.removed"}, Title: "t"}},
			event: event("catalog:1", "catalog.changed", `{"removed":["component:default/moved","component:default/gone"],"owners":{"component:default/moved":["user:default/new"],"component:default/gone":["group:default/sub"]}}`),
			want:  map[string][]string{"user:new": {"callboard:rule:r: t"}, "user:bob": {"callboard:rule:r: t"}, "user:ann": {"callboard:rule:r: t"}, "user:old": {}},
		},
		{
			name:  "owners that the catalog knows",
			rules: []config.Rule{{Name: "r", On: []string{"github.push"}, To: []string{"ownersOf:[payload.component]"}, Title: "t"}},
			event: event("github:1", "github.push", `{"component":"component:known","owners":{"component:default/known":["user:default/evil"]}}`),
			want:  map[string][]string{"user:bob": {"callboard:rule:r: t"}, "user:evil": {}},
		},
		{
			name:   "nobody",
			rules:  []config.Rule{{Name: "r", On: []string{"github.push"}, To: []string{"group:empty", "ownersOf:['component:unknown']", "user:ann"}, Title: "t"}},
			event:  event("github:1", "github.push", `{}`),
			want:   map[string][]string{"user:ann": {"callboard:rule:r: t"}},
			counts: []string{"recipient reached nobody", "recipient reached nobody"},
		},
		{
			name: "a rule that fails harms no other",
			rules: []config.Rule{
				{Name: "first", On: []string{"github.push"}, When: "payload.missing > 1", To: []string{"user:ann"}, Title: "t"},
				{Name: "second", On: []string{"github.push"}, To: []string{"user:ann"}, Title: "t"},
				{Name: "third", On: []string{"github.push"}, To: []string{"user:ann"}, Title: "${payload.missing}"},
			},
			event:  event("github:1", "github.push", `{}`),
			want:   map[string][]string{"user:ann": {"callboard:rule:second: t"}},
			counts: []string{"rule first failed", "rule third failed"},
		},
		{
			name: "other topics and conditions that do not hold",
			rules: []config.Rule{
				{Name: "root", On: []string{"github"}, To: []string{"user:ann"}, Title: "t"},
				{Name: "false", On: []string{"github.push"}, When: "false", To: []string{"user:ann"}, Title: "t"},
			},
			event:   event("github:1", "github.push", `{}`),
			want:    map[string][]string{"user:ann": {}},
			outcome: events.OutcomeDropped,
		},
		{
			name:    "no rule for the topic",
			event:   event("github:1", "github.push", `{}`),
			outcome: events.OutcomeDropped,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := openInbox(t)
			h := &notify.Handler{Rules: compile(t, tc.rules...), Inbox: b, Catalog: world}
			hop := deliver(t, h, tc.event)[0]
			want := tc.outcome
			if want == "" {
				want = events.OutcomeOK
			}
			if hop.Outcome != want {
				t.Errorf("the outcome is %s (%s), want %s", hop.Outcome, hop.Reason, want)
			}
			if diff := cmp.Diff(append([]string{}, tc.counts...), counts(hop)); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			for user, list := range tc.want {
				if diff := cmp.Diff(list, titles(t, b, user)); diff != "" {
					t.Errorf("notifications of %s (-want +got):\n%s", user, diff)
				}
			}
		})
	}
}

func TestNotesNameNewNotifications(t *testing.T) {
	t.Parallel()
	b := openInbox(t)
	h := &notify.Handler{Rules: compile(t, config.Rule{Name: "r", On: []string{"x"}, To: []string{"user:ann"}, Title: "t"}), Inbox: b, Catalog: directory{}}
	e := event("x:1", "x", `{}`)
	list := deliver(t, h, e, e)
	found, _, err := b.List(t.Context(), refs("user:ann")[0], inbox.Filter{}, nil, 0, 10)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d notifications, %v; want one", len(found), err)
	}
	want := []events.Note{{Kind: events.NoteNotification, Value: found[0].ID + " user:default/ann"}}
	if diff := cmp.Diff(want, list[0].Notes); diff != "" {
		t.Errorf("notes of the first delivery (-want +got):\n%s", diff)
	}
	if list[1].Outcome != events.OutcomeOK || len(list[1].Notes) != 0 {
		t.Errorf("the second delivery: %s with notes %v, want ok without", list[1].Outcome, list[1].Notes)
	}
}

func TestCatalogThatFails(t *testing.T) {
	t.Parallel()
	b := openInbox(t)
	world := directory{members: map[string][]string{"group:default/team": {"user:default/ann"}}, err: errors.New("throttled")}
	h := &notify.Handler{Rules: compile(t,
		config.Rule{Name: "group", On: []string{"x"}, To: []string{"group:team"}, Title: "t"},
		config.Rule{Name: "user", On: []string{"x"}, To: []string{"user:ann"}, Title: "t"},
	), Inbox: b, Catalog: world}
	e := event("x:1", "x", `{}`)
	if hop := deliver(t, h, e)[0]; hop.Outcome != events.OutcomeRetry {
		t.Errorf("the outcome is %s, want retry", hop.Outcome)
	}
	if diff := cmp.Diff([]string{"callboard:rule:user: t"}, titles(t, b, "user:ann")); diff != "" {
		t.Errorf("while the catalog fails (-want +got):\n%s", diff)
	}
	world.err = nil
	h.Catalog = world
	if hop := deliver(t, h, e)[0]; hop.Outcome != events.OutcomeOK {
		t.Errorf("the outcome is %s, want ok", hop.Outcome)
	}
	if diff := cmp.Diff([]string{"callboard:rule:group: t", "callboard:rule:user: t"}, titles(t, b, "user:ann")); diff != "" {
		t.Errorf("after the retry (-want +got):\n%s", diff)
	}
}

// What is replayed once more makes a second notification, however often it is delivered; a plain replay makes none.
func TestAgain(t *testing.T) {
	t.Parallel()
	b := openInbox(t)
	h := &notify.Handler{Rules: compile(t, config.Rule{Name: "r", On: []string{"x"}, To: []string{"user:ann"}, Title: "t"}), Inbox: b, Catalog: directory{}}
	e := event("x:1", "x", `{}`)
	for i, again := range []string{"", "", "one", "one", "", "two"} {
		e.Again = again
		if hop := deliver(t, h, e)[0]; hop.Outcome != events.OutcomeOK {
			t.Errorf("the outcome is %s, want ok", hop.Outcome)
		}
		want := []int{1, 1, 2, 2, 2, 3}[i]
		if got := len(titles(t, b, "user:ann")); got != want {
			t.Errorf("delivery %d: %d notifications, want %d", i, got, want)
		}
	}
}

func TestPayloadThatIsNotJSON(t *testing.T) {
	t.Parallel()
	h := &notify.Handler{Rules: compile(t, config.Rule{Name: "r", On: []string{"x"}, To: []string{"user:ann"}, Title: "t"}), Inbox: openInbox(t), Catalog: directory{}}
	if err := h.OnEvent(t.Context(), event("x:1", "x", `{`)); events.ErrorCode(err) != events.CodeInvalid {
		t.Errorf("got %v, want an invalid error, which parks the event", err)
	}
}

func TestEndOfTime(t *testing.T) {
	t.Parallel()
	h := &notify.Handler{Rules: compile(t, config.Rule{Name: "r", On: []string{"x"}, To: []string{"user:ann"}, Title: "t"}), Inbox: openInbox(t), Catalog: directory{}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.OnEvent(ctx, event("x:1", "x", `{}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context was canceled", err)
	}
}

func TestCompileNamesThePath(t *testing.T) {
	t.Parallel()
	_, err := notify.Compile([]config.Rule{
		{Name: "a", To: []string{"user:x"}, Title: "t"},
		{Name: "b", To: []string{"user:x", "ownersOf:1"}, Title: "${oops}"},
	})
	got, _ := errors.AsType[config.Errors](err)
	want := config.Errors{
		{Path: "$.notifications.rules[1].to[1]", Message: "yields int; it must yield a list of entityRefs"},
		{Path: "$.notifications.rules[1].title", Message: "${oops}: column 1: undeclared reference to 'oops'"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// flaky is an inbox that fails before or after every few calls.
type flaky struct {
	notify.Inbox
	mu    sync.Mutex
	fails []bool // one for each call, before it; then one after it
}

func (f *flaky) fail() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.fails) == 0 {
		return false
	}
	fail := f.fails[0]
	f.fails = f.fails[1:]
	return fail
}

func (f *flaky) Store(ctx context.Context, m inbox.Message) (string, bool, error) {
	if f.fail() {
		return "", false, errors.New("not reached")
	}
	id, duplicate, err := f.Inbox.Store(ctx, m)
	if f.fail() {
		return "", false, errors.New("the answer was lost")
	}
	return id, duplicate, err
}

// TestOneNotificationForEachEventRuleAndRecipient delivers events repeatedly, in any order and with failures.
func TestOneNotificationForEachEventRuleAndRecipient(t *testing.T) {
	t.Parallel()
	b := openInbox(t)
	world := directory{members: map[string][]string{"group:default/team": {"user:default/ann", "user:default/bob"}}}
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++ // users and events of their own, in one table
		suffix := fmt.Sprint(run)
		world.members["group:default/team"+suffix] = []string{"user:default/ann" + suffix, "user:default/bob" + suffix}
		compiled, err := notify.Compile([]config.Rule{
			{Name: "a", On: []string{"x", "x.y"}, To: []string{"group:team" + suffix, "user:ann" + suffix}, Title: "${topic} ${payload}"},
			{Name: "b", On: []string{"x.y"}, To: []string{"user:ann" + suffix}, Title: "${topic} ${payload}"},
		})
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(1, 4).Draw(t, "events")
		var deliveries []events.Event
		var ann, bob []string
		for i := range n {
			for _, topic := range []string{"x", "x.y"} {
				e := event(fmt.Sprintf("x:%s-%d", suffix, i), topic, fmt.Sprint(i))
				for range rapid.IntRange(1, 3).Draw(t, "times") {
					deliveries = append(deliveries, e)
				}
				line := fmt.Sprintf("callboard:rule:a: %s %d", topic, i)
				ann, bob = append(ann, line), append(bob, line)
			}
			ann = append(ann, fmt.Sprintf("callboard:rule:b: x.y %d", i))
		}
		deliveries = rapid.Permutation(deliveries).Draw(t, "order")
		store := &flaky{Inbox: b, fails: rapid.SliceOfN(rapid.Bool(), 0, 20).Draw(t, "fails")}
		h := &notify.Handler{Rules: compiled, Inbox: store, Catalog: world}
		for len(deliveries) > 0 {
			e := deliveries[0]
			deliveries = deliveries[1:]
			if err := h.OnEvent(context.Background(), e); err != nil {
				if !strings.Contains(err.Error(), "not reached") && !strings.Contains(err.Error(), "the answer was lost") {
					t.Fatal(err)
				}
				deliveries = append(deliveries, e)
			}
		}
		slices.Sort(ann)
		slices.Sort(bob)
		if diff := cmp.Diff(ann, titles(t, b, "user:ann"+suffix)); diff != "" {
			t.Fatalf("notifications of ann (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(bob, titles(t, b, "user:bob"+suffix)); diff != "" {
			t.Fatalf("notifications of bob (-want +got):\n%s", diff)
		}
	})
}
