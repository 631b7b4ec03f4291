package catalogstore

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/callboard/callboard/internal/table"
	"github.com/callboard/callboard/pkg/catalog"
)

const (
	// shards is the number of partitions that the entities of a kind are spread over.
	shards = 8
	// outboxShards is the number of partitions of the outbox.
	outboxShards = 16

	// maxInline is the most bytes of content that an item holds; more is a blob.
	maxInline = 300 << 10
	// maxKeyText is the most bytes of a path or a reference in a sort key, which has 1,024.
	maxKeyText = 800

	prefixFile    = "file#"
	prefixJournal = "index#"
	prefixMember  = "member#"
	prefixChild   = "child#"

	pkKinds = "kinds"
)

func repositoryName(host, name string) string {
	return strings.ToLower(host) + "#" + strings.ToLower(name)
}

func repositoryKey(host, name string) table.Key {
	return table.Key{PK: "repo#" + repositoryName(host, name), SK: "repo"}
}

func fileKey(r Repository, path string) table.Key {
	return table.Key{PK: repositoryKey(r.Host, r.Name).PK, SK: prefixFile + bounded(path)}
}

func journalKey(r Repository, ref catalog.Ref) table.Key {
	return table.Key{PK: repositoryKey(r.Host, r.Name).PK, SK: prefixJournal + digest(ref.String())}
}

func entityKey(ref catalog.Ref) table.Key {
	h := fnv.New32a()
	_, _ = io.WriteString(h, ref.String()) // never fails
	return table.Key{PK: shardPK(ref.Kind, int(h.Sum32()%shards)), SK: ref.Namespace + "/" + ref.Name}
}

func shardPK(kind string, shard int) string { return "entity#" + kind + "#" + strconv.Itoa(shard) }

func groupPK(group catalog.Ref) string { return "group#" + group.String() }

// indexKey is where it is written that source says m.
func indexKey(m catalog.Membership, source catalog.Ref) table.Key {
	prefix := prefixMember
	if m.Member.Kind == kindGroup {
		prefix = prefixChild
	}
	return table.Key{PK: groupPK(m.Group), SK: prefix + bounded(m.Member.String()) + "#" + digest(source.String())}
}

func outboxPK(shard int) string { return "outbox#" + strconv.FormatInt(int64(shard), 16) }

// outboxPartition returns where the events of a repository are: a partition, and how their sort keys begin.
func outboxPartition(host, name string) (pk, prefix string) {
	sum := sha256.Sum256([]byte(repositoryName(host, name)))
	return outboxPK(int(sum[0]) % outboxShards), hex.EncodeToString(sum[:16]) + "#"
}

// digest is a short hash that nobody can make two texts have.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// bounded is s, or its hash where s is too long for a sort key.
func bounded(s string) string {
	if len(s) <= maxKeyText {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "#" + hex.EncodeToString(sum[:])
}

// attrs are the attributes of an item with their types.
type attrs table.Attrs

func (a attrs) text(name string) string {
	v, _ := a[name].(string)
	return v
}

func (a attrs) number(name string) int64 {
	v, _ := a[name].(int64)
	return v
}

func (a attrs) flag(name string) bool {
	v, _ := a[name].(bool)
	return v
}

func (a attrs) bytes(name string) []byte {
	v, _ := a[name].([]byte)
	return v
}

// writers are reused because each of them needs almost a megabyte.
var writers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, _ := writers.Get().(*gzip.Writer)
	defer writers.Put(w)
	w.Reset(&b)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decompress(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// content is compressed bytes: in an item, or in a blob that the item names.
type content struct {
	data []byte
	blob string // key; "" where the item has the data
}

func newContent(data []byte) (content, error) {
	packed, err := compress(data)
	if err != nil {
		return content{}, err
	}
	c := content{data: packed}
	if len(packed) > maxInline {
		c.blob = "catalog/" + uuid.NewString()
	}
	return c, nil
}

// set writes the content, or the key of its blob, into the attributes of an item.
func (c content) set(a table.Attrs) {
	if c.blob != "" {
		a["blob"] = c.blob
		return
	}
	a["data"] = c.data
}

// content reads the content of an item.
func (s *Store) content(ctx context.Context, item table.Item) ([]byte, error) {
	a := attrs(item.Attrs)
	packed := a.bytes("data")
	if key := a.text("blob"); key != "" {
		var err error
		if packed, err = s.blobs.Get(ctx, key); err != nil {
			return nil, err
		}
	}
	data, err := decompress(packed)
	if err != nil {
		return nil, damaged(err, "the content of "+item.SK)
	}
	return data, nil
}

// packRefs compresses a list of references. None of them has a line break.
func packRefs(refs []catalog.Ref) ([]byte, error) { return compress([]byte(joinRefs(refs))) }

func unpackRefs(packed []byte) ([]catalog.Ref, error) {
	text, err := decompress(packed)
	if err != nil {
		return nil, damaged(err, "a list of references")
	}
	return splitRefs(string(text))
}

func joinRefs(refs []catalog.Ref) string {
	texts := make([]string, len(refs))
	for i, ref := range refs {
		texts[i] = ref.String()
	}
	return strings.Join(texts, "\n")
}

func splitRefs(text string) ([]catalog.Ref, error) {
	if text == "" {
		return nil, nil
	}
	var refs []catalog.Ref
	for line := range strings.SplitSeq(text, "\n") {
		ref, err := catalog.ParseRef(line)
		if err != nil {
			return nil, damaged(err, "a reference")
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// SortRefs sorts references by their text.
func SortRefs(refs []catalog.Ref) {
	slices.SortFunc(refs, func(a, b catalog.Ref) int { return strings.Compare(a.String(), b.String()) })
}
