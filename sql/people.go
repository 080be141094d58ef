package sql

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"

	"otpbridge/server/otp"
)

// People stores persons and what belongs to them: sessions, tickets, factors, backup codes, guesses, and the history
// of their changes. Decisions are made in a transaction, see Change.
type People struct{ store *Store }

// Person is somebody who may log in.
type Person struct {
	ID           otp.ID
	Email        string // in lower case
	Name         string
	PasswordHash string
	Role         string
	Accounts     []string // addresses; nil for all, including future ones
	Permissions  []string // a subset; nil for those of the role
	Version      int64
	CreatedAt    otp.Millis
	UpdatedAt    otp.Millis
	DisabledAt   otp.Millis // 0: enabled
}

var persons = table[Person]{"persons", func(p *Person) []column {
	return []column{
		{"id", &p.ID}, {"email", &p.Email}, {"name", &p.Name}, {"password_hash", &p.PasswordHash}, {"role", &p.Role},
		{"accounts", &p.Accounts}, {"permissions", &p.Permissions}, {"version", &p.Version},
		{"created_at", &p.CreatedAt}, {"updated_at", &p.UpdatedAt}, {"disabled_at", &p.DisabledAt},
	}
}}

// Session is one login of a person.
type Session struct {
	ID              otp.ID
	Person          otp.ID
	Factor          string // the second factor it was authenticated with; empty for none
	Address         string // of the last peer
	Network         string // of that address
	Agent           string
	CreatedAt       otp.Millis
	AuthenticatedAt otp.Millis // when the person last authenticated
	SeenAt          otp.Millis
	ExpiresAt       otp.Millis
	EndedAt         otp.Millis // 0: not ended
}

var sessions = table[Session]{"sessions", func(s *Session) []column {
	return []column{
		{"id", &s.ID}, {"person_id", &s.Person}, {"factor", &s.Factor}, {"address", &s.Address}, {"network", &s.Network},
		{"agent", &s.Agent}, {"created_at", &s.CreatedAt}, {"authenticated_at", &s.AuthenticatedAt}, {"seen_at", &s.SeenAt},
		{"expires_at", &s.ExpiresAt}, {"ended_at", &s.EndedAt},
	}
}}

// RefreshToken is one refresh token of a session, stored as its hash.
type RefreshToken struct {
	Hash      [32]byte
	Session   otp.ID
	CreatedAt otp.Millis
	UsedAt    otp.Millis // 0: unused
	Nonce     otp.ID     // random; with a used token, makes its successor
}

var refreshTokens = table[RefreshToken]{"refresh_tokens", func(t *RefreshToken) []column {
	return []column{
		{"hash", &t.Hash}, {"session_id", &t.Session}, {"created_at", &t.CreatedAt}, {"used_at", &t.UsedAt}, {"nonce",
			&t.Nonce},
	}
}}

// Ticket allows its holder one action, once.
type Ticket struct {
	ID          otp.ID
	Hash        [32]byte
	Purpose     string
	Person      otp.ID // whom it recovers; zero for a ticket that creates a person
	Email       string // who is invited; empty for anybody
	Role        string
	Accounts    []string
	Permissions []string
	CreatedBy   otp.ID // zero for the command line
	CreatedAt   otp.Millis
	ExpiresAt   otp.Millis
	UsedAt      otp.Millis // 0: unused
}

var tickets = table[Ticket]{"tickets", func(t *Ticket) []column {
	return []column{
		{"id", &t.ID}, {"hash", &t.Hash}, {"purpose", &t.Purpose}, {"person_id", &t.Person}, {"email", &t.Email}, {"role",
			&t.Role},
		{"accounts", &t.Accounts}, {"permissions", &t.Permissions}, {"created_by", &t.CreatedBy}, {"created_at",
			&t.CreatedAt},
		{"expires_at", &t.ExpiresAt}, {"used_at", &t.UsedAt},
	}
}}

// Factor is a second factor of a person: an app that shows codes, or a passkey.
type Factor struct {
	ID             otp.ID
	Person         otp.ID
	Kind           string
	Name           string
	Secret         []byte   // of an app; sealed
	LastStep       int64    // of an app: the newest time step used; of a passkey: its sign counter
	CredentialHash [32]byte // of a passkey
	Credential     []byte
	CreatedAt      otp.Millis
	ConfirmedAt    otp.Millis // 0: not active yet
	UsedAt         otp.Millis
}

var factors = table[Factor]{"factors", func(f *Factor) []column {
	return []column{
		{"id", &f.ID}, {"person_id", &f.Person}, {"kind", &f.Kind}, {"name", &f.Name}, {"secret", &f.Secret}, {"last_step",
			&f.LastStep},
		{"credential_hash", &f.CredentialHash}, {"credential", &f.Credential}, {"created_at", &f.CreatedAt},
		{"confirmed_at", &f.ConfirmedAt}, {"used_at", &f.UsedAt},
	}
}}

// Ceremony is a challenge for a passkey to sign, until it is answered or expires.
type Ceremony struct {
	ID        otp.ID
	Person    otp.ID // who adds a passkey; zero for a login
	Data      []byte
	ExpiresAt otp.Millis
}

var ceremonies = table[Ceremony]{"ceremonies", func(c *Ceremony) []column {
	return []column{{"id", &c.ID}, {"person_id", &c.Person}, {"data", &c.Data}, {"expires_at", &c.ExpiresAt}}
}}

// BackupCode replaces a factor, once.
type BackupCode struct {
	Person    otp.ID
	Hash      [32]byte
	CreatedAt otp.Millis
	UsedAt    otp.Millis
}

var backupCodes = table[BackupCode]{"backup_codes", func(b *BackupCode) []column {
	return []column{{"person_id", &b.Person}, {"hash", &b.Hash}, {"created_at", &b.CreatedAt}, {"used_at", &b.UsedAt}}
}}

var guesses = table[otp.Guesses]{"guesses", func(g *otp.Guesses) []column {
	return []column{
		{"id", &g.ID}, {"version", &g.Version}, {"attempts", &g.Count}, {"blocked_until", &g.BlockedUntil}, {"updated_at",
			&g.UpdatedAt},
	}
}}

// change is a row of the history, with its details as JSON.
type change struct {
	otp.Change
	details string // JSON; empty for none
}

// What the columns of changes hold. MariaDB would refuse more, and with it what somebody did: a request's id is their
// choice, and some details are what they looked for.
const (
	maxRequestID = 64        // characters
	maxDetails   = 1<<16 - 1 // bytes
	maxDetail    = 500       // characters of each where all together are too long
)

func rowOf(c otp.Change) change {
	row := change{Change: c}
	row.Actor.Request = otp.Cut(c.Actor.Request, maxRequestID)
	if row.details = detailsOf(c.Details); len(row.details) > maxDetails {
		short := maps.Clone(c.Details)
		for name, text := range short {
			short[name] = otp.Cut(text, maxDetail)
		}
		row.details = detailsOf(short)
	}
	return row
}

// detailsOf is the JSON of a change's details, empty for none.
func detailsOf(details map[string]string) string {
	if details == nil {
		return ""
	}
	return textsJSON(details)
}

var changes = table[change]{"changes", func(c *change) []column {
	return []column{
		{"id", &c.ID}, {"at", &c.At}, {"kind", (*string)(&c.Kind)}, {"actor_kind", &c.Actor.Kind}, {"actor_id", &c.Actor.ID},
		{"session_id", &c.Actor.Session}, {"address", &c.Actor.Address}, {"request_id", &c.Actor.Request}, {"person_id",
			&c.Person},
		{"esme_address", &c.Account}, {"credential_id", &c.Credential}, {"details", &c.details},
	}
}}

func (c *change) read() (otp.Change, error) {
	if c.details != "" {
		if err := json.Unmarshal([]byte(c.details), &c.Details); err != nil {
			return c.Change, fmt.Errorf("read the details of change %s: %w", c.ID.Text("chg"), err)
		}
	}
	return c.Change, nil
}

// ByID reads a person; ErrNotFound if there is none.
func (p *People) ByID(ctx context.Context, id otp.ID) (Person, error) {
	return persons.one(ctx, p.store, `id = ?`, id[:])
}

// ByEmail reads the person with an address in lower case; ErrNotFound if there is none.
func (p *People) ByEmail(ctx context.Context, email string) (Person, error) {
	return persons.one(ctx, p.store, `email = ?`, email)
}

// List reads all persons, oldest first.
func (p *People) List(ctx context.Context) ([]Person, error) {
	return persons.find(ctx, p.store, `1 = 1 ORDER BY id`)
}

// Session reads a session with its person; ErrNotFound if there is none.
func (p *People) Session(ctx context.Context, id otp.ID) (Session, Person, error) {
	session, err := sessions.one(ctx, p.store, `id = ?`, id[:])
	if err != nil {
		return session, Person{}, err
	}
	person, err := p.ByID(ctx, session.Person)
	return session, person, err
}

// Sessions reads a person's sessions that have not ended at now, newest first.
func (p *People) Sessions(ctx context.Context, person otp.ID, now otp.Millis) ([]Session, error) {
	return sessions.find(ctx, p.store, `person_id = ? AND ended_at IS NULL AND expires_at > ? ORDER BY id DESC`,
		person[:], int64(now))
}

// Ticket reads a ticket by its hash; ErrNotFound if there is none.
func (p *People) Ticket(ctx context.Context, hash [32]byte) (Ticket, error) {
	return tickets.one(ctx, p.store, `hash = ?`, hash[:])
}

// Tickets reads the tickets with a purpose that are still valid, newest first.
func (p *People) Tickets(ctx context.Context, purpose string, now otp.Millis) ([]Ticket, error) {
	return tickets.find(ctx, p.store, `purpose = ? AND used_at IS NULL AND expires_at > ? ORDER BY id DESC`, purpose,
		int64(now))
}

// EndTicketsBy ends every unused ticket of one creator.
func (p *People) EndTicketsBy(tx *Tx, creator otp.ID, now otp.Millis) error {
	return tx.exec(tx.ctx, `UPDATE tickets SET expires_at = ? WHERE created_by = ? AND used_at IS NULL AND expires_at > ?`,
		int64(now), creator[:], int64(now))
}

// Factors reads a person's confirmed second factors, oldest first.
func (p *People) Factors(ctx context.Context, person otp.ID) ([]Factor, error) {
	return factors.find(ctx, p.store, `person_id = ? AND confirmed_at IS NOT NULL ORDER BY id`, person[:])
}

// WithFactors returns the persons who have a confirmed factor.
func (p *People) WithFactors(ctx context.Context) (map[otp.ID]bool, error) {
	who := map[otp.ID]bool{}
	return who, p.store.each(ctx, "read who has factors",
		`SELECT DISTINCT person_id FROM factors WHERE confirmed_at IS NOT NULL`, nil, func(rows *sql.Rows) error {
			var id otp.ID
			err := rows.Scan(idScan{&id})
			who[id] = true
			return err
		})
}

// Factor reads one factor of a person, confirmed or not; ErrNotFound if there is none.
func (p *People) Factor(ctx context.Context, person, id otp.ID) (Factor, error) {
	return factors.one(ctx, p.store, `id = ? AND person_id = ?`, id[:], person[:])
}

// Passkey reads the factor of a credential, by the hash of the credential's id; ErrNotFound if there is none.
func (p *People) Passkey(ctx context.Context, hash [32]byte) (Factor, error) {
	return factors.one(ctx, p.store, `credential_hash = ? AND confirmed_at IS NOT NULL`, hash[:])
}

// Ceremony reads a ceremony that is open at now; ErrNotFound if there is none.
func (p *People) Ceremony(ctx context.Context, id otp.ID, now otp.Millis) (Ceremony, error) {
	return ceremonies.one(ctx, p.store, `id = ? AND expires_at > ?`, id[:], int64(now))
}

// InsertCeremony adds the ceremony of a login, without a record: nobody has authenticated yet. The error is a refusal,
// Overloaded, if too many writes wait.
func (p *People) InsertCeremony(ctx context.Context, c Ceremony) error {
	if err := p.store.admitsWrite(); err != nil {
		return err
	}
	return p.store.write(ctx, func(w *session) error {
		return p.store.Passkeys.InsertCeremony(&Tx{session: w, store: p.store, ctx: ctx}, c)
	})
}

// BackupCodesLeft counts a person's unused backup codes.
func (p *People) BackupCodesLeft(ctx context.Context, person otp.ID) (int, error) {
	left, err := backupCodes.find(ctx, p.store, `person_id = ? AND used_at IS NULL`, person[:])
	return len(left), err
}

// Guesses reads the guesses counted under an id, zero if there are none.
func (p *People) Guesses(ctx context.Context, id otp.ID) (otp.Guesses, error) {
	all, err := guesses.find(ctx, p.store, `id = ?`, id[:])
	if err != nil || len(all) == 0 {
		return otp.Guesses{ID: id}, err
	}
	return all[0], nil
}

// Changes reads the changes recorded about a person, or for the zero id about everybody, newest first.
func (p *People) Changes(ctx context.Context, person otp.ID, limit int) ([]otp.Change, error) {
	where, args := `1 = 1`, []any{}
	if !person.IsZero() {
		where, args = `person_id = ?`, append(args, person[:])
	}
	rows, err := changes.find(ctx, p.store, where+` ORDER BY id DESC LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, err
	}
	all := make([]otp.Change, len(rows))
	for i, r := range rows {
		if all[i], err = r.read(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Seen records that a session was used at now from an address.
func (p *People) Seen(ctx context.Context, id otp.ID, address, network string, now otp.Millis) error {
	return p.store.exec(ctx, `UPDATE sessions SET seen_at = ?, address = ?, network = ? WHERE id = ? AND seen_at < ?`,
		int64(now), address, network, id[:], int64(now))
}

// HasRefreshToken reports whether a token was ever issued, used or not.
func (p *People) HasRefreshToken(ctx context.Context, hash [32]byte) (bool, error) {
	found, err := refreshTokens.find(ctx, p.store, `hash = ?`, hash[:])
	return len(found) > 0, err
}

// Passkeys stores the uses of passkeys, and the ceremonies for them.
type Passkeys struct{}

// Use records that a passkey signed, with its sign counter. The counter must rise, unless the passkey has none
// and always sends 0. Of any number of callers with the same counter, one succeeds.
func (Passkeys) Use(tx *Tx, person, id otp.ID, counter int64, now otp.Millis) (bool, error) {
	return tx.changed(`
		UPDATE factors
		SET last_step = ?, used_at = ?
		WHERE id = ? AND person_id = ? AND confirmed_at IS NOT NULL AND (last_step < ? OR last_step = 0 AND ? = 0)`,
		counter, int64(now), id[:], person[:], counter, counter)
}

// InsertCeremony adds a ceremony.
func (Passkeys) InsertCeremony(tx *Tx, c Ceremony) error { return ceremonies.insert(tx.ctx, tx, &c) }

// UseCeremony ends a ceremony that is open at now. Of any number of answers to it, one succeeds.
func (Passkeys) UseCeremony(tx *Tx, id otp.ID, now otp.Millis) (bool, error) {
	return tx.changed(`DELETE FROM ceremonies WHERE id = ? AND expires_at > ?`, id[:], int64(now))
}
