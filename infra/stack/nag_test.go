package stack_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"
)

// finding is something that cdk-nag does not like.
type finding struct {
	Rule     string `json:"rule"`
	Resource string `json:"resource"` // path of the construct
}

// What cdk-nag finds is what testdata/nag.json accepts with a reason: no more, and no less.
func TestNag(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/nag.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Rule      string   `json:"rule"`
		Resources []string `json:"resources"`
		Reason    string   `json:"reason"`
	}
	if err := json.Unmarshal(data, &list, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	var want []finding
	for _, a := range list {
		if len(a.Reason) < 20 {
			t.Errorf("%s is accepted without a reason", a.Rule)
		}
		for _, r := range a.Resources {
			want = append(want, finding{a.Rule, r})
		}
	}
	got := findings(t)
	for _, f := range got {
		if !slices.Contains(want, f) {
			t.Errorf("%s finds something at %s: mend it, or accept it with a reason in testdata/nag.json", f.Rule, f.Resource)
		}
	}
	for _, f := range want {
		if !slices.Contains(got, f) {
			t.Errorf("%s at %s is accepted and not found any more: remove it from testdata/nag.json", f.Rule, f.Resource)
		}
	}
}

func findings(t *testing.T) []finding {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(nagged.dir, "AwsSolutions-"+nagged.topo.Prefix+"-NagReport.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Lines []struct {
			Rule       string `json:"ruleId"`
			Resource   string `json:"resourceId"`
			Compliance string `json:"compliance"`
		} `json:"lines"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Lines) < 50 {
		t.Fatalf("cdk-nag looked at %d things only", len(report.Lines))
	}
	var found []finding
	for _, l := range report.Lines {
		if l.Compliance != "Compliant" && l.Compliance != "N/A" {
			found = append(found, finding{l.Rule, l.Resource})
		}
	}
	return found
}
