//go:build unix

package lambdaruntime

import (
	"os/exec"
	"syscall"
)

// apart keeps Ctrl-C at the terminal from the process: who runs it works off its queues first.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
