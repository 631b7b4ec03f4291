package cost

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
)

func parsed(t *testing.T, text string) (*config.Config, *topology.Topology) {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	topo, err := topology.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, topo
}

const hook = `"from": "hmac", "secrets": ["hook"], "signature": {"header": "x-signature"}`

// A topic without sub-topics and subscribers, counted by hand.
func TestOf_ByHand(t *testing.T) {
	t.Parallel()
	r := Of(parsed(t, `{"topics": {"a": {`+hook+`}}}`))
	const bucket = 5 + 1e6/1024*0.023*55*24/730
	// Of a message of 100 KB a send is 2 requests and a publication 2; a receive of 10 is 1 MB in 16, a deletion of 10 is 1.
	want := map[string][]float64{
		"API (API Gateway)":  {1, 1, 1, 1, 2, 2},
		"queue ingest (SQS)": {3 * 0.5, (1 + 0.2 + 0.1) * 0.5, (2 + 2 + 1) * 0.5, (2 + 1.6 + 0.1) * 0.5, 3 * 0.5, (1 + 0.1 + 0.1) * 0.5},
		"topic a (SNS)":      {0.5, 0.1, 1, 1, 0.5, 0.05},
		// Of a payload of 1 MB a PUT, and 55 days of storage; nobody reads it.
		"payload in the bucket (S3)": {0, 0, 0, 0, bucket, bucket},
	}
	got := map[string][]float64{}
	for _, h := range r.paths[0].hops {
		if _, ok := want[h.name]; ok {
			got[h.name] = h.usd
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("hops (-by hand +computed):\n%s", diff)
	}
	if len(r.paths) != 2 || r.paths[0].name != "a" || r.paths[1].total()[0] >= r.paths[0].total()[0] {
		t.Errorf("the paths are %+v, want that of the topic and a cheaper one of what is refused", r.paths)
	}
	for i, usd := range r.paths[0].total() {
		sum := 0.0
		for _, h := range r.paths[0].hops {
			sum += h.usd[i]
		}
		if math.Abs(sum-usd) > 1e-9 {
			t.Errorf("%s: the hops cost %f together, the path %f", scenarios[i].name, sum, usd)
		}
	}
}

// Whoever subscribes to a topic is paid for, and who does not is not.
func TestOf_FollowsSubscriptions(t *testing.T) {
	t.Parallel()
	names := func(p path) (list []string) {
		for _, h := range p.hops {
			if strings.HasPrefix(h.name, "function ") {
				list = append(list, strings.Fields(h.name)[1])
			}
		}
		return list
	}
	const rule = `"notifications": {"rules": [{"name": "r", "on": ["a.x"], "to": ["user:default/guest"], "title": "t"}]}`
	r := Of(parsed(t, `{"topics": {"a": {`+hook+`, "subTopic": ["body:type"]}, "b": {`+hook+`}}, `+rule+`}`))
	got := map[string][]string{}
	for _, p := range r.paths {
		got[p.name] = names(p)
	}
	want := map[string][]string{
		"a.x":      {"ingress", "sqs-publisher", "router", "notify"},
		"a, other": {"ingress", "sqs-publisher", "router"},
		"b":        {"ingress", "sqs-publisher"},

		"refused by the ingress": {"ingress"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("functions of the paths (-want +got):\n%s", diff)
	}
}

// Who reads a payload in the bucket gets it from there: the router only if its rule is about the payload.
func TestOf_Payloads(t *testing.T) {
	t.Parallel()
	const rules = `"notifications": {"rules": [{"name": "r", "on": ["a.x"], "to": ["user:default/guest"], "title": "t"}]}`
	cost := func(subTopic string) float64 {
		r := Of(parsed(t, `{"topics": {"a": {`+hook+`, "subTopic": ["`+subTopic+`"]}}, `+rules+`}`))
		for _, h := range r.paths[0].hops {
			if h.name == hopPayloads && r.paths[0].name == "a.x" {
				return h.usd[4]
			}
		}
		t.Fatal("payloads cost nothing")
		return 0
	}
	if got := cost("body:type") - cost("header:x-type"); math.Abs(got-0.4) > 1e-9 {
		t.Errorf("a rule about the payload costs %f more, want a GET", got)
	}
}

// What others send by a queue is not paid to the gateway, and a poll is paid for although nothing comes.
func TestOf_QueuesOfOthers(t *testing.T) {
	t.Parallel()
	r := Of(parsed(t, `{"topics": {
		"mapped": {"from": "queue", "queue": "arn:aws:sqs:eu-west-1:111122223333:mapped"},
		"polled": {"from": "queue", "queue": "arn:aws:sqs:us-west-2:111122223333:polled", "poll": {"every": "5m", "waitTime": "2s"}}
	}}`))
	for _, p := range r.paths[:2] {
		got := map[string][]float64{}
		for _, h := range p.hops {
			got[h.name] = h.usd
		}
		// Of a message of 100 KB a receive is 2 requests; of ten, 1 MB is 16 and their deletion one. One of 1 MB comes alone.
		want := []float64{2 * 0.4, (0.2 + 0.1) * 0.4, 3 * 0.4, (1.6 + 0.1) * 0.4, 18 * 0.4, 18 * 0.4}
		if diff := cmp.Diff(want, got["queue of others (SQS)"], cmpopts.EquateApprox(1e-9, 0)); diff != "" {
			t.Errorf("%s: the queue (-by hand +computed):\n%s", p.name, diff)
		}
		if len(got["API (API Gateway)"]) > 0 || len(got["function sqs-publisher (Lambda)"]) == 0 {
			t.Errorf("%s: the path is %v", p.name, got)
		}
	}
	const runs = 730 * 12
	want := map[string]float64{
		"2 queues, asked for messages again and again (SQS)": 2 * 5 * 3 * 60 * 730 * 0.4e-6, // ingest and mapped
		"schedule poll-polled, its runs that wait for messages, their leases and logs": runs * (1e-6 + 0.2e-6 + 0.4e-6 + 2*0.625e-6 +
			0.25*2.15*0.0000133334 + 700*0.5e-9),
	}
	for _, i := range r.monthly {
		if usd, known := want[i.name]; known && math.Abs(usd-i.usd) > 1e-9 {
			t.Errorf("%s: %v, want %v", i.name, i.usd, usd)
		}
		delete(want, i.name)
	}
	if len(want) > 0 {
		t.Errorf("not in a month: %v", want)
	}
}

// Large and lonely events cost more than small ones that come together.
func TestOf_Order(t *testing.T) {
	t.Parallel()
	for _, p := range example(t).paths {
		if p.name == "refused by the ingress" {
			continue // whatever it would have been a part of
		}
		usd := p.total()
		if usd[0] <= usd[1] || usd[2] <= usd[3] || usd[2] <= usd[0] || usd[3] <= usd[1] || usd[4] <= usd[5] || usd[4] <= usd[2] {
			t.Errorf("%s: %v", p.name, usd)
		}
	}
}

func example(t *testing.T) *Report {
	t.Helper()
	data, err := os.ReadFile("../../events-config.json")
	if err != nil {
		t.Fatal(err)
	}
	return Of(parsed(t, string(data)))
}

// A month has a price for each thing that the stack has, whatever comes in.
func TestMonthly(t *testing.T) {
	t.Parallel()
	r := Of(parsed(t, `{"topics": {"a": {`+hook+`}, "b": {`+hook+`}}}`))
	got := map[string]float64{}
	for _, i := range r.monthly {
		got[i.name] = i.usd
	}
	want := map[string]float64{
		"1 queue, asked for messages again and again (SQS)": 5 * 3 * 60 * 730 * 0.4e-6,
		// 3 queues, 4 functions with 2 each, 2 of the API, 2 of the ingest queue.
		"15 metrics of alarms (CloudWatch)": 1.5,
		// 2 topics, 1 function that reads a queue, 1 reason for refusals.
		"4 metrics of our own (CloudWatch)":                                1.2,
		"1 dashboard (CloudWatch)":                                         3,
		"1 secret (Secrets Manager)":                                       0.4,
		"reads of secrets, by functions that never rest (Secrets Manager)": 12 * 730 * 0.05 / 1e4,
		"1 GB in the table, with point-in-time recovery (DynamoDB)":        0.45,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("a month (-by hand +computed):\n%s", diff)
	}
}

// What is assumed about the stack is what its template has.
func TestStack(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../infra/stack/testdata/callboard.template.json")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(data, &template); err != nil {
		t.Fatal(err)
	}
	alarms, dashboards, secrets := 0.0, 0, 0.0
	functions := map[string]float64{}
	for _, r := range template.Resources {
		switch r.Type {
		case "AWS::Lambda::Function":
			name, _ := r.Properties["FunctionName"].(string)
			functions[strings.TrimPrefix(name, "callboard-")], _ = r.Properties["MemorySize"].(float64)
		case "AWS::CloudWatch::Dashboard":
			dashboards++
		case "AWS::SecretsManager::Secret":
			secrets++
		case "AWS::CloudWatch::Alarm":
			list, ok := r.Properties["Metrics"].([]any)
			if !ok {
				alarms++
			}
			for _, q := range list {
				if _, ok := q.(map[string]any)["MetricStat"]; ok {
					alarms++
				}
			}
		}
	}
	file, err := os.ReadFile("../../events-config.json")
	if err != nil {
		t.Fatal(err)
	}
	c, topo := parsed(t, string(file))
	want := map[string]float64{}
	for _, f := range topo.Functions {
		want[f.Name] = memory(f.Name)
	}
	if diff := cmp.Diff(want, functions); diff != "" {
		t.Errorf("memory of the functions in MB (-assumed +deployed):\n%s", diff)
	}
	if got := alarmMetrics(c, topo); got != alarms {
		t.Errorf("%v metrics of alarms are assumed, the stack has %v", got, alarms)
	}
	if dashboards != 1 {
		t.Errorf("one dashboard is assumed, the stack has %d", dashboards)
	}
	items := ""
	for _, i := range monthly(c, topo) {
		items += i.name + "\n"
	}
	if !strings.Contains(items, count(secrets, "secret")+" ") {
		t.Errorf("the stack has %v secrets, a month has:\n%s", secrets, items)
	}
}

// The dashboard shows costs by the same prices: all that it has, and for what the template counts.
func TestDashboard(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../infra/stack/dashboard.go")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range regexp.MustCompile(`(?m)^\t(price\w+)\s+= (.*)`).FindAllStringSubmatch(string(data), -1) {
		number, _, _ := strings.Cut(m[2], " ")
		if got[m[1]], err = strconv.ParseFloat(number, 64); err != nil {
			t.Fatal(err)
		}
	}
	message := priceQueue.of(1) + priceFair.of(1)
	want := map[string]float64{
		"priceRequest": priceHTTP.of(1), "priceInvocation": priceInvocation.of(1),
		"priceGBSecondsA": priceGBSecond.of(1) / 1000, "priceGBSecondsX": priceGBSecond.of(1) / 1000 * 1.25, // what x86_64 costs more
		"pricePoll": priceQueue.of(1), "priceMessage": message, "pricePublish": pricePublish.of(1),
		"priceWrite": priceWrite.of(1), "priceRead": priceRead.of(1), "priceLog": priceLog.of(1),
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-5, 0)); diff != "" {
		t.Errorf("prices of the dashboard (-here +there):\n%s", diff)
	}

	shown := map[string][]float64{}
	for metric, usd := range dashboard(t) {
		name := strings.Fields(metric)
		if name[0] == "AWS/Lambda" && name[1] == "Duration" { // each function by its memory
			usd /= memory(strings.TrimPrefix(name[2], "callboard-")) / 1024
		}
		id := name[0] + " " + name[1]
		if len(shown[id]) == 0 || math.Abs(shown[id][0]-usd) > usd*1e-4 {
			shown[id] = append(shown[id], usd)
		}
	}
	counted := map[string][]float64{
		"AWS/ApiGateway Count":   {priceHTTP.of(1)},
		"AWS/Lambda Invocations": {priceInvocation.of(1)}, "AWS/Lambda Duration": {priceGBSecond.of(1) / 1000},
		// Who receives a message deletes it too.
		"AWS/SQS NumberOfMessagesSent": {message}, "AWS/SQS NumberOfMessagesReceived": {2 * message}, "AWS/SQS NumberOfEmptyReceives": {priceQueue.of(1)},
		"AWS/SNS NumberOfMessagesPublished":       {pricePublish.of(1)},
		"AWS/DynamoDB ConsumedWriteCapacityUnits": {priceWrite.of(1)}, "AWS/DynamoDB ConsumedReadCapacityUnits": {priceRead.of(1)},
		"AWS/Logs IncomingBytes": {priceLog.of(1)},
	}
	if diff := cmp.Diff(counted, shown, cmpopts.EquateApprox(1e-4, 0)); diff != "" {
		t.Errorf("what the deployed dashboard multiplies with (-here +there):\n%s", diff)
	}
}

// dashboard returns what the dashboard in the template multiplies metrics with: namespace, name and value of the dimension.
func dashboard(t *testing.T) map[string]float64 {
	t.Helper()
	data, err := os.ReadFile("../../infra/stack/testdata/callboard.template.json")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources struct {
			Dashboard struct {
				Properties struct {
					DashboardBody struct {
						Sub string `json:"Fn::Sub"`
					}
				}
			}
		}
	}
	var body struct {
		Widgets []struct {
			Properties struct {
				Title   string  `json:"title"`
				Metrics [][]any `json:"metrics"`
			} `json:"properties"`
		} `json:"widgets"`
	}
	if err := json.Unmarshal(data, &template); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(template.Resources.Dashboard.Properties.DashboardBody.Sub), &body); err != nil {
		t.Fatal(err)
	}
	metrics, prices := map[string]string{}, map[string]float64{}
	for _, w := range body.Widgets {
		if !strings.HasPrefix(w.Properties.Title, "What it costs") {
			continue
		}
		for _, m := range w.Properties.Metrics {
			last, _ := m[len(m)-1].(map[string]any)
			if len(m) == 5 {
				metrics[last["id"].(string)] = m[0].(string) + " " + m[1].(string) + " " + m[3].(string)
			}
			expression, _ := last["expression"].(string)
			for term := range strings.SplitSeq(expression, " + ") {
				if term == "" {
					continue
				}
				id, number, ok := strings.Cut(strings.TrimPrefix(term, "FILL("), ", 0) * ")
				usd, err := strconv.ParseFloat(number, 64)
				if !ok || err != nil || metrics[id] == "" {
					t.Fatalf("the term %q is not a price for a metric", term)
				}
				prices[metrics[id]] = usd
			}
		}
	}
	if len(prices) != len(metrics) {
		t.Errorf("%d metrics have %d prices", len(metrics), len(prices))
	}
	return prices
}

// Every price has a source, and every row of a table as many cells as its headings.
func TestString(t *testing.T) {
	t.Parallel()
	for _, p := range prices {
		if p.usd <= 0 || p.per <= 0 || !strings.HasPrefix(p.source, "https://aws.amazon.com/") {
			t.Errorf("the price %+v is not complete", p)
		}
	}
	text := example(t).String()
	cells := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		if n := strings.Count(line, "|"); cells != 0 && n != cells {
			t.Errorf("%d cells, want %d: %s", n, cells, line)
		} else {
			cells = n
		}
	}
	for _, want := range []string{PriceDate, Region, "### A million `github.push` events, hop by hop", "queue catalog-sync (SQS)", "together"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("something is not a number:\n%s", text)
	}
}
