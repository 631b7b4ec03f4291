//go:build faults

package fault

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// module is where the functions are whose names matter.
const module = "github.com/callboard/callboard/"

// ignored are packages and types whose calls are no part of the path of an event: traces are written behind its back.
var ignored = []string{"embedded.Trace", "embedded.OpenTrace", "embedded.findHops"}

// watch is what the process was told to do.
type watch struct {
	mu    sync.Mutex
	log   *os.File // nil if nobody wants to know
	when  string   // "before", "after" or "" for never
	which string   // the call
	left  int      // how many more times it is made
}

var watching = sync.OnceValue(func() *watch {
	w := &watch{}
	if path := os.Getenv("CALLBOARD_FAULT_LOG"); path != "" {
		var err error
		if w.log, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil { // #nosec G304 -- the test that runs the process chose it
			panic(err)
		}
	}
	if order := os.Getenv("CALLBOARD_FAULT"); order != "" {
		words := strings.SplitN(order, " ", 3)
		if len(words) != 3 {
			panic("CALLBOARD_FAULT is not \"before|after NUMBER CALL\": " + order)
		}
		if _, err := fmt.Sscan(words[1], &w.left); err != nil || w.left < 1 {
			panic("CALLBOARD_FAULT has no number: " + order)
		}
		w.when, w.which = words[0], words[2]
	}
	return w
})

// Call is to be called before a call is made, and what it returns when it has been made.
func Call() (made func()) {
	name := caller()
	w := watching()
	if name == "" || !w.saw(name) {
		return func() {}
	}
	if w.when == "before" {
		die()
	}
	return die
}

// saw notes a call and tells whether it is the one to die at.
func (w *watch) saw(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.log != nil {
		if _, err := fmt.Fprintln(w.log, name); err != nil {
			panic(err)
		}
	}
	if name != w.which {
		return false
	}
	w.left--
	return w.left == 0
}

// die ends the process at once, and the caller with it.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// caller names what is called, the outermost method of the first type of ours on the stack that is not in a package
// which knows of faults but is no port itself, and who calls it.
func caller() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var port, method string
	for {
		frame, more := frames.Next()
		name, ours := strings.CutPrefix(frame.Function, module)
		if ours && !strings.HasPrefix(name, "internal/fault.") && !strings.HasPrefix(name, "internal/bolt.") {
			owner, rest := split(name)
			switch {
			case port == "":
				port, method = owner, rest
			case owner == port:
				method = rest
			default:
				return described(port, method, owner+"."+rest)
			}
		}
		if !more {
			return described(port, method, "")
		}
	}
}

func described(port, method, by string) string {
	name := port + "." + method
	for _, i := range ignored {
		if strings.HasPrefix(name, i) {
			return ""
		}
	}
	return strings.TrimSuffix(name+" by "+by, " by ")
}

// split makes "embedded.Queues" and "receive" of "internal/embedded.(*Queues).receive.func1".
func split(function string) (owner, method string) {
	parts := strings.Split(function[strings.LastIndex(function, "/")+1:], ".")
	if len(parts) > 2 && strings.HasPrefix(parts[1], "(*") {
		return parts[0] + "." + strings.Trim(parts[1], "(*)"), parts[2]
	}
	if len(parts) > 2 && !strings.HasPrefix(parts[2], "func") {
		return parts[0] + "." + parts[1], parts[2]
	}
	return parts[0], parts[1]
}
