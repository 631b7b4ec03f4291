package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
)

var withheldMetric = regexp.MustCompile(`(?m)"Withheld":1,"Prefix":"[^"]+","Export":"backstage"}$`)

// An event that is too large for a message reaches our own subscribers whole, and not the consumer of an export who does not
// resolve claim checks: that is in its trace, and counted. What comes after it reaches both.
func TestWithheld(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	large := p.commit(t, change{Repo: "large", Files: map[string]*string{"catalog-info.yaml": component("large", "whole")}})
	// Before the rest, so that nobody can read the event without all of it.
	large.Payload = append([]byte(`{"padding":"`+strings.Repeat("x", events.MaxSQSMessageSize)+`",`), large.Payload[1:]...)
	small := p.commit(t, change{Repo: "small", Files: map[string]*string{"catalog-info.yaml": component("small", "behind it")}})
	withheld, sent := p.deliver(t, large), p.deliver(t, small)
	p.Settle(t)
	if diff := cmp.Diff(map[string]string{"large": "whole", "small": "behind it"}, p.components(t)); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{sent}, p.exported(t)); diff != "" {
		t.Errorf("events for the consumer (-want +got):\n%s", diff)
	}
	hop := regexp.MustCompile(`export:backstage.* dropped .*too large for a message`)
	if out, _, code := p.Trace(t, withheld); code != 0 || !hop.MatchString(out) || !strings.Contains(out, "+component:default/large") {
		t.Errorf("the trace does not say that the event was withheld, and why; exit code %d\n%s", code, out)
	}
	if out, _, code := p.Trace(t, sent); code != 0 || strings.Contains(out, "export:") || !strings.Contains(out, "+component:default/small") {
		t.Errorf("the trace of the smaller event has exit code %d\n%s", code, out)
	}
	if got := withheldMetric.MatchString(p.Log(t)); got != metrics {
		t.Errorf("that an event was withheld is counted: %t, want %t", got, metrics)
	}
}
