package otp

import "slices"

// NoticeType is what a webhook endpoint is told, under the name that it has on the wire.
type NoticeType string

// The types of notices.
const (
	NoticeSent        NoticeType = "otp.sent" // a code was given to its channels, for the first time or again
	NoticeDelivered   NoticeType = "otp.delivered"
	NoticeFailed      NoticeType = "otp.failed" // a send surely reached nobody
	NoticeVerified    NoticeType = "otp.verified"
	NoticeExpired     NoticeType = "otp.expired"
	NoticeMaxAttempts NoticeType = "otp.max_attempts"
	NoticeReplaced    NoticeType = "otp.replaced"
	NoticeCanceled    NoticeType = "otp.canceled"

	NoticeLocked NoticeType = "recipient.locked" // after too many wrong codes
	NoticeLimit  NoticeType = "limit.exceeded"   // what may be spent in a day is spent
	NoticeFraud  NoticeType = "fraud.suspected"  // a range of numbers was stopped

	NoticeKeyCreated  NoticeType = "key.created"
	NoticeKeyRotated  NoticeType = "key.rotated"
	NoticeKeyRevoked  NoticeType = "key.revoked"
	NoticeKeyExpiring NoticeType = "key.expiring"
	NoticeRotationDue NoticeType = "key.rotation_due"

	NoticePaused     NoticeType = "alert.webhook_paused" // another endpoint of the account was paused
	NoticeAlert      NoticeType = "alert.raised"         // something unusual, that the account is to look at
	NoticeCheckpoint NoticeType = "audit.checkpoint"     // of the whole log; told to those who name it
	NoticeTest       NoticeType = "webhook.test"         // asked for by whoever tries an endpoint out
)

// NoticeTypes lists every type that an endpoint can ask for. A test is sent whatever it asks for.
func NoticeTypes() []NoticeType {
	return []NoticeType{NoticeSent, NoticeDelivered, NoticeFailed, NoticeVerified, NoticeExpired, NoticeMaxAttempts,
		NoticeReplaced, NoticeCanceled, NoticeLocked, NoticeLimit, NoticeFraud, NoticeKeyCreated, NoticeKeyRotated,
		NoticeKeyRevoked, NoticeKeyExpiring, NoticeRotationDue, NoticePaused, NoticeAlert, NoticeCheckpoint}
}

// Notices lists what endpoints are told of an event, with its recipient and its challenge as they are after
// it; nil where there is none.
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

// Notice returns what endpoints are told of a change, and whether they are told anything.
func (k ChangeKind) Notice() (NoticeType, bool) {
	told := NoticeType(k)
	if k == KeyCompromised {
		told = NoticeKeyRevoked
	}
	return told, slices.Contains(NoticeTypes(), told)
}

// NoticeID is the id under which endpoints are told of an event. It is the event's own, but where one event
// has several types, or a type speaks of the same event at another time.
func NoticeID(event ID, told NoticeType) ID {
	switch told {
	case NoticeLocked:
		event[15] ^= 1
	case NoticeExpired:
		event[15] ^= 2
	}
	return event
}
