package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/topology"
)

// logRetention is how long logs are kept.
const logRetention = awslogs.RetentionDays_ONE_MONTH

// memory is what a function gets, in MB, and with it its share of a CPU.
func memory(f topology.Function) int {
	if f.Memory > 0 {
		return f.Memory
	}
	if f.Name == topology.CatalogSync { // holds trees and files of repositories
		return 512
	}
	return 256
}

// function is a Lambda function with a role and a log group of its own.
type function struct {
	topology.Function
	lambda   awslambda.Function
	logGroup awslogs.LogGroup
}

// newFunction adds a function that runs the program in the folder code with an environment, and may do what grants say
// and write its log.
func newFunction(scope constructs.Construct, f topology.Function, code string, environment map[string]*string, grants []grant, key awskms.IKey, o Options) *function {
	id := logicalID("Function", f.Name)
	logGroup := awslogs.NewLogGroup(scope, jsii.String(id+"Log"), &awslogs.LogGroupProps{
		LogGroupName:  jsii.String(f.LogGroup()),
		Retention:     logRetention,
		EncryptionKey: key,
		RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
	})
	pin(logGroup, id+"Log")
	grants = append(grants, allow("WriteLog", []string{"logs:CreateLogStream", "logs:PutLogEvents"}, logGroup.LogGroupArn()))
	role := awsiam.NewRole(scope, jsii.String(id+"Role"), &awsiam.RoleProps{
		AssumedBy:      service("lambda.amazonaws.com"),
		Description:    jsii.String("What the function " + f.AWSName + " may do"),
		InlinePolicies: &map[string]awsiam.PolicyDocument{"grants": document(grants)},
	})
	props := &awslambda.FunctionProps{
		FunctionName:          jsii.String(f.AWSName),
		Runtime:               awslambda.Runtime_PROVIDED_AL2023(),
		Handler:               jsii.String("bootstrap"),
		Architecture:          awslambda.Architecture_ARM_64(),
		Code:                  awslambda.Code_FromAsset(&code, nil),
		MemorySize:            jsii.Number(memory(f)),
		Timeout:               seconds(f.Timeout),
		Role:                  role,
		LogGroup:              logGroup,
		LoggingFormat:         awslambda.LoggingFormat_JSON,
		ApplicationLogLevelV2: awslambda.ApplicationLogLevel_INFO,
		SystemLogLevelV2:      awslambda.SystemLogLevel_INFO,
		Environment:           &environment,
	}
	if o.Architecture == "x86_64" {
		props.Architecture = awslambda.Architecture_X86_64()
	}
	if o.Tracing {
		props.Tracing = awslambda.Tracing_ACTIVE
	}
	if n, ok := o.Reserved[f.Name]; ok {
		props.ReservedConcurrentExecutions = jsii.Number(n)
	}
	made := awslambda.NewFunction(scope, &id, props)
	pin(made, id)
	return &function{Function: f, lambda: made, logGroup: logGroup}
}

// reads feeds the function from a queue. Only messages that it reports come again.
func (f *function) reads(scope constructs.Construct, q *queue) {
	props := &awslambda.CfnEventSourceMappingProps{
		FunctionName:          f.lambda.FunctionName(),
		EventSourceArn:        q.sqs.QueueArn(),
		BatchSize:             jsii.Number(q.BatchSize),
		FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
		ScalingConfig:         &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: jsii.Number(q.MaxConcurrency)},
	}
	if q.BatchWindow > 0 {
		props.MaximumBatchingWindowInSeconds = jsii.Number(q.BatchWindow.Seconds())
	}
	awslambda.NewCfnEventSourceMapping(scope, jsii.String(logicalID("Mapping", q.Name)), props)
}

// alarms adds the alarms of the function.
func (f *function) alarms(a *alarms) {
	id := logicalID("Function", f.Name)
	errors, throttles := f.Alarms()
	a.add(alarm{
		id: id + "Errors", name: errors, title: "a function fails",
		description: "Invocations of " + f.AWSName + " ended with an error, a crash or a timeout. Its log says why.",
		metric:      f.metric("Errors", "Sum"), period: minutes(5), above: 0,
	})
	a.add(alarm{
		id: id + "Throttles", name: throttles, title: "a function is throttled",
		description: "Invocations of " + f.AWSName + " were refused: the concurrency of the account, or what is reserved for it, is used up.",
		metric:      f.metric("Throttles", "Sum"), period: minutes(5), above: 0,
	})
}

func (f *function) metric(name, statistic string) metric {
	return metric{namespace: "AWS/Lambda", name: name, statistic: statistic, dimensions: []dimension{{"FunctionName", f.lambda.FunctionName()}}}
}

// grant is one thing that a function may do, and what with.
type grant struct {
	name       string // of letters and digits
	actions    []string
	resources  []*string
	conditions map[string]any // where the resources alone would be too much
}

func allow(name string, actions []string, resources ...*string) grant {
	return grant{name: name, actions: actions, resources: resources}
}

func (g grant) statement() awsiam.PolicyStatement {
	props := &awsiam.PolicyStatementProps{Sid: jsii.String(g.name), Actions: jsii.Strings(g.actions...), Resources: &g.resources}
	if g.conditions != nil {
		props.Conditions = &g.conditions
	}
	return awsiam.NewPolicyStatement(props)
}

func document(grants []grant) awsiam.PolicyDocument {
	statements := make([]awsiam.PolicyStatement, len(grants))
	for i, g := range grants {
		statements[i] = g.statement()
	}
	return awsiam.NewPolicyDocument(&awsiam.PolicyDocumentProps{Statements: &statements})
}

// isReference tells whether the name of a secret is a reference, and to what.
func isReference(secret string) (kind, target string, ok bool) {
	kind, target, ok = strings.Cut(secret, ":")
	return kind, target, ok
}
