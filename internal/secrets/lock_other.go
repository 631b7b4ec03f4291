//go:build !windows

package secrets

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock that a file is, or fails with errBusy. Release gives it back.
func tryLock(path string) (release func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the folder comes from the operator
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errBusy
		}
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
