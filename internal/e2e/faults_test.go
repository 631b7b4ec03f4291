//go:build !deployed

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/pkg/events"
)

const faultsConfig = "testdata/faults.json"

var allFaults = flag.Bool("faults.all", false, "TestFaults kills at every call, and not only at the first of each kind")

// faulty is the program that kills itself when it is told to; see package fault.
var faulty = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "callboard-faults")
	out, err := exec.CommandContext(context.Background(), "go", "build", "-tags", "faults", "-o", path, "github.com/callboard/callboard/cmd/callboard").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the program does not build with the tag faults: %w\n%s", err, out)
	}
	return path, nil
})

// mortal is a state folder, the process that runs on it, and what was sent there.
type mortal struct {
	t       *testing.T
	program string
	state   string
	process *Process // the last one
	killed  []*Process
	effects effects
	comings effects // of what may come more than once

	notifications []string          // titles that there have to be
	definitions   map[string]string // of APIs, by name
	exported      []string          // ids of the events that the consumer of an export has to get
	consumed      map[string]int    // how often it got them
	claimed       int               // how many of them were claim checks
	poison        []string          // bodies of the dead letters that there have to be
}

func newMortal(t *testing.T) *mortal {
	t.Helper()
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	return &mortal{t: t, program: program, state: filepath.Join(t.TempDir(), "state"), definitions: map[string]string{}, consumed: map[string]int{}}
}

// start runs a process, which may be told to kill itself, and tells whether it lives to say that it is ready.
func (m *mortal) start(env ...string) bool {
	m.t.Helper()
	m.process = &Process{State: m.state, Config: faultsConfig, program: m.program, env: env}
	return m.process.begin(m.t, "dev", "--config", faultsConfig, "--state", m.state, "--addr", "127.0.0.1:0", "--log", "json")
}

// alive starts another process where there is none that was not killed.
func (m *mortal) alive() {
	m.t.Helper()
	select {
	case <-m.process.exited:
	default:
		return
	}
	status, ok := m.process.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		m.t.Fatalf("the process ended by itself: %v", m.process.cmd.ProcessState)
	}
	m.killed = append(m.killed, m.process)
	if !m.start() {
		m.t.Fatalf("the process does not start again:\n%s", m.process.log)
	}
}

// persist repeats what a killed process does not answer, and what a living one cannot do at the moment. What fails on a
// living one fails the test.
func (m *mortal) persist(what string, try func() error) {
	m.t.Helper()
	for since := time.Now(); time.Since(since) < patience; {
		m.alive()
		err := try()
		if err == nil {
			return
		}
		if status, ok := errors.AsType[statusError](err); ok {
			m.t.Fatalf("%s: %v", what, status)
		}
	}
	m.t.Fatalf("%s: the process does not answer any more", what)
}

// statusError is an answer that is not the expected one.
type statusError string

func (e statusError) Error() string { return string(e) }

func expect(want int, response *http.Response, answer []byte, err error) error {
	switch {
	case err != nil || response.StatusCode == want:
		return err
	case response.StatusCode == http.StatusServiceUnavailable:
		return errors.New(response.Status)
	}
	return statusError(fmt.Sprintf("%s %.500s", response.Status, answer))
}

// local calls a local route of the engine.
func (m *mortal) local(path string, body, into any) {
	m.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		m.t.Fatal(err)
	}
	m.persist(path, func() error {
		engine, err := front.Find(m.t.Context(), m.state)
		if err != nil {
			return err
		}
		response, answer, err := m.process.try(m.t.Context(), http.MethodPost, "/_local"+path, map[string]string{"Authorization": "Bearer " + engine.Token}, data)
		if err = expect(http.StatusOK, response, answer, err); err != nil || into == nil {
			return err
		}
		return json.Unmarshal(answer, into)
	})
}

func (m *mortal) settle() { m.local("/drain", nil, nil) }

// deliver sends a webhook, as a provider does until it is answered.
func (m *mortal) deliver(topic string, headers map[string]string, body []byte) {
	m.t.Helper()
	m.persist("the webhook", func() error {
		response, answer, err := m.process.try(m.t.Context(), http.MethodPost, "/events/http/"+topic, headers, body)
		return expect(http.StatusAccepted, response, answer, err)
	})
}

// push changes the API of a repository, in a definition that is too large for an item of the table.
func (m *mortal) push(random *rand.Rand, repo, delivery string) {
	m.t.Helper()
	noise := make([]byte, 360<<10) // does not get smaller by compression
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	definition := base64.StdEncoding.EncodeToString(noise)
	file := fmt.Sprintf("apiVersion: backstage.io/v1alpha1\nkind: API\nmetadata: {name: %s}\n"+
		"spec: {type: openapi, lifecycle: production, owner: user:guest, definition: %q}\n", repo, definition)
	var made push
	m.local("/sample/commit", change{Repo: repo, Files: map[string]*string{"catalog-info.yaml": &file}}, &made)
	m.deliver("github", m.process.gitHub(m.t, made.Event, delivery, made.Payload), made.Payload)
	id := events.NewID("github", delivery)
	m.notifications, m.exported, m.definitions[repo] = append(m.notifications, id), append(m.exported, id), definition
}

// frob sends an event of the generic topic of which a notification is made.
func (m *mortal) frob(delivery string, size int) {
	m.t.Helper()
	body := fmt.Appendf(nil, `{"type":"add","n":"frob %s","fill":%q}`, delivery, strings.Repeat("x", size))
	m.deliver("frobs", m.process.frob(m.t, delivery, body), body)
	m.notifications, m.exported = append(m.notifications, "frob "+delivery), append(m.exported, events.NewID("frobs", delivery))
}

// others puts a message into a queue of others, of which a notification is made.
func (m *mortal) others(topic, build string) {
	m.t.Helper()
	m.put(topic, build, fmt.Sprintf(`{"state":"failed","n":"%s %s"}`, topic, build))
	m.notifications = append(m.notifications, topic+" "+build)
}

// spoil puts a message into a queue of others that nobody can read.
func (m *mortal) spoil(topic, build string) {
	m.t.Helper()
	body := "build " + build + " is no JSON"
	m.put(topic, build, body)
	m.poison = append(m.poison, body)
}

func (m *mortal) put(topic, build, body string) {
	m.t.Helper()
	m.local("/queue", map[string]any{"topic": topic, "body": body, "attributes": map[string]string{"x-build-id": build}}, nil)
}

// consume takes what is exported, as a consumer does that deletes what it is done with.
func (m *mortal) consume(queue string) {
	m.t.Helper()
	for {
		var batch []events.SQSMessage
		m.local("/exports/receive", map[string]any{"queue": queue, "max": 10}, &batch)
		if len(batch) == 0 {
			return
		}
		var receipts []string
		for _, one := range batch {
			receipts = append(receipts, one.ReceiptHandle)
			m.consumed[one.MessageAttributes[events.AttributeID].StringValue]++
			check, is, err := one.Message().ClaimCheck()
			if err != nil {
				m.t.Fatal(err)
			}
			if !is {
				continue
			}
			// What is lost once the claim check is there would never come back.
			data, err := os.ReadFile(filepath.Join(m.state, "blobs", filepath.FromSlash(check.Key)+"@"))
			if err != nil || len(data) != check.Size {
				m.t.Errorf("the payload of a claim check has %d bytes, want %d: %v", len(data), check.Size, err)
			}
			m.claimed++
		}
		m.local("/exports/delete", map[string]any{"queue": queue, "receipts": receipts}, nil)
	}
}

// work sends some of everything that the path does something different with.
func (m *mortal) work(seed uint64) {
	m.t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	m.push(random, "shop", "push-1")
	m.frob("1", 10)
	m.settle()
	m.push(random, "shop", "push-2")
	m.frob("2", events.MaxSQSMessageSize) // larger than a message
	m.settle()
	m.others("builds", "1")
	m.spoil("builds", "2")
	m.others("far", "3")
	m.settle()
	m.consume("export-portal-github")
	m.consume("export-partner-frobs")
}

// verify compares what is there with what was sent: nothing is lost, and nothing is there twice.
func (m *mortal) verify() {
	m.t.Helper()
	p := m.process
	var problems []string
	m.effects, problems = count(m.notifications, p.titles(m.t, "counter-token"))
	report(m.t, problems)
	m.verifyComings()
	var list []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			Definition string `json:"definition"`
		} `json:"spec"`
	}
	if status := p.Get(m.t, "guest-token", "/catalog/entities?filter=kind=api", &list); status != http.StatusOK {
		m.t.Fatalf("GET /catalog/entities: status %d", status)
	}
	definitions := map[string]string{}
	for _, e := range list {
		definitions[e.Metadata.Name] = e.Spec.Definition
	}
	if !maps.Equal(m.definitions, definitions) {
		m.t.Errorf("the catalog has the APIs %v, want %v with their last definitions", slices.Collect(maps.Keys(definitions)), slices.Collect(maps.Keys(m.definitions)))
	}
}

// verifyComings compares what came to the consumer of the exports and to the dead letters with what should: nothing is
// lost. More than once it may come.
func (m *mortal) verifyComings() {
	m.t.Helper()
	if m.claimed == 0 {
		m.t.Error("no claim check was exported")
	}
	var dead struct {
		Letters []letter `json:"letters"`
	}
	m.local("/dead/list", map[string]any{"whole": true}, &dead)
	parked := map[string]int{}
	for _, l := range dead.Letters {
		parked[l.Body]++
	}
	got := maps.Clone(m.consumed)
	maps.Copy(got, parked)
	var problems []string
	m.comings, problems = atLeast(slices.Concat(m.exported, m.poison), got)
	report(m.t, problems)
}

// scan looks for canaries in what the processes have left behind, which have ended.
func (m *mortal) scan() {
	m.t.Helper()
	places := m.places()
	report(m.t, empty(places, []string{"the log", "the output", "an answer", tablePlace}))
	report(m.t, suspect(leaks(places, m.canaries()), nil))
}

// places returns everything that the processes have left behind.
func (m *mortal) places() map[string][]byte {
	m.t.Helper()
	places := files(m.t, m.state)
	for _, p := range m.all() {
		places["the log"] = append(places["the log"], p.log.String()...)
		places["the output"] = append(places["the output"], p.Output...)
		places["an answer"] = append(places["an answer"], p.answers.Bytes()...)
	}
	return places
}

// canaries returns what no process may leave behind.
func (m *mortal) canaries() map[string]string {
	m.t.Helper()
	canaries := map[string]string{}
	for _, p := range m.all() {
		p.remember(m.t)
		maps.Copy(canaries, p.canaries)
	}
	return canaries
}

// all returns the processes, the last one too.
func (m *mortal) all() []*Process { return append(slices.Clone(m.killed), m.process) }

// What a process that was killed has left behind is looked at, too.
func TestFaults_PlantedCanary(t *testing.T) {
	t.Parallel()
	m := newMortal(t)
	if !m.start() {
		t.Fatalf("the process does not start:\n%s", m.process.log)
	}
	plants := []planted{{"the value of a header", "the log"}, {"the value of a header", tablePlace}}
	m.frob(m.process.canary, 0)
	m.settle()
	m.process.Kill(t)
	m.alive()
	m.process.Kill(t)
	report(t, suspect(leaks(m.places(), m.canaries()), plants))
}

// effects are what became of events.
type effects struct{ events, lost, doubled int }

// count compares the effects that there are with the events that should have one each, and says what is wrong.
func count(want []string, got map[string]int) (e effects, problems []string) {
	e.events = len(want)
	for _, event := range want {
		switch got[event] {
		case 1:
		case 0:
			e.lost++
			problems = append(problems, fmt.Sprintf("%q is lost", event))
		default:
			e.doubled++
			problems = append(problems, fmt.Sprintf("%q has %d effects, want 1", event, got[event]))
		}
	}
	if len(got) != e.events-e.lost {
		problems = append(problems, fmt.Sprintf("there are effects of %d events, want %d", len(got), e.events))
	}
	return e, problems
}

// atLeast is count for what may come more than once.
func atLeast(want []string, got map[string]int) (e effects, problems []string) {
	once := map[string]int{}
	doubled := 0
	for event, n := range got {
		once[event] = 1
		if n > 1 {
			doubled++
		}
	}
	e, problems = count(want, once)
	e.doubled = doubled
	return e, problems
}

func TestCount(t *testing.T) {
	t.Parallel()
	e, problems := count([]string{"a", "b", "c"}, map[string]int{"a": 1, "c": 2, "d": 1})
	if want := (effects{events: 3, lost: 1, doubled: 1}); e != want || len(problems) != 3 {
		t.Errorf("%+v, %q; want %+v and what nobody sent", e, problems, want)
	}
	e, problems = atLeast([]string{"a", "b"}, map[string]int{"a": 2})
	if want := (effects{events: 2, lost: 1, doubled: 1}); e != want || len(problems) != 1 {
		t.Errorf("%+v, %q; want %+v and one that is lost", e, problems, want)
	}
}

func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

// repeats counts the events that a function has handled again, by what the processes have logged.
func repeats(t *testing.T, logs ...string) int {
	t.Helper()
	type hop struct {
		Message  string         `json:"msg"`
		Event    string         `json:"event"`
		Function string         `json:"function"`
		Topic    string         `json:"topic"`
		Outcome  events.Outcome `json:"outcome"`
	}
	handled, again := map[hop]bool{}, 0
	for _, log := range logs {
		for line := range strings.Lines(log) {
			var h hop
			if !strings.HasSuffix(line, "\n") || json.Unmarshal([]byte(line), &h) != nil { // cut off by the kill
				continue
			}
			if h.Message != "hop" || h.Outcome != events.OutcomeOK {
				continue
			}
			if handled[h] {
				again++
			}
			handled[h] = true
		}
	}
	return again
}

// point is a call at which the process is killed.
type point struct {
	call   string
	number int // of the calls with this name, from 1
}

// calls returns the calls of a clean run in their order.
func cleanRun(t *testing.T) []point {
	t.Helper()
	path := filepath.Join(t.TempDir(), "calls")
	m := newMortal(t)
	if !m.start("CALLBOARD_FAULT_LOG=" + path) {
		t.Fatalf("the process does not start:\n%s", m.process.log)
	}
	m.work(1)
	data, err := os.ReadFile(path) // before verify reads, too
	if err != nil {
		t.Fatal(err)
	}
	m.verify()
	m.process.Kill(t)
	m.scan()
	if m.comings.doubled > 0 {
		t.Error("without a kill something came more than once")
	}
	var points []point
	numbers := map[string]int{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		call := lines.Text()
		numbers[call]++
		points = append(points, point{call, numbers[call]})
	}
	return points
}

// TestFaults kills the process before and after each call that the path of an event makes to queues, topics, table and
// blobs. What the calls are a clean run says, so a new one is found by itself.
func TestFaults(t *testing.T) {
	t.Parallel()
	points := cleanRun(t)
	t.Logf("a clean run makes %d calls", len(points))
	for _, want := range []string{
		"embedded.Queues.Send ", "embedded.Queues.receive ", "embedded.Queues.settle ", "embedded.Queues.Publish ",
		"embedded.Queues.Enqueue ", "embedded.Queues.Receive ", "embedded.Queues.Delete ", "embedded.Queues.Send by embedded.control.Park",
		"boltdb.Table.Transact ", "boltdb.Table.Query ", "blob.Dir.Put by catalogstore", "blob.Dir.Put by events", "blob.Dir.Get by events", "blob.Dir.Delete ",
	} {
		if !slices.ContainsFunc(points, func(p point) bool { return strings.HasPrefix(p.call, want) }) {
			t.Errorf("no call of the clean run is %s", want)
		}
	}
	if !*allFaults {
		points = slices.DeleteFunc(points, func(p point) bool { return p.number > 1 })
	}

	var mu sync.Mutex
	hit := map[string]int{} // by the name of the call
	var total, comings effects
	var kills, repeated atomic.Int64
	t.Run("points", func(t *testing.T) {
		for _, p := range points {
			for _, when := range []string{"before", "after"} {
				t.Run(fmt.Sprintf("%s %d %s", when, p.number, p.call), func(t *testing.T) {
					t.Parallel()
					m := newMortal(t)
					m.start(fmt.Sprintf("CALLBOARD_FAULT=%s %d %s", when, p.number, p.call))
					m.work(uint64(p.number))
					m.alive()
					m.verify()
					m.process.Kill(t)
					m.scan()
					var logs []string
					for _, p := range m.all() {
						logs = append(logs, p.log.String())
					}
					kills.Add(int64(len(m.killed)))
					repeated.Add(int64(repeats(t, logs...)))
					mu.Lock()
					defer mu.Unlock()
					hit[p.call] += len(m.killed)
					total.events += m.effects.events
					total.lost += m.effects.lost
					total.doubled += m.effects.doubled
					comings.events += m.comings.events
					comings.lost += m.comings.lost
					comings.doubled += m.comings.doubled
				})
			}
		}
	})
	for _, name := range slices.Sorted(maps.Keys(hit)) {
		t.Logf("%4d kills at %s", hit[name], name)
		if hit[name] == 0 {
			t.Errorf("no run was killed at %s", name)
		}
	}
	t.Logf("%d points of %d calls: %d kills, %d events, %d handled again, %d lost, %d with more than one effect",
		2*len(points), len(hit), kills.Load(), total.events, repeated.Load(), total.lost, total.doubled)
	t.Logf("exported and parked: %d, %d lost, %d came more than once", comings.events, comings.lost, comings.doubled)
	if repeated.Load() == 0 {
		t.Error("no event was handled again: the test shows nothing")
	}
}
