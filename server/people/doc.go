// Package people authenticates people and service accounts, and decides what they may do: registration, login,
// sessions, second factors, passkeys, roles.
//
// It promises:
//   - A password, a code or a link is valid only for its purpose, and as often as it should be, also if many requests
//     on many servers use it at once: every decision is a guarded write.
//   - The end of a session, a role that is taken away and a person who is switched off take effect with the next
//     request, because every request reads them.
//   - Strangers cannot find out whether an address is known, and cannot lock its owner out.
//   - Nobody can give others more than they have themselves.
//   - Every change is recorded in its own transaction.
//
// Nobody can learn a password, seed or token from the database alone: passwords and tokens are hashed, seeds are
// sealed. The doors decide the form on the wire, cookies included, and from which networks and over which transport a
// request may come.
package people
