//go:build services

package dynamodb_test

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
	"github.com/callboard/callboard/internal/table"
	engine "github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/internal/table/tabletest"
)

// service is one that tools/services has started.
type service struct {
	name, variable string
	except         tabletest.Except
	// oneAtATime is for a service that does not keep concurrent requests apart.
	oneAtATime bool
}

var services = []service{
	{name: "DynamoDB Local", variable: "CALLBOARD_TEST_DYNAMODB"},
	{name: "MiniStack", variable: "CALLBOARD_TEST_MINISTACK"},
	{
		name: "moto", variable: "CALLBOARD_TEST_MOTO",
		oneAtATime: true, // a transaction that fails puts the whole table back to what it was when it began
		except: tabletest.Except{
			"largest item":     "moto refuses items above 405,000 bytes; DynamoDB takes 409,600",
			"transaction size": "moto refuses items above 405,000 bytes; DynamoDB takes 409,600",
			"update refuses":   "moto answers 500 (TypeError) when a number is added to a string; DynamoDB answers ValidationException",
			"model":            "moto answers 500 (TypeError) when a number is added to a string; DynamoDB answers ValidationException",
		},
	},
}

func TestConformance(t *testing.T) {
	for _, s := range services {
		t.Run(s.name, func(t *testing.T) {
			tabletest.Run(t, func(t *testing.T) table.Table { return open(t, s) }, s.except)
		})
	}
}

// oneAtATime makes one request after the other.
type oneAtATime struct {
	mu sync.Mutex
	aws.HTTPClient
}

func (c *oneAtATime) Do(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.HTTPClient.Do(r)
}

func open(t *testing.T, s service) table.Table {
	t.Helper()
	url := os.Getenv(s.variable)
	if url == "" {
		t.Fatalf("%s is not set: run this with tools/services/run", s.variable)
	}
	environment := map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": url,
	}
	cfg, err := awsclient.Config(func(name string) (string, bool) { v, ok := environment[name]; return v, ok },
		awsclient.Budget{Attempts: 3, Timeout: time.Minute, Backoff: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if s.oneAtATime {
		cfg.HTTPClient = &oneAtATime{HTTPClient: cfg.HTTPClient}
	}
	client := dynamodb.NewFromConfig(cfg)
	name := "callboard-" + rand.Text()
	_, err = client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:   &name,
		BillingMode: types.BillingModePayPerRequest,
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
	return engine.New(client, name, time.Now)
}
