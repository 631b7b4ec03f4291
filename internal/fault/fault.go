// Package fault is where a call to something that lasts can be watched and the process be killed: before the call and
// after it. It does nothing but in a program that is built with the tag "faults", which only tests do.
//
// Such a program knows two variables. CALLBOARD_FAULT_LOG names a file to which every call is written, a line each:
// what is called and who calls it. CALLBOARD_FAULT is "before" or "after", a number and such a line: the process
// kills itself, as kill -9 does, when that call is made for that many times.
package fault
