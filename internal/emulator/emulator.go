//go:build services

// Package emulator leads tests to the emulators of AWS that tools/services has started.
package emulator

import (
	"crypto/rand"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
)

// The emulators. LocalStack is not part of every run.
const (
	MiniStack     = "MiniStack"
	Moto          = "moto"
	DynamoDBLocal = "DynamoDB Local"
	LocalStack    = "LocalStack"
)

// variables have the addresses of the emulators.
var variables = map[string]string{
	MiniStack: "CALLBOARD_TEST_MINISTACK", Moto: "CALLBOARD_TEST_MOTO", DynamoDBLocal: "CALLBOARD_TEST_DYNAMODB", LocalStack: "CALLBOARD_TEST_LOCALSTACK",
}

// Each runs a test for each of the emulators, for all at the same time.
func Each(t *testing.T, names []string, test func(t *testing.T, name string, cfg aws.Config)) {
	t.Helper()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, name, Config(t, name))
		})
	}
}

// patience is what a call to an emulator may take. It is tried again, because an emulator may close a connection that it was
// asked on.
var patience = awsclient.Budget{Attempts: 3, Timeout: 2 * time.Minute, Backoff: time.Second}

// Config returns what clients of an emulator are made from, as the functions make it.
func Config(t *testing.T, name string) aws.Config {
	t.Helper()
	url := os.Getenv(variables[name])
	if url == "" && name == LocalStack {
		t.Skipf("%s is not set: tools/services/localstack sets it", variables[name])
	}
	if url == "" {
		t.Fatalf("%s is not set: run this with tools/services/run", variables[name])
	}
	return awsclient.With(awsclienttest.Config(t, url), patience)
}

// oneAtATime makes one request after the other.
type oneAtATime struct {
	mu sync.Mutex
	aws.HTTPClient
}

// Do implements aws.HTTPClient.
func (c *oneAtATime) Do(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.HTTPClient.Do(r)
}

// Table creates an empty table with the keys of the stack's in an emulator, and returns its name and a client. That of moto
// makes one request after the other, because moto does not keep concurrent ones apart: a condition holds for two writers at
// once, and a transaction that fails puts the whole table back to what it was when it began.
func Table(t *testing.T, emulator string) (client *dynamodb.Client, name string) {
	t.Helper()
	cfg := Config(t, emulator)
	if emulator == Moto {
		cfg.HTTPClient = &oneAtATime{HTTPClient: cfg.HTTPClient}
	}
	client, name = dynamodb.NewFromConfig(cfg), "callboard-"+rand.Text()
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: new("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: new("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: new("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: new("sk"), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dynamodb.NewTableExistsWaiter(client).Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	return client, name
}
