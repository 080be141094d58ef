package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Keys creates, lists, changes and ends credentials. Every change is recorded in its own transaction.
type Keys struct{ *core }

// By is the caller of a method on keys, with their rights.
type By struct {
	Actor otp.Actor
	// Sees reports whether the caller sees an account. A key of another account is answered like one that does not
	// exist. Nil: the caller sees all.
	Sees func(account string) bool
	// Holds are the caller's permissions; the caller cannot give others to a key. Nil: all.
	Holds []string
	// Unproved is the refusal to make, rotate or loosen live keys; nil: the caller may.
	Unproved error
}

// Operator returns the By of the command line, which may do everything.
func Operator() By { return By{Actor: otp.Actor{Kind: "operator"}} }

func (b *By) sees(account string) bool { return b.Sees == nil || b.Sees(account) }

// mayGive refuses permissions that the caller does not have, and live keys if the caller is unproved.
func (b *By) mayGive(row *sql.Credential) error {
	kind := otp.KeyKind(row.Kind)
	for _, permission := range kind.Effective(row.Permissions) {
		if b.Holds != nil && !slices.Contains(b.Holds, permission) {
			return otp.Refuse(otp.Forbidden, fmt.Sprintf(
				"permissions: the key would have %s, which you do not hold; leave it out, or ask an admin", permission))
		}
	}
	if row.Environment == otp.Live {
		return b.Unproved
	}
	return nil
}

// Key is a credential without its secrets.
type Key struct {
	otp.Key

	Account           string
	Environment       otp.Environment
	AllowedIPs        []string
	DeniedIPs         []string
	RequestsPerMinute *int // nil: the account's, else the kind's
	Burst             *int
	Disabled          bool
	CreatedAt         otp.Millis
	RevokedAt         otp.Millis // 0: not revoked
	Successor         otp.ID     // zero: not rotated
	Status            KeyStatus
	Version           int64 // every change increases it

	Use Use // complete from Find and Page, else only the time of last use
}

// KeyID returns the id that a text holds; zero, which no key has, for a text that is not a key's id.
func KeyID(text string) otp.ID {
	id, _ := otp.ParseID("key", text)
	return id
}

// KeyStatus says whether a key is valid, or why it is not.
type KeyStatus string

// The statuses.
const (
	KeyActive   KeyStatus = "active"
	KeyRotated  KeyStatus = "rotated" // has a successor; valid until it expires
	KeyExpired  KeyStatus = "expired"
	KeyRevoked  KeyStatus = "revoked"
	KeyDisabled KeyStatus = "disabled"
)

// KeyStatuses returns all statuses.
func KeyStatuses() []KeyStatus {
	return []KeyStatus{KeyActive, KeyRotated, KeyExpired, KeyRevoked, KeyDisabled}
}

// RotationGrace is how long a rotated key stays valid by default: a day, to roll out the successor.
const RotationGrace = 24 * time.Hour

// Create makes a credential, and returns its secret and, if requests are signed, its signing secret. Neither is stored
// in clear, so they are shown only once. Without n.Account it takes the only account that the caller sees. Refusals:
// Invalid, which names the field; NotFound for the account; AccountExists if the imported key is in use; Forbidden;
// by.Unproved.
func (c Keys) Create(ctx context.Context, by By, n NewKey) (Key, crypto.Secret, crypto.Secret, error) {
	refuse := func(err error) (Key, crypto.Secret, crypto.Secret, error) {
		return Key{}, crypto.Secret{}, crypto.Secret{}, err
	}
	now := time.Now()
	if err := c.settleAccount(ctx, by, &n); err != nil {
		return refuse(err)
	}
	row, secret, signing, err := c.newCredential(n, now)
	if err != nil {
		return refuse(refuseMember(err))
	}
	if err := by.mayGive(&row); err != nil {
		return refuse(err)
	}
	defer c.changed()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		if err := c.store.Credentials.Insert(tx, &row); err != nil {
			return err
		}
		return recordKey(tx, otp.KeyCreated, by.Actor, &row, otp.At(now), described(&row)...)
	})
	if errors.Is(err, sql.ErrTaken) {
		return refuse(otp.Refuse(otp.AccountExists, "the imported key is in use; every credential has a secret of its own"))
	}
	if err != nil {
		return refuse(fmt.Errorf("store the key: %w", err))
	}
	return keyOf(&row, otp.At(now)), secret, signing, nil
}

// settleAccount finds and checks the account of a new key.
func (c Keys) settleAccount(ctx context.Context, by By, n *NewKey) error {
	if n.Account == "" && by.Sees != nil {
		addresses, err := c.store.Accounts.Addresses(ctx)
		if err != nil {
			return err
		}
		addresses = slices.DeleteFunc(addresses, func(a string) bool { return !by.sees(a) })
		if len(addresses) != 1 {
			return &otp.Error{Kind: otp.Invalid, Field: "account", Message: fmt.Sprintf(
				"account: is missing, and you see %d accounts; name one", len(addresses))}
		}
		n.Account = addresses[0]
	}
	if err := c.known(ctx, n.Account); err != nil || n.Account == "" || !by.sees(n.Account) {
		if err == nil || otp.KindOf(err) == otp.NotFound {
			err = otp.Refuse(otp.NotFound, fmt.Sprintf("account: there is no %q in otp_auth_config", n.Account))
		}
		return err
	}
	if owner, err := c.store.Accounts.Find(ctx, n.Account); err == nil {
		n.owner = owner.Name // empty for a broken account
	}
	return nil
}

// refuseMember turns an error about a member's value into a refusal. The error begins with the member's name and its
// place in a list.
func refuseMember(err error) *otp.Error {
	refusal := otp.Refuse(otp.Invalid, err.Error())
	if place, _, found := strings.Cut(refusal.Message, ": "); found {
		field, index, _ := strings.Cut(strings.TrimSuffix(place, "]"), "[")
		if refusal.Field = field; index != "" {
			refusal.Path = "/" + index
		}
	}
	return refusal
}

// List returns an account's credentials, oldest first. Refusal: NotFound.
func (c Keys) List(ctx context.Context, account string) ([]Key, error) {
	if err := c.known(ctx, account); err != nil {
		return nil, err
	}
	rows, err := c.store.Credentials.List(ctx, account)
	if err != nil {
		return nil, err
	}
	return keysOf(rows, otp.At(time.Now())), nil
}

// KeyQuery selects keys. Empty members match all.
type KeyQuery struct {
	Accounts    []string // nil: all
	Environment otp.Environment
	Kind        otp.KeyKind
	Status      KeyStatus
	After       otp.ID // the last key of the previous page
	Limit       int
}

// Page returns the keys that match a query, oldest first, with their use.
func (c Keys) Page(ctx context.Context, q KeyQuery) ([]Key, error) {
	now := otp.At(time.Now())
	rows, err := c.store.Credentials.Page(ctx, sql.CredentialQuery{
		Accounts: q.Accounts, Environment: string(q.Environment), Kind: string(q.Kind), Status: string(q.Status),
		After: q.After, Limit: q.Limit, Now: now,
	})
	if err != nil {
		return nil, err
	}
	keys := keysOf(rows, now)
	return keys, c.fillUses(ctx, keys, now)
}

// Find returns one credential with its use. Refusal: NotFound.
func (c Keys) Find(ctx context.Context, by By, id otp.ID) (Key, error) {
	row, err := c.key(ctx, by, id)
	if err != nil {
		return Key{}, err
	}
	now := otp.At(time.Now())
	keys := []Key{keyOf(&row, now)}
	err = c.fillUses(ctx, keys, now)
	return keys[0], err
}

// Rotate makes a key's successor, with the same settings, new secrets and, if the key expires, the same lifetime. The
// key stays valid for grace, 0 to 90 days, or until its own end if that is sooner. It returns what Create returns.
// Refusals: NotFound; Invalid if grace is out of range, or the key is not valid any more or was rotated before;
// Forbidden; by.Unproved.
func (c Keys) Rotate(ctx context.Context, by By, id otp.ID, grace time.Duration) (Key, crypto.Secret, crypto.Secret,
	error) {
	refuse := func(err error) (Key, crypto.Secret, crypto.Secret, error) {
		return Key{}, crypto.Secret{}, crypto.Secret{}, err
	}
	now := otp.At(time.Now())
	if grace < 0 || grace > maxGrace {
		return refuse(refuseMember(fmt.Errorf("grace: %v is not from 0s to %v", grace, maxGrace)))
	}
	old, err := c.key(ctx, by, id)
	if err == nil {
		err = by.mayGive(&old)
	}
	if err != nil {
		return refuse(err)
	}
	successor := c.successorOf(&old, now)
	if old.ExpiresAt != 0 {
		successor.ExpiresAt = min(now+old.ExpiresAt-old.CreatedAt, otp.LastMoment)
	}
	secret, signing := c.giveSecrets(&successor, "")
	defer c.changed()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		rotated, err := c.store.Credentials.Rotate(tx, id, &successor, now+otp.Millis(grace.Milliseconds()), now)
		if err == nil && !rotated {
			err = errNotDone
		}
		if err != nil {
			return err
		}
		return recordKey(tx, otp.KeyRotated, by.Actor, &old, now, "successor", successor.ID.Text("key"), "grace",
			grace.String())
	})
	if errors.Is(err, errNotDone) {
		return refuse(c.refuseRotation(ctx, id, now))
	}
	if err != nil {
		return refuse(fmt.Errorf("store the key's successor: %w", err))
	}
	return keyOf(&successor, now), secret, signing, nil
}

// successorOf returns a new, unused key with the settings of another.
func (c *core) successorOf(old *sql.Credential, now otp.Millis) sql.Credential {
	s := *old
	s.ID, s.CreatedAt, s.Successor, s.Version, s.UsedAt, s.UsedAddress = sql.NewID(), now, otp.ID{}, 1, 0, ""
	return s
}

// refuseRotation returns the refusal that says why a key was not rotated.
func (c *core) refuseRotation(ctx context.Context, id otp.ID, now otp.Millis) error {
	old, err := c.key(ctx, Operator(), id)
	if err != nil {
		return err
	}
	if !old.Successor.IsZero() {
		return otp.Refuse(otp.Invalid, fmt.Sprintf("id: the key was rotated before; rotate its successor %s",
			old.Successor.Text("key")))
	}
	return otp.Refuse(otp.Invalid, fmt.Sprintf("id: the key is %s and has nothing to hand on; make a new one",
		statusOf(&old, now)))
}

// Revoke ends a key for good, on every server within a second. Its successor stays valid. It does nothing for a key
// that is revoked already. Refusal: NotFound.
func (c Keys) Revoke(ctx context.Context, by By, id otp.ID) error {
	row, err := c.key(ctx, by, id)
	if err != nil || row.RevokedAt != 0 {
		return err
	}
	now := otp.At(time.Now())
	defer c.changed()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		revoked, err := c.store.Credentials.Revoke(tx, id, now)
		if err != nil {
			return err
		}
		if !revoked {
			return errNotDone
		}
		return recordKey(tx, otp.KeyRevoked, by.Actor, &row, now)
	})
	if err != nil && !errors.Is(err, errNotDone) {
		return fmt.Errorf("revoke the key: %w", err)
	}
	return nil
}

// errNotDone means that a guarded write found that the key had changed, and wrote nothing.
var errNotDone = errors.New("the key was changed meanwhile")

// key reads one key. Refusal: NotFound.
func (c *core) key(ctx context.Context, by By, id otp.ID) (sql.Credential, error) {
	if id.IsZero() {
		return sql.Credential{}, otp.Refuse(otp.NotFound, "there is no such key")
	}
	row, err := c.store.Credentials.ByID(ctx, id)
	if errors.Is(err, sql.ErrNotFound) || err == nil && !by.sees(row.Address) {
		return sql.Credential{}, otp.Refuse(otp.NotFound, "there is no key "+id.Text("key"))
	}
	return row, err
}

func keysOf(rows []sql.Credential, now otp.Millis) []Key {
	keys := make([]Key, 0, len(rows))
	for i := range rows {
		keys = append(keys, keyOf(&rows[i], now))
	}
	return keys
}

func keyOf(row *sql.Credential, now otp.Millis) Key {
	return Key{
		Key: row.Key(), Account: row.Address, Environment: row.Environment,
		AllowedIPs: row.AllowedIPs, DeniedIPs: row.DeniedIPs, RequestsPerMinute: row.RequestsPerMinute, Burst: row.Burst,
		Disabled: !row.Enabled, CreatedAt: row.CreatedAt, RevokedAt: row.RevokedAt, Successor: row.Successor,
		Status: statusOf(row, now), Version: row.Version, Use: Use{At: row.UsedAt, Address: row.UsedAddress},
	}
}

func statusOf(row *sql.Credential, now otp.Millis) KeyStatus {
	switch {
	case row.RevokedAt != 0:
		return KeyRevoked
	case !row.Enabled:
		return KeyDisabled
	case row.ExpiresAt != 0 && now >= row.ExpiresAt:
		return KeyExpired
	case !row.Successor.IsZero():
		return KeyRotated
	}
	return KeyActive
}

// recordKey adds a change of a key to the history. details are name, value, name, value; empty values are left out.
func recordKey(tx *sql.Tx, kind otp.ChangeKind, by otp.Actor, row *sql.Credential, at otp.Millis,
	details ...string) error {
	c := otp.Change{ID: sql.NewID(), At: at, Kind: kind, Actor: by, Account: row.Address, Credential: row.ID,
		Details: map[string]string{"key": row.ID.Text("key"), "environment": string(row.Environment)}}
	for i := 0; i+1 < len(details); i += 2 {
		if details[i+1] != "" {
			c.Details[details[i]] = details[i+1]
		}
	}
	return tx.Record(c)
}

// described returns a key's restrictions as text for people: name, value, name, value.
func described(row *sql.Credential) []string {
	number := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	ends, state := "", "on"
	if row.ExpiresAt != 0 {
		ends = row.ExpiresAt.Time().Format(time.RFC3339)
	}
	if !row.Enabled {
		state = "off"
	}
	return []string{
		"name", row.Name, "kind", row.Kind, "environment", string(row.Environment),
		"permissions", strings.Join(row.Permissions, ", "), "allowed_ips", strings.Join(row.AllowedIPs, ", "),
		"denied_ips", strings.Join(row.DeniedIPs, ", "), "allowed_origins", strings.Join(row.AllowedOrigins, ", "),
		"requests_per_minute", number(row.RequestsPerMinute), "burst", number(row.Burst), "signing", row.Signing,
		"expires_at", ends, "state", state,
	}
}
