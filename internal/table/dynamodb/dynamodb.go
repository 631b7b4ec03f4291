// Package dynamodb is the engine of package table on a DynamoDB table. The table has the partition key "pk" and the
// sort key "sk", both texts, and "expires" as its TTL attribute; other attributes are stored under their own names.
//
// A function that uses it may use dynamodb:GetItem, BatchGetItem, Query, PutItem, UpdateItem, DeleteItem,
// ConditionCheckItem and BatchWriteItem on the table.
package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// Limits of one request, from the API references of BatchGetItem and BatchWriteItem.
const (
	maxBatchGet   = 100
	maxBatchWrite = 25
)

const (
	// maxTries is how often a write is tried anew because the item has changed between two requests, and a batch
	// because DynamoDB did only a part of it.
	maxTries = 8
	// firstRest is the shortest time between two requests of a batch; it doubles.
	firstRest = 50 * time.Millisecond
)

// Table is a [table.Table] in DynamoDB.
type Table struct {
	client *dynamodb.Client
	name   string
	clock  func() time.Time
}

var _ table.Table = (*Table)(nil)

// New returns the DynamoDB table of that name. Clock, for example [time.Now], says which items have expired.
func New(client *dynamodb.Client, name string, clock func() time.Time) *Table {
	return &Table{client: client, name: name, clock: clock}
}

// Get implements [table.Table].
func (t *Table) Get(ctx context.Context, key table.Key) (table.Item, error) {
	if err := check(ctx, key.Validate()); err != nil {
		return table.Item{}, err
	}
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.name, Key: encodeKey(key), ConsistentRead: new(true)})
	if err != nil {
		return table.Item{}, failed(err)
	}
	item, err := t.live(out.Item)
	if err != nil {
		return table.Item{}, err
	}
	if item == nil {
		return table.Item{}, table.NotFound(key)
	}
	return *item, nil
}

// BatchGet implements [table.Table].
func (t *Table) BatchGet(ctx context.Context, keys []table.Key) (map[table.Key]table.Item, error) {
	items := make(map[table.Key]table.Item, len(keys))
	var wanted []attributes
	seen := make(map[table.Key]bool, len(keys))
	for _, key := range keys {
		if err := key.Validate(); err != nil {
			return nil, err
		}
		if !seen[key] {
			seen[key] = true
			wanted = append(wanted, encodeKey(key))
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err := inParts(ctx, wanted, maxBatchGet, func(part []attributes) ([]attributes, error) {
		out, err := t.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{t.name: {Keys: part, ConsistentRead: new(true)}},
		})
		if err != nil {
			return nil, failed(err)
		}
		for _, a := range out.Responses[t.name] {
			item, err := t.live(a)
			if err != nil {
				return nil, err
			}
			if item != nil {
				items[item.Key] = *item
			}
		}
		return out.UnprocessedKeys[t.name].Keys, nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// BatchWrite implements [table.Table].
func (t *Table) BatchWrite(ctx context.Context, puts []table.Item, deletes []table.Key) error {
	if err := check(ctx, table.ValidateBatch(puts, deletes)); err != nil {
		return err
	}
	writes := make([]types.WriteRequest, 0, len(puts)+len(deletes))
	for _, item := range puts {
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: encodeItem(item)}})
	}
	for _, key := range deletes {
		writes = append(writes, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: encodeKey(key)}})
	}
	return inParts(ctx, writes, maxBatchWrite, func(part []types.WriteRequest) ([]types.WriteRequest, error) {
		out, err := t.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{t.name: part}})
		if err != nil {
			return nil, failed(err)
		}
		return out.UnprocessedItems[t.name], nil
	})
}

// inParts hands all to do, at most limit at a time. Do returns what is left of its part; it comes again, after a rest
// that grows while nothing goes forward.
func inParts[T any](ctx context.Context, all []T, limit int, do func(part []T) (left []T, err error)) error {
	tries := 0
	for len(all) > 0 {
		part := all[:min(limit, len(all))]
		left, err := do(part)
		if err != nil {
			return err
		}
		all = append(append([]T{}, left...), all[len(part):]...)
		if len(left) < len(part) {
			tries = 0
		}
		if len(left) == 0 {
			continue
		}
		if tries++; tries == maxTries {
			return events.Errorf(events.CodeUnavailable, "the table takes no more requests at the moment")
		}
		if err := rest(ctx, firstRest<<(tries-1)); err != nil {
			return err
		}
	}
	return nil
}

// rest waits between half of d and d.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Query implements [table.Table].
func (t *Table) Query(ctx context.Context, query table.Query) (table.Page, error) {
	if err := check(ctx, query.Validate()); err != nil {
		return table.Page{}, err
	}
	in := &dynamodb.QueryInput{
		TableName:                 &t.name,
		ConsistentRead:            new(true),
		KeyConditionExpression:    new("pk = :pk"),
		ExpressionAttributeValues: attributes{":pk": encodeValue(query.PK)},
		ScanIndexForward:          new(!query.Reverse),
	}
	if query.SKPrefix != "" {
		in.KeyConditionExpression = new("pk = :pk AND begins_with(sk, :sk)")
		in.ExpressionAttributeValues[":sk"] = encodeValue(query.SKPrefix)
	}
	if query.Limit > 0 {
		in.Limit = new(int32(min(query.Limit, math.MaxInt32))) // #nosec G115 -- bounded here
	}
	start, err := query.Start()
	if err != nil {
		return table.Page{}, err
	}
	if start != "" {
		in.ExclusiveStartKey = encodeKey(table.Key{PK: query.PK, SK: start})
	}
	out, err := t.client.Query(ctx, in)
	if err != nil {
		return table.Page{}, failed(err)
	}

	var page table.Page
	for _, a := range out.Items {
		item, err := t.live(a)
		if err != nil {
			return table.Page{}, err
		}
		if item != nil {
			page.Items = append(page.Items, *item)
		}
	}
	if len(out.LastEvaluatedKey) > 0 {
		last, err := decodeKey(out.LastEvaluatedKey)
		if err != nil {
			return table.Page{}, err
		}
		page.Next = table.Cursor(last)
	}
	return page, nil
}

// live decodes an item; it is nil where there is none or an expired one.
func (t *Table) live(a attributes) (*table.Item, error) {
	if len(a) == 0 {
		return nil, nil
	}
	item, err := decodeItem(a)
	if err != nil {
		return nil, err
	}
	if isExpired(item, t.clock()) {
		return nil, nil
	}
	return &item, nil
}

func isExpired(item table.Item, now time.Time) bool {
	return !item.Expires.IsZero() && !item.Expires.After(now)
}

// check returns the error of a validation or else that of ctx: nothing invalid, and nothing that nobody waits for, is
// sent.
func check(ctx context.Context, invalid error) error {
	if invalid != nil {
		return invalid
	}
	return ctx.Err()
}

// errChanged is what a write ends with that found the item changed again and again.
func errChanged(key table.Key) error {
	return fmt.Errorf("item %q %q has changed %d times during one write: %w", key.PK, key.SK, maxTries, table.ErrConflict)
}

// isConditionFailed returns the item that a failed condition was about, as it is; nil attributes where there is none.
func isConditionFailed(err error) (attributes, bool) {
	e, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		return nil, false
	}
	return e.Item, true
}
