package awsevents_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/events/awsevents"
)

func consumer(t *testing.T, status int, answer string) (*awsevents.Consumer, *server) {
	t.Helper()
	s := serve(t, func(string) (int, string) { return status, answer })
	client := sqs.NewFromConfig(awsclienttest.Config(t, s.URL), func(o *sqs.Options) { o.DisableMessageChecksumValidation = true })
	return &awsevents.Consumer{
		Client: client, URL: "https://sqs.us-west-2.amazonaws.com/111122223333/far", ARN: "arn:aws:sqs:us-west-2:111122223333:far",
		DeadLetters: &awsevents.Sender{Client: client, URL: "https://sqs.eu-west-1.amazonaws.com/111122223333/dlq"},
	}, s
}

// A message is as Lambda would hand it over, with attributes of all types.
func TestConsumer_Receive(t *testing.T) {
	t.Parallel()
	c, s := consumer(t, http.StatusOK, `{"Messages":[{"MessageId":"m","ReceiptHandle":"r","Body":"{}","MD5OfBody":"x",
		"Attributes":{"ApproximateReceiveCount":"3","MessageGroupId":"g"},
		"MessageAttributes":{"a":{"DataType":"String","StringValue":"b"},"c":{"DataType":"Binary.x","BinaryValue":"AP8="}}}]}`)
	got, err := c.Receive(t.Context(), 5*time.Second, 90*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := []events.SQSMessage{{
		MessageID: "m", ReceiptHandle: "r", Body: "{}", MD5OfBody: "x", EventSource: "aws:sqs", EventSourceARN: "arn:aws:sqs:us-west-2:111122223333:far",
		Attributes:        map[string]string{"ApproximateReceiveCount": "3", "MessageGroupId": "g"},
		MessageAttributes: map[string]events.SQSAttribute{"a": {DataType: "String", StringValue: "b"}, "c": {DataType: "Binary.x", BinaryValue: []byte{0, 255}}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	for _, field := range []string{`"WaitTimeSeconds":5`, `"VisibilityTimeout":90`, `"MaxNumberOfMessages":10`, `"MessageAttributeNames":["All"]`, `"MessageSystemAttributeNames":["All"]`} {
		if !strings.Contains(s.requests()[0], field) {
			t.Errorf("no %s in %s", field, s.requests()[0])
		}
	}
}

// A message that SQS does not delete comes again, which is no failure of the others.
func TestConsumer_Delete(t *testing.T) {
	t.Parallel()
	c, s := consumer(t, http.StatusOK, `{"Successful":[{"Id":"0"}],"Failed":[{"Id":"1","Code":"ReceiptHandleIsInvalid","SenderFault":true}]}`)
	if err := c.Delete(t.Context(), []events.SQSMessage{{ReceiptHandle: "r0"}, {ReceiptHandle: "r1"}}); err != nil {
		t.Error(err)
	}
	if body := s.requests()[0]; !strings.Contains(body, `{"Id":"0","ReceiptHandle":"r0"}`) || !strings.Contains(body, `{"Id":"1","ReceiptHandle":"r1"}`) {
		t.Errorf("the request is %s", body)
	}
}

// Visibilities are changed in the far queue, dead letters go to ours.
func TestConsumer_Queue(t *testing.T) {
	t.Parallel()
	c, s := consumer(t, http.StatusOK, `{}`)
	if err := c.ChangeVisibility(t.Context(), events.SQSMessage{ReceiptHandle: "r"}, 1500*time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := c.Park(t.Context(), events.Message{Body: "{}"}); err != nil {
		t.Error(err)
	}
	bodies := s.requests()
	if !strings.Contains(bodies[0], `"VisibilityTimeout":2`) || !strings.Contains(bodies[0], "us-west-2.amazonaws.com/111122223333/far") {
		t.Errorf("the visibility is changed by %s", bodies[0])
	}
	if !strings.Contains(bodies[1], "eu-west-1.amazonaws.com/111122223333/dlq") {
		t.Errorf("the message is parked by %s", bodies[1])
	}
}

func TestConsumer_Failures(t *testing.T) {
	t.Parallel()
	c, _ := consumer(t, http.StatusBadRequest, `{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"no"}`)
	_, receive := c.Receive(t.Context(), time.Second, time.Minute)
	for what, err := range map[string]error{"receive": receive, "delete": c.Delete(t.Context(), []events.SQSMessage{{ReceiptHandle: "r"}})} {
		if events.ErrorCode(err) != events.CodeUnavailable || !strings.Contains(err.Error(), "/far") {
			t.Errorf("%s: %v, want code %s and the queue", what, err, events.CodeUnavailable)
		}
	}
}
