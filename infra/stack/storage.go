package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// newTable adds the one table: on demand, restorable to any second of the last 35 days.
func newTable(scope constructs.Construct, name string, key awskms.IKey, retain bool) awsdynamodb.TableV2 {
	props := &awsdynamodb.TablePropsV2{
		TableName:                        &name,
		PartitionKey:                     &awsdynamodb.Attribute{Name: jsii.String("pk"), Type: awsdynamodb.AttributeType_STRING},
		SortKey:                          &awsdynamodb.Attribute{Name: jsii.String("sk"), Type: awsdynamodb.AttributeType_STRING},
		TimeToLiveAttribute:              jsii.String("expires"),
		Billing:                          awsdynamodb.Billing_OnDemand(nil),
		PointInTimeRecoverySpecification: &awsdynamodb.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: jsii.Bool(true)},
		DeletionProtection:               &retain,
		RemovalPolicy:                    removal(retain),
		Encryption:                       awsdynamodb.TableEncryptionV2_DynamoOwnedKey(),
	}
	table := awsdynamodb.NewTableV2(scope, jsii.String("Table"), props)
	resource := pin(table, "Table")
	if key != nil { // the construct takes a key only where the region is known
		resource.AddPropertyOverride(jsii.String("SSESpecification"), map[string]any{"SSEEnabled": true, "SSEType": "KMS"})
		resource.AddPropertyOverride(jsii.String("Replicas.0.SSESpecification"), map[string]any{"KMSMasterKeyId": key.KeyArn()})
	}
	return table
}

// blobs and payloads are where in the bucket blobs and the payloads of large events are.
const (
	blobs    = "catalog/*"
	payloads = events.PayloadPrefix + "*"
)

// maxBucketPrefix is how long a prefix can be: the name of a bucket has at most 63 characters, an account 12, a Region 14
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
const maxBucketPrefix = 63 - len("-") - 12 - len("-") - 14

// bucketName returns the name of the bucket in the account and Region of the stack.
func bucketName(prefix string) string {
	return topology.BucketName(prefix, *awscdk.Aws_ACCOUNT_ID(), *awscdk.Aws_REGION())
}

// newBucket adds the bucket for blobs and payloads. They are never overwritten, and a deletion is final only after a week.
// Nobody deletes payloads, so they expire; see [keepPayloads].
func newBucket(scope constructs.Construct, name string, key awskms.IKey, retain bool) awss3.Bucket {
	props := &awss3.BucketProps{
		BucketName:        &name,
		BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(),
		ObjectOwnership:   awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED,
		Encryption:        awss3.BucketEncryption_S3_MANAGED,
		RemovalPolicy:     removal(retain),
		Versioned:         &retain,
		LifecycleRules: &[]*awss3.LifecycleRule{{
			Id:                                  jsii.String("leftovers"),
			AbortIncompleteMultipartUploadAfter: awscdk.Duration_Days(jsii.Number(1)),
			NoncurrentVersionExpiration:         awscdk.Duration_Days(jsii.Number(7)),
		}, {
			Id:         jsii.String("payloads"),
			Prefix:     jsii.String(events.PayloadPrefix),
			Expiration: awscdk.Duration_Days(jsii.Number(topology.PayloadRetention.Hours() / 24)),
		}},
	}
	if key != nil {
		props.Encryption, props.EncryptionKey, props.BucketKeyEnabled = awss3.BucketEncryption_KMS, key, jsii.Bool(true)
	}
	bucket := awss3.NewBucket(scope, jsii.String("Blobs"), props)
	pin(bucket, "Blobs")
	return bucket
}

// refusePlain lets the bucket refuse requests without TLS 1.2, also one that another stack has made: when that stack went,
// the policy of the bucket went with it.
func refusePlain(scope constructs.Construct, bucket awss3.IBucket) awss3.BucketPolicy {
	deny := func(conditions map[string]any) awsiam.PolicyStatement {
		return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
			Effect:     awsiam.Effect_DENY,
			Principals: &[]awsiam.IPrincipal{awsiam.NewAnyPrincipal()},
			Actions:    jsii.Strings("s3:*"),
			Resources:  &[]*string{bucket.BucketArn(), bucket.ArnForObjects(jsii.String("*"))},
			Conditions: &conditions,
		})
	}
	policy := awss3.NewBucketPolicy(scope, jsii.String("BlobsPolicy"), &awss3.BucketPolicyProps{Bucket: bucket})
	pin(policy, "BlobsPolicy")
	policy.Document().AddStatements(
		deny(map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}}),
		deny(map[string]any{"NumericLessThan": map[string]any{"s3:TlsVersion": 1.2}}),
	)
	return policy
}

// keepPayloads lets the bucket refuse to delete the payloads of large events, to whoever asks: several read the same one,
// and some clients that resolve claim checks delete what they have read. Nothing of ours deletes one, and the rules of the
// lifecycle are not bound by policies (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html).
func keepPayloads(policy awss3.BucketPolicy, bucket awss3.IBucket) {
	policy.Document().AddStatements(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid:        jsii.String("KeepPayloads"),
		Effect:     awsiam.Effect_DENY,
		Principals: &[]awsiam.IPrincipal{awsiam.NewAnyPrincipal()},
		Actions:    jsii.Strings("s3:DeleteObject", "s3:DeleteObjectVersion"),
		Resources:  &[]*string{bucket.ArnForObjects(jsii.String(payloads))},
	}))
}

// newKey adds the key that everything is encrypted with. CloudWatch may use it for alarms, SNS to deliver to queues.
func newKey(scope constructs.Construct, prefix string, retain bool) awskms.Key {
	key := awskms.NewKey(scope, jsii.String("Key"), &awskms.KeyProps{
		Description:       jsii.String("Everything of " + prefix),
		EnableKeyRotation: jsii.Bool(true),
		RemovalPolicy:     removal(retain),
	})
	pin(key, "Key")
	for _, name := range []string{"cloudwatch", "sns"} {
		key.AddToResourcePolicy(serviceUse(name), nil)
	}
	key.AddToResourcePolicy(logsUse(), nil)
	return key
}

// logsUse lets CloudWatch Logs use the key that the statement belongs to for log groups of the account
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html).
func logsUse() awsiam.PolicyStatement {
	groups := awscdk.Fn_Sub(jsii.String("arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:*"), nil)
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Principals: &[]awsiam.IPrincipal{service("logs." + *awscdk.Aws_REGION() + ".amazonaws.com")},
		Actions:    jsii.Strings("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"),
		Resources:  jsii.Strings("*"),
		Conditions: &map[string]any{"ArnLike": map[string]any{"kms:EncryptionContext:aws:logs:arn": groups}},
	})
}

// punctuation is what a generated secret has none of: it may be a segment of an address.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// newSecret adds a secret. It gets a random value, unless somebody else chooses it: then it stays without one until a
// person puts it in. What it returns is the ARN of the secret.
func newSecret(scope constructs.Construct, prefix, name string, generate bool, key awskms.IKey, o Options) *string {
	id := logicalID("Secret", name)
	props := &awssecretsmanager.CfnSecretProps{Name: jsii.String(prefix + "/" + name)}
	if key != nil {
		props.KmsKeyId = key.KeyArn()
	}
	if generate {
		props.Description = jsii.String("Made by Callboard. It may hold several values, one a line, while it is being changed.")
		generated := &awssecretsmanager.CfnSecret_GenerateSecretStringProperty{
			PasswordLength: jsii.Number(40), ExcludePunctuation: jsii.Bool(true),
		}
		if o.Emulator { // which may know this only; in AWS a change of it would make a new value
			generated.ExcludeCharacters = jsii.String(punctuation)
		}
		props.GenerateSecretString = generated
	} else {
		props.Description = jsii.String("Empty until you put in what the other side gave you.")
	}
	secret := awssecretsmanager.NewCfnSecret(scope, &id, props)
	secret.OverrideLogicalId(&id)
	secret.ApplyRemovalPolicy(removal(o.Retain), nil)
	return secret.AttrId() // as Ref is; not every emulator knows that
}

// secretARN returns the ARN of a secret that is there, as a policy takes it: Secrets Manager has put "-" and 6 characters
// of its own at the end
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/permissions_grant-limited-resources.html).
func secretARN(scope awscdk.Stack, prefix, name string) *string {
	return scope.FormatArn(&awscdk.ArnComponents{
		Service: jsii.String("secretsmanager"), Resource: jsii.String("secret"),
		ResourceName: jsii.String(prefix + "/" + name + "-??????"), ArnFormat: awscdk.ArnFormat_COLON_RESOURCE_NAME,
	})
}

func removal(retain bool) awscdk.RemovalPolicy {
	if retain {
		return awscdk.RemovalPolicy_RETAIN
	}
	return awscdk.RemovalPolicy_DESTROY
}
