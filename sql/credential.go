package sql

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"otpbridge/server/otp"
	"otpbridge/server/strict"
)

// Credentials are the keys of accounts.
type Credentials struct{ store *Store }

// Credential is one secret of an account, stored as its hash.
type Credential struct {
	ID          otp.ID
	Address     string
	Kind        string // access_key, secret, …
	Name        string
	Environment otp.Environment
	Hash        [32]byte
	LastFour    string

	Permissions       []string // empty: those of the kind
	AllowedIPs        []string // networks; empty allows every address
	DeniedIPs         []string // networks; take precedence over AllowedIPs
	AllowedOrigins    []string
	RequestsPerMinute *int
	Burst             *int
	Signing           string // off, optional, required
	SigningSecret     []byte // sealed

	Enabled   bool
	ExpiresAt otp.Millis // 0: never
	RevokedAt otp.Millis // 0: not revoked
	Successor otp.ID     // zero: not rotated
	CreatedAt otp.Millis
	Version   int64 // from 1, raised by every change except a use

	UsedAt      otp.Millis // time of the last use, to a minute; 0: never
	UsedAddress string     // address of the last use
}

const credentialColumns = `id, esme_address, kind, name, environment, hash, last_four, permissions, allowed_ips, denied_ips,
	allowed_origins, requests_per_minute, burst, signing, signing_secret, enabled, expires_at, revoked_at, successor, created_at, version,
	used_at, used_address`

const credentialWidth = 23

// ByHash finds a credential by the hash of its secret.
func (c *Credentials) ByHash(ctx context.Context, hash [32]byte) (Credential, error) {
	return c.store.credential(ctx, `hash = ?`, hash[:])
}

// ByID finds a credential by its id.
func (c *Credentials) ByID(ctx context.Context, id otp.ID) (Credential, error) {
	return c.store.credential(ctx, `id = ?`, id[:])
}

func (s *Store) credential(ctx context.Context, where string, arg []byte) (Credential, error) {
	row := s.reads.QueryRowxContext(ctx, `SELECT `+credentialColumns+` FROM credentials WHERE `+where, arg)
	credential, err := scanCredential(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Credential{}, ErrNotFound
	}
	return credential, err
}

// List returns the credentials of an account, oldest first; of every account for "".
func (c *Credentials) List(ctx context.Context, address string) ([]Credential, error) {
	return c.read(ctx, `esme_address = ? OR ? = '' ORDER BY esme_address, id`, address, address)
}

func (c *Credentials) read(ctx context.Context, where string, args ...any) ([]Credential, error) {
	rows, err := c.store.reads.QueryxContext(ctx, `SELECT `+credentialColumns+` FROM credentials WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	defer rows.Close()
	var all []Credential
	for rows.Next() {
		credential, err := scanCredential(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, credential)
	}
	return all, rows.Err()
}

// CredentialQuery selects a page of credentials, oldest first.
type CredentialQuery struct {
	Accounts    []string // nil: all
	Environment string   // empty: any; the same for the next two
	Kind        string
	Status      string // a key of statusRows
	After       otp.ID // the last of the page before
	Limit       int
	Now         otp.Millis
}

// statusRows are the conditions of a key's states; exactly one is true. ? is the current time.
var statusRows = map[string]string{
	"revoked":  `revoked_at IS NOT NULL`,
	"disabled": `revoked_at IS NULL AND enabled = 0`,
	"expired":  `revoked_at IS NULL AND enabled = 1 AND expires_at <= ?`,
	"rotated":  `revoked_at IS NULL AND enabled = 1 AND (expires_at IS NULL OR expires_at > ?) AND successor IS NOT NULL`,
	"active":   `revoked_at IS NULL AND enabled = 1 AND (expires_at IS NULL OR expires_at > ?) AND successor IS NULL`,
}

// Page reads the page that a query selects.
func (c *Credentials) Page(ctx context.Context, q CredentialQuery) ([]Credential, error) {
	where, args := `id > ?`, []any{q.After[:]}
	if q.Accounts != nil && len(q.Accounts) == 0 {
		return nil, nil
	}
	if q.Accounts != nil {
		list, accounts := in(q.Accounts, func(a string) any { return a })
		where, args = where+` AND esme_address IN `+list, append(args, accounts...)
	}
	if q.Environment != "" {
		where, args = where+` AND environment = ?`, append(args, q.Environment)
	}
	if q.Kind != "" {
		where, args = where+` AND kind = ?`, append(args, q.Kind)
	}
	if q.Status != "" {
		where += ` AND ` + statusRows[q.Status]
		if strings.Contains(statusRows[q.Status], "?") {
			args = append(args, int64(q.Now))
		}
	}
	return c.read(ctx, where+` ORDER BY id LIMIT ?`, append(args, q.Limit)...)
}

func scanCredential(row sqlx.ColScanner) (Credential, error) {
	var c Credential
	var hash, successor []byte
	var permissions, allowed, denied, origins, signing sql.NullString
	var expires, revoked, used, perMinute, burst sql.NullInt64
	err := row.Scan(idScan{&c.ID}, &c.Address, &c.Kind, &c.Name, &c.Environment, &hash, &c.LastFour,
		&permissions, &allowed, &denied, &origins, &perMinute, &burst, &c.Signing, &signing,
		&c.Enabled, &expires, &revoked, &successor, &c.CreatedAt, &c.Version, &used, &c.UsedAddress)
	if err != nil {
		return Credential{}, fmt.Errorf("read credential: %w", err)
	}
	copy(c.Hash[:], hash)
	copy(c.Successor[:], successor)
	c.ExpiresAt, c.RevokedAt, c.UsedAt = otp.Millis(expires.Int64), otp.Millis(revoked.Int64), otp.Millis(used.Int64)
	c.RequestsPerMinute, c.Burst = whole(perMinute), whole(burst)
	// An unreadable list must not become an empty one, which allows everything.
	for _, list := range []struct {
		column string
		text   sql.NullString
		into   *[]string
	}{
		{"permissions", permissions, &c.Permissions}, {"allowed_ips", allowed, &c.AllowedIPs},
		{"denied_ips", denied, &c.DeniedIPs}, {"allowed_origins", origins, &c.AllowedOrigins},
	} {
		if !list.text.Valid || strings.TrimSpace(list.text.String) == "" {
			continue
		}
		if err := strict.Decode([]byte(list.text.String), list.into); err != nil {
			return Credential{}, fmt.Errorf("credential %s: %s is no JSON list of texts: %w", c.ID.Text("key"), list.column, err)
		}
		if *list.into != nil && len(*list.into) == 0 { // whoever wrote it may have meant that nothing is allowed
			return Credential{}, fmt.Errorf("credential %s: %s is an empty list; write NULL where nothing is to be narrowed",
				c.ID.Text("key"), list.column)
		}
	}
	if signing.Valid {
		if c.SigningSecret, err = base64.StdEncoding.DecodeString(signing.String); err != nil {
			c.SigningSecret = []byte(signing.String) // opening it reports what is wrong
		}
	}
	return c, nil
}

func whole(n sql.NullInt64) *int {
	if !n.Valid {
		return nil
	}
	value := int(n.Int64)
	return &value
}

// Insert adds a credential to its account.
func (*Credentials) Insert(tx *Tx, c *Credential) error {
	return insertCredential(tx.ctx, tx.session, c.Address, c)
}

func insertCredential(ctx context.Context, w *session, address string, c *Credential) error {
	var successor driver.Value
	if !c.Successor.IsZero() {
		successor = c.Successor[:]
	}
	return w.exec(ctx, insertText(`INSERT INTO credentials (`+credentialColumns+`) VALUES `, credentialWidth, 1),
		c.ID[:], address, c.Kind, c.Name, string(c.Environment), c.Hash[:], c.LastFour,
		jsonList(c.Permissions), jsonList(c.AllowedIPs), jsonList(c.DeniedIPs), jsonList(c.AllowedOrigins),
		optionalInt(c.RequestsPerMinute), optionalInt(c.Burst), cmp.Or(c.Signing, "off"), c.sealedSecret(),
		bit(c.Enabled), moment(c.ExpiresAt), moment(c.RevokedAt), successor, int64(c.CreatedAt), int64(1), nil, "")
}

func (c *Credential) sealedSecret() driver.Value {
	if c.SigningSecret == nil {
		return nil
	}
	return base64.StdEncoding.EncodeToString(c.SigningSecret)
}

// Update writes the changeable columns of a credential, if its row still has c's version, and raises the version by
// one. If the expiry changes, the notices about the old expiry are reset. It reports false, and changes nothing, if
// the row was changed meanwhile or is revoked.
func (*Credentials) Update(tx *Tx, c *Credential) (bool, error) {
	return tx.changed(`
		UPDATE credentials
		SET name = ?, permissions = ?, allowed_ips = ?, denied_ips = ?, allowed_origins = ?, requests_per_minute = ?,
			burst = ?, signing = ?, signing_secret = ?, enabled = ?,
			noticed = CASE WHEN COALESCE(expires_at, 0) = ? THEN noticed ELSE noticed & ? END,
			expires_at = ?, version = version + 1
		WHERE id = ? AND version = ? AND revoked_at IS NULL`,
		c.Name, jsonList(c.Permissions), jsonList(c.AllowedIPs), jsonList(c.DeniedIPs), jsonList(c.AllowedOrigins),
		optionalInt(c.RequestsPerMinute), optionalInt(c.Burst), cmp.Or(c.Signing, "off"), c.sealedSecret(), bit(c.Enabled),
		int64(c.ExpiresAt), int64(rotationNoticed), moment(c.ExpiresAt), c.ID[:], c.Version)
}

// Rotate adds a successor to the credential id, which then expires at until, or at its own expiry if that is sooner.
// It reports false, and changes nothing, if the credential is unknown, off, revoked or expired at now, or has a
// successor.
func (c *Credentials) Rotate(tx *Tx, id otp.ID, successor *Credential, until, now otp.Millis) (bool, error) {
	rotated, err := tx.changed(`
		UPDATE credentials
		SET successor = ?, expires_at = CASE WHEN expires_at < ? THEN expires_at ELSE ? END, version = version + 1
		WHERE id = ? AND successor IS NULL AND enabled = 1 AND revoked_at IS NULL
			AND (expires_at IS NULL OR expires_at > ?)`,
		successor.ID[:], int64(until), int64(until), id[:], int64(now))
	if err != nil || !rotated {
		return false, err
	}
	return true, c.Insert(tx, successor)
}

// Revoke ends a credential for good. It reports false, and changes nothing, if it is unknown or already revoked.
func (*Credentials) Revoke(tx *Tx, id otp.ID, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE credentials SET revoked_at = ?, version = version + 1 WHERE id = ? AND revoked_at IS NULL`,
		int64(now), id[:])
}

// Replace revokes a credential and adds its successor; see Revoke.
func (c *Credentials) Replace(tx *Tx, id otp.ID, successor *Credential, now otp.Millis) (bool, error) {
	revoked, err := tx.changed(
		`UPDATE credentials SET revoked_at = ?, successor = ?, version = version + 1 WHERE id = ? AND revoked_at IS NULL`,
		int64(now), successor.ID[:], id[:])
	if err != nil || !revoked {
		return false, err
	}
	return true, c.Insert(tx, successor)
}

// TakeNonce uses up a credential's nonce until expires: of any number of callers, on any number of servers, one
// succeeds. ErrTaken means that it was used before. The error is a refusal, Overloaded, if too many writes wait.
func (c *Credentials) TakeNonce(ctx context.Context, credential otp.ID, nonce [16]byte, expires otp.Millis) error {
	if err := c.store.admitsWrite(); err != nil {
		return err
	}
	err := c.store.write(ctx, func(w *session) error {
		return w.exec(ctx, `INSERT INTO nonces (credential_id, nonce, expires_at) VALUES (?, ?, ?)`,
			credential[:], nonce[:], int64(expires))
	})
	if err != nil && c.store.dialect.taken(err) {
		return ErrTaken
	}
	return err
}

// nonceGrace is how long after its expiry a nonce is kept. A server whose clock is behind this one's, by at most a
// second, still accepts requests of that age.
const nonceGrace = otp.Minute

// sweepNonces removes expired nonces, oldest first, a chunk at a time and those of the chunk's last second.
func (s *Store) sweepNonces(ctx context.Context, now otp.Millis) error {
	for {
		var oldest []int64
		err := s.reads.SelectContext(ctx, &oldest, `
			SELECT expires_at FROM nonces
			WHERE expires_at < ?
			ORDER BY expires_at
			LIMIT ?`, int64(now-nonceGrace), sweepChunk)
		if err != nil || len(oldest) == 0 {
			return err
		}
		err = s.write(ctx, func(w *session) error {
			return w.exec(ctx, `DELETE FROM nonces WHERE expires_at <= ?`, oldest[len(oldest)-1])
		})
		if err != nil || len(oldest) < sweepChunk {
			return err
		}
		select {
		case <-s.stop:
			return nil
		default:
		}
	}
}

func jsonList(texts []string) driver.Value {
	if len(texts) == 0 {
		return nil
	}
	encoded, err := json.Marshal(texts)
	if err != nil {
		panic(err) // strings always have JSON
	}
	return string(encoded)
}

func optionalInt(p *int) driver.Value {
	if p == nil {
		return nil
	}
	return int64(*p)
}

// Key returns everything about the credential except its secrets.
func (c *Credential) Key() otp.Key {
	return otp.Key{
		ID: c.ID, Kind: otp.KeyKind(c.Kind), Name: c.Name, LastFour: c.LastFour,
		Permissions: c.Permissions, AllowedOrigins: c.AllowedOrigins, Signing: otp.Signing(c.Signing), ExpiresAt: c.ExpiresAt,
	}
}
