// Package scm reads repositories of source-control systems through their HTTP APIs: the head of a branch,
// what changed between two commits, the files of a commit and the content of one.
package scm

// Repository names a repository on a host.
type Repository struct {
	Host  string // for example "github.com"; used in messages only, a client reads one host
	Owner string
	Name  string
}

// FullName returns "owner/name".
func (r Repository) FullName() string { return r.Owner + "/" + r.Name }

// The values of [Comparison.Status].
const (
	Ahead     = "ahead"     // the base is an ancestor of the head
	Behind    = "behind"    // the head is an ancestor of the base
	Identical = "identical" // both are the same commit
	Diverged  = "diverged"  // each has commits the other lacks
)

// The values of [File.Status] after which a path is not what it was. There are others ("added", "modified",
// "changed", "copied"), after all of which Path exists at the head.
const (
	Removed = "removed" // Path is gone
	Renamed = "renamed" // Previous is gone, Path exists
)

// Comparison is what lies between two commits.
type Comparison struct {
	// Status is how the head stands to the base.
	Status string
	// Files are the differences between the merge base of both commits and the head: only with Status
	// [Ahead] that is the difference between base and head.
	Files []File
}

// File is one path that differs.
type File struct {
	Path     string
	Status   string
	Previous string // the old path of a renamed file, else ""
}
