// Package audit keeps the audit log: changes of people, keys and accounts, and calls of every door.
//
// A change's entry is written in the change's own transaction, by sql.Store.Change, so that no change is without an
// entry. Calls are collected in memory and written a few times a second: a crash can lose the last calls, but never a
// change.
//
// The log is tamper-evident. Each entry gets a place in a Merkle tree (RFC 6962). Signed checkpoints of the tree go to
// places that a writer of the database cannot change: a file, the server's own log, and webhooks. Verify compares the
// log with them. A checkpoint protects all entries that were sealed before it.
//
// An entry's content is removed when its time is over. Its stub stays: the entry's kind, its time and the hash of its
// content. The tree consists of stubs, so every proof stays valid.
package audit
