package embedded

import (
	"log/slog"
	"os"
	"testing"
)

var discard = slog.New(slog.DiscardHandler)

// What functions of the tests do wrong is not worth a log.
func TestMain(m *testing.M) {
	slog.SetDefault(discard)
	os.Exit(m.Run())
}
