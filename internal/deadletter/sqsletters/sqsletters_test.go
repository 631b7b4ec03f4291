package sqsletters_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/internal/awsclient/awsclienttest"
	"github.com/callboard/callboard/internal/deadletter/deadlettertest"
	"github.com/callboard/callboard/internal/deadletter/sqsletters"
	"github.com/callboard/callboard/pkg/events"
)

// A queue of others is asked where it is: in its account and region. The bucket is that of the stack.
func TestStore_OthersAreElsewhere(t *testing.T) {
	t.Parallel()
	topo := deadlettertest.Topology(t)
	topo.Foreign[0].ARN = "arn:aws:sqs:us-west-2:444455556666:far"
	var mu sync.Mutex
	var asked []string // action, region and queue
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		region := strings.Split(r.Header.Get("Authorization"), "/")[2] // of the signature
		asked = append(asked, action+" "+region)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		switch {
		case action == "GetQueueUrl" && strings.Contains(string(body), `"QueueName":"far"`) && strings.Contains(string(body), `"444455556666"`):
			_, _ = io.WriteString(w, `{"QueueUrl":"https://sqs.us-west-2.amazonaws.com/444455556666/far"}`)
		case action == "GetQueueUrl":
			_, _ = io.WriteString(w, `{"QueueUrl":"https://sqs.eu-west-1.amazonaws.com/111122223333/dlq"}`)
		case action == "SendMessage" && !strings.Contains(string(body), "us-west-2.amazonaws.com/444455556666/far"):
			t.Errorf("the message is sent to another queue: %s", body)
			fallthrough
		default:
			_, _ = io.WriteString(w, `{}`)
		}
	}))
	defer server.Close()
	cfg := awsclienttest.Config(t, server.URL)
	cfg.Region = "eu-west-1"
	store := sqsletters.New(cfg, topo)
	for _, queue := range []string{topo.Foreign[0].Name, topo.Foreign[0].ARN} {
		if err := store.Send(t.Context(), queue, events.SQSMessage{Body: "{}"}); err != nil {
			t.Error(err)
		}
	}
	bucket, err := store.Bucket(t.Context(), "sqs-publisher-dlq")
	if want := topo.Prefix + "-111122223333-eu-west-1"; err != nil || bucket.Name != want {
		t.Errorf("the bucket is %+v, %v; want %s", bucket, err, want)
	}
	far := []string{"GetQueueUrl us-west-2", "SendMessage us-west-2"}
	if diff := cmp.Diff(append(append([]string{}, far...), append(far, "GetQueueUrl eu-west-1")...), asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}
