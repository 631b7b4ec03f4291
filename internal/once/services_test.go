//go:build services

package once_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/callboard/callboard/internal/emulator"
	"github.com/callboard/callboard/internal/once"
	engine "github.com/callboard/callboard/internal/table/dynamodb"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/eventstest"
)

func TestServices(t *testing.T) {
	emulator.Each(t, []string{emulator.DynamoDBLocal, emulator.MiniStack, emulator.Moto}, func(t *testing.T, name string, _ aws.Config) {
		client, table := emulator.Table(t, name)
		s := once.New(engine.New(client, table, time.Now), time.Now)
		eventstest.RunOnceStore(t, func(*testing.T) events.OnceStore { return s })
	})
}
