package people

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"image/png"

	totplib "github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// The kinds of a second factor.
const (
	AppFactor     = "totp" // an app that shows codes (RFC 6238)
	PasskeyFactor = "passkey"
	BackupFactor  = "backup_code"
)

// The parameters of RFC 6238 that every app supports, and how many steps an app's clock may be off.
const (
	stepSeconds = 30
	stepSkew    = 1
)

// Factors manages a person's own second factors. Adding and removing one needs a recent login.
type Factors struct{ p *People }

// Factor is a second factor as its person sees it.
type Factor struct {
	ID        string
	Kind      string
	Name      string
	CreatedAt otp.Millis
	UsedAt    otp.Millis // 0: never
}

// Enrolment is what an app needs. It is shown only once.
type Enrolment struct {
	ID     string
	Secret string // base32
	URI    string // otpauth://
	Image  string // the QR code of URI, as a data: URI of a PNG
}

// proof is a valid second factor that a person gave. It counts only after use has used it up.
type proof struct {
	kind   string // of the factor; empty if the person has none
	factor otp.ID
	step   int64
	backup [32]byte
	guess  *attempt
}

// judgeFactor returns the proof for a code; it is empty for a person without second factors. Refusals: FactorRequired
// for a missing or wrong code, PersonLocked after too many.
func (p *People) judgeFactor(ctx context.Context, person sql.Person, code string, from Client, at otp.Millis) (proof,
	error) {
	factors, err := p.rows.Factors(ctx, person.ID)
	if err != nil || len(factors) == 0 {
		return proof{}, err
	}
	code = plainCode(code)
	if code == "" {
		return proof{}, otp.Refuse(otp.FactorRequired,
			"give the code of your app, or a backup code, as mfa_code; or log in with a passkey")
	}
	guess, err := p.chargeFactor(ctx, person.ID, at)
	if err != nil {
		return proof{}, err
	}
	shown := proof{kind: BackupFactor, guess: guess, backup: p.backupHash(person.ID, code)}
	if len(code) == backupLength {
		return shown, nil // use decides whether it is right
	}
	for _, f := range factors {
		step, err := p.matchStep(f, code, at)
		if err != nil {
			return proof{}, err
		}
		if step > 0 {
			return proof{kind: f.Kind, factor: f.ID, step: step, guess: guess}, nil
		}
	}
	return proof{}, p.wrongFactor(ctx, person, guess, from, at)
}

func wrongCode() error {
	return otp.Refuse(otp.FactorRequired, "the code is wrong or was used before; wait for the next one")
}

// wrongFactor records a wrong code, mails the person if it led to a lock, and returns the refusal.
func (p *People) wrongFactor(ctx context.Context, person sql.Person, guess *attempt, from Client, at otp.Millis) error {
	err := p.change(ctx, func(tx *sql.Tx) error { return record(tx, otp.FactorGuessed, stranger(from), person.ID, at) })
	if err != nil {
		return err
	}
	p.mailLock(person, guess, from)
	return wrongCode()
}

// use uses a proof up. If several requests use the same code, only one succeeds.
func (pr proof) use(tx *sql.Tx, person otp.ID, from Client, at otp.Millis) error {
	used, err := true, error(nil)
	switch pr.kind {
	case AppFactor:
		used, err = tx.UseStep(person, pr.factor, pr.step, at)
	case BackupFactor:
		used, err = tx.UseBackupCode(person, pr.backup, at)
	}
	if err != nil {
		return err
	}
	if !used {
		return wrongCode()
	}
	if pr.kind == BackupFactor {
		if err := record(tx, otp.BackupCodeUsed, stranger(from), person, at); err != nil {
			return err
		}
	}
	return pr.guess.forgive(tx)
}

// matchStep returns the time step that the code belongs to, 0 for none. It always compares every step.
func (p *People) matchStep(f sql.Factor, code string, at otp.Millis) (match int64, err error) {
	if f.Kind != AppFactor {
		return 0, nil
	}
	secret, err := p.Vault.Keyring.Open(vault.FactorSecret(f.ID), f.Secret)
	if err != nil {
		return 0, fmt.Errorf("open the secret of factor %s: %w", f.ID.Text(FactorPrefix), err)
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
	now := int64(at/otp.Second) / stepSeconds
	for step := now - stepSkew; step <= now+stepSkew; step++ {
		right, err := hotp.GenerateCode(text, uint64(step))
		if err != nil {
			return 0, err
		}
		if subtle.ConstantTimeCompare([]byte(right), []byte(code)) == 1 {
			match = step
		}
	}
	return match, nil
}

// List returns the person's factors, oldest first, and how many backup codes are left.
func (f *Factors) List(ctx context.Context, who Principal) ([]Factor, int, error) {
	rows, err := f.p.rows.Factors(ctx, who.ID)
	if err != nil {
		return nil, 0, err
	}
	all := make([]Factor, len(rows))
	for i, r := range rows {
		all[i] = Factor{ID: r.ID.Text(FactorPrefix), Kind: r.Kind, Name: r.Name, CreatedAt: r.CreatedAt, UsedAt: r.UsedAt}
	}
	left, err := f.p.rows.BackupCodesLeft(ctx, who.ID)
	return all, left, err
}

// EnrolApp makes the secret of an app. The app counts after ConfirmApp has accepted a code of it. An earlier app that
// was never confirmed is dropped. Refusal: ReauthenticationRequired.
func (f *Factors) EnrolApp(ctx context.Context, who Principal, name string) (Enrolment, error) {
	at := now()
	if err := who.ProvedRecently(at); err != nil {
		return Enrolment{}, err
	}
	if name == "" {
		name = "authenticator app"
	}
	if err := checkName(name); err != nil {
		return Enrolment{}, err
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "OTPBridge", AccountName: who.Email, Rand: rand.Reader})
	if err != nil {
		return Enrolment{}, fmt.Errorf("make the secret of an app: %w", err)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key.Secret())
	if err != nil {
		return Enrolment{}, err
	}
	image, err := picture(key)
	if err != nil {
		return Enrolment{}, err
	}
	row := sql.Factor{ID: sql.NewID(), Person: who.ID, Kind: AppFactor, Name: name, CreatedAt: at}
	row.Secret = f.p.Vault.Keyring.Seal(vault.FactorSecret(row.ID), secret)
	err = f.p.change(ctx, func(tx *sql.Tx) error {
		if err := tx.InsertFactor(row); err != nil {
			return err
		}
		return record(tx, otp.FactorOffered, who.Actor(), who.ID, at, "kind", AppFactor)
	})
	return Enrolment{ID: row.ID.Text(FactorPrefix), Secret: key.Secret(), URI: key.URL(), Image: image}, err
}

func picture(key *totplib.Key) (string, error) {
	image, err := key.Image(240, 240)
	if err != nil {
		return "", fmt.Errorf("draw a QR code: %w", err)
	}
	var file bytes.Buffer
	if err := png.Encode(&file, image); err != nil {
		return "", fmt.Errorf("draw a QR code: %w", err)
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(file.Bytes()), nil
}

// ConfirmApp activates an app, given a code that it shows. For the first factor it returns backup codes, which are not
// shown again, and ends the person's other sessions, because they began without the factor that is now needed.
func (f *Factors) ConfirmApp(ctx context.Context, who Principal, id, code string) ([]string, error) {
	at := now()
	if err := who.ProvedRecently(at); err != nil {
		return nil, err
	}
	parsed, _ := otp.ParseID(FactorPrefix, id)
	row, err := f.p.rows.Factor(ctx, who.ID, parsed)
	if errors.Is(err, sql.ErrNotFound) || err == nil && row.ConfirmedAt != 0 {
		return nil, otp.Refuse(otp.NotFound, "there is no such factor that waits for a code; begin again")
	}
	if err != nil {
		return nil, err
	}
	step, err := f.p.matchStep(row, plainCode(code), at)
	if err != nil {
		return nil, err
	}
	if step == 0 {
		return nil, otp.RefuseField("code", "is not what the app shows now; check the clock of the phone")
	}
	before, err := f.p.rows.Factors(ctx, who.ID)
	if err != nil {
		return nil, err
	}
	var codes []string
	err = f.p.change(ctx, func(tx *sql.Tx) error {
		confirmed, err := tx.ConfirmFactor(who.ID, row.ID, step, at)
		if err != nil {
			return err
		}
		if !confirmed {
			return otp.Refuse(otp.NotFound, "this factor was confirmed already")
		}
		codes, err = f.p.added(tx, who, row, len(before) == 0, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// added records that a factor counts from now on, and that the person proved it. The first factor makes backup codes
// and ends the person's other sessions.
func (p *People) added(tx *sql.Tx, who Principal, f sql.Factor, first bool, at otp.Millis) (codes []string, err error) {
	if err := p.proved(tx, who, f.Kind, at); err != nil {
		return nil, err
	}
	if first {
		if codes, err = p.makeBackupCodes(tx, who, at); err != nil {
			return nil, err
		}
		if _, err := tx.EndSessions(who.ID, who.Session, at); err != nil {
			return nil, err
		}
	}
	return codes, record(tx, otp.FactorAdded, who.Actor(), who.ID, at, "kind", f.Kind, "name", f.Name)
}

// proved records that the session's person proved their identity.
func (p *People) proved(tx *sql.Tx, who Principal, factor string, at otp.Millis) error {
	kept, err := tx.ProveSession(who.Session, factor, at)
	if err == nil && !kept {
		err = sessionOver()
	}
	return err
}

// Remove removes a factor, and with the last one the backup codes. Refusals: ReauthenticationRequired, NotFound.
func (f *Factors) Remove(ctx context.Context, who Principal, id string) error {
	at := now()
	if err := who.ProvedRecently(at); err != nil {
		return err
	}
	parsed, ok := otp.ParseID(FactorPrefix, id)
	return f.p.change(ctx, func(tx *sql.Tx) error {
		deleted := false
		if ok {
			var err error
			if deleted, err = tx.DeleteFactor(who.ID, parsed); err != nil {
				return err
			}
		}
		if !deleted {
			return otp.Refuse(otp.NotFound, "there is no such factor")
		}
		return record(tx, otp.FactorRemoved, who.Actor(), who.ID, at, "factor", id)
	})
}

// Reauthenticate records that the session's person proved their identity again: with a code if they have a second
// factor, else with the password. Refusals: those of Login.
func (p *People) Reauthenticate(ctx context.Context, who Principal, password, code string) error {
	at := now()
	person, err := p.self(ctx, who.ID)
	if err != nil {
		return err
	}
	shown, err := p.judgeFactor(ctx, person, code, who.From, at)
	if err != nil {
		return err
	}
	var guess *attempt
	if shown.kind == "" {
		if guess, _, err = p.judgePassword(ctx, person, person.Email, password, who.From, at); err != nil {
			return err
		}
	}
	err = p.change(ctx, func(tx *sql.Tx) error {
		if err := unchanged(tx, person); err != nil {
			return err
		}
		if err := shown.use(tx, person.ID, who.From, at); err != nil {
			return err
		}
		if err := guess.forgive(tx); err != nil {
			return err
		}
		if err := p.proved(tx, who, shown.kind, at); err != nil {
			return err
		}
		return record(tx, otp.SessionConfirmed, who.Actor(), who.ID, at, "factor", shown.kind)
	})
	if otp.KindOf(err) == otp.FactorRequired { // the code was used before, or is not a backup code
		err = p.wrongFactor(ctx, person, shown.guess, who.From, at)
	}
	return err
}
