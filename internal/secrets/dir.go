// Package secrets reads secrets by name.
package secrets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/callboard/callboard/pkg/events"
)

// Dir keeps each secret in a file of a folder (mode 0600). A file may hold several live values, one a line. The
// references "env:<variable>" and "file:<path>" work wherever a name does.
type Dir string

// Values returns the live values of a secret. It fails with [events.CodeNotFound] if there is none.
func (d Dir) Values(_ context.Context, name string) ([]string, error) {
	kind, reference, isReference := strings.Cut(name, ":")
	if !isReference {
		return d.file(name, d.Path(name))
	}
	switch kind {
	case "env":
		return Parse(name, os.Getenv(reference))
	case "file":
		return d.file(name, reference)
	}
	return nil, events.Errorf(events.CodeInvalid, "secret %q: a reference of kind %q works in AWS only; here use a name, env: or file:", name, kind)
}

// Path is where the secret of that name is kept.
func (d Dir) Path(name string) string { return filepath.Join(string(d), filepath.FromSlash(name)) }

func (d Dir) file(name, path string) ([]string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path comes from the operator's configuration
	if errors.Is(err, fs.ErrNotExist) {
		return nil, events.Errorf(events.CodeNotFound, "secret %q does not exist: write its value to %s", name, path)
	}
	if err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "secret %q cannot be read", name)
	}
	return Parse(name, string(data))
}

// Parse returns the live values in the text of the secret with that name: one a line, without the spaces around them. A
// key in PEM, from its line "-----BEGIN …" to "-----END …", is one value. It fails with [events.CodeNotFound] where there
// is none.
func Parse(name, text string) ([]string, error) {
	var vs []string
	inside := false
	for line := range strings.Lines(text) {
		v := strings.TrimSpace(line)
		switch {
		case v == "":
		case inside:
			vs[len(vs)-1] += "\n" + v
		default:
			vs = append(vs, v)
			inside = strings.HasPrefix(v, "-----BEGIN ")
		}
		if strings.HasPrefix(v, "-----END ") {
			inside = false
		}
	}
	if len(vs) == 0 {
		return nil, events.Errorf(events.CodeNotFound, "secret %q has no value", name)
	}
	return vs, nil
}

// unfinished begins the name of a file that is being written.
const unfinished = ".new-"

// RemoveUnfinished removes what processes left behind that were killed while they wrote a secret.
func (d Dir) RemoveUnfinished() error {
	if _, err := os.Stat(string(d)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return d.alone(context.Background(), d.removeUnfinished)
}

func (d Dir) removeUnfinished() error {
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasPrefix(entry.Name(), unfinished) {
			return err
		}
		return root.Remove(filepath.FromSlash(name))
	})
	return errors.Join(err, root.Close())
}

// Generate gives the secret a random value of 256 bits if it does not exist, durably. References are left alone.
func (d Dir) Generate(name string) error {
	if strings.Contains(name, ":") {
		return nil
	}
	if _, err := os.Stat(d.Path(name)); err == nil {
		return nil
	}
	return d.alone(context.Background(), func() error {
		if _, err := os.Stat(d.Path(name)); err == nil {
			return nil
		}
		return d.Put(name, []string{New()})
	})
}

// Change replaces the live values of a secret, newest first and none if it does not exist, by what change makes of them.
// Changes of several processes happen one after the other. References fail with [events.CodeInvalid]: what they lead to
// is somebody else's.
func (d Dir) Change(ctx context.Context, name string, change func(values []string) ([]string, error)) error {
	if strings.Contains(name, ":") {
		return events.Errorf(events.CodeInvalid, "secret %q is a reference: change the value where it leads to", name)
	}
	return d.alone(ctx, func() error {
		old, err := d.Values(ctx, name)
		if err != nil && events.ErrorCode(err) != events.CodeNotFound {
			return err
		}
		values, err := change(old)
		if err != nil {
			return err
		}
		return d.Put(name, values)
	})
}

// lockFile is held by the process that changes secrets.
const lockFile = ".lock"

// errBusy says that another process has the lock.
var errBusy = errors.New("another process has the lock")

// alone runs do while no other process changes secrets. The lock goes with the process that has it.
func (d Dir) alone(ctx context.Context, do func() error) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return events.Wrap(err, events.CodeUnavailable, "the folder of secrets cannot be created")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		release, err := tryLock(filepath.Join(string(d), lockFile))
		if err == nil {
			return errors.Join(do(), release())
		}
		if !errors.Is(err, errBusy) {
			return events.Wrap(err, events.CodeUnavailable, "the folder of secrets cannot be locked")
		}
		select {
		case <-ctx.Done():
			return events.Wrap(ctx.Err(), events.CodeUnavailable, "another process is changing secrets; try again")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Put writes the live values of a secret, durably.
func (d Dir) Put(name string, values []string) error {
	path := d.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return events.Wrap(err, events.CodeUnavailable, "secret %q cannot be written", name)
	}
	// A half-written secret must never be taken for a whole one.
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+"*")
	if err != nil {
		return events.Wrap(err, events.CodeUnavailable, "secret %q cannot be written", name)
	}
	_, err = f.WriteString(stored(values))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return events.Wrap(err, events.CodeUnavailable, "secret %q cannot be written", name)
	}
	return nil
}

// syncDir makes the names in a folder durable.
func syncDir(path string) error {
	f, err := os.Open(path) //nolint:gosec // the path comes from the operator's configuration
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
