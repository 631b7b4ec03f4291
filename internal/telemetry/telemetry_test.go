package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/telemetry"
	"github.com/callboard/callboard/pkg/events"
)

// line is what CloudWatch reads of one line; the rest is looked up by name.
type line struct {
	AWS struct {
		Timestamp         int64 `json:"Timestamp"`
		CloudWatchMetrics []struct {
			Namespace  string     `json:"Namespace"`
			Dimensions [][]string `json:"Dimensions"`
			Metrics    []struct {
				Name string `json:"Name"`
				Unit string `json:"Unit"`
			} `json:"Metrics"`
		} `json:"CloudWatchMetrics"`
	} `json:"_aws"`
}

// read returns the metrics as "name dimension=value number".
func read(t *testing.T, out *bytes.Buffer) []string {
	t.Helper()
	var got []string
	for text := range strings.Lines(out.String()) {
		var l line
		var values map[string]any
		if err := errors.Join(json.Unmarshal([]byte(text), &l), json.Unmarshal([]byte(text), &values)); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		m := l.AWS.CloudWatchMetrics[0]
		if l.AWS.Timestamp == 0 || m.Namespace != "Callboard" || m.Metrics[0].Unit == "" || m.Dimensions[0][0] != "Prefix" || values["Prefix"] != "callboard-test" {
			t.Errorf("the line is incomplete: %s", text)
		}
		// Without these Lambda drops the line where the level of the log is above INFO.
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(values["timestamp"])); err != nil || values["level"] != "FATAL" {
			t.Errorf("the line is dropped at some levels of the log: %s", text)
		}
		name, dimension := m.Metrics[0].Name, m.Dimensions[0][1]
		value, _ := json.Marshal(values[name])
		got = append(got, name+" "+dimension+"="+values[dimension].(string)+" "+string(value))
	}
	return got
}

// What comes by a queue of others is counted where it is published.
func TestObserve_QueuesOfOthers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := &telemetry.Metrics{Prefix: "callboard-test", Out: &out, ByQueue: []string{"builds"}}
	for _, h := range []events.Hop{
		{Function: "sqs-publisher", Topic: "builds", Outcome: events.OutcomeOK},
		{Function: "sqs-publisher", Topic: "builds", Outcome: events.OutcomeRetry},
		{Function: "sqs-publisher", Topic: "github", Outcome: events.OutcomeOK},
		{Function: "router", Topic: "builds", Outcome: events.OutcomeOK},
	} {
		m.Observe(t.Context(), h)
	}
	if diff := cmp.Diff([]string{"Accepted Topic=builds 1"}, read(t, &out)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

type source map[string]string

func (s source) Values(_ context.Context, name string) ([]string, error) {
	if s[name] == "" {
		return nil, events.Errorf(events.CodeNotFound, "no value")
	}
	return []string{s[name]}, nil
}

type answer map[string]string

func (a answer) RoundTrip(*http.Request) (*http.Response, error) {
	r := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	for name, value := range a {
		r.Header.Set(name, value)
	}
	return r, nil
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := &telemetry.Metrics{Prefix: "callboard-test", Out: &out}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, h := range []events.Hop{
		{Function: "ingress", Topic: "github", Outcome: events.OutcomeOK},
		{Function: "ingress", Outcome: events.OutcomeRefused, Code: events.CodeForbidden, Reason: "free text"},
		{Function: "notify", Outcome: events.OutcomeOK, Accepted: now, Time: now.Add(time.Second), Milliseconds: 500},
		{Function: "notify", Outcome: events.OutcomeRetry, Accepted: now, Time: now},
		{Function: "router", Outcome: events.OutcomeDropped, Reason: events.SubTopicUnwanted, Accepted: now, Time: now},
		{Function: "router", Outcome: events.OutcomeDropped, Reason: events.NoSubTopic, Accepted: now, Time: now},
		{Function: "export:backstage", Outcome: events.OutcomeDropped, Accepted: now, Time: now},
		{Function: "notify", Outcome: events.OutcomeDropped, Accepted: now, Time: now},
	} {
		m.Observe(t.Context(), h)
	}
	secrets := m.Secrets(source{"there": "x"})
	for _, name := range []string{"there", "empty"} {
		_, _ = secrets.Values(t.Context(), name)
	}
	for _, headers := range []answer{{"X-RateLimit-Remaining": "4999"}, {}} {
		response, err := m.Transport("github.com", headers).RoundTrip(&http.Request{})
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	want := []string{
		"Accepted Topic=github 1", "Refused Reason=forbidden 1", "Effect Function=notify 1500", "Unrouted Reason=no sub-topic 1", "Withheld Export=backstage 1",
		"SecretMissing Secret=empty 1", "QuotaRemaining Host=github.com 4999",
	}
	if diff := cmp.Diff(want, read(t, &out)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
