package stack

import (
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/jsii-runtime-go"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/telemetry"
	"github.com/callboard/callboard/internal/topology"
)

// Prices in US dollars, of us-east-1 in November 2026 and without the free tier. They are those of internal/cost, where
// their sources are; a test there compares them.
const (
	priceRequest    = 1.00e-6         // one request to the HTTP API, up to 512 KB
	priceInvocation = 0.20e-6         // one invocation
	priceGBSecondsA = 0.0000133334e-3 // one GB for a millisecond, arm64
	priceGBSecondsX = 0.0000166667e-3 // the same, x86_64
	pricePoll       = 0.40e-6         // one request to a queue that moves no message
	priceMessage    = 0.50e-6         // one with a message, up to 64 KB: all of ours have a group, which costs extra
	pricePublish    = 0.50e-6         // one event published, up to 64 KB
	priceWrite      = 0.625e-6        // one write unit of DynamoDB
	priceRead       = 0.125e-6        // one read unit
	priceLog        = 0.50e-9         // one byte written to a log
)

// widget is one part of a dashboard, as CloudWatch reads it
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html).
type widget struct {
	Type       string         `json:"type"`
	X          int            `json:"x"`
	Y          int            `json:"y"`
	Width      int            `json:"width"`
	Height     int            `json:"height"`
	Properties map[string]any `json:"properties"`
}

// board collects widgets in rows of 24 columns.
type board struct {
	widgets []widget
	x, y    int
}

const height = 6

func (b *board) add(kind string, width int, properties map[string]any) {
	if b.x+width > 24 {
		b.x, b.y = 0, b.y+height
	}
	b.widgets = append(b.widgets, widget{kind, b.x, b.y, width, height, properties})
	b.x += width
}

// graph adds lines over time. A metric is a list as CloudWatch has it.
func (b *board) graph(width int, title, statistic string, metrics ...[]any) {
	b.add("metric", width, map[string]any{
		"title": title, "view": "timeSeries", "region": "${AWS::Region}", "stat": statistic, "period": 300, "metrics": metrics,
		"yAxis": map[string]any{"left": map[string]any{"min": 0}},
	})
}

// search is a metric for each value that a dimension has.
func (b *builder) search(metric, by, statistic string) []any {
	return []any{map[string]any{
		"expression": fmt.Sprintf(`SEARCH('{%s,Prefix,%s} Prefix="%s" MetricName="%s"', '%s', 300)`, telemetry.Namespace, by, b.topo.Prefix, metric, statistic),
		"label":      "${PROP('Dim." + by + "')} " + statistic,
	}}
}

// dashboard adds the one dashboard.
func (b *builder) dashboard() {
	var d board
	d.graph(12, "What comes in, by topic", "Sum", b.search(telemetry.Accepted, "Topic", "Sum"))
	d.graph(12, "What is refused or goes nowhere, and why", "Sum", b.search(telemetry.Refused, "Reason", "Sum"),
		b.search(telemetry.Unrouted, "Reason", "Sum"), b.search(telemetry.Withheld, "Export", "Sum"),
		[]any{telemetry.Namespace, b.topo.Prefix + "-" + metricGatewayRefused, map[string]any{"label": "by the gateway"}},
		[]any{"AWS/ApiGateway", "4xx", "ApiId", "${Api}", map[string]any{"label": "all 4xx"}},
		[]any{"AWS/ApiGateway", "5xx", "ApiId", "${Api}", map[string]any{"label": "all 5xx"}})
	d.graph(12, "From webhook to effect, in milliseconds", "p99",
		b.search(telemetry.Effect, "Function", "p50"), b.search(telemetry.Effect, "Function", "p99"))
	d.graph(12, "What a sender waits for, in milliseconds", "p99",
		[]any{"AWS/ApiGateway", "Latency", "ApiId", "${Api}", map[string]any{"stat": "p50", "label": "p50"}},
		[]any{"AWS/ApiGateway", "Latency", "ApiId", "${Api}", map[string]any{"stat": "p99", "label": "p99"}})

	var waiting, dead, failing [][]any
	for _, q := range b.topo.Queues {
		if q.DeadLetter == "" {
			dead = append(dead, []any{"AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", q.AWSName, map[string]any{"label": q.Name}})
		} else {
			waiting = append(waiting, []any{"AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", q.AWSName, map[string]any{"label": q.Name}})
		}
	}
	for _, f := range b.topo.Functions {
		failing = append(failing,
			[]any{"AWS/Lambda", "Errors", "FunctionName", f.AWSName, map[string]any{"label": f.Name + " fails"}},
			[]any{"AWS/Lambda", "Throttles", "FunctionName", f.AWSName, map[string]any{"label": f.Name + " is throttled"}})
	}
	d.graph(8, "What is stuck: dead letters", "Maximum", dead...)
	d.graph(8, "What is stuck: seconds the oldest message waits", "Maximum", waiting...)
	d.graph(8, "What is stuck: functions", "Sum", failing...)
	d.graph(12, "What it costs: US dollars in 5 minutes, at 64 KB a message; without data transfer, storage, keys, secrets, alarms, metrics, log of the API", "Sum",
		b.costs()...)
	d.add("alarm", 12, map[string]any{"title": "Alarms", "alarms": b.alarms.arns})

	body, err := json.Marshal(map[string]any{"widgets": d.widgets}, json.Deterministic(true), jsontext.EscapeForHTML(false))
	if err != nil {
		panic("stack: the dashboard is not JSON: " + err.Error()) // only text and numbers are in it
	}
	text := strings.ReplaceAll(string(body), "${PROP", "${!PROP") // the braces of CloudWatch, not of CloudFormation
	awscloudwatch.NewCfnDashboard(b.stack, jsii.String("Dashboard"), &awscloudwatch.CfnDashboardProps{
		DashboardName: &b.topo.Prefix, DashboardBody: awscdk.Fn_Sub(&text, nil),
	})
}

// bill is what a graph of costs is made of.
type bill struct {
	metrics [][]any
	terms   []string
}

// item counts a metric at a price in US dollars for each.
func (l *bill) item(id, namespace, name, dimension, value string, price float64) {
	l.metrics = append(l.metrics, []any{namespace, name, dimension, value, map[string]any{"id": id, "visible": false}})
	l.terms = append(l.terms, fmt.Sprintf("FILL(%s, 0) * %s", id, strings.TrimRight(fmt.Sprintf("%.15f", price), "0")))
}

// total draws the sum of the items since the last one as a line.
func (l *bill) total(id, label string) {
	l.metrics = append(l.metrics, []any{map[string]any{"id": id, "label": label, "expression": strings.Join(l.terms, " + ")}})
	l.terms = nil
}

// costs are expressions over what everything does. AWS counts more requests to a queue than messages are sent: each is
// also received and deleted, in batches at best.
func (b *builder) costs() [][]any {
	var l bill
	l.item("requests", "AWS/ApiGateway", "Count", "ApiId", "${Api}", priceRequest)
	l.total("api", "API")

	price := priceGBSecondsA
	if b.options.Architecture == "x86_64" {
		price = priceGBSecondsX
	}
	for i, f := range b.topo.Functions {
		l.item(fmt.Sprintf("i%d", i), "AWS/Lambda", "Invocations", "FunctionName", f.AWSName, priceInvocation)
		l.item(fmt.Sprintf("d%d", i), "AWS/Lambda", "Duration", "FunctionName", f.AWSName, price*float64(memory(f))/1024)
	}
	l.total("functions", "functions")
	for i, q := range b.topo.Queues {
		l.item(fmt.Sprintf("s%d", i), "AWS/SQS", "NumberOfMessagesSent", "QueueName", q.AWSName, priceMessage)
		l.item(fmt.Sprintf("r%d", i), "AWS/SQS", "NumberOfMessagesReceived", "QueueName", q.AWSName, 2*priceMessage)
		l.item(fmt.Sprintf("e%d", i), "AWS/SQS", "NumberOfEmptyReceives", "QueueName", q.AWSName, pricePoll)
	}
	l.total("queues", "queues")
	for i, t := range b.topo.Topics {
		l.item(fmt.Sprintf("p%d", i), "AWS/SNS", "NumberOfMessagesPublished", "TopicName", t.AWSName, pricePublish)
	}
	l.total("topics", "topics")
	table := b.topo.Prefix + "-table"
	l.item("writes", "AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", table, priceWrite)
	l.item("reads", "AWS/DynamoDB", "ConsumedReadCapacityUnits", "TableName", table, priceRead)
	l.total("table", "table")
	for i, f := range b.topo.Functions {
		l.item(fmt.Sprintf("l%d", i), "AWS/Logs", "IncomingBytes", "LogGroupName", f.LogGroup(), priceLog)
	}
	l.total("logs", "logs of the functions")
	return l.metrics
}

// queries saves queries over the logs of all functions.
func (b *builder) queries() {
	groups := make([]any, len(b.topo.Functions))
	for i, f := range b.topo.Functions {
		groups[i] = b.functions[f.Name].logGroup.LogGroupName()
	}
	for _, q := range []struct {
		id, name, text string
		groups         []any
	}{
		{"FollowEvent", "follow one event id through all functions", `fields @timestamp, event, function, topic, outcome, reason, ms, attempt, traceparent
| filter event = "PASTE THE EVENT ID HERE" or @message like "PASTE THE EVENT ID HERE"
| sort @timestamp asc`, groups},
		{"FollowTrace", "follow one trace id through all functions", `fields @timestamp, event, function, topic, outcome, reason, ms, attempt
| filter traceparent like "PASTE THE TRACE ID HERE"
| sort @timestamp asc`, groups},
		{"RefusedWebhooks", "refused webhooks by reason", `filter function = "` + topology.Ingress + `" and outcome = "refused"
| stats count(*) as refused, latest(@timestamp) as last by topic, reason
| sort refused desc`, groups[:1]},
		{"NotDone", "events that were tried again or parked", `filter outcome in ["retry", "defer", "park"]
| stats count(*) as times, latest(@timestamp) as last by function, topic, outcome, reason
| sort times desc`, groups},
		{"SlowFunctions", "duration and memory of the functions", `filter type = "platform.report"
| stats count(*) as invocations, pct(record.metrics.durationMs, 50) as p50, pct(record.metrics.durationMs, 99) as p99, max(record.metrics.maxMemoryUsedMB) as memory, count(record.metrics.initDurationMs) as coldStarts by @log`, groups},
		{"GatewayRefusals", "requests that the gateway itself refused", `filter functionStatus = "-" and status >= 400 and status != 404
| stats count(*) as refused by status, error, route, ip
| sort refused desc`, []any{b.api.logGroup.LogGroupName()}},
	} {
		awslogs.NewCfnQueryDefinition(b.stack, jsii.String("Query"+q.id), &awslogs.CfnQueryDefinitionProps{
			Name: jsii.String(b.topo.Prefix + "/" + q.name), QueryString: jsii.String(q.text), LogGroupNames: &q.groups,
		})
	}
}
