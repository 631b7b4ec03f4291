package dynamodb

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// Put implements [table.Table].
func (t *Table) Put(ctx context.Context, item table.Item, conditions ...table.Condition) error {
	_, err := t.one(ctx, table.PutOp(item, conditions...))
	return err
}

// Update implements [table.Table].
func (t *Table) Update(ctx context.Context, key table.Key, update table.Update, conditions ...table.Condition) (table.Item, error) {
	a, err := t.one(ctx, table.UpdateOp(key, update, conditions...))
	if err != nil {
		return table.Item{}, err
	}
	return decodeItem(a)
}

// Delete implements [table.Table].
func (t *Table) Delete(ctx context.Context, key table.Key, conditions ...table.Condition) error {
	_, err := t.one(ctx, table.DeleteOp(key, conditions...))
	return err
}

// write is an operation in one of its forms. An update of an item that does not exist, or that has expired, has to
// start from nothing, which is a put. Which of the two forms is right is known only after the other one has failed; the
// condition of each makes sure that it is.
type write struct {
	table.Op
	creates bool // an update in the form of a put
}

// one does a single operation. For an update it returns the item as it is then.
func (t *Table) one(ctx context.Context, op table.Op) (attributes, error) {
	if err := check(ctx, op.Validate()); err != nil {
		return nil, err
	}
	w := write{Op: op}
	for range maxTries {
		a, err := t.try(ctx, w)
		if err == nil {
			return a, nil
		}
		old, isCondition := isConditionFailed(err)
		if !isCondition {
			return nil, failed(err)
		}
		if w, err = t.judge(w, old); err != nil {
			return nil, err
		}
	}
	return nil, errChanged(op.Key)
}

func (t *Table) try(ctx context.Context, w write) (attributes, error) {
	const old = types.ReturnValuesOnConditionCheckFailureAllOld
	retries := retriesOf(w.Op)
	r := t.request(w)
	switch {
	case r.put != nil:
		_, err := t.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &t.name, Item: r.put, ConditionExpression: r.condition, ReturnValuesOnConditionCheckFailure: old,
			ExpressionAttributeNames: r.names, ExpressionAttributeValues: r.values,
		}, retries)
		return r.put, err
	case r.update != nil:
		out, err := t.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: &t.name, Key: r.key, UpdateExpression: r.update, ConditionExpression: r.condition,
			ExpressionAttributeNames: r.names, ExpressionAttributeValues: r.values,
			ReturnValues: types.ReturnValueAllNew, ReturnValuesOnConditionCheckFailure: old,
		}, retries)
		if err != nil {
			return nil, err
		}
		return out.Attributes, nil
	default:
		_, err := t.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &t.name, Key: r.key, ConditionExpression: r.condition, ReturnValuesOnConditionCheckFailure: old,
			ExpressionAttributeNames: r.names, ExpressionAttributeValues: r.values,
		}, retries)
		return nil, err
	}
}

// request is a write as DynamoDB takes it: a put where put is set, an update where update is, else a delete or check.
type request struct {
	expression
	key, put          attributes
	update, condition *string
}

func (t *Table) request(w write) *request {
	now := t.clock()
	r := &request{key: encodeKey(w.Key)}
	switch {
	case w.creates:
		r.put = encodeItem(created(w.Key, w.Update))
		r.requireAbsent(now)
	case w.Kind == table.KindUpdate:
		r.requireAll(w.Conditions, now)
		r.requireNotExpired(now)
		if onlyRemoves(w.Update) {
			r.require("attribute_exists(" + r.name(namePK) + ")")
		}
		r.update = r.expression.update(w.Update)
	default:
		r.requireAll(w.Conditions, now)
		if w.Kind == table.KindPut {
			r.put = encodeItem(w.Item)
		}
	}
	r.condition = r.expression.condition()
	return r
}

// judge says what follows from a failed condition, given the item it failed for: an error where a condition of the
// caller does not hold for it, or else in which form to try again.
func (t *Table) judge(w write, old attributes) (write, error) {
	item, err := t.live(old)
	if err != nil {
		return w, err
	}
	if !holds(w.Conditions, item) {
		return w, &table.ConditionError{Key: w.Key}
	}
	if w.Kind != table.KindUpdate {
		return w, nil
	}
	if w.creates = item == nil; w.creates {
		return w, nil
	}
	return w, overflow(w.Update, *item)
}

// Transact implements [table.Table]. Requests carry a token, so that one that is repeated because its answer was lost
// is done once.
func (t *Table) Transact(ctx context.Context, ops ...table.Op) error {
	if err := check(ctx, table.ValidateTransaction(ops)); err != nil {
		return err
	}
	writes := make([]write, len(ops))
	for i, op := range ops {
		writes[i].Op = op
	}
	for range maxTries {
		in := &dynamodb.TransactWriteItemsInput{TransactItems: make([]types.TransactWriteItem, len(writes))}
		for i, w := range writes {
			in.TransactItems[i] = t.transactItem(w)
		}
		_, err := t.client.TransactWriteItems(ctx, in)
		if err == nil {
			return nil
		}
		cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
		if !ok {
			return failed(err)
		}
		if err := t.judgeAll(writes, cancelled); err != nil {
			return err
		}
	}
	return errChanged(ops[0].Key)
}

func (t *Table) transactItem(w write) types.TransactWriteItem {
	const old = types.ReturnValuesOnConditionCheckFailureAllOld
	r := t.request(w)
	switch {
	case r.put != nil:
		return types.TransactWriteItem{Put: &types.Put{
			TableName: &t.name, Item: r.put, ConditionExpression: r.condition, ReturnValuesOnConditionCheckFailure: old,
			ExpressionAttributeNames: r.names, ExpressionAttributeValues: r.values,
		}}
	case r.update != nil:
		return types.TransactWriteItem{Update: &types.Update{
			TableName: &t.name, Key: r.key, UpdateExpression: r.update, ConditionExpression: r.condition,
			ExpressionAttributeNames: r.names, ExpressionAttributeValues: r.values, ReturnValuesOnConditionCheckFailure: old,
		}}
	case w.Kind == table.KindDelete:
		return types.TransactWriteItem{Delete: &types.Delete{
			TableName: &t.name, Key: r.key, ConditionExpression: r.condition, ReturnValuesOnConditionCheckFailure: old,
			ExpressionAttributeNames: r.names, ExpressionAttributeValues: r.values,
		}}
	default:
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName: &t.name, Key: r.key, ConditionExpression: r.condition, ReturnValuesOnConditionCheckFailure: old,
			ExpressionAttributeNames: r.names, ExpressionAttributeValues: r.values,
		}}
	}
}

// judgeAll says what follows from a cancelled transaction: an error, or other forms of the writes. What can never
// succeed comes before what may in a moment. The codes are those of TransactionCanceledException in the API reference
// of TransactWriteItems.
func (t *Table) judgeAll(writes []write, cancelled *types.TransactionCanceledException) error {
	var refused *table.ConditionError
	var invalid, later error
	judged := false
	for i, reason := range cancelled.CancellationReasons {
		if i >= len(writes) {
			break
		}
		switch code := aws.ToString(reason.Code); code {
		case "", "None":
		case "ConditionalCheckFailed":
			judged = true
			w, err := t.judge(writes[i], reason.Item)
			if e, ok := errors.AsType[*table.ConditionError](err); ok {
				e.Op, refused = i, e
			} else if err != nil {
				invalid = table.OpError(i, err)
			}
			writes[i] = w
		case "ValidationError":
			invalid = table.OpError(i, refusedBy(cancelled, aws.ToString(reason.Message)))
		case "TransactionConflict":
			later = errors.Join(table.ErrConflict, cancelled)
		default:
			if later == nil {
				later = unavailable(cancelled, code)
			}
		}
	}
	switch {
	case refused != nil:
		return refused
	case invalid != nil:
		return invalid
	case later != nil:
		return later
	case judged:
		return nil
	}
	return failed(cancelled)
}

// failed makes an error of one of DynamoDB's. A missing or forbidden table is one that cannot be used at the moment: it
// is no missing item, and nothing that the caller of an API could have done differently.
func failed(err error) error {
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return events.Wrap(err, events.CodeUnavailable, "the table cannot be reached")
	}
	switch e.ErrorCode() {
	case "TransactionConflictException", "TransactionInProgressException":
		return errors.Join(table.ErrConflict, err)
	case "ValidationException":
		return refusedBy(err, e.ErrorMessage())
	}
	return unavailable(err, e.ErrorCode())
}

func unavailable(err error, code string) error {
	return events.Wrap(err, events.CodeUnavailable, "the table cannot be used at the moment: DynamoDB answers %s", code)
}

// refusedBy is the error for what DynamoDB can never do, by its message.
func refusedBy(err error, message string) error {
	if m := strings.ToLower(message); strings.Contains(m, "size") && strings.Contains(m, "exceed") {
		return events.Wrap(err, events.CodeTooLarge, "an item would have more than %d bytes", table.MaxItem)
	}
	return events.Wrap(err, events.CodeInvalid, "the table does not take this")
}

// retriesOf says how requests for an operation are repeated. Where a second one does something else than the first (adds
// twice, or finds the condition false because of the first) only what DynamoDB has certainly not done is repeated.
func retriesOf(op table.Op) func(*dynamodb.Options) {
	return func(o *dynamodb.Options) {
		if len(op.Conditions) > 0 || len(op.Update.Add) > 0 {
			o.Retryer = throttledOnly{o.Retryer}
		}
	}
}

// throttledOnly repeats only what DynamoDB has refused to begin.
type throttledOnly struct{ aws.Retryer }

var throttles = retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}

// IsErrorRetryable implements [aws.Retryer].
func (throttledOnly) IsErrorRetryable(err error) bool {
	return throttles.IsErrorThrottle(err) == aws.TrueTernary
}
