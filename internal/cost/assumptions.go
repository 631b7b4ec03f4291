package cost

import (
	"time"

	"github.com/callboard/callboard/internal/topology"
)

// How AWS counts.
const (
	kib = 1 << 10
	gib = 1 << 30
	// requestChunk and messageChunk are what one request to the API, and one to a queue or topic, is counted for. Of a
	// batch all messages together count.
	requestChunk = 512 * kib
	messageChunk = 64 * kib
	// maxReceive is the most that one receive returns, in bytes
	// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
	maxReceive = 1 << 20
	// logOverhead is what CloudWatch Logs adds to a line, in bytes
	// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html).
	logOverhead = 26

	hoursPerMonth   = 730
	minutesPerMonth = 60 * hoursPerMonth
	// pollers and pollsPerMinute are for an event source mapping on an empty queue: it begins with five long polls of
	// 20 seconds each (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
	pollers        = 5
	pollsPerMinute = 3
	// vCPU is the memory at which a function has one CPU, in MB
	// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
	vCPU = 1769
)

// What is assumed about the events. A test in cmd/callboard measures what code decides: bytes and units.
const (
	// ChangesCatalog is the share of pushes that change a catalog file. The others are on the tracked branch too, where
	// most of them cost a little more than on another.
	ChangesCatalog = 0.02
	// Attributes are the bytes that metadata and attributes add to the payload.
	Attributes = 500
	// ClaimCheck are the bytes of a message that are in the place of a payload in the bucket.
	ClaimCheck = 200
	// payloadDays are the days for which a payload is paid: until it expires, and a week as an old version.
	payloadDays = float64(topology.PayloadRetention/(24*time.Hour)) + 7
	// AnnouncementSize is the size of an event about a change of the catalog, with its attributes, in bytes.
	AnnouncementSize = 600
	// HopLine is a line of the log about a hop, in bytes.
	HopLine = 380
	// MetricLine is a line of the log that is a metric, in bytes.
	MetricLine = 300
	// metricLines are the metrics of a hop: accepted, or how long it took.
	metricLines = 1
	// quotaLines are the metrics about the quota of an API, one for each request.
	quotaLines = 2
	// accessLine is a line of the access log of the API, platformLines what Lambda logs about an invocation (a line when
	// it starts and one when it ends), both in bytes with their overhead.
	accessLine, platformLines = 400, 700
)

// Units are what a piece of work takes of DynamoDB: request units for writes and strongly consistent reads.
type Units struct{ Reads, Writes float64 }

func (u Units) usd() float64 { return priceRead.of(u.Reads) + priceWrite.of(u.Writes) }

// What catalog-sync and notify do with the table, as a test in cmd/callboard measures it.
var (
	// PushUnits are for a push that changes no catalog file: read the repository, write its head, look into the outbox.
	PushUnits = Units{Reads: 2, Writes: 2}
	// ChangeUnits are for a push that changes the one entity of one catalog file.
	ChangeUnits = Units{Reads: 5, Writes: 9}
	// RepositoryUnits are for an event about a repository of which nothing changes.
	RepositoryUnits = Units{Reads: 2}
	// NotificationUnits are for one notification to one user.
	NotificationUnits = Units{Writes: 4}
	// SweepUnits are for a look into the empty outbox.
	SweepUnits = Units{Reads: 16}
	// leaseUnits are for the lease of a poll, which is taken and released.
	leaseUnits = Units{Writes: 2}
)

// duration is how long a function runs, in milliseconds at 8 KB: for an invocation, and for each event of its batch.
type duration struct{ invocation, event float64 }

// How long functions run, assumed: a request to SQS, SNS or DynamoDB takes about 8 ms, one to the API of GitHub 200 ms.
var (
	ingressTime    = duration{0, 12}
	publishTime    = duration{12, 1} // publisher and router publish a batch with one request
	pushTime       = duration{2, 30} // events of a batch are handled one after the other
	changeTime     = duration{2, 480}
	repositoryTime = duration{2, 220}
	notifyTime     = duration{2, 12}
	sweepTime      = duration{150, 0}
	ownTime        = duration{2, 100} // functions of somebody's own: nobody knows; one request to an API that is near
	pollTime       = duration{150, 0} // beside the time that it waits
)

// objectTime is how long it takes to put a payload of 1 MB into the bucket, or to get it, in milliseconds; assumed.
const objectTime = 40

// parse is what reading a payload takes of one CPU, in milliseconds a KB (docs/performance.md: 0.92 ms for 100 KB).
const parse = 0.92 / 100

// memory is what a function has, in MB. A test compares it with the stack.
func memory(function string) float64 {
	if function == topology.CatalogSync {
		return 512
	}
	return 256
}

// What is assumed about a month.
const (
	// tableGB is what is in the table.
	tableGB = 1
	// refusals are the different reasons for which webhooks are refused in a month.
	refusals = 1
	// secretReads are the reads of one secret by one function: a value is kept for five minutes.
	secretReads = hoursPerMonth * 12
)
