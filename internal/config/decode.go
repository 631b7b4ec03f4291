package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// problems collects errors.
type problems struct {
	errors Errors
	// unread are the paths of values that are missing or of the wrong type: nothing more is said about them.
	unread []string
	// offsets tells where in the file the value of a path is.
	offsets map[string]int64
}

// add reports an error, unless the value at path or above could not be read, which has been said already.
func (p *problems) add(path, format string, args ...any) {
	for _, u := range p.unread {
		if rest, below := strings.CutPrefix(path, u); below && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return
		}
	}
	p.errors = append(p.errors, FieldError{Path: path, Message: fmt.Sprintf(format, args...)})
}

// unreadable reports an error after which the value at path is not worth another one.
func (p *problems) unreadable(path, format string, args ...any) {
	p.add(path, format, args...)
	p.unread = append(p.unread, path)
}

// advise changes what the errors at path say that would be right.
func (p *problems) advise(path, advice string) {
	for i, e := range p.errors {
		if e.Path == path {
			wrong, _, _ := strings.Cut(e.Message, ":")
			p.errors[i].Message = wrong + ": " + advice
		}
	}
}

// sorted returns the errors in the order of the file; something missing is where its parent is.
func (p *problems) sorted() Errors {
	slices.SortStableFunc(p.errors, func(a, b FieldError) int { return cmp.Compare(p.offset(a.Path), p.offset(b.Path)) })
	return p.errors
}

func (p *problems) offset(path string) int64 {
	for path != "" {
		if o, ok := p.offsets[path]; ok {
			return o
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_$-]+$`)

// member is the path of a member of the object at path.
func member(path, name string) string {
	if plainName.MatchString(name) {
		return path + "." + name
	}
	return path + "[" + strconv.Quote(name) + "]"
}

// element is the path of an element of the array at path.
func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// decode reads data into c as the tags of its type say. It returns an error only if data is not one JSON document.
func decode(data []byte, c *Config, found *problems) *FieldError {
	// Duplicate names are reported by the decoder below, each with its path.
	d := &decoder{found, jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))}
	err := d.value(reflect.ValueOf(c).Elem(), "$", "the configuration")
	if err == nil {
		end := d.in.InputOffset()
		if _, err = d.in.ReadToken(); err == nil {
			end += int64(bytes.IndexFunc(data[end:], func(r rune) bool { return !unicode.IsSpace(r) }))
			return syntaxError(data, end, "text after the end of the document: remove it")
		}
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return syntaxError(data, syntax.ByteOffset, syntax.Err.Error())
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return &FieldError{Path: "$", Message: "the file is empty: write a JSON object with \"topics\""}
	}
	if !errors.Is(err, io.EOF) {
		return syntaxError(data, int64(len(data)), err.Error())
	}
	return nil
}

// syntaxError describes an error at an offset in data as an editor shows it: lines and columns start at 1.
func syntaxError(data []byte, offset int64, what string) *FieldError {
	before := data[:min(offset, int64(len(data)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return &FieldError{Path: "$", Message: fmt.Sprintf("not JSON at line %d, column %d: %s", line, column, what)}
}

type decoder struct {
	*problems
	in *jsontext.Decoder
}

// value reads the next value into v, which is described by is. Its error is one of syntax.
func (d *decoder) value(v reflect.Value, path, is string) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if v.Type() == durationType {
		return d.duration(v, path, is)
	}
	kind := d.in.PeekKind()
	want := kindOf(v.Kind())
	if kind != want && (want != jsontext.KindTrue || kind != jsontext.KindFalse) {
		d.unreadable(path, "is %s: write %s, %s", kindNames[kind], kindNames[want], is)
		return d.in.SkipValue()
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.object(v, path)
	case reflect.Map:
		return d.entries(v, path, is)
	case reflect.Slice:
		return d.array(v, path, is)
	case reflect.Int, reflect.Int64:
		return d.number(v, path, is)
	case reflect.Bool:
		v.SetBool(kind == jsontext.KindTrue)
		return d.in.SkipValue()
	default:
		return d.text(v, path, is)
	}
}

// text reads a string, which may not be empty: an absent key says the same more clearly.
func (d *decoder) text(v reflect.Value, path, is string) error {
	t, err := d.in.ReadToken()
	if err != nil {
		return err
	}
	if t.String() == "" {
		d.unreadable(path, "is empty: leave it out or write %s", is)
		return nil
	}
	v.SetString(t.String())
	return nil
}

// number reads a whole number above 0.
func (d *decoder) number(v reflect.Value, path, is string) error {
	t, err := d.in.ReadToken()
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil && n > 0 {
		v.SetInt(n)
		return nil
	}
	d.unreadable(path, "is %s: write a whole number above 0, %s", t, is)
	return nil
}

func kindOf(k reflect.Kind) jsontext.Kind {
	switch k {
	case reflect.Int, reflect.Int64:
		return jsontext.KindNumber
	case reflect.Struct, reflect.Map:
		return jsontext.KindBeginObject
	case reflect.Slice:
		return jsontext.KindBeginArray
	case reflect.Bool:
		return jsontext.KindTrue
	default:
		return jsontext.KindString
	}
}

var kindNames = map[jsontext.Kind]string{
	jsontext.KindNull: "null", jsontext.KindTrue: "a boolean", jsontext.KindFalse: "a boolean", jsontext.KindNumber: "a number",
	jsontext.KindString: "a string", jsontext.KindBeginObject: "an object", jsontext.KindBeginArray: "an array",
}

// object reads an object whose keys are the fields of v.
func (d *decoder) object(v reflect.Value, path string) error {
	read := map[string]bool{}
	err := d.members(path, func(name, path string) error {
		f, ok := field(v.Type(), name)
		if !ok {
			d.add(path, "is unknown: %s", suggest(name, keys(v.Type())))
			return d.in.SkipValue()
		}
		read[name] = true
		if err := d.value(v.FieldByIndex(f.Index), path, f.Tag.Get("is")); err != nil {
			return err
		}
		if filled := f.Tag.Get("config") != ""; filled && slices.Contains([]reflect.Kind{reflect.Map, reflect.Slice}, f.Type.Kind()) && v.FieldByIndex(f.Index).Len() == 0 {
			d.unreadable(path, "is empty: write %s", f.Tag.Get("is"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for f := range v.Type().Fields() {
		name := f.Tag.Get("json")
		if read[name] {
			continue
		}
		if f.Tag.Get("config") == "required" {
			d.unreadable(member(path, name), "is missing: write %s", f.Tag.Get("is"))
		}
		fillIn(v.FieldByIndex(f.Index), f)
	}
	return nil
}

// fillIn gives a field that the file does not have its default, and those below it theirs.
func fillIn(v reflect.Value, f reflect.StructField) {
	if text, ok := f.Tag.Lookup("default"); ok {
		v.SetString(text)
	}
	if v.Kind() == reflect.Struct {
		for f := range v.Type().Fields() {
			fillIn(v.FieldByIndex(f.Index), f)
		}
	}
}

// entries reads an object with any keys into a map.
func (d *decoder) entries(v reflect.Value, path, is string) error {
	v.Set(reflect.MakeMap(v.Type()))
	return d.members(path, func(name, path string) error {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(e, path, "one of "+is); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(name), e)
		return nil
	})
}

func (d *decoder) array(v reflect.Value, path, is string) error {
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	for i := 0; d.in.PeekKind() != jsontext.KindEndArray; i++ {
		e := reflect.New(v.Type().Elem()).Elem()
		d.offsets[element(path, i)] = d.in.InputOffset()
		if err := d.value(e, element(path, i), "one of "+is); err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
	}
	_, err := d.in.ReadToken()
	return err
}

// members calls read for every member of the next value, an object, with its name and path; read must consume the
// value. A second member of the same name is an error.
func (d *decoder) members(path string, read func(name, path string) error) error {
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.in.PeekKind() != jsontext.KindEndObject {
		t, err := d.in.ReadToken()
		if err != nil {
			return err
		}
		name := t.String()
		path := member(path, name)
		if seen[name] {
			d.add(path, "is there twice: remove one of them")
			if err := d.in.SkipValue(); err != nil {
				return err
			}
			continue
		}
		seen[name] = true
		d.offsets[path] = d.in.InputOffset()
		if err := read(name, path); err != nil {
			return err
		}
	}
	_, err := d.in.ReadToken()
	return err
}

// field returns the field of t with that key.
func field(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if f.Tag.Get("json") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// keys returns the keys of the fields of t.
func keys(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		names = append(names, f.Tag.Get("json"))
	}
	return names
}

// suggest says which of the known names may be meant.
func suggest(name string, known []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, k := range known {
		if n := distance(strings.ToLower(name), strings.ToLower(k)); n < least {
			best, least = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here are " + strings.Join(known, ", ")
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
