package stack_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/infra/stack"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
)

var update = flag.Bool("update", false, "rewrite the snapshot")

// variant is a stack that the tests look at, with what it was made from.
type variant struct {
	name    string
	config  string
	options stack.Options
	nag     bool // also run cdk-nag

	topo *topology.Topology
	conf *config.Config
	json []byte // the template
	dir  string // of the cloud assembly
}

var (
	// The stack of the configuration at the root, with no option.
	plain = &variant{name: "plain", config: "../../events-config.json", options: options(nil)}
	again = &variant{name: "again", config: "../../events-config.json", options: options(nil)}
	// A configuration and options that use everything else.
	full = &variant{name: "full", config: "testdata/events-config.json", options: options(everything(map[string]any{"customerKey": "true"})), nag: true}
	// The same, on the table, the bucket, the secrets and the key that another stack left.
	adopted  = &variant{name: "adopted", config: "testdata/events-config.json", options: options(everything(map[string]any{"customerKey": oldKey, "adopt": "true"}))}
	emulated = &variant{name: "emulated", config: "../../events-config.json", options: options(map[string]any{"emulator": "true", "retain": "false"})}
	nagged   = &variant{name: "nagged", config: "testdata/events-config.json", options: options(nil), nag: true}
)

// oldKey is a key that no stack of the tests makes.
const oldKey = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4444-8888-0123456789ab"

// everything adds an option of each kind to a context.
func everything(context map[string]any) map[string]any {
	maps.Copy(context, map[string]any{
		"env": "dev", "retain": "false", "arch": "x86_64", "tracing": "true", "alarmEmail": "ops@example.com",
		"domain": "hooks.example.com", "certificate": "arn:aws:acm:eu-west-1:111122223333:certificate/1", "rate": "10",
		"reserved": map[string]any{"ingress": 50.0},
	})
	return context
}

// options reads options as the app does.
func options(context map[string]any) stack.Options {
	o, err := stack.ReadOptions(func(name string) any { return context[name] })
	if err != nil {
		panic(err)
	}
	return o
}

// All stacks are made once, by one Node process. It has started before: infra/check says with which Node.
func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "callboard-stack-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	defer jsii.Close()
	for _, v := range []*variant{plain, again, full, adopted, emulated, nagged} {
		if err := v.synthesize(filepath.Join(dir, v.name)); err != nil {
			return 1, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	if err := writeTemplates(os.Getenv("CALLBOARD_TEMPLATES")); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// writeTemplates puts the templates with options into a folder, for other tools; "" is none.
func writeTemplates(dir string) error {
	if dir == "" {
		return nil
	}
	for _, v := range []*variant{full, adopted} {
		if err := os.WriteFile(filepath.Join(dir, v.name+".template.json"), v.json, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// synthesize makes the stack in a folder, with programs that do nothing.
func (v *variant) synthesize(dir string) error {
	var err error
	if v.conf, err = config.Load(v.config); err != nil {
		return err
	}
	named := *v.conf
	named.AWS.Prefix = v.conf.AWS.PrefixIn(v.options.Environment)
	if v.topo, err = topology.Build(&named); err != nil {
		return err
	}
	programs := filepath.Join(dir, "dist")
	for _, f := range v.topo.Functions {
		if err := program(filepath.Join(programs, f.Name)); err != nil {
			return err
		}
	}
	context, err := cdkContext()
	if err != nil {
		return err
	}
	v.dir = filepath.Join(dir, "cdk.out")
	app := awscdk.NewApp(&awscdk.AppProps{Outdir: &v.dir, Context: &context})
	if _, err := stack.New(app, v.conf, v.options, programs); err != nil {
		return err
	}
	if v.nag {
		awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{
			Reports: jsii.Bool(true), ReportFormats: &[]cdknag.NagReportFormat{cdknag.NagReportFormat_JSON}, Verbose: jsii.Bool(false),
		}), nil)
	}
	app.Synth(nil)
	v.json, err = os.ReadFile(filepath.Join(v.dir, named.AWS.Prefix+".template.json"))
	return err
}

// program makes the folder of a function with something in it.
func program(dir string) error {
	return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "bootstrap"), []byte("#!/bin/sh\n"), 0o700))
}

// cdkContext returns the context of cdk.json, and what the command cdk adds to it.
func cdkContext() (map[string]any, error) {
	data, err := os.ReadFile("../../cdk.json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Context map[string]any `json:"context"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	context := maps.Clone(file.Context)
	context["aws:cdk:enable-asset-metadata"] = true
	context["aws:cdk:enable-path-metadata"] = true
	return context, nil
}

func TestTwoSynthsAreEqual(t *testing.T) {
	t.Parallel()
	if string(plain.json) != string(again.json) {
		t.Error("the second template differs from the first")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("../../events-config.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		from, to string // in the configuration
		options  map[string]any
		want     string
	}{
		"a secret on a machine": {`["github-webhook"]`, `["env:HOOK"]`, nil, `the secret "env:HOOK" of the function ingress is on somebody's machine`},
		"the name of a shared secret": {
			`["github-webhook"]`, `["secretsmanager:shared/hook"]`, nil, `the secret "secretsmanager:shared/hook" of the function ingress does not name an ARN`,
		},
		"half an ARN": {
			`["github-webhook"]`, `["secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:hook"]`, nil, "with the six characters at its end",
		},
		"all secrets":                  {`["github-webhook"]`, `["secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:*"]`, nil, "does not name an ARN"},
		"too little reserved":          {"", "", map[string]any{"reserved": map[string]any{"router": 9.0}}, "its queues and schedules start up to 10"},
		"nothing reserved for a sweep": {"", "", map[string]any{"reserved": map[string]any{"catalog-sync": 5.0}}, "its queues and schedules start up to 6"},
		"nothing reserved for a poll": {
			`"topics": {`, `"topics": {"far": {"from": "queue", "queue": "arn:aws:sqs:us-west-2:111122223333:far", "poll": {}},`,
			map[string]any{"reserved": map[string]any{"sqs-publisher": 5.0}},
			"its queues and schedules start up to 6",
		},
		"reserved for nobody":              {"", "", map[string]any{"reserved": map[string]any{"rooter": 9.0}}, "does not have"},
		"a bucket's name that is too long": {`"prefix": "callboard"`, `"prefix": "` + strings.Repeat("a", 30) + `"`, map[string]any{"env": "staging"}, "can have 35 characters"},
		"names that are too long":          {`"prefix": "callboard"`, `"prefix": "` + strings.Repeat("a", 31) + `"`, map[string]any{"env": strings.Repeat("b", 20)}, "has 66 characters where 64 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Parse([]byte(strings.ReplaceAll(string(good), test.from, test.to)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = stack.New(nil, c, options(test.options), "")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestReadOptions(t *testing.T) {
	t.Parallel()
	_, err := stack.ReadOptions(func(name string) any {
		return map[string]any{
			"env": "Dev", "retain": "no", "protect": "maybe", "adopt": "all", "customerKey": "alias/callboard", "arch": "arm", "tracing": 1.0, "alarmEmail": true, "domain": "hooks", "rate": "0", "burst": 1.5,
			"reserved": map[string]any{"ingress": -1.0},
		}[name]
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`"env" is "Dev"`, `"retain" is "no"`, `"protect" is "maybe"`, `"adopt" is "all"`, `"customerKey" is "alias/callboard": write true, false or the ARN`,
		`"arch" is "arm"`, `"tracing" is 1`, `"alarmEmail" is true`, `"domain" needs`, `"domain" is "hooks"`,
		`"rate" is 0`, `"burst" is 1.5`, `"reserved.ingress" is -1`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in\n%v", want, err)
		}
	}
	for want, context := range map[string]map[string]any{
		"write an object":    {"reserved": "ingress=5"},
		"the ARN of the key": {"adopt": "true", "customerKey": "true"},
	} {
		_, err = stack.ReadOptions(func(name string) any { return context[name] })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// What keeps its data is protected, unless somebody says otherwise.
func TestProtection(t *testing.T) {
	t.Parallel()
	for want, contexts := range map[bool][]map[string]any{
		true:  {nil, {"retain": "false", "protect": "true"}},
		false: {{"retain": "false"}, {"protect": "false"}},
	} {
		for _, context := range contexts {
			if got := options(context).Protect; got != want {
				t.Errorf("with %v protection is %v", context, got)
			}
		}
	}
	for v, want := range map[*variant]bool{plain: true, full: false} {
		data, err := os.ReadFile(filepath.Join(v.dir, "manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(data), `"terminationProtection": true`); got != want {
			t.Errorf("%s: termination protection is %v", v.name, got)
		}
	}
}
