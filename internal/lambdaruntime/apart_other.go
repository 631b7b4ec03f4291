//go:build !unix

package lambdaruntime

import "os/exec"

// apart does nothing: only Unix sends signals to groups of processes.
func apart(*exec.Cmd) {}
