package stack_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// finding is something that cdk-nag does not like.
type finding struct {
	Rule     string `json:"rule"`
	Resource string `json:"resource"` // path of the construct in the stack
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
		Only      string   `json:"only"` // the variant; "" for all
		Resources []string `json:"resources"`
		Reason    string   `json:"reason"`
	}
	if err := json.Unmarshal(data, &list, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*variant{nagged, full} {
		var want []finding
		for _, a := range list {
			if len(a.Reason) < 20 {
				t.Errorf("%s is accepted without a reason", a.Rule)
			}
			if a.Only != "" && a.Only != v.name {
				continue
			}
			for _, r := range a.Resources {
				want = append(want, finding{a.Rule, r})
			}
		}
		got := findings(t, v)
		for _, f := range got {
			if !slices.Contains(want, f) {
				t.Errorf("%s: %s finds something at %s: mend it, or accept it with a reason in testdata/nag.json", v.name, f.Rule, f.Resource)
			}
		}
		for _, f := range want {
			if !slices.Contains(got, f) {
				t.Errorf("%s: %s at %s is accepted and not found any more: remove it from testdata/nag.json", v.name, f.Rule, f.Resource)
			}
		}
	}
}

func findings(t *testing.T, v *variant) []finding {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(v.dir, "AwsSolutions-"+v.topo.Prefix+"-NagReport.json"))
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
			found = append(found, finding{l.Rule, strings.TrimPrefix(l.Resource, v.topo.Prefix+"/")})
		}
	}
	return found
}
