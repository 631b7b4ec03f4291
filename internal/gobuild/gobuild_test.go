package gobuild_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/gobuild"
	"github.com/callboard/callboard/pkg/events"
)

// module writes a module with one file, and returns its folder.
func module(t *testing.T, source string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/frobs\n\ngo 1.26\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// A folder is built as its own module says.
func TestBuild(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "deep", "bootstrap")
	if err := gobuild.Build(t.Context(), module(t, "package main\n\nfunc main() { print(\"hello\") }\n"), program); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program).CombinedOutput(); err != nil || string(out) != "hello" {
		t.Errorf("the program says %q, %v", out, err)
	}
}

func TestBuild_Fails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ source, want string }{
		"compiler":   {"package main\n\nfunc main() { hello() }\n", "main.go:3:15: undefined: hello"},
		"no program": {"package frobs\n", "is no program"},
	} {
		folder := module(t, test.source)
		err := gobuild.Build(t.Context(), folder, filepath.Join(t.TempDir(), "bootstrap"))
		if events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), folder) {
			t.Errorf("%s: error %v, want one with %q and the folder", name, err, test.want)
		}
	}
}

func TestBuild_WithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := gobuild.Build(t.Context(), ".", filepath.Join(t.TempDir(), "bootstrap"))
	if events.ErrorCode(err) != events.CodeUnavailable || !strings.Contains(err.Error(), "install Go") {
		t.Errorf("error %v, want what to do", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good, empty := module(t, "package main\n"), t.TempDir()
	path := filepath.Join(filepath.Dir(good), "events-config.json")
	c := &config.Config{Functions: map[string]config.Function{
		"absolute": {Build: good}, "relative": {Build: "./" + filepath.Base(good)}, "gone": {Build: "../gone"}, "empty": {Build: empty},
	}}
	err := gobuild.Check(path, c)
	errs, _ := errors.AsType[config.Errors](err)
	var got []string
	for _, e := range errs {
		got = append(got, e.Error())
	}
	const todo = ": write that of a Go main package, from the folder of this file on"
	want := []string{
		"$.functions.empty.build: the folder " + empty + " has no Go files" + todo,
		"$.functions.gone.build: the folder " + filepath.Join(filepath.Dir(filepath.Dir(good)), "gone") + " does not exist" + todo,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	delete(c.Functions, "gone")
	delete(c.Functions, "empty")
	if err := gobuild.Check(path, c); err != nil {
		t.Error(err)
	}
}
