package awssecrets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/go-json-experiment/json"
)

// maxAnswer is more than any answer has: a parameter holds 8 KB.
const maxAnswer = 1 << 20

// parameters reads parameters of Systems Manager with the one operation that is needed. The package of the SDK takes 5 ms
// to initialize, in every start of every function that reads a secret, whether it has a parameter or not.
type parameters struct{ cfg aws.Config }

// get returns the value of a parameter, decrypted
// (https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html).
func (p parameters) get(ctx context.Context, name string) (string, error) {
	body, err := json.Marshal(struct {
		Name           string
		WithDecryption bool
	}{name, true})
	if err != nil {
		return "", err
	}
	var retryer aws.Retryer = retry.NewStandard()
	if p.cfg.Retryer != nil {
		retryer = p.cfg.Retryer()
	}
	for attempt := 1; ; attempt++ {
		value, err := p.try(ctx, body)
		if err == nil || attempt >= retryer.MaxAttempts() || !retryer.IsErrorRetryable(err) {
			return value, err
		}
		delay, delayErr := retryer.RetryDelay(attempt, err)
		if delayErr != nil {
			return "", err
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return "", ctx.Err()
		case <-timer.C:
		}
	}
}

func (p parameters) try(ctx context.Context, body []byte) (string, error) {
	endpoint, err := p.endpoint(ctx)
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM.GetParameter")
	credentials, err := p.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(hash[:]), "ssm", p.cfg.Region, time.Now()); err != nil {
		return "", err
	}
	client := p.cfg.HTTPClient
	if client == nil {
		client = awshttp.NewBuildableClient()
	}
	response, err := client.Do(r)
	if err != nil {
		return "", &smithyhttp.RequestSendError{Err: err}
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return "", &smithyhttp.RequestSendError{Err: err}
	}
	return answer(response, data)
}

// endpoint is the one that is configured, for all services or for this one, or that of the region.
func (p parameters) endpoint(ctx context.Context) (string, error) {
	for _, source := range p.cfg.ConfigSources {
		s, ok := source.(interface {
			GetServiceBaseEndpoint(ctx context.Context, service string) (string, bool, error)
		})
		if !ok {
			continue
		}
		if url, found, err := s.GetServiceBaseEndpoint(ctx, "SSM"); err != nil || found {
			return url, err
		}
	}
	if p.cfg.BaseEndpoint != nil {
		return *p.cfg.BaseEndpoint, nil
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(p.cfg.Region, "cn-") {
		domain = "amazonaws.com.cn"
	}
	return "https://ssm." + p.cfg.Region + "." + domain + "/", nil
}

// answer reads an answer of the protocol AWS JSON 1.1.
func answer(response *http.Response, data []byte) (string, error) {
	var body struct {
		Parameter struct{ Value string }
		Type      string `json:"__type"`
		Message   string `json:"message"`
	}
	err := json.Unmarshal(data, &body)
	if response.StatusCode != http.StatusOK {
		code := body.Type[strings.LastIndexByte(body.Type, '#')+1:]
		return "", &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: response},
			Err:      &smithy.GenericAPIError{Code: code, Message: body.Message},
		}
	}
	return body.Parameter.Value, err
}
