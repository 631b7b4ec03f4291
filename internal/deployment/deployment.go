// Package deployment is what a function finds in AWS Lambda: the configuration beside its program, what the
// deployment named in its environment, and the runtime that invokes it.
package deployment

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/enginelink"
	"github.com/callboard/callboard/internal/telemetry"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// The variables that a deployment sets, each for the functions that need it.
const (
	Prefix             = "CALLBOARD_PREFIX"                // of all names
	Table              = "CALLBOARD_TABLE"                 // name of the DynamoDB table
	Bucket             = "CALLBOARD_BUCKET"                // name of the S3 bucket
	IngestQueueURL     = "CALLBOARD_INGEST_QUEUE_URL"      // of the queue ingest
	DeadLetterQueueURL = "CALLBOARD_DEAD_LETTER_QUEUE_URL" // of the function's dead letters
	TopicARNPrefix     = "CALLBOARD_TOPIC_ARN_PREFIX"      // of all topics; the name of one follows
	Function           = "CALLBOARD_FUNCTION"              // name of the function in the configuration, where the program is not ours

	// configVariable names another configuration than the one beside the program.
	configVariable = "CALLBOARD_CONFIG"
	configFile     = "events-config.json"
)

// Deployment is what a function is wired from.
type Deployment struct {
	Config   *config.Config // with the prefix of the deployment
	Topology *topology.Topology
	AWS      aws.Config
	Metrics  *telemetry.Metrics
	// Engine is that of `callboard dev`, which takes the place of AWS for a program that it runs; nil in AWS.
	Engine *enginelink.Client
	values map[string]string
	lookup func(string) (string, bool)
}

// Require returns a variable that only some configurations need. It fails if that is not set.
func (d *Deployment) Require(name string) (string, error) {
	value, _ := d.lookup(name)
	if value == "" {
		return "", notSet(name)
	}
	return value, nil
}

func notSet(name string) error {
	return events.Errorf(events.CodeInvalid, "the variable %s is not set; the deployment has to set it", name)
}

// Value returns a variable that was named in [Load].
func (d *Deployment) Value(name string) string { return d.values[name] }

// Load reads the configuration and the named variables, all of which have to be set; lookup is [os.LookupEnv] or
// stands for it. Its error tells everything that is wrong.
func Load(lookup func(string) (string, bool), budget awsclient.Budget, variables ...string) (*Deployment, error) {
	d := &Deployment{values: map[string]string{}, lookup: lookup}
	if d.Engine = enginelink.Find(lookup); d.Engine != nil {
		return d, d.configure(lookup)
	}
	var errs []error
	for _, name := range append(variables, Prefix) {
		value, _ := lookup(name)
		if value == "" {
			errs = append(errs, notSet(name))
		}
		d.values[name] = value
	}
	var err error
	if d.AWS, err = awsclient.Config(lookup, budget); err != nil {
		errs = append(errs, err)
	}
	if err := d.configure(lookup); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d.Metrics = &telemetry.Metrics{Prefix: d.Config.AWS.Prefix, Out: os.Stdout, ByQueue: d.Config.ByQueue()}
	return d, nil
}

// Observe logs a hop and counts it.
func (d *Deployment) Observe(ctx context.Context, h events.Hop) {
	if d.Engine != nil {
		d.Engine.Observe(ctx, h)
		return
	}
	events.LogObserver{Logger: slog.Default()}.Observe(ctx, h)
	d.Metrics.Observe(ctx, h)
}

func (d *Deployment) configure(lookup func(string) (string, bool)) error {
	path, ok := lookup(configVariable)
	if !ok {
		program, err := os.Executable()
		if err != nil {
			return events.Wrap(err, events.CodeInternal, "the folder of the program is not known; set %s", configVariable)
		}
		path = filepath.Join(filepath.Dir(program), configFile)
	}
	var err error
	if d.Config, err = config.Load(path); err != nil {
		return err
	}
	if prefix := d.values[Prefix]; prefix != "" {
		d.Config.AWS.Prefix = prefix
	}
	d.Topology, err = topology.Build(d.Config)
	return err
}

// Start runs a function in AWS Lambda: it wires what it finds in the environment and handles invocations until the
// process ends. A function that cannot be wired says why in its log and ends.
func Start(budget awsclient.Budget, wire func(*Deployment) (lambda.Handler, error), variables ...string) {
	StartAnywhere(budget, func(d *Deployment) (lambda.Handler, error) {
		if d.Engine != nil {
			return nil, events.Errorf(events.CodeInvalid, "callboard dev runs this function itself: remove the program in its place from \"functions\"")
		}
		return wire(d)
	}, variables...)
}

// StartAnywhere is Start for a function that can also be wired to [Deployment.Engine].
func StartAnywhere(budget awsclient.Budget, wire func(*Deployment) (lambda.Handler, error), variables ...string) {
	slog.SetDefault(slog.New(logHandler(os.LookupEnv)))
	d, err := Load(os.LookupEnv, budget, variables...)
	if err != nil {
		fail(err)
	}
	h, err := wire(d)
	if err != nil {
		fail(err)
	}
	lambda.Start(h)
}

// logHandler writes what Lambda reads, or the engine.
func logHandler(lookup func(string) (string, bool)) slog.Handler {
	if enginelink.Find(lookup) != nil {
		return slog.NewJSONHandler(os.Stderr, nil)
	}
	return lambdacontext.NewLogHandler()
}

func fail(err error) {
	slog.ErrorContext(context.Background(), "the function cannot start", "error", err.Error())
	os.Exit(1)
}
