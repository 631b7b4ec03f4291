package secrets

import (
	"errors"
	"syscall"
)

// errorSharingViolation is ERROR_SHARING_VIOLATION
// (https://learn.microsoft.com/en-us/windows/win32/debug/system-error-codes--0-499-).
const errorSharingViolation = syscall.Errno(32)

// tryLock takes the lock that a file is, or fails with errBusy. Release gives it back.
func tryLock(path string) (release func() error, err error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	// Whom nothing is shared with has the file alone.
	h, err := syscall.CreateFile(name, syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errorSharingViolation) {
		return nil, errBusy
	}
	if err != nil {
		return nil, err
	}
	return func() error { return syscall.CloseHandle(h) }, nil
}
