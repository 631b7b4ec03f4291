package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/events"
)

// padded is a JSON document with so much space behind it.
func padded(document []byte, n int) []byte {
	return append(bytes.Clone(document), bytes.Repeat([]byte(" "), n)...)
}

// sized is a frob of n bytes, and the title of the notification about it. What is smaller than any frob has no type, so
// that nobody is told.
func sized(n int) (body []byte, title string) {
	const begin, end = `{"type":"size","text":"`, `"}`
	text := n - len(begin+end)
	switch {
	case text >= 0:
		return []byte(begin + strings.Repeat("x", text) + end), fmt.Sprint("size ", text)
	case n >= 2:
		return padded([]byte("{}"), n-2), ""
	default:
		return []byte("1")[:n], ""
	}
}

// Webhooks of every size that one invocation carries reach their subscriber whole, and once. What is larger, and what is
// nothing, is refused at the door.
func TestSizeLadder(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	want := map[string]int{}
	for _, rung := range []struct{ bytes, status int }{
		{0, 400},
		{1, 202},
		{2, 202},
		{25, 202},
		{100, 202},
		{1_000, 202},
		{1 << 10, 202},
		{8 << 10, 202},
		{1<<16 - 1, 202},
		{1 << 16, 202},
		{1<<16 + 1, 202},
		{100_000, 202},
		{200_000, 202},
		// Around the size of a message: from here on the payload goes into the bucket.
		{events.MaxMessageSize - 1000, 202},
		{events.MaxMessageSize - 500, 202},
		{events.MaxMessageSize - 1, 202},
		{events.MaxMessageSize, 202},
		{events.MaxMessageSize + 1, 202},
		{500_000, 202},
		{events.MaxSQSMessageSize - 1, 202},
		{events.MaxSQSMessageSize, 202},
		{events.MaxSQSMessageSize + 1, 202},
		{2_000_000, 202},
		{3_000_000, 202},
		{4_000_000, 202},
		{5_000_000, 202},
		{5_100_000, 202},
		{6_000_000, 202},
		{6_280_000, 202},
		// An invocation carries more than its body, so the gateway may refuse a little less than this.
		{events.MaxPayloadSize + 1, 413},
		{7_000_000, 413},
		{10 << 20, 413},
	} {
		body, title := sized(rung.bytes)
		if len(body) != rung.bytes {
			t.Fatalf("the body has %d bytes, want %d", len(body), rung.bytes)
		}
		response, answer := p.Do(t, http.MethodPost, "/events/http/frobs", p.frob(t, fmt.Sprint("size-", rung.bytes), body), body)
		if response.StatusCode != rung.status {
			t.Errorf("%d bytes are answered %s %.200s, want %d", rung.bytes, response.Status, answer, rung.status)
		}
		if rung.status == http.StatusAccepted && title != "" {
			want[title] = 1
		}
	}
	p.Settle(t)
	got := p.titles(t, "guest-token")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
}

// A large webhook that is sent as a form arrives like any other, and so does one with everything that JSON and messages
// escape.
func TestLargeForms(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	text := strings.Repeat(`a\"b\\c\n<ä €>\u0000\ud83d\ude00`+"\uffff", 30_000)
	body := []byte(`{"type":"size","text":"` + text + `"}`)
	want := map[string]int{fmt.Sprint("size ", 30_000*len([]rune("a\"b\\c\n<ä €>\x00😀\uffff"))): 1}
	response, answer := p.Do(t, http.MethodPost, "/events/http/frobs", p.frob(t, "escapes", body), body)
	if response.StatusCode != http.StatusAccepted {
		t.Errorf("escapes are answered %s %s", response.Status, answer)
	}
	document, title := sized(1_000_000)
	form := append([]byte("payload="), strings.ReplaceAll(string(document), `"`, "%22")...)
	headers := p.frob(t, "form", form)
	headers["Content-Type"] = "application/x-www-form-urlencoded"
	response, answer = p.Do(t, http.MethodPost, "/events/http/frobs", headers, form)
	if response.StatusCode != http.StatusAccepted {
		t.Errorf("a form is answered %s %s", response.Status, answer)
	}
	want[title] = 1
	p.Settle(t)
	if diff := cmp.Diff(want, p.titles(t, "guest-token")); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
}

// Every header that the topic allows arrives, however many there are, with a payload in the message and in the bucket.
func TestHeaderLadder(t *testing.T) {
	t.Parallel()
	p := Start(t, config, "")
	want := map[string]int{}
	for _, rung := range []struct{ headers, bytes, more int }{
		{0, 0, 0},
		{1, 10, 0},
		{2, 10, 0},
		{3, 10, 0},
		{6, 10, 0},
		{7, 10, 0},
		{8, 10, 0},
		{9, 10, 0},
		{10, 10, 0},
		{11, 10, 0},
		{20, 10, 0},
		{40, 10, 0},
		{40, 200, 0},
		{40, 200, events.MaxMessageSize},
		{0, 0, events.MaxMessageSize},
	} {
		n := fmt.Sprintf("%d-%d-%d", rung.headers, rung.bytes, rung.more)
		body := padded(fmt.Appendf(nil, `{"type":"headers","n":%q,"bytes":%d}`, n, rung.bytes), rung.more)
		headers := p.frob(t, n, body)
		for i := range rung.headers {
			headers[fmt.Sprintf("X-Frobs-%02d", i)] = strings.Repeat("x", rung.bytes)
		}
		withOthers := maps.Clone(headers)
		for i := range 10 { // which the topic does not allow
			withOthers[fmt.Sprintf("X-Other-%02d", i)] = "value"
		}
		response, answer := p.Do(t, http.MethodPost, "/events/http/frobs", withOthers, body)
		if response.StatusCode != http.StatusAccepted {
			t.Errorf("%d headers of %d bytes are answered %s %s", rung.headers, rung.bytes, response.Status, answer)
		}
		// The delivery id is one of the headers that the topic allows.
		want[fmt.Sprintf("headers %s: %d, %d as long", n, rung.headers+1, rung.headers)] = 1
	}
	p.Settle(t)
	if diff := cmp.Diff(want, p.titles(t, "guest-token")); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
}
