// Package layout checks who imports whom. It has no code of its own.
package layout

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const module = "github.com/callboard/callboard/"

// libraries are the modules outside the standard library that the public library may use.
var libraries = []string{
	"cel.dev/cel-go", "github.com/go-json-experiment/json",
	"github.com/google/uuid", "go.yaml.in/yaml/v4", "golang.org/x/text/encoding",
}

type listed struct {
	ImportPath string
	Name       string
	Imports    []string
	Deps       []string
}

func list(t *testing.T) []listed {
	t.Helper()
	var packages []listed
	for _, tags := range []string{"", "deployed,services"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", tags, "-json=ImportPath,Name,Imports,Deps", "./...")
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, decode(t, string(out))...)
	}
	return packages
}

func decode(t *testing.T, out string) (packages []listed) {
	t.Helper()
	d := jsontext.NewDecoder(strings.NewReader(out))
	for d.PeekKind() == '{' {
		var p listed
		if err := json.UnmarshalDecode(d, &p); err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		packages = append(packages, p)
	}
	return packages
}

// within tells whether a package is in a folder of the module, or is that folder.
func within(pkg string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return pkg == f || strings.HasPrefix(pkg, f+"/") })
}

func violations(packages []listed) []string {
	var found []string
	for _, p := range packages {
		report := func(imported, why string) { found = append(found, p.ImportPath+" imports "+imported+": "+why) }
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "base", "misc"}, p.Name) {
			found = append(found, p.ImportPath+": "+p.Name+" says nothing about what is in a package")
		}
		for _, imported := range p.Imports {
			own, isOwn := strings.CutPrefix(imported, module)
			isAWS := strings.HasPrefix(imported, "github.com/aws/")
			mayAWS := path.Base(p.ImportPath) == "awsevents" || path.Base(p.ImportPath) == "lambda" || within(p.ImportPath, "functions", "internal")
			if within(p.ImportPath, "cmd/callboard") { // hands it from the one who makes it to those who use it
				mayAWS = imported == "github.com/aws/aws-sdk-go-v2/aws"
			}
			switch {
			case isAWS && !mayAWS:
				report(imported, "AWS is for adapters and the start of a function")
			case isOwn && within(own, "cmd", "infra"):
				report(own, "nothing imports cmd or infra")
			case isOwn && within(own, "internal/awsclient/profile") && !within(p.ImportPath, "cmd/callboard", "internal/e2e"):
				report(own, "profiles are for people at a terminal")
			case isOwn && within(own, "functions") && !within(p.ImportPath, "cmd/callboard") && !within(p.ImportPath, functionOf(own)):
				report(own, "only cmd/callboard imports functions")
			case isOwn && within(own, "internal") && within(p.ImportPath, "pkg"):
				report(own, "the public library does not know internal packages")
			case isOwn && within(p.ImportPath, "examples") && !within(own, "pkg"):
				report(own, "an example uses what its readers can use")
			case !isOwn && within(p.ImportPath, "pkg") && isModule(imported) && !within(imported, libraries...) && !isTest(p.ImportPath) && !isAWS:
				report(imported, "the public library uses few well-kept libraries")
			}
		}
		if slices.ContainsFunc(p.Deps, func(d string) bool { return within(d, "cel.dev/cel-go") }) &&
			!within(p.ImportPath, "pkg/notifications/rules", "functions/notify", "cmd/callboard") {
			found = append(found, p.ImportPath+": CEL is compiled into notify and callboard only")
		}
	}
	return found
}

// functionOf returns the folder of the function that a package belongs to.
func functionOf(pkg string) string { return strings.Join(strings.SplitN(pkg, "/", 3)[:2], "/") }

func isModule(imported string) bool { return strings.Contains(strings.Split(imported, "/")[0], ".") }

// isTest tells whether a package is a suite for the tests of others.
func isTest(pkg string) bool { return strings.HasSuffix(pkg, "test") }

func TestImports(t *testing.T) {
	t.Parallel()
	for _, v := range violations(list(t)) {
		t.Error(v)
	}
}

// The check is worth nothing if it cannot fail.
func TestImports_FindsViolations(t *testing.T) {
	t.Parallel()
	for _, p := range []listed{
		{ImportPath: "pkg/events", Imports: []string{module + "internal/config"}},
		{ImportPath: "pkg/events", Imports: []string{"github.com/aws/aws-lambda-go/lambda"}},
		{ImportPath: "pkg/events", Imports: []string{"github.com/sirupsen/logrus"}},
		{ImportPath: "cmd/callboard", Imports: []string{"github.com/aws/aws-sdk-go-v2/service/sqs"}},
		{ImportPath: "functions/router", Imports: []string{module + "internal/awsclient/profile"}},
		{ImportPath: "functions/router", Imports: []string{module + "functions/notify"}},
		{ImportPath: "internal/embedded", Imports: []string{module + "functions/notify"}},
		{ImportPath: "internal/embedded", Imports: []string{module + "cmd/callboard"}},
		{ImportPath: "functions/router", Deps: []string{"cel.dev/cel-go/cel"}},
		{ImportPath: "examples/demo", Imports: []string{module + "internal/config"}},
		{ImportPath: "internal/util", Name: "util"},
	} {
		if got := violations([]listed{p}); len(got) != 1 {
			t.Errorf("%+v: found %v, want one violation", p, got)
		}
	}
}
