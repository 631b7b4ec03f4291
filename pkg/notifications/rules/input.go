package rules

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/callboard/callboard/pkg/events"
)

// Input is an event as expressions see it. It is read once for all rules.
type Input struct {
	variables map[string]any
}

// Read makes the Input of an event. It fails with [events.CodeInvalid] if the payload is not JSON. Where a member
// occurs twice the last one counts.
func Read(e events.Event) (*Input, error) {
	d := jsontext.NewDecoder(bytes.NewReader(e.Payload), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	payload, err := readValue(d)
	if err == nil {
		if _, more := d.ReadToken(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more behind the JSON document")
		}
	}
	if err != nil {
		return nil, events.Wrap(err, events.CodeInvalid, "the payload of event %s is not JSON", e.ID)
	}
	names := types.DefaultTypeAdapter.NativeToValue(map[string]string(e.Metadata)).(traits.Mapper)
	return &Input{map[string]any{"topic": e.Topic, "payload": payload, "metadata": metadata{names}}}, nil
}

// readValue reads the next value: nil, bool, string, int64 where a number is whole and fits, else float64, []any or
// map[string]any.
func readValue(d *jsontext.Decoder) (any, error) {
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case jsontext.KindNull:
		return nil, nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return t.Bool(), nil
	case jsontext.KindString:
		return t.String(), nil
	case jsontext.KindNumber:
		return number(t.String()), nil
	case jsontext.KindBeginArray:
		list := []any{}
		for d.PeekKind() != jsontext.KindEndArray {
			item, err := readValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err := d.ReadToken()
		return list, err
	default:
		object := map[string]any{}
		for d.PeekKind() != jsontext.KindEndObject {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			if object[key], err = readValue(d); err != nil {
				return nil, err
			}
		}
		_, err := d.ReadToken()
		return object, err
	}
}

// number is infinite where text is too large for any type; JSON's syntax has been checked before.
func number(text string) any {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i
	}
	f, _ := strconv.ParseFloat(text, 64)
	return f
}

// metadata is a map of strings whose names are looked up in any case.
type metadata struct{ traits.Mapper }

// Find looks a name up.
func (m metadata) Find(name ref.Val) (ref.Val, bool) { return m.Mapper.Find(lower(name)) }

// Get looks up a name that is there.
func (m metadata) Get(name ref.Val) ref.Val { return m.Mapper.Get(lower(name)) }

// Contains tells whether a name is there.
func (m metadata) Contains(name ref.Val) ref.Val { return m.Mapper.Contains(lower(name)) }

func lower(name ref.Val) ref.Val {
	if s, ok := name.(types.String); ok {
		return types.String(strings.ToLower(string(s)))
	}
	return name
}
