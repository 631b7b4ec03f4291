// Package telemetry writes the metrics of the functions: CloudWatch's embedded metric format, a JSON object a line,
// whatever the level of the log
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
// Each metric has the dimension Prefix and one more, both of few values: never a repository or an id.
package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// Namespace is that of all metrics.
const Namespace = "Callboard"

// The metrics and their second dimension.
const (
	Accepted       = "Accepted"       // by Topic: webhooks that are on the queue, messages of queues of others that are published
	Refused        = "Refused"        // by Reason: webhooks that are not; the reason is the code of the error
	Effect         = "Effect"         // by Function: milliseconds from the webhook to the end of the work on its event
	Unrouted       = "Unrouted"       // by Reason: events without a sub-topic, or with one that is no name
	Withheld       = "Withheld"       // by Export: events that are too large for its consumer
	SecretMissing  = "SecretMissing"  // by Secret: reads of a secret that has no value
	QuotaRemaining = "QuotaRemaining" // by Host: requests that the API of a source-control system still allows
)

// Metrics writes metrics. It may be used by many goroutines at once.
type Metrics struct {
	Prefix string
	Out    io.Writer
	// ByQueue are the topics whose events come by a queue of others.
	ByQueue []string

	mu sync.Mutex
}

var _ events.Observer = (*Metrics)(nil)

// level lets Lambda hand on a line whatever the function's log level is: it takes one without a level or a timestamp for
// INFO (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html).
const level = "FATAL"

// format is a line: names and units are ours and need no quotes of JSON, the rest does.
const format = `{"_aws":{"Timestamp":%d,"CloudWatchMetrics":[{"Namespace":"` + Namespace + `","Dimensions":[["Prefix","%s"]],` +
	`"Metrics":[{"Name":"%s","Unit":"%s"}]}]},"level":"` + level + `","timestamp":"%s","%s":%v,"Prefix":%s,"%s":%s}` + "\n"

func (m *Metrics) emit(name, unit string, value float64, dimension, of string) {
	now := time.Now()
	prefix, err1 := jsontext.AppendQuote(nil, m.Prefix)
	quoted, err2 := jsontext.AppendQuote(nil, of)
	err := cmp.Or(err1, err2)
	if err == nil {
		line := fmt.Appendf(nil, format, now.UnixMilli(), dimension, name, unit, now.UTC().Format(time.RFC3339Nano), name, value, prefix, dimension, quoted)
		m.mu.Lock()
		defer m.mu.Unlock()
		_, err = m.Out.Write(line)
	}
	if err != nil {
		slog.Error("a metric cannot be written", "metric", name, "error", err)
	}
}

// Observe counts what the ingress accepts and refuses, what comes by queues of others, what the router and exports drop, and
// how long after the webhook a subscriber is done.
func (m *Metrics) Observe(_ context.Context, h events.Hop) {
	switch {
	case h.Outcome == events.OutcomeRefused:
		m.emit(Refused, "Count", 1, "Reason", string(h.Code))
	case h.Outcome == events.OutcomeDropped && h.Function == topology.Router:
		if h.Reason != events.SubTopicUnwanted { // which is what most events of a provider are
			m.emit(Unrouted, "Count", 1, "Reason", h.Reason)
		}
	case h.Outcome == events.OutcomeDropped && strings.HasPrefix(h.Function, topology.ExportHop):
		m.emit(Withheld, "Count", 1, "Export", strings.TrimPrefix(h.Function, topology.ExportHop))
	case h.Outcome == events.OutcomeOK && h.Function == topology.Ingress:
		m.emit(Accepted, "Count", 1, "Topic", h.Topic)
	case h.Outcome == events.OutcomeOK && h.Function == topology.SQSPublisher && slices.Contains(m.ByQueue, h.Topic):
		m.emit(Accepted, "Count", 1, "Topic", h.Topic)
	case h.Outcome == events.OutcomeOK && !h.Accepted.IsZero():
		done := h.Time.Add(time.Duration(h.Milliseconds * float64(time.Millisecond)))
		m.emit(Effect, "Milliseconds", float64(done.Sub(h.Accepted).Milliseconds()), "Function", h.Function)
	}
}

// Source gives the live values of a secret.
type Source interface {
	Values(ctx context.Context, name string) ([]string, error)
}

// Secrets are the secrets of a source; reads of one that has no value are counted.
func (m *Metrics) Secrets(s Source) Source { return countedSecrets{s, m} }

type countedSecrets struct {
	Source
	metrics *Metrics
}

// Values implements Source.
func (c countedSecrets) Values(ctx context.Context, name string) ([]string, error) {
	values, err := c.Source.Values(ctx, name)
	if events.ErrorCode(err) == events.CodeNotFound {
		c.metrics.emit(SecretMissing, "Count", 1, "Secret", name)
	}
	return values, err
}

// Refresh reads a secret again, if the source remembers values.
func (c countedSecrets) Refresh(ctx context.Context, name string) ([]string, error) {
	if r, ok := c.Source.(secrets.Refresher); ok {
		return r.Refresh(ctx, name)
	}
	return c.Source.Values(ctx, name)
}

// Transport asks the API of a host by next, and notes how many requests the API still allows.
func (m *Metrics) Transport(host string, next http.RoundTripper) http.RoundTripper {
	return countedTransport{host, next, m}
}

type countedTransport struct {
	host    string
	next    http.RoundTripper
	metrics *Metrics
}

// RoundTrip implements http.RoundTripper. The header is GitHub's
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
func (t countedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if left, err := strconv.Atoi(response.Header.Get("X-RateLimit-Remaining")); err == nil {
		t.metrics.emit(QuotaRemaining, "Count", float64(left), "Host", t.host)
	}
	return response, nil
}
