package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Duration is a span of time. In the file it is written as Backstage does: an object such as {"minutes": 1}, an ISO 8601
// duration such as "PT1M", or a number with a unit such as "1m" or "500 ms".
type Duration time.Duration

var durationType = reflect.TypeFor[Duration]()

const day = 24 * time.Hour

// spans are the keys of a duration that is an object. Months and years have the length that a calendar gives most often.
var spans = map[string]time.Duration{
	"years": 365 * day, "months": 30 * day, "weeks": 7 * day, "days": day, "hours": time.Hour, "minutes": time.Minute,
	"seconds": time.Second, "milliseconds": time.Millisecond,
}

// units are those of a number with a unit.
var units = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "sec": time.Second, "second": time.Second, "m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "d": day, "day": day, "w": 7 * day, "week": 7 * day,
}

// duration reads the next value into v.
func (d *decoder) duration(v reflect.Value, path, is string) error {
	switch kind := d.in.PeekKind(); kind {
	case jsontext.KindString:
		t, err := d.in.ReadToken()
		if err != nil {
			return err
		}
		span, ok := parseDuration(t.String())
		if !ok {
			d.unreadable(path, `is %q: write %s, such as {"minutes": 1}, "1m" or "PT1M"`, t.String(), is)
		}
		v.SetInt(int64(span))
		return nil
	case jsontext.KindBeginObject:
		return d.spans(v, path)
	default:
		d.unreadable(path, `is %s: write %s, such as {"minutes": 1}, "1m" or "PT1M"`, kindNames[kind], is)
		return d.in.SkipValue()
	}
}

// spans reads a duration that is an object.
func (d *decoder) spans(v reflect.Value, path string) error {
	sum := 0.0
	err := d.members(path, func(name, path string) error {
		unit, known := spans[name]
		if !known {
			d.add(path, "is unknown: %s", suggest(name, sortedKeys(spans)))
			return d.in.SkipValue()
		}
		if kind := d.in.PeekKind(); kind != jsontext.KindNumber {
			d.unreadable(path, "is %s: write a number", kindNames[kind])
			return d.in.SkipValue()
		}
		t, err := d.in.ReadToken()
		if err != nil {
			return err
		}
		n, err := t.Float()
		if outside := err != nil || n < 0; outside {
			d.unreadable(path, "is %s: write a number from 0 on", t)
			return nil
		}
		sum += n * float64(unit)
		return nil
	})
	if err != nil {
		return err
	}
	if sum > math.MaxInt64/2 {
		d.unreadable(path, "is too long")
		return nil
	}
	v.SetInt(int64(sum))
	return nil
}

// Compiled when a configuration has a duration, and not in every start of a function.
func isoDuration() *regexp.Regexp {
	return regexp.MustCompile(`^P(?:([\d.]+)Y)?(?:([\d.]+)M)?(?:([\d.]+)W)?(?:([\d.]+)D)?(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?$`)
}

// parseDuration reads an ISO 8601 duration, or a number with a unit.
func parseDuration(s string) (Duration, bool) {
	if !strings.HasPrefix(s, "P") {
		end := strings.LastIndexAny(s, "0123456789.") + 1
		unit := strings.ToLower(strings.TrimLeft(s[end:], " "))
		span, known := units[unit]
		if !known {
			span, known = units[strings.TrimSuffix(unit, "s")]
		}
		n, err := strconv.ParseFloat(s[:end], 64)
		return whole(n * float64(span)), known && err == nil && strings.Trim(s[:end], "0123456789.") == ""
	}
	m := isoDuration().FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "T") || s == "P" {
		return 0, false
	}
	sum := 0.0
	for i, unit := range []time.Duration{365 * day, 30 * day, 7 * day, day, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return 0, false
		}
		sum += n * float64(unit)
	}
	return whole(sum), true
}

func whole(nanoseconds float64) Duration {
	return Duration(min(nanoseconds, math.MaxInt64/2))
}

// String writes the duration as a person reads it.
func (d Duration) String() string {
	switch span := time.Duration(d); {
	case span != 0 && span%time.Hour == 0:
		return fmt.Sprintf("%d h", span/time.Hour)
	case span != 0 && span%time.Minute == 0:
		return fmt.Sprintf("%d min", span/time.Minute)
	case span%time.Second == 0:
		return fmt.Sprintf("%d s", span/time.Second)
	default:
		return span.String()
	}
}
