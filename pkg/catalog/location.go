package catalog

import (
	"crypto/sha1" //nolint:gosec // Backstage names Locations by SHA-1; nothing depends on its strength.
	"encoding/hex"
	"strings"

	"github.com/callboard/callboard/pkg/events"
)

// Values of spec.presence of a Location: whether a missing target is an error.
const (
	PresenceRequired = "required"
	PresenceOptional = "optional"
)

// LocationRef says where something is read from, for example
// "url:https://github.com/acme/petstore/blob/main/catalog-info.yaml".
type LocationRef struct{ Type, Target string }

// scripted finds the URLs that a browser runs instead of opening; browsers ignore the control characters.
var scripted = matcher("(?i)^[\\x00-\\x20]*" + strings.Join(strings.Split("javascript", ""), "[\r\n\t]*") + "[\r\n\t]*:")

// ParseLocationRef reads "<type>:<target>". Spaces around both parts are dropped. A URL without the type
// "url" before it and a javascript: URL are errors.
func ParseLocationRef(s string) (LocationRef, error) {
	before, after, _ := strings.Cut(s, ":")
	l := LocationRef{Type: strings.TrimSpace(before), Target: strings.TrimSpace(after)}
	switch {
	case l.Type == "" || l.Target == "":
		return LocationRef{}, events.Errorf(events.CodeInvalid, "the location reference %s is not <type>:<target>, for example url:https://host/path", quote(s))
	case l.Type == "http" || l.Type == "https":
		return LocationRef{}, events.Errorf(events.CodeInvalid, "the location reference %s has no type; write url: before it", quote(s))
	case scripted(l.Target):
		return LocationRef{}, events.Errorf(events.CodeInvalid, "the location reference %s is a javascript: URL, which is not allowed", quote(s))
	}
	return l, nil
}

// String is "<type>:<target>".
func (l LocationRef) String() string { return l.Type + ":" + l.Target }

// LocationFor makes the Location entity that a provider generates for the catalog file at the URL target;
// presence is [PresenceRequired] or [PresenceOptional]. Its name is the same for the same target, letter
// case included.
func LocationFor(target, presence string) *Entity {
	at := LocationRef{Type: "url", Target: target}
	sum := sha1.Sum([]byte(at.String())) //nolint:gosec // see the import
	return &Entity{
		APIVersion: "backstage.io/v1alpha1",
		Kind:       "Location",
		Metadata: Metadata{
			Namespace: DefaultNamespace,
			Name:      "generated-" + hex.EncodeToString(sum[:]),
			Annotations: map[string]string{
				AnnotationManagedByLocation:       at.String(),
				AnnotationManagedByOriginLocation: at.String(),
			},
		},
		Spec: map[string]any{"type": at.Type, "target": target, "presence": presence},
	}
}
