package front_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/pkg/events"
)

// An address that was left behind is recognised, whoever has the port now, and no stranger is sent on with its
// token.
func TestFind_Stranger(t *testing.T) {
	t.Parallel()
	leaked := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked <- r.Header.Get("Authorization") }))
	defer other.Close()
	stranger := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	foreign := httptest.NewServer(&front.Handler{Running: front.NewRunning("http://127.0.0.1:1")})
	defer foreign.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, content := range map[string]any{
		"nothing listens": front.Running{URL: closed.URL, PID: 1, Token: "t"},
		"web page":        front.Running{URL: stranger(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }), PID: 1, Token: "t"},
		"not found":       front.Running{URL: stranger(http.NotFound), PID: 1, Token: "t"},
		"other process":   front.Running{URL: stranger(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"pid":2}`) }), PID: 1, Token: "t"},
		"redirect":        front.Running{URL: stranger(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }), PID: 1, Token: "t"},
		"other front":     front.Running{URL: foreign.URL, PID: os.Getpid(), Token: "t"},
		"no URL":          front.Running{URL: "\x00", PID: 1},
		"no address":      "text",
	} {
		folder := t.TempDir()
		data, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "engine.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := front.Find(t.Context(), folder); events.ErrorCode(err) != events.CodeNotFound {
			t.Errorf("%s: %+v, %v; want nobody", name, r, err)
		}
	}
	if len(leaked) > 0 {
		t.Error("a redirect was followed")
	}
}
