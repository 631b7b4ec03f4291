//go:build services

package awssecrets_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/pkg/events"
)

// TestServices reads what was stored.
func TestServices(t *testing.T) {
	emulator.Each(t, []string{emulator.MiniStack, emulator.Moto, emulator.LocalStack}, func(t *testing.T, name string, cfg aws.Config) {
		ctx, prefix := t.Context(), "callboard-"+rand.Text()
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
			if err := s.Change(ctx, name, func([]string) ([]string, error) { return []string{"value"}, nil }); err == nil {
				t.Errorf("%s: the secret was changed, but there is none", name)
			}
		}
		changes(t, cfg, prefix, name == emulator.MiniStack)
	})
}

// changes adds values to secrets, many at the same time, and retires them: none is lost. The threads of moto, which
// LocalStack is made of, share the secrets without a lock, so there it is one after the other.
func changes(t *testing.T, cfg aws.Config, prefix string, atOnce bool) {
	t.Helper()
	ctx := t.Context()
	for name, text := range map[string]*string{"full": new("old"), "empty": nil} {
		if _, err := secretsmanager.NewFromConfig(cfg).CreateSecret(ctx, &secretsmanager.CreateSecretInput{
			Name: new(prefix + "/" + name), SecretString: text,
		}); err != nil {
			t.Fatal(err)
		}
		var want []string
		if text != nil {
			want = append(want, *text)
		}
		var group sync.WaitGroup
		for i := range 6 {
			value := fmt.Sprint("value-", i)
			want = append(want, value)
			add := func() {
				if err := awssecrets.New(cfg, prefix, time.Now).Change(ctx, name, func(values []string) ([]string, error) {
					return secrets.Added(values, value), nil
				}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if !atOnce {
				add()
				continue
			}
			group.Go(add)
		}
		group.Wait()
		s := awssecrets.New(cfg, prefix, time.Now)
		got, err := s.Values(ctx, name)
		newest := append([]string(nil), got...)
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%s: after 6 changes at the same time: %v (-want +got):\n%s", name, err, diff)
		}
		if err := s.Change(ctx, name, func(values []string) ([]string, error) { return secrets.Retired(values, "") }); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Refresh(ctx, name); err != nil || len(got) != 1 || got[0] != newest[0] {
			t.Errorf("%s: %q, %v; want the newest of %q", name, got, err, newest)
		}
	}
}
