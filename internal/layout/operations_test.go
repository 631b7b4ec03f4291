package layout

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// elsewhere are alarms that other configurations have than that of the snapshot, with the code that names them.
var elsewhere = map[string]string{
	"secret-<name>": `return "secret-" +`, "withheld-<name>": `return "withheld-" +`, "queue-of-<topic>-age": `return "queue-of-" +`,
}

// Every alarm of the stack has one row in the table of alarms, and every row an alarm.
func TestOperations_Alarms(t *testing.T) {
	t.Parallel()
	alarms, values := alarmNames(t)
	rows := alarmRows(read(t, "../../docs/operations.md"))
	missing, idle, several := compare(alarms, rows, values)
	for _, name := range missing {
		t.Errorf("the alarm %q has no row", name)
	}
	for _, name := range several {
		t.Errorf("the alarm %q has several rows", name)
	}
	for _, row := range idle {
		if code, ok := elsewhere[row]; !ok || !strings.Contains(read(t, "../topology/alarms.go"), code) {
			t.Errorf("no alarm is called %q", row)
		}
	}
}

func TestOperations_FindsWrongRows(t *testing.T) {
	t.Parallel()
	rows := alarmRows("| alarm | x | y |\n|---|---|---|\n| `<function>-errors` | a | b |\n| `api-5xx` | a | b |\n| `<queue> … age` | a | b |\n| `a-<n>` | | |\n")
	missing, idle, several := compare([]string{"f-errors", "g-errors", "api-5xx", "q-age", "a-1", "a-x"}, append(rows, "api-<n>xx"), map[string][]string{"function": {"f"}})
	if !slices.Equal(missing, []string{"g-errors", "q-age", "a-x"}) || !slices.Equal(idle, []string{"<queue> … age"}) || !slices.Equal(several, []string{"api-5xx"}) {
		t.Errorf("missing %q, idle %q, several %q", missing, idle, several)
	}
}

// compare returns the alarms without a row, the rows without an alarm, and the alarms with several rows.
func compare(alarms, rows []string, values map[string][]string) (missing, idle, several []string) {
	used := map[string]int{}
	for _, name := range alarms {
		n := 0
		for _, row := range rows {
			if rowPattern(row, values).MatchString(name) {
				used[row]++
				n++
			}
		}
		switch {
		case n == 0:
			missing = append(missing, name)
		case n > 1:
			several = append(several, name)
		}
	}
	for _, row := range rows {
		if used[row] == 0 {
			idle = append(idle, row)
		}
	}
	return missing, idle, several
}

var placeholder = regexp.MustCompile(`<[a-z]+>`)

// rowPattern matches the alarms of a row such as "<function>-errors".
func rowPattern(row string, values map[string][]string) *regexp.Regexp {
	pattern, rest := "^", row
	for _, p := range placeholder.FindAllString(row, -1) {
		before, after, _ := strings.Cut(rest, p)
		pattern, rest = pattern+regexp.QuoteMeta(before), after
		switch name := strings.Trim(p, "<>"); name {
		case "n":
			pattern += "[0-9]+"
		case "host", "name":
			pattern += `[\w.-]+`
		default:
			quoted := []string{"-"} // where there are none: no name is that
			for _, v := range values[name] {
				quoted = append(quoted, regexp.QuoteMeta(v), regexp.QuoteMeta(strings.ReplaceAll(v, "_", ".")))
			}
			pattern += "(?:" + strings.Join(quoted, "|") + ")"
		}
	}
	return regexp.MustCompile(pattern + regexp.QuoteMeta(rest) + "$")
}

// alarmRows returns the first cells of the table whose heading is "alarm".
func alarmRows(text string) (rows []string) {
	inside := false
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		switch {
		case len(cells) < 3:
			inside = false
		case strings.TrimSpace(cells[1]) == "alarm":
			inside = true
		case inside && !strings.HasPrefix(cells[1], "--"):
			rows = append(rows, strings.Trim(strings.TrimSpace(cells[1]), "`"))
		}
	}
	return rows
}

// alarmNames returns the alarms of the stack, and the names of functions, of queues that they read, and of topics; all
// are without the prefix.
func alarmNames(t *testing.T) (alarms []string, values map[string][]string) {
	t.Helper()
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties struct {
				AlarmName, FunctionName, QueueName, TopicName any
				RedrivePolicy                                 any
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, "../../infra/stack/testdata/callboard.template.json")), &template); err != nil {
		t.Fatal(err)
	}
	values = map[string][]string{}
	for _, r := range template.Resources {
		p, kind := r.Properties, ""
		var name any
		switch r.Type {
		case "AWS::CloudWatch::Alarm":
			name = p.AlarmName
		case "AWS::Lambda::Function":
			kind, name = "function", p.FunctionName
		case "AWS::SQS::Queue":
			if p.RedrivePolicy == nil {
				continue
			}
			kind, name = "queue", p.QueueName
		case "AWS::SNS::Topic":
			kind, name = "topic", p.TopicName // with "_" in the place of "."
		default:
			continue
		}
		text, ok := name.(string)
		text, found := strings.CutPrefix(text, "callboard-")
		if !ok || !found {
			t.Fatalf("%s has the name %v", r.Type, name)
		}
		if kind == "" {
			alarms = append(alarms, text)
		} else {
			values[kind] = append(values[kind], text)
		}
	}
	slices.Sort(alarms)
	return alarms, values
}
