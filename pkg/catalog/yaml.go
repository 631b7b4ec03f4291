package catalog

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"
)

// mistake is what makes the text of a document unusable as YAML.
type mistake struct {
	line  int // within the document, from 1
	text  string
	start int // line where what is wrong begins, when that is not the same, or 0
}

// parseYAML reads the text of one document and returns its root.
func parseYAML(text []byte) (*yaml.Node, *mistake) {
	var document yaml.Node
	if err := yaml.Load(text, &document); err != nil {
		return nil, mistakeOf(err)
	}
	return document.Content[0], nil
}

func mistakeOf(err error) *mistake {
	load, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return &mistake{line: 1, text: err.Error()}
	}
	text := load.Message
	if load.ContextMsg != "" {
		text = load.ContextMsg + ": " + text
	}
	return &mistake{line: max(load.Mark.Line, 1), text: text, start: load.ContextMark.Line}
}

// decoder turns the nodes of one document into values as in JSON, by the core schema of YAML 1.2 and not by
// the mixture of 1.1 and 1.2 of the YAML library: dates are text, 014 is fourteen, << is a key like any other.
type decoder struct {
	repeated int // bytes that the aliases of the file have repeated so far; see [MaxAliasBytes]
	aliases  int // the value being decoded is inside so many
}

// valueBytes is what [MaxAliasBytes] counts for a value besides its text.
const valueBytes = 16

func (d *decoder) value(n *yaml.Node, depth int) (any, *mistake) {
	if depth > MaxDepth {
		return nil, &mistake{line: n.Line, text: fmt.Sprintf("nested deeper than %d levels, or an alias contains itself", MaxDepth)}
	}
	if d.aliases > 0 {
		d.repeated += valueBytes + len(n.Value)
		if d.repeated > MaxAliasBytes {
			return nil, &mistake{line: n.Line, text: fmt.Sprintf("the aliases of the file repeat more than %d bytes", MaxAliasBytes)}
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		d.aliases++
		defer func() { d.aliases-- }()
		return d.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return d.mapping(n, depth)
	case yaml.SequenceNode:
		return d.sequence(n, depth)
	default:
		return scalar(n)
	}
}

func (d *decoder) mapping(n *yaml.Node, depth int) (any, *mistake) {
	if wrong := checkTag(n); wrong != nil {
		return nil, wrong
	}
	m := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, wrong := d.value(n.Content[i], depth+1)
		if wrong != nil {
			return nil, wrong
		}
		key, ok := keyText(k)
		if !ok {
			return nil, &mistake{line: n.Content[i].Line, text: "a mapping or a list cannot be a key"}
		}
		if _, ok := m[key]; ok {
			return nil, &mistake{line: n.Content[i].Line, text: fmt.Sprintf("the key %s is there twice", quote(key))}
		}
		if m[key], wrong = d.value(n.Content[i+1], depth+1); wrong != nil {
			return nil, wrong
		}
	}
	return m, nil
}

func (d *decoder) sequence(n *yaml.Node, depth int) (any, *mistake) {
	if wrong := checkTag(n); wrong != nil {
		return nil, wrong
	}
	items := make([]any, len(n.Content))
	for i, item := range n.Content {
		v, wrong := d.value(item, depth+1)
		if wrong != nil {
			return nil, wrong
		}
		items[i] = v
	}
	return items, nil
}

// keyText writes a scalar key as JavaScript does.
func keyText(k any) (string, bool) {
	switch k := k.(type) {
	case nil:
		return "", true
	case string:
		return k, true
	case bool:
		return strconv.FormatBool(k), true
	case float64:
		return jsontext.Float(k + 0).String(), true // + 0 turns -0 into 0
	default:
		return "", false
	}
}

// number is a decimal number of the core schema; 014 is one, 1_000 is not.
var number = matcher(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)

// based is an octal or hexadecimal number of the core schema.
var based = matcher(`^0(o[0-7]+|x[0-9a-fA-F]+)$`)

// scalar is the value of a scalar: nil, a bool, a float64 or a string.
func scalar(n *yaml.Node) (any, *mistake) {
	if wrong := checkTag(n); wrong != nil {
		return nil, wrong
	}
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&yaml.TaggedStyle == 0 {
		if n.Style&quoted != 0 || n.Tag == "!" {
			return n.Value, nil
		}
		return plain(n)
	}
	switch n.Tag {
	case "!!null", "!!bool", "!!int", "!!float":
	default:
		return n.Value, nil
	}
	v, wrong := plain(n)
	if wrong != nil {
		return nil, wrong
	}
	if _, isText := v.(string); isText {
		return nil, &mistake{line: n.Line, text: fmt.Sprintf("%s is not a value of the tag %s", quote(n.Value), n.Tag)}
	}
	return v, nil
}

// plain resolves the text of a scalar without quotes.
func plain(n *yaml.Node) (any, *mistake) {
	s := n.Value
	switch s {
	case "", "~", "null", "Null", "NULL":
		return nil, nil
	case "true", "True", "TRUE":
		return true, nil
	case "false", "False", "FALSE":
		return false, nil
	case ".nan", ".NaN", ".NAN":
		return nil, notJSON(n)
	}
	switch strings.TrimLeft(s[:1], "+-") + s[1:] {
	case ".inf", ".Inf", ".INF":
		return nil, notJSON(n)
	}
	var f float64
	switch {
	case number(s):
		f, _ = strconv.ParseFloat(s, 64) // out of range is infinite
	case len(s) > 400 && based(s):
		return nil, notJSON(n)
	case based(s):
		i, _ := new(big.Int).SetString(s, 0) // 0o and 0x are prefixes that it knows
		f, _ = new(big.Float).SetInt(i).Float64()
	default:
		return s, nil
	}
	if math.IsInf(f, 0) {
		return nil, notJSON(n)
	}
	return f, nil
}

func notJSON(n *yaml.Node) *mistake {
	return &mistake{line: n.Line, text: fmt.Sprintf("%s is not a number that JSON can hold; put it in quotes if it is text", quote(n.Value))}
}

// checkTag refuses the tags whose values JSON has no form for. Tags that nobody knows mean nothing.
func checkTag(n *yaml.Node) *mistake {
	switch n.Tag {
	case "!!binary", "!!set", "!!omap", "!!pairs":
		return &mistake{line: n.Line, text: fmt.Sprintf("the tag %s is not supported", n.Tag)}
	}
	return nil
}

// lineOf is the line of a value in a document, or of the innermost value around it that is there.
func lineOf(root *yaml.Node, at field) int {
	line := root.Line
	for _, step := range at {
		for root.Kind == yaml.AliasNode {
			root = root.Alias
		}
		key, value := child(root, step)
		if value == nil {
			return line
		}
		root, line = value, key.Line
	}
	return line
}

// child finds a value inside a mapping or a list, and the node that a reader finds it by.
func child(n *yaml.Node, step string) (key, value *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i], n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if step == fmt.Sprintf("[%d]", i) {
				return item, item
			}
		}
	default:
	}
	return nil, nil
}
