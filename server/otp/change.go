package otp

// ChangeKind says what was done to people, keys or accounts.
type ChangeKind string

// The changes of people and their sessions. Each is recorded in the transaction that makes the change.
const (
	SetupIssued         ChangeKind = "person.setup_issued"     // a link for the first owner was made
	PersonInvited       ChangeKind = "person.invited"          // a link for another person was made
	InvitationEnded     ChangeKind = "person.invitation_ended" // an invitation was withdrawn
	PersonRegistered    ChangeKind = "person.registered"       // a person registered
	PersonChanged       ChangeKind = "person.changed"          // name, role, accounts, permissions, or switched off or on
	PersonRemoved       ChangeKind = "person.removed"
	PasswordChanged     ChangeKind = "person.password_changed"
	RecoveryIssued      ChangeKind = "person.recovery_issued" // a link to choose a new password was made
	PersonRecovered     ChangeKind = "person.recovered"       // a recovery link was used
	FactorOffered       ChangeKind = "person.factor_offered"  // an app's secret was shown; its first code is awaited
	FactorAdded         ChangeKind = "person.factor_added"
	FactorRemoved       ChangeKind = "person.factor_removed"
	FactorsReset        ChangeKind = "person.factors_reset" // all second factors were removed
	BackupCodesMade     ChangeKind = "person.backup_codes_made"
	BackupCodeUsed      ChangeKind = "person.backup_code_used"
	FactorGuessed       ChangeKind = "person.factor_guessed" // a wrong second factor after the right password
	SessionBegan        ChangeKind = "session.began"
	SessionRefreshed    ChangeKind = "session.refreshed"
	SessionConfirmed    ChangeKind = "session.confirmed" // the person authenticated again
	SessionEnded        ChangeKind = "session.ended"
	SessionRefused      ChangeKind = "session.refused"      // a wrong password
	RefreshTokenReused  ChangeKind = "session.token_reused" // a refresh token was used twice; the session was ended
	ServiceCreated      ChangeKind = "service.created"      // a service account was made
	ServiceRevoked      ChangeKind = "service.revoked"
	RegistrationRefused ChangeKind = "registration.refused" // without a link that is good
)

// The changes of accounts and of what belongs to an account.
const (
	AccountCreated ChangeKind = "account.created"
	AccountChanged ChangeKind = "account.changed"  // details name the columns, without values
	AccountCutOver ChangeKind = "account.cut_over" // who answers its servlet calls was changed, or will change later
	AccountDeleted ChangeKind = "account.deleted"

	TestMessageSent ChangeKind = "account.test_message_sent"
)

// The changes of webhook endpoints.
const (
	WebhookCreated  ChangeKind = "webhook.created"
	WebhookChanged  ChangeKind = "webhook.changed"
	WebhookRemoved  ChangeKind = "webhook.removed"
	WebhookRotated  ChangeKind = "webhook.secret_rotated"
	WebhookReplayed ChangeKind = "webhook.replayed"
	WebhookTested   ChangeKind = "webhook.tested" // details say whether its receiver passed
	WebhookRead     ChangeKind = "webhook.delivery_read"
	WebhookPaused   ChangeKind = "webhook.paused" // by the server, after days of failed deliveries
	WebhookGone     ChangeKind = "webhook.gone"   // by its receiver, which answered 410
)

// The changes of test recipients. Details hold the mask, never the number or the code.
const (
	TestRecipientAdded   ChangeKind = "test_recipient.added"
	TestRecipientRemoved ChangeKind = "test_recipient.removed"
)

// PrefixLifted: sends to a stopped range of numbers are allowed again.
const PrefixLifted ChangeKind = "guard.prefix_lifted"

// What is done with recipients. Details hold the mask, never the recipient.
const (
	RecipientRead     ChangeKind = "recipient.read"
	RecipientUnlocked ChangeKind = "recipient.unlocked" // details say why
)

// The changes of keys. The server itself records the last two, once each.
const (
	KeyCreated     ChangeKind = "key.created"
	KeyChanged     ChangeKind = "key.changed"
	KeyRotated     ChangeKind = "key.rotated"
	KeyRevoked     ChangeKind = "key.revoked"
	KeyCompromised ChangeKind = "key.compromised"  // revoked because somebody else may have the key
	KeyExpiring    ChangeKind = "key.expiring"     // ends in 30, 7 or 1 days
	KeyRotationDue ChangeKind = "key.rotation_due" // is 90 days old
)

// The changes of the keyring's keys in the database. Details name the keys by their ids.
const (
	KeyringRotated     ChangeKind = "keyring.rotated" // all sealed values are sealed again with the primary key
	KeyringKeyRetired  ChangeKind = "keyring.key_retired"
	ReceiptKeyReplaced ChangeKind = "keyring.receipt_key_replaced"
)

// Readings of the audit log. Details say what was searched for.
const (
	AuditRead     ChangeKind = "audit.read"
	AuditExported ChangeKind = "audit.exported"
)

// The changes of alerts and of the checklist. Details hold the rule, the subject and the message.
const (
	AlertRaised       ChangeKind = "alert.raised"
	AlertAcknowledged ChangeKind = "alert.acknowledged"
	AlertResolved     ChangeKind = "alert.resolved"
	ItemReviewed      ChangeKind = "checklist.reviewed"
)

// What is done with the records about a person. Details hold a pseudonym.
const (
	PrivacyCounted   ChangeKind = "privacy.counted"
	PrivacyExported  ChangeKind = "privacy.exported"
	PrivacyErasing   ChangeKind = "privacy.erasing" // an erasure was requested and has begun
	PrivacyErased    ChangeKind = "privacy.erased"
	PrivacyReapplied ChangeKind = "privacy.reapplied" // the erasures in the ledger were done again
	PrivacyReported  ChangeKind = "privacy.reported"
)

// Actor is who does something, and from where.
type Actor struct {
	Kind    string // person, service, key, operator (the command line) or server (by itself)
	ID      ID     // zero for an operator and for an unknown actor
	Session ID     // of a person; zero for others
	Address string // of the peer; empty for the command line
	Request string // the request's id
}

// Change is one line of the history of people, keys and accounts. It holds no secret, and no input of a caller who is
// not authenticated.
type Change struct {
	ID      ID
	At      Millis
	Kind    ChangeKind
	Actor   Actor
	Person  ID     // the person it is about; zero for none
	Account string // the account it is about; empty for none
	// Credential is the key it is about; zero for none.
	Credential ID
	Details    map[string]string // what changed, for people to read
}
