package scm

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v84/github"

	"github.com/callboard/callboard/pkg/events"
)

// withoutReset is how long to wait after a rate limit that does not say when it ends.
//
// Source: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
const withoutReset = time.Minute

// failure turns an error of a request, if it is one, into one with a code.
func (r request) failure(err error) error {
	if err == nil {
		return nil
	}
	if reset, ok := rateLimit(err, time.Now()); ok {
		limited := events.Wrap(err, events.CodeRateLimited,
			"the rate limit of %s is used up until %s", r.repo.Host, reset.UTC().Format(time.RFC3339))
		limited.RetryAt = reset
		return limited
	}
	if _, ok := errors.AsType[*github.TwoFactorAuthError](err); ok {
		return events.Wrap(err, events.CodeUnauthorized, "%s wants a second factor; use a token that needs none", r.repo.Host)
	}
	answer, ok := errors.AsType[*github.ErrorResponse](err)
	if !ok {
		return events.Wrap(err, events.CodeUnavailable, "the request to %s for the %s failed", r.repo.Host, r.what)
	}
	for _, detail := range answer.Errors {
		if detail.Code == "too_large" {
			return r.tooLarge()
		}
	}
	switch status := answer.Response.StatusCode; status {
	case http.StatusUnauthorized:
		return events.Wrap(err, events.CodeUnauthorized, "%s does not accept the token; it may be revoked or expired", r.repo.Host)
	case http.StatusForbidden, http.StatusUnavailableForLegalReasons:
		return events.Wrap(err, events.CodeForbidden, "%s refuses the %s; check the rights of the token", r.repo.Host, r.subject())
	case http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity:
		if answer.Message == "" {
			// Not GitHub's own words: a proxy, or an address that is no API. It says nothing about the repository.
			return events.Wrap(err, events.CodeUnavailable,
				"the answer with status %d of %s does not come from a GitHub API; check apiBaseUrl", status, r.repo.Host)
		}
		if status == http.StatusConflict {
			return events.Wrap(err, events.CodeNotFound, "%s does not exist: the repository is empty", r.subject())
		}
		return events.Wrap(err, events.CodeNotFound, "%s does not exist, or the token may not see it", r.subject())
	default:
		return events.Wrap(err, events.CodeUnavailable, "%s answered with status %d", r.repo.Host, status)
	}
}

// rateLimit says whether err is a primary or secondary rate limit, and when that ends. GitHub names it in
// three ways: a remaining quota of zero, a Retry-After header, or words.
func rateLimit(err error, now time.Time) (time.Time, bool) {
	if limit, ok := errors.AsType[*github.RateLimitError](err); ok {
		reset := limit.Rate.Reset.Time
		if after, ok := retryAfter(limit.Response.Header, now); ok && after.After(reset) {
			reset = after
		}
		return atLeast(reset, now), true
	}
	if limit, ok := errors.AsType[*github.AbuseRateLimitError](err); ok {
		if after, ok := retryAfter(limit.Response.Header, now); ok {
			return after, true
		}
		if limit.RetryAfter != nil {
			return atLeast(now.Add(*limit.RetryAfter), now), true
		}
		return now.Add(withoutReset), true
	}
	answer, ok := errors.AsType[*github.ErrorResponse](err)
	if !ok {
		return time.Time{}, false
	}
	status := answer.Response.StatusCode
	after, named := retryAfter(answer.Response.Header, now)
	switch {
	case status == http.StatusTooManyRequests:
	case status == http.StatusForbidden && (named || strings.Contains(strings.ToLower(answer.Message), "rate limit")):
	default:
		return time.Time{}, false
	}
	if !named {
		after = now.Add(withoutReset)
	}
	return after, true
}

// atLeast returns reset, or a time after now where reset is not.
func atLeast(reset, now time.Time) time.Time {
	if !reset.After(now) {
		return now.Add(withoutReset)
	}
	return reset
}

// retryAfter reads a Retry-After header: seconds or a date. It never names a time before now.
func retryAfter(h http.Header, now time.Time) (time.Time, bool) {
	value := h.Get("Retry-After")
	if value == "" {
		return time.Time{}, false
	}
	if seconds, err := strconv.Atoi(value); err == nil {
		wait := time.Duration(min(max(seconds, 1), int(maxRateLimit/time.Second))) * time.Second
		return now.Add(wait), true
	}
	if date, err := http.ParseTime(value); err == nil {
		return atLeast(date, now), true
	}
	return now.Add(withoutReset), true
}

// unexpected is an answer that breaks the promises of the API. It is never taken for an absence.
func (r request) unexpected(format string, args ...any) error {
	return events.Errorf(events.CodeUnavailable, "the answer about %s is not what the GitHub API promises: %s",
		r.subject(), fmt.Sprintf(format, args...))
}

// tooLarge is a file above [MaxFileSize].
func (r request) tooLarge() error {
	return events.Errorf(events.CodeTooLarge, "%s is larger than %d bytes", r.subject(), MaxFileSize)
}

// quote makes outside text safe to stand in a message.
func quote(s string) string { return strconv.Quote(s) }
