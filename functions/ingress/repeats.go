package ingress

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"time"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// codeRepeat is the code of a body that came again under another delivery id. It is one of the ingress alone, so that such
// bodies are counted apart.
const codeRepeat events.Code = "repeat"

// What the table knows of a body: the event it became, and whether the queue has that.
const (
	attrEvent    = "event"
	attrAccepted = "accepted"

	bodyRow = "event"
)

// claimed is how long a body is kept for the request that sends it; longer than any request lasts.
const claimed = 15 * time.Second

// claims is how often a request tries to claim a body whose item vanishes while it looks.
const claims = 3

// once stores an event, unless its body was stored as another event within the window. The table knows a body for good
// only after the queue has it: what ends before that leaves a claim, which ends by itself.
func (h *Handler) once(ctx context.Context, window time.Duration, topic string, hook webhook.Request, event string, store func() error) error {
	key := bodyKey(topic, hook)
	if err := h.claim(ctx, key, event, hook.Time); err != nil {
		return err
	}
	ours := table.Equal(attrEvent, event)
	if err := store(); err != nil {
		// The sender may try again at once, under whatever id. If this fails too, it has to wait for the end of the claim.
		if freeErr := h.Table.Delete(ctx, key, ours, table.Equal(attrAccepted, false)); freeErr != nil && !errors.Is(freeErr, table.ErrCondition) {
			return errors.Join(err, freeErr)
		}
		return err
	}
	known := bodyItem(key, event, true, hook.Time.Add(window))
	err := h.Table.Put(ctx, known, ours)
	if errors.Is(err, table.ErrCondition) { // a request for the same event, which failed, has freed the claim
		err = h.Table.Put(ctx, known, table.NotExists())
	}
	if err != nil {
		slog.WarnContext(ctx, "the body of an accepted event is not remembered, and so not recognised when it comes again", "event", event, "error", err)
	}
	return nil
}

// claim returns nil if the body belongs to the event: nobody has sent it, or it was sent as this very event, which somebody
// may have asked to be sent again.
func (h *Handler) claim(ctx context.Context, key table.Key, event string, now time.Time) error {
	var err error
	for range claims {
		if err = h.Table.Put(ctx, bodyItem(key, event, false, now.Add(claimed)), table.NotExists()); err == nil {
			return nil
		}
		if !errors.Is(err, table.ErrCondition) {
			break
		}
		var item table.Item
		if item, err = h.Table.Get(ctx, key); errors.Is(err, table.ErrNotFound) {
			continue // it has just expired
		} else if err != nil {
			break
		}
		switch before, accepted := item.Attrs[attrEvent], item.Attrs[attrAccepted]; {
		case before == event:
			return nil
		case accepted == true:
			return events.Wrap(fmt.Errorf("it is the event %v", before), codeRepeat, "the body was accepted before, under another delivery id")
		default:
			return events.Errorf(events.CodeUnavailable, "the same body is being accepted under another delivery id at this moment; send it again")
		}
	}
	return events.Wrap(err, events.CodeUnavailable, "it cannot be seen at the moment whether the body came before; send the event again")
}

func bodyItem(key table.Key, event string, accepted bool, expires time.Time) table.Item {
	return table.Item{Key: key, Attrs: table.Attrs{attrEvent: event, attrAccepted: accepted}, Expires: expires}
}

func bodyKey(topic string, hook webhook.Request) table.Key {
	sum := sha256.Sum256(signedBody(hook))
	return table.Key{PK: "body#" + topic + "#" + hex.EncodeToString(sum[:]), SK: bodyRow}
}

// signedBody returns what no one without the secret can change: the bytes of the body, whatever the headers make of them.
// Of a form it is the document in it, which some senders sign, so that another way to write the form is no other body.
func signedBody(hook webhook.Request) []byte {
	if mediaType, _, err := mime.ParseMediaType(hook.Headers["content-type"]); err == nil && mediaType == webhook.FormType {
		if document, err := webhook.FormPayload(hook.Body); err == nil {
			return document
		}
	}
	return hook.Body
}
