package bench

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkStart measures how long every function takes from the start of its process to its first request for an
// invocation, and the memory it has needed until then, beside a function that does nothing. The first line is that
// function beside itself: what differs there is noise. Files are in the cache of the operating system.
func BenchmarkStart(b *testing.B) {
	mains, err := filepath.Glob("../functions/*/lambda")
	if err != nil || len(mains) == 0 {
		b.Fatalf("no functions, %v", err)
	}
	bare := build(b, "bare", "./testdata/bare")
	b.Run("bare", func(b *testing.B) { starts(b, bare, bare) })
	for _, path := range mains {
		name := filepath.Base(filepath.Dir(path))
		b.Run(name, func(b *testing.B) { starts(b, build(b, name, "./"+path), bare) })
	}
}

// build makes a function as `make package` does, for this machine, and returns its folder.
func build(b *testing.B, name, path string) string {
	folder := filepath.Join(b.TempDir(), name)
	run(b, "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", filepath.Join(folder, "bootstrap"), path)
	config, err := os.ReadFile("../events-config.json")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "events-config.json"), config, 0o600); err != nil {
		b.Fatal(err)
	}
	run(b, "run", "-C", "../tools", "./zip", folder)
	return folder
}

func run(b *testing.B, args ...string) {
	cmd := exec.CommandContext(b.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// starts reports on a function. The bare one takes turns with it, so that a noisy machine is noisy for both;
// the ratio is that of neighbours, with its quartiles.
func starts(b *testing.B, function, bare string) {
	api := &runtimeAPI{asked: make(chan time.Time)}
	server := httptest.NewServer(api)
	defer server.Close()
	api.address = server.Listener.Addr().String()
	api.start(b, function) // reads the file into the cache
	api.start(b, bare)

	var ours, theirs, ratios, memory []float64
	for b.Loop() {
		x, peak := api.start(b, function)
		y, _ := api.start(b, bare)
		ours, theirs, ratios, memory = append(ours, x), append(theirs, y), append(ratios, x/y), append(memory, peak)
	}
	for _, s := range [][]float64{ours, theirs, ratios, memory} {
		slices.Sort(s)
	}
	n := len(ratios)
	b.ReportMetric(ours[n/2], "start-ms")
	b.ReportMetric(theirs[n/2], "bare-ms")
	b.ReportMetric(ratios[n/2], "ratio")
	b.ReportMetric(ratios[n/4], "ratio-q1")
	b.ReportMetric(ratios[n*3/4], "ratio-q3")
	b.ReportMetric(memory[n/2], "memory-MB")
	b.ReportMetric(megabytes(b, filepath.Join(function, "bootstrap")), "binary-MB")
	b.ReportMetric(megabytes(b, function+".zip"), "zip-MB")
	b.ReportMetric(0, "ns/op")
}

func megabytes(b *testing.B, path string) float64 {
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size()) / 1e6
}

// runtimeAPI is the Runtime API of Lambda for a function that never gets an event
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
type runtimeAPI struct {
	address string
	asked   chan time.Time
}

// ServeHTTP implements http.Handler.
func (a *runtimeAPI) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/2018-06-01/runtime/invocation/next" {
		a.asked <- time.Now()
	}
	<-r.Context().Done()
}

// start returns how long a function takes until it asks, in milliseconds, and the most memory that it has had by
// then, in megabytes.
func (a *runtimeAPI) start(b *testing.B, folder string) (elapsed, memory float64) {
	var log bytes.Buffer
	cmd := exec.CommandContext(b.Context(), filepath.Join(folder, "bootstrap"))
	cmd.Stdout, cmd.Stderr = &log, &log
	// What Lambda and the deployment set, and nothing of this machine: a bundle of certificates takes 3 ms to read.
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + a.address, "AWS_REGION=eu-west-1", "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_LOG_FORMAT=JSON",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=test",
		"CALLBOARD_PREFIX=callboard", "CALLBOARD_TABLE=table", "CALLBOARD_BUCKET=bucket",
		"CALLBOARD_INGEST_QUEUE_URL=https://sqs.eu-west-1.amazonaws.com/0/ingest",
		"CALLBOARD_DEAD_LETTER_QUEUE_URL=https://sqs.eu-west-1.amazonaws.com/0/dlq",
		"CALLBOARD_TOPIC_ARN_PREFIX=arn:aws:sns:eu-west-1:000000000000:",
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case at := <-a.asked:
		elapsed, memory = float64(at.Sub(begin).Microseconds())/1e3, peak(b, cmd.Process.Pid)
		_ = cmd.Process.Kill()
		<-exited
	case err := <-exited:
		b.Fatalf("%s ends and does not ask: %v\n%s", folder, err, &log)
	}
	return elapsed, memory
}

// peak returns the most memory that a process has had, in megabytes, or 0 where there is no /proc. What the process
// itself reports when it ends (ru_maxrss) counts that of its parent before exec, which is this benchmark.
func peak(b *testing.B, pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes float64
	if _, err := fmt.Sscan(after, &kilobytes); err != nil {
		b.Fatal(err)
	}
	return kilobytes * 1024 / 1e6
}
