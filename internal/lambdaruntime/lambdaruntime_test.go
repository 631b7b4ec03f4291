package lambdaruntime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/callboard/callboard/internal/lambdaruntime"
	"github.com/callboard/callboard/pkg/events"
)

// variable makes the program of these tests the program that they run: "function", or "broken".
const variable = "CALLBOARD_TEST_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(variable) {
	case "function":
		slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
		lambda.Start(function)
	case "broken":
		fmt.Println("the configuration is missing")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// function does what its event says, and answers with the id of its process.
func function(ctx context.Context, event string) (string, error) {
	switch event {
	case "fail":
		return "", errors.New("something is missing")
	case "exit":
		os.Exit(3)
	case "panic":
		panic("ouch")
	case "hang":
		select {} // whatever the context says
	case "log":
		slog.WarnContext(ctx, "a warning", "frob", "left", "n", 7)
		fmt.Println("a line\nanother one")
		fmt.Fprintln(os.Stderr, `{"no":"record"}`)
	case "large":
		return strings.Repeat("x", 7<<20), nil
	}
	if _, ok := ctx.Deadline(); !ok {
		return "", errors.New("there is no deadline")
	}
	return strconv.Itoa(os.Getpid()), nil
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func start(t *testing.T, what string, concurrency int) (*lambdaruntime.Runtime, *buffer, error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := &buffer{}
	r, err := lambdaruntime.Start(t.Context(), lambdaruntime.Program{
		Name: "frobs", Path: program, Environment: append(os.Environ(), variable+"="+what), Concurrency: concurrency,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err == nil {
		t.Cleanup(r.Close)
	}
	return r, log, err
}

func started(t *testing.T, concurrency int) (*lambdaruntime.Runtime, *buffer) {
	t.Helper()
	r, log, err := start(t, "function", concurrency)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	return r, log
}

func invoke(t *testing.T, r *lambdaruntime.Runtime, event string) (string, error) {
	t.Helper()
	answer, err := r.Invoke(t.Context(), []byte(strconv.Quote(event)))
	return string(answer), err
}

// One process works on one invocation after the other, and goes on after an error; one that dies is replaced.
func TestInvoke(t *testing.T) {
	t.Parallel()
	r, _ := started(t, 1)
	first, err := invoke(t, r, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := invoke(t, r, "fail"); err == nil || !strings.Contains(err.Error(), "something is missing") {
		t.Errorf("error %v, want that of the function", err)
	}
	if again, err := invoke(t, r, "hello"); again != first || err != nil {
		t.Errorf("process %s after %s, %v; want the same one", again, first, err)
	}
	last := first
	for _, event := range []string{"exit", "panic", "large"} {
		if answer, err := invoke(t, r, event); err == nil {
			t.Errorf("%s: answer %.20s, want an error", event, answer)
		}
		again, err := invoke(t, r, "hello")
		if again == last || err != nil {
			t.Errorf("after %s: process %s after %s, %v; want another one", event, again, last, err)
		}
		last = again
	}
}

func TestInvoke_Timeout(t *testing.T) {
	t.Parallel()
	r, _ := started(t, 1)
	first, err := invoke(t, r, "hello")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Invoke(ctx, []byte(`"hang"`)); events.ErrorCode(err) != events.CodeUnavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the timeout", err)
	}
	if again, err := invoke(t, r, "hello"); again == first || err != nil {
		t.Errorf("process %s after %s, %v; want another one", again, first, err)
	}
}

// As many processes as there are invocations, up to a number; the next one waits.
func TestInvoke_Concurrency(t *testing.T) {
	t.Parallel()
	r, _ := started(t, 2)
	hanging, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = r.Invoke(hanging, []byte(`"hang"`)) })
	for range 3 { // whichever of them comes first, two can be worked on at once
		if _, err := invoke(t, r, "hello"); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { _, _ = r.Invoke(hanging, []byte(`"hang"`)) })
	wg.Go(func() { _, _ = r.Invoke(hanging, []byte(`"hang"`)) })
	for full := false; !full; { // until both hang, one is free or a third one waits
		short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := r.Invoke(short, []byte(`"hello"`))
		full = err != nil && strings.Contains(err.Error(), "is busy")
		stop()
	}
	cancel()
	wg.Wait()
	if _, err := invoke(t, r, "hello"); err != nil {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	r, log := started(t, 1)
	if _, err := invoke(t, r, "log"); err != nil {
		t.Fatal(err)
	}
	r.Close() // the end of the process brings all that it wrote
	for _, want := range []string{`level=WARN msg="a warning" frob=left n=7`, `msg="a line"`, `msg="another one"`, `msg="{\"no\":\"record\"}"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %s:\n%s", want, log)
		}
	}
}

func TestStart_Fails(t *testing.T) {
	t.Parallel()
	_, log, err := start(t, "broken", 1)
	if events.ErrorCode(err) != events.CodeUnavailable || !strings.Contains(err.Error(), "the function frobs does not start") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(log.String(), "the configuration is missing") {
		t.Errorf("the log does not say why: %s", log)
	}
	if _, err := lambdaruntime.Start(t.Context(), lambdaruntime.Program{Path: "/nowhere/bootstrap", Concurrency: 1}); err == nil {
		t.Error("a program that is not there starts")
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	r, _ := started(t, 2)
	r.Close()
	if _, err := invoke(t, r, "hello"); err == nil {
		t.Error("an invocation after the end is answered")
	}
}
