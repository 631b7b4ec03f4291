package notificationsapi

import (
	"errors"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/internal/httpapi"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
)

const (
	// maxBody is the largest body of a request, in bytes.
	maxBody = 1 << 20
	// maxAnswer is the largest list in an answer, in bytes; Lambda returns 6 MB at most, in which quotes are escaped.
	maxAnswer = 4 << 20
)

// values are JSON values that are written as they are.
type values []jsontext.Value

// fit returns those of the notifications, from the first on, that can be answered at once, and whether these are all.
func fit(list []notifications.Notification) (fitting values, whole bool, err error) {
	fitting = make(values, 0, len(list))
	size := 0
	for _, n := range list {
		text, err := json.Marshal(n)
		if err != nil {
			return nil, false, err
		}
		if size += len(text); size > maxAnswer {
			return fitting, false, nil
		}
		fitting = append(fitting, text)
	}
	return fitting, true, nil
}

// answer is the response to a change, which has taken place; what does not fit is left out.
func answer(changed []notifications.Notification) (httpapi.Response, error) {
	list, _, err := fit(changed)
	if err != nil {
		return httpapi.Response{}, err
	}
	return httpapi.JSON(http.StatusOK, list), nil
}

func missing(at, property string) error {
	return events.Errorf(events.CodeInvalid, "%s must have required property '%s'", at, property)
}

// decodeBody reads the JSON body of a request. Members that body has no place for are ignored, as in Backstage.
func decodeBody(r *httpapi.Request, body any) error {
	if len(r.Body) > maxBody {
		return events.Errorf(events.CodeTooLarge, "The body has %d bytes; at most %d are allowed.", len(r.Body), maxBody)
	}
	contentType := r.Headers["content-type"]
	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" {
		return events.Errorf(events.CodeUnsupportedMediaType, "unsupported media type %.100q: send application/json", contentType)
	}
	if !strings.HasPrefix(strings.TrimLeft(string(r.Body[:min(len(r.Body), 100)]), " \t\r\n"), "{") {
		return events.Errorf(events.CodeInvalid, "request/body must be object")
	}
	err := json.Unmarshal(r.Body, body)
	if err == nil {
		return nil
	}
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return events.Errorf(events.CodeInvalid, "The body is not JSON: %s.", strings.TrimPrefix(err.Error(), "jsontext: "))
	}
	at := "request/body" + string(semantic.JSONPointer)
	if inner, ok := errors.AsType[*events.Error](semantic.Err); ok {
		return events.Errorf(events.CodeInvalid, "%s: %s", at, inner.Message)
	}
	return events.Errorf(events.CodeInvalid, "%s must be %s", at, jsonType(semantic.GoType))
}

func jsonType(t reflect.Type) string {
	if t == nil {
		return "another type"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return jsonType(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		return "array"
	default:
		return "object"
	}
}
