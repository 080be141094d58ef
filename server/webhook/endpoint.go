package webhook

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

const (
	// maxEndpoints is how many endpoints an account may have. Each event writes a row for each endpoint.
	maxEndpoints = 16
	// overlap is how long a replaced secret still signs beside the new one.
	overlap = 24 * otp.Hour
)

// The headers that can carry the hexadecimal signature: ours, and those of two services that OTPBridge replaces.
var signatureHeaders = []string{"X-OTP-Signature", "X-KOTP-Signature", "X-Kindly-Signature"}

// The ways to show recipients.
const (
	masked = "masked"
	full   = "full"
)

// The reasons why an endpoint is off.
const (
	offDisabled = "disabled" // by a person or a key
	offGone     = "gone"     // it answered 410
	offPaused   = "paused"   // deliveries failed for days
)

// Wish has the members of an endpoint to set. A nil member keeps its value, or gets its default.
type Wish struct {
	URL             *string  `json:"url" null:"refused"`
	Events          []string `json:"events" null:"refused"`
	Description     *string  `json:"description" null:"refused"`
	Enabled         *bool    `json:"enabled" null:"refused"`
	Format          *string  `json:"format" null:"refused"`
	SignatureHeader *string  `json:"signature_header" null:"refused"`
	Recipients      *string  `json:"recipients" null:"refused"`
}

// Asker is the caller and the account that the call is about.
type Asker struct {
	Account string
	Actor   otp.Actor
	// Environment limits the endpoints and events that the caller sees; empty for all environments.
	Environment otp.Environment
	// Full reports whether the caller may have whole recipients sent.
	Full bool
}

// Endpoint is an endpoint as the API shows it.
type Endpoint struct {
	ID              string     `json:"id"`
	Account         string     `json:"account"`
	Environment     string     `json:"environment,omitempty"` // missing: all
	URL             string     `json:"url"`
	Events          []string   `json:"events"`
	Description     string     `json:"description"`
	Enabled         bool       `json:"enabled"`
	Off             string     `json:"off_reason,omitempty"` // disabled, gone or paused
	Format          string     `json:"format"`
	SignatureHeader string     `json:"signature_header"`
	Recipients      string     `json:"recipients"`
	Secret          string     `json:"secret,omitempty"` // only in the answer of the call that made it
	OldSecretUntil  *time.Time `json:"old_secret_until,omitempty"`
	FailingSince    *time.Time `json:"failing_since,omitempty"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`

	Version int64 `json:"-"` // for its entity tag
}

func shown(e *sql.Endpoint, secret string) Endpoint {
	return Endpoint{
		ID: e.ID.Text(EndpointPrefix), Account: e.Account, Environment: e.Environment, URL: e.URL, Events: e.Events,
		Description: e.Description, Enabled: e.Off == "", Off: e.Off, Format: e.Format,
		SignatureHeader: e.SignatureHeader, Recipients: e.Recipients, Secret: secret,
		OldSecretUntil: timeOf(e.OldUntil), FailingSince: timeOf(e.FailingSince),
		CreatedAt: e.CreatedAt.Time(), UpdatedAt: e.UpdatedAt.Time(), Version: e.Version,
	}
}

func timeOf(at otp.Millis) *time.Time {
	if at == 0 {
		return nil
	}
	t := at.Time()
	return &t
}

// EndpointPrefix and DeliveryPrefix are the prefixes of ids.
const (
	EndpointPrefix = "whk"
	DeliveryPrefix = "wdl"
)

// ErrNone is the refusal for an endpoint or delivery that does not exist in the account.
var ErrNone = otp.Refuse(otp.NotFound, "there is no such webhook or delivery")

// Create makes an endpoint, and returns its secret, which is not shown again. id is zero for a new one; a caller that
// may repeat the call passes the same id. Refusals: Invalid, Forbidden, NotFound for an account that does not exist.
func (w *Webhooks) Create(ctx context.Context, by Asker, id otp.ID, wish Wish) (Endpoint, error) {
	if id.IsZero() {
		id = sql.NewID()
	}
	if by.Environment != "" && !slices.Contains(otp.Environments(), by.Environment) {
		return Endpoint{}, otp.RefuseField("environment", "must be live, test or dev; leave it out for all")
	}
	now := otp.At(time.Now())
	secret := newSecret()
	e := sql.Endpoint{ID: id, Account: by.Account, Environment: string(by.Environment), Events: []string{"*"},
		Format: "json", SignatureHeader: signatureHeaders[0], Recipients: masked, Version: 1, CreatedAt: now, UpdatedAt: now,
		Secret: w.Vault.Keyring.Seal(vault.WebhookSecret(id), []byte(secret))}
	if wish.URL == nil {
		return Endpoint{}, otp.RefuseField("url", "is missing")
	}
	if err := w.grant(&e, by, wish, now); err != nil {
		return Endpoint{}, err
	}
	err := w.Store.Change(ctx, func(tx *sql.Tx) error {
		broken := (*sql.BrokenRow)(nil)
		if _, err := w.Store.Accounts.Lock(tx, by.Account); errors.Is(err, sql.ErrNotFound) {
			return otp.Refuse(otp.NotFound, "there is no such account")
		} else if err != nil && !errors.As(err, &broken) {
			return err
		}
		n, err := w.Store.Webhooks.Count(tx, by.Account)
		if err != nil {
			return err
		}
		if n >= maxEndpoints {
			return otp.RefuseField("url", "is one too many: the account has "+strconv.Itoa(n)+" webhooks, which is as many as "+
				"it can have; remove one")
		}
		if err := w.Store.Webhooks.Insert(tx, e); err != nil {
			return err
		}
		change := by.change(otp.WebhookCreated, &e, now)
		if e.Recipients == full {
			change.Details["recipients"] = full
		}
		return tx.Record(change)
	})
	if err != nil {
		return Endpoint{}, err
	}
	return shown(&e, secret), nil
}

func (a Asker) change(kind otp.ChangeKind, e *sql.Endpoint, now otp.Millis) otp.Change {
	return otp.Change{ID: sql.NewID(), At: now, Kind: kind, Actor: a.Actor, Account: a.Account,
		Details: map[string]string{"webhook": e.ID.Text(EndpointPrefix)}}
}

// newSecret returns a random secret in the form of Standard Webhooks.
func newSecret() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never returns an error; crypto/rand ends the process instead
	return "whsec_" + base64.StdEncoding.EncodeToString(raw)
}

// grant applies a wish to an endpoint, if the caller may.
func (w *Webhooks) grant(e *sql.Endpoint, by Asker, wish Wish, now otp.Millis) error {
	if wish.URL != nil {
		if err := w.Guard.Check(*wish.URL); err != nil {
			return otp.RefuseField("url", err.Error())
		}
		// A new URL would get the whole recipients, so it needs the same right.
		if e.Recipients == full && *wish.URL != e.URL && !by.Full {
			return errFull
		}
		e.URL = *wish.URL
	}
	if wish.Events != nil {
		if err := checkEvents(wish.Events); err != nil {
			return err
		}
		e.Events = wish.Events
	}
	if wish.Description != nil {
		if utf8.RuneCountInString(*wish.Description) > 1000 {
			return otp.RefuseField("description", "must be at most 1000 characters")
		}
		if err := otp.CheckText(*wish.Description); err != nil {
			return otp.RefuseField("description", err.Error())
		}
		e.Description = *wish.Description
	}
	for _, choice := range []struct {
		name   string
		wished *string
		field  *string
		known  []string
	}{
		{"format", wish.Format, &e.Format, []string{"json"}},
		{"signature_header", wish.SignatureHeader, &e.SignatureHeader, signatureHeaders},
		{"recipients", wish.Recipients, &e.Recipients, []string{masked, full}},
	} {
		switch {
		case choice.wished == nil:
			continue
		case !slices.Contains(choice.known, *choice.wished):
			return otp.RefuseField(choice.name, "must be one of "+strings.Join(choice.known, ", "))
		case *choice.wished == full && e.Recipients != full && !by.Full:
			return errFull
		}
		*choice.field = *choice.wished
	}
	if wish.Enabled != nil && *wish.Enabled != (e.Off == "") {
		e.Off, e.OffAt, e.FailingSince = "", 0, 0
		if !*wish.Enabled {
			e.Off, e.OffAt = offDisabled, now
		}
	}
	return nil
}

var errFull = otp.Refuse(otp.Forbidden, "whole recipients may be sent by a person with the permission recipients:full "+
	"only; leave recipients at masked, or ask one")

func checkEvents(events []string) error {
	types := otp.NoticeTypes()
	known := func(name string) bool { return name == "*" || slices.Contains(types, otp.NoticeType(name)) }
	for i, name := range events {
		switch {
		case !known(name):
			refusal := otp.RefuseField("events", "must be *, or some of "+otp.Joined(types))
			refusal.Path = "/" + strconv.Itoa(i)
			return refusal
		case slices.Contains(events[:i], name):
			return otp.RefuseField("events", "lists one twice")
		}
	}
	if len(events) == 0 {
		return otp.RefuseField("events", `must list at least one; ["*"] is all`)
	}
	return nil
}

// List returns the endpoints of accounts, oldest first: those that are told of an environment, or all if of is empty.
func (w *Webhooks) List(ctx context.Context, of otp.Environment, accounts ...string) (all []Endpoint, err error) {
	found, err := w.Store.Webhooks.List(ctx, accounts...)
	for i := range found {
		if (Asker{Environment: of}).sees(&found[i]) {
			all = append(all, shown(&found[i], ""))
		}
	}
	return all, err
}

func (a Asker) sees(e *sql.Endpoint) bool {
	return a.Environment == "" || e.Environment == string(a.Environment)
}

// Find returns one endpoint. Refusal: NotFound.
func (w *Webhooks) Find(ctx context.Context, by Asker, id string) (Endpoint, error) {
	e, err := w.find(ctx, by, id)
	if err != nil {
		return Endpoint{}, err
	}
	return shown(&e, ""), nil
}

func (w *Webhooks) find(ctx context.Context, by Asker, text string) (e sql.Endpoint, err error) {
	id, ok := otp.ParseID(EndpointPrefix, text)
	if !ok {
		return e, ErrNone
	}
	e, err = w.Store.Webhooks.ByID(ctx, by.Account, id)
	if errors.Is(err, sql.ErrNotFound) || err == nil && !by.sees(&e) {
		err = ErrNone
	}
	return e, err
}

// AccountOf returns the account of an endpoint. Refusal: NotFound.
func (w *Webhooks) AccountOf(ctx context.Context, text string) (string, error) {
	id, ok := otp.ParseID(EndpointPrefix, text)
	if !ok {
		return "", ErrNone
	}
	account, err := w.Store.Webhooks.AccountOf(ctx, id)
	if errors.Is(err, sql.ErrNotFound) {
		err = ErrNone
	}
	return account, err
}

// secrets returns the secrets that sign at now, the newest first.
func (w *Webhooks) secrets(e *sql.Endpoint, now otp.Millis) (texts []string, err error) {
	sealed := [][]byte{e.Secret}
	if e.OldSecret != nil && now < e.OldUntil {
		sealed = append(sealed, e.OldSecret)
	}
	for _, s := range sealed {
		text, err := w.Vault.Keyring.Open(vault.WebhookSecret(e.ID), s)
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(text))
	}
	return texts, nil
}
