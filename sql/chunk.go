package sql

// chunkSize is how many rows are made at once.
const chunkSize = 16

// chunk makes the rows that batches work on, many in one allocation. No row is made twice, so
// whoever holds on to one is not surprised by the next batch.
type chunk[T any] struct{ left []T }

// next is a new row.
func (c *chunk[T]) next() *T {
	if len(c.left) == 0 {
		c.left = make([]T, chunkSize)
	}
	row := &c.left[0]
	c.left = c.left[1:]
	return row
}
