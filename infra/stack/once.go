package stack

import "github.com/callboard/callboard/internal/topology"

// claims tells whether a function can use events.Once: whoever has another program than ours and reads a queue.
func claims(f topology.Function) bool { return f.Build != "" && len(f.Queues) > 0 }

// onceGrant allows a function what internal/once asks the table for, in its partitions only.
func (b *builder) onceGrant() grant {
	return allow("UseOnce", []string{"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"}, b.table.TableArn()).within("once#*")
}

// within limits a grant on the table, which is one for all, to the partitions that a pattern fits; "" fits all
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html). A request without a key
// would pass, but each of the actions on single items has one.
func (g grant) within(partitions string) grant {
	if partitions != "" {
		g.conditions = map[string]any{"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": []string{partitions}}}
	}
	return g
}
