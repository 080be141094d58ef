package otp

import "slices"

// NoticeType is a type of webhook message, as named on the wire.
type NoticeType string

// The types of notices.
const (
	NoticeSent        NoticeType = "otp.sent" // a code was handed to its channels, for the first time or again
	NoticeDelivered   NoticeType = "otp.delivered"
	NoticeFailed      NoticeType = "otp.failed" // a send surely did not arrive
	NoticeVerified    NoticeType = "otp.verified"
	NoticeExpired     NoticeType = "otp.expired"
	NoticeMaxAttempts NoticeType = "otp.max_attempts"
	NoticeReplaced    NoticeType = "otp.replaced"
	NoticeCanceled    NoticeType = "otp.canceled"

	NoticeLocked NoticeType = "recipient.locked" // after too many wrong codes
	NoticeLimit  NoticeType = "limit.exceeded"   // the daily cap is reached
	NoticeFraud  NoticeType = "fraud.suspected"  // a range of numbers was stopped

	NoticeKeyCreated  NoticeType = "key.created"
	NoticeKeyRotated  NoticeType = "key.rotated"
	NoticeKeyRevoked  NoticeType = "key.revoked"
	NoticeKeyExpiring NoticeType = "key.expiring"
	NoticeRotationDue NoticeType = "key.rotation_due"

	NoticePaused     NoticeType = "alert.webhook_paused" // another endpoint of the account was paused
	NoticeAlert      NoticeType = "alert.raised"         // something unusual that the account should look at
	NoticeCheckpoint NoticeType = "audit.checkpoint"     // of the whole log; only sent to endpoints that name it
	NoticeTest       NoticeType = "webhook.test"         // requested by someone who tries an endpoint
)

// NoticeTypes lists every type that an endpoint can subscribe to. A test needs no subscription.
func NoticeTypes() []NoticeType {
	return []NoticeType{NoticeSent, NoticeDelivered, NoticeFailed, NoticeVerified, NoticeExpired, NoticeMaxAttempts,
		NoticeReplaced, NoticeCanceled, NoticeLocked, NoticeLimit, NoticeFraud, NoticeKeyCreated, NoticeKeyRotated,
		NoticeKeyRevoked, NoticeKeyExpiring, NoticeRotationDue, NoticePaused, NoticeAlert, NoticeCheckpoint}
}

// Notices lists the notices for an event. r and c are its recipient and challenge after the event; nil for none.
func (e *Event) Notices(r *Recipient, c *Challenge, now Millis) []NoticeType {
	switch e.Kind {
	case EventSent, EventResent:
		return []NoticeType{NoticeSent}
	case EventDelivered:
		return []NoticeType{NoticeDelivered}
	case EventUnsent, EventUndelivered:
		return []NoticeType{NoticeFailed}
	case EventVerified:
		return []NoticeType{NoticeVerified}
	case EventCanceled:
		return []NoticeType{NoticeCanceled}
	case EventReplaced:
		return []NoticeType{NoticeReplaced}
	case EventSpendCap:
		return []NoticeType{NoticeLimit}
	case EventPrefixStop:
		return []NoticeType{NoticeFraud}
	case EventWrong:
		var told []NoticeType
		if c != nil && c.Wrong >= c.MaxAttempts {
			told = append(told, NoticeMaxAttempts)
		}
		if r != nil && r.LockedFor(now) > 0 {
			told = append(told, NoticeLocked)
		}
		return told
	}
	return nil
}

// Notice returns the notice for a change, and whether there is one.
func (k ChangeKind) Notice() (NoticeType, bool) {
	told := NoticeType(k)
	if k == KeyCompromised {
		told = NoticeKeyRevoked
	}
	return told, slices.Contains(NoticeTypes(), told)
}

// NoticeID returns the id of the notice for an event. It is the event's id, except where one event has several
// notices, or a notice refers to the same event at another time.
func NoticeID(event ID, told NoticeType) ID {
	switch told {
	case NoticeLocked:
		event[15] ^= 1
	case NoticeExpired:
		event[15] ^= 2
	}
	return event
}
