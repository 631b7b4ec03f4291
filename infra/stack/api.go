package stack

import (
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/telemetry"
	"github.com/callboard/callboard/internal/topology"
)

// accessLog is one line of the access log. It has the route and never the path or the query: a path may hold a token.
// Only the status is a number whatever happens; what does not apply is "-".
const accessLog = `{"time":"$context.requestTime","requestId":"$context.requestId","ip":"$context.identity.sourceIp",` +
	`"method":"$context.httpMethod","route":"$context.routeKey","status":$context.status,"bytes":"$context.responseLength",` +
	`"ms":"$context.responseLatency","functionStatus":"$context.integrationStatus","error":"$context.error.messageString","functionError":"$context.integrationErrorMessage"}`

// ownRefusals matches requests that the gateway itself refused, without asking a function. What has no route is left
// out: half of the Internet asks for such things.
const ownRefusals = `{ $.functionStatus = "-" && $.status >= 400 && $.status != 404 }`

// api is the HTTP API with its one stage.
type api struct {
	http     awsapigatewayv2.CfnApi
	logGroup awslogs.LogGroup
	url      string // without a slash at its end
}

// newAPI adds the HTTP API with its routes.
func newAPI(scope constructs.Construct, t *topology.Topology, functions map[string]*function, key awskms.IKey, o Options) *api {
	http := awsapigatewayv2.NewCfnApi(scope, jsii.String("Api"), &awsapigatewayv2.CfnApiProps{
		Name: jsii.String(t.Prefix), ProtocolType: jsii.String("HTTP"),
		Description: jsii.String("Webhooks, the catalog and notifications"),
	})
	http.OverrideLogicalId(jsii.String("Api"))
	// Below /aws/vendedlogs/ the policy for the delivery of logs does not grow with each API.
	logGroup := awslogs.NewLogGroup(scope, jsii.String("ApiLog"), &awslogs.LogGroupProps{
		LogGroupName: jsii.String("/aws/vendedlogs/" + t.Prefix + "/api"), Retention: logRetention, EncryptionKey: key, RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
	})
	pin(logGroup, "ApiLog")
	stage := awsapigatewayv2.NewCfnStage(scope, jsii.String("ApiStage"), &awsapigatewayv2.CfnStageProps{
		ApiId: http.Ref(), StageName: jsii.String("$default"), AutoDeploy: true,
		AccessLogSettings: &awsapigatewayv2.CfnStage_AccessLogSettingsProperty{DestinationArn: logGroup.LogGroupArn(), Format: jsii.String(accessLog)},
		DefaultRouteSettings: &awsapigatewayv2.CfnStage_RouteSettingsProperty{
			ThrottlingRateLimit: jsii.Number(o.Rate), ThrottlingBurstLimit: jsii.Number(o.Burst),
		},
	})
	awslogs.NewCfnMetricFilter(scope, jsii.String("ApiRefusals"), &awslogs.CfnMetricFilterProps{
		LogGroupName: logGroup.LogGroupName(), FilterPattern: jsii.String(ownRefusals),
		MetricTransformations: []any{&awslogs.CfnMetricFilter_MetricTransformationProperty{
			MetricNamespace: jsii.String(telemetry.Namespace), MetricName: jsii.String(t.Prefix + "-" + metricGatewayRefused), MetricValue: jsii.String("1"),
		}},
	})
	targets := map[string]*string{}
	for _, r := range t.Routes {
		if targets[r.Function] == nil {
			targets[r.Function] = integrate(scope, http, functions[r.Function])
		}
		awsapigatewayv2.NewCfnRoute(scope, jsii.String(logicalID("Route", r.Method+" "+r.Path)), &awsapigatewayv2.CfnRouteProps{
			ApiId: http.Ref(), RouteKey: jsii.String(r.Method + " " + r.Path), Target: targets[r.Function], AuthorizationType: jsii.String("NONE"),
		})
	}
	a := &api{http: http, logGroup: logGroup, url: *http.AttrApiEndpoint()}
	if o.Domain != "" {
		a.domain(scope, stage, o)
	}
	return a
}

// integrate lets the API invoke a function, and returns the target of routes to it.
func integrate(scope constructs.Construct, http awsapigatewayv2.CfnApi, f *function) *string {
	integration := awsapigatewayv2.NewCfnIntegration(scope, jsii.String(logicalID("Integration", f.Name)), &awsapigatewayv2.CfnIntegrationProps{
		ApiId: http.Ref(), IntegrationType: jsii.String("AWS_PROXY"), IntegrationUri: f.lambda.FunctionArn(), PayloadFormatVersion: jsii.String("2.0"),
	})
	awslambda.NewCfnPermission(scope, jsii.String(logicalID("Permission", f.Name)), &awslambda.CfnPermissionProps{
		Action: jsii.String("lambda:InvokeFunction"), FunctionName: f.lambda.FunctionArn(), Principal: jsii.String("apigateway.amazonaws.com"),
		SourceArn: awscdk.Fn_Sub(jsii.String("arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"), nil),
	})
	return jsii.String("integrations/" + *integration.Ref())
}

// domain gives the API a name of its own. Its DNS record is made by a person.
func (a *api) domain(scope constructs.Construct, stage awsapigatewayv2.CfnStage, o Options) {
	domain := awsapigatewayv2.NewCfnDomainName(scope, jsii.String("Domain"), &awsapigatewayv2.CfnDomainNameProps{
		DomainName: jsii.String(o.Domain),
		DomainNameConfigurations: []any{&awsapigatewayv2.CfnDomainName_DomainNameConfigurationProperty{
			CertificateArn: jsii.String(o.Certificate), EndpointType: jsii.String("REGIONAL"), SecurityPolicy: jsii.String("TLS_1_2"),
		}},
	})
	mapping := awsapigatewayv2.NewCfnApiMapping(scope, jsii.String("DomainMapping"), &awsapigatewayv2.CfnApiMappingProps{
		ApiId: a.http.Ref(), DomainName: domain.Ref(), Stage: stage.Ref(),
	})
	mapping.AddResourceDependency(stage, nil)
	awscdk.NewCfnOutput(scope, jsii.String("DomainTarget"), &awscdk.CfnOutputProps{
		Value: domain.AttrRegionalDomainName(), Description: jsii.String("Make a CNAME or alias record of " + o.Domain + " to this name"),
	})
	a.url = "https://" + o.Domain
}

// proof says where the secret of a webhook goes.
func proof(t config.Topic, secret string) string {
	switch {
	case secret == "":
		return "with no secret (anybody who can reach it may send)"
	case t.SecretInAddress():
		return "with / and the value of the secret " + secret + " behind it,"
	default:
		return "with the value of the secret " + secret
	}
}

// outputs tells what to paste where.
func (a *api) outputs(scope constructs.Construct, b *builder) {
	for _, name := range sortedKeys(b.conf.Topics) {
		if t := b.conf.Topics[name]; t.Queue != "" || t.From == config.FromPublish { // nobody sends webhooks there
			continue
		}
		var secrets []string
		for _, s := range b.conf.Topics[name].Secrets {
			if _, _, reference := isReference(s); !reference {
				s = b.topo.Prefix + "/" + s
			}
			secrets = append(secrets, s)
		}
		id := "Webhook" + camel(name)
		if strings.ContainsAny(name, "-_") {
			id = logicalID("Webhook", name)
		}
		awscdk.NewCfnOutput(scope, &id, &awscdk.CfnOutputProps{
			Value: jsii.String(a.url + "/events/http/" + name),
			Description: jsii.String(fmt.Sprintf("Paste this URL into the webhook settings of %s, %s and the content type application/json",
				name, proof(b.conf.Topics[name], strings.Join(secrets, " or ")))),
		})
	}
	for _, o := range []struct{ id, value, description string }{
		{"ApiUrl", a.url, "Where the catalog (/catalog) and notifications (/notifications) are"},
		{"TableName", *b.table.TableName(), "The table; it stays when the stack goes, unless it was deployed with retain=false"},
		{"BucketName", *b.bucket.BucketName(), "The bucket for blobs; it stays when the stack goes, unless it was deployed with retain=false"},
		{"AlarmTopicArn", *b.alarms.topic.TopicArn(), "Subscribe to this topic to be told of alarms"},
	} {
		awscdk.NewCfnOutput(scope, jsii.String(o.id), &awscdk.CfnOutputProps{Value: jsii.String(o.value), Description: jsii.String(o.description)})
	}
}
