// Package notify is the function behind the notify queue: it turns events into stored notifications by the rules of
// the configuration.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
	"github.com/callboard/callboard/pkg/notifications/rules"
)

const (
	// channel is the name of the inbox among the channels, as Backstage has it.
	channel = "Web"
	// originPrefix and the name of a rule are the origin of what the rule sends.
	originPrefix = "callboard:rule:"
	// parallel is how many notifications of one rule are stored at the same time.
	parallel = 8
)

// Inbox stores notifications; see [inbox.Inbox.Store].
type Inbox interface {
	Store(ctx context.Context, m inbox.Message) (id string, duplicate bool, err error)
}

// Handler is the subscriber of the notify queue. A rule that fails on an event is counted and logged, and harms neither
// the other rules nor the event. What table or catalog refuse is an error: the event comes again, and what is stored
// already is not stored twice.
type Handler struct {
	Rules   []*rules.Compiled
	Inbox   Inbox
	Catalog notifications.Catalog
}

var _ events.Subscriber = (*Handler)(nil)

// Compile compiles the rules of a configuration. Its error is [config.Errors], everything that is wrong with them.
func Compile(rs []config.Rule) ([]*rules.Compiled, error) {
	compiled := make([]*rules.Compiled, len(rs))
	var wrong config.Errors
	for i, r := range rs {
		var err error
		compiled[i], err = rules.Compile(rules.Rule{
			Name: r.Name, On: r.On, When: r.When, To: r.To, Title: r.Title, Description: r.Description, Link: r.Link, Scope: r.Scope,
			Severity: notifications.Severity(r.Severity),
		})
		problems, _ := errors.AsType[rules.FieldErrors](err)
		for _, p := range problems {
			wrong = append(wrong, config.FieldError{Path: fmt.Sprintf("$.notifications.rules[%d].%s", i, p.Field), Message: p.Message})
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	return compiled, nil
}

// OnEvent applies every rule that listens to the topic of the event.
func (h *Handler) OnEvent(ctx context.Context, e events.Event) error {
	listening := slices.DeleteFunc(slices.Clone(h.Rules), func(r *rules.Compiled) bool { return !slices.Contains(r.On, e.Topic) })
	if len(listening) == 0 {
		return events.Drop("no rule listens to the topic")
	}
	in, err := rules.Read(e)
	if err != nil {
		return err
	}
	n := notifier{Handler: h, event: e}
	idle := true
	var errs []error
	for _, r := range listening {
		result, err := r.Evaluate(ctx, in)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			idle = false
			n.failed(ctx, r.Name, err)
		case result.Match:
			idle = false
			errs = append(errs, n.notify(ctx, r.Name, result))
		}
	}
	if idle {
		return events.Drop("no rule matches")
	}
	return errors.Join(errs...)
}

// notifier is the work on one event.
type notifier struct {
	*Handler
	event events.Event
}

// failed counts and logs that a rule did not work on the event.
func (n *notifier) failed(ctx context.Context, rule string, err error) {
	events.AddNote(ctx, events.NoteCount, fmt.Sprintf("rule %s failed", rule))
	slog.WarnContext(ctx, "a rule failed on an event", "event", n.event.ID, "topic", n.event.Topic, "rule", rule, "error", err)
}

// notify stores what one rule says to everybody it says it to.
func (n *notifier) notify(ctx context.Context, rule string, result rules.Result) error {
	owners, err := n.owners(ctx, result.OwnersOf)
	if err != nil {
		return err
	}
	resolver := notifications.Resolver{Catalog: n.Catalog}
	users, nobody, err := resolver.Users(ctx, slices.Concat(result.Refs, owners), nil)
	if events.ErrorCode(err) == events.CodeInvalid {
		n.failed(ctx, rule, err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, ref := range nobody {
		n.reachedNobody(ctx, ref)
	}
	return n.store(ctx, rule, result.Payload, users)
}

func (n *notifier) reachedNobody(ctx context.Context, ref catalog.Ref) {
	events.AddNote(ctx, events.NoteCount, "recipient reached nobody")
	slog.InfoContext(ctx, "a recipient reached nobody", "event", n.event.ID, "recipient", ref.String())
}

// owners returns the owners of entities. A catalog.changed event says itself who owns what it is about: for removed
// entities nobody else knows any more.
func (n *notifier) owners(ctx context.Context, refs []catalog.Ref) ([]catalog.Ref, error) {
	known := n.ownersInEvent()
	var unknown []catalog.Ref
	for _, ref := range refs {
		if _, ok := known[ref]; !ok {
			unknown = append(unknown, ref)
		}
	}
	var asked map[catalog.Ref][]catalog.Ref
	if len(unknown) > 0 {
		var err error
		if asked, err = n.Catalog.Owners(ctx, unknown); err != nil {
			return nil, err
		}
	}
	var owners []catalog.Ref
	seen := map[catalog.Ref]bool{}
	for _, ref := range refs {
		own, ok := known[ref]
		if !ok {
			own = asked[ref]
		}
		if len(own) == 0 && !ownerless(ref) {
			n.reachedNobody(ctx, ref)
		}
		for _, owner := range own {
			if !seen[owner] {
				seen[owner] = true
				owners = append(owners, owner)
			}
		}
	}
	return owners, nil
}

// ownerless tells whether an entity is of a kind that nobody owns.
func ownerless(ref catalog.Ref) bool {
	return ref.Kind == "user" || ref.Kind == "group" || ref.Kind == "location"
}

func (n *notifier) ownersInEvent() map[catalog.Ref][]catalog.Ref {
	if n.event.Topic != config.TopicCatalogChanged {
		return nil
	}
	var changed struct {
		Owners map[catalog.Ref][]catalog.Ref `json:"owners"`
	}
	if err := json.Unmarshal(n.event.Payload, &changed, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil // the catalog knows owners too
	}
	return changed.Owners
}

// store stores a payload for each of the users. It tries all of them, whatever becomes of the others.
func (n *notifier) store(ctx context.Context, rule string, payload notifications.Payload, users []catalog.Ref) error {
	once := inbox.Delivery{Subscriber: topology.Notify, Topic: n.event.Topic, Event: n.event.Key(), Rule: rule, Channel: channel}
	var failures failures
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, user := range users {
		if ctx.Err() != nil {
			failures.add(ctx.Err())
			break
		}
		g.Go(func() error {
			id, duplicate, err := n.Inbox.Store(ctx, inbox.Message{User: user, Origin: originPrefix + rule, Payload: payload, Once: &once})
			if err == nil && !duplicate {
				events.AddNote(ctx, events.NoteNotification, id+" "+user.String())
			}
			failures.add(err)
			return nil
		})
	}
	_ = g.Wait() // the errors are in failures
	return failures.err()
}

// failures remembers the first error of several goroutines, and how many there were.
type failures struct {
	mu    sync.Mutex
	first error
	count int
}

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; f.first == nil {
		f.first = err
	}
}

func (f *failures) err() error {
	if f.count > 1 {
		return fmt.Errorf("%d notifications were not stored, the first: %w", f.count, f.first)
	}
	return f.first
}
