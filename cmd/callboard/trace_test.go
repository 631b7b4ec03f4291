package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/awsclient/profile"
	"github.com/callboard/callboard/pkg/events"
)

// search is a request of FilterLogEvents.
type search struct {
	LogGroupName  string `json:"logGroupName"`
	FilterPattern string `json:"filterPattern"`
	StartTime     int64  `json:"startTime"`
}

// logServer answers as CloudWatch Logs does, for log groups with lines.
func logServer(t *testing.T, groups map[string][]string, asked func(search)) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if target := r.Header.Get("X-Amz-Target"); target != "Logs_20140328.FilterLogEvents" {
			t.Errorf("a request for %s", target)
		}
		var in search
		if err := json.UnmarshalRead(r.Body, &in); err != nil {
			return // whoever asks has given up, after the failure of another request
		}
		asked(in)
		lines, ok := groups[in.LogGroupName]
		if !ok {
			w.Header().Set("X-Amzn-ErrorType", "ResourceNotFoundException")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		found := []map[string]any{}
		for _, line := range lines {
			if strings.Contains(line, strings.Trim(strings.TrimPrefix(in.FilterPattern, `"hop" `), `"`)) {
				found = append(found, map[string]any{"message": line})
			}
		}
		_ = json.MarshalWrite(w, map[string]any{"events": found})
	}))
	t.Cleanup(s.Close)
	return s
}

// setAWS makes a terminal of this one that calls url instead of AWS.
func setAWS(t *testing.T, url string) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": url, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_CA_BUNDLE": "", "AWS_SESSION_TOKEN": "",
	} {
		t.Setenv(name, value)
	}
}

// logLine is how a function logs a hop in the JSON format.
func logLine(t *testing.T, h events.Hop) string {
	t.Helper()
	var b bytes.Buffer
	handler := slog.NewJSONHandler(&b, &slog.HandlerOptions{ReplaceAttr: lambdacontext.ReplaceAttr})
	events.LogObserver{Logger: slog.New(handler)}.Observe(t.Context(), h)
	return b.String()
}

func TestTrace_AWS(t *testing.T) {
	first := events.Hop{
		Time: noon, Event: "github:1", Topic: "github.push", Function: "catalog-sync", Outcome: events.OutcomeOK, Milliseconds: 12.34,
		Notes: []events.Note{{Kind: events.NoteEntity, Value: "+component:default/a"}, {Kind: events.NotePublished, Value: "catalog.changed:2"}},
	}
	second := events.Hop{
		Time: noon.Add(time.Second), Event: "catalog.changed:2", Topic: "catalog.changed", Function: "notify", Outcome: events.OutcomePark, Reason: "r",
	}
	var since atomic.Int64
	server := logServer(t, map[string][]string{
		"/aws/lambda/callboard-dev-catalog-sync": {logLine(t, first)}, "/aws/lambda/callboard-dev-notify": {logLine(t, second)},
	}, func(in search) { since.Store(in.StartTime) })
	setAWS(t, server.URL)

	const command = "trace github:1 --aws --env dev --since 1h --config ../../events-config.json"
	earliest := time.Now().Add(-time.Hour).UnixMilli()
	stdout, stderr, code := call(t, strings.Fields(command)...)
	latest := time.Now().Add(-time.Hour).UnixMilli()
	var want bytes.Buffer
	printTrace(&want, "github:1", []events.Hop{first, second})
	if stdout != want.String() || stderr != "" || code != 0 {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", code, stdout, stderr, want.String())
	}
	if got := since.Load(); got < earliest || got > latest {
		t.Errorf("logs since %s are searched, want an hour", time.UnixMilli(got))
	}
	stdout, _, code = call(t, strings.Fields(command+" --json")...)
	var hops []events.Hop
	if err := json.Unmarshal([]byte(stdout), &hops); err != nil || code != 0 || len(hops) != 2 {
		t.Errorf("exit code %d, %v\n%s", code, err, stdout)
	}
}

func TestTrace_AWSFailures(t *testing.T) {
	server := logServer(t, map[string][]string{"/aws/lambda/callboard-dev-ingress": nil}, func(search) {})
	setAWS(t, server.URL)
	const conf = " --config ../../events-config.json"
	none := filepath.Join(t.TempDir(), "none.json")
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"x --aws --env dev" + conf, exitFailure, "event x is not in the logs of callboard-dev in eu-west-1 since " + time.Now().Add(-24*time.Hour).Format("2006-01-02 15")},
		{"x --aws --env dev" + conf, exitFailure, "logs arrive within seconds"},
		{"x --aws" + conf, exitFailure, "none of the log groups /aws/lambda/callboard-"},
		{"x --aws --config " + none, exitFailure, "none.json does not exist"},
		{"x --aws --state s" + conf, exitUsage, "cannot be used with --aws"},
		{"x --aws --url http://localhost" + conf, exitUsage, "cannot be used with --aws"},
		{"x --aws --since 0s" + conf, exitUsage, "--since is how far back"},
		{"x --aws --since yesterday" + conf, exitUsage, "--since"},
		{"x --env dev", exitUsage, "are for --aws"},
		{"x --since 1h", exitUsage, "are for --aws"},
		{"x" + conf, exitUsage, "are for --aws"},
	} {
		stdout, stderr, code := call(t, strings.Fields("trace "+test.args)...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("callboard trace %s: exit code %d, want %d\n%s%s\nwant it to say %q", test.args, code, test.code, stdout, stderr, test.want)
		}
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	if _, stderr, code := call(t, strings.Fields("trace x --aws"+conf)...); code != exitFailure || !strings.Contains(stderr, "set AWS_REGION") {
		t.Errorf("without a region: exit code %d\n%s", code, stderr)
	}
}

// What attach answers with, for the other commands.
func TestFinder(t *testing.T) {
	hop := events.Hop{Time: noon, Event: "github:1", Function: "ingress", Outcome: events.OutcomeOK}
	server := logServer(t, map[string][]string{"/aws/lambda/callboard-ingress": {logLine(t, hop)}}, func(search) {})
	_, topo, err := loadDeployed("../../events-config.json", "")
	if err != nil {
		t.Fatal(err)
	}
	setAWS(t, server.URL)
	cfg, err := profile.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hops, err := finder(cfg, topo)(t.Context(), "github:1")
	if err != nil || len(hops) != 1 || hops[0].Function != "ingress" {
		t.Errorf("%+v, %v", hops, err)
	}
}
