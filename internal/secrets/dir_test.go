package secrets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestValues(t *testing.T) {
	t.Setenv("CALLBOARD_TEST_SECRET", "from env\nsecond")
	dir := t.TempDir()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	write(t, elsewhere, "from file\n")
	for name, text := range map[string]string{
		"one": "value", "line": "value\n", "windows": "first\r\nsecond\r\n", "several": "new\n\n  old \n", "empty": "", "blank": " \n\n",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		want []string
		code events.Code
	}{
		"one":                             {[]string{"value"}, ""},
		"line":                            {[]string{"value"}, ""},
		"windows":                         {[]string{"first", "second"}, ""},
		"several":                         {[]string{"new", "old"}, ""},
		"empty":                           {nil, events.CodeNotFound},
		"blank":                           {nil, events.CodeNotFound},
		"absent":                          {nil, events.CodeNotFound},
		"folder":                          {nil, events.CodeUnavailable},
		"env:CALLBOARD_TEST_SECRET":       {[]string{"from env", "second"}, ""},
		"env:CALLBOARD_TEST_ABSENT":       {nil, events.CodeNotFound},
		"file:" + elsewhere:               {[]string{"from file"}, ""},
		"file:" + elsewhere + "-absent":   {nil, events.CodeNotFound},
		"ssm:name":                        {nil, events.CodeInvalid},
		"secretsmanager:arn:aws:x:secret": {nil, events.CodeInvalid},
	} {
		got, err := secrets.Dir(dir).Values(t.Context(), name)
		if diff := cmp.Diff(test.want, got); diff != "" || events.ErrorCode(err) != test.code {
			t.Errorf("%s: error %v, want code %q; values (-want +got):\n%s", name, err, test.code, diff)
		}
	}
}

func TestValues_SeesARotation(t *testing.T) {
	t.Parallel()
	d := secrets.Dir(t.TempDir())
	for _, text := range []string{"old", "new\nold", "new"} {
		write(t, d.Path("hook"), text)
		got, err := d.Values(t.Context(), "hook")
		if err != nil || strings.Join(got, "\n") != text {
			t.Errorf("values %q, %v; want %q", got, err, text)
		}
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	d := secrets.Dir(filepath.Join(t.TempDir(), "state", "secrets"))
	seen := make(map[string]bool)
	for _, name := range []string{"a", "b", "deep/er"} {
		if err := d.Generate(name); err != nil {
			t.Fatal(err)
		}
		values, err := d.Values(t.Context(), name)
		if err != nil || len(values) != 1 || len(values[0]) < 43 || seen[values[0]] {
			t.Errorf("%s: values %q, %v; want one of 256 bits that no other secret has", name, values, err)
			continue
		}
		seen[values[0]] = true
		info, err := os.Stat(d.Path(name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: file %v, %v; want mode 0600", name, info, err)
		}
		folder, err := os.Stat(filepath.Dir(d.Path(name)))
		if err != nil || folder.Mode().Perm() != 0o700 {
			t.Errorf("%s: folder %v, %v; want mode 0700", name, folder, err)
		}
		if err := d.Generate(name); err != nil {
			t.Error(err)
		}
		if again, err := d.Values(t.Context(), name); err != nil || again[0] != values[0] {
			t.Errorf("%s: the secret was overwritten: %v", name, err)
		}
	}
	files, err := os.ReadDir(string(d))
	if err != nil || len(files) != 4 {
		t.Errorf("the folder holds %v, %v; want three secrets, the lock and no temporary file", files, err)
	}
}

func TestGenerate_LeavesReferencesAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"env:CALLBOARD_TEST_ABSENT", "file:" + filepath.Join(dir, "absent"), "ssm:name"} {
		if err := secrets.Dir(dir).Generate(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("the folder holds %v, %v; want nothing", files, err)
	}
}

func TestGenerate_FolderIsNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "x")
	if err := secrets.Dir(file).Generate("a"); events.ErrorCode(err) != events.CodeUnavailable {
		t.Errorf("error %v, want code %q", err, events.CodeUnavailable)
	}
}
