// Package cost computes what a configuration costs in AWS: from its topology, the prices in prices.go and the
// assumptions in assumptions.go. A million events cost something, and so does a month without any.
package cost

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// scenario is how events come in.
type scenario struct {
	name  string
	size  float64 // of the payload, in bytes
	batch float64 // how many messages a function gets at once
}

var scenarios = []scenario{
	{"8 KB, quiet", 8 * kib, 1},
	{"8 KB, busy", 8 * kib, 10},
	{"100 KB, quiet", 100 * kib, 1},
	{"100 KB, busy", 100 * kib, 10},
	{"1 MB, quiet", 1024 * kib, 1},
	{"1 MB, busy", 1024 * kib, 10},
}

// hop is one step on the path of an event with its cost in each scenario, in US dollars for a million events.
type hop struct {
	name string
	usd  []float64
}

// path is the way of events of one sub-topic.
type path struct {
	name  string
	wants bool // somebody subscribes to the sub-topic
	hops  []hop
}

// total returns the cost in each scenario.
func (p path) total() []float64 {
	sum := make([]float64, len(scenarios))
	for _, h := range p.hops {
		for i, usd := range h.usd {
			sum[i] += usd
		}
	}
	return sum
}

// item is something that costs the same every month.
type item struct {
	name string
	usd  float64
}

// Report is what a configuration costs.
type Report struct {
	paths   []path
	monthly []item
}

// Of returns what a configuration costs; t is its topology.
func Of(c *config.Config, t *topology.Topology) *Report {
	r := &Report{monthly: monthly(c, t)}
	for _, root := range t.Topics {
		if _, ok := c.Topics[root.Name]; !ok {
			continue
		}
		for _, sub := range t.Topics {
			if strings.HasPrefix(sub.Name, root.Name+".") {
				r.paths = append(r.paths, follow(t, root.Name, sub.Name))
			}
		}
		r.paths = append(r.paths, follow(t, root.Name, ""))
	}
	r.paths = append(r.paths, refused(t))
	return r
}

// follow returns the path of events of a root topic with a sub-topic, "" for one that nobody wants.
func follow(t *topology.Topology, root, sub string) path {
	p := path{name: sub, wants: sub != ""}
	if !p.wants {
		p.name = root
		if len(t.SubTopicRules(root)) > 0 {
			p.name += ", other"
		}
	}
	for i, s := range scenarios {
		w := &walk{topo: t, scenario: s, index: i, path: &p, sub: sub}
		if byQueue(t, root) {
			w.queueOfOthers(root)
		} else {
			w.ingress(root)
		}
	}
	// Logs are of all functions, so they come last.
	slices.SortStableFunc(p.hops, func(a, b hop) int { return cmp.Compare(logsLast(a), logsLast(b)) })
	return p
}

// refused returns what webhooks cost that the ingress refuses, for example because of their signature.
func refused(t *topology.Topology) path {
	p := path{name: "refused by the ingress"}
	for i, s := range scenarios {
		w := &walk{topo: t, scenario: s, index: i, path: &p}
		w.door("")
	}
	return p
}

func logsLast(h hop) int {
	if h.name == hopLogs {
		return 1
	}
	return 0
}

// walk goes along a path in one scenario.
type walk struct {
	topo     *topology.Topology
	scenario scenario
	index    int
	path     *path
	sub      string // where the router sends events
}

// add adds to a hop the cost of one event.
func (w *walk) add(name string, usd float64) {
	i := slices.IndexFunc(w.path.hops, func(h hop) bool { return h.name == name })
	if i < 0 {
		i = len(w.path.hops)
		w.path.hops = append(w.path.hops, hop{name, make([]float64, len(scenarios))})
	}
	w.path.hops[i].usd[w.index] += usd * million
}

// flow is a part of the events, the size of their messages and that of their payloads in the bucket, in bytes.
type flow struct{ share, size, payload float64 }

const (
	hopLogs     = "logs (CloudWatch)"
	hopPayloads = "payload in the bucket (S3)"
)

// door is what every webhook takes, and returns those that are accepted.
func (w *walk) door(root string) flow {
	w.add("API (API Gateway)", priceHTTP.of(math.Ceil(w.scenario.size/requestChunk)))
	f := w.message(root)
	w.function(topology.Ingress, whole(f), 1, ingressTime)
	w.add(hopLogs, logs(accessLine-logOverhead, 1))
	return f
}

// message is an event of a root topic: whole, or a claim check with its payload in the bucket.
func (w *walk) message(root string) flow {
	f := flow{share: 1, size: w.scenario.size + Attributes}
	if f.size > float64(w.topo.Limit(root)) {
		f = flow{share: 1, size: ClaimCheck + Attributes, payload: w.scenario.size}
	}
	return f
}

// store is what it takes a function to keep the payload of a claim check.
func (w *walk) store(name string, f flow) {
	if f.payload > 0 {
		w.add(hopPayloads, pricePut.of(1)+priceObjects.of(f.payload/gib*payloadDays*24/hoursPerMonth))
		w.add("function "+name+" (Lambda)", compute(w.memory(name), objectTime))
	}
}

// ingress is what every accepted webhook takes.
func (w *walk) ingress(root string) {
	f := w.door(root)
	w.store(topology.Ingress, f)
	w.queue(topology.QueueIngest, f)
	w.function(topology.SQSPublisher, f, w.batch(f), publishTime)
	w.publish(root, f, w.batch(f))
}

// byQueue tells whether the events of a root topic come by a queue of others.
func byQueue(t *topology.Topology, root string) bool {
	return slices.ContainsFunc(t.Foreign, func(q topology.ForeignQueue) bool { return q.Topic == root })
}

// queueOfOthers is what it takes to receive and delete what others have sent, which they pay.
func (w *walk) queueOfOthers(root string) {
	f := flow{share: 1, size: w.scenario.size + Attributes}
	n := w.batch(f)
	w.add("queue of others (SQS)", priceQueue.of(chunks(n*f.size)/n+1/n))
	w.function(topology.SQSPublisher, f, n, publishTime)
	f = w.message(root)
	w.store(topology.SQSPublisher, f)
	w.publish(root, f, n)
}

// publish is what it takes to publish events to a topic, so many at once, and all that follows.
func (w *walk) publish(topic string, f flow, n float64) {
	// A request takes as many events as fit into it, and its size is what counts.
	n = min(n, max(1, math.Floor(float64(w.topo.Limit(topic))/f.size)))
	w.add("topic "+topic+" (SNS)", f.share*pricePublish.of(chunks(n*f.size)/n))
	for _, s := range w.topo.Subscriptions {
		if s.Topic != topic {
			continue
		}
		w.queue(s.Queue, f)
		for _, q := range w.topo.Queues {
			if q.Name == s.Queue {
				w.subscriber(q.Function, topic, f)
			}
		}
	}
}

// subscriber is what a function that reads queues does with events of a topic.
func (w *walk) subscriber(name, topic string, f flow) {
	switch name {
	case topology.Router:
		read := f
		if slices.ContainsFunc(w.topo.SubTopicRules(topic), events.Selector.ReadsPayload) {
			read = w.fetch(name, f)
		}
		w.function(name, read, w.batch(f), publishTime)
		if w.sub != "" {
			w.publish(w.sub, f, w.batch(f))
		}
	case topology.CatalogSync:
		w.catalogSync(topic, f)
	case topology.Notify:
		w.function(name, w.fetch(name, f), w.batch(f), notifyTime)
		w.add("table, by notify (DynamoDB)", f.share*NotificationUnits.usd())
	default:
		w.function(name, w.fetch(name, f), w.batch(f), ownTime)
	}
}

// catalogSync distinguishes pushes that change the catalog, others, and events about a repository.
func (w *walk) catalogSync(topic string, f flow) {
	const table = "table, by catalog-sync (DynamoDB)"
	work := func(share float64, d duration, u Units, requests float64) {
		part := flow{f.share * share, f.size, f.payload}
		w.function(topology.CatalogSync, w.fetch(topology.CatalogSync, part), w.batch(f), d)
		w.add(table, part.share*u.usd())
		w.add(hopLogs, part.share*logs(MetricLine, requests))
	}
	if !strings.HasSuffix(topic, ".push") {
		work(1, repositoryTime, RepositoryUnits, quotaLines/2)
		return
	}
	work(1-ChangesCatalog, pushTime, PushUnits, 0)
	work(ChangesCatalog, changeTime, ChangeUnits, quotaLines)
	// The change is published from the outbox, alone.
	w.publish(config.TopicCatalogChanged, flow{share: f.share * ChangesCatalog, size: AnnouncementSize}, 1)
}

// whole is what a function reads that has the payload too.
func whole(f flow) flow { return flow{share: f.share, size: f.size + f.payload} }

// fetch is what it takes a function to get the payloads of claim checks, and returns what it reads then.
func (w *walk) fetch(name string, f flow) flow {
	if f.payload > 0 {
		w.add(hopPayloads, f.share*priceGet.of(1))
		w.add("function "+name+" (Lambda)", f.share*compute(w.memory(name), objectTime))
	}
	return whole(f)
}

// batch is how many events a function gets at once: as many as one receive may return.
func (w *walk) batch(f flow) float64 {
	return min(w.scenario.batch, max(1, math.Floor(maxReceive/f.size)))
}

// queue is what it takes to send, receive and delete: each message is sent alone, by SNS too.
func (w *walk) queue(name string, f flow) {
	n := w.batch(f)
	requests := chunks(f.size) + chunks(n*f.size)/n + 1/n
	w.add("queue "+name+" (SQS)", f.share*(priceQueue.of(requests)+priceFair.of(requests)))
}

// function is what it takes to invoke a function with batches, and what it logs.
func (w *walk) function(name string, f flow, batch float64, d duration) {
	mb := w.memory(name)
	own := d.event + parse*f.size/kib*max(1, vCPU/mb)
	w.add("function "+name+" (Lambda)", f.share*(priceInvocation.of(1/batch)+compute(mb, d.invocation/batch+own)))
	w.add(hopLogs, f.share*(logs(HopLine, 1)+logs(MetricLine, metricLines)+logs(platformLines-logOverhead, 1/batch)))
}

// memory is what a function has, in MB.
func (w *walk) memory(name string) float64 {
	for _, f := range w.topo.Functions {
		if f.Name == name && f.Memory > 0 {
			return float64(f.Memory)
		}
	}
	return memory(name)
}

// compute returns what milliseconds of a function with so many MB cost.
func compute(mb, milliseconds float64) float64 {
	return priceGBSecond.of(mb / 1024 * milliseconds / 1000)
}

// logs returns what lines of so many bytes cost.
func logs(bytes, lines float64) float64 { return priceLog.of((bytes + logOverhead) * lines) }

// chunks returns how many requests to a queue or topic so many bytes count for.
func chunks(size float64) float64 { return math.Ceil(size / messageChunk) }

// monthly returns what is there to pay without any event.
func monthly(c *config.Config, t *topology.Topology) []item {
	read := 0.0
	for _, q := range t.Queues {
		if q.Function != "" {
			read++
		}
	}
	for _, q := range t.Foreign {
		if q.Poll == nil {
			read++
		}
	}
	items := []item{{count(read, "queue") + ", asked for messages again and again (SQS)", priceQueue.of(read * pollers * pollsPerMinute * minutesPerMonth)}}
	for _, s := range t.Schedules {
		runs := hoursPerMonth * 3600 / s.Every.Seconds()
		if s.Topic != "" {
			items = append(items, poll(t, s, runs))
			continue
		}
		items = append(items, item{
			"schedule " + s.Name + ", its runs, their reads and logs",
			priceSchedule.of(runs) + priceInvocation.of(runs) + runs*(compute(memory(s.Function), sweepTime.invocation)+SweepUnits.usd()+logs(platformLines-logOverhead, 1)),
		})
	}
	alarms, counted := alarmMetrics(c, t), ownMetrics(c, t)
	items = append(items,
		item{count(alarms, "metric") + " of alarms (CloudWatch)", priceAlarm.of(alarms)},
		item{count(counted, "metric") + " of our own (CloudWatch)", priceMetric.of(counted)},
		item{"1 dashboard (CloudWatch)", priceDashboard.of(1)},
	)
	secrets, reads := map[string]bool{}, 0.0
	for _, f := range t.Functions {
		for _, name := range f.Secrets {
			reads += secretReads
			if !strings.Contains(name, ":") { // references are somebody else's
				secrets[name] = true
			}
		}
	}
	kept := float64(len(secrets))
	return append(items,
		item{count(kept, "secret") + " (Secrets Manager)", priceSecret.of(kept)},
		item{"reads of secrets, by functions that never rest (Secrets Manager)", priceSecretRead.of(reads)},
		item{count(tableGB, "GB") + " in the table, with point-in-time recovery (DynamoDB)", priceStorage.of(tableGB) + priceRestore.of(tableGB)},
	)
}

// poll is what it takes to ask a queue of others that is empty: every run waits for a message, and has a lease.
func poll(t *topology.Topology, s topology.Schedule, runs float64) item {
	wait := 0.0
	for _, q := range t.Foreign {
		if q.Topic == s.Topic {
			wait = 1000 * time.Duration(q.Poll.WaitTime).Seconds()
		}
	}
	return item{
		"schedule " + s.Name + ", its runs that wait for messages, their leases and logs",
		priceSchedule.of(runs) + priceInvocation.of(runs) + priceQueue.of(runs) +
			runs*(compute(memory(s.Function), pollTime.invocation+wait)+leaseUnits.usd()+logs(platformLines-logOverhead, 1)),
	}
}

// hosts returns of how many hosts the API is asked.
func hosts(c *config.Config) float64 {
	different := map[string]bool{}
	for _, p := range c.Catalog.Providers.GitHub {
		different[p.Host] = true
	}
	return float64(len(different))
}

// alarmMetrics counts the metrics that the alarms of the stack look at. A test compares it with the stack.
func alarmMetrics(c *config.Config, t *topology.Topology) float64 {
	const (
		api         = 2 // errors, and what the gateway refuses
		byFunction  = 2 // errors, throttles
		inAndOut    = 2 // what comes in, what goes out; of the ingest queue, and of each topic with a subscription
		undelivered = 1 // of each topic with a subscription
	)
	n := float64(api + len(t.Queues) + byFunction*len(t.Functions) + inAndOut)
	for _, topic := range t.Topics {
		if !slices.ContainsFunc(t.Subscriptions, func(s topology.Subscription) bool { return s.Topic == topic.Name }) {
			continue
		}
		n += inAndOut + undelivered
	}
	for _, e := range c.Exports {
		if !e.ClaimChecks {
			n++ // what is too large for the export
		}
	}
	for _, q := range t.Foreign {
		if q.Poll == nil {
			n++ // its age
		}
	}
	return n + hosts(c) + float64(len(t.GivenSecrets()))
}

// ownMetrics counts what the functions write: one metric for each value of the dimension.
func ownMetrics(c *config.Config, t *topology.Topology) float64 {
	n := refusals + hosts(c) + float64(len(c.Topics)) // refused by reason, quota by host, accepted by topic
	for _, f := range t.Functions {
		if len(f.Queues) > 0 {
			n++ // effect by function
		}
	}
	return n
}
