package dynamodb

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/events"
)

// The names of the attributes that every item has, or may have.
const (
	namePK      = "pk"
	nameSK      = "sk"
	nameExpires = "expires"
)

type attributes = map[string]types.AttributeValue

func encodeKey(key table.Key) attributes {
	return attributes{namePK: encodeValue(key.PK), nameSK: encodeValue(key.SK)}
}

func encodeItem(item table.Item) attributes {
	a := make(attributes, len(item.Attrs)+3)
	a[namePK], a[nameSK] = encodeValue(item.PK), encodeValue(item.SK)
	for name, value := range item.Attrs {
		a[name] = encodeValue(value)
	}
	if seconds := table.ExpiresSeconds(item.Expires); seconds != 0 {
		a[nameExpires] = encodeValue(seconds)
	}
	return a
}

// encodeValue encodes a value that was validated.
func encodeValue(value any) types.AttributeValue {
	switch v := value.(type) {
	case int64:
		return &types.AttributeValueMemberN{Value: strconv.FormatInt(v, 10)}
	case bool:
		return &types.AttributeValueMemberBOOL{Value: v}
	case []byte:
		if v == nil {
			v = []byte{} // or it would be encoded as null
		}
		return &types.AttributeValueMemberB{Value: v}
	default:
		text, _ := v.(string)
		return &types.AttributeValueMemberS{Value: text}
	}
}

func decodeKey(a attributes) (table.Key, error) {
	pk, okPK := a[namePK].(*types.AttributeValueMemberS)
	sk, okSK := a[nameSK].(*types.AttributeValueMemberS)
	if !okPK || !okSK {
		return table.Key{}, events.Errorf(events.CodeInternal, "an item of the table has no keys pk and sk")
	}
	return table.Key{PK: pk.Value, SK: sk.Value}, nil
}

func decodeItem(a attributes) (table.Item, error) {
	key, err := decodeKey(a)
	if err != nil {
		return table.Item{}, err
	}
	item := table.Item{Key: key, Attrs: make(table.Attrs, len(a))}
	for name, encoded := range a {
		if name == namePK || name == nameSK {
			continue
		}
		value, ok := decodeValue(encoded)
		if !ok {
			return table.Item{}, events.Errorf(events.CodeInternal, "the attribute %q of the item %q %q is not of a type that Callboard stores", name, key.PK, key.SK)
		}
		if name != nameExpires {
			item.Attrs[name] = value
			continue
		}
		seconds, ok := value.(int64)
		if !ok {
			return table.Item{}, events.Errorf(events.CodeInternal, "the expiry of the item %q %q is not a number", key.PK, key.SK)
		}
		item.Expires = table.ExpiresTime(seconds)
	}
	return item, nil
}

func decodeValue(encoded types.AttributeValue) (value any, ok bool) {
	switch v := encoded.(type) {
	case *types.AttributeValueMemberS:
		return v.Value, true
	case *types.AttributeValueMemberBOOL:
		return v.Value, true
	case *types.AttributeValueMemberB:
		return append([]byte{}, v.Value...), true
	case *types.AttributeValueMemberN:
		n, err := strconv.ParseInt(v.Value, 10, 64)
		return n, err == nil
	}
	return nil, false
}
