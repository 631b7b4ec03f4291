package cost

// Where and when the prices hold: on demand, without the free tier. They change: check their sources before a decision
// depends on them.
const (
	Region    = "us-east-1"
	PriceDate = "2026-11-21"
)

// price is what AWS asks for a number of units.
type price struct {
	what   string
	usd    float64
	per    float64 // units
	unit   string
	source string
}

// of returns the price of a number of units in US dollars.
func (p price) of(units float64) float64 { return units * p.usd / p.per }

const million = 1e6

var (
	priceHTTP       = price{"HTTP API, 512 KB of a request", 1.00, million, "million", "https://aws.amazon.com/api-gateway/pricing/"}
	priceInvocation = price{"Lambda, invocation", 0.20, million, "million", "https://aws.amazon.com/lambda/pricing/"}
	priceGBSecond   = price{"Lambda, GB-second on arm64", 0.0000133334, 1, "1", "https://aws.amazon.com/lambda/pricing/"}
	priceQueue      = price{"SQS standard queue, 64 KB of a request", 0.40, million, "million", "https://aws.amazon.com/sqs/pricing/"}
	priceFair       = price{"SQS, the same if messages have a group", 0.10, million, "million", "https://aws.amazon.com/sqs/pricing/"}
	pricePublish    = price{"SNS standard topic, 64 KB of a publication", 0.50, million, "million", "https://aws.amazon.com/sns/pricing/"}
	priceWrite      = price{"DynamoDB on demand, write unit", 0.625, million, "million", "https://aws.amazon.com/dynamodb/pricing/on-demand/"}
	priceRead       = price{"DynamoDB on demand, read unit", 0.125, million, "million", "https://aws.amazon.com/dynamodb/pricing/on-demand/"}
	priceLog        = price{"CloudWatch Logs, GB written", 0.50, 1e9, "GB", "https://aws.amazon.com/cloudwatch/pricing/"}

	priceMetric     = price{"CloudWatch, metric and month", 0.30, 1, "1", "https://aws.amazon.com/cloudwatch/pricing/"}
	priceAlarm      = price{"CloudWatch, metric of an alarm and month", 0.10, 1, "1", "https://aws.amazon.com/cloudwatch/pricing/"}
	priceDashboard  = price{"CloudWatch, dashboard and month", 3.00, 1, "1", "https://aws.amazon.com/cloudwatch/pricing/"}
	priceSecret     = price{"Secrets Manager, secret and month", 0.40, 1, "1", "https://aws.amazon.com/secrets-manager/pricing/"}
	priceSecretRead = price{"Secrets Manager, request", 0.05, 1e4, "10,000", "https://aws.amazon.com/secrets-manager/pricing/"}
	priceSchedule   = price{"EventBridge Scheduler, invocation", 1.00, million, "million", "https://aws.amazon.com/eventbridge/pricing/"}
	priceStorage    = price{"DynamoDB, GB and month", 0.25, 1, "1", "https://aws.amazon.com/dynamodb/pricing/on-demand/"}
	priceRestore    = price{"DynamoDB, point-in-time recovery, GB and month", 0.20, 1, "1", "https://aws.amazon.com/dynamodb/pricing/on-demand/"}
	pricePut        = price{"S3, PUT", 5.00, million, "million", "https://aws.amazon.com/s3/pricing/"}
	priceGet        = price{"S3, GET", 0.40, million, "million", "https://aws.amazon.com/s3/pricing/"}
	priceObjects    = price{"S3, GB and month", 0.023, 1, "1", "https://aws.amazon.com/s3/pricing/"}
	priceKey        = price{"KMS, customer key and month", 1.00, 1, "1", "https://aws.amazon.com/kms/pricing/"}
)

// prices are all of them in the order in which they are printed.
var prices = []price{
	priceHTTP, priceInvocation, priceGBSecond, priceQueue, priceFair, pricePublish, priceWrite, priceRead, priceLog,
	priceMetric, priceAlarm, priceDashboard, priceSecret, priceSecretRead, priceSchedule, priceStorage, priceRestore,
	pricePut, priceGet, priceObjects, priceKey,
}
