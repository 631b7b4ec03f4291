package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
	"github.com/callboard/callboard/internal/table"
	engine "github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/pkg/events"
)

// stub answers requests to DynamoDB as told and records them. What it stands for is what the services of the
// conformance suite do not do: refuse, answer in part and fall silent.
type stub struct {
	mu       sync.Mutex
	requests []call
	answer   func(n int, c call) (status int, body string) // n counts from 1
}

type call struct {
	Operation string
	Body      map[string]any
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c := call{Operation: operation}
	err := json.UnmarshalRead(r.Body, &c.Body)
	s.mu.Lock()
	s.requests = append(s.requests, c)
	n := len(s.requests)
	s.mu.Unlock()
	status, body := http.StatusBadRequest, fmt.Sprintf(`{"__type":"SerializationException","message":%q}`, fmt.Sprint(err))
	if err == nil {
		status, body = s.answer(n, c)
	}
	if status == 0 { // the answer gets lost
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (s *stub) calls() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func stubbed(t *testing.T, answer func(n int, c call) (int, string)) (*engine.Table, *stub) {
	t.Helper()
	s := &stub{answer: answer}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	cfg := awsclient.With(awsclienttest.Config(t, server.URL), awsclient.Budget{Attempts: 3, Timeout: 2 * time.Minute, Backoff: time.Millisecond})
	return engine.New(dynamodb.NewFromConfig(cfg), "callboard", time.Now), s
}

func failure(code, message string) string {
	return fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":%q}`, code, message)
}

var (
	key    = table.Key{PK: "p", SK: "s"}
	item   = table.Item{Key: key, Attrs: table.Attrs{"a": "b"}}
	update = table.Update{Set: table.Attrs{"a": "b"}}
)

// everyCall calls every method once and returns the errors.
func everyCall(ctx context.Context, t *engine.Table) map[string]error {
	_, get := t.Get(ctx, key)
	_, batchGet := t.BatchGet(ctx, []table.Key{key})
	_, updated := t.Update(ctx, key, update)
	_, query := t.Query(ctx, table.Query{PK: "p"})
	return map[string]error{
		"Get": get, "BatchGet": batchGet, "Update": updated, "Query": query,
		"Put": t.Put(ctx, item), "Delete": t.Delete(ctx, key),
		"Transact": t.Transact(ctx, table.PutOp(item)), "BatchWrite": t.BatchWrite(ctx, []table.Item{item}, nil),
	}
}

// A missing or forbidden table must never look like a missing item or a forbidden caller.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		want   events.Code
	}{
		{400, failure("ResourceNotFoundException", "Requested resource not found"), events.CodeUnavailable},
		{400, failure("AccessDeniedException", "is not authorized"), events.CodeUnavailable},
		{400, failure("ProvisionedThroughputExceededException", ""), events.CodeUnavailable},
		{400, failure("ThrottlingException", ""), events.CodeUnavailable},
		{500, failure("InternalServerError", ""), events.CodeUnavailable},
		{0, "", events.CodeUnavailable},
		{400, failure("ValidationException", "Item size has exceeded the maximum allowed size"), events.CodeTooLarge},
		{400, failure("ValidationException", "An operand in the update expression has an incorrect data type"), events.CodeInvalid},
		{400, failure("TransactionConflictException", ""), events.CodeConflict},
	} {
		tab, _ := stubbed(t, func(int, call) (int, string) { return tt.status, tt.body })
		for name, err := range everyCall(t.Context(), tab) {
			if events.ErrorCode(err) != tt.want || errors.Is(err, table.ErrNotFound) {
				t.Errorf("%s answered with %d %s: %v (%s), want %s", name, tt.status, tt.body, err, events.ErrorCode(err), tt.want)
			}
			if tt.want == events.CodeConflict && !errors.Is(err, table.ErrConflict) {
				t.Errorf("%s: %v, want ErrConflict", name, err)
			}
		}
	}
}

// TestRepetition: the answer to the first request gets lost, or the request is throttled.
func TestRepetition(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		call      func(ctx context.Context, t *engine.Table) error
		lost      int // requests where the answer was lost
		throttled int // requests where the first was throttled
	}{
		{"put", func(ctx context.Context, t *engine.Table) error { return t.Put(ctx, item) }, 2, 2},
		{"put on condition", func(ctx context.Context, t *engine.Table) error { return t.Put(ctx, item, table.NotExists()) }, 1, 2},
		{"delete", func(ctx context.Context, t *engine.Table) error { return t.Delete(ctx, key) }, 2, 2},
		{"delete on condition", func(ctx context.Context, t *engine.Table) error { return t.Delete(ctx, key, table.Exists()) }, 1, 2},
		{"update", func(ctx context.Context, t *engine.Table) error { _, err := t.Update(ctx, key, update); return err }, 2, 2},
		{"update that adds", func(ctx context.Context, t *engine.Table) error {
			_, err := t.Update(ctx, key, table.Update{Add: map[string]int64{"n": 1}})
			return err
		}, 1, 2},
		{"transaction", func(ctx context.Context, t *engine.Table) error {
			return t.Transact(ctx, table.PutOp(item, table.NotExists()))
		}, 2, 2},
	} {
		for _, lost := range []bool{true, false} {
			tab, s := stubbed(t, func(n int, _ call) (int, string) {
				switch {
				case n > 1:
					return 200, `{"Attributes":{"pk":{"S":"p"},"sk":{"S":"s"}}}`
				case lost:
					return 0, ""
				default:
					return 400, failure("ProvisionedThroughputExceededException", "")
				}
			})
			want := tt.throttled
			if lost {
				want = tt.lost
			}
			err := tt.call(t.Context(), tab)
			if got := len(s.calls()); got != want || (err == nil) != (want == 2) {
				t.Errorf("%s, answer lost: %t: %d requests, %v; want %d", tt.name, lost, got, err, want)
			}
		}
	}
}

// A transaction that is repeated has the token of the first, so that DynamoDB does it once.
func TestTransact_Token(t *testing.T) {
	t.Parallel()
	tab, s := stubbed(t, func(n int, _ call) (int, string) {
		if n == 1 {
			return 0, ""
		}
		return 200, "{}"
	})
	if err := tab.Transact(t.Context(), table.PutOp(item)); err != nil {
		t.Fatal(err)
	}
	calls := s.calls()
	if a, b := calls[0].Body["ClientRequestToken"], calls[1].Body["ClientRequestToken"]; a != b || a == "" || a == nil {
		t.Errorf("tokens %v and %v, want the same", a, b)
	}
}

func TestTransact_Cancelled(t *testing.T) {
	t.Parallel()
	ops := []table.Op{table.PutOp(table.Item{Key: table.Key{PK: "p", SK: "1"}}), table.PutOp(table.Item{Key: table.Key{PK: "p", SK: "2"}}, table.NotExists())}
	const existing = `{"Code":"ConditionalCheckFailed","Item":{"pk":{"S":"p"},"sk":{"S":"2"}}}`
	for _, tt := range []struct {
		reasons string
		want    events.Code
		is      error
		op      string // what the message says about the operation
	}{
		{`{"Code":"None"},` + existing, events.CodeConflict, table.ErrCondition, "operation 1"},
		{`{"Code":"TransactionConflict"},` + existing, events.CodeConflict, table.ErrCondition, "operation 1"},
		{`{"Code":"TransactionConflict"},{"Code":"None"}`, events.CodeConflict, table.ErrConflict, ""},
		{`{"Code":"None"},{"Code":"ThrottlingError"}`, events.CodeUnavailable, nil, ""},
		{`{"Code":"None"},{"Code":"ValidationError","Message":"Item size to update has exceeded the maximum allowed size"}`, events.CodeTooLarge, nil, "operation 1"},
		{`{"Code":"ValidationError","Message":"Type mismatch"},{"Code":"TransactionConflict"}`, events.CodeInvalid, nil, "operation 0"},
		{``, events.CodeUnavailable, nil, ""},
	} {
		tab, s := stubbed(t, func(int, call) (int, string) {
			return 400, `{"__type":"TransactionCanceledException","Message":"cancelled","CancellationReasons":[` + tt.reasons + `]}`
		})
		err := tab.Transact(t.Context(), ops...)
		if events.ErrorCode(err) != tt.want || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.op) {
			t.Errorf("%s: %v (%s), want %s, %v", tt.reasons, err, events.ErrorCode(err), tt.want, tt.is)
		}
		if n := len(s.calls()); n != 1 {
			t.Errorf("%s: %d requests, want one", tt.reasons, n)
		}
	}
}

// TestUpdate_KeepsChanging: the item comes and goes between any two requests.
func TestUpdate_KeepsChanging(t *testing.T) {
	t.Parallel()
	answer := func(n int, _ call) (int, string) {
		if n%2 == 1 {
			return 400, `{"__type":"ConditionalCheckFailedException"}` // there is none
		}
		return 400, `{"__type":"ConditionalCheckFailedException","Item":{"pk":{"S":"p"},"sk":{"S":"s"}}}`
	}
	tab, s := stubbed(t, answer)
	_, err := tab.Update(t.Context(), key, table.Update{Remove: []string{"a"}})
	if !errors.Is(err, table.ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
	got := []string{}
	for _, c := range s.calls()[:4] {
		got = append(got, c.Operation)
	}
	if diff := cmp.Diff([]string{"UpdateItem", "PutItem", "UpdateItem", "PutItem"}, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

// TestUpdate_Overflow: the sum is refused although the caller has no condition.
func TestUpdate_Overflow(t *testing.T) {
	t.Parallel()
	tab, _ := stubbed(t, func(int, call) (int, string) {
		return 400, fmt.Sprintf(`{"__type":"ConditionalCheckFailedException","Item":{"pk":{"S":"p"},"sk":{"S":"s"},"n":{"N":"%d"}}}`, math.MaxInt64)
	})
	_, err := tab.Update(t.Context(), key, table.Update{Add: map[string]int64{"n": 1}})
	if events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(events.ErrorMessage(err), `"n"`) {
		t.Errorf("%v, want code %s and the name of the attribute", err, events.CodeInvalid)
	}
}

// TestBatches has a DynamoDB that does at most three parts of a request.
func TestBatches(t *testing.T) {
	t.Parallel()
	const some = 3
	var items []table.Item
	var keys []table.Key
	for i := range 7 {
		items = append(items, table.Item{Key: table.Key{PK: "p", SK: fmt.Sprint(i)}, Attrs: table.Attrs{}})
		keys = append(keys, items[i].Key)
	}
	marshal := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	written := map[string]int{}
	tab, _ := stubbed(t, func(_ int, c call) (int, string) {
		request := c.Body["RequestItems"].(map[string]any)["callboard"]
		if c.Operation == "BatchWriteItem" {
			parts := request.([]any)
			n := min(some, len(parts))
			for _, part := range parts[:n] {
				written[marshal(part.(map[string]any)["PutRequest"].(map[string]any)["Item"])]++
			}
			return 200, marshal(map[string]any{"UnprocessedItems": map[string]any{"callboard": parts[n:]}})
		}
		parts := request.(map[string]any)["Keys"].([]any)
		n := min(some, len(parts))
		answer := map[string]any{"Responses": map[string]any{"callboard": parts[:n]}, "UnprocessedKeys": map[string]any{}}
		if n < len(parts) {
			answer["UnprocessedKeys"] = map[string]any{"callboard": map[string]any{"Keys": parts[n:]}}
		}
		return 200, marshal(answer)
	})

	got, err := tab.BatchGet(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range items {
		if diff := cmp.Diff(want, got[want.Key]); diff != "" {
			t.Errorf("BatchGet (-want +got):\n%s", diff)
		}
	}
	if err := tab.BatchWrite(t.Context(), items, nil); err != nil {
		t.Fatal(err)
	}
	if len(written) != len(items) {
		t.Errorf("%d items were written, want %d", len(written), len(items))
	}
}

// TestBatches_Cancelled: a DynamoDB that does nothing is not asked for ever.
func TestBatches_Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	tab, _ := stubbed(t, func(n int, c call) (int, string) {
		if n == 2 {
			cancel()
		}
		return 200, `{"UnprocessedKeys":{"callboard":{"Keys":[{"pk":{"S":"p"},"sk":{"S":"s"}}]}}}`
	})
	if _, err := tab.BatchGet(ctx, []table.Key{key}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

// TestForeignItems: others can write into the table, too.
func TestForeignItems(t *testing.T) {
	t.Parallel()
	for _, attributes := range []string{
		`"pk":{"S":"p"}`,
		`"pk":{"N":"1"},"sk":{"S":"s"}`,
		`"pk":{"S":"p"},"sk":{"S":"s"},"a":{"N":"1.5"}`,
		`"pk":{"S":"p"},"sk":{"S":"s"},"a":{"NULL":true}`,
		`"pk":{"S":"p"},"sk":{"S":"s"},"a":{"L":[]}`,
		`"pk":{"S":"p"},"sk":{"S":"s"},"expires":{"S":"tomorrow"}`,
	} {
		tab, _ := stubbed(t, func(int, call) (int, string) { return 200, `{"Item":{` + attributes + `}}` })
		if got, err := tab.Get(t.Context(), key); events.ErrorCode(err) != events.CodeInternal {
			t.Errorf("%s: %v, %v; want code %s", attributes, got, err, events.CodeInternal)
		}
	}
}
