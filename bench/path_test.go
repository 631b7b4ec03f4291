// Package bench measures whole processes. Figures of one run on one machine are comparable with each other, and with
// nothing else.
package bench

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/callboard/callboard/internal/e2e"
	"github.com/callboard/callboard/pkg/webhook"
)

func TestMain(m *testing.M) { os.Exit(e2e.Main(m)) }

// BenchmarkEmbeddedPath sends signed webhooks to `callboard dev` and waits until each has become a notification:
// ingress, publisher, router and notify, every step on the disk before it counts.
func BenchmarkEmbeddedPath(b *testing.B) {
	for _, size := range []int{8 << 10, 100 << 10} {
		for _, senders := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dKB/%dsenders", size>>10, senders), func(b *testing.B) { path(b, size, senders) })
		}
	}
}

func path(b *testing.B, size, senders int) {
	const events = 200 // of one iteration
	p := e2e.Start(b, "../internal/e2e/testdata/events-config.json", "")
	signature := webhook.Signature{Header: "x-frobs-signature", Prefix: "sha256=", Encoding: "hex"}
	secret := p.Secret(b, "frobs-webhook")
	filler := strings.Repeat("x", size)
	var number atomic.Int64
	for b.Loop() {
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range events / senders {
					n := number.Add(1)
					body := fmt.Appendf(nil, `{"type":"add","n":%d,"filler":%q}`, n, filler)
					response, answer := p.Do(b, http.MethodPost, "/events/http/frobs", map[string]string{
						"Content-Type": "application/json", "X-Frobs-Delivery": fmt.Sprint(n), signature.Header: signature.Sign(body, secret),
					}, body)
					if response.StatusCode != http.StatusAccepted {
						b.Errorf("%s %s", response.Status, answer)
					}
				}
			})
		}
		wg.Wait()
		p.Settle(b)
	}
	b.ReportMetric(float64(number.Load())/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(0, "ns/op")
}
