package awssecrets

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/internal/secrets"
	"github.com/callboard/callboard/pkg/events"
)

const (
	// current is the label of the version that everybody reads.
	current = "AWSCURRENT"
	// pending is the label that a version has before it is the current one. It wanders from version to version, so that
	// none but the newest is kept for it. It is not AWSPENDING, which is for rotations that Secrets Manager starts.
	pending = "CALLBOARD_PENDING"
	// attempts is how often a change is made anew because others have changed the secret meanwhile.
	attempts = 20
)

// Change replaces the live values of a secret, newest first and none if it has none, by what change makes of them. It is
// called again with what is there by then, if somebody else has changed the secret meanwhile: no change is lost. The
// secret itself has to exist.
//
// It takes the rights GetSecretValue, DescribeSecret, PutSecretValue and UpdateSecretVersionStage of Secrets Manager.
// Parameters fail with [events.CodeInvalid]: Systems Manager cannot change one on a condition.
func (s *Store) Change(ctx context.Context, name string, change func(values []string) ([]string, error)) error {
	kind, reference, isReference := strings.Cut(name, ":")
	id := s.prefix + "/" + name
	switch {
	case isReference && kind != "secretsmanager":
		return events.Errorf(events.CodeInvalid, "secret %q is a reference: change the value where it leads to", name)
	case isReference:
		id = reference
	}
	what := "the secret " + id + " of Secrets Manager"
	for range attempts {
		version, text, err := s.version(ctx, id)
		if err != nil {
			return failed(err, name, what)
		}
		values, _ := secrets.Parse(name, text) // none is no failure here
		if values, err = change(values); err != nil {
			return err
		}
		swapped, err := s.swap(ctx, id, version, strings.Join(values, "\n"))
		if err != nil {
			return failed(err, name, what)
		}
		if swapped {
			return nil
		}
	}
	return events.Errorf(events.CodeUnavailable, "others are changing the secret %q all the time; try again", name)
}

// version returns the current version of a secret and its text; both are "" if it has none yet.
func (s *Store) version(ctx context.Context, id string) (version, text string, err error) {
	out, err := s.secretsManager.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id, VersionStage: aws.String(current)})
	if err == nil {
		if out.SecretString == nil {
			return aws.ToString(out.VersionId), string(out.SecretBinary), nil
		}
		return aws.ToString(out.VersionId), *out.SecretString, nil
	}
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "ResourceNotFoundException" {
		return "", "", err
	}
	// The same answer says that there is no secret and that it has no value: who describes it hears which.
	described, err := s.secretsManager.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
	if err != nil {
		return "", "", err
	}
	for v, labels := range described.VersionIdsToStages {
		if slices.Contains(labels, current) {
			version = v
		}
	}
	return version, "", nil
}

// swap makes text the current version, provided that the current one still is the given one. Secrets Manager gives the
// label to the first version of all by itself, and moves it only away from the version that has it
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html).
func (s *Store) swap(ctx context.Context, id, version, text string) (bool, error) {
	made, err := s.secretsManager.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &id, SecretString: &text, VersionStages: []string{pending},
	})
	if err != nil {
		return false, err
	}
	if slices.Contains(made.VersionStages, current) {
		return true, nil
	}
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &id, VersionStage: aws.String(current), MoveToVersionId: made.VersionId}
	if version != "" {
		in.RemoveFromVersionId = &version
	}
	_, err = s.secretsManager.UpdateSecretVersionStage(ctx, in)
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorCode() == "InvalidParameterException" {
		return false, nil // it has moved
	}
	return err == nil, err
}
