// Package gobuild builds the programs of functions that are not ours: those that "functions" in the configuration names.
package gobuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
)

// Folder returns the folder of a program: "build" of a function, from the folder of the configuration at path on.
func Folder(path, build string) string {
	if filepath.IsAbs(build) {
		return filepath.Clean(build)
	}
	return filepath.Join(filepath.Dir(path), build)
}

// Check makes sure that the program of each function can be there: its folder has Go files. It fails with
// [config.Errors].
func Check(path string, c *config.Config) error {
	var errs config.Errors
	for _, name := range slices.Sorted(maps.Keys(c.Functions)) {
		folder := Folder(path, c.Functions[name].Build)
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err == nil && len(files) > 0 {
			continue
		}
		what := "has no Go files"
		if _, err := os.Stat(folder); err != nil {
			what = "does not exist"
		}
		errs = append(errs, config.FieldError{
			Path:    "$.functions." + name + ".build",
			Message: fmt.Sprintf("the folder %s %s: write that of a Go main package, from the folder of this file on", folder, what),
		})
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// Build builds the main package in a folder, as its own module says, for this machine, to the file output. It fails with
// [events.CodeInvalid] if it cannot be built, and says what the compiler says.
func Build(ctx context.Context, folder, output string) error {
	output, err := filepath.Abs(output)
	if err != nil {
		return err
	}
	program, err := exec.LookPath("go")
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the program in %s cannot be built: there is no command go on this machine; install Go from https://go.dev/dl, or remove the function from the configuration", folder)
	}
	cmd := exec.CommandContext(ctx, program, "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-o", output, ".") // #nosec G204 -- the operator names the folder
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); ended {
			err = errors.New(strings.TrimSpace(said.String()))
		}
		return events.Wrap(err, events.CodeInvalid, "the program in %s does not build", folder)
	}
	if info, err := os.Stat(output); err != nil || info.Mode().Perm()&0o100 == 0 {
		return events.Errorf(events.CodeInvalid, "the package in %s is no program: it has to be called main", folder)
	}
	return nil
}
