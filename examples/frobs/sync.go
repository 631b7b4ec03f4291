package frobs

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// TopicOwners is the topic that Sync publishes to.
const TopicOwners = "frob-owners.changed"

// Sync asks Frobs who owns a frob that was added or deleted, and publishes it. An event may be late or come twice, so it is
// a hint only: what counts is what the API says now.
type Sync struct {
	URL       string // of the API
	Token     func(ctx context.Context) (string, error)
	Publisher events.Publisher
}

// owner is the payload of an event of TopicOwners. Owner is "" for a frob that is gone.
type owner struct {
	Frob  string `json:"frob"`
	Owner string `json:"owner"`
}

// OnEvent implements events.Subscriber.
func (s *Sync) OnEvent(ctx context.Context, e events.Event) error {
	var f frob
	if err := json.Unmarshal(e.Payload, &f); err != nil {
		return events.Wrap(err, events.CodeInvalid, "the event describes no frob") // no other try can help: it is parked
	}
	o, err := s.ask(ctx, f.Name)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(o)
	if err != nil {
		return err
	}
	// The same cause makes the same event: who gets it twice can tell.
	made := events.Event{
		ID: events.NewID("frob-owners", e.ID), Topic: TopicOwners, Payload: payload, Time: time.Now(),
		TraceParent: e.TraceParent, Group: e.Group,
	}
	if err := s.Publisher.Publish(ctx, made); err != nil {
		return err
	}
	events.AddNote(ctx, events.NotePublished, made.ID) // callboard trace follows it
	return nil
}

func (s *Sync) ask(ctx context.Context, name string) (owner, error) {
	token, err := s.Token(ctx)
	if err != nil {
		return owner{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/frobs/"+url.PathEscape(name), nil)
	if err != nil {
		return owner{}, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return owner{}, events.Wrap(err, events.CodeUnavailable, "Frobs does not answer") // tried again
	}
	defer func() { _ = response.Body.Close() }()
	o := owner{Frob: name}
	switch response.StatusCode {
	case http.StatusOK:
		err = json.NewDecoder(response.Body).Decode(&o)
	case http.StatusNotFound:
	case http.StatusTooManyRequests: // comes again at that time, without using up its tries
		return owner{}, &events.Error{Code: events.CodeRateLimited, Message: "Frobs wants a pause", RetryAt: time.Now().Add(time.Minute)}
	default:
		return owner{}, events.Errorf(events.CodeUnavailable, "Frobs answers %s", response.Status)
	}
	return o, err
}
