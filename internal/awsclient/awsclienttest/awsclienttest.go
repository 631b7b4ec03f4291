// Package awsclienttest is how tests make AWS clients of a server of their own.
package awsclienttest

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/callboard/callboard/internal/awsclient"
)

// once is one attempt of every call, so that a failure is not waited for. It is no measure of speed.
var once = awsclient.Budget{Attempts: 1, Timeout: 2 * time.Minute}

// Config returns what clients of the server at url are made from, as the functions make it, in us-east-1. They make one
// attempt of every call.
func Config(tb testing.TB, url string) aws.Config {
	tb.Helper()
	environment := map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": url,
	}
	cfg, err := awsclient.Config(func(name string) (string, bool) { v, ok := environment[name]; return v, ok }, once)
	if err != nil {
		tb.Fatal(err)
	}
	return cfg
}
