// Package front is what answers at Callboard's address on this machine, before a gateway: whether the functions run
// here or the gateway is that of a deployed stack, the other commands find it and talk to it in the same way.
package front

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/pkg/events"
)

const (
	fileName  = "engine.json"
	newSuffix = ".new" // of a file that is being written

	// identityPath is where a front tells who has its token which one it is.
	identityPath = "/_local/engine"
)

// Running tells how to reach the front that belongs to a state folder.
type Running struct {
	URL   string `json:"url"`
	PID   int    `json:"pid"`
	Token string `json:"token,omitzero"` // for the routes below /_local/
}

// NewRunning describes this process, which answers at url, with a new token.
func NewRunning(url string) Running { return Running{URL: url, PID: os.Getpid(), Token: rand.Text()} }

// Handler answers HTTP.
type Handler struct {
	Running Running
	// Version is what /version says.
	Version string
	// Local answers requests below /_local/ that have the token.
	Local http.Handler
	// Sample answers requests below /_sample/; nil if there is no sample repository server.
	Sample http.Handler
	// Gateway answers everything else.
	Gateway http.Handler
}

// ServeHTTP implements http.Handler. It is no http.ServeMux, which would redirect paths that API Gateway hands on as they
// are.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/health" && r.Method == http.MethodGet:
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	case path == "/version" && r.Method == http.MethodGet:
		writeJSON(w, http.StatusOK, map[string]string{"version": h.Version})
	case strings.HasPrefix(path, "/_local/"):
		h.local(w, r)
	case strings.HasPrefix(path, "/_sample/") && h.Sample != nil:
		http.StripPrefix("/_sample", h.Sample).ServeHTTP(w, r)
	default:
		h.Gateway.ServeHTTP(w, r)
	}
}

func (h *Handler) local(w http.ResponseWriter, r *http.Request) {
	want := []byte("Bearer " + h.Running.Token)
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
		writeJSON(w, http.StatusForbidden, map[string]string{"message": "Forbidden"})
		return
	}
	if r.URL.Path == identityPath {
		writeJSON(w, http.StatusOK, Running{URL: h.Running.URL, PID: h.Running.PID})
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // waiting for a drain may take longer
	http.StripPrefix("/_local", h.Local).ServeHTTP(w, r)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, v)
}

// Announce leaves the address of a front in its state folder.
func Announce(folder string, r Running) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(folder, fileName)
	err = os.WriteFile(path+newSuffix, data, 0o600)
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "%s cannot be written", path)
	}
	return nil
}

// Retract removes what [Announce] left, also where a process was killed in the midst of it.
func Retract(folder string) error {
	var errs []error
	for _, name := range []string{fileName, fileName + newSuffix} {
		if err := os.Remove(filepath.Join(folder, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Find returns how to reach the front of a state folder. It fails with [events.CodeNotFound] if none runs, also
// where one that was killed left its address behind.
func Find(ctx context.Context, folder string) (Running, error) {
	none := events.Errorf(events.CodeNotFound, "no callboard runs on the state folder %s: start one with \"callboard dev\" or \"callboard attach\"", folder)
	data, err := os.ReadFile(filepath.Join(folder, fileName)) //nolint:gosec // the operator says which folder
	if errors.Is(err, fs.ErrNotExist) {
		return Running{}, none
	}
	if err != nil {
		return Running{}, events.Wrap(err, events.CodeUnavailable, "the state folder %s cannot be read", folder)
	}
	var r Running
	if json.Unmarshal(data, &r) != nil {
		return Running{}, none
	}
	if !r.answers(ctx) {
		return Running{}, none
	}
	return r, nil
}

// answers tells whether the front itself answers at its address, and not somebody who has the port now.
func (r Running) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+identityPath, nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+r.Token)
	response, err := LocalClient(30 * time.Second).Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	var other Running
	return err == nil && response.StatusCode == http.StatusOK && json.Unmarshal(body, &other) == nil && other.PID == r.PID
}

// LocalClient returns a client for the routes below /_local/. It shows their token to nobody else: it uses no
// proxy and follows no redirect.
func LocalClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
