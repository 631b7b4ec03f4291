package deployment_test

import (
	"testing"

	"github.com/callboard/callboard/internal/awsclient"
	"github.com/callboard/callboard/internal/deployment"
	"github.com/callboard/callboard/pkg/events"
)

// What only some configurations need is asked for by those.
func TestRequire(t *testing.T) {
	t.Parallel()
	variables := map[string]string{
		"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"CALLBOARD_PREFIX": "callboard", "CALLBOARD_TABLE": "table", "CALLBOARD_BUCKET": "", "CALLBOARD_CONFIG": "../../events-config.json",
	}
	d, err := deployment.Load(func(name string) (string, bool) { v, ok := variables[name]; return v, ok }, awsclient.Interactive)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{deployment.Table: "table", deployment.Bucket: "", deployment.IngestQueueURL: ""} {
		got, err := d.Require(name)
		if got != want || (err == nil) != (want != "") || err != nil && events.ErrorCode(err) != events.CodeInvalid {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}
