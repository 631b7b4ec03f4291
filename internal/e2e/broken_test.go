//go:build deployed

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
)

// unseen is what the suite does not miss when it is taken away, with the reason why it is there. Nothing else may be
// like that.
var unseen = map[string]string{
	"logs:CreateLogStream":                   "Lambda writes the log with it; an emulator does not ask",
	"logs:PutLogEvents":                      "Lambda writes the log with it; an emulator does not ask",
	"sqs:ReceiveMessage":                     "the poller of Lambda uses it; an emulator does not ask",
	"sqs:DeleteMessage":                      "the poller of Lambda uses it; an emulator does not ask",
	"sqs:GetQueueAttributes":                 "the poller of Lambda uses it; an emulator does not ask",
	"s3:ListBucket":                          "without it S3 answers 403 and not 404 for what is not there; an emulator answers 404",
	"catalog-api UseTable dynamodb:GetItem":  "reads an item again whose blob was replaced after it was read",
	"router UsePayloads s3:PutObject":        "stores an event that became too large on its way: an export was removed, or a replay added to it",
	"sqs-publisher UsePayloads s3:PutObject": "stores an event that became too large on its way: an export was removed, or a replay added to it",
	"sqs-publisher BUCKET":                   "where it stores such an event; what is in the bucket already is passed on as it is",
	"ingress UseTable dynamodb:DeleteItem":   "gives back the claim on a body whose event could not be stored",
	"notify PREFIX":                          "names its metrics, and is part of no address",
	"sqs-publisher PREFIX":                   "names its metrics and is part of no address: the addresses of topics have it already",
}

// elsewhere is what other tests of the suite notice, and which.
var elsewhere = map[string]string{
	"subscription of notify to frobs.size":              "TestSizeLadder",
	"subscription of notify to frobs.headers":           "TestHeaderLadder",
	"subscription of notify to catalog.error":           "TestCatalogFollowsBranch",
	"subscription of catalog-sync to github.repository": "TestSamples",
}

// suspicious is a line of a function's log that a healthy stack does not write; parked is one that it does.
var (
	suspicious = regexp.MustCompile(`AccessDenied|not authorized|level"?[=:]"?(ERROR|WARN)`)
	parked     = regexp.MustCompile(`outcome"?[=:]"?park`)
)

// breakage is one thing that is done to a running stack.
type breakage struct {
	name     string
	function string // that will notice
	action   string // the right that is taken away, if it is one
	do       func(testing.TB) (undo func())
}

// Each right of each function, each variable and each subscription is taken away in turn; the stack has to fail then in
// what it is there for. So every right is needed, and the suite notices what is missing.
func TestBrokenStack(t *testing.T) {
	t.Parallel()
	p, s := Start(t, config, ""), deployed(t)
	if !s.emulated() {
		t.Skip("in AWS it takes minutes until a right is gone")
	}
	w := &watcher{p: p, s: s, filler: incompressible(), took: map[string]time.Duration{}}
	for _, q := range s.topo.Queues {
		if q.Function != "" { // what is left behind by one breakage comes again during the next ones, and not minutes later
			s.change(t, q.Name, types.QueueAttributeNameVisibilityTimeout, func(string) string { return "20" })
		}
	}
	large := w.large("large", "")
	p.deliver(t, p.commit(t, change{Files: map[string]*string{"large/catalog-info.yaml": &large}}))
	p.Settle(t)
	for _, f := range s.topo.Functions {
		for _, use := range w.uses(f.Name, "") {
			use.works(t, "the whole stack: "+f.Name) // starts the functions
			w.took[use.name] = max(w.took[use.name], use.works(t, "the whole stack: "+f.Name))
		}
	}
	t.Logf("on the whole stack the uses take %v", w.took)
	noticed, known := 0, map[string]bool{}
	for _, b := range slices.Concat(s.grants(t), s.variables(t), s.subscriptions(t)) {
		if unseen[b.action] != "" || unseen[b.name] != "" || elsewhere[b.name] != "" {
			known[b.action], known[b.name] = true, true
			continue
		}
		why := w.failure(t, b)
		s.emptyQueues(t) // of what failed
		if why == "" {
			t.Errorf("%s: nothing fails without it: take it out of the stack, or say in unseen why it is there", b.name)
			continue
		}
		noticed++
		t.Logf("%s: %s", b.name, why)
	}
	w.watch("")
	for _, list := range []map[string]string{unseen, elsewhere} {
		for name := range list {
			if !known[name] {
				t.Errorf("%q is listed, and nothing of the stack is called that", name)
			}
		}
	}
	if noticed < 50 {
		t.Errorf("only %d breakages were noticed", noticed)
	}
	s.emptyQueues(t)
	for _, use := range w.uses(topology.CatalogSync, "") {
		use.works(t, "the stack that was mended")
	}
}

// failure breaks the stack for a while and returns what fails then.
func (w *watcher) failure(tb testing.TB, b breakage) string {
	tb.Helper()
	undo := b.do(tb)
	defer undo()
	w.watch(b.function)
	for _, use := range w.uses(b.function, b.action) {
		// What does not happen within this time never will. What failed comes again after 5 s.
		patience := max(4*time.Second, 3*w.took[use.name])
		if b.action == "sqs:ChangeMessageVisibility" {
			patience += 5 * time.Second
		}
		if err := use.run(tb, patience); err != nil {
			return use.name + ": " + err.Error()
		}
	}
	return ""
}

// role returns the name of a function's role.
func (s *stage) role(tb testing.TB, function string) string {
	tb.Helper()
	answer, err := lambda.NewFromConfig(s.aws).GetFunctionConfiguration(tb.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(s.awsName(function))})
	if err != nil {
		tb.Fatal(err)
	}
	role := aws.ToString(answer.Role)
	return role[strings.LastIndex(role, "/")+1:]
}

func (s *stage) awsName(function string) string {
	i := slices.IndexFunc(s.topo.Functions, func(f topology.Function) bool { return f.Name == function })
	return s.topo.Functions[i].AWSName
}

// statement is one of a policy.
type statement struct {
	Sid      string
	Effect   string
	Action   jsontext.Value
	Resource jsontext.Value
}

func (st statement) actions() []string {
	var list []string
	if json.Unmarshal(st.Action, &list) == nil {
		return list
	}
	var one string
	_ = json.Unmarshal(st.Action, &one) // what is neither has no actions
	return []string{one}
}

type policy struct {
	Version   string
	Statement []statement
}

const grantsPolicy = "grants"

// policy returns what a role may do.
func (s *stage) policy(tb testing.TB, role string) policy {
	tb.Helper()
	answer, err := iam.NewFromConfig(s.aws).GetRolePolicy(tb.Context(), &iam.GetRolePolicyInput{RoleName: &role, PolicyName: aws.String(grantsPolicy)})
	if err != nil {
		tb.Fatal(err)
	}
	text, err := url.QueryUnescape(aws.ToString(answer.PolicyDocument))
	if err != nil {
		tb.Fatal(err)
	}
	var p policy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		tb.Fatal(err)
	}
	return p
}

func (s *stage) putPolicy(ctx context.Context, tb testing.TB, role string, p policy) {
	tb.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := iam.NewFromConfig(s.aws).PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String(grantsPolicy), PolicyDocument: aws.String(string(text))}); err != nil {
		tb.Fatal(err)
	}
}

// revoke takes actions of the statements with one of the Sids, or of all, away from a function.
func (s *stage) revoke(tb testing.TB, function, sid string, actions ...string) (undo func()) {
	tb.Helper()
	role := s.role(tb, function)
	whole := s.policy(tb, role)
	less := policy{Version: whole.Version}
	for _, st := range whole.Statement {
		if sid == "" || st.Sid == sid {
			left := slices.DeleteFunc(st.actions(), func(a string) bool { return slices.Contains(actions, a) })
			if len(left) == 0 {
				continue
			}
			st.Action, _ = json.Marshal(left)
		}
		less.Statement = append(less.Statement, st)
	}
	s.putPolicy(tb.Context(), tb, role, less)
	return func() { s.putPolicy(context.WithoutCancel(tb.Context()), tb, role, whole) }
}

// grants are all rights of all functions.
func (s *stage) grants(tb testing.TB) []breakage {
	tb.Helper()
	var list []breakage
	for _, f := range s.topo.Functions {
		for _, st := range s.policy(tb, s.role(tb, f.Name)).Statement {
			for _, action := range st.actions() {
				b := breakage{name: strings.Join([]string{f.Name, st.Sid, action}, " "), function: f.Name, action: action}
				taken := []string{action}
				if st.Sid == "Publish" { // see unseen
					b.action, taken = "publishing", st.actions()
					b.name = f.Name + " Publish"
				}
				if st.Sid == "Park" {
					b.action = "parking"
				}
				b.do = func(tb testing.TB) func() {
					tb.Helper()
					undo := s.revoke(tb, f.Name, st.Sid, taken...)
					if strings.HasPrefix(action, "secretsmanager:") { // what has read them keeps them for a while
						s.kill(tb, f.Name)
					}
					return undo
				}
				if !slices.ContainsFunc(list, func(x breakage) bool { return x.name == b.name }) {
					list = append(list, b)
				}
			}
		}
	}
	return list
}

// variables are all of ours in the environments of all functions.
func (s *stage) variables(tb testing.TB) []breakage {
	tb.Helper()
	client := lambda.NewFromConfig(s.aws)
	var list []breakage
	for _, f := range s.topo.Functions {
		answer, err := client.GetFunctionConfiguration(tb.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &f.AWSName})
		if err != nil {
			tb.Fatal(err)
		}
		whole := answer.Environment.Variables
		set := func(ctx context.Context, tb testing.TB, variables map[string]string) {
			tb.Helper()
			_, err := client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.AWSName, Environment: &lambdatypes.Environment{Variables: variables}})
			if err == nil {
				err = lambda.NewFunctionUpdatedV2Waiter(client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &f.AWSName}, patience)
			}
			if err != nil {
				tb.Fatal(err)
			}
		}
		for name, value := range whole {
			short, ours := strings.CutPrefix(name, "CALLBOARD_")
			if !ours {
				continue
			}
			wrong := map[string]string{}
			for n, v := range whole {
				wrong[n] = v
			}
			wrong[name] = value + "x"
			list = append(list, breakage{name: f.Name + " " + short, function: f.Name, do: func(tb testing.TB) func() {
				tb.Helper()
				set(tb.Context(), tb, wrong)
				return func() { set(context.WithoutCancel(tb.Context()), tb, whole) }
			}})
		}
	}
	slices.SortFunc(list, func(a, b breakage) int { return strings.Compare(a.name, b.name) })
	return list
}

// subscriptions are all of queues to topics.
func (s *stage) subscriptions(tb testing.TB) []breakage {
	tb.Helper()
	client := sns.NewFromConfig(s.aws)
	arnPrefix := s.outputs["AlarmTopicArn"]
	arnPrefix = arnPrefix[:strings.LastIndex(arnPrefix, ":")+1]
	var list []breakage
	for _, one := range s.topo.Subscriptions {
		i := slices.IndexFunc(s.topo.Topics, func(t topology.Topic) bool { return t.Name == one.Topic })
		topic := arnPrefix + s.topo.Topics[i].AWSName
		q := s.topo.Queues[slices.IndexFunc(s.topo.Queues, func(q topology.Queue) bool { return q.Name == one.Queue })]
		root, _, _ := strings.Cut(one.Topic, ".")
		if q.Export != "" || !slices.Contains([]string{"github", "frobs", "catalog"}, root) {
			continue // has a test of its own: TestBackstage, TestProviders, TestRepeatWindow
		}
		list = append(list, breakage{name: "subscription of " + one.Queue + " to " + one.Topic, function: topology.CatalogSync, do: func(tb testing.TB) func() {
			tb.Helper()
			found, err := client.ListSubscriptionsByTopic(tb.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
			if err != nil {
				tb.Fatal(err)
			}
			for _, sub := range found.Subscriptions {
				if !strings.HasSuffix(aws.ToString(sub.Endpoint), ":"+q.AWSName) {
					continue
				}
				had, err := client.GetSubscriptionAttributes(tb.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: sub.SubscriptionArn})
				if err == nil {
					_, err = client.Unsubscribe(tb.Context(), &sns.UnsubscribeInput{SubscriptionArn: sub.SubscriptionArn})
				}
				if err != nil {
					tb.Fatal(err)
				}
				return func() {
					_, err := client.Subscribe(context.WithoutCancel(tb.Context()), &sns.SubscribeInput{
						TopicArn: &topic, Protocol: sub.Protocol, Endpoint: sub.Endpoint,
						Attributes: map[string]string{"RawMessageDelivery": "true", "RedrivePolicy": had.Attributes["RedrivePolicy"]},
					})
					if err != nil {
						tb.Error(err)
					}
				}
			}
			tb.Fatalf("%s is not subscribed to %s", q.AWSName, topic)
			return nil
		}})
	}
	return list
}

// use is something that a stack is there for.
type use struct {
	name string
	run  func(tb testing.TB, patience time.Duration) error
}

// works runs a use that has to succeed, and returns how long it took. A machine may be too busy for it once or twice.
func (u use) works(tb testing.TB, what string) time.Duration {
	tb.Helper()
	var failures []string
	for len(failures) < 3 {
		begin := time.Now()
		err := u.run(tb, patience)
		if err == nil {
			return time.Since(begin)
		}
		failures = append(failures, err.Error())
	}
	tb.Fatalf("%s: %s: %q", what, u.name, failures)
	return 0
}

// watcher uses a stack and looks at the log of a function meanwhile.
type watcher struct {
	p        *Process
	s        *stage
	filler   string // of a description: what makes an entity too large for an item
	function string
	since    time.Time
	took     map[string]time.Duration // by the uses of the whole stack
}

func incompressible() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	var b strings.Builder
	for range 480_000 {
		b.WriteByte(letters[rand.IntN(len(letters))])
	}
	return b.String()
}

// watch looks at a function's log from now on.
func (w *watcher) watch(function string) { w.function, w.since = function, time.Now() }

// until waits for something to be as it should, as long as the log of the function says nothing else.
func (w *watcher) until(tb testing.TB, patience time.Duration, what string, is func() bool) error {
	tb.Helper()
	for end := time.Now().Add(patience); ; {
		if is() {
			return nil
		}
		if line := w.complaint(tb); line != "" {
			return fmt.Errorf("the log of %s says: %.200s", w.function, line)
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %s: %s", patience, what)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// complaint returns the first suspicious line of the log.
func (w *watcher) complaint(tb testing.TB) string {
	tb.Helper()
	if w.function == "" {
		return ""
	}
	group := "/aws/lambda/" + w.s.awsName(w.function)
	page, err := cloudwatchlogs.NewFromConfig(w.s.aws).FilterLogEvents(tb.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, StartTime: aws.Int64(w.since.UnixMilli())})
	if err != nil {
		return "" // it has not run yet
	}
	for _, line := range page.Events {
		if text := aws.ToString(line.Message); suspicious.MatchString(text) && !parked.MatchString(text) {
			return text
		}
	}
	return ""
}

// uses are what a function is used for, that which needs an action alone where there is one.
func (w *watcher) uses(function, action string) []use {
	switch action {
	case "parking":
		return []use{{"a message that nobody understands is parked", w.parking(function)}}
	case "sqs:ChangeMessageVisibility":
		return []use{{"what failed comes again soon", w.retrying(function)}}
	}
	flow, files, read, inbox := use{"an event becomes a notification", w.flow}, use{"a push becomes entities", w.files}, use{"the catalog is read", w.read}, use{"the inbox is used", w.inbox}
	switch function {
	case topology.Ingress, topology.SQSPublisher, topology.Router:
		uses := []use{flow}
		switch {
		case function == topology.Ingress:
			uses = append(uses, use{"a repeated body is known", w.repeat})
		case action == "":
			uses = append(uses, use{"a message that nobody understands is parked", w.parking(function)})
		}
		return uses
	case topology.Notify:
		return []use{flow, {"a message that nobody understands is parked", w.parking(function)}, files}
	case topology.CatalogSync:
		return []use{flow, {"a message that nobody understands is parked", w.parking(function)}, files}
	case topology.CatalogAPI:
		return []use{read}
	case topology.NotificationsAPI:
		return []use{inbox}
	}
	return nil
}

// flow sends a webhook that fits into a message, and one that does not, and waits for their notifications.
func (w *watcher) flow(tb testing.TB, patience time.Duration) error {
	tb.Helper()
	for _, more := range []int{0, events.MaxMessageSize} {
		title := uuid.NewString()
		body := padded(fmt.Appendf(nil, `{"type":"add","n":%q}`, title), more)
		response, answer, err := w.p.try(tb.Context(), http.MethodPost, "/events/http/frobs", w.p.frob(tb, uuid.NewString(), body), body)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusAccepted {
			return fmt.Errorf("the webhook is answered %s %s", response.Status, answer)
		}
		if err := w.until(tb, patience, "there is no notification", func() bool { return w.p.titles(tb, "counter-token")[title] == 1 }); err != nil {
			return err
		}
	}
	return nil
}

// repeat sends a body under two ids.
func (w *watcher) repeat(tb testing.TB, _ time.Duration) error {
	tb.Helper()
	body := fmt.Appendf(nil, `{"n":%q}`, uuid.NewString())
	for _, want := range []int{http.StatusAccepted, http.StatusOK} {
		response, answer, err := w.p.try(tb.Context(), http.MethodPost, "/events/http/once", w.p.frob(tb, uuid.NewString(), body), body)
		if err != nil {
			return err
		}
		if response.StatusCode != want {
			return fmt.Errorf("the webhook is answered %s %s", response.Status, answer)
		}
	}
	return nil
}

// files pushes a large file, changes it and removes it.
func (w *watcher) files(tb testing.TB, patience time.Duration) error {
	tb.Helper()
	path := "catalog-" + uuid.NewString()[:8] + "/catalog-info.yaml"
	name := strings.SplitN(path, "/", 2)[0]
	told := w.p.inbox(tb, "guest-token").TotalCount
	for _, description := range []string{"one", "two", "", "three"} { // what is new again is told in place of what was
		var file *string
		if description != "" {
			text := strings.ReplaceAll(*component(name, description), "user:guest", name) + w.large(name, description)
			file = &text
		}
		made := w.p.commit(tb, change{Files: map[string]*string{path: file}})
		if description == "two" { // the topic is exported, so more than that fits into a message
			made.Payload = padded(made.Payload, events.MaxSQSMessageSize)
		}
		w.p.deliver(tb, made)
		if err := w.until(tb, patience, "the catalog does not have "+description, func() bool { return w.p.components(tb)[name] == description }); err != nil {
			return err
		}
		if description != "one" {
			continue
		}
		body := fmt.Appendf(nil, `{"type":"owned","n":%q,"entity":"component:default/%s"}`, name, name)
		w.p.Do(tb, http.MethodPost, "/events/http/frobs", w.p.frob(tb, uuid.NewString(), body), body)
		if err := w.until(tb, patience, "nobody was told", func() bool {
			in := w.p.inbox(tb, "guest-token")
			return in.TotalCount >= told+2 && slices.ContainsFunc(in.Notifications, func(n notification) bool { return n.Payload.Title == name })
		}); err != nil {
			return err
		}
	}
	// After a change follows, for example, the removal of what is not used any more.
	if err := w.until(tb, patience, "the queues do not become empty", func() bool { return w.s.waiting(tb) == 0 }); err != nil {
		return err
	}
	if line := w.complaint(tb); line != "" {
		return fmt.Errorf("the log of %s says: %.200s", w.function, line)
	}
	return nil
}

// large is a group with a member that is too large for an item.
func (w *watcher) large(name, mark string) string {
	return "---\napiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: " + name + ", description: " + mark + w.filler + "}\n" +
		"spec: {type: team, children: [], members: [guest]}\n"
}

// read asks the catalog in all ways.
func (w *watcher) read(tb testing.TB, _ time.Duration) error {
	tb.Helper()
	const name = "large"
	return w.ask(tb, "guest-token", [][3]string{
		{http.MethodGet, "/catalog/entities/by-name/group/default/" + name, ""},
		{http.MethodGet, "/catalog/entities?filter=metadata.name=" + name, ""},
		{http.MethodPost, "/catalog/entities/by-refs", `{"entityRefs":["group:default/` + name + `"]}`},
	})
}

// inbox sends a notification and marks it.
func (w *watcher) inbox(tb testing.TB, _ time.Duration) error {
	tb.Helper()
	title := uuid.NewString()
	send := func(title, scope string) [3]string {
		return [3]string{http.MethodPost, "/notifications", `{"recipients":{"type":"entity","entityRef":"group:default/large"},"payload":{"title":"` + title + `"` + scope + `}}`}
	}
	err := w.ask(tb, "service-token", [][3]string{send("without a scope", ""), send(title, `,"scope":"same"`)})
	if err != nil {
		return err
	}
	list := [3]string{http.MethodGet, "/notifications", ""}
	if err := w.ask(tb, "guest-token", [][3]string{list}); err != nil {
		return err
	}
	var id string
	in := w.p.inbox(tb, "guest-token")
	for _, n := range in.Notifications {
		if n.Payload.Title == title {
			id = n.ID
		}
	}
	if id == "" {
		return fmt.Errorf("the inbox is %+v, without the notification", in)
	}
	return w.ask(tb, "guest-token", [][3]string{
		{http.MethodGet, "/notifications/" + id, ""},
		{http.MethodGet, "/notifications/status", ""},
		{http.MethodPost, "/notifications/update", `{"ids":["` + id + `"],"read":true}`},
	})
}

// ask makes requests, each of a method, a path and a body, and returns the first that is not answered with 200.
func (w *watcher) ask(tb testing.TB, token string, requests [][3]string) error {
	tb.Helper()
	for _, r := range requests {
		headers := map[string]string{"Authorization": "Bearer " + w.p.Secret(tb, token), "Content-Type": "application/json"}
		response, answer, err := w.p.try(tb.Context(), r[0], r[1], headers, []byte(r[2]))
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %s: %s %.200s", r[0], r[1], response.Status, answer)
		}
	}
	return nil
}

// queueOf returns the first queue that a function reads, and an action without which it fails with what comes there.
func queueOf(function string) (queue, needs string) {
	switch function {
	case topology.SQSPublisher:
		return topology.QueueIngest, "sns:Publish"
	case topology.Router:
		return "router-frobs", "sns:Publish"
	case topology.Notify:
		return "notify", "dynamodb:PutItem"
	}
	return function, "dynamodb:GetItem"
}

// parking sends what nobody understands to the queue of a function.
func (w *watcher) parking(function string) func(testing.TB, time.Duration) error {
	return func(tb testing.TB, patience time.Duration) error {
		tb.Helper()
		queue, _ := queueOf(function)
		poison := message{body: `{"n":"` + uuid.NewString() + `"}`, attributes: map[string]string{"x-mark": "poison"}}
		w.s.putBatch(tb, queue, []message{poison})
		return w.until(tb, patience, "it is not in the dead-letter queue", func() bool {
			return slices.ContainsFunc(w.s.take(tb, function+"-dlq"), func(m message) bool { return m.body == poison.body })
		})
	}
}

// retrying lets an event fail, and expects it again before the queue's own time is over.
func (w *watcher) retrying(function string) func(testing.TB, time.Duration) error {
	return func(tb testing.TB, patience time.Duration) error {
		tb.Helper()
		queue, needs := queueOf(function)
		mend := w.s.revoke(tb, function, "", needs, needs+"Batch")
		since := w.since
		w.watch("") // it complains, as it should
		defer func() { w.function, w.since = function, since }()
		title := uuid.NewString()
		m := frobMessage(tb, "frobs", title, `{"type":"add","n":"`+title+`"}`)
		switch function {
		case topology.Notify:
			m = frobMessage(tb, "frobs.add", title, `{"type":"add","n":"`+title+`"}`)
		case topology.CatalogSync:
			made := w.p.commit(tb, change{Files: map[string]*string{"README.md": &title}})
			e := events.Event{ID: events.NewID("github", title), Topic: "github.push", Time: time.Now(), Payload: bytes.TrimSpace(made.Payload), Metadata: map[string]string{"x-github-event": "push"}}
			encoded, err := events.Encode(e)
			if err != nil {
				tb.Fatal(err)
			}
			m = message{encoded.Body, map[string]string{}}
			for name, a := range encoded.Attributes {
				m.attributes[name] = a.StringValue
			}
		}
		w.s.putBatch(tb, queue, []message{m})
		failed := w.until(tb, patience, "it does not fail", func() bool { return strings.Contains(w.hops(tb, function, title), "retry") })
		mend()
		if failed != nil {
			return failed
		}
		return w.until(tb, patience, "what failed does not come again", func() bool {
			hops := w.hops(tb, function, title)
			return strings.Contains(hops, "=ok") || strings.Contains(hops, `"ok"`) || strings.Contains(hops, "dropped")
		})
	}
}

// hops returns the lines of a function's log about an event.
func (w *watcher) hops(tb testing.TB, function, delivery string) string {
	tb.Helper()
	group := "/aws/lambda/" + w.s.awsName(function)
	page, err := cloudwatchlogs.NewFromConfig(w.s.aws).FilterLogEvents(tb.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, FilterPattern: aws.String(`"` + delivery + `"`)})
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, line := range page.Events {
		b.WriteString(aws.ToString(line.Message) + "\n")
	}
	return b.String()
}
