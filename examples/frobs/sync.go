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

// Sync asks Frobs who owns a frob that was added or deleted, publishes it, and lets Frobs write to the owner. An event may be
// late, so it is a hint only: what counts is what the API says now. It may also come twice, and a letter cannot be taken
// back: events.Once around Sync keeps it from being written again.
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
	return s.write(ctx, e.Key(), o)
}

// write lets Frobs write to the owner of a frob. It comes last, since what fails after it would lead to a second letter. The
// key is for the case that no store can help with: a crash after the request and before it is recorded.
func (s *Sync) write(ctx context.Context, key string, o owner) error {
	if o.Owner == "" {
		return nil
	}
	response, err := s.request(ctx, http.MethodPost, "/frobs/"+url.PathEscape(o.Frob)+"/letters", key)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusAccepted {
		return events.Errorf(events.CodeUnavailable, "Frobs answers %s", response.Status)
	}
	return nil
}

// request asks Frobs for something, or to do something that the key identifies.
func (s *Sync) request(ctx context.Context, method, path, key string) (*http.Response, error) {
	token, err := s.Token(ctx)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "Frobs does not answer") // tried again
	}
	return response, nil
}

func (s *Sync) ask(ctx context.Context, name string) (owner, error) {
	response, err := s.request(ctx, http.MethodGet, "/frobs/"+url.PathEscape(name), "")
	if err != nil {
		return owner{}, err
	}
	defer func() { _ = response.Body.Close() }()
	o := owner{Frob: name}
	switch response.StatusCode {
	case http.StatusOK:
		err = json.NewDecoder(response.Body).Decode(&o)
	case http.StatusNotFound:
	case http.StatusTooManyRequests: // comes again at that time
		return owner{}, &events.Error{Code: events.CodeRateLimited, Message: "Frobs wants a pause", RetryAt: time.Now().Add(time.Minute)}
	default:
		return owner{}, events.Errorf(events.CodeUnavailable, "Frobs answers %s", response.Status)
	}
	return o, err
}
