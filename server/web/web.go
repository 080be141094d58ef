// Package web is what the doors have in common: what they tell of a request to whoever logs,
// counts or records it, and, for those that speak JSON, how they read a body or a query, and how
// they say no.
//
// It promises strict input (an unknown field, a field given twice or a value of the wrong type
// is refused and named, since a client that sends "tll" and is answered 201 has a lifetime that
// nobody chose) and errors in the one form of RFC 9457, which never hold a stack, SQL or a
// secret. A kind of refusal has the same status and code on all of them.
package web
