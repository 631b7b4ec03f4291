package catalogsync

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// changed is the payload of catalog.changed.
type changed struct {
	Cause    string                        `json:"cause"`
	Provider string                        `json:"provider"`
	Location string                        `json:"location"`
	Added    []catalog.Ref                 `json:"added"`
	Changed  []catalog.Ref                 `json:"changed"`
	Removed  []catalog.Ref                 `json:"removed"`
	Owners   map[catalog.Ref][]catalog.Ref `json:"owners"`
}

// failed is the payload of catalog.error.
type failed struct {
	Cause    string    `json:"cause"`
	Provider string    `json:"provider"`
	Location string    `json:"location"`
	Errors   []problem `json:"errors"`
}

// Bounds of one catalog.error, so that it stays below [catalogstore.MaxFileEvent].
const (
	maxProblems     = 50
	maxProblemsSize = 64 << 10
	maxMessage      = 1000
)

// write stores a change part by part, each with the events that announce it.
func (h *Handler) write(ctx context.Context, hint hint, c catalogstore.Change, problems map[string][]problem) error {
	parts, err := catalogstore.Parts(c)
	if err != nil {
		return err
	}
	for _, part := range parts {
		announced, err := hint.announcements(part, c.To, problems)
		if err != nil {
			return err
		}
		if err := h.Store.Commit(ctx, part, announced...); err != nil {
			return err
		}
		note(ctx, part)
	}
	return nil
}

// note tells whoever watches the event which entities it changed.
func note(ctx context.Context, part catalogstore.Part) {
	signs := map[catalogstore.Action]string{catalogstore.Added: "+", catalogstore.Changed: "~", catalogstore.Removed: "-"}
	for _, w := range part.Entities {
		if w.Announced {
			events.AddNote(ctx, events.NoteEntity, signs[w.Action]+w.Ref.String())
		}
	}
}

// announcements are the events about a part: one for each location with changed entities, one for each file with
// new errors.
func (h hint) announcements(part catalogstore.Part, to catalogstore.Repository, problems map[string][]problem) ([]events.Event, error) {
	byLocation := map[string]*changed{}
	for _, w := range part.Entities {
		if !w.Announced {
			continue
		}
		p := byLocation[w.Location]
		if p == nil {
			p = &changed{Cause: h.cause.ID, Provider: h.provider.Name, Location: w.Location, Owners: map[catalog.Ref][]catalog.Ref{}}
			byLocation[w.Location] = p
		}
		p.add(w)
	}
	var announced []events.Event
	for _, location := range slices.Sorted(maps.Keys(byLocation)) {
		p := byLocation[location]
		catalogstore.SortRefs(p.Added)
		catalogstore.SortRefs(p.Changed)
		catalogstore.SortRefs(p.Removed)
		e, err := h.event(config.TopicCatalogChanged, location, to, part.Version, p)
		if err != nil {
			return nil, err
		}
		announced = append(announced, e)
	}
	for _, w := range part.Files {
		if !w.Announced {
			continue
		}
		e, err := h.event(config.TopicCatalogError, w.After.Location, to, part.Version,
			failed{Cause: h.cause.ID, Provider: h.provider.Name, Location: w.After.Location, Errors: bound(problems[w.Path])})
		if err != nil {
			return nil, err
		}
		announced = append(announced, e)
	}
	return announced, nil
}

func (p *changed) add(w catalogstore.EntityWrite) {
	switch w.Action {
	case catalogstore.Added:
		p.Added = append(p.Added, w.Ref)
	case catalogstore.Changed:
		p.Changed = append(p.Changed, w.Ref)
	case catalogstore.Removed, catalogstore.Repaired:
		p.Removed = append(p.Removed, w.Ref)
	}
	p.Owners[w.Ref] = w.Owners()
}

// event makes an event whose ID is the same whenever the same part is written for the same reason, and never
// another's: every part has a version of the repository of its own.
func (h hint) event(topic, location string, to catalogstore.Repository, version int64, payload any) (events.Event, error) {
	body, err := json.Marshal(payload, json.Deterministic(true))
	if err != nil {
		return events.Event{}, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%d", h.cause.ID, to.Host, location, to.Head, version))
	return events.Event{
		ID: events.NewID(topic, hex.EncodeToString(sum[:20])), Topic: topic, Payload: body, Metadata: events.Metadata{},
		Time: time.Now().UTC().Truncate(time.Millisecond), TraceParent: h.cause.TraceParent,
		Group: events.Group(h.repo.Host, h.repo.FullName()),
	}, nil
}

// bound shortens a list of problems. The last one then says how many more there are.
func bound(list []problem) []problem {
	bounded := make([]problem, 0, min(len(list), maxProblems+1))
	size := 0
	for i, p := range list {
		if len(p.Message) > maxMessage {
			p.Message = strings.ToValidUTF8(p.Message[:maxMessage], "") + "…"
		}
		p.Message = strings.ToValidUTF8(p.Message, string(utf8.RuneError))
		size += len(p.Message) + len(p.Ref.String())
		if i == maxProblems || size > maxProblemsSize {
			p.Ref, p.Message = catalog.Ref{}, fmt.Sprintf("there are %d more errors from here on", len(list)-i)
			return append(bounded, p)
		}
		bounded = append(bounded, p)
	}
	return bounded
}

// publish publishes events of the outbox and takes those that are published out of it. It goes on where events are
// refused one by one and stops where nothing can be published.
func (h *Handler) publish(ctx context.Context, pending iter.Seq2[catalogstore.Pending, error]) (published int, err error) {
	const batch = 10 // as many as SNS takes at once
	var refused error
	flush := func(list []catalogstore.Pending) error {
		n, err := h.publishBatch(ctx, list)
		published += n
		refused = cmp.Or(refused, err)
		if _, single := errors.AsType[events.PublishError](err); n > 0 || single {
			return nil
		}
		return err
	}
	var list []catalogstore.Pending
	for p, err := range pending {
		if err != nil {
			return published, err
		}
		if list = append(list, p); len(list) < batch {
			continue
		}
		if err := flush(list); err != nil {
			return published, err
		}
		list = nil
	}
	if len(list) > 0 {
		if err := flush(list); err != nil {
			return published, err
		}
	}
	return published, refused
}

// publishBatch returns how many events were published, and the error of the others.
func (h *Handler) publishBatch(ctx context.Context, list []catalogstore.Pending) (int, error) {
	es := make([]events.Event, len(list))
	for i, p := range list {
		es[i] = p.Event
	}
	err := h.Publisher.Publish(ctx, es...)
	var done []catalogstore.Pending
	for i, p := range list {
		if events.PublishErrorOf(err, i) != nil {
			continue
		}
		done = append(done, p)
		events.AddNote(ctx, events.NotePublished, p.Event.ID)
	}
	if len(done) == 0 {
		return 0, err
	}
	// What is published but still in the outbox is published again, with the same ID.
	return len(done), cmp.Or(err, h.Store.Published(ctx, done...))
}
