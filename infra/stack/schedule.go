package stack

import (
	"fmt"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/topology"
)

// newSchedule invokes a function again and again. A failed invocation is not repeated: the next one does its work.
func newSchedule(scope constructs.Construct, s topology.Schedule, f *function) {
	id := logicalID("Schedule", s.Name)
	role := awsiam.NewRole(scope, jsii.String(id+"Role"), &awsiam.RoleProps{
		AssumedBy: awsiam.NewServicePrincipal(jsii.String("scheduler.amazonaws.com"), &awsiam.ServicePrincipalOpts{
			Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()}},
		}),
		Description: jsii.String("What the schedule " + s.AWSName + " may do"),
		InlinePolicies: &map[string]awsiam.PolicyDocument{"grants": document([]grant{
			allow("Invoke", []string{"lambda:InvokeFunction"}, f.lambda.FunctionArn()),
		})},
	})
	awsscheduler.NewCfnSchedule(scope, &id, &awsscheduler.CfnScheduleProps{
		Name:               jsii.String(s.AWSName),
		ScheduleExpression: jsii.String(rate(s.Every)),
		FlexibleTimeWindow: &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: jsii.String("OFF")},
		Target: &awsscheduler.CfnSchedule_TargetProperty{
			Arn: f.lambda.FunctionArn(), RoleArn: role.RoleArn(),
			Input:       jsii.String(fmt.Sprintf(`{"source":"callboard.schedule","detail-type":%q}`, s.Name)),
			RetryPolicy: &awsscheduler.CfnSchedule_RetryPolicyProperty{MaximumRetryAttempts: jsii.Number(0)},
		},
	}).OverrideLogicalId(&id)
}

// once makes Lambda try asynchronous invocations of a function only once.
func once(scope constructs.Construct, f *function) {
	awslambda.NewCfnEventInvokeConfig(scope, jsii.String(logicalID("Once", f.Name)), &awslambda.CfnEventInvokeConfigProps{
		FunctionName: f.lambda.FunctionName(), Qualifier: jsii.String("$LATEST"),
		MaximumRetryAttempts: jsii.Number(0), MaximumEventAgeInSeconds: jsii.Number(60),
	})
}

// rate writes whole minutes as the Scheduler wants it.
func rate(every time.Duration) string {
	if every == time.Minute {
		return "rate(1 minute)"
	}
	return fmt.Sprintf("rate(%d minutes)", every/time.Minute)
}
