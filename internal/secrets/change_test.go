package secrets_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
)

const pemKey = "-----BEGIN RSA PRIVATE KEY-----\nbm90IGEga2V5\n-----END RSA PRIVATE KEY-----"

func TestParse_PEM(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		pemKey + "\n":                      {pemKey},
		pemKey + "\r\n\n" + pemKey + "2\n": {pemKey, pemKey + "2"},
		"token\n" + pemKey + "\nold\n":     {"token", pemKey, "old"},
		"-----BEGIN X-----\ncut off":       {"-----BEGIN X-----\ncut off"},
		"-----END X-----\nalone":           {"-----END X-----", "alone"},
	} {
		got, err := secrets.Parse("key", text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

// Senders that follow Standard Webhooks take the base64 form of a key of 24 to 64 bytes, without characters that a form or
// an address would need to escape.
func TestNew(t *testing.T) {
	t.Parallel()
	value := secrets.New()
	key, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(key) < 24 || len(key) > 64 || strings.ContainsAny(value, "+/=") {
		t.Errorf("the value has %d characters and is a key of %d bytes, %v", len(value), len(key), err)
	}
	if secrets.New() == value {
		t.Error("two values are equal")
	}
}

func TestRetired(t *testing.T) {
	t.Parallel()
	values := []string{"new", "old", "older"}
	for name, test := range map[string]struct {
		values      []string
		fingerprint string
		want        []string
		code        events.Code
	}{
		"all but the newest": {values, "", []string{"new"}, ""},
		"nothing to retire":  {values[:1], "", []string{"new"}, ""},
		"one":                {values, secrets.Fingerprint("old"), []string{"new", "older"}, ""},
		"the newest":         {values, secrets.Fingerprint("new"), []string{"old", "older"}, ""},
		"the only one":       {values[:1], secrets.Fingerprint("new"), nil, events.CodeInvalid},
		"unknown":            {values, "00000000", nil, events.CodeNotFound},
	} {
		got, err := secrets.Retired(test.values, test.fingerprint)
		if diff := cmp.Diff(test.want, got); diff != "" || events.ErrorCode(err) != test.code {
			t.Errorf("%s: %v, want code %q (-want +got):\n%s", name, err, test.code, diff)
		}
	}
	if diff := cmp.Diff([]string{"new", "old", "older"}, values); diff != "" {
		t.Errorf("the list was changed (-want +got):\n%s", diff)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	// printf %s "It's a Secret to Everybody" | sha256sum
	if got := secrets.Fingerprint("It's a Secret to Everybody"); got != "2f8894d9" {
		t.Errorf("the fingerprint is %s", got)
	}
}

// What was added is the newest and is there once, and what is stored is what is read.
func TestChange_RoundTrip(t *testing.T) {
	t.Parallel()
	d := secrets.Dir(t.TempDir())
	value := rapid.OneOf(rapid.StringMatching(`[!-~]([ -~]{0,20}[!-~])?`), rapid.Just(pemKey)).
		Filter(func(s string) bool { return s == pemKey || !strings.HasPrefix(s, "-----") })
	rapid.Check(t, func(t *rapid.T) {
		var want []string
		for i, v := range rapid.SliceOfN(value, 1, 6).Draw(t, "values") {
			if err := d.Change(t.Context(), "hook", func(values []string) ([]string, error) {
				if i == 0 {
					values = nil
				}
				return secrets.Added(values, v), nil
			}); err != nil {
				t.Fatal(err)
			}
			want = append([]string{v}, slices.DeleteFunc(want, func(w string) bool { return v == w })...)
		}
		got, err := d.Values(t.Context(), "hook")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// Changes at the same time, as of several processes, lose nothing; a value that is generated at that moment is no exception.
func TestDirChange_AtOnce(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "secrets")
	var group sync.WaitGroup
	want := []string{}
	for i := range 20 {
		value := fmt.Sprint("value-", i)
		want = append(want, value)
		group.Go(func() {
			if err := secrets.Dir(folder).Change(t.Context(), "hook", func(values []string) ([]string, error) {
				return secrets.Added(values, value), nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Go(func() {
		if err := secrets.Dir(folder).Generate("hook"); err != nil {
			t.Error(err)
		}
	})
	group.Wait()
	got, err := secrets.Dir(folder).Values(t.Context(), "hook")
	if err != nil {
		t.Fatal(err)
	}
	got = slices.DeleteFunc(got, func(v string) bool { return !strings.HasPrefix(v, "value-") })
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(folder, "hook")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want mode 0600", info, err)
	}
}

func TestDirChange_Refused(t *testing.T) {
	t.Parallel()
	d := secrets.Dir(t.TempDir())
	write(t, d.Path("hook"), "old\n")
	for name, test := range map[string]struct {
		secret string
		err    error
		code   events.Code
	}{
		"reference":     {"env:HOOK", nil, events.CodeInvalid},
		"change failed": {"hook", events.Errorf(events.CodeConflict, "no"), events.CodeConflict},
	} {
		err := d.Change(t.Context(), test.secret, func([]string) ([]string, error) { return []string{"new"}, test.err })
		if events.ErrorCode(err) != test.code {
			t.Errorf("%s: %v, want code %q", name, err, test.code)
		}
	}
	if got, err := d.Values(t.Context(), "hook"); err != nil || got[0] != "old" {
		t.Errorf("%q, %v; want what was there", got, err)
	}
}
