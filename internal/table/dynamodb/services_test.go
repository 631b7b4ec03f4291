//go:build services

package dynamodb_test

import (
	"testing"
	"time"

	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/internal/table"
	engine "github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/internal/table/tabletest"
)

// service is an emulator.
type service struct {
	name   string
	except tabletest.Except
}

var services = []service{
	{name: emulator.DynamoDBLocal},
	{name: emulator.MiniStack},
	{
		name: emulator.Moto,
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

func open(t *testing.T, s service) table.Table {
	t.Helper()
	client, name := emulator.Table(t, s.name)
	return engine.New(client, name, time.Now)
}
