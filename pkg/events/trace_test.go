package events_test

import (
	"strings"
	"testing"

	"github.com/callboard/callboard/pkg/events"
)

func TestValidTraceParent(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for s, want := range map[string]bool{
		good: true,
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000001-00": true,
		"":                                 false,
		"01" + good[2:]:                    false,
		strings.ToUpper(good):              false,
		good + "-x":                        false,
		good + "0":                         false,
		" " + good:                         false,
		good[:len(good)-1]:                 false,
		strings.Replace(good, "c", "g", 1): false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false,
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		"00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01": false,
		"00-1-1-01": false,
	} {
		if got := events.ValidTraceParent(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
