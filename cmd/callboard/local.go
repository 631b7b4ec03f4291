package main

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/pkg/events"
)

// local calls the local routes of a running engine.
type local struct {
	engine front.Running
	url    string // instead of the engine's own, if not empty
	// patience is how long an answer may take; 0 means 30 seconds.
	patience time.Duration
}

func (l local) base() string {
	if l.url != "" {
		return strings.TrimSuffix(l.url, "/")
	}
	return l.engine.URL
}

// call sends body, if any, as JSON and reads the answer into result.
func (l local) call(ctx context.Context, method, path string, body, result any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, l.base()+"/_local"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.engine.Token)
	response, err := front.LocalClient(cmp.Or(l.patience, 30*time.Second)).Do(req)
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the engine at %s does not answer", l.base())
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the engine at %s broke off", l.base())
	}
	if response.StatusCode != http.StatusOK {
		var e httpapi.ErrorBody
		if json.Unmarshal(answer, &e) == nil && e.Error.Message != "" {
			return events.Errorf(events.CodeUnavailable, "%s", e.Error.Message)
		}
		return events.Errorf(events.CodeUnavailable, "the engine at %s answered %s", l.base(), response.Status)
	}
	return json.Unmarshal(answer, result)
}

// localRoutes are the routes of the engine for the other commands of this program.
type localRoutes struct {
	trace func(ctx context.Context, id string) ([]events.Hop, error)
	hooks *sampleHooks                // nil if the sample server is off
	drain func(context.Context) error // waits until nothing is left to do
	dead  desk
	// refresh brings the secrets of the state folder up to date; nil where they are the secrets themselves.
	refresh func(context.Context) error
	// exports answers about the queues of exports; nil where consumers read them themselves.
	exports *exportRoutes
	queues  *queuesOfOthers
}

// ServeHTTP implements http.Handler.
func (l *localRoutes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result, err := l.answer(r)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		response := httpapi.Error(err)
		w.WriteHeader(response.StatusCode)
		_, _ = io.WriteString(w, response.Body)
		return
	}
	_ = json.MarshalWrite(w, result)
}

func (l *localRoutes) answer(r *http.Request) (any, error) {
	if name, isDead := strings.CutPrefix(r.URL.Path, "/dead/"); isDead && r.Method == http.MethodPost {
		return answerDead(r.Context(), l.dead, name, r.Body)
	}
	switch name, isSample := strings.CutPrefix(r.URL.Path, "/sample/"); {
	case r.URL.Path == "/trace" && r.Method == http.MethodGet:
		return l.trace(r.Context(), r.URL.Query().Get("id"))
	case r.URL.Path == "/drain" && r.Method == http.MethodPost:
		return struct{}{}, l.drain(r.Context())
	case r.URL.Path == "/secrets" && r.Method == http.MethodPost:
		if l.refresh == nil {
			return struct{}{}, nil
		}
		return struct{}{}, l.refresh(r.Context())
	case strings.HasPrefix(r.URL.Path, "/exports") && l.exports != nil:
		return l.exports.answer(r)
	case r.URL.Path == "/queue" && r.Method == http.MethodPost:
		return l.queues.put(r.Context(), r.Body)
	case isSample && l.hooks == nil:
		return nil, events.Errorf(events.CodeNotFound, "the sample repository server is off; start it with --sample on, or send a --file")
	case isSample && r.Method == http.MethodPost:
		return l.hooks.make(r.Context(), name, r.Body)
	}
	return nil, events.Errorf(events.CodeNotFound, "there is no local route %s", r.URL.Path)
}
