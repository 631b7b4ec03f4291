package rules

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"github.com/callboard/callboard/pkg/catalog"
)

const (
	// costLimit bounds one evaluation, in CEL's units of cost: about a tenth of a second, as Kubernetes has it for
	// one expression (https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints).
	costLimit = 1_000_000
	// interruptEvery is how many steps of a comprehension go between two looks at the context.
	interruptEvery = 100
	// maxSource is the longest expression, in characters.
	maxSource = 10_000
	// maxRegex is how many instructions a regular expression may have after it is compiled.
	maxRegex = 1_000
	// maxOwnersOf is how many entityRefs one "ownersOf:" may yield; a catalog.changed event holds fewer.
	maxOwnersOf = 1_000
)

var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("topic", cel.StringType),
		cel.Variable("payload", cel.DynType),
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.StringType)),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals()),
		cel.RegexProgramSizeLimit(maxRegex),
		cel.ParserExpressionSizeLimit(maxSource),
		ext.Strings(),
		ext.Lists(ext.ListsMaxRangeSize(10_000)),
		ext.Sets(),
		ext.Math(),
	)
})

// expression is a compiled CEL expression of a field.
type expression struct {
	field, source string
	program       cel.Program
}

// yield is what an expression must yield.
type yield struct {
	what string
	ok   func(t *cel.Type) bool
}

var (
	yieldsBool = yield{"a bool", func(t *cel.Type) bool { return t.Kind() == types.BoolKind }}
	yieldsRefs = yield{"a list of entityRefs", func(t *cel.Type) bool {
		if t.Kind() != types.ListKind {
			return false
		}
		of := t.Parameters()[0].Kind()
		return of == types.StringKind || of == types.DynKind || of == types.TypeParamKind
	}}
	yieldsText = yield{"text, a number or a bool", func(t *cel.Type) bool {
		return slices.Contains([]types.Kind{types.StringKind, types.IntKind, types.UintKind, types.DoubleKind, types.BoolKind}, t.Kind())
	}}
)

// compile compiles the source of an expression. What the type check cannot know is accepted, and checked when the
// expression is evaluated. The text of an error is one line.
func compile(field, source string, want yield) (*expression, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("the expression is empty")
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(source)
	if errs := issues.Errors(); len(errs) > 0 {
		return nil, shortError(source, errs)
	}
	if t := ast.OutputType(); t.Kind() != types.DynKind && !want.ok(t) {
		return nil, fmt.Errorf("yields %s; it must yield %s", t, want.what)
	}
	program, err := env.Program(ast, cel.CostLimit(costLimit), cel.InterruptCheckFrequency(interruptEvery))
	if err != nil {
		return nil, oneLine(err.Error())
	}
	return &expression{field, source, program}, nil
}

// shortError is the first of CEL's errors, of which the others are often consequences, without what only CEL's
// authors understand.
func shortError(source string, errs []*cel.Error) error {
	message, _, _ := strings.Cut(errs[0].Message, " (in container '')")
	message, _, _ = strings.Cut(message, " expecting ")
	message = oneLine(message).Error()
	at := errs[0].Location
	switch {
	case at.Line() < 1:
		return errors.New(message)
	case strings.Contains(source, "\n"):
		return fmt.Errorf("line %d, column %d: %s", at.Line(), at.Column()+1, message)
	}
	return fmt.Errorf("column %d: %s", at.Column()+1, message)
}

func oneLine(s string) error { return errors.New(strings.Join(strings.Fields(s), " ")) }

// evaluate returns a value that is no error. The texts of its errors hold nothing of the event.
func (e *expression) evaluate(ctx context.Context, in *Input) (ref.Val, error) {
	value, _, err := e.program.ContextEval(ctx, in.variables)
	if err != nil {
		return nil, e.safeError(err)
	}
	return value, nil
}

func (e *expression) safeError(err error) error {
	if cancelled, ok := errors.AsType[interpreter.EvalCancelledError](err); ok && cancelled.Cause == interpreter.CostLimitExceeded {
		return errors.New("the expression costs too much on this event")
	}
	message := err.Error()
	if key, ok := strings.CutPrefix(message, "no such key: "); ok {
		if strings.Contains(e.source, key) {
			return fmt.Errorf("the event has no %q", key)
		}
		return errors.New("the event has not the member that is asked for")
	}
	if strings.HasPrefix(message, "no such overload") {
		return errors.New("a value of the event is of another type than the expression expects")
	}
	if message == "division by zero" || message == "modulus by zero" {
		return errors.New(message)
	}
	return errors.New("the expression cannot be evaluated for the values of this event")
}

func (e *expression) bool(ctx context.Context, in *Input) (bool, error) {
	value, err := e.evaluate(ctx, in)
	if err != nil {
		return false, err
	}
	b, ok := value.(types.Bool)
	if !ok {
		return false, wrongType(value, yieldsBool)
	}
	return bool(b), nil
}

func (e *expression) refs(ctx context.Context, in *Input) ([]catalog.Ref, error) {
	value, err := e.evaluate(ctx, in)
	if err != nil {
		return nil, err
	}
	list, ok := value.(traits.Lister)
	if !ok {
		return nil, wrongType(value, yieldsRefs)
	}
	var refs []catalog.Ref
	for it := list.Iterator(); it.HasNext() == types.True; {
		item := it.Next()
		text, ok := item.(types.String)
		if !ok {
			return nil, fmt.Errorf("yields a list with a %s in it; it must yield %s", item.Type().TypeName(), yieldsRefs.what)
		}
		ref, err := catalog.ParseRef(string(text))
		if err != nil {
			return nil, errors.New("yields a text that is not an entityRef")
		}
		if refs = append(refs, ref); len(refs) > maxOwnersOf {
			return nil, fmt.Errorf("yields more than %d entityRefs", maxOwnersOf)
		}
	}
	return refs, nil
}

// text is the value of the expression in a template. Numbers are written without an exponent.
func (e *expression) text(ctx context.Context, in *Input) (string, error) {
	value, err := e.evaluate(ctx, in)
	if err != nil {
		return "", err
	}
	switch v := value.(type) {
	case types.String:
		return string(v), nil
	case types.Int:
		return strconv.FormatInt(int64(v), 10), nil
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10), nil
	case types.Double:
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.FormatFloat(f, 'f', -1, 64), nil
		}
		return "", errors.New("yields a number that is not finite")
	case types.Bool:
		return strconv.FormatBool(bool(v)), nil
	}
	return "", wrongType(value, yieldsText)
}

func wrongType(value ref.Val, want yield) error {
	return fmt.Errorf("yields a %s; it must yield %s", value.Type().TypeName(), want.what)
}
