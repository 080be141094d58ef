// Package otp holds the rules of one-time passwords as values and pure functions: what a
// generate, a guess, a regeneration or a cancellation does to a recipient and its challenge at
// a given moment. It performs no I/O, reads no clock and imports the standard library only, so
// every rule can be read, tested and argued about without a database or a network in sight.
//
// It promises that equal inputs give equal outputs, that a refusal changes nothing, and that
// every refusal is an [Error] with a [Kind]. Making a decision durable is left to the store,
// protecting codes at rest to the crypto package, and wording answers to the doors.
//
// # Glossary
//
// These words mean the same thing in every package, table, log line and page:
//
//   - account: a customer system; one row of otp_auth_config, keyed by its esme_address.
//   - credential: one secret that an account or a person presents: access key, API key.
//   - recipient: who is to prove control, a normalised E.164 number or a mailbox. It is the
//     aggregate: one row per account, environment and recipient guards everything below it.
//   - environment: live, test or dev; nothing made in one is visible in the other.
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
