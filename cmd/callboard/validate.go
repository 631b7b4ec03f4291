package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/callboard/callboard/functions/notify"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/gobuild"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/notifications/rules"
)

type validateCommand struct {
	File     string `arg:"" optional:"" help:"The configuration." default:"events-config.json" placeholder:"FILE"`
	Programs bool   `help:"Print only the functions that are not ours, each with the folder of its program."`
}

// Run prints every error with its JSON path, or the topology.
func (c *validateCommand) Run(s streams) error {
	_, t, _, err := load(c.File)
	if err != nil {
		return err
	}
	if c.Programs {
		for _, f := range t.Functions {
			if f.Build != "" {
				_, err = fmt.Fprintf(s.out, "%s\t%s\n", f.Name, gobuild.Folder(c.File, f.Build))
			}
		}
		return err
	}
	_, err = fmt.Fprintln(s.out, strings.TrimRight(t.String(), "\n"))
	return err
}

// load reads a configuration and everything that is derived from it.
func load(path string) (*config.Config, *topology.Topology, []*rules.Compiled, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, nil, nil, err
	}
	compiled, rulesErr := notify.Compile(c.Notifications.Rules)
	t, err := topology.Build(c)
	return c, t, compiled, together(rulesErr, err, gobuild.Check(path, c))
}

// together makes one list of the errors of several checks.
func together(errs ...error) error {
	var all config.Errors
	for _, err := range errs {
		list, ok := errors.AsType[config.Errors](err)
		if err != nil && !ok {
			return err
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
