package catalog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/callboard/callboard/pkg/catalog"
	"github.com/callboard/callboard/pkg/events"
)

// Backstage computes the same names.
func TestLocationForNames(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"https://github.com/test-org/test-repo/blob/main/catalog-info.yaml":                              "8688630f57e421bc85f12b9828ed7dad6aff3bb3",
		"https://github.com/test-org/test-repo/blob/main/**/catalog-info.yaml":                           "73f8eeb56269084bc28f5ba93681f47dbb2da4c2",
		"https://github.com/test-org/test-repo/blob/main/folder1/folder2/folder3/catalog-info.yaml":      "c499bfb5e3f159d2bfefe26cac86a8a0b95b47f0",
		"https://github.com/test-org/test-repo/blob/main/custom/path/catalog-custom.yaml":                "5e4b9498097f15434e88c477cfba6c079aa8ca7f",
		"https://github.com/test-org/test-repo/blob/release/v1/catalog-info.yaml":                        "a16694e4a3b94730d2f9b094a4bda731961af608",
		"https://github.com/test-org/old-repo/blob/main/catalog-info.yaml":                               "237ad4ae637616cff69abeb5f6e0213913185590",
		"https://example.com/g/r/-/blob/main/catalog-info.yaml":                                          "f5389c71a93d14fdde0c9d0cef4e565cfed08f95",
		"https://bitbucket.org/test-ws/test-repo2/src/main/custom/path/catalog-custom.yaml":              "7c2e6263b6cc2d14e69fd4d029afba601ad6dc3b",
		"https://bitbucket.mycompany.com/projects/project-test/repos/repo-test/browse/catalog-info.yaml": "77f4323822420990f8c3e3c981d38c2dec4ae3a6",
		"https://bb.co/projects/PRJ/repos/r1/browse/catalog-info.yaml":                                   "fd947f8c68937cf536495e34bd578994a81bc0f0",
		"https://dev.azure.com/myorganization/myproject/_git/myrepo?path=/catalog-info.yaml":             "87865246726bb12a8c4fb4f914443f1fbb91648c",
		"https://g.com/gitiles/a/b/+/refs/heads/trunk/catalog-info.yaml":                                 "24191a00d6787834b21e8b0126f6a62392fca7e4",
	}
	for target, want := range tests {
		if got := catalog.LocationFor(target, catalog.PresenceOptional).Metadata.Name; got != "generated-"+want {
			t.Errorf("LocationFor(%s) is named %s, want generated-%s", target, got, want)
		}
	}
}

func TestLocationFor(t *testing.T) {
	t.Parallel()
	const target = "https://github.com/test-org/test-repo/blob/main/catalog-info.yaml"
	got := catalog.LocationFor(target, catalog.PresenceOptional)
	want := &catalog.Entity{
		APIVersion: "backstage.io/v1alpha1",
		Kind:       "Location",
		Metadata: catalog.Metadata{
			Namespace: "default",
			Name:      "generated-8688630f57e421bc85f12b9828ed7dad6aff3bb3",
			Annotations: map[string]string{
				"backstage.io/managed-by-location":        "url:" + target,
				"backstage.io/managed-by-origin-location": "url:" + target,
			},
		},
		Spec: map[string]any{"type": "url", "target": target, "presence": "optional"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("a generated Location is not valid: %v", err)
	}
	other := catalog.LocationFor(strings.Replace(target, "github", "GitHub", 1), catalog.PresenceOptional)
	if other.Ref() == got.Ref() {
		t.Error("targets that differ in letter case have the same Location")
	}
}

func TestParseLocationRef(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want catalog.LocationRef
	}{
		{"url:https://example.com/a:b", catalog.LocationRef{Type: "url", Target: "https://example.com/a:b"}},
		{" url : https://example.com/ ", catalog.LocationRef{Type: "url", Target: "https://example.com/"}},
		{"dir:.", catalog.LocationRef{Type: "dir", Target: "."}},
	}
	for _, tt := range tests {
		got, err := catalog.ParseLocationRef(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseLocationRef(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
			continue
		}
		if again, err := catalog.ParseLocationRef(got.String()); err != nil || again != got {
			t.Errorf("%q reads back as %v, %v", got, again, err)
		}
	}
}

func TestParseLocationRefErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", "is not <type>:<target>"},
		{"url", "is not <type>:<target>"},
		{"url: ", "is not <type>:<target>"},
		{" :x", "is not <type>:<target>"},
		{"https://example.com/", "write url: before it"},
		{"http://example.com/", "write url: before it"},
		{"url:javascript:alert(1)", "javascript: URL"},
		{"url:\x01 Java\tScript\n:alert(1)", "javascript: URL"},
	}
	for _, tt := range tests {
		_, err := catalog.ParseLocationRef(tt.in)
		if events.ErrorCode(err) != events.CodeInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseLocationRef(%q) = %v, want an invalid error with %q", tt.in, err, tt.want)
		}
	}
}
