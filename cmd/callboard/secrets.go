package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/callboard/callboard/internal/awsclient/profile"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

type secretsCommand struct {
	List   secretsListCommand   `cmd:"" help:"Show the secrets of a configuration, without their values."`
	Show   secretsShowCommand   `cmd:"" help:"Print the newest value of a secret."`
	Rotate secretsRotateCommand `cmd:"" help:"Add a value to a secret, which is then its newest; the others stay live."`
	Retire secretsRetireCommand `cmd:"" help:"Take values out of a secret: all but the newest, or one."`
}

// secretsAt says where secrets are.
type secretsAt struct {
	State  string `help:"The state folder." default:".callboard" placeholder:"DIR"`
	AWS    bool   `help:"Work on the secrets of a deployment, in Secrets Manager."`
	Env    string `help:"With --aws: the environment, as in \"cdk deploy -c env=NAME\"." placeholder:"NAME"`
	Config string `help:"The configuration." default:"events-config.json" placeholder:"FILE"`
}

// Validate refuses options that would have no effect.
func (a *secretsAt) Validate() error { return onePlace(a.AWS, a.State, a.Env) }

// store keeps secrets. Its values are as they are now, newest first.
type store interface {
	Values(ctx context.Context, name string) ([]string, error)
	Change(ctx context.Context, name string, change func(values []string) ([]string, error)) error
}

// open returns the secrets, and the topology they are of.
func (a *secretsAt) open(ctx context.Context) (store, *topology.Topology, error) {
	_, topo, err := loadDeployed(a.Config, a.Env)
	if err != nil {
		return nil, nil, err
	}
	if a.AWS {
		cfg, err := profile.Config(ctx)
		if err != nil {
			return nil, nil, err
		}
		return awssecrets.New(cfg, topo.Prefix, time.Now), topo, nil
	}
	if running, err := front.Find(ctx, a.State); err == nil && !embedded.IsState(a.State) {
		return nil, nil, events.Errorf(events.CodeInvalid, "the secrets in %s are copies of the callboard attach at %s: use --aws, with its --env", a.State, running.URL)
	}
	return secrets.Dir(filepath.Join(a.State, "secrets")), topo, nil
}

// usedBy returns the names of all secrets of a configuration, each with the functions that need it.
func usedBy(topo *topology.Topology) map[string][]string {
	users := map[string][]string{}
	for _, f := range topo.Functions {
		for _, name := range f.Secrets {
			users[name] = append(users[name], f.Name)
		}
	}
	return users
}

// known fails unless the configuration has a secret of that name: nobody would read it.
func (a *secretsAt) known(topo *topology.Topology, name string) error {
	users := usedBy(topo)
	if users[name] == nil {
		return events.Errorf(events.CodeNotFound, "%s has no secret %q that a function needs; its secrets are %s", a.Config, name,
			strings.Join(slices.Sorted(maps.Keys(users)), ", "))
	}
	return nil
}

type secretsListCommand struct {
	secretsAt
}

// Run prints a line for each secret.
func (c *secretsListCommand) Run(ctx context.Context, s streams) error {
	from, topo, err := c.open(ctx)
	if err != nil {
		return err
	}
	users, ours := usedBy(topo), topo.Secrets()
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "secret\tlive values, newest first\tchosen by\tread by")
	for _, name := range slices.Sorted(maps.Keys(users)) {
		live, by := "none", "the other side"
		values, err := from.Values(ctx, name)
		switch events.ErrorCode(err) {
		case "":
			live = fingerprints(values)
		case events.CodeNotFound:
		case events.CodeInvalid:
			live = "(not here)" // a reference of the other engine
		default:
			return err
		}
		if ours[name] {
			by = "us"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, live, by, strings.Join(users[name], " "))
	}
	return w.Flush()
}

func fingerprints(values []string) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = secrets.Fingerprint(v)
	}
	return strings.Join(list, " ")
}

type secretsShowCommand struct {
	secretsAt
	Name string `arg:"" help:"The name of the secret."`
	All  bool   `help:"Print all live values, newest first."`
}

// Run prints values, one a line.
func (c *secretsShowCommand) Run(ctx context.Context, s streams) error {
	from, topo, err := c.open(ctx)
	if err != nil {
		return err
	}
	if err := c.known(topo, c.Name); err != nil {
		return err
	}
	values, err := from.Values(ctx, c.Name)
	if err != nil {
		return err
	}
	if !c.All {
		values = values[:1]
	}
	_, err = fmt.Fprintln(s.out, strings.Join(values, "\n"))
	return err
}

type secretsRotateCommand struct {
	secretsAt
	Name      string `arg:"" help:"The name of the secret."`
	ValueFile string `help:"Add the value in this file, or on the standard input if it is \"-\", instead of a random one." placeholder:"FILE"`
	Retire    bool   `help:"Retire all other values at once, such as one that has leaked: who still uses it is refused."`
}

// Run adds a value, and prints it if it was made here.
func (c *secretsRotateCommand) Run(ctx context.Context, s streams) error {
	to, topo, err := c.open(ctx)
	if err != nil {
		return err
	}
	if err := c.known(topo, c.Name); err != nil {
		return err
	}
	ours := topo.Secrets()[c.Name]
	value, err := c.value(ours)
	if err != nil {
		return err
	}
	var values []string
	err = to.Change(ctx, c.Name, func(old []string) ([]string, error) {
		values = secrets.Added(old, value)
		if c.Retire {
			values = values[:1]
		}
		return values, nil
	})
	if err != nil {
		return err
	}
	if c.ValueFile == "" {
		if _, err := fmt.Fprintln(s.out, value); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(s.err, "%s has %s; %s is new\n", c.Name, live(values), secrets.Fingerprint(value))
	switch {
	case c.Retire:
		c.late(s.err)
	case len(values) > 1 && ours:
		_, _ = fmt.Fprintln(s.err, "Give the new value to whoever sends with the old one, then retire that: callboard secrets retire "+c.Name)
	case len(values) > 1:
		_, _ = fmt.Fprintln(s.err, "The new value is used from now on, in AWS within five minutes. Then retire the old one, here and where it was made.")
	}
	return nil
}

// value returns what to add.
func (c *secretsRotateCommand) value(ours bool) (string, error) {
	var data []byte
	var err error
	switch c.ValueFile {
	case "":
		if !ours {
			return "", events.Errorf(events.CodeInvalid, "the value of %s is chosen by the other side: give it with --value-file FILE, or --value-file - for the standard input", c.Name)
		}
		return secrets.New(), nil
	case "-":
		data, err = io.ReadAll(os.Stdin)
	default:
		data, err = os.ReadFile(c.ValueFile)
	}
	if err != nil {
		return "", events.Wrap(err, events.CodeInvalid, "the value cannot be read")
	}
	values, err := secrets.Parse(c.Name, string(data))
	if err != nil || len(values) != 1 {
		return "", events.Errorf(events.CodeInvalid, "there are %d values: give one, in one line or as one key in PEM", len(values))
	}
	return values[0], nil
}

type secretsRetireCommand struct {
	secretsAt
	Name        string `arg:"" help:"The name of the secret."`
	Fingerprint string `arg:"" optional:"" help:"The value to retire, as list names it; by default all but the newest."`
}

// Run takes values out.
func (c *secretsRetireCommand) Run(ctx context.Context, s streams) error {
	to, topo, err := c.open(ctx)
	if err != nil {
		return err
	}
	if err := c.known(topo, c.Name); err != nil {
		return err
	}
	var old, values []string
	err = to.Change(ctx, c.Name, func(now []string) ([]string, error) {
		if len(now) == 0 {
			return nil, events.Errorf(events.CodeNotFound, "the secret %s has no value", c.Name)
		}
		old = now
		values, err = secrets.Retired(now, c.Fingerprint)
		return values, err
	})
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(old), func(v string) bool { return slices.Contains(values, v) })
	if len(gone) == 0 {
		_, _ = fmt.Fprintf(s.err, "%s has %s; there is nothing to retire\n", c.Name, live(values))
		return nil
	}
	_, _ = fmt.Fprintf(s.err, "%s has %s; %s retired\n", c.Name, live(values), fingerprints(gone))
	c.late(s.err)
	return nil
}

// live describes values without telling them.
func live(values []string) string {
	if len(values) == 1 {
		return "1 live value, " + fingerprints(values)
	}
	return fmt.Sprintf("%d live values, newest first %s", len(values), fingerprints(values))
}

// late says when what was retired is refused for certain.
func (a *secretsAt) late(w io.Writer) {
	if a.AWS {
		_, _ = fmt.Fprintln(w, "Functions that remember a retired value may take it for five minutes more.")
	}
}
