package notifications

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// Recipients says who a notification is for.
type Recipients struct {
	Type             string `json:"type"` // "entity" or "broadcast"
	EntityRef        Refs   `json:"entityRef"`
	ExcludeEntityRef Refs   `json:"excludeEntityRef"`
}

// Refs are entityRefs. In JSON a single one may stand without the array.
type Refs []catalog.Ref

// UnmarshalJSON reads one reference or an array of them.
func (r *Refs) UnmarshalJSON(data []byte) error {
	var texts []string
	switch jsontext.Value(data).Kind() {
	case jsontext.KindString:
		texts = []string{""}
		if err := json.Unmarshal(data, &texts[0]); err != nil {
			return err
		}
	case jsontext.KindBeginArray:
		if err := json.Unmarshal(data, &texts); err != nil {
			return events.Errorf(events.CodeInvalid, "it must be a string or an array of strings")
		}
	case jsontext.KindNull:
		*r = nil
		return nil
	default:
		return events.Errorf(events.CodeInvalid, "it must be a string or an array of strings")
	}
	refs := make(Refs, len(texts))
	for i, text := range texts {
		var err error
		if refs[i], err = catalog.ParseRef(text); err != nil {
			return err
		}
	}
	*r = refs
	return nil
}

// The kinds of entities that have a meaning of their own as recipients.
const (
	kindUser  = "user"
	kindGroup = "group"
)

// maxRecipients is how many entities a [Resolver] looks at for one reference, and how many users it finds.
const maxRecipients = 10_000

// Catalog is what a [Resolver] asks about entities. What the catalog does not know has no members and no owners;
// that is not an error.
type Catalog interface {
	// Members returns the users of a group. It may return child groups, whose users belong to it too.
	Members(ctx context.Context, group catalog.Ref) ([]catalog.Ref, error)
	// Owners returns the owners of each of the entities that has some.
	Owners(ctx context.Context, refs []catalog.Ref) (map[catalog.Ref][]catalog.Ref, error)
}

// Resolver finds the users that are meant by entityRefs.
type Resolver struct{ Catalog Catalog }

// Users returns the users that refs reach, each once and sorted: a user is one and need not exist, a group reaches
// its members and those of its child groups, any other entity its owners. Users that excluded references reach are
// left out, also where somebody named them. nobody are those of refs that reach no user at all.
//
// It fails with [events.CodeInvalid] beyond 10,000 users.
func (r *Resolver) Users(ctx context.Context, refs, exclude []catalog.Ref) (users, nobody []catalog.Ref, err error) {
	s := search{r, map[catalog.Ref][]catalog.Ref{}}
	found, nobody, err := s.all(ctx, refs)
	if err != nil {
		return nil, nil, err
	}
	excluded, _, err := s.all(ctx, exclude)
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(found, func(user catalog.Ref, _ bool) bool { return excluded[user] })
	users = slices.SortedFunc(maps.Keys(found), func(a, b catalog.Ref) int { return cmp.Compare(a.String(), b.String()) })
	return users, nobody, nil
}

// search remembers what the catalog said while several references are followed.
type search struct {
	*Resolver
	next map[catalog.Ref][]catalog.Ref
}

// all returns the users that refs reach, and those of refs that reach none.
func (s *search) all(ctx context.Context, refs []catalog.Ref) (users map[catalog.Ref]bool, nobody []catalog.Ref, err error) {
	users = map[catalog.Ref]bool{}
	for _, ref := range refs {
		reached, err := s.from(ctx, ref)
		if err != nil {
			return nil, nil, err
		}
		if len(reached) == 0 {
			nobody = append(nobody, ref)
		}
		for _, user := range reached {
			users[user] = true
		}
		if len(users) > maxRecipients {
			return nil, nil, events.Errorf(events.CodeInvalid, "The recipients reach more than %d users.", maxRecipients)
		}
	}
	return users, nobody, nil
}

// from returns the users that one reference reaches. Each entity is visited once, which ends circles.
func (s *search) from(ctx context.Context, start catalog.Ref) ([]catalog.Ref, error) {
	var users []catalog.Ref
	seen := map[catalog.Ref]bool{start: true}
	for queue := []catalog.Ref{start}; len(queue) > 0; queue = queue[1:] {
		ref := queue[0]
		if ref.Kind == kindUser {
			users = append(users, ref)
			continue
		}
		next, err := s.behind(ctx, ref)
		if err != nil {
			return nil, err
		}
		for _, n := range next {
			if !seen[n] {
				seen[n] = true
				queue = append(queue, n)
			}
		}
		if len(seen) > maxRecipients {
			return nil, events.Errorf(events.CodeInvalid, "The recipient %s reaches more than %d users and groups.", start, maxRecipients)
		}
	}
	return users, nil
}

// behind returns the entities that stand for ref.
func (s *search) behind(ctx context.Context, ref catalog.Ref) ([]catalog.Ref, error) {
	if next, ok := s.next[ref]; ok {
		return next, nil
	}
	next, err := s.ask(ctx, ref)
	if err != nil {
		return nil, err
	}
	if len(s.next) >= maxRecipients {
		return nil, events.Errorf(events.CodeInvalid, "The recipients reach more than %d groups.", maxRecipients)
	}
	s.next[ref] = next
	return next, nil
}

func (s *search) ask(ctx context.Context, ref catalog.Ref) ([]catalog.Ref, error) {
	if ref.Kind == kindGroup {
		members, err := s.Catalog.Members(ctx, ref)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(slices.Clone(members), func(m catalog.Ref) bool {
			return m.Kind != kindUser && m.Kind != kindGroup
		}), nil
	}
	owners, err := s.Catalog.Owners(ctx, []catalog.Ref{ref})
	if err != nil {
		return nil, err
	}
	return owners[ref], nil
}
