//go:build services

package awssecrets_test

import (
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/pkg/events"
)

// TestServices reads what was stored in the services that tools/services has started.
func TestServices(t *testing.T) {
	for name, variable := range map[string]string{
		"MiniStack": "CALLBOARD_TEST_MINISTACK", "moto": "CALLBOARD_TEST_MOTO", "LocalStack": "CALLBOARD_TEST_LOCALSTACK",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := os.Getenv(variable)
			if url == "" && name == "LocalStack" {
				t.Skipf("%s is not set: tools/services/localstack sets it", variable)
			}
			if url == "" {
				t.Fatalf("%s is not set: run this with tools/services/run", variable)
			}
			ctx, cfg, prefix := t.Context(), config(url), "callboard-"+rand.Text()
			cfg.Retryer = nil // that of the SDK
			created, err := secretsmanager.NewFromConfig(cfg).CreateSecret(ctx, &secretsmanager.CreateSecretInput{
				Name: new(prefix + "/hook"), SecretString: new("new\nold\n"),
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = ssm.NewFromConfig(cfg).PutParameter(ctx, &ssm.PutParameterInput{
				Name: new("/" + prefix + "/hook"), Value: new("parameter"), Type: types.ParameterTypeSecureString,
			})
			if err != nil {
				t.Fatal(err)
			}
			s := awssecrets.New(cfg, prefix, time.Now)
			for name, want := range map[string][]string{
				"hook":                           {"new", "old"},
				"secretsmanager:" + *created.ARN: {"new", "old"},
				"ssm:/" + prefix + "/hook":       {"parameter"},
			} {
				got, err := s.Values(ctx, name)
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
				}
			}
			for _, name := range []string{"absent", "ssm:/" + prefix + "/absent"} {
				if _, err := s.Values(ctx, name); events.ErrorCode(err) != events.CodeNotFound {
					t.Errorf("%s: %v, want code %s", name, err, events.CodeNotFound)
				}
			}
		})
	}
}
