package main

import (
	"fmt"

	"github.com/callboard/callboard/internal/cost"
)

type costCommand struct {
	Config string `help:"The configuration." default:"events-config.json" placeholder:"FILE"`
}

// Run prints what a million events and a month cost, as Markdown.
func (c *costCommand) Run(s streams) error {
	conf, topo, _, err := load(c.Config)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(s.out, cost.Of(conf, topo))
	return err
}
