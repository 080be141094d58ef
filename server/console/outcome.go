package console

import (
	"otpbridge/server/otp"
	"otpbridge/server/sandbox"
)

// outcome is what became of a call, in words. Servlets answer 200 to refused calls too, so the status does not say it.
type outcome struct {
	Class string // of its tag: good, warn for a refusal, bad for a fault
	Word  string // ok, refused or failed
	Means string // what is wrong and what helps; empty for ok
}

// Ok reports whether the call was granted.
func (o outcome) Ok() bool { return o.Word == "ok" }

// outcomeOf returns the outcome of a recorded call.
func outcomeOf(call sandbox.Call) outcome {
	switch {
	case call.Kind == "ok" && (call.Passed == "silence" || call.Passed == "other"):
		return outcome{"warn", "refused", "The account's upstream gave an answer that no servlet is known to give."}
	case call.Kind == "ok" && call.Passed != "" && call.Passed != "generated" && call.Passed != "verified":
		return outcome{"warn", "refused", "The account's upstream answered: " + call.Passed + "."}
	case call.Kind == "ok" && call.Status < 400:
		return outcome{"good", "ok", ""}
	case call.Kind == "fault":
		return outcome{"bad", "failed", "Something failed on the server. Its log has the reason, under the request's id."}
	case call.Kind == "upstream_failed":
		return outcome{"bad", "failed", "The account's upstream did not answer."}
	}
	means := "The call could not be read, or there is no such call. The answer told the client why."
	if kind, known := otp.KindNamed(call.Kind); known && meanings[kind] != "" {
		means = meanings[kind]
	}
	return outcome{"warn", "refused", means}
}

// meanings explains the refusals that clients of the servlets and of /v1 get.
var meanings = map[otp.Kind]string{
	otp.MissingCredential: "No key was sent, or one that cannot be a key. Servlets take the header access_key.",
	otp.UnknownCredential: "The key does not exist, or the key or its account is switched off. Look at " +
		"Accounts and API keys.",
	otp.ExpiredCredential: "The key has expired. Rotate it, or make a new one.",
	otp.ForbiddenNetwork:  "The key may not be used from the client's address. Look at the key's allowed addresses.",
	otp.Forbidden:         "The key is valid, but lacks the permission for this call.",
	otp.ForbiddenOrigin:   "The key may be used only from the web pages in its list.",
	otp.BadSignature:      "The request's signature is missing, wrong, too old, or was used before.",
	otp.BrokenAccount:     "The account cannot be used as it is. Its page names the field to mend.",
	otp.FeatureOff: "The account has codes, or this servlet, switched off. See its fields " +
		"enabled and otp_enabled.",
	otp.Invalid:           "A parameter is missing or malformed.",
	otp.MissingDepartment: "The account needs the header Department-Id, with a name from its list.",
	otp.NotFound:          "This recipient has no code, or it ended over an hour ago. Generate one first.",
	otp.Canceled:          "The code was cancelled. Generate a new one.",
	otp.Replaced:          "A newer code replaced it. Only the newest is valid.",
	otp.Locked: "Too many wrong codes for this recipient. " +
		"Why no message? shows until when, and can unlock it.",
	otp.AttemptsExhausted:      "All attempts for this code are used up. Generate a new one.",
	otp.Used:                   "The code was accepted before. A code is valid once.",
	otp.Expired:                "The code is too old. Its account's otp_ttl_seconds says how long codes are valid.",
	otp.WrongCode:              "The code is wrong, and one attempt was used up.",
	otp.RegenerationsExhausted: "The code was sent again as often as its account allows. Generate a new one.",
	otp.OverLimit:              "The recipient got as many messages as the account allows. Wait, or raise the limit.",
	otp.Undelivered:            "The message reached no channel. Nothing was charged.",
	otp.CostLimited: "The account has spent what it may in a day, or too few codes sent to these numbers " +
		"are verified. Look at its stopped prefixes.",
	otp.Overloaded:          "The server has too much to do. Nothing was charged; try again.",
	otp.RateLimited:         "The key, or an address whose keys are refused, sent too many requests. Wait.",
	otp.IdempotencyMismatch: "The idempotency key was used for a different request.",
	otp.IdempotencyBusy:     "The first request with this idempotency key is still in progress. Try again.",
}
