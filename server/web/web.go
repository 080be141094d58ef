// Package web is the code that the doors share: the facts about a request for logs and metrics, and, for the JSON
// doors, reading bodies and queries and answering errors.
//
// It promises strict input: it refuses and names an unknown field, a field given twice and a value of the wrong type.
// Otherwise a client that sends "tll" for "ttl" would get 201 and a default lifetime. Errors have the form of RFC
// 9457, and never contain a stack, SQL or a secret. A kind of refusal has the same status and code on all doors.
package web
