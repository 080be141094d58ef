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

// Keys makes, shows, changes and ends credentials. Every change is recorded in its own transaction.
type Keys struct{ *core }

// By is who asks for something to be done with keys, and how far they may go.
type By struct {
	Actor otp.Actor
	// Sees reports whether an account is among theirs. A key of another is to them like one that does not exist. Nil: all
	// are.
	Sees func(account string) bool
	// Holds are the permissions that they have; nobody gives a key others. Nil: all.
	Holds []string
	// Unproved is why they may not make, rotate or loosen live keys; nil: they may.
	Unproved error
}

// Operator is whoever has a shell on the server.
func Operator() By { return By{Actor: otp.Actor{Kind: "operator"}} }

func (b *By) sees(account string) bool { return b.Sees == nil || b.Sees(account) }

// mayGive refuses what nobody gives who does not hold it, and live keys to who has not proved enough.
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

// Key is a credential as its owner sees it: all but its secrets.
type Key struct {
	otp.Key

	Account           string
	Environment       otp.Environment
	AllowedIPs        []string
	DeniedIPs         []string
	RequestsPerMinute *int // its own
	Burst             *int
	Disabled          bool
	CreatedAt         otp.Millis
	RevokedAt         otp.Millis // 0: not revoked
	Successor         otp.ID     // zero: not rotated
	Status            KeyStatus
	Version           int64 // raised by every change

	Use Use // all of it from Find and Page, else the last time only
}

// KeyStatus says whether a key is good, and why not.
type KeyStatus string

// The statuses.
const (
	KeyActive   KeyStatus = "active"
	KeyRotated  KeyStatus = "rotated" // good until it expires, and has a successor
	KeyExpired  KeyStatus = "expired"
	KeyRevoked  KeyStatus = "revoked"
	KeyDisabled KeyStatus = "disabled"
)

// KeyStatuses lists all.
func KeyStatuses() []KeyStatus {
	return []KeyStatus{KeyActive, KeyRotated, KeyExpired, KeyRevoked, KeyDisabled}
}

// RotationGrace is how long a rotated key stays good where nobody says otherwise: a day, in
// which the successor can be rolled out.
const RotationGrace = 24 * time.Hour

// Create makes a credential, and answers its secret and, where requests are signed, its
// signing secret: both are shown this once and not kept in clear. Without an account it is for the
// only one that the caller sees. Refusals: Invalid naming the field; NotFound for the account;
// AccountExists when the imported key is in use; Forbidden; what By says.
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

// settleAccount finds the account that a key is for.
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
		n.owner = owner.Name // of a broken account, which is known, the name stays unknown
	}
	return nil
}

// refuseMember refuses what one member was to hold: the error begins with its name, and its place in a list.
func refuseMember(err error) error {
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

// KeyQuery asks for keys. Empty members ask for any.
type KeyQuery struct {
	Accounts    []string // nil: all
	Environment otp.Environment
	Kind        otp.KeyKind
	Status      KeyStatus
	After       otp.ID // the last of the page before
	Limit       int
}

// Page returns the keys that a query asks for, oldest first, and how they were used.
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

// Find returns one credential, and how it was used. Refusal: NotFound.
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

// Rotate gives a key a successor with the same settings, secrets of its own and, if it
// expires, as long a life. The key itself stays good for grace, 0 to 90 days, or until its own
// end if that is sooner. It returns what Create returns. Refusals: NotFound; Invalid when
// grace is out of range, or the key is no longer good, or was rotated before; Forbidden; what By says.
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
		successor.ExpiresAt = now + old.ExpiresAt - old.CreatedAt
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

// successorOf is a key with the settings of another, not rotated and never used.
func (c *core) successorOf(old *sql.Credential, now otp.Millis) sql.Credential {
	s := *old
	s.ID, s.CreatedAt, s.Successor, s.Version, s.UsedAt, s.UsedAddress = sql.NewID(), now, otp.ID{}, 1, 0, ""
	return s
}

// refuseRotation says why a key was not rotated.
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

// Revoke ends a key for good, on every server within a second; one that was revoked before
// stays so. A successor stays good. Refusal: NotFound.
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

// errNotDone is a guarded write that found a key as it was not expected; nothing has changed.
var errNotDone = errors.New("the key was changed meanwhile")

// key reads one. Refusal: NotFound.
func (c *core) key(ctx context.Context, by By, id otp.ID) (sql.Credential, error) {
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

// recordKey adds a change of a key to the history: name, value, name, value. What is empty is left out.
func recordKey(tx *sql.Tx, kind otp.ChangeKind, by otp.Actor, row *sql.Credential, at otp.Millis,
	details ...string) error {
	c := otp.Change{ID: sql.NewID(), At: at, Kind: kind, Actor: by, Account: row.Address, Credential: row.ID,
		Details: map[string]string{"key": row.ID.Text("key")}}
	for i := 0; i+1 < len(details); i += 2 {
		if details[i+1] != "" {
			c.Details[details[i]] = details[i+1]
		}
	}
	return tx.Record(c)
}

// described is what a key is bound to, for people to read: name, value, name, value.
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
