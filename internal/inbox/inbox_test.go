package inbox_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
)

var (
	alice = catalog.Ref{Kind: "user", Namespace: "default", Name: "alice"}
	bob   = catalog.Ref{Kind: "user", Namespace: "default", Name: "bob"}
	start = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
)

// clock is a time that tests move.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(start.UnixMilli())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func open(t *testing.T, c *clock) *inbox.Inbox {
	t.Helper()
	tab := boltdbtest.Open(t, c.now)
	return &inbox.Inbox{Table: tab, Now: c.now}
}

func store(t *testing.T, b *inbox.Inbox, m inbox.Message) string {
	t.Helper()
	id, duplicate, err := b.Store(t.Context(), m)
	if err != nil || duplicate {
		t.Fatalf("store: duplicate %v, %v", duplicate, err)
	}
	return id
}

func get(t *testing.T, b *inbox.Inbox, user catalog.Ref, id string) notifications.Notification {
	t.Helper()
	n, err := b.Get(t.Context(), user, id)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func list(t *testing.T, b *inbox.Inbox, user catalog.Ref) []notifications.Notification {
	t.Helper()
	found, total, err := b.List(t.Context(), user, inbox.Filter{}, nil, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if total != len(found) {
		t.Fatalf("the total is %d of %d notifications", total, len(found))
	}
	return found
}

func ids(list []notifications.Notification) []string {
	ids := []string{}
	for _, n := range list {
		ids = append(ids, n.ID)
	}
	return ids
}

func payload(title, scope string) notifications.Payload {
	return notifications.Payload{Title: title, Scope: scope, Severity: notifications.SeverityNormal}
}

func TestStoreAndGet(t *testing.T) {
	t.Parallel()
	b := open(t, newClock())
	p := notifications.Payload{
		Title: "Hello", Description: "d", Link: "/l", Severity: notifications.SeverityHigh, Topic: "t", Icon: "i", Metadata: []byte(`{"a":[1]}`),
	}
	id := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: p})
	want := notifications.Notification{ID: id, User: "user:default/alice", Created: start, Origin: "ci", Payload: p}
	if diff := cmp.Diff(want, get(t, b, alice, id)); diff != "" {
		t.Errorf("notification (-want +got):\n%s", diff)
	}
	for name, f := range map[string]func() error{
		"of somebody else": func() error { _, err := b.Get(t.Context(), bob, id); return err },
		"unknown": func() error {
			_, err := b.Get(t.Context(), alice, "018e0000-0000-7000-8000-000000000000")
			return err
		},
		"no id": func() error { _, err := b.Get(t.Context(), alice, "status"); return err },
	} {
		if err := f(); events.ErrorCode(err) != events.CodeNotFound {
			t.Errorf("%s: got %v, want not found", name, err)
		}
	}
}

func TestTheLargestPayloadFits(t *testing.T) {
	t.Parallel()
	b := open(t, newClock())
	worst := strings.Repeat("\x01", notifications.MaxDescription) // six bytes each in JSON
	p := notifications.Payload{
		Title: strings.Repeat("😀", notifications.MaxTitle), Description: worst, Scope: strings.Repeat("😀", notifications.MaxTitle),
		Topic: strings.Repeat("\x01", notifications.MaxTitle), Icon: strings.Repeat("😀", notifications.MaxTitle), Link: "/" + strings.Repeat("l", notifications.MaxLink-1),
		Metadata: []byte(`{"k":"` + strings.Repeat("m", notifications.MaxMetadata-8) + `"}`), Severity: notifications.SeverityLow,
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	id := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: p})
	if diff := cmp.Diff(p, get(t, b, alice, id).Payload); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}

func TestDeliveryHappensOnce(t *testing.T) {
	t.Parallel()
	c := newClock()
	b := open(t, c)
	once := inbox.Delivery{Subscriber: "notify", Topic: "github.push", Event: "github:1", Rule: "r", Channel: "inbox"}
	m := inbox.Message{User: alice, Origin: "rule", Payload: payload("one", ""), Once: &once}
	id := store(t, b, m)
	again, duplicate, err := b.Store(t.Context(), m)
	if err != nil || !duplicate || again != id {
		t.Errorf("the second time: %q, duplicate %v, %v; want the duplicate of %q", again, duplicate, err, id)
	}

	for name, change := range map[string]func(d *inbox.Delivery, m *inbox.Message){
		"topic":     func(d *inbox.Delivery, _ *inbox.Message) { d.Topic = "github" },
		"event":     func(d *inbox.Delivery, _ *inbox.Message) { d.Event = "github:2" },
		"rule":      func(d *inbox.Delivery, _ *inbox.Message) { d.Rule = "s" },
		"channel":   func(d *inbox.Delivery, _ *inbox.Message) { d.Channel = "email" },
		"recipient": func(_ *inbox.Delivery, m *inbox.Message) { m.User = bob },
	} {
		other, m := once, m
		m.Once = &other
		change(&other, &m)
		if _, duplicate, err := b.Store(t.Context(), m); err != nil || duplicate {
			t.Errorf("another %s: duplicate %v, %v; want a new notification", name, duplicate, err)
		}
	}
	if got := len(list(t, b, alice)); got != 5 {
		t.Errorf("%d notifications, want 5", got)
	}

	c.advance(inbox.DoneRetention + time.Second)
	if _, duplicate, err := b.Store(t.Context(), m); err != nil || duplicate {
		t.Errorf("after the done record expired: duplicate %v, %v; want a new notification", duplicate, err)
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	c := newClock()
	b := open(t, c)
	first := payload("build 1 failed", "build")
	first.Description, first.Link, first.Icon = "d", "/l", "i"
	id := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: first})
	yes := true
	if _, err := b.Mark(t.Context(), alice, []string{id}, &yes, &yes); err != nil {
		t.Fatal(err)
	}

	c.advance(time.Hour)
	if again := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("build 2 failed", "build")}); again != id {
		t.Errorf("a send with the same scope made %s, want it to replace %s", again, id)
	}
	want := notifications.Notification{
		ID: id, User: "user:default/alice", Created: start, Updated: start.Add(time.Hour), Saved: start, Origin: "ci", Payload: payload("build 2 failed", "build"),
	}
	if diff := cmp.Diff([]notifications.Notification{want}, list(t, b, alice)); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}

	for name, m := range map[string]inbox.Message{
		"origin": {User: alice, Origin: "cd", Payload: payload("x", "build")},
		"scope":  {User: alice, Origin: "ci", Payload: payload("x", "deploy")},
		"user":   {User: bob, Origin: "ci", Payload: payload("x", "build")},
		"none":   {User: alice, Origin: "ci", Payload: payload("x", "")},
	} {
		if other := store(t, b, m); other == id {
			t.Errorf("another %s replaced the notification", name)
		}
	}
}

func TestScopedDeliveryHappensOnce(t *testing.T) {
	t.Parallel()
	b := open(t, newClock())
	send := func(event, title string) (string, bool) {
		id, duplicate, err := b.Store(t.Context(), inbox.Message{User: alice, Origin: "r", Payload: payload(title, "s"), Once: &inbox.Delivery{Event: event}})
		if err != nil {
			t.Fatal(err)
		}
		return id, duplicate
	}
	id, _ := send("1", "old")
	send("2", "new")
	if again, duplicate := send("1", "old"); !duplicate || again != id {
		t.Errorf("the first event again: %q, duplicate %v; want the duplicate of %q", again, duplicate, id)
	}
	if got := get(t, b, alice, id).Payload.Title; got != "new" {
		t.Errorf("the title is %q, want that of the second event", got)
	}
}

func TestConcurrentSendsWithOneScope(t *testing.T) {
	t.Parallel()
	b := open(t, newClock())
	var g sync.WaitGroup
	for i := range 20 {
		g.Go(func() {
			_, _, err := b.Store(context.Background(), inbox.Message{
				User: alice, Origin: "ci", Payload: payload("x", "s"), Once: &inbox.Delivery{Event: fmt.Sprint(i / 2)},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if got := len(list(t, b, alice)); got != 1 {
		t.Errorf("%d notifications, want 1", got)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	c := newClock()
	b := open(t, c)
	store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("plain", "")})
	scoped := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("scoped", "s")})
	c.advance(inbox.Retention / 2)
	store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("scoped", "s")})
	c.advance(inbox.Retention/2 + time.Second)
	if diff := cmp.Diff([]string{scoped}, ids(list(t, b, alice))); diff != "" {
		t.Errorf("after the retention of the first send (-want +got):\n%s", diff)
	}
	c.advance(inbox.Retention)
	if got := ids(list(t, b, alice)); len(got) != 0 {
		t.Errorf("%v are left, want nothing", got)
	}
	if id := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("scoped", "s")}); id == scoped {
		t.Error("the id of an expired notification was used again")
	}
}

// deleted is a table whose scope pointers lead to a notification that is gone, as when DynamoDB deleted only one of two
// expired items.
type deleted struct{ table.Table }

func (d deleted) Get(ctx context.Context, key table.Key) (table.Item, error) {
	if strings.HasPrefix(key.SK, "n#") {
		return table.Item{}, table.NotFound(key)
	}
	return d.Table.Get(ctx, key)
}

func TestScopePointerOfADeletedNotification(t *testing.T) {
	t.Parallel()
	b := open(t, newClock())
	old := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("old", "s")})
	broken := &inbox.Inbox{Table: deleted{b.Table}, Now: b.Now}
	fresh := store(t, broken, inbox.Message{User: alice, Origin: "ci", Payload: payload("fresh", "s")})
	if fresh == old {
		t.Fatal("the notification that is gone was used")
	}
	if again := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("again", "s")}); again != fresh {
		t.Errorf("the next send made %s, want it to replace %s", again, fresh)
	}
}

// contended is a table in which somebody else always writes first.
type contended struct{ table.Table }

func (contended) Transact(context.Context, ...table.Op) error { return table.ErrConflict }

func TestContentionIsNotEndless(t *testing.T) {
	t.Parallel()
	b := open(t, newClock())
	b.Table = contended{b.Table}
	_, _, err := b.Store(t.Context(), inbox.Message{User: alice, Payload: payload("x", "")})
	if events.ErrorCode(err) != events.CodeUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Store(ctx, inbox.Message{User: alice, Payload: payload("x", "")}); err == nil {
		t.Error("stored although the context had ended")
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	c := newClock()
	b := open(t, c)
	one := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("one", "")})
	two := store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: payload("two", "")})
	foreign := store(t, b, inbox.Message{User: bob, Origin: "ci", Payload: payload("bob's", "")})
	yes, no := true, false
	mark := func(read, saved *bool, ids ...string) []notifications.Notification {
		t.Helper()
		c.advance(time.Minute)
		marked, err := b.Mark(t.Context(), alice, ids, read, saved)
		if err != nil {
			t.Fatal(err)
		}
		return marked
	}

	marked := mark(&yes, nil, one, foreign, "nonsense", "018e0000-0000-7000-8000-000000000000", two, one)
	if diff := cmp.Diff([]string{two, one}, ids(marked)); diff != "" {
		t.Errorf("marked (-want +got):\n%s", diff)
	}
	if !get(t, b, bob, foreign).Read.IsZero() {
		t.Error("the notification of somebody else was marked")
	}
	mark(nil, &yes, one)
	n := get(t, b, alice, one)
	if n.Read != start.Add(time.Minute) || n.Saved != start.Add(2*time.Minute) {
		t.Errorf("read %v and saved %v, want each from its own mark", n.Read, n.Saved)
	}
	mark(&no, nil, one)
	if n := get(t, b, alice, one); !n.Read.IsZero() || n.Saved != start.Add(2*time.Minute) {
		t.Errorf("read %v and saved %v, want unread and still saved", n.Read, n.Saved)
	}
	if diff := cmp.Diff([]string{one}, ids(mark(nil, nil, one, foreign))); diff != "" {
		t.Errorf("marked as nothing (-want +got):\n%s", diff)
	}
	if got := mark(&yes, &yes); len(got) != 0 {
		t.Errorf("no ids: %v, want nothing", got)
	}

	status, err := b.Status(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(inbox.Status{Unread: 1, Read: 1}, status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	c := newClock()
	b := open(t, c)
	names := map[string]string{}
	add := func(name string, p notifications.Payload) {
		names[store(t, b, inbox.Message{User: alice, Origin: "ci", Payload: p})] = name
		c.advance(time.Hour)
	}
	add("a", notifications.Payload{Title: "Apple", Severity: notifications.SeverityLow, Topic: "fruit"})
	add("b", notifications.Payload{Title: "Banana", Description: "50% off", Severity: notifications.SeverityCritical, Topic: "fruit"})
	add("c", notifications.Payload{Title: "Carrot", Severity: notifications.SeverityHigh, Topic: "root"})
	add("d", notifications.Payload{Title: "date", Severity: notifications.SeverityNormal, Scope: "s"})
	yes, no := true, false
	var carrot, banana string
	for id, name := range names {
		switch name {
		case "b":
			banana = id
		case "c":
			carrot = id
		}
	}
	if _, err := b.Mark(t.Context(), alice, []string{banana}, &yes, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Mark(t.Context(), alice, []string{carrot}, nil, &yes); err != nil {
		t.Fatal(err)
	}

	for _, tc := range []struct {
		name          string
		filter        inbox.Filter
		order         []string
		offset, limit int
		want          string
		total         int
	}{
		{"newest first", inbox.Filter{}, nil, 0, 10, "dcba", 4},
		{"page", inbox.Filter{}, nil, 1, 2, "cb", 4},
		{"last page", inbox.Filter{}, nil, 3, 2, "a", 4},
		{"behind the end", inbox.Filter{}, nil, 9, 2, "", 4},
		{"no limit", inbox.Filter{}, nil, 0, 0, "", 4},
		{"read", inbox.Filter{Read: &yes}, nil, 0, 10, "b", 1},
		{"unread", inbox.Filter{Read: &no}, nil, 0, 10, "dca", 3},
		{"saved", inbox.Filter{Saved: &yes}, nil, 0, 10, "c", 1},
		{"not saved", inbox.Filter{Saved: &no}, nil, 0, 10, "dba", 3},
		{"topic", inbox.Filter{Topic: "fruit"}, nil, 0, 1, "b", 2},
		{"search title", inbox.Filter{Search: "aR"}, nil, 0, 10, "c", 1},
		{"search description", inbox.Filter{Search: "OFF"}, nil, 0, 10, "b", 1},
		{"search is no pattern", inbox.Filter{Search: "%"}, nil, 0, 10, "b", 1},
		{"severity", inbox.Filter{MinimumSeverity: notifications.SeverityHigh}, nil, 0, 10, "cb", 2},
		{"severity normal", inbox.Filter{MinimumSeverity: notifications.SeverityNormal}, nil, 0, 10, "dcb", 3},
		{"created", inbox.Filter{CreatedAfter: start.Add(2 * time.Hour)}, nil, 0, 10, "dc", 2},
		{"by title", inbox.Filter{}, []string{"title"}, 0, 10, "abcd", 4},
		{"by severity", inbox.Filter{}, []string{"severity"}, 0, 10, "bcda", 4},
		{"by severity, least first", inbox.Filter{}, []string{"severity,desc"}, 0, 10, "adcb", 4},
		{"by topic, then title", inbox.Filter{}, []string{"topic,desc", "title,asc"}, 0, 10, "cabd", 4},
		{"oldest first", inbox.Filter{}, []string{"created,asc"}, 0, 10, "abcd", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var order []inbox.Order
			for _, text := range tc.order {
				o, err := inbox.ParseOrder(text)
				if err != nil {
					t.Fatal(err)
				}
				order = append(order, o)
			}
			found, total, err := b.List(t.Context(), alice, tc.filter, order, tc.offset, tc.limit)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, n := range found {
				got += names[n.ID]
			}
			if got != tc.want || total != tc.total {
				t.Errorf("got %q of %d, want %q of %d", got, total, tc.want, tc.total)
			}
		})
	}
	if found := list(t, b, bob); len(found) != 0 {
		t.Errorf("bob has %v, want nothing", found)
	}
}

func TestParseOrder(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "payload.title", "title,", "title,up", "title,asc,desc", "TITLE"} {
		_, err := inbox.ParseOrder(text)
		if wantErr := text != "title,"; (events.ErrorCode(err) == events.CodeInvalid) != wantErr {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestListSpansPages(t *testing.T) {
	t.Parallel()
	b := open(t, newClock())
	big := strings.Repeat("x", 30_000)
	const n = 40 // more than DynamoDB's page of 1 MB
	var g sync.WaitGroup
	for range n {
		g.Go(func() {
			if _, _, err := b.Store(context.Background(), inbox.Message{User: alice, Payload: notifications.Payload{Title: "x", Description: big}}); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	found := list(t, b, alice)
	if len(found) != n {
		t.Errorf("%d notifications, want %d", len(found), n)
	}
	status, err := b.Status(t.Context(), alice)
	if diff := cmp.Diff(inbox.Status{Unread: n}, status, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("status: %v (-want +got):\n%s", err, diff)
	}
}
