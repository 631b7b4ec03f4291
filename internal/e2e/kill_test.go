//go:build !deployed

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/front"
)

var (
	killSeed   = flag.Uint64("kill.seed", 0, "the seed of TestKill; 0 takes a new one")
	killEvents = flag.Int("kill.events", 1000, "how many events flow in TestKill; at least 100, and a multiple of 10")
)

// survivor is a process that is killed and started again.
type survivor struct {
	mu      sync.RWMutex // held for writing while there is no process
	process *Process

	kills, inFlight int
	logs            []string // of those that were killed
}

func (s *survivor) current() *Process {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.process
}

func (s *survivor) kill(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.Kill(t)
	s.kills++
	s.logs = append(s.logs, s.process.Log(t))
	s.process = Start(t, s.process.Config, s.process.State)
	if strings.Contains(s.process.Log(t), "events that were left go on") {
		s.inFlight++
	}
}

// again tells whether something is worth another try. A process that has not come back by then never will.
func (s *survivor) again(t *testing.T, since time.Time) bool {
	if time.Since(since) < patience {
		return true
	}
	t.Error("the process does not answer any more")
	return false
}

// accept sends a webhook until it is accepted, as a provider or a person does that delivers it again.
func (s *survivor) accept(t *testing.T, path string, headers map[string]string, body []byte) {
	for since := time.Now(); s.again(t, since); {
		response, answer, err := s.current().try(t.Context(), http.MethodPost, path, headers, body)
		if err != nil || response.StatusCode == http.StatusServiceUnavailable {
			continue // killed before the answer came, or the disk is too slow
		}
		if response.StatusCode != http.StatusAccepted {
			t.Errorf("%s is answered %s %s", path, response.Status, answer)
		}
		return
	}
}

// commit pushes until it is known that the commit is there.
func (s *survivor) commit(t *testing.T, c change) push {
	for since := time.Now(); s.again(t, since); {
		p := s.current()
		engine, err := front.Find(t.Context(), p.State)
		if err != nil {
			continue
		}
		made, err := commitOn(t.Context(), p, engine.Token, c)
		if err != nil {
			continue
		}
		return made
	}
	return push{}
}

// While events flow the process is killed again and again. Every event that was accepted has its effect, and
// none has it twice.
func TestKill(t *testing.T) {
	t.Parallel()
	const (
		senders      = 8
		repositories = 10
	)
	total := *killEvents
	pushes := total / 10 // of the total
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -kill.seed=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	s := &survivor{process: Start(t, config, "")}
	var accepted atomic.Int64
	progress := make(chan struct{}, total)
	send := func(n int) {
		if n%(total/pushes) == 0 {
			repo := fmt.Sprint("repo-", n/(total/pushes)%repositories)
			w := s.commit(t, change{Repo: repo, Files: map[string]*string{"catalog-info.yaml": component(repo, fmt.Sprint("push ", n))}})
			s.accept(t, "/events/http/github", s.current().gitHub(t, w.Event, uuid.NewString(), w.Payload), w.Payload)
		} else {
			body := fmt.Appendf(nil, `{"type":"add","n":"event %d"}`, n)
			s.accept(t, "/events/http/frobs", s.current().frob(t, fmt.Sprint("kill-", n), body), body)
		}
		accepted.Add(1)
		progress <- struct{}{}
	}

	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			// Each repository belongs to one sender, so that its last push is known.
			for n := range total {
				if n/(total/pushes)%repositories%senders == sender {
					send(n)
				}
			}
		})
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for left := total; left > 0; {
			until := min(left, 20+random.IntN(100))
			for range until {
				<-progress
			}
			if left -= until; left == 0 {
				return
			}
			<-time.After(time.Duration(random.IntN(int(20 * time.Millisecond)))) // a moment that no event decides
			s.kill(t)
		}
	}()
	wg.Wait()
	<-killed
	p := s.current()
	p.Settle(t)
	again := repeats(t, append(s.logs, p.Log(t))...)
	if s.inFlight == 0 {
		t.Error("no kill hit work in flight: the test shows nothing")
	}
	if again == 0 {
		t.Error("no event was handled again: the test shows nothing")
	}

	last := map[string]string{}
	var frobs []string
	for n := range total {
		if n%(total/pushes) == 0 {
			last[fmt.Sprint("repo-", n/(total/pushes)%repositories)] = fmt.Sprint("push ", n)
		} else {
			frobs = append(frobs, fmt.Sprint("event ", n))
		}
	}
	became, problems := count(frobs, p.titles(t, "counter-token"))
	report(t, problems)
	t.Logf("%d events: %d kills, %d of them with work in flight, %d handled again, %d lost, %d with more than one effect",
		accepted.Load(), s.kills, s.inFlight, again, became.lost, became.doubled)
	if diff := cmp.Diff(last, p.components(t)); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
}
