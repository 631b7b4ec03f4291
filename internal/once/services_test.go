//go:build services

package once_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/internal/once"
	engine "github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

func TestServices(t *testing.T) {
	emulator.Each(t, []string{emulator.DynamoDBLocal, emulator.MiniStack, emulator.Moto}, func(t *testing.T, _ string, cfg aws.Config) {
		client := dynamodb.NewFromConfig(cfg)
		s := once.New(engine.New(client, emulator.Table(t, client), time.Now), time.Now)
		eventstest.RunOnceStore(t, func(*testing.T) events.OnceStore { return s })
	})
}
