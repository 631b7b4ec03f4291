package config

import (
	"regexp"
	"sync"
	"time"
)

// windowForm is what people and the JSON Schema take for a time; [time.ParseDuration] takes more.
var windowForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`) })

// The bounds of a window; the upper one is how long subscribers remember what they have done.
const (
	minRepeatWindow = time.Minute
	maxRepeatWindow = 30 * 24 * time.Hour
)

// RepeatFor returns how long a body of the topic is recognised under another delivery id; 0 if it is not.
func (t Topic) RepeatFor() time.Duration {
	d, err := time.ParseDuration(t.RepeatWindow)
	if err != nil {
		return 0 // none, or one that is an error of the configuration
	}
	return d
}

// Repeats tells whether bodies of any topic are recognised under another delivery id.
func (c *Config) Repeats() bool {
	for _, t := range c.Topics {
		if t.RepeatFor() > 0 {
			return true
		}
	}
	return false
}

func (v validator) repeatWindow(path string, t Topic) {
	if t.RepeatWindow == "" {
		return
	}
	if t.Queue != "" || t.From == FromQueue || t.From == FromPublish {
		v.add(path, "is for a topic that takes webhooks only: remove it")
		return
	}
	if d := t.RepeatFor(); !windowForm().MatchString(t.RepeatWindow) || d < minRepeatWindow || d > maxRepeatWindow {
		v.add(path, "is %q: write a time from \"1m\" to \"720h\" in hours, minutes and seconds, such as \"30m\"", t.RepeatWindow)
	}
}
