// Package blob keeps blobs, named pieces of bytes, in a folder of the file system.
package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/fault"
	"github.com/callboard/callboard/pkg/events"
)

// tempPrefix begins the names of files that are not complete. No part of a key begins with a dot.
const tempPrefix = ".tmp-"

const (
	maxKey  = 1024 // bytes of a key, as in S3
	maxPart = 200  // bytes of a part; file systems take names of 255
)

// Dir is a blob store in a folder. It may be used by many goroutines at once.
//
// A key is a relative path like "entities/ab12/1": parts of letters, digits, ".", "_" and "-" that do not begin
// with a dot, separated by "/". On a file system that takes "A" and "a" for one name, so does Dir.
type Dir struct {
	root *os.Root
}

// Open opens the blob store in the folder at path, which it creates, with mode 0700, where there is none. What
// an interrupted Put left behind is removed; no other process may therefore use the folder.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, events.Wrap(err, events.CodeInternal, "the blob folder %s cannot be created", path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, events.Wrap(err, events.CodeInternal, "the blob folder %s cannot be opened", path)
	}
	if err := removeTemporary(root); err != nil {
		return nil, events.Wrap(errors.Join(err, root.Close()), events.CodeInternal, "the blob folder %s cannot be cleaned up", path)
	}
	return &Dir{root: root}, nil
}

func removeTemporary(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasPrefix(entry.Name(), tempPrefix) {
			return err
		}
		return root.Remove(filepath.FromSlash(name))
	})
}

// Close closes the store. Nothing else may be called after it.
func (d *Dir) Close() error { return d.root.Close() }

// Put stores data under key, in place of what was there. When it returns the blob is on the disk; before, readers
// see the old one.
func (d *Dir) Put(ctx context.Context, key string, data []byte) error {
	defer fault.Call()()
	name, err := fileName(ctx, key)
	if err != nil {
		return err
	}
	folder := filepath.Dir(name)
	if err := d.root.MkdirAll(folder, 0o700); err != nil {
		return failed(err, "stored", key)
	}
	temp := filepath.Join(folder, tempPrefix+rand.Text())
	if err := d.write(temp, data); err != nil {
		return failed(errors.Join(err, d.remove(temp)), "stored", key)
	}
	if err := d.root.Rename(temp, name); err != nil {
		return failed(errors.Join(err, d.remove(temp)), "stored", key)
	}
	// Every folder on the way may be new, perhaps made by another Put that has not come so far.
	for {
		if err := d.sync(folder); err != nil {
			return failed(err, "stored", key)
		}
		if folder == "." {
			return nil
		}
		folder = filepath.Dir(folder)
	}
}

// Get returns the blob under key, or an error with [events.CodeNotFound].
func (d *Dir) Get(ctx context.Context, key string) ([]byte, error) {
	defer fault.Call()()
	name, err := fileName(ctx, key)
	if err != nil {
		return nil, err
	}
	data, err := d.root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, events.Wrap(err, events.CodeNotFound, "there is no blob %s", key)
	}
	if err != nil {
		return nil, failed(err, "read", key)
	}
	return data, nil
}

// Delete removes the blob under key, if there is one.
func (d *Dir) Delete(ctx context.Context, key string) error {
	defer fault.Call()()
	name, err := fileName(ctx, key)
	if err != nil {
		return err
	}
	err = d.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = d.sync(filepath.Dir(name))
	}
	if err != nil {
		return failed(err, "deleted", key)
	}
	return nil
}

// Older returns the keys that begin with a prefix, which ends with "/", of the blobs that were stored before a time.
func (d *Dir) Older(prefix string, than time.Time) (keys []string, err error) {
	err = fs.WalkDir(d.root.FS(), strings.TrimSuffix(prefix, "/"), func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // there is no such folder, or the blob was deleted meanwhile
			return nil
		}
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, fileEnd) {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.ModTime().Before(than) {
			keys = append(keys, strings.TrimSuffix(name, fileEnd))
		}
		return err
	})
	if err != nil {
		return nil, events.Wrap(err, events.CodeUnavailable, "the blobs below %s cannot be listed", prefix)
	}
	return keys, nil
}

// write makes a new file and brings its content to the disk.
func (d *Dir) write(name string, data []byte) error {
	file, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(file.Sync(), file.Close())
}

func (d *Dir) remove(name string) error {
	if err := d.root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sync brings the names in a folder to the disk.
func (d *Dir) sync(folder string) error {
	file, err := d.root.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// fileEnd ends the names of files. No key has the character, so that "a" and "a/b" can both be keys.
const fileEnd = "@"

// fileName checks ctx and key and returns the name of the key's file.
func fileName(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := ValidateKey(key); err != nil {
		return "", err
	}
	return filepath.FromSlash(key) + fileEnd, nil
}

// ValidateKey returns an error with [events.CodeInvalid] where a key is not allowed; see [Dir].
func ValidateKey(key string) error {
	if len(key) > maxKey {
		return events.Errorf(events.CodeInvalid, "the blob key has %d bytes; at most %d are allowed", len(key), maxKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part[0] == '.' || len(part) > maxPart || strings.ContainsFunc(part, isForbidden) {
			return events.Errorf(events.CodeInvalid, "the blob key %q is not allowed: its parts, separated by /, "+
				"consist of 1 to %d letters, digits, '.', '_' and '-' and do not begin with a dot", key, maxPart)
		}
	}
	return nil
}

func isForbidden(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
}

func failed(err error, what, key string) error {
	return events.Wrap(err, events.CodeUnavailable, "the blob %s cannot be %s", key, what)
}
