package main

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	catalogsync "github.com/callboard/callboard/functions/catalog-sync"
	"github.com/callboard/callboard/functions/notify"
	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/cost"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/table/boltdb/boltdbtest"
	"github.com/callboard/callboard/internal/telemetry"
	"github.com/callboard/callboard/pkg/events"
)

// The figures of the documentation are those of the command. Run the test with -update to write them anew.
func TestCost_IsDocumented(t *testing.T) {
	t.Parallel()
	out, stderr, code := call(t, "cost", "--config", "../../events-config.json")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	const path, begin, end = "../../docs/cost.md", "<!-- begin: callboard cost -->\n", "<!-- end: callboard cost -->\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	documented, after, ends := strings.Cut(rest, end)
	if !ok || !ends {
		t.Fatalf("%s has not the lines %q and %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+out+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(documented, out); diff != "" {
		t.Errorf("%s is out of date; run the test with -update (-documented +printed):\n%s", path, diff)
	}
}

func TestCost_NoConfiguration(t *testing.T) {
	t.Parallel()
	if out, stderr, code := call(t, "cost", "--config", "none.json"); code != exitFailure || !strings.Contains(stderr, "none.json does not exist") || out != "" {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
}

// meter counts the units that DynamoDB would ask for
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html). Reads are consistent.
type meter struct {
	table.Table
	units cost.Units
}

func readUnits(size int) float64 { return math.Ceil(float64(max(size, 1)) / 4096) }

func writeUnits(size int) float64 { return math.Ceil(float64(max(size, 1)) / 1024) }

func (m *meter) take() cost.Units {
	u := m.units
	m.units = cost.Units{}
	return u
}

func (m *meter) size(key table.Key) int {
	item, err := m.Table.Get(context.Background(), key)
	if err != nil {
		return 0
	}
	return item.Size()
}

func (m *meter) Get(ctx context.Context, key table.Key) (table.Item, error) {
	item, err := m.Table.Get(ctx, key)
	m.units.Reads += readUnits(item.Size())
	return item, err
}

func (m *meter) BatchGet(ctx context.Context, keys []table.Key) (map[table.Key]table.Item, error) {
	items, err := m.Table.BatchGet(ctx, keys)
	for _, key := range keys {
		m.units.Reads += readUnits(items[key].Size())
	}
	return items, err
}

func (m *meter) Query(ctx context.Context, q table.Query) (table.Page, error) {
	page, err := m.Table.Query(ctx, q)
	size := 0
	for _, item := range page.Items {
		size += item.Size()
	}
	m.units.Reads += readUnits(size)
	return page, err
}

// Transact asks twice for each item: to prepare and to commit.
func (m *meter) Transact(ctx context.Context, ops ...table.Op) error {
	for _, op := range ops {
		m.units.Writes += 2 * writeUnits(max(m.size(op.Key), op.Item.Size()))
	}
	return m.Table.Transact(ctx, ops...)
}

func (m *meter) BatchWrite(ctx context.Context, puts []table.Item, deletes []table.Key) error {
	for _, item := range puts {
		m.units.Writes += writeUnits(max(m.size(item.Key), item.Size()))
	}
	for _, key := range deletes {
		m.units.Writes += writeUnits(m.size(key))
	}
	return m.Table.BatchWrite(ctx, puts, deletes)
}

func (m *meter) Put(ctx context.Context, item table.Item, conditions ...table.Condition) error {
	m.units.Writes += writeUnits(max(m.size(item.Key), item.Size()))
	return m.Table.Put(ctx, item, conditions...)
}

// The units of other writes are not known, so nothing that is measured may use them.
func (m *meter) Update(context.Context, table.Key, table.Update, ...table.Condition) (table.Item, error) {
	return table.Item{}, events.Errorf(events.CodeInternal, "Update is not measured")
}

func (m *meter) Delete(context.Context, table.Key, ...table.Condition) error {
	return events.Errorf(events.CodeInternal, "Delete is not measured")
}

// outlet takes what is published.
type outlet []events.Event

func (o *outlet) Publish(_ context.Context, es ...events.Event) error {
	*o = append(*o, es...)
	return nil
}

// measured is a catalog-sync of which everything is counted.
type measured struct {
	*catalogsync.Handler
	meter     *meter
	hooks     *sampleHooks
	published *outlet
}

func newMeasured(t *testing.T) *measured {
	t.Helper()
	dir := t.TempDir()
	conf, err := config.Load("../../events-config.json")
	if err != nil {
		t.Fatal(err)
	}
	repositories, err := sample.Open(filepath.Join(dir, "sample.db"))
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(repositories)
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		api.Close()
		_ = repositories.Close()
		_ = blobs.Close()
	})
	providers, err := catalogsync.Providers(conf.Catalog.Providers)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := scm.NewGitHub(scm.GitHubOptions{APIBaseURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	m := &measured{meter: &meter{Table: boltdbtest.Open(t, time.Now)}, published: &outlet{}, hooks: newSampleHooks(repositories, conf)}
	m.Handler = &catalogsync.Handler{
		Providers: providers, Readers: map[string]catalogsync.Reader{"github.com": reader},
		Store: catalogstore.New(m.meter, blobs), Publisher: m.published,
	}
	return m
}

// push delivers the webhook of a change.
func (m *measured) push(t *testing.T, path, content string) cost.Units {
	t.Helper()
	h, err := m.hooks.push(t.Context(), sample.Change{Files: file(path, content)})
	if err != nil {
		t.Fatal(err)
	}
	return m.deliver(t, "github.push", h.Payload)
}

func (m *measured) deliver(t *testing.T, topic string, payload []byte) cost.Units {
	t.Helper()
	m.meter.take()
	if err := m.OnEvent(t.Context(), webhookEvent(topic, payload)); err != nil {
		t.Fatal(err)
	}
	return m.meter.take()
}

// webhookEvent is an event as a webhook of GitHub becomes one.
func webhookEvent(topic string, payload []byte) events.Event {
	delivery := uuid.NewString()
	headers := events.Metadata{
		"x-github-event": "push", "x-github-delivery": delivery, "x-github-hook-id": "123456789",
		"x-github-hook-installation-target-id": "123456789", "x-github-hook-installation-target-type": "organization",
	}
	return events.Event{
		ID: events.NewID("github", delivery), Topic: topic, Payload: payload, Metadata: headers,
		Promoted: []string{"x-github-event", "x-github-delivery"}, Time: time.Now().UTC(),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Group: events.Group("github.com", "acme/petstore"),
	}
}

const component = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: petstore, description: %}\n" +
	"spec: {type: service, lifecycle: production, owner: guest}\n"

// What is assumed about the table is what the code asks of it.
func TestCost_Units(t *testing.T) {
	t.Parallel()
	m := newMeasured(t)
	got := map[string]cost.Units{}
	m.push(t, "catalog-info.yaml", strings.ReplaceAll(component, "%", "one"))
	got["change"] = m.push(t, "catalog-info.yaml", strings.ReplaceAll(component, "%", "two"))
	if n := len(*m.published); n != 2 {
		t.Fatalf("%d changes were announced, want 2", n)
	}
	announcement, err := events.Encode((*m.published)[1])
	if err != nil {
		t.Fatal(err)
	}
	near(t, "AnnouncementSize", cost.AnnouncementSize, announcement.Size())
	got["push"] = m.push(t, "README.md", "unrelated")
	repository, err := m.hooks.server.CreateRepository(t.Context(), "acme", sampleRepository)
	if err != nil {
		t.Fatal(err)
	}
	edited, err := repository.EventPayload("github.com", "edited")
	if err != nil {
		t.Fatal(err)
	}
	got["repository"] = m.deliver(t, "github.repository", edited)
	if _, err := m.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	got["sweep"] = m.meter.take()

	conf, err := config.Load("../../events-config.json")
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := notify.Compile(conf.Notifications.Rules)
	if err != nil {
		t.Fatal(err)
	}
	n := &notify.Handler{Rules: compiled, Inbox: &inbox.Inbox{Table: m.meter, Now: time.Now}, Catalog: m.Store}
	if err := n.OnEvent(t.Context(), webhookEvent("frobs.add", []byte(`{"type":"add"}`))); err != nil {
		t.Fatal(err)
	}
	got["notification"] = m.meter.take()

	want := map[string]cost.Units{
		"push": cost.PushUnits, "change": cost.ChangeUnits, "repository": cost.RepositoryUnits,
		"sweep": cost.SweepUnits, "notification": cost.NotificationUnits,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("units (-assumed +measured):\n%s", diff)
	}
}

// What is assumed about the sizes of messages and logs is what the code writes.
func TestCost_Bytes(t *testing.T) {
	t.Parallel()
	payload := []byte(`{}`)
	m, err := events.Encode(webhookEvent("github.push", payload))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "Attributes", cost.Attributes, m.Size()-len(payload))

	large := webhookEvent("github.push", append([]byte(`{}`), bytes.Repeat([]byte(" "), 1<<20)...))
	dir, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	claim, err := events.Encoder{Bucket: &events.Bucket{Name: "callboard-111122223333-eu-west-1", Store: dir}}.Offload(t.Context(), large)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "ClaimCheck", cost.ClaimCheck, claim.Size()-(m.Size()-len(payload)))

	hop := events.Hop{
		Time: time.Now(), Event: "github:72d3162e-cc78-11e3-81ab-4c9367dc0958", Topic: "github.push", Function: "catalog-sync",
		Outcome: events.OutcomeOK, Milliseconds: 12.345678, Accepted: time.Now().Add(-time.Second),
	}
	var log, metrics bytes.Buffer
	// The handler of Lambda adds the id of the request.
	logger := slog.New(slog.NewJSONHandler(&log, nil)).With("requestId", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
	events.LogObserver{Logger: logger}.Observe(t.Context(), hop)
	near(t, "HopLine", cost.HopLine, log.Len())
	(&telemetry.Metrics{Prefix: "callboard", Out: &metrics}).Observe(t.Context(), hop)
	near(t, "MetricLine", cost.MetricLine, metrics.Len())
}

// near fails unless what is assumed is what was measured, or up to a quarter more.
func near(t *testing.T, what string, assumed, measured int) {
	t.Helper()
	if measured > assumed || 4*assumed > 5*measured {
		t.Errorf("%s is assumed to be %d, and was measured as %d", what, assumed, measured)
	}
}
