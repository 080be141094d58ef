package otp

// ChangeKind says what somebody did to people, keys or accounts.
type ChangeKind string

// The changes of people and their sessions. Each is recorded in the transaction that made it true.
const (
	SetupIssued         ChangeKind = "person.setup_issued"     // a link for the first owner was made
	PersonInvited       ChangeKind = "person.invited"          // a link for somebody else was made
	InvitationEnded     ChangeKind = "person.invitation_ended" // and was taken back
	PersonRegistered    ChangeKind = "person.registered"       // a person came to be
	PersonChanged       ChangeKind = "person.changed"          // name, role, accounts, permissions, or switched off or on
	PersonRemoved       ChangeKind = "person.removed"
	PasswordChanged     ChangeKind = "person.password_changed"
	RecoveryIssued      ChangeKind = "person.recovery_issued" // a link to choose a new password was made
	PersonRecovered     ChangeKind = "person.recovered"       // and was used
	FactorOffered       ChangeKind = "person.factor_offered"  // the secret of an app was shown, and waits for a code
	FactorAdded         ChangeKind = "person.factor_added"
	FactorRemoved       ChangeKind = "person.factor_removed"
	FactorsReset        ChangeKind = "person.factors_reset" // all second factors were taken away
	BackupCodesMade     ChangeKind = "person.backup_codes_made"
	BackupCodeUsed      ChangeKind = "person.backup_code_used"
	FactorGuessed       ChangeKind = "person.factor_guessed" // a wrong second factor after the right password
	SessionBegan        ChangeKind = "session.began"
	SessionRefreshed    ChangeKind = "session.refreshed"
	SessionConfirmed    ChangeKind = "session.confirmed" // the person proved again who they are
	SessionEnded        ChangeKind = "session.ended"
	SessionRefused      ChangeKind = "session.refused"      // a wrong password
	RefreshTokenReused  ChangeKind = "session.token_reused" // and the session was ended for it
	ServiceCreated      ChangeKind = "service.created"      // a service account was made
	ServiceRevoked      ChangeKind = "service.revoked"
	RegistrationRefused ChangeKind = "registration.refused" // without a link that is good
)

// The changes of accounts, and of what belongs to one.
const (
	AccountCreated ChangeKind = "account.created"
	AccountChanged ChangeKind = "account.changed"  // details name the columns, and no value
	AccountCutOver ChangeKind = "account.cut_over" // who answers its servlet calls was changed, or set for later
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
	WebhookPaused   ChangeKind = "webhook.paused" // by the server: deliveries failed for days
	WebhookGone     ChangeKind = "webhook.gone"   // by its receiver's answer 410
)

// What is done about test recipients. Details have the mask, and neither number nor code.
const (
	TestRecipientAdded   ChangeKind = "test_recipient.added"
	TestRecipientRemoved ChangeKind = "test_recipient.removed"
)

// PrefixLifted: sends to a range of numbers that was stopped go on.
const PrefixLifted ChangeKind = "guard.prefix_lifted"

// What is done about recipients. Details have the mask, and no recipient.
const (
	RecipientRead     ChangeKind = "recipient.read"
	RecipientUnlocked ChangeKind = "recipient.unlocked" // details say why
)

// The changes of keys. The server itself records the last two, each once.
const (
	KeyCreated     ChangeKind = "key.created"
	KeyChanged     ChangeKind = "key.changed"
	KeyRotated     ChangeKind = "key.rotated"
	KeyRevoked     ChangeKind = "key.revoked"
	KeyCompromised ChangeKind = "key.compromised"  // was revoked because somebody else may have it
	KeyExpiring    ChangeKind = "key.expiring"     // ends in 30, 7 or 1 days
	KeyRotationDue ChangeKind = "key.rotation_due" // is 90 days old
)

// The readings of the audit log. Details say what was looked for.
const (
	AuditRead     ChangeKind = "audit.read"
	AuditExported ChangeKind = "audit.exported"
)

// What becomes of alerts, and of the checklist. Details have the rule, the subject and what is said of it.
const (
	AlertRaised       ChangeKind = "alert.raised"
	AlertAcknowledged ChangeKind = "alert.acknowledged"
	AlertResolved     ChangeKind = "alert.resolved"
	ItemReviewed      ChangeKind = "checklist.reviewed"
)

// What is done about what is kept of a person. Details name a pseudonym.
const (
	PrivacyCounted   ChangeKind = "privacy.counted"
	PrivacyExported  ChangeKind = "privacy.exported"
	PrivacyErasing   ChangeKind = "privacy.erasing" // an erasure was asked for, and has begun
	PrivacyErased    ChangeKind = "privacy.erased"
	PrivacyReapplied ChangeKind = "privacy.reapplied" // the ledger's erasures were made again
	PrivacyReported  ChangeKind = "privacy.reported"
)

// Actor is who does something, and from where.
type Actor struct {
	Kind    string // person, service, key, operator for the command line, or server for what it does by itself
	ID      ID     // zero for an operator and for somebody unknown
	Session ID     // of a person, else zero
	Address string // of the peer; empty for the command line
	Request string // the request's id
}

// Change is one line of the history of people, keys and accounts. It holds no secret, and of strangers
// nothing that they typed.
type Change struct {
	ID      ID
	At      Millis
	Kind    ChangeKind
	Actor   Actor
	Person  ID     // whom it is about; zero for nobody in particular
	Account string // which account it is about; empty for none
	// Credential is which key it is about; zero for none.
	Credential ID
	Details    map[string]string // what changed, for people to read
}
