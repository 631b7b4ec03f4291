package s3blob_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
	"github.com/callboard/callboard/internal/blob/blobtest"
	"github.com/callboard/callboard/internal/blob/s3blob"
	"github.com/callboard/callboard/pkg/events"
)

// bucket answers as S3 does for objects of one bucket, in path style.
func bucket(t *testing.T) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	objects := map[string][]byte{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		key, ok := strings.CutPrefix(r.URL.Path, "/blobs/")
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<Error><Code>NoSuchBucket</Code></Error>")
			return
		}
		switch r.Method {
		case http.MethodPut:
			objects[key], _ = io.ReadAll(r.Body)
		case http.MethodDelete:
			delete(objects, key)
			w.WriteHeader(http.StatusNoContent)
		default:
			data, ok := objects[key]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
				return
			}
			_, _ = w.Write(data)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blobtest.Store { return s3blob.New(awsclienttest.Config(t, bucket(t).URL), "blobs") })
}

// A bucket that is missing is a deployment that has not finished, and no missing blob.
func TestNoBucket(t *testing.T) {
	t.Parallel()
	s := s3blob.New(awsclienttest.Config(t, bucket(t).URL), "absent")
	_, err := s.Get(t.Context(), "a")
	for name, err := range map[string]error{"Get": err, "Put": s.Put(t.Context(), "a", nil), "Delete": s.Delete(t.Context(), "a")} {
		if events.ErrorCode(err) != events.CodeUnavailable || !strings.Contains(events.ErrorMessage(err), "absent") {
			t.Errorf("%s: %v, want code %s and the name of the bucket", name, err, events.CodeUnavailable)
		}
	}
}

// A large blob is sent at once: the store does not ask first, and wait where nobody answers.
func TestPut_DoesNotAskFirst(t *testing.T) {
	t.Parallel()
	var expect []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		expect = append(expect, r.Header.Get("Expect"))
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	t.Cleanup(s.Close)
	if err := s3blob.New(awsclienttest.Config(t, s.URL), "blobs").Put(t.Context(), "events/large", make([]byte, 5<<20)); err != nil {
		t.Fatal(err)
	}
	if len(expect) != 1 || expect[0] != "" {
		t.Errorf("the requests expect %q, want one that expects nothing", expect)
	}
}

// What a bucket of payloads is called in claim checks is the bucket.
func TestBucket(t *testing.T) {
	t.Parallel()
	b := s3blob.Bucket(awsclienttest.Config(t, bucket(t).URL), "blobs")
	if err := b.Store.Put(t.Context(), "events/x", []byte("x")); err != nil || b.Name != "blobs" {
		t.Errorf("the bucket %q: %v", b.Name, err)
	}
}
