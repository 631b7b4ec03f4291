package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// newTable adds the one table: on demand, restorable to any second of the last 35 days.
func newTable(scope constructs.Construct, prefix string, key awskms.IKey, retain bool) awsdynamodb.TableV2 {
	props := &awsdynamodb.TablePropsV2{
		TableName:                        jsii.String(prefix + "-table"),
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

// blobs is where in the bucket blobs are.
const blobs = "catalog/*"

// newBucket adds the bucket for blobs. They are never overwritten, and a deletion is final only after a week.
func newBucket(scope constructs.Construct, key awskms.IKey, retain bool) awss3.Bucket {
	props := &awss3.BucketProps{
		BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(),
		EnforceSSL:        jsii.Bool(true),
		MinimumTLSVersion: jsii.Number(1.2),
		ObjectOwnership:   awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED,
		Encryption:        awss3.BucketEncryption_S3_MANAGED,
		RemovalPolicy:     removal(retain),
		Versioned:         &retain,
		LifecycleRules: &[]*awss3.LifecycleRule{{
			Id:                                  jsii.String("leftovers"),
			AbortIncompleteMultipartUploadAfter: awscdk.Duration_Days(jsii.Number(1)),
			NoncurrentVersionExpiration:         awscdk.Duration_Days(jsii.Number(7)),
		}},
	}
	if key != nil {
		props.Encryption, props.EncryptionKey, props.BucketKeyEnabled = awss3.BucketEncryption_KMS, key, jsii.Bool(true)
	}
	bucket := awss3.NewBucket(scope, jsii.String("Blobs"), props)
	pin(bucket, "Blobs")
	return bucket
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
	return key
}

// newSecret adds a secret. It gets a random value, unless somebody else chooses it: then it stays without one until a
// person puts it in.
func newSecret(scope constructs.Construct, prefix, name string, generate bool, key awskms.IKey, retain bool) awssecretsmanager.CfnSecret {
	id := logicalID("Secret", name)
	props := &awssecretsmanager.CfnSecretProps{Name: jsii.String(prefix + "/" + name)}
	if key != nil {
		props.KmsKeyId = key.KeyArn()
	}
	if generate {
		props.Description = jsii.String("Made by Callboard. It may hold several values, one a line, while it is being changed.")
		props.GenerateSecretString = &awssecretsmanager.CfnSecret_GenerateSecretStringProperty{
			PasswordLength: jsii.Number(40), ExcludePunctuation: jsii.Bool(true),
		}
	} else {
		props.Description = jsii.String("Empty until you put in what the other side gave you.")
	}
	secret := awssecretsmanager.NewCfnSecret(scope, &id, props)
	secret.OverrideLogicalId(&id)
	secret.ApplyRemovalPolicy(removal(retain), nil)
	return secret
}

func removal(retain bool) awscdk.RemovalPolicy {
	if retain {
		return awscdk.RemovalPolicy_RETAIN
	}
	return awscdk.RemovalPolicy_DESTROY
}
