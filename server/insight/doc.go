// Package insight counts events and calls by hour and account, raises alerts, and keeps the checklist. It counts
// committed events and answered calls, outside the path of an answer. It answers queries from the counts, and never
// reads the history.
//
// Counts are collected in memory and added to the database every few seconds, so that a server that is killed loses
// the last of them. They do not guard anything: the rows that guard codes and money are decided with the guess or the
// send.
package insight
