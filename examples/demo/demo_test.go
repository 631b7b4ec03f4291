package demo_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/examples/demo"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

func TestHandler(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)

	m, err := events.Encode(eventstest.NewEvent("frobs.add", 7))
	if err != nil {
		t.Fatal(err)
	}
	invocation, err := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{
		m.SQS("good", "receipt", 1),
		events.Message{Body: "not ours"}.SQS("foreign", "receipt", 1),
	}})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := demo.Handler().Invoke(t.Context(), invocation)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(answer), `{"batchItemFailures":[{"itemIdentifier":"foreign"}]}`; got != want {
		t.Errorf("the answer is %s, want %s", got, want)
	}
	for _, want := range []string{"topic=frobs.add", "id=frobs.add:delivery-7", `{\"n\": 7}`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, log.String())
		}
	}
}
