// Package profile makes AWS clients for somebody at a terminal: it reads profiles, single sign-on and everything else
// that the AWS CLI reads. Functions take the parent package, which needs a fraction of the time.
package profile

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/middleware"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/pkg/events"
)

const (
	timeout  = 30 * time.Second // of one attempt
	attempts = 5                // unless AWS_MAX_ATTEMPTS or the profile says otherwise
)

// Config returns what the SDK makes clients from, with credentials that were just found to be there. It fails with
// [events.CodeInvalid] where a setting is missing or wrong, and [events.CodeUnauthorized] without credentials.
func Config(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(timeout)),
		config.WithAPIOptions([]func(*middleware.Stack) error{awsclient.SendOnce}))
	if err != nil {
		return aws.Config{}, explain(err)
	}
	if cfg.Region == "" {
		return aws.Config{}, events.Errorf(events.CodeInvalid, "there is no AWS region: set AWS_REGION, or region in the profile (\"aws configure set region\")")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return aws.Config{}, events.Wrap(err, events.CodeUnauthorized, "there are no valid AWS credentials: run \"aws sso login%s\" if you sign in, choose a profile with AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", profileFlag())
	}
	if cfg.RetryMaxAttempts == 0 {
		cfg.RetryMaxAttempts = attempts
	}
	return cfg, nil
}

// explain says what to do about settings that the SDK refuses.
func explain(err error) error {
	if missing, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
		return events.Errorf(events.CodeInvalid, "there is no AWS profile %q: set AWS_PROFILE to one of \"aws configure list-profiles\"", missing.Profile)
	}
	if _, ok := errors.AsType[config.AssumeRoleTokenProviderNotSetError](err); ok {
		return events.Wrap(err, events.CodeUnauthorized, "the AWS profile asks for a code of multi-factor authentication: run eval \"$(aws configure export-credentials --format env%s)\" first", profileFlag())
	}
	return events.Wrap(err, events.CodeInvalid, "the AWS settings of this terminal cannot be used: check the AWS_… variables and ~/.aws/config")
}

// profileFlag is what makes the AWS CLI use the profile that is used here.
func profileFlag() string {
	if name := cmp.Or(os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE")); name != "" {
		return " --profile " + name
	}
	return ""
}
