package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	sqspublisher "github.com/callboard/callboard/functions/sqs-publisher"
	"github.com/callboard/callboard/internal/awsstack"
	"github.com/callboard/callboard/internal/blob/foreign"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/sealed"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/internal/senders"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/webhook"
)

// foreignVisibility is how long a message of a queue of others is hidden while it is worked on.
const foreignVisibility = 6 * config.RunTimeout

// foreign returns the names of the queues of others that a function reads.
func (a *app) foreign(f topology.Function) []string {
	var names []string
	for _, q := range a.topo.Foreign {
		if q.Function == f.Name {
			names = append(names, q.Name)
		}
	}
	return names
}

// sqsPublisher reads the queues of others as if Lambda did it, whoever would ask them in AWS.
func (a *app) sqsPublisher(f topology.Function) *sqspublisher.Handler {
	h := &sqspublisher.Handler{Batch: a.batch(f, sqspublisher.New(a.engine.Queues)), Queues: map[string]string{}}
	h.Batch.Foreign = a.reader().Read
	h.Batch.Queue = sealed.Queue{Queue: h.Batch.Queue, Bucket: a.engine.Bucket()}
	for _, q := range a.topo.Foreign {
		h.Queues[embedded.QueueARN(q.Name)] = q.Topic
	}
	return h
}

func (a *app) reader() *sqspublisher.Reader {
	objects := func(topology.ForeignQueue) sqspublisher.Objects { return a.engine.Buckets }
	return &sqspublisher.Reader{Sources: sqspublisher.Sources(a.conf, a.topo, objects), Secrets: a.engine.Secrets, Bucket: a.engine.Bucket()}
}

// enqueue puts a message into the queue that stands for one of others.
func (a *app) enqueue(ctx context.Context, q topology.ForeignQueue, m events.Message) (id string, err error) {
	return a.engine.Queues.Enqueue(ctx, q.Name, m)
}

// queues sends to the queues of others themselves.
func (c *attachCommand) queues(cfg aws.Config, conf *config.Config, topo *topology.Topology, stack *awsstack.Stack) *queuesOfOthers {
	objects := func(q topology.ForeignQueue) sqspublisher.Objects {
		cfg := cfg.Copy()
		cfg.Region = q.Region()
		return foreign.New(cfg)
	}
	reader := &sqspublisher.Reader{Sources: sqspublisher.Sources(conf, topo, objects), Secrets: secrets.Dir(c.secrets())}
	return &queuesOfOthers{topo: topo, reader: reader, send: stack.Send}
}

// queuesOfOthers answers the local route that puts messages into queues of others.
type queuesOfOthers struct {
	topo   *topology.Topology
	reader *sqspublisher.Reader
	send   func(ctx context.Context, q topology.ForeignQueue, m events.Message) (id string, err error)
}

// queueMessage is a message for the queue of a topic. Its attributes are of type String.
type queueMessage struct {
	Topic      string            `json:"topic"`
	Body       string            `json:"body"`
	Attributes map[string]string `json:"attributes"`
	Group      string            `json:"group"`
}

// queueAnswer says which message was sent, and which event it becomes.
type queueAnswer struct {
	Message string `json:"message"`
	Event   string `json:"event"`
}

func (qs *queuesOfOthers) put(ctx context.Context, body io.Reader) (queueAnswer, error) {
	var in queueMessage
	if err := json.UnmarshalRead(io.LimitReader(body, 8<<20), &in, json.RejectUnknownMembers(true)); err != nil {
		return queueAnswer{}, events.Wrap(err, events.CodeInvalid, `the request is not valid: send {"topic": "…", "body": "…", "attributes": {"name": "text"}}`)
	}
	i := slices.IndexFunc(qs.topo.Foreign, func(q topology.ForeignQueue) bool { return q.Topic == in.Topic })
	if i < 0 {
		return queueAnswer{}, events.Errorf(events.CodeNotFound, "there is no topic %q with a queue of others", in.Topic)
	}
	m := events.Message{Body: in.Body, GroupID: in.Group, Attributes: map[string]events.Attribute{}}
	for name, value := range in.Attributes {
		m.Attributes[name] = events.Attribute{DataType: "String", StringValue: value}
	}
	id, err := qs.send(ctx, qs.topo.Foreign[i], m)
	if err != nil {
		return queueAnswer{}, err
	}
	e, _, _ := qs.reader.Read(ctx, sealed.Seal(in.Topic, m.SQS(id, "", 1))) // whatever is wrong with it, it has an id
	return queueAnswer{Message: id, Event: e.ID}, nil
}

// attributes returns those that a message needs so that a rule finds an event; none where that cannot be seen from the rule.
func attributes(rule, event string) map[string]string {
	needed := events.Metadata{}
	if selector, err := events.ParseSelector(rule); err == nil {
		selector.Place(event, needed, nil)
	}
	return needed
}

// enqueue sends a message to the queue of a topic and prints the id of its event. What would be headers of a webhook are
// its attributes.
func (c *sendCommand) enqueue(ctx context.Context, s streams, topo *topology.Topology, name string, topic config.Topic, engine front.Running) error {
	secret, err := c.secret(ctx, topic, engine, nil)
	if err != nil {
		return err
	}
	delivery := c.Delivery
	if delivery == "" {
		delivery = uuid.NewString()
	}
	h, err := c.hook(ctx, topic, delivery, engine, nil)
	if err != nil {
		return err
	}
	r := webhook.Request{Headers: events.Metadata{}, Body: h.Payload, Time: time.Now()}
	for header, value := range h.Headers {
		if header = strings.ToLower(header); header != "user-agent" {
			r.Headers.Set(header, value)
		}
	}
	if len(topic.SubTopic) > 0 && topic.From == config.FromQueue { // also where the payload is from a file
		for attribute, text := range attributes(topic.SubTopic[0], c.Event) {
			r.Headers.Set(attribute, text)
		}
	}
	senders.Profile(topic, topo.SubTopicRules(name), topo.DeliveryID(name)).(signer).Sign(&r, secret) //nolint:forcetypeassert // every profile of the configuration can
	if topic.From == config.FromGitea {
		// It sends everything under four names, and a message has ten attributes.
		for header := range r.Headers {
			if !strings.HasPrefix(header, "x-gitea-") {
				delete(r.Headers, header)
			}
		}
	}
	for attribute, value := range c.Attribute {
		r.Headers.Set(attribute, value)
	}
	var answer queueAnswer
	in := queueMessage{Topic: name, Body: string(r.Body), Attributes: r.Headers}
	if err := (local{engine: engine, url: c.URL}).call(ctx, http.MethodPost, "/queue", in, &answer); err != nil {
		return err
	}
	return c.print(ctx, s, answer.Event, engine)
}
