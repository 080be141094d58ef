package sql

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

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

var credentials = table[Credential]{"credentials", func(c *Credential) []column {
	return []column{
		{"id", &c.ID}, {"esme_address", &c.Address}, {"kind", &c.Kind}, {"name", &c.Name},
		{"environment", (*string)(&c.Environment)}, {"hash", &c.Hash}, {"last_four", &c.LastFour},
		{"permissions", narrowing{c, &c.Permissions}}, {"allowed_ips", narrowing{c, &c.AllowedIPs}},
		{"denied_ips", narrowing{c, &c.DeniedIPs}}, {"allowed_origins", narrowing{c, &c.AllowedOrigins}},
		{"requests_per_minute", &c.RequestsPerMinute}, {"burst", &c.Burst}, {"signing", &c.Signing},
		{"signing_secret", sealedText{&c.SigningSecret}}, {"enabled", &c.Enabled}, {"expires_at", &c.ExpiresAt},
		{"revoked_at", &c.RevokedAt}, {"successor", &c.Successor}, {"created_at", (*int64)(&c.CreatedAt)},
		{"version", &c.Version}, {"used_at", &c.UsedAt}, {"used_address", &c.UsedAddress},
	}
}}

// narrowing is a list that narrows what a credential may do; nil narrows nothing.
type narrowing struct {
	of   *Credential
	list *[]string
}

// scan implements cell. An unreadable list must not become an empty one, which allows everything.
func (n narrowing) scan(column string, value any) error {
	*n.list = nil
	text := bytesOf(value)
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if err := strict.Decode(text, n.list); err != nil {
		return fmt.Errorf("credential %s: %s is no JSON list of texts: %w", n.of.ID.Text("key"), column, err)
	}
	if *n.list != nil && len(*n.list) == 0 { // whoever wrote it may have meant that nothing is allowed
		return fmt.Errorf("credential %s: %s is an empty list; write NULL where nothing is to be narrowed",
			n.of.ID.Text("key"), column)
	}
	return nil
}

func (n narrowing) value() driver.Value { return jsonList(*n.list) }

// sealedText is sealed bytes that are stored as base64, like those of accounts; see sealed.
type sealedText struct{ sealed *[]byte }

// scan implements cell. Opening a value that is not base64 reports what is wrong.
func (s sealedText) scan(_ string, value any) (err error) {
	text := bytesOf(value)
	if *s.sealed = nil; text == nil {
		return nil
	}
	if *s.sealed, err = base64.StdEncoding.DecodeString(string(text)); err != nil {
		*s.sealed = append([]byte(nil), text...)
	}
	return nil
}

func (s sealedText) value() driver.Value {
	if *s.sealed == nil {
		return nil
	}
	return base64.StdEncoding.EncodeToString(*s.sealed)
}

// ByHash finds a credential by the hash of its secret.
func (c *Credentials) ByHash(ctx context.Context, hash [32]byte) (Credential, error) {
	return credentials.one(ctx, c.store, `hash = ?`, hash[:])
}

// ByID finds a credential by its id.
func (c *Credentials) ByID(ctx context.Context, id otp.ID) (Credential, error) {
	return credentials.one(ctx, c.store, `id = ?`, id[:])
}

// List returns the credentials of an account, oldest first; of every account for "".
func (c *Credentials) List(ctx context.Context, address string) ([]Credential, error) {
	return credentials.find(ctx, c.store, `esme_address = ? OR ? = '' ORDER BY esme_address, id`, address, address)
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
	return credentials.find(ctx, c.store, where+` ORDER BY id LIMIT ?`, append(args, q.Limit)...)
}

// Insert adds a credential to its account.
func (*Credentials) Insert(tx *Tx, c *Credential) error {
	row := *c
	row.Signing, row.Version, row.UsedAt, row.UsedAddress = cmp.Or(c.Signing, "off"), 1, 0, ""
	return credentials.insert(tx.ctx, tx, &row)
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
		optionalInt(c.RequestsPerMinute), optionalInt(c.Burst), cmp.Or(c.Signing, "off"),
		sealedText{&c.SigningSecret}.value(), bit(c.Enabled), int64(c.ExpiresAt), int64(rotationNoticed),
		moment(c.ExpiresAt), c.ID[:], c.Version)
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
	err := c.store.exec(ctx, `INSERT INTO nonces (credential_id, nonce, expires_at) VALUES (?, ?, ?)`,
		credential[:], nonce[:], int64(expires))
	if err != nil && c.store.dialect.taken(err) {
		return ErrTaken
	}
	return err
}

// nonceGrace is how long after its expiry a nonce is kept. A server whose clock is behind this one's, by at most a
// second, still accepts requests of that age.
const nonceGrace = otp.Minute

func jsonList(texts []string) driver.Value {
	if len(texts) == 0 {
		return nil
	}
	return textsJSON(texts)
}

func textsJSON[T []string | map[string]string](texts T) string {
	encoded, err := json.Marshal(texts)
	if err != nil {
		panic(err) // texts always have JSON
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
