package sql

// chunkSize is how many rows are allocated at once.
const chunkSize = 16

// chunk allocates the rows that batches work on, several at a time. A row is never reused, so a caller may keep one.
type chunk[T any] struct{ left []T }

// next returns a new row.
func (c *chunk[T]) next() *T {
	if len(c.left) == 0 {
		c.left = make([]T, chunkSize)
	}
	row := &c.left[0]
	c.left = c.left[1:]
	return row
}
