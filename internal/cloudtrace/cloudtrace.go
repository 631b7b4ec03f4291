// Package cloudtrace follows an event through the logs that the functions of a deployment write to CloudWatch.
package cloudtrace

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"github.com/callboard/callboard/pkg/events"
)

// parallel is how many searches run at the same time. CloudWatch allows 5 to 25 requests a second, by region.
const parallel = 4

// Client is what is used of the client of CloudWatch Logs.
type Client interface {
	FilterLogEvents(ctx context.Context, in *cloudwatchlogs.FilterLogEventsInput, options ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.FilterLogEventsOutput, error)
}

// Finder finds events in log groups.
type Finder struct {
	Client Client
	Groups []string // the names of the log groups of all functions
}

// New returns a finder with a client of its own.
func New(cfg aws.Config, groups []string) *Finder {
	return &Finder{cloudwatchlogs.NewFromConfig(cfg), groups}
}

// Find returns the hops that were logged since a time, of an event and of all events that were published because of it,
// in the order of time. It is empty for an event that is not known. The log group of a function that never ran may be
// missing; if all of them are it fails with [events.CodeNotFound], for then the deployment is another one.
func (f *Finder) Find(ctx context.Context, id string, since time.Time) ([]events.Hop, error) {
	var hops []events.Hop
	if id == "" {
		return nil, nil // the hops of refused requests that are no event
	}
	seen := map[string]bool{id: true, "": true}
	for ids := []string{id}; len(ids) > 0; {
		found, err := f.hopsOf(ctx, ids, since)
		if err != nil {
			return nil, err
		}
		ids = nil
		for _, h := range found {
			for _, n := range h.Notes {
				if n.Kind == events.NotePublished && !seen[n.Value] {
					seen[n.Value] = true
					ids = append(ids, n.Value)
				}
			}
		}
		hops = append(hops, found...)
	}
	sortByTime(hops)
	return hops, nil
}

// hopsOf returns the hops of events, one event after the other.
func (f *Finder) hopsOf(ctx context.Context, ids []string, since time.Time) ([]events.Hop, error) {
	searches := make([]search, 0, len(ids)*len(f.Groups))
	for _, id := range ids {
		for _, group := range f.Groups {
			searches = append(searches, search{id: id, group: group, since: since})
		}
	}
	running, ctx := errgroup.WithContext(ctx)
	running.SetLimit(parallel)
	for i := range searches {
		running.Go(func() error { return searches[i].run(ctx, f.Client) })
	}
	if err := running.Wait(); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(searches, func(s search) bool { return !s.missing }) {
		return nil, events.Errorf(events.CodeNotFound, "there are no logs: none of the log groups %s exists in this account and region", strings.Join(f.Groups, ", "))
	}
	var hops []events.Hop
	for of := range slices.Chunk(searches, len(f.Groups)) {
		first := len(hops)
		for _, s := range of {
			hops = append(hops, s.hops...)
		}
		sortByTime(hops[first:])
	}
	return hops, nil
}

// search looks for one event in one log group.
type search struct {
	id, group string
	since     time.Time

	hops    []events.Hop
	missing bool // there is no such group
}

func (s *search) run(ctx context.Context, c Client) error {
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(c, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: &s.group, FilterPattern: aws.String(pattern(s.id)), StartTime: aws.Int64(s.since.UnixMilli()),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if _, s.missing = errors.AsType[*types.ResourceNotFoundException](err); s.missing {
			return nil
		}
		if err != nil {
			return s.failed(err)
		}
		for _, line := range page.Events {
			// The pattern also finds lines that only mention the event, and events with a longer id.
			if h, ok := Parse(aws.ToString(line.Message)); ok && h.Event == s.id {
				s.hops = append(s.hops, h)
			}
		}
	}
	return nil
}

func (s *search) failed(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok && strings.HasPrefix(api.ErrorCode(), "AccessDenied") {
		return events.Wrap(err, events.CodeForbidden, "the log group %s cannot be searched: you need the permission logs:FilterLogEvents for it", s.group)
	}
	return events.Wrap(err, events.CodeUnavailable, "the log group %s cannot be searched", s.group)
}

// maxPattern is how long a filter pattern may be
// (https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html).
const maxPattern = 1024

// pattern finds the hops of an event, and perhaps more: lines that contain each of the quoted terms
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html). The terms are those parts of
// the id that look the same in the text and the JSON format of the log, and need no escape in the pattern.
func pattern(id string) string {
	terms := `"` + message + `"`
	for _, part := range strings.FieldsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
		room := maxPattern - len(terms) - len(` ""`)
		if room <= 0 {
			break
		}
		terms += ` "` + part[:min(room, len(part))] + `"`
	}
	return terms
}

func sortByTime(hops []events.Hop) {
	slices.SortStableFunc(hops, func(a, b events.Hop) int { return a.Time.Compare(b.Time) })
}
