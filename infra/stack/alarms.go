package stack

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/telemetry"
	"github.com/callboard/callboard/internal/topology"
)

const (
	// metricGatewayRefused is counted from the access log; its name begins with the prefix.
	metricGatewayRefused = "gateway-refused"
)

// quotaReserve is how many requests to the API of a source-control system should always be left. GitHub allows 5,000
// an hour (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
const quotaReserve = 500

// maxMetrics is how many metrics the expression of an alarm can have
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html).
const maxMetrics = 10

// nothingOut is 1 while there is something in m0 and nothing in m1. Who asks for it wants it for two periods in a row:
// what comes in at the very end of one goes out in the next.
const nothingOut = "IF(m0 > 0 AND FILL(m1, 0) == 0, 1, 0)"

// dimension is a name and a value.
type dimension struct {
	name  string
	value *string
}

// metric is a metric of CloudWatch.
type metric struct {
	namespace, name, statistic string
	dimensions                 []dimension
}

// alarm rings when a metric, or an expression over several that are called m0, m1, …, is above or below a number.
type alarm struct {
	id, name           string // the name is without the prefix
	title, description string
	metric             metric
	expression         string
	metrics            []metric
	period             time.Duration
	periods            int // it takes so many in a row; 0 counts as 1
	above              float64
	below              float64 // counts if it is not 0
}

// alarms adds alarms that tell one topic.
type alarms struct {
	scope  constructs.Construct
	prefix string
	topic  awssns.Topic
	arns   []string // as Fn::Sub takes them
	simple bool     // without alarms on expressions
}

// newAlarms adds the topic for alarms. CloudWatch may publish to it; if there is a key its policy has to allow that too.
func newAlarms(scope constructs.Construct, prefix string, key awskms.IKey, o Options) *alarms {
	topic := awssns.NewTopic(scope, jsii.String("Alarms"), &awssns.TopicProps{
		TopicName: jsii.String(prefix + "-" + topology.TopicAlarms), DisplayName: jsii.String("Callboard " + prefix), EnforceSSL: jsii.Bool(true), MasterKey: key,
	})
	pin(topic, "Alarms")
	topic.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid:        jsii.String("Alarms"),
		Principals: &[]awsiam.IPrincipal{service("cloudwatch.amazonaws.com")},
		Actions:    jsii.Strings("sns:Publish"),
		Resources:  &[]*string{topic.TopicArn()},
		Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()}},
	}))
	if o.AlarmEmail != "" {
		awssns.NewCfnSubscription(scope, jsii.String("AlarmsEmail"), &awssns.CfnSubscriptionProps{
			TopicArn: topic.TopicArn(), Protocol: jsii.String("email"), Endpoint: &o.AlarmEmail,
		})
	}
	return &alarms{scope: scope, prefix: prefix, topic: topic, simple: o.Emulator}
}

func (as *alarms) add(a alarm) {
	if as.simple && a.expression != "" {
		return
	}
	props := &awscloudwatch.CfnAlarmProps{
		AlarmName:          jsii.String(as.prefix + "-" + a.name),
		AlarmDescription:   jsii.String(as.prefix + ": " + a.title + ". " + a.description + " See docs/operations.md."),
		AlarmActions:       &[]any{as.topic.TopicArn()},
		OkActions:          &[]any{as.topic.TopicArn()},
		ComparisonOperator: jsii.String("GreaterThanThreshold"),
		Threshold:          &a.above,
		EvaluationPeriods:  jsii.Number(max(a.periods, 1)),
		TreatMissingData:   jsii.String("notBreaching"), // counters are silent while there is nothing to count
	}
	if a.below != 0 {
		props.ComparisonOperator, props.Threshold = jsii.String("LessThanThreshold"), &a.below
	}
	if a.expression == "" {
		props.Namespace, props.MetricName, props.Statistic = &a.metric.namespace, &a.metric.name, &a.metric.statistic
		props.Dimensions, props.Period = a.metric.cdk(), jsii.Number(a.period.Seconds())
	} else {
		props.Metrics = a.queries()
	}
	made := awscloudwatch.NewCfnAlarm(as.scope, &a.id, props)
	made.OverrideLogicalId(&a.id)
	as.arns = append(as.arns, "${"+a.id+".Arn}")
}

func (m metric) cdk() []any {
	list := make([]any, len(m.dimensions))
	for i, d := range m.dimensions {
		list[i] = &awscloudwatch.CfnAlarm_DimensionProperty{Name: jsii.String(d.name), Value: d.value}
	}
	return list
}

func (a alarm) queries() []any {
	list := []any{&awscloudwatch.CfnAlarm_MetricDataQueryProperty{
		Id: jsii.String("result"), Expression: &a.expression, Label: &a.title, ReturnData: true,
	}}
	for i, m := range a.metrics {
		list = append(list, &awscloudwatch.CfnAlarm_MetricDataQueryProperty{
			Id: jsii.String(fmt.Sprintf("m%d", i)), ReturnData: false,
			MetricStat: &awscloudwatch.CfnAlarm_MetricStatProperty{
				Metric: &awscloudwatch.CfnAlarm_MetricProperty{Namespace: jsii.String(m.namespace), MetricName: jsii.String(m.name), Dimensions: m.cdk()},
				Period: jsii.Number(a.period.Seconds()), Stat: jsii.String(m.statistic),
			},
		})
	}
	return list
}

// path adds the alarms of the way in: the gateway, and events that come in and do not go on.
func (as *alarms) path(b *builder) {
	apiMetric := func(name string) metric {
		return metric{"AWS/ApiGateway", name, "Sum", []dimension{{"ApiId", b.api.http.Ref()}}}
	}
	as.add(alarm{
		id: "Api5xxAlarm", name: "api-5xx", title: "the API answers with errors",
		description: "Requests were answered 5xx. Senders try again, some of them not for long.",
		metric:      apiMetric("5xx"), period: minutes(5), above: 0,
	})
	as.add(alarm{
		id: "ApiRefusedAlarm", name: metricGatewayRefused, title: "the gateway refuses requests",
		description: "The gateway itself refused requests: too many at once (429), too large (413), headers too long (431).",
		metric:      metric{telemetry.Namespace, as.prefix + "-" + metricGatewayRefused, "Sum", nil}, period: minutes(5), above: 0,
	})
	ingest := func(name string) metric { return queueMetric(name, "Sum", b.queues[topology.QueueIngest].sqs) }
	as.add(alarm{
		id: "NothingOutAlarm", name: "nothing-out", title: "events come in and nothing goes out",
		description: "Events reached the ingest queue and none left it for 30 minutes. Is the publisher off, throttled or without rights?",
		expression:  nothingOut,
		metrics:     []metric{ingest("NumberOfMessagesSent"), ingest("NumberOfMessagesDeleted")}, period: minutes(15), periods: 2,
	})
	for _, t := range b.topo.Topics {
		if len(b.topics[t.Name].subscriptions) == 0 {
			continue
		}
		as.add(alarm{
			id: logicalID("NothingOut", t.Name), name: t.Alarm(), title: "events are published and nobody gets them",
			description: "Events were published to " + t.AWSName + " and none was delivered for 30 minutes. Is its subscription there?",
			expression:  nothingOut,
			metrics:     []metric{b.topics[t.Name].metric("NumberOfMessagesPublished"), b.topics[t.Name].metric("NumberOfNotificationsDelivered")},
			period:      minutes(15), periods: 2,
		})
	}
	as.lost(b)
}

// lost adds alarms on deliveries that even the queue of dead letters did not take.
func (as *alarms) lost(b *builder) {
	var metrics []metric
	for _, t := range b.topo.Topics {
		if len(b.topics[t.Name].subscriptions) > 0 {
			metrics = append(metrics, b.topics[t.Name].metric("NumberOfNotificationsFailedToRedriveToDlq"))
		}
	}
	for i := 0; i*(maxMetrics-1) < len(metrics); i++ {
		some := metrics[i*(maxMetrics-1) : min((i+1)*(maxMetrics-1), len(metrics))]
		names := make([]string, len(some))
		for j := range some {
			names[j] = fmt.Sprintf("FILL(m%d, 0)", j)
		}
		as.add(alarm{
			id: fmt.Sprintf("LostAlarm%d", i), name: fmt.Sprintf("lost-%d", i), title: "deliveries are lost",
			description: "SNS could deliver neither to a queue nor to its dead letters. Is the policy of the queue in order?",
			expression:  strings.Join(names, " + "), metrics: some, period: minutes(5),
		})
	}
}

func (t *topic) metric(name string) metric {
	return metric{"AWS/SNS", name, "Sum", []dimension{{"TopicName", t.sns.TopicName()}}}
}

// own adds the alarms on what the functions count themselves.
func (as *alarms) own(given, hosts []string) {
	for _, name := range given {
		as.add(alarm{
			id: logicalID("Secret", name) + "Alarm", name: topology.SecretAlarm(name), title: "a secret is empty",
			description: "The secret " + as.prefix + "/" + name + " has no value. Put in the token that the other side gave you.",
			metric:      as.counted(telemetry.SecretMissing, "Sum", "Secret", name), period: minutes(5), above: 0,
		})
	}
	for _, host := range hosts {
		as.add(alarm{
			id: logicalID("Quota", host) + "Alarm", name: topology.QuotaAlarm(host), title: "an API allows few more requests",
			description: "The API of " + host + " will soon refuse requests; events then wait until it allows more. Is the token of the integration there?",
			metric:      as.counted(telemetry.QuotaRemaining, "Minimum", "Host", host), period: minutes(5), below: quotaReserve,
		})
	}
}

// exports adds an alarm for each export that does not get what is too large for a message.
func (as *alarms) exports(list []config.Export) {
	for _, e := range list {
		if e.ClaimChecks {
			continue
		}
		as.add(alarm{
			id: logicalID("Withheld", e.Name), name: topology.WithheldAlarm(e.Name), title: "an event is too large for an export",
			description: "An event that is too large for a message was not sent to the consumer " + e.Name + ", which does not resolve claim checks. The log of the router or the publisher names it.",
			metric:      as.counted(telemetry.Withheld, "Sum", "Export", e.Name), period: minutes(5), above: 0,
		})
	}
}

// counted is a metric that the functions write.
func (as *alarms) counted(name, statistic, by, value string) metric {
	return metric{telemetry.Namespace, name, statistic, []dimension{{"Prefix", &as.prefix}, {by, &value}}}
}

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }
