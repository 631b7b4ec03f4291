package stack

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// Options is what differs between two deployments of one configuration. They come from the context of the CDK: the
// file cdk.json, or "-c name=value" on the command line.
type Options struct {
	// Environment is the end of the prefix of all names; "" deploys with the prefix of the configuration alone.
	Environment string
	// Retain keeps what holds data when the stack goes, and protects it.
	Retain bool
	// Protect makes CloudFormation refuse to delete the stack.
	Protect bool
	// Adopt uses the table, the bucket and the secrets that an earlier stack with this prefix has left, by their names,
	// and neither makes nor deletes them.
	Adopt bool
	// Architecture of the functions, "arm64" or "x86_64".
	Architecture string
	// CustomerKey encrypts everything with a KMS key of the stack in place of the keys of the services.
	CustomerKey bool
	// KeyARN is a key that exists already, in the place of a key of the stack; "" for none.
	KeyARN string
	// Tracing sends traces to X-Ray.
	Tracing bool
	// Emulator leaves out what watches and is not known to emulators of AWS: saved queries, and alarms on expressions.
	Emulator bool
	// AlarmEmail is told of alarms, after a person has confirmed it; "" for nobody.
	AlarmEmail string
	// Domain is a domain name for the API, with the ARN of its Certificate; "" for the name that AWS gives.
	Domain, Certificate string
	// Rate is how many requests a second the API takes, Burst how many at once.
	Rate, Burst int
	// Reserved is the reserved concurrency by function. A new account refuses any.
	Reserved map[string]int
}

var (
	environmentName = regexp.MustCompile(`^[a-z0-9-]{1,20}$`)
	domainName      = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*\.[a-z]{2,}$`)
	keyARN          = regexp.MustCompile(`^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)
)

// ReadOptions reads the options from the context; context returns nil for a name without a value. It fails with
// [events.CodeInvalid] and everything that is wrong.
func ReadOptions(context func(name string) any) (Options, error) {
	r := reader{context: context}
	o := Options{
		Environment:  r.text("env", ""),
		Adopt:        r.boolean("adopt", false),
		Architecture: r.text("arch", "arm64"),
		Tracing:      r.boolean("tracing", false),
		Emulator:     r.boolean("emulator", false),
		AlarmEmail:   r.text("alarmEmail", ""),
		Domain:       r.text("domain", ""),
		Certificate:  r.text("certificate", ""),
		Rate:         r.number("rate", 100),
		Burst:        r.number("burst", 200),
		Reserved:     r.numbers("reserved"),
	}
	o.Retain = r.boolean("retain", true)
	o.Protect = r.boolean("protect", o.Retain)
	o.CustomerKey, o.KeyARN = r.key("customerKey")
	if o.Adopt && o.CustomerKey {
		r.failf("customerKey", "is true: with \"adopt\" write the ARN of the key that encrypts what is adopted")
	}
	if o.Environment != "" && !environmentName.MatchString(o.Environment) {
		r.failf("env", "is %q: write at most 20 lower-case letters, digits and \"-\"", o.Environment)
	}
	if o.Architecture != "arm64" && o.Architecture != "x86_64" {
		r.failf("arch", "is %q: write \"arm64\" or \"x86_64\"", o.Architecture)
	}
	if (o.Domain == "") != (o.Certificate == "") {
		r.failf("domain", "needs the context value \"certificate\" with the ARN of its certificate, and the other way round")
	}
	if o.Domain != "" && !domainName.MatchString(o.Domain) {
		r.failf("domain", "is %q: write a domain name such as \"hooks.example.com\"", o.Domain)
	}
	if len(r.problems) > 0 {
		return Options{}, events.Errorf(events.CodeInvalid, "%s", strings.Join(r.problems, "\n"))
	}
	return o, nil
}

// reader collects what is wrong with the values. On the command line all of them are text.
type reader struct {
	context  func(name string) any
	problems []string
}

func (r *reader) failf(name, format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf("the context value %q ", name)+fmt.Sprintf(format, args...))
}

func (r *reader) text(name, absent string) string {
	switch v := r.context(name).(type) {
	case nil:
		return absent
	case string:
		return v
	default:
		r.failf(name, "is %v: write text", v)
		return absent
	}
}

func (r *reader) boolean(name string, absent bool) bool {
	switch v := r.context(name).(type) {
	case nil:
		return absent
	case bool:
		return v
	case string:
		if v == "true" || v == "false" {
			return v == "true"
		}
		r.failf(name, "is %q: write true or false", v)
	default:
		r.failf(name, "is %v: write true or false", v)
	}
	return absent
}

// key reads whether the stack makes a key, or the ARN of one that exists.
func (r *reader) key(name string) (own bool, arn string) {
	v, ok := r.context(name).(string)
	if !ok || v == "true" || v == "false" {
		return r.boolean(name, false), ""
	}
	if !keyARN.MatchString(v) {
		r.failf(name, "is %q: write true, false or the ARN of a key", v)
	}
	return false, v
}

func (r *reader) number(name string, absent int) int {
	v := r.context(name)
	if v == nil {
		return absent
	}
	n, ok := whole(v)
	if !ok {
		r.failf(name, "is %v: write a whole number from 1 on", v)
	}
	return n
}

func (r *reader) numbers(name string) map[string]int {
	v := r.context(name)
	if v == nil {
		return nil
	}
	values, ok := v.(map[string]any)
	if !ok {
		r.failf(name, "is %v: write an object such as {\"ingress\": 50} in cdk.json", v)
	}
	numbers := map[string]int{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		n, ok := whole(values[key])
		if !ok {
			r.failf(name+"."+key, "is %v: write a whole number from 1 on", values[key])
		}
		numbers[key] = n
	}
	return numbers
}

// whole returns a whole number from 1 on.
func whole(v any) (n int, ok bool) {
	switch v := v.(type) {
	case float64:
		n = int(v)
		return n, float64(n) == v && n > 0
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil && n > 0
	}
	return 0, false
}
