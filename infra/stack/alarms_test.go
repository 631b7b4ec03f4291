package stack_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// gauge is a metric as the template has it.
type gauge struct {
	namespace, name, statistic string
	dimensions                 []any
}

func by(name string, value any) []any { return []any{object{"Name": name, "Value": value}} }

// above returns what an alarm has that rings when a metric is above a number in so many seconds.
func (g gauge) above(limit, seconds int) object {
	return object{
		"Namespace": g.namespace, "MetricName": g.name, "Statistic": g.statistic, "Dimensions": g.dimensions, "Period": seconds,
		"ComparisonOperator": "GreaterThanThreshold", "Threshold": limit, "EvaluationPeriods": 1, "TreatMissingData": "notBreaching",
	}
}

// computed returns what an alarm has that rings when an expression over metrics is above 0 in so many periods in a row.
func computed(expression string, seconds, periods int, gauges ...gauge) object {
	queries := []any{object{"Id": "result", "Expression": expression, "ReturnData": true}}
	for i, g := range gauges {
		queries = append(queries, object{"Id": fmt.Sprintf("m%d", i), "ReturnData": false, "MetricStat": object{
			"Metric": object{"Namespace": g.namespace, "MetricName": g.name, "Dimensions": g.dimensions}, "Period": seconds, "Stat": g.statistic,
		}})
	}
	return object{
		"Metrics": queries, "ComparisonOperator": "GreaterThanThreshold", "Threshold": 0, "EvaluationPeriods": periods, "TreatMissingData": "notBreaching",
	}
}

// watches tells whether an alarm looks at what it should, whatever it is called and whomever it tells.
func watches(alarm *resource, want object) bool {
	got := maps.Clone(alarm.Properties)
	for _, name := range []string{"AlarmName", "AlarmDescription", "AlarmActions", "OKActions"} {
		delete(got, name)
	}
	if queries := list(got["Metrics"]); len(queries) > 0 {
		first := maps.Clone(queries[0].(object))
		delete(first, "Label")
		got["Metrics"] = append([]any{first}, queries[1:]...)
	}
	return text(got) == text(want)
}

// unwatched returns which of the alarms with these names, without the prefix, are not there or look at something else.
func (t *template) unwatched(want map[string]object) []string {
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		_, alarm := t.named("AWS::CloudWatch::Alarm", "AlarmName", t.topo.Prefix+"-"+name)
		if alarm == nil {
			bad = append(bad, "no alarm "+name)
			continue
		}
		if !watches(alarm, want[name]) {
			bad = append(bad, fmt.Sprintf("the alarm %s is %s, not %s", name, text(alarm.Properties), text(want[name])))
		}
	}
	return bad
}

func queueGauge(id, name, statistic string) gauge {
	return gauge{"AWS/SQS", name, statistic, by("QueueName", object{"Fn::GetAtt": []any{id, "QueueName"}})}
}

func topicGauge(id, name string) gauge {
	return gauge{"AWS/SNS", name, "Sum", by("TopicName", object{"Fn::GetAtt": []any{id, "TopicName"}})}
}

// ownGauge is a metric that the functions write.
func (t *template) ownGauge(name, statistic, dimension, value string) gauge {
	return gauge{"Callboard", name, statistic, append(by("Prefix", t.topo.Prefix), by(dimension, value)...)}
}

// queueAlarms returns the alarms of queues by name.
func (t *template) queueAlarms() map[string]object {
	want := map[string]object{}
	for _, q := range t.topo.Queues {
		id, _ := t.named("AWS::SQS::Queue", "QueueName", q.AWSName)
		switch {
		case q.Export != "":
			want[q.Name+"-age"] = queueGauge(id, "ApproximateAgeOfOldestMessage", "Maximum").above(6*60*60, 300)
		case q.Function == "":
			want[q.Name] = queueGauge(id, "ApproximateNumberOfMessagesVisible", "Maximum").above(0, 60)
		default:
			want[q.Name+"-age"] = queueGauge(id, "ApproximateAgeOfOldestMessage", "Maximum").above(30*60, 300)
		}
	}
	return want
}

// otherAlarms returns all other alarms by name.
func (t *template) otherAlarms() map[string]object {
	const nothing = "IF(m0 > 0 AND FILL(m1, 0) == 0, 1, 0)"
	ingest, _ := t.named("AWS::SQS::Queue", "QueueName", t.topo.Prefix+"-ingest")
	want := map[string]object{
		"api-5xx":         gauge{"AWS/ApiGateway", "5xx", "Sum", by("ApiId", object{"Ref": "Api"})}.above(0, 300),
		"gateway-refused": gauge{"Callboard", t.topo.Prefix + "-gateway-refused", "Sum", []any{}}.above(0, 300),
		"nothing-out":     computed(nothing, 900, 2, queueGauge(ingest, "NumberOfMessagesSent", "Sum"), queueGauge(ingest, "NumberOfMessagesDeleted", "Sum")),
	}
	for _, f := range t.topo.Functions {
		id, _ := t.named("AWS::Lambda::Function", "FunctionName", f.AWSName)
		want[f.Name+"-errors"] = gauge{"AWS/Lambda", "Errors", "Sum", by("FunctionName", object{"Ref": id})}.above(0, 300)
		want[f.Name+"-throttles"] = gauge{"AWS/Lambda", "Throttles", "Sum", by("FunctionName", object{"Ref": id})}.above(0, 300)
	}
	for name, ours := range t.topo.Secrets() {
		if !ours && !strings.Contains(name, ":") {
			want["secret-"+name] = t.ownGauge("SecretMissing", "Sum", "Secret", name).above(0, 300)
		}
	}
	for _, p := range t.conf.Catalog.Providers.GitHub {
		alarm := t.ownGauge("QuotaRemaining", "Minimum", "Host", p.Host).above(500, 300)
		alarm["ComparisonOperator"] = "LessThanThreshold"
		want["quota-"+p.Host] = alarm
	}
	for _, e := range t.conf.Exports {
		if !e.ClaimChecks {
			want["withheld-"+e.Name] = t.ownGauge("Withheld", "Sum", "Export", e.Name).above(0, 300)
		}
	}
	for _, q := range t.topo.Foreign {
		if q.Poll == nil {
			name := q.ARN[strings.LastIndex(q.ARN, ":")+1:]
			want["queue-of-"+q.Topic+"-age"] = gauge{"AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", by("QueueName", name)}.above(30*60, 300)
		}
	}
	var lost []gauge
	for _, x := range t.topo.Topics {
		subscribed := false
		for _, s := range t.topo.Subscriptions {
			subscribed = subscribed || s.Topic == x.Name
		}
		if id, _ := t.named("AWS::SNS::Topic", "TopicName", x.AWSName); subscribed {
			want["nothing-out-"+x.Name] = computed(nothing, 900, 2, topicGauge(id, "NumberOfMessagesPublished"), topicGauge(id, "NumberOfNotificationsDelivered"))
			lost = append(lost, topicGauge(id, "NumberOfNotificationsFailedToRedriveToDlq"))
		}
	}
	i := 0
	for some := range slices.Chunk(lost, 9) { // with the result that is 10, the most that an alarm can have
		var terms []string
		for j := range some {
			terms = append(terms, fmt.Sprintf("FILL(m%d, 0)", j))
		}
		want[fmt.Sprintf("lost-%d", i)] = computed(strings.Join(terms, " + "), 300, 1, some...)
		i++
	}
	return want
}

func offendQueueAlarms(t *template) []string { return t.unwatched(t.queueAlarms()) }

// offendMissingAlarms also returns alarms that nothing asks for.
func offendMissingAlarms(t *template) []string {
	queues, others := t.queueAlarms(), t.otherAlarms()
	bad := t.unwatched(others)
	for _, id := range t.ids("AWS::CloudWatch::Alarm") {
		full, _ := t.Resources[id].get("AlarmName").(string)
		if name := strings.TrimPrefix(full, t.topo.Prefix+"-"); queues[name] == nil && others[name] == nil {
			bad = append(bad, "nothing asks for the alarm "+full)
		}
	}
	_, filter := t.named("AWS::Logs::MetricFilter", "FilterPattern", `{ $.functionStatus = "-" && $.status >= 400 && $.status != 404 }`)
	counts := text([]any{object{"MetricNamespace": "Callboard", "MetricName": t.topo.Prefix + "-gateway-refused", "MetricValue": "1"}})
	if filter == nil || target(filter.get("LogGroupName")) != "ApiLog" || text(filter.get("MetricTransformations")) != counts {
		bad = append(bad, "nothing counts what the gateway refuses")
	}
	return bad
}
