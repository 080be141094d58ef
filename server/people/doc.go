// Package people decides who a person is and what they may do: registering, logging in, sessions, second
// factors, passkeys, roles.
//
// It promises that a password, a code or a link is good for exactly what it is meant for, however many try
// it at once, on however many servers: every decision is a guarded write. A session that ends, a role that
// is taken away and a person who is switched off count from the next request on, because every request
// reads them. Strangers cannot tell whether an address is known here, and cannot lock its owner out. Nobody
// can give away more than they have. Every change is recorded in the transaction that makes it.
//
// It stores no password, seed or token that the database alone could give away: passwords and tokens are
// hashed, seeds are sealed. How all of this looks on the wire, cookies included, is left to the doors; so
// are the networks and the transport a request may come from.
package people
