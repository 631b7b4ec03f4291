//go:build deployed

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/awsstack"
	"github.com/callboard/callboard/internal/front"
	"github.com/callboard/callboard/internal/secrets/awssecrets"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/webhook"
)

// While events flow, a deployment adds a topic, and the next adds another and removes the first. Every event that was
// accepted has one effect. So have those of the topic that is removed, whose sender stopped before, as docs/deploy.md
// says.
func TestChangedConfiguration(t *testing.T) {
	t.Parallel()
	p, s := Start(t, config, ""), deployed(t)
	withGadgets, withGizmos := s.withTopic(t, "gadgets"), s.withTopic(t, "gizmos")
	addGadgets, addGizmos := s.synth(t, withGadgets, nil), s.synth(t, withGizmos, nil)
	original := s.synth(t, s.config, nil)
	t.Cleanup(func() { s.deploy(t, original) })
	if s.emulated() {
		// Lambda lets an invocation end on the program it began with. An emulator kills it, and what it had comes again
		// after this.
		for _, q := range s.topo.Queues {
			if q.Function != "" {
				s.change(t, q.Name, sqstypes.QueueAttributeNameVisibilityTimeout, func(string) string { return "3" })
			}
		}
	}
	first := p.flow(t, "first", func() { s.deploy(t, addGadgets) })
	updates := []update{s.lastUpdate(t)}
	want := map[string]int{}
	gadgets := s.secret(t, "gadgets-webhook")
	for n := range 5 {
		title := fmt.Sprint("gadget ", n)
		want[title] = 1
		if status := p.post(t, "gadgets", gadgets, title); status != http.StatusAccepted {
			t.Fatalf("an event of the topic that was added is answered %d", status)
		}
	}
	s.drain(t, withGadgets)
	got := p.titles(t, "counter-token")
	maps.DeleteFunc(got, func(title string, _ int) bool { return !strings.HasPrefix(title, "gadget ") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effects of the topic that was added (-want +got):\n%s", diff)
	}

	second := p.flow(t, "second", func() { s.deploy(t, addGizmos) })
	updates = append(updates, s.lastUpdate(t))
	if status := p.post(t, "gadgets", gadgets, "late"); status != http.StatusNotFound {
		t.Errorf("an event of the topic that was removed is answered %d, want 404", status)
	}
	want["gizmo"] = 1
	if status := p.post(t, "gizmos", s.secret(t, "gizmos-webhook"), "gizmo"); status != http.StatusAccepted {
		t.Errorf("an event of the other topic that was added is answered %d", status)
	}

	s.drain(t, withGizmos)
	accepted, effects := slices.Concat(first.accepted, second.accepted), p.effects(t)
	met := 0
	for _, u := range updates {
		for _, e := range accepted {
			if made, ok := effects[e.title+e.link()]; ok && e.at.Before(u.end) && made.After(u.begin) {
				met++
			}
		}
	}
	t.Logf("%d events were accepted, %d of them in flight while CloudFormation worked; %d attempts were refused", len(accepted), met, first.refused.Load()+second.refused.Load())
	if met == 0 {
		t.Error("no event was in flight while the stack changed: the test shows nothing")
	}
	components, found := map[string]string{}, map[string]int{}
	for _, e := range accepted {
		if e.repository != "" {
			components[e.repository] = "flowing"
			found[e.link()] = 1
		} else {
			want[e.title] = 1
		}
	}
	if diff := cmp.Diff(want, p.titles(t, "counter-token")); diff != "" {
		t.Errorf("notifications of the generic topics (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(components, p.components(t)); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(found, p.links(t)); diff != "" {
		t.Errorf("notifications of new entities (-want +got):\n%s", diff)
	}
}

// From nothing, and to nothing: what the stack held and was is gone, its names are free, and what is deployed then works.
func TestDestroyAndDeploy(t *testing.T) {
	t.Parallel()
	p, s := Start(t, config, ""), deployed(t)
	p.deliver(t, p.commit(t, change{Files: map[string]*string{"catalog-info.yaml": component("petstore", "x"+incompressible())}}))
	p.Settle(t)
	if got := p.components(t); len(got) != 1 {
		t.Fatalf("the catalog has %d components, want 1", len(got))
	}
	bucket, before := s.bucket(t), s.secret(t, "github-webhook")
	if len(s.versions(t, bucket)) == 0 {
		t.Error("the bucket is empty: the test shows nothing")
	}
	if code := p.Interrupt(t); code != 0 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}

	s.emptyBucket(t, bucket)
	assembly := s.synth(t, s.config, nil)
	s.destroy(t, assembly)
	for _, left := range s.left(t) {
		t.Errorf("%s is left", left)
	}
	s.deploy(t, assembly)

	p = s.attach(t)
	if got := p.components(t); len(got) != 0 {
		t.Errorf("the catalog has %d components, want none", len(got))
	}
	if p.Secret(t, "github-webhook") == before {
		t.Error("the secret is the old one")
	}
	p.deliver(t, p.commit(t, change{Files: map[string]*string{"catalog-info.yaml": component("petstore", "again")}}))
	p.Settle(t)
	if diff := cmp.Diff(map[string]string{"petstore": "again"}, p.components(t)); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
}

// What a stack leaves when it is destroyed goes on in the stack that adopts it: entities, notifications, secrets.
func TestAdopting(t *testing.T) {
	t.Parallel()
	alone.Lock()
	t.Cleanup(alone.Unlock)
	s := deployed(t).in(t, "kept")
	kept := s.synth(t, s.config, map[string]string{"env": "kept", "retain": "true"})
	unprotected := s.synth(t, s.config, map[string]string{"env": "kept", "retain": "true", "protect": "false"})
	adopting := s.synth(t, s.config, map[string]string{"env": "kept", "retain": "true", "protect": "false", "adopt": "true"})
	t.Cleanup(func() {
		s.destroy(t, adopting)
		s.removeForGood(t)
		for _, left := range s.left(t) {
			t.Errorf("%s is left", left)
		}
	})

	s.deploy(t, kept)
	p := s.attach(t)
	large := "x" + incompressible() // in the bucket
	p.deliver(t, p.commit(t, change{Repo: "old", Files: map[string]*string{"catalog-info.yaml": component("old", large)}}))
	p.Settle(t)
	if len(s.versions(t, s.bucket(t))) == 0 {
		t.Error("the bucket is empty: nothing shows that it is adopted")
	}
	secret := p.Secret(t, "github-webhook")
	old := p.links(t)
	if len(old) != 1 {
		t.Fatalf("the notifications are %v, want one", old)
	}
	if code := p.Interrupt(t); code != 0 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}

	if out, err := cdk(t, "destroy", "--force", "--app", kept); err == nil {
		t.Fatalf("cdk destroy removed a stack that is protected:\n%s", out)
	}
	s.deploy(t, unprotected)
	s.destroy(t, unprotected)
	if _, err := s.describe(t); err == nil {
		t.Fatal("cdk destroy left the stack")
	}
	s.deploy(t, adopting)

	p = s.attach(t)
	if got := p.Secret(t, "github-webhook"); got != secret {
		t.Error("the secret is another one")
	}
	if diff := cmp.Diff(old, p.links(t)); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
	p.deliver(t, p.commit(t, change{Repo: "new", Files: map[string]*string{"catalog-info.yaml": component("new", "here")}}))
	p.Settle(t)
	if diff := cmp.Diff(map[string]string{"old": large, "new": "here"}, p.components(t)); diff != "" {
		t.Errorf("components (-want +got):\n%.300s", diff)
	}
	if got := p.links(t); len(got) != 2 {
		t.Errorf("the notifications are %v, want that of the new entity too", got)
	}
}

// synth makes the cloud assembly of a configuration, with the context that the stage was deployed with and some other
// values, and returns its folder.
func (s *stage) synth(tb testing.TB, path string, changes map[string]string) (assembly string) {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range s.topo.Functions { // all that `make package` would change
		if err := os.WriteFile(filepath.Join("../../dist", f.Name, "events-config.json"), data, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	values := map[string]string{}
	for _, field := range strings.Fields(os.Getenv("CALLBOARD_E2E_CONTEXT")) {
		if name, value, ok := strings.Cut(field, "="); ok {
			values[name] = value
		}
	}
	maps.Copy(values, map[string]string{"config": path, "package": "false"})
	maps.Copy(values, changes)
	assembly = filepath.Join(tb.TempDir(), "cdk.out")
	args := []string{"synth", "--quiet", "--output", assembly}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		args = append(args, "-c", name+"="+values[name])
	}
	if out, err := cdk(tb, args...); err != nil {
		tb.Fatalf("cdk synth: %v\n%s", err, out)
	}
	return assembly
}

// deploy runs `cdk deploy` with what was synthesized.
func (s *stage) deploy(tb testing.TB, assembly string) {
	tb.Helper()
	if out, err := cdk(tb, "deploy", "--require-approval", "never", "--app", assembly); err != nil {
		tb.Fatalf("cdk deploy: %v\n%s", err, out)
	}
}

// destroy runs `cdk destroy`, and waits until the names of queues can be used again, where that takes a while
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html).
func (s *stage) destroy(tb testing.TB, assembly string) {
	tb.Helper()
	if out, err := cdk(tb, "destroy", "--force", "--app", assembly); err != nil {
		tb.Fatalf("cdk destroy: %v\n%s", err, out)
	}
	if !s.emulated() {
		<-time.After(time.Minute)
	}
}

// cdk runs the command of the CDK at the root of the repository and returns what it printed.
func cdk(tb testing.TB, args ...string) (output string, err error) {
	tb.Helper()
	command := exec.CommandContext(context.WithoutCancel(tb.Context()), "cdk", args...)
	command.Dir = "../.."
	out, err := command.CombinedOutput()
	return string(out), err
}

// in returns another stage of the same configuration.
func (s *stage) in(tb testing.TB, name string) *stage {
	tb.Helper()
	return &stage{name: name, config: s.config, addr: s.addr, aws: s.aws, topo: s.topology(tb, s.config, name)}
}

func (s *stage) topology(tb testing.TB, path, name string) *topology.Topology {
	tb.Helper()
	topo, err := topologyOf(path, name)
	if err != nil {
		tb.Fatal(err)
	}
	return topo
}

// withTopic returns the path of the configuration of the stage with another topic, like frobs, and a rule for its events.
func (s *stage) withTopic(tb testing.TB, name string) string {
	tb.Helper()
	topic := maps.Clone(readConfig(tb, s.config)["topics"].(map[string]any)["frobs"].(map[string]any))
	topic["secrets"] = []string{name + "-webhook"}
	return s.with(tb, map[string]any{
		"topics": map[string]any{name: topic},
		"notifications": map[string]any{"rules": []any{map[string]any{
			"name": name, "on": []string{name + ".add"}, "to": []string{"user:default/counter"}, "title": "${payload.n}",
		}}},
	})
}

// secret returns the value of a secret in AWS.
func (s *stage) secret(tb testing.TB, name string) string {
	tb.Helper()
	values, err := awssecrets.New(s.aws, s.topo.Prefix, time.Now).Values(tb.Context(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return values[0]
}

// drain waits until nothing is in the queues of the stage that a configuration has.
func (s *stage) drain(tb testing.TB, path string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 5*patience)
	defer cancel()
	stack, err := awsstack.Find(ctx, s.aws, s.topology(tb, path, s.name))
	if err == nil {
		err = stack.Drain(ctx)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// describe returns the stack as CloudFormation knows it.
func (s *stage) describe(tb testing.TB) (*cloudformation.DescribeStacksOutput, error) {
	tb.Helper()
	return cloudformation.NewFromConfig(s.aws).DescribeStacks(context.WithoutCancel(tb.Context()), &cloudformation.DescribeStacksInput{StackName: &s.topo.Prefix})
}

// update is the time in which CloudFormation changed a stack.
type update struct{ begin, end time.Time }

// lastUpdate returns when CloudFormation changed the stack for the last time.
func (s *stage) lastUpdate(tb testing.TB) update {
	tb.Helper()
	answer, err := s.describe(tb)
	if err != nil {
		tb.Fatal(err)
	}
	events, err := cloudformation.NewFromConfig(s.aws).DescribeStackEvents(tb.Context(), &cloudformation.DescribeStackEventsInput{StackName: &s.topo.Prefix})
	if err != nil {
		tb.Fatal(err)
	}
	return update{aws.ToTime(answer.Stacks[0].LastUpdatedTime), aws.ToTime(events.StackEvents[0].Timestamp)} // the newest is first
}

// left returns what there is of what a stack can leave behind, and the stack.
func (s *stage) left(tb testing.TB) []string {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	var list []string
	if _, err := s.describe(tb); err == nil {
		list = append(list, "the stack")
	}
	if _, err := dynamodb.NewFromConfig(s.aws).DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(s.topo.Prefix + "-table")}); err == nil {
		list = append(list, "the table")
	}
	if bucket := s.bucket(tb); bucket != "" {
		list = append(list, "the bucket "+bucket)
	}
	for _, name := range s.secretNames() {
		if _, err := secretsmanager.NewFromConfig(s.aws).DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &name}); err == nil {
			list = append(list, "the secret "+name)
		}
	}
	return list
}

// secretNames returns the names of the secrets of the stack in AWS.
func (s *stage) secretNames() []string {
	var names []string
	for _, f := range s.topo.Functions {
		for _, name := range f.Secrets {
			names = append(names, s.topo.Prefix+"/"+name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// s3 returns a client that finds buckets where they are not names of hosts.
func (s *stage) s3() *s3.Client {
	return s3.NewFromConfig(s.aws, func(o *s3.Options) { o.UsePathStyle = s.emulated() })
}

// bucket returns the name of the bucket of the stage, "" if there is none. It ends with an account and a Region.
func (s *stage) bucket(tb testing.TB) string {
	tb.Helper()
	buckets, err := s.s3().ListBuckets(context.WithoutCancel(tb.Context()), &s3.ListBucketsInput{})
	if err != nil {
		tb.Fatal(err)
	}
	name := regexp.MustCompile("^" + s.topo.Prefix + "-[0-9]{12}-" + s.aws.Region + "$")
	for _, b := range buckets.Buckets {
		if name.MatchString(aws.ToString(b.Name)) {
			return aws.ToString(b.Name)
		}
	}
	return ""
}

// versions returns all objects of a bucket, also those that were deleted or overwritten.
func (s *stage) versions(tb testing.TB, bucket string) []types.ObjectIdentifier {
	tb.Helper()
	var list []types.ObjectIdentifier
	pages := s3.NewListObjectVersionsPaginator(s.s3(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.WithoutCancel(tb.Context()))
		if err != nil {
			tb.Fatal(err)
		}
		for _, v := range page.Versions {
			list = append(list, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			list = append(list, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
	}
	return list
}

func (s *stage) emptyBucket(tb testing.TB, bucket string) {
	tb.Helper()
	for some := range slices.Chunk(s.versions(tb, bucket), 1000) {
		if _, err := s.s3().DeleteObjects(context.WithoutCancel(tb.Context()), &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: some}}); err != nil {
			tb.Fatal(err)
		}
	}
}

// removeForGood deletes what a stack left, as docs/deploy.md says.
func (s *stage) removeForGood(tb testing.TB) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Error(err)
		}
	}
	table, name := dynamodb.NewFromConfig(s.aws), s.topo.Prefix+"-table"
	_, err := table.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: &name, DeletionProtectionEnabled: aws.Bool(false)})
	check(err)
	_, err = table.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &name})
	check(err)
	check(dynamodb.NewTableNotExistsWaiter(table).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &name}, patience))
	bucket := s.bucket(tb)
	s.emptyBucket(tb, bucket)
	_, err = s.s3().DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	check(err)
	for _, name := range s.secretNames() {
		_, err := secretsmanager.NewFromConfig(s.aws).DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: &name, ForceDeleteWithoutRecovery: aws.Bool(true)})
		check(err)
	}
}

// post sends an event to a topic like frobs, signed with a secret, and returns the status.
func (p *Process) post(tb testing.TB, topic, secret, title string) int {
	tb.Helper()
	body := fmt.Appendf(nil, `{"type":"add","n":%q}`, title)
	signature := webhook.Signature{Header: "x-frobs-signature", Prefix: "sha256=", Encoding: "hex"}
	response, _ := p.Do(tb, http.MethodPost, "/events/http/"+topic, map[string]string{
		"Content-Type": "application/json", "X-Frobs-Delivery": uuid.NewString(), signature.Header: signature.Sign(body, secret),
	}, body)
	return response.StatusCode
}

// effects returns when notifications were made: those of the counter by their title, those of guest by their link.
func (p *Process) effects(tb testing.TB) map[string]time.Time {
	tb.Helper()
	found := map[string]time.Time{}
	for _, n := range p.all(tb, "counter-token") {
		found[n.Payload.Title] = n.Created
	}
	for _, n := range p.all(tb, "guest-token") {
		found[n.Payload.Link] = n.Created
	}
	return found
}

// links returns where the notifications of guest lead to, with how many lead there.
func (p *Process) links(tb testing.TB) map[string]int {
	tb.Helper()
	found := map[string]int{}
	for _, n := range p.all(tb, "guest-token") {
		found[n.Payload.Link]++
	}
	return found
}

// flow is what several senders sent: frobs, and pushes to a new repository each.
type flow struct {
	refused atomic.Int64

	mu       sync.Mutex
	accepted []accepted
}

// accepted is an event that was answered 202.
type accepted struct {
	title      string // of a frob
	repository string // of a push
	at         time.Time
}

// link returns where the notification of a push leads to, "" for a frob.
func (a accepted) link() string {
	if a.repository == "" {
		return ""
	}
	return "https://github.com/acme/" + a.repository + "/blob/main/catalog-info.yaml"
}

// flow lets events flow while something is done. Their names begin with that of the flow.
func (p *Process) flow(tb testing.TB, name string, do func()) *flow {
	tb.Helper()
	engine, err := front.Find(tb.Context(), p.State)
	if err != nil {
		tb.Fatal(err)
	}
	f, done := &flow{}, make(chan struct{})
	var next atomic.Int64
	var senders sync.WaitGroup
	defer senders.Wait()
	defer close(done)
	pace := time.NewTicker(50 * time.Millisecond) // more than an emulator handles at once: something is always in flight
	defer pace.Stop()
	for range 8 {
		senders.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-pace.C:
				}
				n := next.Add(1)
				if n%5 != 0 {
					title := fmt.Sprint(name, " ", n)
					body := fmt.Appendf(nil, `{"type":"add","n":%q}`, title)
					f.accept(tb, p, accepted{title: title}, "/events/http/frobs", p.frob(tb, uuid.NewString(), body), body)
					continue
				}
				repository := fmt.Sprint(name, "-", n)
				w, err := commitOn(tb.Context(), p, engine.Token, change{Repo: repository, Files: map[string]*string{"catalog-info.yaml": component(repository, "flowing")}})
				if err != nil {
					tb.Error(err)
					return
				}
				f.accept(tb, p, accepted{repository: repository}, "/events/http/github", p.gitHub(tb, w.Event, uuid.NewString(), w.Payload), w.Payload)
			}
		})
	}
	do()
	return f
}

// accept sends an event until it is accepted, as a person does who delivers it again.
func (f *flow) accept(tb testing.TB, p *Process, e accepted, path string, headers map[string]string, body []byte) {
	for since := time.Now(); time.Since(since) < patience; f.refused.Add(1) {
		response, _, err := p.try(tb.Context(), http.MethodPost, path, headers, body)
		if err == nil && response.StatusCode == http.StatusAccepted {
			e.at = time.Now()
			f.mu.Lock()
			f.accepted = append(f.accepted, e)
			f.mu.Unlock()
			return
		}
	}
	tb.Errorf("%s does not accept %s%s", path, e.title, e.repository)
}
