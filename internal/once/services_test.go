//go:build services

package once_test

import (
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/once"
	engine "github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

func TestServices(t *testing.T) {
	for name, variable := range map[string]string{
		"DynamoDB Local": "CALLBOARD_TEST_DYNAMODB", "MiniStack": "CALLBOARD_TEST_MINISTACK", "moto": "CALLBOARD_TEST_MOTO",
	} {
		t.Run(name, func(t *testing.T) {
			url := os.Getenv(variable)
			if url == "" {
				t.Fatalf("%s is not set: run this with tools/services/run", variable)
			}
			s := once.New(open(t, url), time.Now)
			eventstest.RunOnceStore(t, func(*testing.T) events.OnceStore { return s })
		})
	}
}

// open creates a table in a service.
func open(t *testing.T, url string) *engine.Table {
	t.Helper()
	environment := map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": url,
	}
	cfg, err := awsclient.Config(func(name string) (string, bool) { v, ok := environment[name]; return v, ok },
		awsclient.Budget{Attempts: 3, Timeout: time.Minute, Backoff: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	client := dynamodb.NewFromConfig(cfg)
	name := "callboard-" + rand.Text()
	_, err = client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
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
	return engine.New(client, name, time.Now)
}
