package deployment_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"
)

// secrets are those of the invocations beside the functions, as docs/local-aws.md says.
var secrets = map[string]string{
	"github-webhook": "It's a Secret to Everybody",
	"portal-token":   "example-portal-token",
}

// The invocations beside the functions can be used by who reads how.
func TestSecretsAreDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/local-aws.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range secrets {
		if !strings.Contains(string(data), name) || !strings.Contains(string(data), value) {
			t.Errorf("docs/local-aws.md does not say that the secret %s is %s", name, value)
		}
	}
}

// cloud stands for AWS and GitHub. It takes everything, has nothing stored but secrets, and has one repository.
type cloud struct {
	down atomic.Bool // it refuses everything

	mu    sync.Mutex
	asked strings.Builder
}

// requests returns what AWS was asked for: the operation and the body of each request.
func (c *cloud) requests() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked.String()
}

// ServeHTTP implements http.Handler.
func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.down.Load() {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if path, ok := strings.CutPrefix(r.URL.Path, "/github/repos/acme/petstore/"); ok {
		serveGitHub(w, path)
		return
	}
	body, _ := io.ReadAll(r.Body)
	operation := r.Header.Get("X-Amz-Target")
	if operation == "" { // of SNS, whose requests are forms
		text, _ := url.QueryUnescape(string(body))
		body = []byte(text)
	}
	c.mu.Lock()
	fmt.Fprintf(&c.asked, "%s %s\n", operation, body)
	c.mu.Unlock()
	status, answer := serveAWS(operation, body)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

func serveAWS(operation string, body []byte) (status int, answer string) {
	switch operation {
	case "":
		return http.StatusOK, `<PublishBatchResponse><PublishBatchResult><Successful><member><Id>0</Id></member></Successful></PublishBatchResult></PublishBatchResponse>`
	case "secretsmanager.GetSecretValue":
		var in struct {
			ID string `json:"SecretId"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			return http.StatusBadRequest, ""
		}
		value, ok := secrets[strings.TrimPrefix(in.ID, "callboard-test/")]
		if !ok {
			return http.StatusBadRequest, `{"__type":"ResourceNotFoundException"}`
		}
		return http.StatusOK, fmt.Sprintf(`{"SecretString":%q}`, value)
	default:
		return http.StatusOK, `{}`
	}
}

func serveGitHub(w http.ResponseWriter, path string) {
	const head = "5b1d0c9e6f7a4e0db2a3c8f1947e6d5a0b3c2d1e"
	answer := map[string]string{
		"git/ref/heads/main": `{"ref":"refs/heads/main","object":{"type":"commit","sha":"` + head + `"}}`,
		"git/trees/" + head:  `{"tree":[{"path":"catalog-info.yaml","mode":"100644","type":"blob","sha":"` + head + `"}],"truncated":false}`,
		"contents/catalog-info.yaml": `apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: petstore
spec:
  type: service
  lifecycle: production
  owner: user:default/guest
`,
	}[path]
	if answer == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if strings.HasPrefix(path, "contents/") {
		w.Header().Set("Content-Type", "application/vnd.github.raw+json")
	}
	_, _ = io.WriteString(w, answer)
}

// configuration writes the configuration at the root of the repository to a file, with another address of GitHub.
func configuration(t *testing.T, world string) string {
	t.Helper()
	data, err := os.ReadFile("../../events-config.json")
	if err != nil {
		t.Fatal(err)
	}
	const catalog = `"catalog": {`
	changed := strings.Replace(string(data), catalog, `"integrations": {"github": [{"host": "github.com", "apiBaseUrl": "`+world+`/github"}]},`+catalog, 1)
	if changed == string(data) {
		t.Fatal("the configuration has no place for the address of GitHub")
	}
	path := filepath.Join(t.TempDir(), "events-config.json")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
