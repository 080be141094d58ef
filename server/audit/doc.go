// Package audit keeps the log of what happened: changes of people, keys and accounts, and calls of every door.
//
// A change is written in the transaction that made it true, by sql.Store.Change: without its entry it does not happen.
// Calls are gathered in memory and written a few times a second, so a crash can lose the last of them, never a change.
//
// The log is tamper-evident. Each entry gets a place in a Merkle tree (RFC 6962), and signed checkpoints of the tree
// go to where whoever can write to the database cannot: a file, and the server's own log. Verify compares the log with
// them. Checkpoints protect what was sealed before them; what was sealed since the last one is protected by the next.
//
// An entry's content is removed when its time is over. Its stub stays: the kind of the entry, its time and the hash of
// its content. The tree is made of stubs, so every proof still holds.
package audit
