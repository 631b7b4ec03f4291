// Command infra is the CDK app of Callboard; the command cdk runs it. It reads events-config.json, lets make build the
// functions, and adds the one stack of an environment.
//
// Context values ("-c name=value"): config, the path of the configuration; package=false, to take the programs of the
// functions as they are; and those of [stack.Options].
package main

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/infra/stack"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// programs is the folder with a folder for each function.
const programs = "dist"

func main() {
	err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	jsii.Close()
	if err != nil {
		os.Exit(1)
	}
}

func run() error {
	app := awscdk.NewApp(nil)
	value := func(name string) any { return app.Node().TryGetContext(&name) }
	o, err := stack.ReadOptions(value)
	if err != nil {
		return err
	}
	path, ok := value("config").(string)
	if !ok {
		path = "events-config.json"
	}
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	if build := value("package"); build != "false" && build != false {
		if err := packageFunctions(path, o.Architecture); err != nil {
			return err
		}
	}
	if err := checkPrograms(programs, path, c, o.Architecture); err != nil {
		return err
	}
	if _, err := stack.New(app, c, o, programs); err != nil {
		return err
	}
	app.Synth(nil)
	return nil
}

// packageFunctions builds the programs of the functions, with the configuration beside them.
func packageFunctions(path, architecture string) error {
	goarch := map[string]string{"arm64": "arm64", "x86_64": "amd64"}[architecture]
	command := exec.CommandContext(context.Background(), "make", "--no-print-directory", "package", "ARCH="+goarch, "CONFIG="+path) // #nosec G204 -- the operator says which file
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		return events.Wrap(err, events.CodeInternal, "the functions could not be built; what make says is above")
	}
	return nil
}

// checkPrograms makes sure that each function has, in its folder, a program for its architecture and the configuration
// that the stack is made of, which is at path.
func checkPrograms(folder, path string, c *config.Config, architecture string) error {
	want, err := os.ReadFile(path) // #nosec G304 -- the operator says which file
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the configuration %s cannot be read", path)
	}
	t, err := topology.Build(c)
	if err != nil {
		return err
	}
	machine := map[string]elf.Machine{"arm64": elf.EM_AARCH64, "x86_64": elf.EM_X86_64}[architecture]
	for _, f := range t.Functions {
		own := filepath.Join(folder, f.Name)
		program, err := elf.Open(filepath.Join(own, "bootstrap"))
		if err != nil {
			return events.Wrap(err, events.CodeInvalid, "the function %s has no program: run make package", f.Name)
		}
		if err := program.Close(); err != nil {
			return events.Wrap(err, events.CodeUnavailable, "the program of the function %s cannot be read", f.Name)
		}
		if program.Machine != machine {
			return events.Errorf(events.CodeInvalid, "the program of the function %s is for another machine than %s: run make package for that one", f.Name, architecture)
		}
		got, err := os.ReadFile(filepath.Join(own, "events-config.json")) // #nosec G304 -- below the folder that make fills
		if err != nil || !bytes.Equal(got, want) {
			return events.Errorf(events.CodeInvalid, "the configuration in %s is not that in %s: run make package again", own, path)
		}
	}
	return nil
}
