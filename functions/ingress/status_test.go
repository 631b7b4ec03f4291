package ingress

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
)

// The page for operators has every row of the table, and no other.
func TestStatuses_AreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/providers/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## Status codes")
	_, rest, _ = strings.Cut(rest, "|---|---|---|\n")
	got, _, _ := strings.Cut(rest, "\n\n")
	rows := []row{rowAccepted, rowTest, rowRepeat, rowOdd}
	rows = append(rows, slices.SortedFunc(maps.Values(refusals), func(a, b row) int { return a.status - b.status })...)
	var want strings.Builder
	for _, r := range append(rows, rowOurs) {
		fmt.Fprintf(&want, "| %d | %s | %s |\n", r.status, r.when, r.why)
	}
	if got+"\n" != want.String() {
		t.Errorf("the table of docs/providers/README.md is\n%s\nwant\n%s", got, want.String())
	}
}

// Whatever goes wrong, nobody is answered what makes a provider give up, and nobody who was verified is answered a
// failure of theirs where that costs them the webhook.
func TestRefused(t *testing.T) {
	t.Parallel()
	codes := []events.Code{
		events.CodeInternal, events.CodeInvalid, events.CodeUnauthorized, events.CodeForbidden, events.CodeNotFound, events.CodeMethodNotAllowed,
		events.CodeConflict, events.CodeTooLarge, events.CodeUnsupportedMediaType, events.CodeRateLimited, events.CodeUnavailable, "unheard-of",
	}
	for _, from := range config.Senders() {
		for _, code := range codes {
			for _, verified := range []bool{false, true} {
				r := refused(events.Errorf(code, "why"), from, verified)
				_, theirs := refusals[code]
				switch {
				case r.StatusCode == http.StatusGone, r.StatusCode == http.StatusInternalServerError, r.StatusCode == http.StatusTooManyRequests:
					t.Errorf("%s is answered %d for %s", from, r.StatusCode, code)
				case !theirs && (r.StatusCode != http.StatusServiceUnavailable || r.Headers["retry-after"] == ""):
					t.Errorf("%s is answered %d %v for a failure of ours, %s", from, r.StatusCode, r.Headers, code)
				case theirs && !verified && r.StatusCode/100 != 4:
					t.Errorf("%s is answered %d for %s though nobody knows who it is", from, r.StatusCode, code)
				case theirs && verified && disables[from] != (r.StatusCode == http.StatusOK):
					t.Errorf("%s is answered %d for %s", from, r.StatusCode, code)
				case !strings.Contains(r.Body, "why"):
					t.Errorf("%s is not told why: %s", from, r.Body)
				}
				if (r.StatusCode == http.StatusUnauthorized) != strings.HasPrefix(r.Headers["www-authenticate"], "Basic ") {
					t.Errorf("%s is answered %d with %v", from, r.StatusCode, r.Headers)
				}
			}
		}
	}
}
