package notificationsapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	notificationsapi "github.com/callboard/callboard/functions/notifications-api"
	"github.com/callboard/callboard/internal/auth"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/notifications"
)

// vault has secrets whose values are their names.
type vault struct{}

func (vault) Values(_ context.Context, name string) ([]string, error) { return []string{name}, nil }

// directory is a catalog with one group and one component that it owns.
type directory struct{}

func (directory) Members(_ context.Context, group catalog.Ref) ([]catalog.Ref, error) {
	if group.Name != "team" {
		return nil, nil
	}
	return []catalog.Ref{ref("user:ann"), ref("user:bob")}, nil
}

func (directory) Owners(_ context.Context, refs []catalog.Ref) (map[catalog.Ref][]catalog.Ref, error) {
	owners := map[catalog.Ref][]catalog.Ref{}
	for _, r := range refs {
		if r == ref("component:shop") {
			owners[r] = []catalog.Ref{ref("group:team")}
		}
	}
	return owners, nil
}

func ref(text string) catalog.Ref {
	r, err := catalog.ParseRef(text)
	if err != nil {
		panic(err)
	}
	return r
}

type api struct {
	t *testing.T
	h *notificationsapi.Handler
}

func open(t *testing.T) *api {
	t.Helper()
	tab := boltdbtest.Open(t, time.Now)
	return &api{t, &notificationsapi.Handler{
		Auth: &auth.Authenticator{
			Tokens: []config.Token{
				{Secret: "ann", Subject: "user:default/ann", May: []string{auth.NotificationsRead}},
				{Secret: "bob", Subject: "User:Bob", May: []string{auth.NotificationsRead}},
				{Secret: "ci", Subject: "ci", May: []string{auth.NotificationsSend}},
				{Secret: "cd", Subject: "cd", May: []string{auth.NotificationsSend, auth.NotificationsRead}},
			},
			Secrets: vault{},
		},
		Inbox:   &inbox.Inbox{Table: tab, Now: time.Now},
		Catalog: directory{},
	}}
}

// call sends a request through the JSON of an invocation and decodes the body of the answer into result.
func (a *api) call(token, method, target, body string, result any, headers ...string) httpapi.Response {
	a.t.Helper()
	path, query, _ := strings.Cut(target, "?")
	all := map[string]string{"authorization": "Bearer " + token}
	if body != "" {
		all["content-type"] = "application/json"
	}
	for pair := range slices.Chunk(headers, 2) {
		all[pair[0]] = pair[1]
	}
	invocation, err := json.Marshal(map[string]any{
		"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": all, "body": body, "isBase64Encoded": false,
		"requestContext": map[string]any{"http": map[string]any{"method": method, "path": path}},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	answer, err := a.h.Invoke(a.t.Context(), invocation)
	if err != nil {
		a.t.Fatal(err)
	}
	var response httpapi.Response
	if err := json.Unmarshal(answer, &response); err != nil {
		a.t.Fatal(err)
	}
	if result != nil {
		if response.StatusCode != http.StatusOK {
			a.t.Fatalf("%s %s: %d %s, want 200", method, target, response.StatusCode, response.Body)
		}
		if err := json.Unmarshal([]byte(response.Body), result); err != nil {
			a.t.Fatalf("%s %s: %v in %s", method, target, err, response.Body)
		}
	}
	return response
}

// message is what tests look at of a notification.
type message struct {
	ID      string                `json:"id"`
	User    string                `json:"user"`
	Origin  string                `json:"origin"`
	Read    *string               `json:"read"`
	Saved   *string               `json:"saved"`
	Payload notifications.Payload `json:"payload"`
}

type messages struct {
	TotalCount    int       `json:"totalCount"`
	Notifications []message `json:"notifications"`
}

func (m messages) titles() string {
	var titles []string
	for _, n := range m.Notifications {
		titles = append(titles, n.Payload.Title)
	}
	return strings.Join(titles, " ")
}

func (a *api) send(to, title string) []message {
	a.t.Helper()
	var sent []message
	a.call("ci", "POST", "/notifications", fmt.Sprintf(`{"recipients":{"type":"entity","entityRef":%q},"payload":{"title":%q}}`, to, title), &sent)
	return sent
}

func TestBothBasesAndAliases(t *testing.T) {
	t.Parallel()
	a := open(t)
	id := a.send("user:ann", "hello")[0].ID
	for _, base := range []string{"/notifications", "/api/notifications"} {
		for _, path := range []string{base, base + "/", base + "/notifications", base + "/notifications?limit=5"} {
			var list messages
			a.call("ann", "GET", path, "", &list)
			if list.TotalCount != 1 || list.titles() != "hello" {
				t.Errorf("GET %s: %+v, want the one notification", path, list)
			}
		}
		for _, path := range []string{base + "/" + id, base + "/notifications/" + id} {
			var one message
			a.call("ann", "GET", path, "", &one)
			if one.ID != id {
				t.Errorf("GET %s: %+v, want the notification", path, one)
			}
		}
		for _, path := range []string{base + "/update", base + "/notifications/update"} {
			var marked []message
			a.call("ann", "POST", path, `{"ids":["`+id+`"],"read":true}`, &marked)
			if len(marked) != 1 || marked[0].Read == nil || marked[0].Saved != nil {
				t.Errorf("POST %s: %+v, want it to be read", path, marked)
			}
		}
		var status inbox.Status
		a.call("ann", "GET", base+"/status", "", &status)
		if diff := cmp.Diff(inbox.Status{Read: 1}, status); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		for _, path := range []string{base, base + "/notifications"} {
			var sent []message
			a.call("ci", "POST", path, `{"recipients":{"type":"entity","entityRef":"group:empty"},"payload":{"title":"t"}}`, &sent)
			if len(sent) != 0 {
				t.Errorf("POST %s to nobody: %+v", path, sent)
			}
		}
	}
}

func TestReadShape(t *testing.T) {
	t.Parallel()
	a := open(t)
	created := time.Now().UTC().Truncate(time.Hour)
	a.h.Inbox.Now = func() time.Time { return created }
	n := a.send("user:ann", "hello")[0]
	want := fmt.Sprintf(`{"notifications":[{"id":%q,"user":"user:default/ann","created":%q,"saved":null,"read":null,"updated":null,"origin":"ci",`+
		`"payload":{"title":"hello","description":null,"link":null,"severity":"normal","topic":null,"scope":null,"icon":null}}],"totalCount":1}`, n.ID, created.Format("2006-01-02T15:04:05.000Z"))
	var got, expected any
	if err := json.Unmarshal([]byte(a.call("ann", "GET", "/notifications", "", nil).Body), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if got := a.call("bob", "GET", "/notifications", "", nil).Body; got != `{"totalCount":0,"notifications":[]}` {
		t.Errorf("the empty list is %s", got)
	}
}

func TestTheSubjectDecidesWhoseInbox(t *testing.T) {
	t.Parallel()
	a := open(t)
	ann := a.send("user:ann", "for ann")[0]
	a.send("user:default/bob", "for bob")
	for token, want := range map[string]string{"ann": "for ann", "bob": "for bob"} {
		var list messages
		a.call(token, "GET", "/notifications", "", &list)
		if list.titles() != want {
			t.Errorf("%s sees %q, want %q", token, list.titles(), want)
		}
	}
	if got := a.call("bob", "GET", "/notifications/"+ann.ID, "", nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("the notification of somebody else: %d, want 404", got.StatusCode)
	}
	var marked []message
	a.call("bob", "POST", "/notifications/update", `{"ids":["`+ann.ID+`"],"read":true}`, &marked)
	var status inbox.Status
	a.call("ann", "GET", "/notifications/status", "", &status)
	if len(marked) != 0 || status.Unread != 1 {
		t.Errorf("bob marked %+v, and ann's status is %+v", marked, status)
	}
}

func TestListParameters(t *testing.T) {
	t.Parallel()
	a := open(t)
	for _, p := range []string{`{"title":"a","severity":"low","topic":"t"}`, `{"title":"b","severity":"critical"}`, `{"title":"c","description":"Needle"}`} {
		a.call("ci", "POST", "/notifications", `{"recipients":{"type":"entity","entityRef":"user:ann"},"payload":`+p+`}`, &[]message{})
	}
	for query, want := range map[string]string{
		"": "c b a", "limit=2": "c b", "offset=1": "b a", "offset=1&limit=1": "b", "limit=0": "", "topic=t": "a", "search=needle": "c",
		"read=false": "c b a", "read=true": "", "saved=false": "c b a", "minimumSeverity=normal": "c b", "orderField=title": "a b c",
		"orderField=created,desc": "c b a", "orderField=severity,desc&orderField=title": "a c b", "createdAfter=2999-01-01": "",
		"createdAfter=2000-01-01T00%3A00%3A00.000Z": "c b a",
	} {
		var list messages
		a.call("ann", "GET", "/notifications?"+query, "", &list)
		if list.titles() != want {
			t.Errorf("%q lists %q, want %q", query, list.titles(), want)
		}
	}
}

func TestListIsLimited(t *testing.T) {
	t.Parallel()
	a := open(t)
	for i := range 51 {
		a.send("user:ann", fmt.Sprint(i))
	}
	var list messages
	a.call("ann", "GET", "/notifications", "", &list)
	if len(list.Notifications) != 50 || list.TotalCount != 51 {
		t.Errorf("%d notifications of %d, want 50 of 51", len(list.Notifications), list.TotalCount)
	}
}

func TestAnswerThatIsTooLarge(t *testing.T) {
	t.Parallel()
	a := open(t)
	p := notifications.Payload{Title: "t", Description: strings.Repeat("\x01", notifications.MaxDescription)}
	for range 25 {
		if _, _, err := a.h.Inbox.Store(t.Context(), inbox.Message{User: ref("user:ann"), Payload: p}); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.call("ann", "GET", "/notifications", "", nil); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Body, "'limit'") {
		t.Errorf("got %d %.200s, want a hint at limit", got.StatusCode, got.Body)
	}
	if got := a.call("ann", "GET", "/notifications?limit=10", "", nil); got.StatusCode != http.StatusOK {
		t.Errorf("fewer: %d, want 200", got.StatusCode)
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	a := open(t)
	for _, tc := range []struct {
		name, recipients string
		want             string
	}{
		{"a user", `{"type":"entity","entityRef":"User:Ann"}`, "user:default/ann"},
		{"several", `{"type":"entity","entityRef":["user:zoe","group:team","user:ann"]}`, "user:default/ann user:default/bob user:default/zoe"},
		{"owners", `{"type":"entity","entityRef":"component:shop"}`, "user:default/ann user:default/bob"},
		{"but one", `{"type":"entity","entityRef":"group:team","excludeEntityRef":"User:ann"}`, "user:default/bob"},
		{"nobody", `{"type":"entity","entityRef":[]}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := &api{t, a.h}
			var sent []message
			a.call("ci", "POST", "/notifications", `{"recipients":`+tc.recipients+`,"payload":{"title":"t","metadata":{"k":1},"other":true},"other":1}`, &sent)
			var users []string
			for _, n := range sent {
				users = append(users, n.User)
				if n.Origin != "ci" || string(n.Payload.Metadata) != `{"k":1}` {
					t.Errorf("sent %+v, want the subject of the token as origin and the metadata", n)
				}
			}
			if got := strings.Join(users, " "); got != tc.want {
				t.Errorf("it went to %q, want %q", got, tc.want)
			}
		})
	}
}

func TestScopeReplaces(t *testing.T) {
	t.Parallel()
	a := open(t)
	body := `{"recipients":{"type":"entity","entityRef":"user:ann"},"payload":{"title":"%s","scope":"s"}}`
	for _, title := range []string{"one", "two"} {
		a.call("ci", "POST", "/notifications", fmt.Sprintf(body, title), &[]message{})
	}
	a.call("cd", "POST", "/notifications", fmt.Sprintf(body, "other origin"), &[]message{})
	var list messages
	a.call("ann", "GET", "/notifications", "", &list)
	if list.titles() != "other origin two" {
		t.Errorf("the list is %q, want the second to replace the first", list.titles())
	}
}

// tired is a table that fails after some transactions.
type tired struct {
	table.Table
	left chan struct{}
}

func (f tired) Transact(ctx context.Context, ops ...table.Op) error {
	select {
	case <-f.left:
		return f.Table.Transact(ctx, ops...)
	default:
		return errors.New("out of order: secret detail")
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	a := open(t)
	const body = `{"recipients":{"type":"entity","entityRef":"group:team"},"payload":{"title":"t"}}`
	sound := a.h.Inbox.Table
	left := make(chan struct{}, 1)
	left <- struct{}{} // enough for one of two users
	a.h.Inbox.Table = tired{sound, left}
	if got := a.call("ci", "POST", "/notifications", body, nil, "idempotency-key", "k"); got.StatusCode != http.StatusInternalServerError || strings.Contains(got.Body, "secret") {
		t.Errorf("while the table fails: %d %s, want 500 without details", got.StatusCode, got.Body)
	}
	a.h.Inbox.Table = sound

	var first, second []message
	a.call("ci", "POST", "/notifications", body, &first, "idempotency-key", "k")
	a.call("ci", "POST", "/notifications", body, &second, "idempotency-key", "k")
	if diff := cmp.Diff(first, second); diff != "" || len(first) != 2 {
		t.Errorf("the same request answers differently (-first +second):\n%s", diff)
	}
	count := func() int {
		var list messages
		a.call("ann", "GET", "/notifications", "", &list)
		return list.TotalCount
	}
	if got := count(); got != 1 {
		t.Errorf("%d notifications after three tries with one key, want 1", got)
	}
	a.call("ci", "POST", "/notifications", body, &second, "idempotency-key", "other")
	a.call("cd", "POST", "/notifications", body, &second, "idempotency-key", "k")
	a.call("ci", "POST", "/notifications", body, &second)
	a.call("ci", "POST", "/notifications", body, &second)
	if got := count(); got != 5 {
		t.Errorf("%d notifications after another key, another sender and twice without a key, want 5", got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	a := open(t)
	const valid = `{"recipients":{"type":"entity","entityRef":"user:ann"},"payload":{"title":"t"}}`
	payload := func(p string) string {
		return `{"recipients":{"type":"entity","entityRef":"user:ann"},"payload":` + p + `}`
	}
	recipients := func(r string) string { return `{"recipients":` + r + `,"payload":{"title":"t"}}` }
	for _, tc := range []struct {
		name, token, method, target, body string
		headers                           []string
		status                            int
		message                           string
	}{
		{"no token", "", "GET", "/notifications", "", nil, 401, "Missing credentials"},
		{"unknown token", "eve", "GET", "/notifications", "", nil, 401, "not known"},
		{"no right to read", "ci", "GET", "/notifications", "", nil, 403, "notifications.read"},
		{"no right to send", "ann", "POST", "/notifications", valid, nil, 403, "notifications.send"},
		{"a service has no inbox", "cd", "GET", "/notifications/status", "", nil, 403, "does not allow 'service' credentials"},
		{"unknown path", "ann", "GET", "/notifications/a/b", "", nil, 404, "nothing at this address"},
		{"other plugin", "ann", "GET", "/notificationsx", "", nil, 404, "nothing at this address"},
		{"half a base", "ann", "GET", "/api", "", nil, 404, "nothing at this address"},
		{"unknown id", "ann", "GET", "/notifications/018e0000-0000-7000-8000-000000000000", "", nil, 404, "no such notification"},
		{"status is an id there", "ann", "GET", "/notifications/notifications/status", "", nil, 404, "no such notification"},
		{"method", "ann", "DELETE", "/notifications", "", nil, 405, "use GET, POST"},
		{"method of update", "ann", "GET", "/notifications/update", "", nil, 405, "use POST"},
		{"method of one", "ann", "POST", "/notifications/x", "", nil, 405, "use GET"},

		{"unknown parameter", "ann", "GET", "/notifications?foo=1", "", nil, 400, "Unknown query parameter 'foo'"},
		{"parameter of status", "ann", "GET", "/notifications/status?limit=1", "", nil, 400, "Unknown query parameter 'limit'"},
		{"parameter of send", "ci", "POST", "/notifications?limit=1", valid, nil, 400, "Unknown query parameter 'limit'"},
		{"empty parameter", "ann", "GET", "/notifications?limit=", "", nil, 400, "Empty value found for query parameter 'limit'"},
		{"repeated parameter", "ann", "GET", "/notifications?topic=a&topic=b", "", nil, 400, "request/query/topic must not be repeated"},
		{"broken query", "ann", "GET", "/notifications?topic=%zz", "", nil, 400, "query of the address"},
		{"query that is no text", "ann", "GET", "/notifications/status?%fd=1", "", nil, 400, "query of the address"},
		{"limit", "ann", "GET", "/notifications?limit=x", "", nil, 400, "request/query/limit must be integer"},
		{"negative limit", "ann", "GET", "/notifications?limit=-1", "", nil, 400, "request/query/limit must be >= 0"},
		{"large limit", "ann", "GET", "/notifications?limit=501", "", nil, 400, "request/query/limit must be <= 500"},
		{"offset", "ann", "GET", "/notifications?offset=99999999999999999999", "", nil, 400, "request/query/offset must be integer"},
		{"read", "ann", "GET", "/notifications?read=1", "", nil, 400, "request/query/read must be equal to one of the allowed values: true, false"},
		{"saved", "ann", "GET", "/notifications?saved=True", "", nil, 400, "request/query/saved must be"},
		{"severity", "ann", "GET", "/notifications?minimumSeverity=HIGH", "", nil, 400, "request/query/minimumSeverity must be"},
		{"date", "ann", "GET", "/notifications?createdAfter=soon", "", nil, 400, "Unexpected date format"},
		{"order", "ann", "GET", "/notifications?orderField=payload.title", "", nil, 400, "order field"},

		{"no body", "ci", "POST", "/notifications", "", nil, 415, "unsupported media type"},
		{"media type", "ci", "POST", "/notifications", valid, []string{"content-type", "text/plain"}, 415, "text/plain"},
		{"large body", "ci", "POST", "/notifications", strings.Repeat(" ", 1<<20) + valid, nil, 413, "at most 1048576"},
		{"not JSON", "ci", "POST", "/notifications", `{"a":}`, nil, 400, "not JSON"},
		{"not an object", "ci", "POST", "/notifications", `[]`, nil, 400, "request/body must be object"},
		{"null", "ci", "POST", "/notifications", `null`, nil, 400, "request/body must be object"},
		{"no recipients", "ci", "POST", "/notifications", `{"payload":{"title":"t"}}`, nil, 400, "request/body must have required property 'recipients'"},
		{"no payload", "ci", "POST", "/notifications", `{"recipients":{"type":"entity","entityRef":"user:ann"}}`, nil, 400, "request/body must have required property 'payload'"},
		{"no entityRef", "ci", "POST", "/notifications", recipients(`{"type":"entity"}`), nil, 400, "request/body/recipients must have required property 'entityRef'"},
		{"recipients of another type", "ci", "POST", "/notifications", recipients(`"user:ann"`), nil, 400, "request/body/recipients must be object"},
		{"entityRef of another type", "ci", "POST", "/notifications", recipients(`{"type":"entity","entityRef":7}`), nil, 400, "request/body/recipients/entityRef: it must be a string or an array of strings"},
		{"entityRef without kind", "ci", "POST", "/notifications", recipients(`{"type":"entity","entityRef":["ann"]}`), nil, 400, "request/body/recipients/entityRef: the entity reference \\\"ann\\\" has no kind"},
		{"broadcast", "ci", "POST", "/notifications", recipients(`{"type":"broadcast"}`), nil, 400, "Broadcasts are not supported yet"},
		{"other type", "ci", "POST", "/notifications", recipients(`{"type":"all"}`), nil, 400, "request/body/recipients/type must be 'entity'"},
		{"no title", "ci", "POST", "/notifications", payload(`{}`), nil, 400, "payload.title is missing"},
		{"title of another type", "ci", "POST", "/notifications", payload(`{"title":1}`), nil, 400, "request/body/payload/title must be string"},
		{"link", "ci", "POST", "/notifications", payload(`{"title":"t","link":"//evil.example"}`), nil, 400, "payload.link begins with two slashes"},
		{"empty key", "ci", "POST", "/notifications", valid, []string{"idempotency-key", ""}, 400, "Idempotency-Key"},
		{"long key", "ci", "POST", "/notifications", valid, []string{"idempotency-key", strings.Repeat("k", 256)}, 400, "Idempotency-Key"},

		{"no ids", "ann", "POST", "/notifications/update", `{"read":true}`, nil, 400, "request/body must have required property 'ids'"},
		{"ids of another type", "ann", "POST", "/notifications/update", `{"ids":"x"}`, nil, 400, "request/body/ids must be array"},
		{"an id of another type", "ann", "POST", "/notifications/update", `{"ids":[1]}`, nil, 400, "request/body/ids/0 must be string"},
		{"read of another type", "ann", "POST", "/notifications/update", `{"ids":[],"read":"yes"}`, nil, 400, "request/body/read must be boolean"},
		{"many ids", "ann", "POST", "/notifications/update", `{"ids":[` + strings.Repeat(`"x",`, 1000) + `"x"]}`, nil, 400, "at most 1000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := (&api{t, a.h}).call(tc.token, tc.method, tc.target, tc.body, nil, tc.headers...)
			if got.StatusCode != tc.status || !strings.Contains(got.Body, tc.message) {
				t.Errorf("got %d %s, want %d with %q", got.StatusCode, got.Body, tc.status, tc.message)
			}
			if allow, want := got.Headers["allow"], tc.status == http.StatusMethodNotAllowed; (allow != "") != want {
				t.Errorf("the allow header is %q", allow)
			}
		})
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("GET", "/notifications", "limit=1&read=true", "")
	f.Add("POST", "/api/notifications/update", "", `{"ids":["x"],"read":null}`)
	f.Add("POST", "/notifications/notifications", "", `{"recipients":{"type":"entity","entityRef":["user:a"]},"payload":{"title":"t"}}`)
	tab := boltdbtest.Open(f, time.Now)
	h := &notificationsapi.Handler{
		Auth: &auth.Authenticator{
			Tokens:  []config.Token{{Secret: "t", Subject: "user:default/a", May: []string{auth.NotificationsRead, auth.NotificationsSend}}},
			Secrets: vault{},
		},
		Inbox: &inbox.Inbox{Table: tab, Now: time.Now}, Catalog: directory{},
	}
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		_, err := h.Handle(t.Context(), &httpapi.Request{
			Method: method, Path: path, RawQuery: query, Body: []byte(body),
			Headers: map[string]string{"authorization": "Bearer t", "content-type": "application/json"},
		})
		if err != nil && httpapi.Error(err).StatusCode >= http.StatusInternalServerError {
			t.Errorf("%s %q ? %q with %q: %v, want no request to be our failure", method, path, query, body, err)
		}
	})
}
