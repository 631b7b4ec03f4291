package cloudtrace_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/cloudtrace"
	"github.com/callboard/callboard/pkg/events"
)

// asFunction makes the test binary log the hops that it reads, as a function does.
const asFunction = "CALLBOARD_TEST_AS_FUNCTION"

func TestMain(m *testing.M) {
	if os.Getenv(asFunction) != "" {
		logAsFunction()
		return
	}
	os.Exit(m.Run())
}

func logAsFunction() {
	var hops []events.Hop
	if err := json.UnmarshalRead(os.Stdin, &hops); err != nil {
		panic(err)
	}
	ctx := lambdacontext.NewContext(context.Background(), &lambdacontext.LambdaContext{AwsRequestID: "request"})
	for _, h := range hops {
		events.LogObserver{Logger: slog.New(lambdacontext.NewLogHandler())}.Observe(ctx, h)
	}
}

// loggers write as the log handler of aws-lambda-go, which itself writes to the standard output only.
func loggers(b *bytes.Buffer) map[string]*slog.Logger {
	options := &slog.HandlerOptions{ReplaceAttr: lambdacontext.ReplaceAttr}
	return map[string]*slog.Logger{"JSON": slog.New(slog.NewJSONHandler(b, options)), "text": slog.New(slog.NewTextHandler(b, options))}
}

// logged returns the line of a hop.
func logged(h events.Hop, format string) string {
	var b bytes.Buffer
	events.LogObserver{Logger: loggers(&b)[format]}.Observe(context.Background(), h)
	return b.String()
}

func anyTime(t *rapid.T, label string) time.Time {
	return rapid.OneOf(rapid.Just(time.Time{}), rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})).Draw(t, label)
}

func anyHop(t *rapid.T) events.Hop {
	// Letters that mean something in one of the formats come often.
	text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("a:=\"\\ {}\n\t\x00,\u2028é")), 0, 8, -1))
	notes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) events.Note {
		return events.Note{Kind: text.Draw(t, "kind"), Value: text.Draw(t, "value")}
	}), 0, 3)
	return events.Hop{
		Time: anyTime(t, "time"), Event: text.Draw(t, "event"), Topic: text.Draw(t, "topic"),
		Function: rapid.StringN(1, 5, -1).Draw(t, "function"),
		Outcome: rapid.SampledFrom([]events.Outcome{
			events.OutcomeOK, events.OutcomeDropped, events.OutcomeRetry, events.OutcomeDefer, events.OutcomePark, events.OutcomeRefused,
		}).Draw(t, "outcome"),
		Reason: text.Draw(t, "reason"), Code: events.Code(text.Draw(t, "code")), Accepted: anyTime(t, "accepted"),
		TraceParent:  text.Draw(t, "traceparent"),
		Attempt:      rapid.IntRange(0, 1000).Draw(t, "attempt"),
		Milliseconds: rapid.Float64Range(0, 1e9).Draw(t, "ms"), Notes: notes.Draw(t, "notes"),
	}
}

func TestParse_ReadsWhatIsLogged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyHop(t)
		for _, format := range []string{"JSON", "text"} {
			line := logged(want, format)
			got, ok := cloudtrace.Parse(line)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || !ok {
				t.Fatalf("%s: %t (-logged +read):\n%s\nthe line is %s", format, ok, diff, line)
			}
		}
	})
}

// The same with the log handler of a function.
func TestParse_ReadsTheLogOfAFunction(t *testing.T) {
	t.Parallel()
	gen := rapid.Custom(anyHop)
	hops := make([]events.Hop, 50)
	for i := range hops {
		hops[i] = gen.Example(i)
	}
	input, err := json.Marshal(hops)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"JSON", "Text"} {
		function := exec.CommandContext(t.Context(), os.Args[0])
		function.Env = append(os.Environ(), asFunction+"=1", "AWS_LAMBDA_LOG_FORMAT="+format)
		function.Stdin = bytes.NewReader(input)
		out, err := function.Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if strings.HasPrefix(lines[0], "{") != (format == "JSON") || !strings.Contains(lines[0], "request") {
			t.Errorf("the log is not in the format %s of a function: %s", format, lines[0])
		}
		var got []events.Hop
		for _, line := range lines {
			h, ok := cloudtrace.Parse(line)
			if !ok {
				t.Errorf("%s: not read: %s", format, line)
			}
			got = append(got, h)
		}
		if diff := cmp.Diff(hops, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-logged +read):\n%s", format, diff)
		}
	}
}

func TestParse_OtherLines(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "{", "{}", "null", "=", `"`, `a="`,
		"START RequestId: 1 Version: $LATEST",
		`{"time":"2026-01-02T12:00:00Z","type":"platform.report","record":{"requestId":"1"}}`,
		`{"_aws":{"Timestamp":1},"Accepted":1,"Prefix":"callboard","Topic":"github"}`,
		`{"timestamp":"2026-01-02T12:00:00Z","level":"WARN","message":"a visibility could not be changed","event":"a:1","function":"f","outcome":"ok"}`,
		`timestamp=2026-01-02T12:00:00Z level=WARN message="no hop" event=a:1 function=f outcome=ok`,
		`{"message":"hop","event":"a:1","outcome":"ok"}`,
		`{"message":"hop","event":"a:1","function":"f"}`,
		`{"message":"hop","event":1,"function":"f","outcome":"ok"}`,
		`message=hop event=a:1 function=f outcome=ok ms=NaN`,
		`message=hop event=a:1 function=f outcome=ok ms=x`,
		`message=hop event=a:1 function=f outcome=ok attempt=x`,
		`message=hop event=a:1 function=f outcome=ok start=yesterday`,
		`message=hop event=a:1 function=f outcome=ok notes=[`,
		`message=hop event="a:1 function=f outcome=ok`,
	} {
		if h, ok := cloudtrace.Parse(line); ok {
			t.Errorf("%q is read as the hop %+v", line, h)
		}
	}
}

func FuzzParse(f *testing.F) {
	h := events.Hop{
		Time: time.Unix(1, 2).UTC(), Event: "github:1", Topic: "github", Function: "f", Outcome: events.OutcomePark, Reason: "a \"b\"\n",
		Code: events.CodeInvalid, Attempt: 2, Milliseconds: 1.5, Notes: []events.Note{{Kind: events.NotePublished, Value: "catalog.changed:1"}},
	}
	for _, format := range []string{"JSON", "text"} {
		f.Add(logged(h, format))
	}
	f.Add("message=hop function=f outcome=ok event=\"\\xff\" start=0000-01-01T00:00:00+01:00 attempt=-1")
	f.Fuzz(func(t *testing.T, line string) {
		h, ok := cloudtrace.Parse(line)
		if h.Attempt < 0 || h.Time.UTC().Year() < 0 || h.Accepted.UTC().Year() < 0 ||
			h.Time.UTC().Year() > 9999 || h.Accepted.UTC().Year() > 9999 {
			return // nobody logs that
		}
		if !ok {
			return
		}
		again, ok := cloudtrace.Parse(logged(h, "text"))
		if diff := cmp.Diff(h, again, cmpopts.EquateEmpty()); diff != "" || !ok {
			t.Errorf("%q: logged again it is another hop (-first +second):\n%s", line, diff)
		}
	})
}
