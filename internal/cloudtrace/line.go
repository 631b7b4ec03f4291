package cloudtrace

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/pkg/events"
)

// message is what every line of a hop says.
const message = "hop"

// line is what [events.LogObserver] logs, with the names that the log handler of aws-lambda-go gives.
type line struct {
	Message      string         `json:"message"`
	Event        string         `json:"event"`
	Function     string         `json:"function"`
	Topic        string         `json:"topic"`
	Outcome      events.Outcome `json:"outcome"`
	Milliseconds float64        `json:"ms"`
	Attempt      int            `json:"attempt"`
	Code         events.Code    `json:"code"`
	Reason       string         `json:"reason"`
	Start        time.Time      `json:"start"`
	Accepted     time.Time      `json:"accepted"`
	TraceParent  string         `json:"traceparent"`
	Notes        []events.Note  `json:"notes"`
}

// Parse reads a hop from a line that [events.LogObserver] wrote to the log of a Lambda function, in the text or the JSON
// format. It tells whether the line is one.
func Parse(text string) (events.Hop, bool) {
	text = strings.TrimSpace(text)
	var l line
	var err error
	if strings.HasPrefix(text, "{") {
		err = json.Unmarshal([]byte(text), &l)
	} else {
		l, err = parseText(text)
	}
	if err != nil || math.IsNaN(l.Milliseconds) || math.IsInf(l.Milliseconds, 0) { // which no JSON could hold
		return events.Hop{}, false
	}
	if l.Message != message || l.Function == "" || l.Outcome == "" {
		return events.Hop{}, false
	}
	return events.Hop{
		Time: l.Start, Event: l.Event, Topic: l.Topic, Function: l.Function, Outcome: l.Outcome, Reason: l.Reason, Code: l.Code,
		Accepted: l.Accepted, Attempt: l.Attempt, Milliseconds: l.Milliseconds, TraceParent: l.TraceParent, Notes: l.Notes,
	}, true
}

// parseText reads what [slog.TextHandler] writes: names and values with "=" between them, quoted as in Go where necessary.
func parseText(text string) (line, error) {
	var l line
	for text != "" {
		name, rest, _ := strings.Cut(text, "=")
		value, rest, err := cutValue(rest)
		if err == nil {
			err = l.set(name, value)
		}
		if err != nil {
			return line{}, err
		}
		text = rest
	}
	return l, nil
}

// cutValue returns the value that text starts with, and what follows it.
func cutValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		value, rest, _ = strings.Cut(text, " ")
		return value, rest, nil
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", err
	}
	value, err = strconv.Unquote(quoted)
	return value, strings.TrimPrefix(text[len(quoted):], " "), err
}

func (l *line) set(name, value string) (err error) {
	switch name {
	case "message":
		l.Message = value
	case "event":
		l.Event = value
	case "function":
		l.Function = value
	case "topic":
		l.Topic = value
	case "outcome":
		l.Outcome = events.Outcome(value)
	case "ms":
		l.Milliseconds, err = strconv.ParseFloat(value, 64)
	case "attempt":
		l.Attempt, err = strconv.Atoi(value)
	case "code":
		l.Code = events.Code(value)
	case "reason":
		l.Reason = value
	case "start":
		l.Start, err = time.Parse(time.RFC3339Nano, value)
	case "accepted":
		l.Accepted, err = time.Parse(time.RFC3339Nano, value)
	case "traceparent":
		l.TraceParent = value
	case "notes":
		err = json.Unmarshal([]byte(value), &l.Notes)
	}
	return err
}
