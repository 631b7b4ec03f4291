//go:build !faults

package fault

// Call is to be called before a call is made, and what it returns when it has been made.
func Call() (made func()) { return nothing }

func nothing() {}
