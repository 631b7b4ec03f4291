package config_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/callboard/callboard/internal/config"
)

// Backstage's block completes the topics, and its times a poll, as near as a schedule comes.
func TestParse_Queues(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("testdata/queues.txtar")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(archive.Files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	poll := func(every, wait, hidden time.Duration) *config.Poll {
		return &config.Poll{Every: config.Duration(every), WaitTime: config.Duration(wait), VisibilityTimeout: config.Duration(hidden)}
	}
	type queue struct {
		From, ARN string
		Poll      *config.Poll
	}
	want := map[string]queue{
		"builds":  {"queue", "arn:aws:sqs:eu-west-1:111122223333:builds", nil},
		"far":     {"queue", "arn:aws-cn:sqs:cn-north-1:111122223333:far.fifo", poll(time.Minute, time.Second, time.Minute)},
		"large":   {"queue", "arn:aws:sqs:eu-west-1:111122223333:large", poll(2*time.Minute, 5*time.Second, 90*time.Second)},
		"hooks":   {"github", "arn:aws:sqs:eu-west-1:111122223333:hooks", nil},
		"trusted": {"gerrit", "arn:aws:sqs:eu-west-1:111122223333:gerrit", nil},
		"frobs":   {"hmac", "arn:aws:sqs:eu-west-1:111122223333:frobs", nil},
		// Its own time counts; the others are those of the block, the wait as long as a run allows.
		"pasted": {"queue", "arn:aws:sqs:us-east-2:123456789012:MyQueue", poll(5*time.Minute, 15*time.Second, 5*time.Minute)},
		"alone":  {"queue", "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:Other", nil},
	}
	got := map[string]queue{}
	for name, topic := range c.Topics {
		got[name] = queue{topic.From, topic.Queue, topic.Poll}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"metadata:x-github-event"}, c.Topics["hooks"].SubTopic); diff != "" {
		t.Errorf("a profile brings its sub-topic (-want +got):\n%s", diff)
	}
	if len(c.ByQueue()) != len(want) {
		t.Errorf("%v come by a queue, want all", c.ByQueue())
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	const topic = `{"topics":{"a":{"from":"queue","queue":"arn:aws:sqs:eu-west-1:111122223333:a","poll":{"visibilityTimeout":%s}}}}`
	for text, want := range map[string]time.Duration{
		`"45s"`: 45 * time.Second, `"60000 ms"`: time.Minute, `"1.5 hours"`: 90 * time.Minute, `"PT2M"`: 2 * time.Minute, `"PT1H0.0S"`: time.Hour,
		`"P0DT45S"`: 45 * time.Second, `{"minutes":1,"seconds":0.0}`: time.Minute, `{"hours":1,"milliseconds":1000}`: time.Hour + time.Second, `"2 mins"`: 2 * time.Minute,
	} {
		c, err := config.Parse(fmt.Appendf(nil, topic, text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := time.Duration(c.Topics["a"].Poll.VisibilityTimeout); got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{`"45"`, `"s"`, `"P"`, `"PT"`, `"P1"`, `"-1m"`, `"1e3s"`, `"1 m x"`, `60`, `true`, `[]`, `{"minutes":"1"}`, `{"minutes":1e300}`, `"P1.1.1D"`} {
		if _, err := config.Parse(fmt.Appendf(nil, topic, text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
