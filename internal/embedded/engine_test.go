package embedded

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/pkg/events"
)

func openEngine(t *testing.T, folder string) *Engine {
	t.Helper()
	e, err := Open(folder, []QueueSpec{{Name: "dead"}, {Name: "q", Visibility: time.Hour}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// running is an engine that serves.
type running struct {
	url  string
	stop func() (left map[string]int, err error)
}

func serve(t *testing.T, e *Engine, p patience, list ...Function) running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Engine: e, Functions: list, Observer: events.LogObserver{Logger: discard}, Version: "v1.2.3", URL: "http://" + l.Addr().String(), patience: p,
		Local: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "local "+r.URL.Path) }),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	type result struct {
		left map[string]int
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		left, err := s.Serve(ctx, l, func() { close(ready) })
		ended <- result{left, err}
	}()
	<-ready
	stop := sync.OnceValues(func() (map[string]int, error) {
		cancel()
		r := <-ended
		return r.left, r.err
	})
	t.Cleanup(func() { _, _ = stop() })
	return running{s.URL, stop}
}

func get(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := front.LocalClient(time.Minute).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func TestServer_Routes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	r := serve(t, openEngine(t, folder), patience{}, Function{
		Name: "f", Handler: echo, Timeout: time.Minute, Routes: []string{"/f/{proxy+}"},
	})
	found, err := front.Find(t.Context(), folder)
	if err != nil || found.URL != r.url || found.PID != os.Getpid() {
		t.Fatalf("the engine is found as %+v: %v", found, err)
	}
	for _, test := range []struct {
		path, token string
		status      int
		body        string
	}{
		{"/health", "", 200, `{"status":"ok"}`},
		{"/version", "", 200, `{"version":"v1.2.3"}`},
		{"/_local/trace", "", 403, `{"message":"Forbidden"}`},
		{"/_local/trace", "wrong", 403, `{"message":"Forbidden"}`},
		{"/_local/engine", "", 403, `{"message":"Forbidden"}`},
		{"/_local/trace", found.Token, 200, "local /trace"},
		{"/_sample/x", "", 404, `{"message":"Not Found"}`},
		{"/nowhere", "", 404, `{"message":"Not Found"}`},
		{"//f/x", "", 404, `{"message":"Not Found"}`},
	} {
		if status, body := get(t, r.url+test.path, test.token); status != test.status || body != test.body {
			t.Errorf("GET %s with token %q: %d %s, want %d %s", test.path, test.token, status, body, test.status, test.body)
		}
	}
	if status, _ := get(t, r.url+"/f/x", ""); status != 200 {
		t.Errorf("the function's route answers %d", status)
	}
	if left, err := r.stop(); err != nil || len(left) != 0 {
		t.Errorf("at the end %v is left: %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "engine.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the address is left behind: %v", err)
	}
	if _, err := front.Find(t.Context(), folder); events.ErrorCode(err) != events.CodeNotFound {
		t.Errorf("an engine that has ended is found: %v", err)
	}
}

func TestOpen_Twice(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	serve(t, openEngine(t, folder), patience{})
	if _, err := Open(folder, nil, nil); events.ErrorCode(err) != events.CodeUnavailable {
		t.Errorf("a second engine on the folder: %v", err)
	}
	if _, err := front.Find(t.Context(), folder); err != nil {
		t.Errorf("the second one has taken the address of the first away: %v", err)
	}
}

func TestOpen_Fails(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, name := range []string{"file", "blobs"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(filepath.Join(folder, "file"), nil, nil); err == nil {
		t.Error("a file was taken for a folder")
	}
	if _, err := Open(folder, nil, nil); err == nil {
		t.Fatal("a file was taken for the folder of blobs")
	}
	if err := os.Remove(filepath.Join(folder, "blobs")); err != nil {
		t.Fatal(err)
	}
	openEngine(t, folder) // the failure left nothing open
}

// What a process leaves behind that is killed while it writes is gone after the next start.
func TestOpen_RemovesTemporary(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "secrets", "team"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"engine.json", "engine.json.new", "secrets/.new-1", "secrets/team/.new-2", "secrets/kept"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openEngine(t, folder)
	var got []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			got = append(got, entry.Name())
		}
		return err
	})
	if diff := cmp.Diff([]string{databaseFile, ".lock", "kept"}, got); diff != "" || err != nil {
		t.Errorf("files (-want +got):\n%s%v", diff, err)
	}
}

func TestServer_NoFolder(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "state")
	s := &Server{Engine: openEngine(t, folder)}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Serve(t.Context(), l, func() { t.Error("it is ready") }); err == nil {
		t.Error("there is no folder for the address, and no error")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the port stays open: %v", err)
	}
}

// A stop lets a function finish for a bounded time, says what is left, and the next process does it.
func TestServer_Stop(t *testing.T) {
	t.Parallel()
	soon := patience{requests: time.Millisecond, queues: time.Millisecond, functions: time.Millisecond, stubborn: time.Minute}
	folder := t.TempDir()
	e := openEngine(t, folder)
	started := make(chan struct{}, 1)
	slow := Function{Name: "slow", Timeout: time.Hour, Queues: []string{"q"}, BatchSize: 1, Concurrency: 1, Handler: handlerFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})}
	r := serve(t, e, soon, slow)
	for range 2 {
		if err := e.Queues.Send(t.Context(), "q", sample); err != nil {
			t.Fatal(err)
		}
	}
	<-started
	left, err := r.stop()
	if diff := cmp.Diff(map[string]int{"q": 2}, left); diff != "" || err != nil {
		t.Errorf("left (-want +got):\n%s%v", diff, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	// One rests for its visibility timeout; nobody waits for that at the end.
	handled := make(chan struct{}, 2)
	r = serve(t, openEngine(t, folder), patience{requests: time.Minute, queues: time.Minute, functions: time.Minute, stubborn: time.Minute},
		Function{Name: "quick", Timeout: time.Hour, Queues: []string{"q"}, BatchSize: 1, Concurrency: 1, Handler: handlerFunc(func(context.Context, []byte) ([]byte, error) {
			handled <- struct{}{}
			return []byte(allDone), nil
		})})
	<-handled
	if left, err := r.stop(); len(left) != 1 || left["q"] != 1 || err != nil {
		t.Errorf("%v is left, want the one that rests: %v", left, err)
	}
}

// A function that does not listen cannot keep the engine from ending.
func TestServer_StopStubborn(t *testing.T) {
	t.Parallel()
	e := openEngine(t, t.TempDir())
	started, release := make(chan struct{}), make(chan struct{})
	r := serve(t, e, patience{requests: time.Millisecond, queues: time.Millisecond, functions: time.Millisecond, stubborn: time.Millisecond},
		Function{Name: "deaf", Timeout: time.Hour, Queues: []string{"q"}, BatchSize: 1, Concurrency: 1, Handler: handlerFunc(func(context.Context, []byte) ([]byte, error) {
			close(started)
			<-release
			return []byte(allDone), nil
		})})
	t.Cleanup(func() { close(release) })
	if err := e.Queues.Send(t.Context(), "q", sample); err != nil {
		t.Fatal(err)
	}
	<-started
	if left, err := r.stop(); left["q"] != 1 || err != nil {
		t.Errorf("%v is left, want the message in flight: %v", left, err)
	}
}

// A scheduled function is invoked at the start, for what the last process left; one that panics harms nobody.
func TestServer_Schedule(t *testing.T) {
	t.Parallel()
	invoked := make(chan string, 1)
	r := serve(t, openEngine(t, t.TempDir()), patience{},
		Function{Name: "sweep", Timeout: time.Minute, Schedule: time.Hour, Event: []byte("now"), Handler: handlerFunc(func(_ context.Context, payload []byte) ([]byte, error) {
			invoked <- string(payload)
			panic("no")
		})})
	if got := <-invoked; got != "now" {
		t.Errorf("the function is invoked with %q", got)
	}
	if status, _ := get(t, r.url+"/health", ""); status != http.StatusOK {
		t.Errorf("after a panic /health answers %d", status)
	}
}
