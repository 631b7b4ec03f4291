package inbox

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
)

// Filter says which notifications to list. The zero Filter lists all.
type Filter struct {
	Read, Saved     *bool
	Topic           string
	Search          string                 // part of the title or the description, in any case
	MinimumSeverity notifications.Severity // this one and more severe ones
	CreatedAfter    time.Time              // inclusive
}

func (f *Filter) matches(n *notifications.Notification) bool {
	if f.Read != nil && *f.Read == n.Read.IsZero() || f.Saved != nil && *f.Saved == n.Saved.IsZero() {
		return false
	}
	if f.Topic != "" && f.Topic != n.Payload.Topic || n.Created.Before(f.CreatedAfter) {
		return false
	}
	if f.MinimumSeverity != "" && n.Payload.Severity.Rank() > f.MinimumSeverity.Rank() {
		return false
	}
	return f.Search == "" || contains(n.Payload.Title, f.Search) || contains(n.Payload.Description, f.Search)
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// Order sorts a list by one field.
type Order struct {
	compare    func(a, b *notifications.Notification) int
	descending bool
}

func byText(of func(n *notifications.Notification) string) func(a, b *notifications.Notification) int {
	return func(a, b *notifications.Notification) int { return cmp.Compare(of(a), of(b)) }
}

func byTime(of func(n *notifications.Notification) time.Time) func(a, b *notifications.Notification) int {
	return func(a, b *notifications.Notification) int { return of(a).Compare(of(b)) }
}

// orders are the fields that a list can be sorted by: the columns of Backstage.
var orders = map[string]func(a, b *notifications.Notification) int{
	"id":          byText(func(n *notifications.Notification) string { return n.ID }),
	"user":        byText(func(n *notifications.Notification) string { return n.User }),
	"origin":      byText(func(n *notifications.Notification) string { return n.Origin }),
	"title":       byText(func(n *notifications.Notification) string { return n.Payload.Title }),
	"description": byText(func(n *notifications.Notification) string { return n.Payload.Description }),
	"link":        byText(func(n *notifications.Notification) string { return n.Payload.Link }),
	"topic":       byText(func(n *notifications.Notification) string { return n.Payload.Topic }),
	"scope":       byText(func(n *notifications.Notification) string { return n.Payload.Scope }),
	"icon":        byText(func(n *notifications.Notification) string { return n.Payload.Icon }),
	"created":     byTime(func(n *notifications.Notification) time.Time { return n.Created }),
	"updated":     byTime(func(n *notifications.Notification) time.Time { return n.Updated }),
	"read":        byTime(func(n *notifications.Notification) time.Time { return n.Read }),
	"saved":       byTime(func(n *notifications.Notification) time.Time { return n.Saved }),
	// From most to least severe, where Backstage sorts by the alphabet.
	"severity": func(a, b *notifications.Notification) int {
		return cmp.Compare(a.Payload.Severity.Rank(), b.Payload.Severity.Rank())
	},
}

// ParseOrder reads "<field>[,asc|desc]".
func ParseOrder(s string) (Order, error) {
	field, direction, _ := strings.Cut(s, ",")
	o := Order{compare: orders[field], descending: direction == "desc"}
	if o.compare == nil {
		return Order{}, events.Errorf(events.CodeInvalid, "there is no order field %.50q", field)
	}
	if direction != "" && direction != "asc" && direction != "desc" {
		return Order{}, events.Errorf(events.CodeInvalid, "Invalid order field order, must be asc or desc")
	}
	return o, nil
}

// List returns up to limit of a user's notifications that pass the filter, after the first offset ones, and how many
// pass it. Without an order the newest come first.
func (b *Inbox) List(ctx context.Context, user catalog.Ref, f Filter, order []Order, offset, limit int) (page []notifications.Notification, total int, err error) {
	var found []notifications.Notification
	for item, err := range b.all(ctx, user) {
		if err != nil {
			return nil, 0, err
		}
		n, err := decode(user, item)
		if err != nil {
			return nil, 0, err
		}
		if f.matches(&n) {
			found = append(found, n)
		}
	}
	slices.SortStableFunc(found, func(x, y notifications.Notification) int {
		for _, o := range order {
			c := o.compare(&x, &y)
			if o.descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
	total = len(found)
	offset = min(offset, total)
	return found[offset : offset+min(limit, total-offset)], total, nil
}

// all iterates over the items of a user's notifications, newest first.
func (b *Inbox) all(ctx context.Context, user catalog.Ref) iter.Seq2[table.Item, error] {
	return table.All(ctx, b.Table, table.Query{PK: partition(user), SKPrefix: prefixNotification, Reverse: true})
}

func unique(ids []string) []string {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// newestFirst sorts by id, whose order is that of the creation, and leaves out what has none.
func newestFirst(list []notifications.Notification) []notifications.Notification {
	list = slices.DeleteFunc(list, func(n notifications.Notification) bool { return n.ID == "" })
	slices.SortFunc(list, func(a, b notifications.Notification) int { return cmp.Compare(b.ID, a.ID) })
	return list
}
