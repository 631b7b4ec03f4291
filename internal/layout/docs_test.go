package layout

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	gocmp "github.com/google/go-cmp/cmp"
)

// cited is a test as documentation names it: its folder, its function and, after a slash, one of its cases.
var cited = regexp.MustCompile("`([a-z0-9/_-]+) ((?:Test|Fuzz)\\w+)(?:/([^`]+))?`")

// unknown returns the tests that a text cites and that are not in the tree.
func unknown(text string) (citations int, wrong []string) {
	oneLine := strings.Join(strings.Fields(text), " ") // a citation may go over the end of a line
	for _, m := range cited.FindAllStringSubmatch(oneLine, -1) {
		citations++
		if problem := lookUp(m[1], m[2], m[3]); problem != "" {
			wrong = append(wrong, m[0]+": "+problem)
		}
	}
	return citations, wrong
}

func lookUp(folder, function, name string) (problem string) {
	root := filepath.Join("../..", filepath.FromSlash(folder))
	paths, err := filepath.Glob(filepath.Join(root, "*_test.go"))
	if err != nil || len(paths) == 0 {
		return "the folder has no tests"
	}
	hasFunction, hasCase := false, name == ""
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		hasFunction = hasFunction || strings.Contains(string(data), "\nfunc "+function+"(")
		hasCase = hasCase || strings.Contains(string(data), `"`+name+`"`)
	}
	if !hasCase { // cases may be files
		files, err := filepath.Glob(filepath.Join(root, "testdata", name+".*"))
		hasCase = err == nil && len(files) > 0
	}
	switch {
	case !hasFunction:
		return "there is no such test"
	case !hasCase:
		return "the test has no such case"
	}
	return ""
}

func TestSecurity_TestsExist(t *testing.T) {
	t.Parallel()
	citations, wrong := unknown(read(t, "../../docs/security.md"))
	for _, w := range wrong {
		t.Error(w)
	}
	if citations < 50 {
		t.Errorf("only %d tests are cited; are they written `folder TestName`?", citations)
	}
}

func TestReliability_TestsExist(t *testing.T) {
	t.Parallel()
	citations, wrong := unknown(read(t, "../../docs/reliability.md"))
	for _, w := range wrong {
		t.Error(w)
	}
	if citations < 15 {
		t.Errorf("only %d tests are cited; are they written `folder TestName`?", citations)
	}
}

func TestSecurity_FindsMissingTests(t *testing.T) {
	t.Parallel()
	_, wrong := unknown("`pkg/webhook TestHMAC`, `pkg/webhook\nTestNone`, `pkg/none TestHMAC`, `infra/stack TestRules/queues are encrypted`, " +
		"`infra/stack TestRules/queues are open`, `functions/ingress TestHandler/hmac`, `functions/ingress TestHandler/nothing-like-it`")
	want := []string{
		"`pkg/webhook TestNone`: there is no such test", "`pkg/none TestHMAC`: the folder has no tests",
		"`infra/stack TestRules/queues are open`: the test has no such case", "`functions/ingress TestHandler/nothing-like-it`: the test has no such case",
	}
	if diff := gocmp.Diff(want, wrong); diff != "" {
		t.Errorf("missing tests (-want +got):\n%s", diff)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The table of rights is that of the stack.
func TestSecurity_Rights(t *testing.T) {
	t.Parallel()
	documented := map[string][]string{}
	for line := range strings.Lines(read(t, "../../docs/security.md")) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[2], ":") || !strings.HasPrefix(strings.TrimSpace(cells[2]), "`") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimSpace(cells[1]), " ")
		for right := range strings.FieldsSeq(cells[2]) {
			documented[name] = append(documented[name], strings.Trim(right, "`"))
		}
		slices.Sort(documented[name])
	}
	if diff := gocmp.Diff(deployed(t), documented); diff != "" {
		t.Errorf("rights (-deployed +documented):\n%s", diff)
	}
}

// texts is a text or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *texts) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		return json.Unmarshal(data, (*[]string)(l))
	}
	*l = texts{""}
	return json.Unmarshal(data, &(*l)[0])
}

// reference is the ARN of another resource.
type reference struct {
	Of []string `json:"Fn::GetAtt"`
}

// deployed returns the rights by function and schedule in the template of the stack.
func deployed(t *testing.T) map[string][]string {
	t.Helper()
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties struct {
				FunctionName any
				Name         any
				Role         reference
				Target       any
				Policies     []struct {
					PolicyDocument struct {
						Statement []struct{ Action texts }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, "../../infra/stack/testdata/callboard.template.json")), &template); err != nil {
		t.Fatal(err)
	}
	rights := map[string][]string{}
	for _, r := range template.Resources {
		var name, role string
		switch r.Type {
		case "AWS::Lambda::Function":
			name, role = fmt.Sprint(r.Properties.FunctionName), strings.Join(r.Properties.Role.Of, " ")
		case "AWS::Scheduler::Schedule":
			target, _ := r.Properties.Target.(map[string]any)
			arn, _ := target["RoleArn"].(map[string]any)
			of, _ := arn["Fn::GetAtt"].([]any)
			name, role = fmt.Sprint(r.Properties.Name), strings.Trim(fmt.Sprint(of), "[]")
		default:
			continue
		}
		id, _, _ := strings.Cut(role, " ")
		var list []string
		for _, p := range template.Resources[id].Properties.Policies {
			for _, s := range p.PolicyDocument.Statement {
				list = append(list, s.Action...)
			}
		}
		slices.SortFunc(list, cmp.Compare[string])
		rights[strings.TrimPrefix(name, "callboard-")] = slices.Compact(list)
	}
	return rights
}
