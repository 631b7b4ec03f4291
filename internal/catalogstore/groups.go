package catalogstore

import (
	"context"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/catalog"
)

// Members returns the users of a group and of the groups below it, sorted and each once, as far as entities of
// the catalog say so. The users themselves need not be entities.
func (s *Store) Members(ctx context.Context, group catalog.Ref) ([]catalog.Ref, error) {
	users := map[catalog.Ref]bool{}
	seen := map[catalog.Ref]bool{group: true}
	for todo := []catalog.Ref{group}; len(todo) > 0; todo = todo[1:] {
		for item, err := range table.All(ctx, s.table, table.Query{PK: groupPK(todo[0])}) {
			if err != nil {
				return nil, err
			}
			member, err := catalog.ParseRef(attrs(item.Attrs).text("member"))
			if err != nil {
				return nil, damaged(err, "a member of "+group.String())
			}
			if member.Kind != kindGroup {
				users[member] = true
			} else if !seen[member] {
				seen[member] = true
				todo = append(todo, member)
			}
		}
	}
	members := make([]catalog.Ref, 0, len(users))
	for user := range users {
		members = append(members, user)
	}
	SortRefs(members)
	return members, nil
}

// Owners returns the owners of those entities that exist.
func (s *Store) Owners(ctx context.Context, refs []catalog.Ref) (map[catalog.Ref][]catalog.Ref, error) {
	items, err := s.items(ctx, refs)
	if err != nil {
		return nil, err
	}
	owners := make(map[catalog.Ref][]catalog.Ref, len(items))
	for ref, item := range items {
		if owners[ref], err = splitRefs(attrs(item.Attrs).text("owners")); err != nil {
			return nil, err
		}
	}
	return owners, nil
}

// hasMemberships tells whether an entity can say who belongs to a group.
func hasMemberships(ref catalog.Ref) bool { return ref.Kind == kindGroup || ref.Kind == "user" }

// memberships are those that an entity declares between users or groups and groups, each once.
func memberships(e *catalog.Entity) []catalog.Membership {
	var list []catalog.Membership
	seen := map[catalog.Membership]bool{}
	for _, m := range e.Memberships() {
		if m.Group.Kind == kindGroup && hasMemberships(m.Member) && !seen[m] {
			seen[m] = true
			list = append(list, m)
		}
	}
	return list
}

// index are the rows of the membership index that one entity is the source of.
type index map[table.Key]table.Item

func indexOf(source catalog.Ref, list []catalog.Membership) index {
	rows := make(index, len(list))
	for _, m := range list {
		key := indexKey(m, source)
		rows[key] = table.Item{Key: key, Attrs: table.Attrs{"member": m.Member.String(), "source": source.String()}}
	}
	return rows
}

// journal lists the keys of all rows that may exist of an entity whose rows are being written.
type journal struct {
	keys []table.Key
	blob string
}

// newJournal returns the item of a journal with its content.
func newJournal(r Repository, ref catalog.Ref, keys []table.Key) (table.Item, content, error) {
	data, err := json.Marshal(keys)
	if err != nil {
		return table.Item{}, content{}, err
	}
	c, err := newContent(data)
	if err != nil {
		return table.Item{}, content{}, err
	}
	item := table.Item{Key: journalKey(r, ref), Attrs: table.Attrs{"ref": ref.String()}}
	c.set(item.Attrs)
	return item, c, nil
}

func (s *Store) journalOf(ctx context.Context, item table.Item) (catalog.Ref, journal, error) {
	ref, err := catalog.ParseRef(attrs(item.Attrs).text("ref"))
	if err != nil {
		return catalog.Ref{}, journal{}, damaged(err, "a journal")
	}
	data, err := s.content(ctx, item)
	if err != nil {
		return catalog.Ref{}, journal{}, err
	}
	j := journal{blob: attrs(item.Attrs).text("blob")}
	if err := json.Unmarshal(data, &j.keys); err != nil {
		return catalog.Ref{}, journal{}, damaged(err, "a journal")
	}
	return ref, j, nil
}
