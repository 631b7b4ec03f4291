package events

import "strings"

// ValidTraceParent tells whether s names a trace and a span in version 00 of the W3C trace context. Ids of zeros only name
// nothing (https://www.w3.org/TR/trace-context/#traceparent-header-field-values).
func ValidTraceParent(s string) bool {
	parts := strings.Split(s, "-")
	return len(parts) == 4 && parts[0] == "00" && isID(parts[1], 32) && isID(parts[2], 16) && isHex(parts[3], 2)
}

func isID(s string, digits int) bool { return isHex(s, digits) && strings.Trim(s, "0") != "" }

func isHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}
