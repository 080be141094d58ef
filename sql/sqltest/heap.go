package sqltest

import "runtime"

// LiveHeap returns the size of what is in use on the heap, in bytes. It collects the garbage first.
func LiveHeap() uint64 {
	runtime.GC()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return now.HeapAlloc
}
