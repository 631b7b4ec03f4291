package stack_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
)

// exportRules are the rules about what consumers read that are not part of Callboard.
var exportRules = []rule{
	{name: "topics take 1 MiB where somebody exports one of the same root, and no others do", offenders: offendTopicSizes, breaks: map[string]func(*template){
		"default":        func(t *template) { delete(t.one("AWS::SNS::Topic", "Github").Properties, "MaximumMessageSize") },
		"of a sub-topic": func(t *template) { delete(t.one("AWS::SNS::Topic", "GithubIssues").Properties, "MaximumMessageSize") },
		"of another":     func(t *template) { t.one("AWS::SNS::Topic", "Gerrit").Properties["MaximumMessageSize"] = 1044480.0 },
	}, on: full},
	{name: "claim checks go to those who resolve them", offenders: offendFilters, breaks: map[string]func(*template){
		"no filter":          func(t *template) { delete(exportOf(t, "backstage").Properties, "FilterPolicy") },
		"filter of the body": func(t *template) { exportOf(t, "backstage").Properties["FilterPolicyScope"] = "MessageBody" },
		"not to those who do": func(t *template) {
			exportOf(t, "lake").Properties["FilterPolicy"] = exportOf(t, "backstage").Properties["FilterPolicy"]
		},
		"not to our functions": func(t *template) {
			t.one("AWS::SNS::Subscription", "GithubPushCatalogSync").Properties["FilterPolicy"] = exportOf(t, "backstage").Properties["FilterPolicy"]
		},
	}, on: full},
	{name: "other accounts read what is exported to them, and nothing else", offenders: offendConsumers, breaks: map[string]func(*template){
		"not the queue": func(t *template) { drop(t, "AWS::SQS::QueuePolicy", "QueueExportPartnerGhe") },
		"another queue": func(t *template) {
			policy := t.one("AWS::SQS::QueuePolicy", "QueueIngest").Properties["PolicyDocument"].(object)
			policy["Statement"] = append(policy["Statement"].([]any), object{
				"Effect": "Allow", "Principal": object{"AWS": "arn:aws:iam::444455556666:role/reader"}, "Action": "sqs:ReceiveMessage", "Resource": "*",
			})
		},
		"one action more": func(t *template) {
			for _, s := range statements(t.one("AWS::SQS::QueuePolicy", "QueueExportLake").get("PolicyDocument")) {
				if get(s, "Principal.AWS") != nil && s["Effect"] == "Allow" {
					s["Action"] = append(list(s["Action"]), "sqs:SendMessage")
				}
			}
		},
		"all of the bucket": func(t *template) {
			for _, s := range statements(t.one("AWS::S3::BucketPolicy", "").get("PolicyDocument")) {
				if s["Effect"] == "Allow" {
					s["Resource"] = "*"
				}
			}
		},
		"not the key": func(t *template) {
			p := t.Resources["Key"].Properties["KeyPolicy"].(object)
			p["Statement"] = p["Statement"].([]any)[:1]
		},
		"the key by itself": func(t *template) {
			for _, s := range statements(t.Resources["Key"].get("KeyPolicy")) {
				delete(s, "Condition")
			}
		},
	}, on: full},
}

// exported returns the queues of exports by logical id.
func (t *template) exported() map[string]topology.Queue {
	all := map[string]topology.Queue{}
	for _, q := range t.topo.Queues {
		if q.Export != "" {
			id, _ := t.named("AWS::SQS::Queue", "QueueName", q.AWSName)
			all[id] = q
		}
	}
	return all
}

// exportOf returns the first subscription that delivers to an export.
func exportOf(t *template, name string) *resource {
	for _, id := range t.ids("AWS::SNS::Subscription") {
		if s := t.Resources[id]; t.exported()[target(s.get("Endpoint"))].Export == name {
			return s
		}
	}
	panic("no export " + name)
}

func offendTopicSizes(t *template) []string {
	roots := map[string]bool{}
	for _, e := range t.conf.Exports {
		for _, topic := range e.Topics {
			root, _, _ := strings.Cut(topic, ".")
			roots[root] = true
		}
	}
	var bad []string
	for _, x := range t.topo.Topics {
		id, r := t.named("AWS::SNS::Topic", "TopicName", x.AWSName)
		root, _, _ := strings.Cut(x.Name, ".")
		var want any
		if roots[root] {
			want = 1044480.0
		}
		if r == nil || r.get("MaximumMessageSize") != want {
			bad = append(bad, fmt.Sprintf("%s does not take %v bytes", id, want))
		}
	}
	return bad
}

func offendFilters(t *template) []string {
	resolves := map[string]bool{}
	for _, e := range t.conf.Exports {
		resolves[e.Name] = e.ClaimChecks
	}
	return t.each("AWS::SNS::Subscription", func(_ string, s *resource) bool {
		q, isExport := t.exported()[target(s.get("Endpoint"))]
		filter, scope := s.get("FilterPolicy"), s.get("FilterPolicyScope")
		if !isExport || resolves[q.Export] {
			return filter == nil
		}
		return text(filter) == `{"ExtendedPayloadSize":[{"exists":false}]}` && scope == "MessageAttributes"
	}, "delivers what its reader does not understand, or not what it does")
}

// offendConsumers compares what other accounts may do, all of it, with what the configuration says.
func offendConsumers(t *template) []string {
	var got, want []string
	add := func(list *[]string, principals any, actions []string, resource, condition any) {
		*list = append(*list, text(object{"who": texts(principals), "does": actions, "with": texts(resource), "if": condition}))
	}
	for _, kind := range []string{"AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::KMS::Key"} {
		for _, id := range t.ids(kind) {
			document := t.Resources[id].get("PolicyDocument")
			if kind == "AWS::KMS::Key" {
				document = t.Resources[id].get("KeyPolicy")
			}
			for _, s := range statements(document) {
				who := get(s, "Principal.AWS")
				if s["Effect"] == "Allow" && who != nil && !strings.Contains(text(who), `{"Ref":"AWS::AccountId"}`) {
					add(&got, who, texts(s["Action"]), s["Resource"], s["Condition"])
				}
			}
		}
	}
	for _, e := range t.conf.Exports {
		principals := consumersOf(e)
		if len(principals) == 0 {
			continue
		}
		services := []any{via("sqs")}
		for id, q := range t.exported() {
			if q.Export == e.Name {
				actions := []string{"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"}
				add(&want, principals, actions, object{"Fn::GetAtt": []any{id, "Arn"}}, nil)
			}
		}
		if e.ClaimChecks {
			objects := `{"Fn::Join":["",[` + attribute("Blobs", "Arn") + `,"/events/*"]]}`
			if t.adopted {
				objects = adoptedBucket("/events/*")
			}
			add(&want, principals, []string{"s3:GetObject"}, objects, nil)
			services = append(services, via("s3"))
		}
		if t.Resources["Key"] != nil {
			add(&want, principals, []string{"kms:Decrypt"}, "*", object{"StringEquals": object{"kms:ViaService": services}})
		}
	}
	var bad []string
	for _, s := range got {
		if !slices.Contains(want, s) {
			bad = append(bad, "another account may: "+s)
		}
	}
	for _, s := range want {
		if !slices.Contains(got, s) {
			bad = append(bad, "another account may not: "+s)
		}
	}
	return bad
}

// via is how a service of the Region calls itself to KMS.
func via(service string) any {
	return object{"Fn::Join": []any{"", []any{service + ".", object{"Ref": "AWS::Region"}, ".amazonaws.com"}}}
}

// consumersOf returns who of other accounts reads an export, as the template has it.
func consumersOf(e config.Export) []any {
	if e.Account != "" {
		return []any{object{"Fn::Join": []any{"", []any{"arn:", object{"Ref": "AWS::Partition"}, ":iam::" + e.Account + ":root"}}}}
	}
	var all []any
	for _, arn := range e.Principals {
		all = append(all, arn)
	}
	return all
}

// unshownExports returns the queues of exports that no output shows.
func (t *template) unshownExports() []string {
	shown := map[string]bool{}
	for id, o := range t.Outputs {
		if strings.HasPrefix(id, "Export") {
			shown[target(get(o, "Value"))] = true
		}
	}
	var bad []string
	for id, q := range t.exported() {
		if !shown[id] {
			bad = append(bad, "no output has the URL of "+q.Name)
		}
	}
	return bad
}
