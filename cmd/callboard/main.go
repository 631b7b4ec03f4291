// Command callboard is Callboard on the command line: it runs everything on one machine, checks a configuration,
// sends webhooks as a provider would, and shows where an event went.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/pkg/events"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// streams are where a command writes: results to out, everything else to err.
type streams struct{ out, err io.Writer }

type commands struct {
	Dev      devCommand      `cmd:"" help:"Run Callboard on this machine."`
	Send     sendCommand     `cmd:"" help:"Send a signed webhook as its provider would, or a message to a queue of others, and print the event id."`
	Trace    traceCommand    `cmd:"" help:"Show where an event went and what came of it."`
	Dead     deadCommand     `cmd:"" help:"Look at dead letters, replay them or drop them."`
	Exports  exportsCommand  `cmd:"" help:"Read what is exported to other consumers."`
	Attach   attachCommand   `cmd:"" help:"Work with a deployed stack as if it ran on this machine."`
	Secrets  secretsCommand  `cmd:"" help:"List, show, rotate and retire the values of secrets."`
	Validate validateCommand `cmd:"" help:"Check a configuration and print what it describes."`
	Cost     costCommand     `cmd:"" help:"Print what a configuration costs in AWS."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

const (
	exitFailure = 1
	exitUsage   = 2
)

// run is the whole program but for the process around it, and returns the exit code.
func run(ctx context.Context, args []string, out, err io.Writer) int {
	exited := -1
	parser, parserErr := kong.New(&commands{},
		kong.Name("callboard"), kong.Description("A serverless event system for developer portals."),
		kong.Writers(out, err), kong.Exit(func(code int) { exited = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(streams{out, err}),
		kong.Vars{"senders": strings.Join(config.Senders(), ",")},
	)
	if parserErr != nil {
		panic(parserErr) // a mistake in the tags above
	}
	command, parseErr := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if parseErr != nil {
		_, _ = fmt.Fprintf(err, "callboard: %v; see callboard --help\n", parseErr)
		return exitUsage
	}
	if runErr := command.Run(); runErr != nil {
		report(err, runErr)
		return exitFailure
	}
	return 0
}

// report tells a person what was wrong, with what only the log would see: here the person is the operator.
func report(w io.Writer, err error) {
	if list, ok := errors.AsType[config.Errors](err); ok {
		for _, e := range list {
			_, _ = fmt.Fprintln(w, e)
		}
		return
	}
	_, _ = fmt.Fprintf(w, "callboard: %v\n", err)
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(s streams) error {
	_, err := fmt.Fprintln(s.out, version())
	return err
}

// version is that of the module, or of the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}

// errNoEngine tells whether no engine runs on a state folder.
func errNoEngine(err error) bool { return events.ErrorCode(err) == events.CodeNotFound }
