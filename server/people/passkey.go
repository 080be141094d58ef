package people

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Passkeys adds passkeys and logs in with them (WebAuthn Level 3). A passkey verifies its user, so it counts as both
// factors: a login with it needs no password. The server stores each challenge, and accepts one answer to it.
type Passkeys struct {
	p     *People
	party *webauthn.WebAuthn // nil if browsers do not allow passkeys for the server's URL
}

// CeremonyPrefix is the prefix of questions' ids.
const CeremonyPrefix = "cer"

// ceremonyLife is how long a question can be answered: enough time to fetch a phone.
const ceremonyLife = 5 * otp.Minute

// The purposes of a question. Its answer is valid for this purpose only.
const (
	addingPasskey  = "add"
	showingPasskey = "show" // to log in or to reauthenticate
)

// Question is the challenge that a browser passes to its authenticator.
type Question struct {
	ID      string
	Options json.RawMessage // an object with the member publicKey, for navigator.credentials
}

// Answer is the authenticator's answer to a Question.
type Answer struct {
	Question   string // its ID
	Credential []byte // PublicKeyCredential.toJSON()
}

// Origin returns the origin at which passkeys work; empty if they do not.
func (k *Passkeys) Origin() string {
	if k.party == nil {
		return ""
	}
	return k.party.Config.RPOrigins[0]
}

func (k *Passkeys) possible() error {
	if k.party != nil {
		return nil
	}
	return otp.Refuse(otp.FeatureOff,
		"passkeys are bound to the name of a server, and this one has none; set OTPBRIDGE_PUBLIC_URL to a URL with a name")
}

// Offer returns the question for a new passkey. Refusals: ReauthenticationRequired, FeatureOff, Invalid for the name.
func (k *Passkeys) Offer(ctx context.Context, who Principal, name string) (Question, error) {
	at := now()
	if err := cmp.Or(k.possible(), who.ProvedRecently(at)); err != nil {
		return Question{}, err
	}
	if name == "" {
		name = "passkey"
	}
	if err := checkName(name); err != nil {
		return Question{}, err
	}
	holder, err := k.holder(ctx, who.ID)
	if err != nil {
		return Question{}, err
	}
	options, session, err := k.party.BeginRegistration(holder,
		webauthn.WithExclusions(webauthn.Credentials(holder.credentials).CredentialDescriptors()))
	if err != nil {
		return Question{}, fmt.Errorf("make a question for a passkey: %w", err)
	}
	return begun(ceremony{addingPasskey, name, *session}, options, who.ID, at, func(row sql.Ceremony) error {
		return k.p.change(ctx, func(tx *sql.Tx) error {
			if err := k.p.Store.Passkeys.InsertCeremony(tx, row); err != nil {
				return err
			}
			return record(tx, otp.FactorOffered, who.Actor(), who.ID, at, "kind", PasskeyFactor)
		})
	})
}

// Add adds a passkey, given its answer to an Offer. For the first factor it returns backup codes and ends other
// sessions, as ConfirmApp does. Refusals: ReauthenticationRequired, FeatureOff, Invalid, and NotFound for a question
// that was answered or is too old.
func (k *Passkeys) Add(ctx context.Context, who Principal, a Answer) ([]string, error) {
	at := now()
	if err := cmp.Or(k.possible(), who.ProvedRecently(at)); err != nil {
		return nil, err
	}
	row, open, err := k.open(ctx, a.Question, addingPasskey, who.ID, at)
	if err != nil {
		return nil, err
	}
	holder, err := k.holder(ctx, who.ID)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(a.Credential)
	if err != nil {
		return nil, unusable()
	}
	made, err := k.party.CreateCredential(holder, open.Session, parsed)
	if err != nil {
		return nil, unusable()
	}
	encoded, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("encode a passkey: %w", err)
	}
	factor := sql.Factor{
		ID: sql.NewID(), Person: who.ID, Kind: PasskeyFactor, Name: open.Name, LastStep: int64(made.Authenticator.SignCount),
		CredentialHash: sha256.Sum256(made.ID), Credential: encoded, CreatedAt: at, ConfirmedAt: at,
	}
	var codes []string
	err = k.p.Store.Change(ctx, func(tx *sql.Tx) error {
		if err := k.answered(tx, row, at); err != nil {
			return err
		}
		if err := tx.InsertFactor(factor); err != nil {
			return err
		}
		codes, err = k.p.added(tx, who, factor, len(holder.factors) == 0, at)
		return err
	})
	if errors.Is(err, sql.ErrTaken) {
		err = otp.RefuseField("credential", "is of a passkey that was added before; use that one, or make another")
	}
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// Ask returns a question for Login or Prove. Refusals: FeatureOff; RateLimited for a network that asks for many.
func (k *Passkeys) Ask(ctx context.Context, from Client) (Question, error) {
	at := now()
	if err := k.possible(); err != nil {
		return Question{}, err
	}
	a := &attempt{}
	a.add(otp.ID(k.p.Vault.Index.Sum("questions to passkeys", network(from.Address))), otp.PasskeyQuestions)
	if err := k.p.chargeAttempt(ctx, a, at, tooManyQuestions); err != nil {
		return Question{}, err
	}
	options, session, err := k.party.BeginDiscoverableLogin()
	if err != nil {
		return Question{}, fmt.Errorf("make a question for a passkey: %w", err)
	}
	c := ceremony{Purpose: showingPasskey, Session: *session}
	return begun(c, options, otp.ID{}, at, func(row sql.Ceremony) error { return k.p.rows.InsertCeremony(ctx, row) })
}

// Login begins a session of the passkey's person. Refusals: FeatureOff, WrongPassword for a wrong answer,
// PersonLocked.
func (k *Passkeys) Login(ctx context.Context, a Answer, from Client) (Tokens, error) {
	at := now()
	shown, err := k.judge(ctx, a, stranger(from), at)
	if err != nil {
		return Tokens{}, err
	}
	if shown.person.DisabledAt != 0 {
		return Tokens{}, otp.Refuse(otp.PersonLocked, "you are switched off here; ask an admin")
	}
	session, refresh := begin(shown.person.ID, PasskeyFactor, from, at)
	err = k.use(ctx, shown, stranger(from), at, func(tx *sql.Tx) error {
		return k.p.insert(tx, session, refresh, shown.person.ID, from)
	})
	if err != nil {
		return Tokens{}, err
	}
	return k.p.tokens(shown.person, session, refresh, at)
}

// Prove records that the session's person proved their identity again. Refusals: those of Login.
func (k *Passkeys) Prove(ctx context.Context, who Principal, a Answer) error {
	at := now()
	shown, err := k.judge(ctx, a, who.Actor(), at)
	if err != nil {
		return err
	}
	if shown.person.ID != who.ID {
		return k.spend(ctx, shown.ceremony, who.Actor(), who.ID, at, wrongPasskey())
	}
	return k.use(ctx, shown, who.Actor(), at, func(tx *sql.Tx) error {
		if err := k.p.proved(tx, who, PasskeyFactor, at); err != nil {
			return err
		}
		return record(tx, otp.SessionConfirmed, who.Actor(), who.ID, at, "factor", PasskeyFactor)
	})
}

// shownPasskey is a right answer that has not been used yet.
type shownPasskey struct {
	person   sql.Person
	factor   otp.ID
	counter  int64
	ceremony sql.Ceremony
}

// judge verifies an answer. A wrong answer ends its question.
func (k *Passkeys) judge(ctx context.Context, a Answer, actor otp.Actor, at otp.Millis) (shownPasskey, error) {
	if err := k.possible(); err != nil {
		return shownPasskey{}, err
	}
	row, open, err := k.open(ctx, a.Question, showingPasskey, otp.ID{}, at)
	if otp.KindOf(err) == otp.NotFound {
		err = wrongPasskey()
	}
	if err != nil {
		return shownPasskey{}, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(a.Credential)
	if err != nil {
		return shownPasskey{}, k.spend(ctx, row, actor, otp.ID{}, at, wrongPasskey())
	}
	factor, err := k.p.rows.Passkey(ctx, sha256.Sum256(parsed.RawID))
	if errors.Is(err, sql.ErrNotFound) {
		return shownPasskey{}, k.spend(ctx, row, actor, otp.ID{}, at, wrongPasskey())
	}
	if err != nil {
		return shownPasskey{}, err
	}
	owner, err := k.holder(ctx, factor.Person)
	if err != nil {
		return shownPasskey{}, err
	}
	_, used, err := k.party.ValidatePasskeyLogin(func(_, _ []byte) (webauthn.User, error) { return owner, nil },
		open.Session, parsed)
	if err != nil {
		return shownPasskey{}, k.spend(ctx, row, actor, factor.Person, at, wrongPasskey())
	}
	if used.Authenticator.CloneWarning {
		return shownPasskey{}, k.spend(ctx, row, actor, factor.Person, at, wrongPasskey(), "reason", "its counter went back")
	}
	return shownPasskey{owner.person, factor.ID, int64(used.Authenticator.SignCount), row}, nil
}

// use uses an answer up, and calls do in the same transaction.
func (k *Passkeys) use(ctx context.Context, s shownPasskey, actor otp.Actor, at otp.Millis,
	do func(*sql.Tx) error) error {
	err := k.p.change(ctx, func(tx *sql.Tx) error {
		if err := unchanged(tx, s.person); err != nil {
			return err
		}
		first, err := k.p.Store.Passkeys.UseCeremony(tx, s.ceremony.ID, at)
		if err != nil {
			return err
		}
		kept, err := k.p.Store.Passkeys.Use(tx, s.person.ID, s.factor, s.counter, at)
		if err != nil {
			return err
		}
		if !first || !kept { // it was answered before, or the passkey was removed, or a copy of it was used
			return wrongPasskey()
		}
		return do(tx)
	})
	if otp.KindOf(err) == otp.WrongPassword {
		return k.spend(ctx, s.ceremony, actor, s.person.ID, at, err)
	}
	return err
}

// spend ends a question after a wrong answer, records that, and returns the refusal.
func (k *Passkeys) spend(ctx context.Context, c sql.Ceremony, actor otp.Actor, person otp.ID, at otp.Millis,
	refusal error, details ...string) error {
	err := k.p.change(ctx, func(tx *sql.Tx) error {
		if _, err := k.p.Store.Passkeys.UseCeremony(tx, c.ID, at); err != nil {
			return err
		}
		return record(tx, otp.SessionRefused, actor, person, at, append(details, "factor", PasskeyFactor)...)
	})
	if err != nil {
		return err
	}
	return refusal
}

func wrongPasskey() error {
	return otp.Refuse(otp.WrongPassword,
		"the passkey is not known here, or did not answer in time; begin again, or log in with your password")
}

// unusable refuses a new passkey. It does not show the library's error, which quotes the request.
func unusable() error {
	return otp.RefuseField("credential", "is no answer of a passkey that verified its user on this site; "+
		"begin again, and let the device ask for your PIN, fingerprint or face")
}
