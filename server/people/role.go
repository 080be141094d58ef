package people

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Role is a set of permissions. A grant's own list can narrow it.
type Role string

// The roles.
const (
	Owner     Role = "owner"     // everything, also managing owners
	Admin     Role = "admin"     // everything but managing owners
	Developer Role = "developer" // keys, webhooks, sending and verifying
	Support   Role = "support"   // helps people who are locked out; sees masked recipients
	Auditor   Role = "auditor"   // reads the records, and changes nothing
)

// Roles returns every role, the most powerful first.
func Roles() []Role { return []Role{Owner, Admin, Developer, Support, Auditor} }

// The permissions. API keys can have those ending in :otp too.
const (
	SendCodes   = "send:otp"
	VerifyCodes = "verify:otp"
	ResendCodes = "resend:otp"
	CancelCodes = "cancel:otp"
	ReadCodes   = "read:otp" // the state of a challenge; never its code
	Debug       = "debug"

	ReadAccounts   = "read:accounts"
	WriteAccounts  = "write:accounts"
	ReadKeys       = "read:keys"
	WriteKeys      = "write:keys"
	ReadRecipients = "read:recipients"  // masked
	FullRecipients = "recipients:full"  // unmasked
	Unlock         = "write:recipients" // lift a recipient's lock
	WriteTests     = "write:test_recipients"
	ReadGuards     = "read:guards" // stopped prefixes and spend
	WriteGuards    = "write:guards"
	ReadWebhooks   = "read:webhooks"
	WriteWebhooks  = "write:webhooks"
	ReadServices   = "read:service_accounts"
	WriteServices  = "write:service_accounts"
	ReadPeople     = "read:people"
	WritePeople    = "write:people"
	WriteOwners    = "write:owners"
	ReadAudit      = "read:audit"
	ReadStatistics = "read:statistics"
	ReadAlerts     = "read:alerts"
	WriteAlerts    = "write:alerts"
	ReadPrivacy    = "read:privacy"  // the report of kept data, and the ledger of erasures
	WritePrivacy   = "write:privacy" // export and erase a person's data
)

// granted has the permissions of each role. The columns are in the order of Roles.
var granted = map[string][5]bool{
	//               owner  admin  developer support auditor
	SendCodes:      {true, true, true, false, false},
	VerifyCodes:    {true, true, true, false, false},
	ResendCodes:    {true, true, true, false, false},
	CancelCodes:    {true, true, true, false, false},
	ReadCodes:      {true, true, true, true, true},
	Debug:          {true, true, true, false, false},
	ReadAccounts:   {true, true, true, true, true},
	WriteAccounts:  {true, true, false, false, false},
	ReadKeys:       {true, true, true, false, true},
	WriteKeys:      {true, true, true, false, false},
	ReadRecipients: {true, true, false, true, false},
	FullRecipients: {true, true, false, false, false},
	Unlock:         {true, true, false, true, false},
	WriteTests:     {true, true, false, false, false},
	ReadGuards:     {true, true, true, true, true},
	WriteGuards:    {true, true, false, false, false},
	ReadWebhooks:   {true, true, true, false, true},
	WriteWebhooks:  {true, true, true, false, false},
	ReadServices:   {true, true, true, false, true},
	WriteServices:  {true, true, false, false, false},
	ReadPeople:     {true, true, false, false, true},
	WritePeople:    {true, true, false, false, false},
	WriteOwners:    {true, false, false, false, false},
	ReadAudit:      {true, true, false, false, true},
	ReadStatistics: {true, true, true, true, true},
	ReadAlerts:     {true, true, true, true, true},
	WriteAlerts:    {true, true, false, true, false},
	ReadPrivacy:    {true, true, false, false, true},
	WritePrivacy:   {true, true, false, false, false},
}

// Permissions returns every permission, sorted.
func Permissions() []string {
	return slices.Sorted(maps.Keys(granted))
}

// Permissions returns a role's permissions, sorted; none for a role that does not exist.
func (r Role) Permissions() []string {
	column := slices.Index(Roles(), r)
	var all []string
	for _, permission := range Permissions() {
		if column >= 0 && granted[permission][column] {
			all = append(all, permission)
		}
	}
	return all
}

// leastRole returns the role with the fewest permissions that has all of a list. It never returns Owner, and returns
// Admin if no role has them all.
func leastRole(permissions []string) Role {
	for _, r := range slices.Backward(Roles()) {
		held := r.Permissions()
		if !slices.ContainsFunc(permissions, func(p string) bool { return !slices.Contains(held, p) }) && r != Owner {
			return r
		}
	}
	return Admin
}

// Grant is the role, accounts and permissions of a person, an invitation or a service account.
type Grant struct {
	Role        Role
	Accounts    []string // addresses; nil for all, future ones included
	Permissions []string // a narrower list; nil for all of the role
}

// permissions returns the effective permissions of a grant.
func (g Grant) permissions() []string {
	all := g.Role.Permissions()
	if g.Permissions == nil {
		return all
	}
	return slices.DeleteFunc(all, func(p string) bool { return !slices.Contains(g.Permissions, p) })
}

// within reports whether the other grant allows everything that g does.
func (g Grant) within(other Grant) bool {
	if other.Accounts != nil {
		if g.Accounts == nil || slices.ContainsFunc(g.Accounts,
			func(a string) bool { return !slices.Contains(other.Accounts, a) }) {
			return false
		}
	}
	held := other.permissions()
	return !slices.ContainsFunc(g.permissions(), func(p string) bool { return !slices.Contains(held, p) })
}

// Check refuses an invalid grant. The refusal names the field and the remedy. It does not check that the accounts
// exist; see exist.
func (g Grant) Check() error {
	switch {
	case !slices.Contains(Roles(), g.Role):
		return otp.RefuseField("role", "must be one of "+otp.Joined(Roles()))
	case g.Role == Owner && (g.Accounts != nil || g.Permissions != nil):
		return otp.RefuseField("role", "owner holds for all accounts and permissions; leave accounts and permissions out, "+
			"or choose admin")
	case g.Accounts != nil && len(g.Accounts) == 0:
		return otp.RefuseField("accounts", "must name an account; leave it out for all accounts")
	}
	for _, account := range g.Accounts {
		if len(account) == 0 || len(account) > 15 || strings.Trim(account, "0123456789") != "" {
			return otp.RefuseField("accounts", "must be a list of esme_address values, each 1 to 15 digits")
		}
	}
	held := g.Role.Permissions()
	for _, permission := range g.Permissions {
		if !slices.Contains(held, permission) {
			return otp.RefuseField("permissions", "can narrow the role only; "+string(g.Role)+" has "+strings.Join(held, ", "))
		}
	}
	return nil
}

// exist refuses a list with an account that does not exist: a typing error would otherwise grant a future account with
// that address. Call it only after checking that the giver sees all accounts of the list, so that it does not reveal
// which others exist. Refusal: Invalid.
func exist(ctx context.Context, store *sql.Store, accounts []string) error {
	if accounts == nil {
		return nil
	}
	known, err := store.Accounts.Addresses(ctx)
	if err != nil {
		return err
	}
	for i, account := range accounts {
		if !slices.Contains(known, account) {
			refusal := otp.RefuseField("accounts", "names "+account+", which does not exist; make the account first, or take "+
				"it from the list")
			refusal.Path = "/" + strconv.Itoa(i)
			return refusal
		}
	}
	return nil
}
