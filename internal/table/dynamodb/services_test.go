//go:build services

package dynamodb_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/internal/table"
	engine "github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/internal/table/tabletest"
)

// service is one that tools/services has started.
type service struct {
	name   string
	except tabletest.Except
	// oneAtATime is for a service that does not keep concurrent requests apart.
	oneAtATime bool
}

var services = []service{
	{name: emulator.DynamoDBLocal},
	{name: emulator.MiniStack},
	{
		name:       emulator.Moto,
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
	cfg := emulator.Config(t, s.name)
	if s.oneAtATime {
		cfg.HTTPClient = &oneAtATime{HTTPClient: http.DefaultClient}
	}
	client := dynamodb.NewFromConfig(cfg)
	return engine.New(client, emulator.Table(t, client), time.Now)
}
