package stack_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A topic with a queue of others that gets another name keeps the event source mapping: Lambda refuses a second one of the same
// queue and function, which CloudFormation would make before it removes the first. It is not parallel: one stack is made at
// a time.
func TestRenamedQueueTopic(t *testing.T) {
	mappings := func(topic string) []string {
		dir := t.TempDir()
		file := filepath.Join(dir, "events-config.json")
		if err := os.WriteFile(file, []byte(`{"topics":{"`+topic+`":{"from":"queue","queue":"arn:aws:sqs:eu-west-1:111122223333:builds"}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		v := &variant{name: topic, config: file, options: options(nil)}
		if err := v.synthesize(dir); err != nil {
			t.Fatal(err)
		}
		return v.template(t).ids("AWS::Lambda::EventSourceMapping")
	}
	before, after := mappings("builds"), mappings("artefacts")
	if len(before) != 2 || !slices.Equal(before, after) {
		t.Errorf("the mappings are %q, and %q after the topic has got another name", before, after)
	}
}

// Functions of somebody's own may answer what comes of their own events. The CDK refuses a template where all of a circle wait
// for one another. A subscriber in the place of one of ours finds the variables without which subscriber.Start ends.
func TestOwnFunctions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "events-config.json")
	if err := os.WriteFile(file, []byte(`{
		"topics": { "orders": { "from": "publish", "subTopic": ["body:type"] }, "a": { "from": "publish" }, "b": { "from": "publish" } },
		"functions": {
			"billing": { "build": "./x", "on": ["orders.created"], "publish": ["orders"] },
			"ping": { "build": "./x", "on": ["a"], "publish": ["b"] },
			"pong": { "build": "./x", "on": ["b"], "publish": ["a"] },
			"notify": { "build": "./x" },
			"sqs-publisher": { "build": "./x" }
		},
		"notifications": { "rules": [{ "name": "r", "on": ["orders.created"], "to": ["user:default/guest"], "title": "t" }] }
	}`), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &variant{name: "own", config: file, options: options(nil)}
	if err := v.synthesize(dir); err != nil {
		t.Fatal(err)
	}
	made := v.template(t)
	for _, name := range []string{"notify", "sqs-publisher", "ping"} {
		_, f := made.named("AWS::Lambda::Function", "FunctionName", "callboard-"+name)
		for _, variable := range []string{"CALLBOARD_TOPIC_ARN_PREFIX", "CALLBOARD_DEAD_LETTER_QUEUE_URL", "CALLBOARD_BUCKET", "CALLBOARD_FUNCTION"} {
			if f.get("Environment.Variables."+variable) == nil {
				t.Errorf("%s has no variable %s", name, variable)
			}
		}
	}
	router, _ := made.named("AWS::Lambda::Function", "FunctionName", "callboard-router")
	for _, s := range made.ids("AWS::SNS::Subscription") {
		created, _ := made.named("AWS::SNS::Topic", "TopicName", "callboard-orders_created")
		if target(made.Resources[s].get("TopicArn")) == created && !made.after(router, s) {
			t.Errorf("the router publishes before there is %s", s)
		}
	}
}
