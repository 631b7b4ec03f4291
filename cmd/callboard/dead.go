package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/callboard/callboard/internal/awsclient/profile"
	"github.com/callboard/callboard/internal/deadletter"
	"github.com/callboard/callboard/internal/deadletter/sqsletters"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

type deadCommand struct {
	List   deadListCommand   `cmd:"" help:"Count the letters of all dead-letter queues, or list those of a selection."`
	Show   deadShowCommand   `cmd:"" help:"Print letters with their attributes and bodies."`
	Replay deadReplayCommand `cmd:"" help:"Send letters to the queue where they came from, and delete them when they are there."`
	Drop   deadDropCommand   `cmd:"" help:"Delete letters."`
}

// deadPlace says where the dead letters are.
type deadPlace struct {
	State  string `help:"The state folder." default:".callboard" placeholder:"DIR"`
	AWS    bool   `help:"The queues of a deployment."`
	Env    string `help:"With --aws: the environment, as in \"cdk deploy -c env=NAME\"." placeholder:"NAME"`
	Config string `help:"The configuration that was deployed, or that the state folder was used with." default:"events-config.json" placeholder:"FILE"`
	JSON   bool   `help:"Print JSON."`
}

func (p *deadPlace) check() error { return onePlace(p.AWS, p.State, p.Env) }

// onePlace refuses options about where something is that would have no effect.
func onePlace(aws bool, state, env string) error {
	if aws && state != defaultState {
		return events.Errorf(events.CodeInvalid, "--state is for an engine; it cannot be used with --aws")
	}
	if !aws && env != "" {
		return events.Errorf(events.CodeInvalid, "--env is for --aws")
	}
	return nil
}

// deadSelection says which letters are meant.
type deadSelection struct {
	Queue  string   `help:"Only those of this dead-letter queue." placeholder:"NAME"`
	ID     []string `help:"Only those with this id, of the message or the event; can be repeated." placeholder:"ID" sep:"none"`
	Reason string   `help:"Only those with this text in their reason." placeholder:"TEXT"`
	All    bool     `help:"Those of all dead-letter queues, or all of --queue."`
	Limit  int      `help:"At most so many." placeholder:"N"`
}

func (s *deadSelection) selection() deadletter.Selection {
	return deadletter.Selection{Queue: s.Queue, IDs: s.ID, Reason: s.Reason, Limit: s.Limit}
}

// check refuses a selection that says both everything and something, and, where it has to be said, nothing.
func (s *deadSelection) check(required bool) error {
	some := len(s.ID) > 0 || s.Reason != ""
	switch {
	case s.Limit < 0:
		return events.Errorf(events.CodeInvalid, "--limit is how many letters at most, such as 10")
	case s.All && some:
		return events.Errorf(events.CodeInvalid, "--all is for everything; it cannot be used with --id and --reason")
	case required && !s.All && !some:
		return events.Errorf(events.CodeInvalid, "say which letters: --id, --reason, or --all with or without --queue")
	}
	return nil
}

// desk is where dead letters are worked on: here, or in another process.
type desk interface {
	Queues(ctx context.Context) ([]deadletter.Queue, error)
	List(ctx context.Context, s deadletter.Selection, whole bool) (deadletter.Result, error)
	Replay(ctx context.Context, o deadletter.Order) (deadletter.Result, error)
	Drop(ctx context.Context, o deadletter.Order) (deadletter.Result, error)
}

// open returns the desk: that of the running engine, or of a state folder where none runs, or of a deployment.
func (p *deadPlace) open(ctx context.Context) (d desk, shut func() error, err error) {
	nothing := func() error { return nil }
	if p.AWS {
		_, topo, err := loadDeployed(p.Config, p.Env)
		if err != nil {
			return nil, nil, err
		}
		cfg, err := profile.Config(ctx)
		if err != nil {
			return nil, nil, err
		}
		return deployedDesk(cfg, topo), nothing, nil
	}
	engine, err := front.Find(ctx, p.State)
	if err == nil {
		return distantDesk{local{engine: engine, patience: deadPatience}}, nothing, nil
	}
	if !errNoEngine(err) {
		return nil, nil, err
	}
	if !embedded.IsState(p.State) {
		return nil, nil, events.Errorf(events.CodeNotFound, "there is no state in the folder %s", p.State)
	}
	_, topo, _, err := load(p.Config)
	if err != nil {
		return nil, nil, err
	}
	opened, err := embedded.Open(p.State, queueSpecs(topo), subscriptions(topo))
	if err != nil {
		return nil, nil, err
	}
	return embeddedDesk(topo, opened), opened.Close, nil
}

func embeddedDesk(t *topology.Topology, e *embedded.Engine) *deadletter.Desk {
	return &deadletter.Desk{Topology: t, Store: embedded.DeadLetters{Queues: e.Queues}}
}

func deployedDesk(cfg aws.Config, t *topology.Topology) *deadletter.Desk {
	return &deadletter.Desk{Topology: t, Store: sqsletters.New(cfg, t)}
}

// with opens the desk for f.
func (p *deadPlace) with(ctx context.Context, f func(desk) error) error {
	d, shut, err := p.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(d), shut())
}

type deadListCommand struct {
	deadPlace
	deadSelection
}

// listed is how many letters are listed if nobody says otherwise.
const listed = 100

// Validate refuses options that make no sense.
func (c *deadListCommand) Validate() error {
	return errors.Join(c.deadPlace.check(), c.deadSelection.check(false))
}

// Run prints how much there is in each dead-letter queue, or the letters of a selection.
func (c *deadListCommand) Run(ctx context.Context, s streams) error {
	return c.with(ctx, func(d desk) error {
		sel := c.selection()
		if !c.All && sel.Queue == "" && len(sel.IDs) == 0 && sel.Reason == "" && sel.Limit == 0 {
			queues, err := d.Queues(ctx)
			if err != nil {
				return err
			}
			if c.JSON {
				return printJSON(s.out, queues)
			}
			return printQueues(s.out, queues)
		}
		if sel.Limit == 0 {
			sel.Limit = listed
		}
		found, err := d.List(ctx, sel, false)
		if err != nil {
			return err
		}
		if found.More {
			_, _ = fmt.Fprintf(s.err, "there are more than these %d; --limit shows more of them\n", sel.Limit)
		}
		if c.JSON {
			return printJSON(s.out, found.Letters)
		}
		return printLetters(s.out, found.Letters)
	})
}

type deadShowCommand struct {
	ID    []string `arg:"" name:"id" help:"The id of a letter, or of its event."`
	Queue string   `help:"Look in this dead-letter queue only." placeholder:"NAME"`
	Full  bool     `help:"Print all of a long body."`
	deadPlace
}

// Validate refuses options that make no sense.
func (c *deadShowCommand) Validate() error { return c.check() }

// Run prints letters.
func (c *deadShowCommand) Run(ctx context.Context, s streams) error {
	return c.with(ctx, func(d desk) error {
		found, err := d.List(ctx, deadletter.Selection{Queue: c.Queue, IDs: c.ID}, true)
		if err != nil {
			return err
		}
		if len(found.Letters) == 0 {
			return errNoLetter
		}
		if c.JSON {
			return printJSON(s.out, found.Letters)
		}
		for i, l := range found.Letters {
			if i > 0 {
				_, _ = fmt.Fprintln(s.out)
			}
			printLetter(s.out, l, c.Full)
		}
		return nil
	})
}

var errNoLetter = events.Errorf(events.CodeNotFound, "no letter fits; callboard dead list --all shows those that there are")

type deadReplayCommand struct {
	deadPlace
	deadSelection
	To    string `help:"The queue to send to, where it is not the one that a letter came from." placeholder:"NAME"`
	Again bool   `help:"Let subscribers that are done with an event handle it once more."`
	Yes   bool   `help:"Do it to more than one letter."`
}

// Validate refuses options that make no sense.
func (c *deadReplayCommand) Validate() error {
	return errors.Join(c.deadPlace.check(), c.deadSelection.check(true))
}

// Run replays letters.
func (c *deadReplayCommand) Run(ctx context.Context, s streams) error {
	return c.with(ctx, func(d desk) error {
		r, err := d.Replay(ctx, deadletter.Order{Selection: c.selection(), Confirmed: c.Yes, To: c.To, Again: c.Again})
		if err != nil {
			return err
		}
		return printResult(s, r, c.JSON, "replayed")
	})
}

type deadDropCommand struct {
	deadPlace
	deadSelection
	Yes bool `help:"Do it to more than one letter."`
}

// Validate refuses options that make no sense.
func (c *deadDropCommand) Validate() error {
	return errors.Join(c.deadPlace.check(), c.deadSelection.check(true))
}

// Run deletes letters.
func (c *deadDropCommand) Run(ctx context.Context, s streams) error {
	return c.with(ctx, func(d desk) error {
		r, err := d.Drop(ctx, deadletter.Order{Selection: c.selection(), Confirmed: c.Yes})
		if err != nil {
			return err
		}
		return printResult(s, r, c.JSON, "dropped")
	})
}
