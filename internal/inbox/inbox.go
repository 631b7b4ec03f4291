// Package inbox keeps the notifications of users in the one table.
//
// Items:
//
//	PK                            SK                               attributes
//	inbox#<user>                  n#<id>                           origin, payload (JSON), created, updated, read, saved
//	inbox#<user>                  scope#<hash of origin, scope>    id: the notification that a send with this scope replaces
//	done#<subscriber>#<hash of    <hash of topic, rule, recipient, id: the notification that was made
//	 event id>                     channel>
//
// <user> is an entityRef in normal form. Ids are UUIDs of version 7 (RFC 9562), whose order is the order in which
// they were made. Times are milliseconds since 1970; an absent one means never. Hashes are SHA-256 in hex.
//
// Access patterns:
//
//	store                one transaction: done record (must not exist), notification, scope pointer
//	store, same scope    get pointer and notification, then one transaction on condition that both are as they were
//	list, status         query of inbox#<user> with prefix n#, newest first, all pages: counting needs all of them
//	read one             get of the notification
//	mark                 update of one attribute on condition that the notification exists
//
// Everything expires: a notification and its scope pointer [Retention] after it was created or last updated, a done
// record after [DoneRetention], which is longer than any queue or dead-letter queue keeps a message. The limits of
// notifications.Payload keep every item far below the 400 KB of DynamoDB. One user's inbox is one partition, which
// takes 1,000 writes a second; the done records of one event are one too.
package inbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
)

const (
	// Retention is how long a notification is kept after it was created or updated, read and saved ones too: the
	// default of Backstage's notifications.retention.
	Retention = 365 * 24 * time.Hour
	// DoneRetention is how long a repeated delivery is recognised.
	DoneRetention = 30 * 24 * time.Hour

	// maxAttempts bounds how often a write that lost against another one is tried.
	maxAttempts = 10
	// parallel is how many items one call writes at the same time.
	parallel = 8
)

// Inbox keeps notifications. Its methods may be called by many goroutines at once.
type Inbox struct {
	Table table.Table
	Now   func() time.Time
}

// Delivery identifies an effect, together with the recipient: the same one happens once. Event is an [events.Event.Key].
type Delivery struct{ Subscriber, Topic, Event, Rule, Channel string }

func (d *Delivery) key(user catalog.Ref) table.Key {
	return table.Key{PK: "done#" + d.Subscriber + "#" + hash(d.Event), SK: hash(d.Topic, d.Rule, user.String(), d.Channel)}
}

// hash tells any two lists of texts apart.
func hash(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		sum := sha256.Sum256([]byte(text))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Message is a notification to be stored.
type Message struct {
	User    catalog.Ref
	Origin  string
	Payload notifications.Payload // valid
	// Once makes storing the same delivery to the same user again a success without effect. May be nil.
	Once *Delivery
}

const (
	prefixNotification = "n#"

	attrID      = "id"
	attrOrigin  = "origin"
	attrPayload = "payload"
	attrCreated = "created"
	attrUpdated = "updated"
	attrRead    = "read"
	attrSaved   = "saved"
)

func partition(user catalog.Ref) string { return "inbox#" + user.String() }

func notificationKey(user catalog.Ref, id string) table.Key {
	return table.Key{PK: partition(user), SK: prefixNotification + id}
}

// Store stores a message and returns the id of its notification. Where the user has a notification of the same origin
// and scope, that one gets the new payload and becomes unread; its id, creation and saved mark stay. duplicate tells
// that the delivery had been stored before and nothing happened.
func (b *Inbox) Store(ctx context.Context, m Message) (id string, duplicate bool, err error) {
	fresh, err := uuid.NewV7()
	if err != nil {
		return "", false, err
	}
	payload, err := json.Marshal(m.Payload)
	if err != nil {
		return "", false, err
	}
	for attempt := range maxAttempts {
		if err := pause(ctx, attempt); err != nil {
			return "", false, err
		}
		id, ops, err := b.effect(ctx, m, fresh.String(), payload)
		if err != nil {
			return "", false, err
		}
		if m.Once != nil {
			ops = append(ops, table.PutOp(table.Item{
				Key: m.Once.key(m.User), Attrs: table.Attrs{attrID: id}, Expires: b.Now().Add(DoneRetention),
			}, table.NotExists()))
		}
		err = b.Table.Transact(ctx, ops...)
		if err == nil {
			return id, false, nil
		}
		if !errors.Is(err, table.ErrCondition) && !errors.Is(err, table.ErrConflict) {
			return "", false, err
		}
		if id, duplicate, err := b.done(ctx, m); duplicate || err != nil {
			return id, duplicate, err
		}
	}
	return "", false, events.Errorf(events.CodeUnavailable, "Too many notifications are written to the inbox of %s at the same time.", m.User)
}

// pause waits before another attempt, each time longer.
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return nil
	}
	timer := time.NewTimer(rand.N(time.Duration(attempt) * 10 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// done tells whether the delivery of a message has been stored.
func (b *Inbox) done(ctx context.Context, m Message) (id string, done bool, err error) {
	if m.Once == nil {
		return "", false, nil
	}
	item, err := b.Table.Get(ctx, m.Once.key(m.User))
	if errors.Is(err, table.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return text(item, attrID), true, nil
}

// effect returns what has to be written for a message and the id of its notification, fresh if it is a new one.
func (b *Inbox) effect(ctx context.Context, m Message, fresh string, payload []byte) (id string, ops []table.Op, err error) {
	now := b.Now()
	expires := now.Add(Retention)
	add := table.PutOp(table.Item{
		Key:     notificationKey(m.User, fresh),
		Attrs:   table.Attrs{attrOrigin: m.Origin, attrPayload: payload, attrCreated: now.UnixMilli()},
		Expires: expires,
	}, table.NotExists())
	if m.Payload.Scope == "" {
		return fresh, []table.Op{add}, nil
	}

	pointer := table.Item{
		Key:     table.Key{PK: partition(m.User), SK: "scope#" + hash(m.Origin, m.Payload.Scope)},
		Attrs:   table.Attrs{attrID: fresh},
		Expires: expires,
	}
	current, err := b.Table.Get(ctx, pointer.Key)
	if errors.Is(err, table.ErrNotFound) {
		return fresh, []table.Op{add, table.PutOp(pointer, table.NotExists())}, nil
	}
	if err != nil {
		return "", nil, err
	}
	id = text(current, attrID)
	unchanged := table.Equal(attrID, id)
	_, err = b.Table.Get(ctx, notificationKey(m.User, id))
	if errors.Is(err, table.ErrNotFound) {
		return fresh, []table.Op{add, table.PutOp(pointer, unchanged)}, nil
	}
	if err != nil {
		return "", nil, err
	}
	return id, []table.Op{
		table.UpdateOp(notificationKey(m.User, id), table.Update{
			Set:     table.Attrs{attrPayload: payload, attrUpdated: now.UnixMilli()},
			Remove:  []string{attrRead},
			Expires: &expires,
		}, table.Exists()),
		table.UpdateOp(pointer.Key, table.Update{Expires: &expires}, unchanged),
	}, nil
}

// Get returns a notification of a user. One that does not exist, or that belongs to somebody else, is
// [events.CodeNotFound].
func (b *Inbox) Get(ctx context.Context, user catalog.Ref, id string) (notifications.Notification, error) {
	if !isID(id) {
		return notifications.Notification{}, notFound()
	}
	item, err := b.Table.Get(ctx, notificationKey(user, id))
	if errors.Is(err, table.ErrNotFound) {
		return notifications.Notification{}, notFound()
	}
	if err != nil {
		return notifications.Notification{}, err
	}
	return decode(user, item)
}

func notFound() error { return events.Errorf(events.CodeNotFound, "There is no such notification.") }

func isID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// Mark sets or removes the read and saved marks of a user's notifications; nil leaves a mark as it is. It returns the
// notifications, newest first; ids that are not the user's are left out.
func (b *Inbox) Mark(ctx context.Context, user catalog.Ref, ids []string, read, saved *bool) ([]notifications.Notification, error) {
	now := b.Now().UnixMilli()
	update := table.Update{Set: table.Attrs{}}
	for name, mark := range map[string]*bool{attrRead: read, attrSaved: saved} {
		switch {
		case mark == nil:
		case *mark:
			update.Set[name] = now
		default:
			update.Remove = append(update.Remove, name)
		}
	}
	if read == nil && saved == nil {
		return b.each(ctx, ids, func(ctx context.Context, id string) (notifications.Notification, error) { return b.Get(ctx, user, id) })
	}
	return b.each(ctx, ids, func(ctx context.Context, id string) (notifications.Notification, error) {
		if !isID(id) {
			return notifications.Notification{}, notFound()
		}
		item, err := b.Table.Update(ctx, notificationKey(user, id), update, table.Exists())
		if errors.Is(err, table.ErrCondition) {
			return notifications.Notification{}, notFound()
		}
		if err != nil {
			return notifications.Notification{}, err
		}
		return decode(user, item)
	})
}

// each collects what f returns for the ids, several at a time, without those that are not found.
func (b *Inbox) each(ctx context.Context, ids []string, f func(ctx context.Context, id string) (notifications.Notification, error)) ([]notifications.Notification, error) {
	ids = unique(ids)
	found := make([]notifications.Notification, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, id := range ids {
		g.Go(func() error {
			n, err := f(ctx, id)
			if events.ErrorCode(err) == events.CodeNotFound {
				return nil
			}
			found[i] = n
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return newestFirst(found), nil
}

// Status counts the notifications of a user.
type Status struct {
	Unread int `json:"unread"`
	Read   int `json:"read"`
}

// Status counts the notifications of a user.
func (b *Inbox) Status(ctx context.Context, user catalog.Ref) (Status, error) {
	var s Status
	for item, err := range b.all(ctx, user) {
		if err != nil {
			return Status{}, err
		}
		if _, read := item.Attrs[attrRead]; read {
			s.Read++
		} else {
			s.Unread++
		}
	}
	return s, nil
}

// decode reads an item of the table.
func decode(user catalog.Ref, item table.Item) (notifications.Notification, error) {
	n := notifications.Notification{
		ID: strings.TrimPrefix(item.SK, prefixNotification), User: user.String(), Origin: text(item, attrOrigin),
		Created: moment(item, attrCreated), Updated: moment(item, attrUpdated), Read: moment(item, attrRead), Saved: moment(item, attrSaved),
	}
	payload, _ := item.Attrs[attrPayload].([]byte)
	if err := json.Unmarshal(payload, &n.Payload); err != nil {
		return n, events.Wrap(err, events.CodeInternal, "The notification %s cannot be read.", n.ID)
	}
	return n, nil
}

func text(item table.Item, name string) string {
	s, _ := item.Attrs[name].(string)
	return s
}

func moment(item table.Item, name string) time.Time {
	ms, ok := item.Attrs[name].(int64)
	if !ok {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
