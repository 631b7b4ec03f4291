package notificationsapi

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications"
)

const (
	defaultLimit = 50
	maxLimit     = 500
)

// listQuery are the parameters of a list.
type listQuery struct {
	filter        inbox.Filter
	order         []inbox.Order
	offset, limit int
}

// parseQuery reads the query of an address, all of which must be text.
func parseQuery(raw string) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	for name, values := range q {
		if !utf8.ValidString(name) || slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) }) {
			err = errors.New("not UTF-8")
		}
	}
	if err != nil {
		return nil, events.Wrap(err, events.CodeInvalid, "The query of the address cannot be read: escape special characters of UTF-8 text with %%.")
	}
	return q, nil
}

// noQuery refuses parameters where there are none.
func noQuery(raw string) error {
	q, err := parseQuery(raw)
	if err != nil {
		return err
	}
	for name := range q {
		return unknownParameter(name)
	}
	return nil
}

func unknownParameter(name string) error {
	return events.Errorf(events.CodeInvalid, "Unknown query parameter '%.50s'", name)
}

func parseListQuery(raw string) (listQuery, error) {
	q := listQuery{limit: defaultLimit}
	parameters, err := parseQuery(raw)
	if err != nil {
		return q, err
	}
	for name, values := range parameters {
		for _, value := range values {
			if value == "" {
				return q, events.Errorf(events.CodeInvalid, "Empty value found for query parameter '%.50s'", name)
			}
		}
		if len(values) > 1 && name != "orderField" {
			return q, events.Errorf(events.CodeInvalid, "request/query/%.50s must not be repeated", name)
		}
		if err := q.set(name, values); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (q *listQuery) set(name string, values []string) (err error) {
	value := values[0]
	switch name {
	case "offset":
		q.offset, err = number(name, value)
	case "limit":
		if q.limit, err = number(name, value); err == nil && q.limit > maxLimit {
			err = events.Errorf(events.CodeInvalid, "request/query/limit must be <= %d", maxLimit)
		}
	case "orderField":
		for _, value := range values {
			o, err := inbox.ParseOrder(value)
			if err != nil {
				return err
			}
			q.order = append(q.order, o)
		}
	case "topic":
		q.filter.Topic = value
	case "search":
		q.filter.Search = value
	case "read":
		q.filter.Read, err = boolean(name, value)
	case "saved":
		q.filter.Saved, err = boolean(name, value)
	case "createdAfter":
		q.filter.CreatedAfter, err = date(value)
	case "minimumSeverity":
		q.filter.MinimumSeverity = notifications.Severity(value)
		if q.filter.MinimumSeverity.Rank() < 0 {
			err = events.Errorf(events.CodeInvalid, "request/query/minimumSeverity must be equal to one of the allowed values: critical, high, normal, low")
		}
	default:
		err = unknownParameter(name)
	}
	return err
}

func number(name, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, events.Errorf(events.CodeInvalid, "request/query/%s must be integer", name)
	}
	if n < 0 {
		return 0, events.Errorf(events.CodeInvalid, "request/query/%s must be >= 0", name)
	}
	return n, nil
}

func boolean(name, value string) (*bool, error) {
	if value != "true" && value != "false" {
		return nil, events.Errorf(events.CodeInvalid, "request/query/%s must be equal to one of the allowed values: true, false", name)
	}
	return new(value == "true"), nil
}

func date(value string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, value); err == nil {
			return t, nil
		}
	}
	return time.Time{}, events.Errorf(events.CodeInvalid, "Unexpected date format: write a date or an RFC 3339 time, such as 2024-05-31T12:00:00Z")
}
