package catalogsync_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	catalogsync "github.com/callboard/callboard/functions/catalog-sync"
	"github.com/callboard/callboard/internal/blob"
	"github.com/callboard/callboard/internal/bolt"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/sample"
	"github.com/callboard/callboard/internal/scm"
	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/internal/table/boltdb"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

func TestMain(m *testing.M) {
	// Every check has databases of its own; -rapid.checks asks for more of them.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // injected faults are no news
	os.Exit(m.Run())
}

const (
	owner = "acme"
	repo  = "petstore"
	web   = "https://github.com/acme/petstore"
)

// tester is what [testing.T] and [rapid.T] have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(f func())
	Context() context.Context
}

// world is a catalog, a GitHub with one organization, and what happens between them.
type world struct {
	tester
	github    *sample.Server
	api       *httptest.Server
	faults    *faults
	store     *catalogstore.Store
	table     table.Table // without faults
	handler   *catalogsync.Handler
	published *recorder
	blobs     string

	mu       sync.Mutex
	requests []string
	answer   func(*http.Request) int
	meddle   func(*http.Request)
	nextID   int
}

func newWorld(t tester, catalogPath string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "catalog-sync-*")
	must(t, err)
	w := &world{tester: t, faults: &faults{}, blobs: filepath.Join(dir, "blobs")}
	w.github, err = sample.Open(filepath.Join(dir, "sample.db"))
	must(t, err)
	w.github.Fail = w.intercept
	w.api = httptest.NewServer(w.github)
	db, err := bolt.Open(filepath.Join(dir, "table.db"))
	must(t, err)
	w.table, err = boltdb.New(db, time.Now)
	must(t, err)
	blobs, err := blob.Open(w.blobs)
	must(t, err)
	w.store = catalogstore.New(w.table, blobs)
	w.published = &recorder{faults: w.faults, events: map[string]events.Event{}}
	reader, err := scm.NewGitHub(scm.GitHubOptions{APIBaseURL: w.api.URL})
	must(t, err)
	w.handler = &catalogsync.Handler{
		Readers:   map[string]catalogsync.Reader{"github.com": reader},
		Store:     catalogstore.New(&faultyTable{Table: w.table, faults: w.faults}, blobs),
		Publisher: w.published,
	}
	w.configure(catalogPath, "")
	t.Cleanup(func() {
		w.api.Close()
		err := errors.Join(db.Close(), w.github.Close(), blobs.Close(), os.RemoveAll(dir))
		must(t, err)
	})
	return w
}

func must(t tester, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// configure sets what the only provider tracks.
func (w *world) configure(catalogPath, branch string) {
	w.Helper()
	providers, err := catalogsync.Providers(config.Providers{GitHub: map[string]config.GitHubProvider{
		"acme": {Host: "github.com", Organization: "Acme", CatalogPath: catalogPath, Filters: config.GitHubFilters{Branch: branch}},
	}})
	must(w, err)
	w.handler.Providers = providers
}

// intercept sees every request to the API.
func (w *world) intercept(r *http.Request) int {
	w.mu.Lock()
	w.requests = append(w.requests, strings.TrimPrefix(r.URL.Path, "/repos/"+owner+"/"+repo+"/"))
	answer, meddle := w.answer, w.meddle
	w.mu.Unlock()
	if meddle != nil {
		meddle(r)
	}
	if answer != nil {
		if status := answer(r); status != 0 {
			return status
		}
	}
	return w.faults.status(r)
}

// asked returns the requests since the last call, sorted.
func (w *world) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.requests
	w.requests = nil
	slices.Sort(list)
	return list
}

// answers makes the API answer some requests with a status of its own; 0 lets them through.
func (w *world) answers(f func(*http.Request) int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func (w *world) meddles(f func(*http.Request)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.meddle = f
}

type files map[string]string

// commit changes files; "-" removes one.
func (w *world) commit(f files) sample.Push {
	w.Helper()
	return w.change(sample.Change{}, f)
}

func (w *world) change(c sample.Change, f files) sample.Push {
	w.Helper()
	c.Owner = owner
	if c.Repo == "" {
		c.Repo = repo
	}
	if c.Branch == "" {
		c.Branch = "main"
	}
	for path, content := range f {
		if c.Files == nil {
			c.Files = map[string]*string{}
		}
		c.Files[path] = &content
		if content == "-" {
			c.Files[path] = nil
		}
	}
	p, err := w.github.Commit(w.Context(), c)
	must(w, err)
	return p
}

// event is the webhook of a push.
func (w *world) event(p sample.Push) events.Event {
	w.Helper()
	payload, err := p.Payload("github.com")
	must(w, err)
	return w.raw("github.push", payload)
}

func (w *world) repositoryEvent(r sample.Repository, action string) events.Event {
	w.Helper()
	payload, err := r.EventPayload("github.com", action)
	must(w, err)
	return w.raw("github.repository", payload)
}

func (w *world) raw(topic string, payload []byte) events.Event {
	w.nextID++
	return events.Event{
		ID: events.NewID("github", fmt.Sprintf("delivery-%d", w.nextID)), Topic: topic, Payload: payload,
		Metadata: events.Metadata{}, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// edited is an event with some members of its payload replaced.
func (w *world) edited(e events.Event, members map[string]any) events.Event {
	w.Helper()
	var payload map[string]any
	must(w, json.Unmarshal(e.Payload, &payload))
	maps.Copy(payload, members)
	data, err := json.Marshal(payload)
	must(w, err)
	return w.raw(e.Topic, data)
}

// deliver hands an event to the function as its queue does and returns what became of it.
func (w *world) deliver(e events.Event) events.Hop {
	w.Helper()
	m, err := events.Encoder{MaxSize: events.MaxSQSMessageSize}.Encode(e)
	must(w, err)
	var hop events.Hop
	b := &events.Batch{Function: topology.CatalogSync, Subscriber: w.handler, Queue: queue{}, Observer: observer(func(h events.Hop) { hop = h })}
	b.Handle(w.Context(), events.SQSEvent{Records: []events.SQSMessage{m.SQS("m", "r", 1)}})
	return hop
}

// queue is one that takes everything.
type queue struct{}

func (queue) ChangeVisibility(context.Context, events.SQSMessage, time.Duration) error { return nil }

func (queue) Park(context.Context, events.Message) error { return nil }

type observer func(events.Hop)

func (o observer) Observe(_ context.Context, h events.Hop) { o(h) }

// done delivers an event that has to succeed.
func (w *world) done(e events.Event) events.Hop {
	w.Helper()
	h := w.deliver(e)
	if h.Outcome != events.OutcomeOK {
		w.Fatalf("event %s: %s: %s", e.ID, h.Outcome, h.Reason)
	}
	return h
}

func (w *world) push(f files) events.Hop {
	w.Helper()
	return w.done(w.event(w.commit(f)))
}

// catalog returns title and file of every entity, without generated Locations.
func (w *world) catalog() map[string]string {
	w.Helper()
	entities := map[string]string{}
	for e, err := range w.store.List(w.Context(), catalogstore.Query{}) {
		must(w, err)
		ref := e.Ref().String()
		if strings.HasPrefix(ref, "location:default/generated-") {
			continue
		}
		location := e.Metadata.Annotations[catalog.AnnotationManagedByLocation]
		entities[ref] = e.Metadata.Title + " " + strings.TrimPrefix(location, "url:"+web+"/blob/main/")
	}
	return entities
}

// locations returns the files that have a generated Location.
func (w *world) locations() []string {
	w.Helper()
	var targets []string
	for e, err := range w.store.List(w.Context(), catalogstore.Query{Kinds: []string{"location"}}) {
		must(w, err)
		target, _ := e.Spec["target"].(string)
		targets = append(targets, strings.TrimPrefix(target, web+"/blob/main/"))
	}
	slices.Sort(targets)
	return targets
}

func (w *world) head() string {
	w.Helper()
	r, err := w.store.Repository(w.Context(), "github.com", owner+"/"+repo)
	must(w, err)
	return r.Head
}

// raise writes the repository as another sync of it would, without changing anything.
func (w *world) raise() error {
	known, err := w.store.Repository(w.Context(), "github.com", owner+"/"+repo)
	if err != nil {
		return err
	}
	parts, err := catalogstore.Parts(catalogstore.Change{From: known, To: known})
	if err != nil {
		return err
	}
	return w.store.Commit(w.Context(), parts[0])
}

// changed is the payload of catalog.changed as a subscriber reads it.
type changed struct {
	Cause, Provider, Location string
	Added, Changed, Removed   []string
	Owners                    map[string][]string
}

func (w *world) announced() []changed {
	w.Helper()
	var list []changed
	for _, e := range w.published.of("catalog.changed") {
		var c changed
		must(w, json.Unmarshal(e.Payload, &c, json.MatchCaseInsensitiveNames(true)))
		list = append(list, c)
	}
	return list
}

// folded is what somebody knows of the catalog who only listens to catalog.changed, in any order.
func (w *world) folded() []string {
	w.Helper()
	count := map[string]int{}
	for _, c := range w.announced() {
		for _, ref := range c.Added {
			count[ref]++
		}
		for _, ref := range c.Removed {
			count[ref]--
		}
	}
	var refs []string
	for ref, n := range count {
		switch n {
		case 0:
		case 1:
			refs = append(refs, ref)
		default:
			w.Fatalf("%s was added %d times more often than removed", ref, n)
		}
	}
	slices.Sort(refs)
	return refs
}

type errorEvent struct {
	Location string
	Errors   []struct {
		Document, Line int
		Ref, Message   string
	}
}

func (w *world) errors() []errorEvent {
	w.Helper()
	var list []errorEvent
	for _, e := range w.published.of("catalog.error") {
		var c errorEvent
		must(w, json.Unmarshal(e.Payload, &c, json.MatchCaseInsensitiveNames(true)))
		list = append(list, c)
	}
	return list
}

// outbox counts the events that are not published.
func (w *world) outbox() int {
	w.Helper()
	n := 0
	for _, err := range w.store.AllPending(w.Context()) {
		must(w, err)
		n++
	}
	return n
}

// component is a document of a catalog file.
func component(name, title string) string {
	return fmt.Sprintf("apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: %s, title: %s}\nspec: {type: service, lifecycle: production, owner: team-%s}\n", name, title, title)
}

func documents(list ...string) string { return strings.Join(list, "---\n") }

// errFault is a failure that was injected.
var errFault = errors.New("injected fault")

// faults decides which operations fail: some at random, before or after they had their effect, or the n-th write.
type faults struct {
	mu      sync.Mutex
	rand    *rand.Rand // nil for none at random
	percent int
	count   int

	writes    int // so far
	failWrite int // which one fails, from 1; 0 for none
	after     bool

	between func() // called once, before a transaction
}

func (f *faults) at() (before, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rand == nil || f.rand.IntN(100) >= f.percent {
		return false, false
	}
	f.count++
	before = f.rand.IntN(2) == 0
	return before, !before
}

func (f *faults) status(r *http.Request) int {
	if before, after := f.at(); !before && !after {
		return 0
	}
	statuses := []int{401, 403, 404, 429, 500, 502}
	if strings.Contains(r.URL.Path, "/contents/") {
		statuses = []int{401, 403, 429, 500} // GitHub does not say of a file that is there that it is not
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return statuses[f.rand.IntN(len(statuses))]
}

func (f *faults) write() (before, after bool) {
	f.mu.Lock()
	f.writes++
	hit := f.failWrite != 0 && f.writes == f.failWrite
	before, after = hit && !f.after, hit && f.after
	f.mu.Unlock()
	if before || after {
		return before, after
	}
	return f.at()
}

// calm ends all faults.
func (f *faults) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rand, f.failWrite = nil, 0
}

// faultyTable is a table whose operations fail.
type faultyTable struct {
	table.Table
	faults *faults
}

func (t *faultyTable) do(f func() error) error {
	before, after := t.faults.at()
	if before {
		return errFault
	}
	err := f()
	if after {
		return errFault
	}
	return err
}

func (t *faultyTable) Get(ctx context.Context, key table.Key) (item table.Item, err error) {
	err = t.do(func() (err error) { item, err = t.Table.Get(ctx, key); return err })
	return item, err
}

func (t *faultyTable) Put(ctx context.Context, item table.Item, conditions ...table.Condition) error {
	return t.do(func() error { return t.Table.Put(ctx, item, conditions...) })
}

func (t *faultyTable) BatchGet(ctx context.Context, keys []table.Key) (items map[table.Key]table.Item, err error) {
	err = t.do(func() (err error) { items, err = t.Table.BatchGet(ctx, keys); return err })
	return items, err
}

func (t *faultyTable) BatchWrite(ctx context.Context, puts []table.Item, deletes []table.Key) error {
	return t.do(func() error { return t.Table.BatchWrite(ctx, puts, deletes) })
}

func (t *faultyTable) Query(ctx context.Context, q table.Query) (p table.Page, err error) {
	err = t.do(func() (err error) { p, err = t.Table.Query(ctx, q); return err })
	return p, err
}

func (t *faultyTable) Transact(ctx context.Context, ops ...table.Op) error {
	if f := t.faults.between; f != nil {
		t.faults.between = nil
		f()
	}
	before, after := t.faults.write()
	if before {
		return errFault
	}
	err := t.Table.Transact(ctx, ops...)
	if after {
		return errFault
	}
	return err
}

// recorder is a publisher that keeps what it is given, once for each ID.
type recorder struct {
	faults *faults
	mu     sync.Mutex
	events map[string]events.Event
	order  []string
	fail   error
}

func (r *recorder) Publish(_ context.Context, es ...events.Event) error {
	before, after := r.faults.at()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	if before {
		return errFault
	}
	for _, e := range es {
		if known, ok := r.events[e.ID]; ok {
			if string(known.Payload) != string(e.Payload) {
				panic("two events have the ID " + e.ID)
			}
			continue
		}
		r.events[e.ID] = e
		r.order = append(r.order, e.ID)
	}
	if after {
		return errFault
	}
	return nil
}

func (r *recorder) failing(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *recorder) of(topic string) []events.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []events.Event
	for _, id := range r.order {
		if r.events[id].Topic == topic {
			list = append(list, r.events[id])
		}
	}
	return list
}
