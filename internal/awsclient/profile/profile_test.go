package profile_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/callboard/callboard/internal/awsclient/profile"
	"github.com/callboard/callboard/pkg/events"
)

// terminal is one with these files and variables, and nothing else of AWS.
func terminal(t *testing.T, settings, credentials string, variables map[string]string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for variable, text := range map[string]string{"AWS_CONFIG_FILE": settings, "AWS_SHARED_CREDENTIALS_FILE": credentials} {
		path := filepath.Join(home, variable)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(variable, path)
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

const (
	keys    = "[default]\naws_access_key_id = one\naws_secret_access_key = secret\n[two]\naws_access_key_id = two\naws_secret_access_key = secret\n"
	regions = "[default]\nregion = eu-west-1\n[profile two]\nregion = us-west-2\nmax_attempts = 2\n"
)

func TestConfig_Profiles(t *testing.T) {
	for name, test := range map[string]struct {
		variables   map[string]string
		region, key string
		attempts    int
	}{
		"default profile": {nil, "eu-west-1", "one", 5},
		"another profile": {map[string]string{"AWS_PROFILE": "two"}, "us-west-2", "two", 2},
		"variables": {map[string]string{
			"AWS_REGION": "eu-north-1", "AWS_ACCESS_KEY_ID": "three", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_MAX_ATTEMPTS": "1",
		}, "eu-north-1", "three", 1},
		"default region": {map[string]string{"AWS_DEFAULT_REGION": "eu-south-1"}, "eu-south-1", "one", 5},
	} {
		t.Run(name, func(t *testing.T) {
			terminal(t, regions, keys, test.variables)
			cfg, err := profile.Config(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c, err := cfg.Credentials.Retrieve(t.Context())
			if err != nil || cfg.Region != test.region || c.AccessKeyID != test.key || cfg.RetryMaxAttempts != test.attempts {
				t.Errorf("region %q, key %q, %d attempts, %v; want %+v", cfg.Region, c.AccessKeyID, cfg.RetryMaxAttempts, err, test)
			}
		})
	}
}

// Every failure says what to do.
func TestConfig_Fails(t *testing.T) {
	const session = "[default]\nregion = eu-west-1\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n" +
		"[sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://example.com/start\n"
	for name, test := range map[string]struct {
		settings, credentials string
		variables             map[string]string
		code                  events.Code
		want                  string
	}{
		"no region":      {"", keys, nil, events.CodeInvalid, "AWS_REGION"},
		"no credentials": {regions, "", nil, events.CodeUnauthorized, "AWS_ACCESS_KEY_ID"},
		"signed out":     {session, "", nil, events.CodeUnauthorized, `"aws sso login"`},
		"signed out of a profile": {
			strings.ReplaceAll(session, "default", "profile p"), "",
			map[string]string{"AWS_PROFILE": "p"},
			events.CodeUnauthorized, `"aws sso login --profile p"`,
		},
		"no such profile": {regions, keys, map[string]string{"AWS_PROFILE": "three"}, events.CodeInvalid, `no AWS profile "three"`},
		"a second factor": {
			regions + "[profile m]\nregion = eu-west-1\nrole_arn = arn:aws:iam::1:role/r\nmfa_serial = arn:aws:iam::1:mfa/u\nsource_profile = two\n",
			keys,
			map[string]string{"AWS_PROFILE": "m"},
			events.CodeUnauthorized, "aws configure export-credentials --format env --profile m",
		},
		"no certificates": {regions, keys, map[string]string{"AWS_CA_BUNDLE": "/none.pem"}, events.CodeInvalid, "~/.aws/config"},
	} {
		t.Run(name, func(t *testing.T) {
			terminal(t, test.settings, test.credentials, test.variables)
			_, err := profile.Config(t.Context())
			if events.ErrorCode(err) != test.code || !strings.Contains(events.ErrorMessage(err), test.want) {
				t.Errorf("%v, want code %s and %q", err, test.code, test.want)
			}
		})
	}
}

// The variables that point the tools of AWS at something else point here too, with its certificate.
func TestConfig_EndpointAndCertificates(t *testing.T) {
	var all, logs int
	count := func(n *int) *httptest.Server {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			*n++
			_, _ = w.Write([]byte("{}"))
		}))
		t.Cleanup(s.Close)
		return s
	}
	toAll, toLogs := count(&all), count(&logs)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: toAll.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	terminal(t, regions, keys, map[string]string{
		"AWS_ENDPOINT_URL": toAll.URL, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": toLogs.URL, "AWS_CA_BUNDLE": bundle,
	})
	cfg, err := profile.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqs.NewFromConfig(cfg).ListQueues(t.Context(), &sqs.ListQueuesInput{}); err != nil {
		t.Error(err)
	}
	if _, err := cloudwatchlogs.NewFromConfig(cfg).FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{}); err != nil {
		t.Error(err)
	}
	if all != 1 || logs != 1 {
		t.Errorf("%d requests to the endpoint of all services and %d to that of CloudWatch Logs, want one each", all, logs)
	}
}

// looking is a client that looks at the body of a request.
type looking struct{ body io.Reader }

func (l *looking) Do(r *http.Request) (*http.Response, error) {
	l.body = r.Body
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

// What it means that a body is an io.WriterTo the package awsclient shows.
func TestConfig_SendOnce(t *testing.T) {
	terminal(t, regions, keys, nil)
	cfg, err := profile.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := &looking{}
	cfg.HTTPClient = client
	if _, err := sqs.NewFromConfig(cfg).DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: new("https://q"), ReceiptHandle: new("r")}); err != nil {
		t.Fatal(err)
	}
	if _, is := client.body.(io.WriterTo); is || client.body == nil {
		t.Errorf("the body of a request is a %T, which the SDK may send twice", client.body)
	}
}
