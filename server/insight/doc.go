// Package insight counts what happens, by the hour and account, and warns of what should not be. Counts come from the
// events that are committed and from the calls that doors have answered; nothing here is on the path of an answer, and
// no question is ever answered by reading history.
//
// Counts are gathered in memory and added to the database every few seconds, so a server that is killed loses the last
// of them. They guard nothing: what guards codes and money are rows that are decided with the guess or the send.
package insight
