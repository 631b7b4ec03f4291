package foreign_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
	"github.com/callboard/callboard/internal/blob/foreign"
	"github.com/callboard/callboard/pkg/events"
)

// objects is what both kinds of buckets do.
type objects interface {
	Read(ctx context.Context, bucket, key string, limit int64) ([]byte, error)
}

// Both kinds of buckets have one object, payloads/a/b.
func kinds(t *testing.T) map[string]objects {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/payloads/a/b" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
			return
		}
		_, _ = io.WriteString(w, "content")
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "payloads", "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{"payloads/a/b": "content", "../outside": "secret"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Remove(filepath.Join(dir, "../outside")) })
	return map[string]objects{
		"S3":     foreign.New(awsclienttest.Config(t, server.URL)),
		"folder": foreign.Dir(dir),
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, o := range kinds(t) {
		if data, err := o.Read(t.Context(), "payloads", "a/b", 7); err != nil || string(data) != "content" {
			t.Errorf("%s: %q %v", name, data, err)
		}
		if _, err := o.Read(t.Context(), "payloads", "a/b", 6); events.ErrorCode(err) != events.CodeTooLarge {
			t.Errorf("%s: an object above the limit: %v", name, err)
		}
		// It may be on its way.
		if _, err := o.Read(t.Context(), "payloads", "a/c", 7); events.ErrorCode(err) != events.CodeUnavailable || !strings.Contains(err.Error(), "a/c") {
			t.Errorf("%s: no object: %v", name, err)
		}
		if data, err := o.Read(t.Context(), "..", "outside", 7); err == nil {
			t.Errorf("%s: read outside of the buckets: %q", name, data)
		}
	}
}
