// Package otp holds the rules of one-time passwords as values and pure functions: what a generate, a guess, a
// regeneration or a cancellation does to a recipient and its challenge at a given moment. It does no I/O, reads no
// clock and imports only the standard library, so every rule can be read and tested without a database or a network.
//
// Equal inputs give equal outputs, a refusal changes nothing, and every refusal is an [Error] with a [Kind]. The store
// makes decisions durable, the crypto package protects codes at rest, and the doors word the answers.
//
// # Glossary
//
// These words mean the same thing in every package, table, log line and page:
//
//   - account: a customer system; one row of otp_auth_config, keyed by its esme_address.
//   - credential: one secret that an account or a person presents: access key, API key.
//   - recipient: who has to prove control, a normalised E.164 number or a mailbox. It is the
//     aggregate: one row per account, environment and recipient guards everything below it.
//   - environment: live, test or dev; nothing made in one is visible in another.
//   - channel: how a code travels: sms, email, inbox.
//   - code: the short secret that is sent. Nothing else is called a code.
//   - challenge: one request to prove control of a recipient.
//   - slot: what may have one live challenge: account, environment, recipient, subject, binding.
//   - subject: the end user's address as the caller states it (the servlets' ipaddress).
//   - attempt: one evaluated wrong guess. Right guesses are not attempts.
//   - send, resend: handing a code to a channel, and doing so again for the same challenge.
//   - policy: the numbers that apply to one operation.
//   - limit: how many sends a recipient may receive in a window.
//   - budget: how many wrong guesses a recipient may cost across all challenges and doors.
//   - event: what happened, appended in the transaction that made it happen.
//   - kind: the class of a refusal, which each door translates to its own wire form.
//   - profile: which texts the servlets answer with, documented or live.
package otp
