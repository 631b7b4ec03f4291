//go:build !deployed

package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What people get who run the program without a configuration of their own.
const (
	shippedConfig = "../../events-config.json"
	shippedReader = "portal-token"
)

// metrics tells whether the functions write metrics.
const metrics = false

// Start runs `callboard dev` on a free port. With an empty state it gets a new folder. With the build tag "deployed" it
// attaches to a deployed stack instead.
func Start(tb testing.TB, config, state string) *Process {
	tb.Helper()
	if state == "" {
		state = filepath.Join(tb.TempDir(), "state")
	}
	p := launch(tb, &Process{State: state, Config: config}, "dev", "--config", config, "--state", state, "--addr", "127.0.0.1:0", "--log", "json")
	tb.Cleanup(func() { p.scan(tb, p.places(tb)) })
	return p
}

// Where a scan finds what is in a queue, the table and the bucket: the engine has all but the blobs in one file.
const (
	tablePlace  = "callboard.db"
	bucketPlace = "blobs"
)

func queuePlace(string) string { return tablePlace }

// places returns everything that the process and those before it have left behind.
func (p *Process) places(tb testing.TB) map[string][]byte {
	tb.Helper()
	places := map[string][]byte{"the log": []byte(p.Log(tb)), "the output": []byte(p.Output)}
	maps.Copy(places, files(tb, p.State))
	return places
}

// always returns the places where something must be.
func (p *Process) always(testing.TB) []string {
	list := []string{"the output", tablePlace}
	if p.accepted {
		list = append(list, "the log")
	}
	return list
}

// Trace runs `callboard trace`.
func (p *Process) Trace(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	return Run(tb, append([]string{"trace", "--state", p.State}, args...)...)
}

// Secrets runs a command of `callboard secrets`.
func (p *Process) Secrets(tb testing.TB, verb string, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	return Run(tb, append([]string{"secrets", verb, "--state", p.State, "--config", p.Config}, args...)...)
}

// Log returns what the functions have logged.
func (p *Process) Log(testing.TB) string { return p.log.String() }

// files returns the content of all files below a folder, by their paths in it, but those that are there to keep secrets.
func files(tb testing.TB, folder string) map[string][]byte {
	tb.Helper()
	places := map[string][]byte{}
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "secrets" {
			return filepath.SkipDir
		}
		if entry.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		places[strings.TrimPrefix(path, folder+string(filepath.Separator))] = data
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return places
}
