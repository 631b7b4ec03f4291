package enginelink

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// patience is how long a request may take. What it waits for is on the same machine.
const patience = 30 * time.Second

// Client reaches the services of an engine from the program that it runs.
type Client struct {
	url, token, bucket string
	http               *http.Client
}

var _ Services = (*Client)(nil)

// Find returns the client of the engine that runs this program, nil if none does. Lookup is [os.LookupEnv] or stands for
// it.
func Find(lookup func(string) (string, bool)) *Client {
	url, ok := lookup(URL)
	if !ok {
		return nil
	}
	token, _ := lookup(Token)
	bucket, _ := lookup(Bucket)
	return &Client{url: url, token: token, bucket: bucket, http: &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 8}, // no proxy stands between a machine and itself
	}}
}

// Send implements [Services].
func (c *Client) Send(ctx context.Context, m events.Message) error {
	_, err := c.call(ctx, pathSend, m)
	return err
}

// Publish implements [events.Publisher]. How large an event may be is up to the engine.
func (c *Client) Publish(ctx context.Context, es ...events.Event) error {
	errs := make(events.PublishError, len(es))
	var messages []events.Message
	var origin []int // messages[i] is es[origin[i]]
	for i, e := range es {
		m, err := events.Encoder{MaxSize: maxRequest}.Encode(e)
		if err != nil {
			errs[i] = err
			continue
		}
		messages, origin = append(messages, m), append(origin, i)
	}
	if len(messages) > 0 {
		a, err := c.call(ctx, pathPublish, messages)
		if err != nil {
			return err
		}
		for i, f := range a.Events {
			if f != nil && i < len(origin) {
				errs[origin[i]] = f.err()
			}
		}
	}
	for _, err := range errs {
		if err != nil {
			return errs
		}
	}
	return nil
}

// ChangeVisibility implements [events.Queue].
func (c *Client) ChangeVisibility(ctx context.Context, m events.SQSMessage, hidden time.Duration) error {
	m.Body, m.MessageAttributes = "", nil // nobody needs them there
	_, err := c.call(ctx, pathVisibility, visibility{m, int64(hidden)})
	return err
}

// Park implements [events.Queue].
func (c *Client) Park(ctx context.Context, m events.Message) error {
	_, err := c.call(ctx, pathPark, m)
	return err
}

// Values implements [Services]. The engine is asked each time, so that a new value needs no restart.
func (c *Client) Values(ctx context.Context, name string) ([]string, error) {
	a, err := c.call(ctx, pathSecret, secret{name})
	return a.Values, err
}

// Bucket is where the engine keeps the payloads that are too large for a message.
func (c *Client) Bucket() *events.Bucket { return &events.Bucket{Name: c.bucket, Store: c} }

// Put implements [events.BlobStore].
func (c *Client) Put(ctx context.Context, key string, data []byte) error {
	_, err := c.call(ctx, pathPut, payload{key, data})
	return err
}

// Get implements [events.BlobStore].
func (c *Client) Get(ctx context.Context, key string) ([]byte, error) {
	a, err := c.call(ctx, pathGet, payload{Key: key})
	return a.Data, err
}

// Claim implements [events.OnceStore].
func (c *Client) Claim(ctx context.Context, key string, lease time.Duration) (token string, err error) {
	a, err := c.call(ctx, pathClaim, work{Key: []byte(key), Nanoseconds: int64(lease)})
	return a.Token, err
}

// Complete implements [events.OnceStore].
func (c *Client) Complete(ctx context.Context, key string) error {
	_, err := c.call(ctx, pathComplete, work{Key: []byte(key)})
	return err
}

// Release implements [events.OnceStore].
func (c *Client) Release(ctx context.Context, key, token string) error {
	_, err := c.call(ctx, pathRelease, work{Key: []byte(key), Token: token})
	return err
}

// Observe implements [events.Observer].
func (c *Client) Observe(ctx context.Context, h events.Hop) {
	if _, err := c.call(context.WithoutCancel(ctx), pathObserve, h); err != nil {
		slog.ErrorContext(ctx, "the engine was not told what came of an event", "event", h.Event, "error", err.Error())
	}
}

func (c *Client) call(ctx context.Context, path string, body any) (a answer, err error) {
	data, err := json.Marshal(body, jsontext.AllowInvalidUTF8(true)) // a hop may hold what came from outside
	if err != nil {
		return a, events.Wrap(err, events.CodeInvalid, "what the engine is asked for cannot be written as JSON")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(data)) // #nosec G704 -- the engine says where it is
	if err != nil {
		return a, events.Wrap(err, events.CodeInvalid, "the variable %s is no URL", URL)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(req) // #nosec G704 -- the same
	if err != nil {
		return a, events.Wrap(err, events.CodeUnavailable, "the engine does not answer")
	}
	defer func() { _ = response.Body.Close() }()
	if data, err = io.ReadAll(response.Body); err != nil {
		return a, events.Wrap(err, events.CodeUnavailable, "the engine broke off")
	}
	if response.StatusCode != http.StatusOK {
		return a, events.Errorf(events.CodeUnavailable, "the engine answers %s", response.Status)
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, events.Wrap(err, events.CodeUnavailable, "the answer of the engine cannot be read")
	}
	return a, a.Error.err()
}
