package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
	"otpbridge/sql/sqltest"
)

// proved returns the owner's headers, logged in with a second factor.
func (d *desk) proved(t testing.TB) []string {
	t.Helper()
	who := bearer(d.owner(t))
	app := d.wants(t, 201, "", "POST", "/api/auth/mfa/enable", `{}`, who...)
	d.wants(t, 200, "", "POST", "/api/auth/mfa/confirm",
		`{"id":"`+app.member("id")+`","code":"`+shows(t, app.member("secret"), 0)+`"}`, who...)
	return bearer(d.login(t, `,"mfa_code":"`+shows(t, app.member("secret"), 30*time.Second)+`"`))
}

// member returns the headers of a person with a role for accounts, nil for all.
func (d *desk) member(t testing.TB, role people.Role, accounts ...string) []string {
	t.Helper()
	email := string(role) + strings.Join(accounts, "") + "@shop.example"
	issued, err := d.people.Staff.Invite(t.Context(), people.Operator(), email,
		people.Grant{Role: role, Accounts: accounts})
	require.NoError(t, err)
	return bearer(d.wants(t, 201, "", "POST", "/api/auth/register",
		`{"email":"`+email+`","password":"`+another+`","name":"M","invitation":"`+issued.Token+`"}`))
}

// recorded counts the changes of a kind.
func (d *desk) recorded(t testing.TB, kind string) (n int) {
	t.Helper()
	require.NoError(t, d.database(t).QueryRow(`SELECT COUNT(*) FROM changes WHERE kind = ?`, kind).Scan(&n))
	return n
}

// database returns a second connection to the store's database.
func (d *desk) database(t testing.TB) *sqlx.DB {
	t.Helper()
	return sqltest.Connect(t, "sqlite:"+d.file)
}

const shopAccount = `{"esme_address":"4711","name":"Shop","message_profile":"live","make_secrets":true,
	"sms_channels":"https://user:hunter2secret@sms.example.com/send?to={to_digits}&text={text}"}`

func TestAccounts_AStoryFromMakingToDeleting(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	made := d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	secrets := made.members["secrets"].(map[string]any)
	require.Len(t, secrets, 3, "cipher_key, cipher_iv and access_key are shown once")
	require.Equal(t, "active", made.member("state"))
	d.wants(t, 409, "ACCOUNT_EXISTS", "POST", "/api/accounts", shopAccount, who...)

	got := d.wants(t, 200, "", "GET", "/api/accounts/4711", "", who...)
	require.Equal(t, map[string]any{"set": true}, got.members["sms_channels"])
	require.Equal(t, map[string]any{"set": false}, got.members["email_channels"])
	require.Equal(t, map[string]any{"set": true}, got.members["cipher_key"])
	for _, secret := range []string{"hunter2secret", secrets["cipher_key"].(string), secrets["access_key"].(string)} {
		require.NotContains(t, got.text, secret)
	}
	tag := got.header.Get("ETag")
	require.Equal(t, tag, made.header.Get("ETag"))

	const change = `{"otp_ttl_seconds":180,"templates":{"login":"{code} logs you in"},"sms_channels":null}`
	d.wants(t, 428, "PRECONDITION_REQUIRED", "PATCH", "/api/accounts/4711", change, who...)
	changed := d.wants(t, 200, "", "PATCH", "/api/accounts/4711", change, append(who, "If-Match", tag)...)
	require.Equal(t, 180.0, changed.members["otp_ttl_seconds"])
	require.Equal(t, map[string]any{"set": false}, changed.members["sms_channels"])
	require.NotEqual(t, tag, changed.header.Get("ETag"))
	d.wants(t, 412, "PRECONDITION_FAILED", "PATCH", "/api/accounts/4711", change, append(who, "If-Match", tag)...)

	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"12","otp_cipher":"none"}`, who...)
	list := d.wants(t, 200, "", "GET", "/api/accounts?limit=1", "", who...)
	require.Equal(t, "12", list.members["data"].([]any)[0].(map[string]any)["esme_address"])
	list = d.wants(t, 200, "", "GET", "/api/accounts?cursor="+list.member("next_cursor"), "", who...)
	require.Equal(t, "4711", list.members["data"].([]any)[0].(map[string]any)["esme_address"])
	require.Nil(t, list.members["next_cursor"])

	d.wants(t, 400, "INVALID_REQUEST", "DELETE", "/api/accounts/4711", `{"confirm":"4711"}`, who...)
	d.wants(t, 204, "", "DELETE", "/api/accounts/4711", `{"confirm":"Shop"}`, who...)
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/accounts/4711", "", who...)
	d.wants(t, 204, "", "DELETE", "/api/accounts/12", `{"confirm":"12"}`, who...)
	require.NotContains(t, d.log.String(), "hunter2secret")
	require.Equal(t, []int{2, 1, 2}, []int{d.recorded(t, "account.created"), d.recorded(t, "account.changed"),
		d.recorded(t, "account.deleted")})
}

func TestAccounts_ForeignOnesAreNotThere(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"4712","otp_cipher":"none"}`, who...)
	auditor := d.member(t, people.Auditor, "4712")
	d.wants(t, 200, "", "GET", "/api/accounts/4712", "", auditor...)
	foreign := d.wants(t, 404, "NOT_FOUND", "GET", "/api/accounts/4711", "", auditor...)
	none := d.wants(t, 404, "NOT_FOUND", "GET", "/api/accounts/4713", "", auditor...)
	require.Equal(t, foreign.text, none.text)
	require.Len(t, d.wants(t, 200, "", "GET", "/api/accounts", "", auditor...).members["data"], 1)
	d.wants(t, 403, "PERMISSION_DENIED", "PATCH", "/api/accounts/4712", `{"enabled":false}`, auditor...)
	admin := d.member(t, people.Admin, "4712")
	d.wants(t, 403, "REAUTHENTICATION_REQUIRED", "PATCH", "/api/accounts/4712", `{"enabled":false}`,
		append(admin, "If-Match", "*")...)
}

// A value that cannot be written is refused with the member's name, and nothing changes.
func TestAccounts_ChangesAreRefusedByName(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	made := d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	for _, tt := range []struct{ change, pointer string }{
		{`{"otp_length":3}`, "/otp_length"}, {`{"otp_length":"6"}`, "/otp_length"}, {`{"otp_ttl_seconds":null}`, "/otp_ttl_seconds"},
		{`{"esme_address":"4712"}`, "/esme_address"}, {`{"created_at":1}`, "/created_at"}, {`{"access_key":"x"}`, "/access_key"},
		{`{"countries":["in"]}`, "/countries"}, {`{"countries":[]}`, "/countries"}, {`{"sms_enabled":false}`, "/sms_enabled"},
		{`{"cipher_key":"short"}`, "/cipher_key"}, {`{"cipher_iv":"AA=="}`, "/cipher_iv"}, {`{"nothing":1}`, "/nothing"},
		{`{"sms_channels":"ftp://x"}`, "/sms_channels"}, {`{"sms_template":"no code"}`, "/sms_template"},
		{`{"templates":{"a":"{nope}"}}`, "/templates"}, {`{"cors_allowed_origins":["*"]}`, "/cors_allowed_origins"},
		{`{"message_profile":"other"}`, "/message_profile"}, {`{"cipher_key":{"set":true}}`, "/cipher_key"},
		{`{"jwt_issuers":[{"issuer":"x"}]}`, "/jwt_issuers"}, {`{"prices":{"XXX":1}}`, "/prices"}, {`{"name":"a\u202eb"}`, "/name"},
		{`{"cipher_key":""}`, "/cipher_key"}, {`{"cipher_iv":""}`, "/cipher_iv"}, {`{"cipher_key":null}`, "/cipher_key"},
		{`{"name":"x","cipher_key":""}`, "/cipher_key"}, {`{"cipher_key":" "}`, "/cipher_key"}, {`{"cipher_key":"~"}`, "/cipher_key"},
		{`{}`, ""},
	} {
		got := d.wants(t, 400, "INVALID_REQUEST", "PATCH", "/api/accounts/4711", tt.change, append(who, "If-Match", "*")...)
		if tt.pointer != "" {
			var told struct{ Errors []struct{ Pointer string } }
			require.NoError(t, json.Unmarshal([]byte(got.text), &told))
			require.NotEmpty(t, told.Errors, tt.change+got.text)
			require.Equal(t, tt.pointer, told.Errors[0].Pointer, tt.change+got.text)
		}
	}
	require.Equal(t, made.header.Get("ETag"), d.wants(t, 200, "", "GET", "/api/accounts/4711", "",
		who...).header.Get("ETag"))
}

func TestAccounts_AFaultOfAnAccessKeyIsNamedByItsPlace(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	for keys, pointer := range map[string]string{
		`"access_key":"short"`: "/access_key",
		`"access_keys":[{"key":"a4VbX0q1LmZ8sT3uR6yC"},{"key":"short"}]`:                           "/access_keys/1/key",
		`"access_keys":[{"key":"a4VbX0q1LmZ8sT3uR6yC","allowed_ips":["192.0.2.1","192.0.2.256"]}]`: "/access_keys/0/allowed_ips/1",
		`"access_keys":[{"key":"a4VbX0q1LmZ8sT3uR6yC","requests_per_minute":0}]`:                   "/access_keys/0/requests_per_minute",
	} {
		got := d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/accounts",
			`{"esme_address":"4711","otp_cipher":"none",`+keys+`}`, who...)
		require.NotNil(t, got.members["errors"], got.text)
		require.Equal(t, pointer, got.members["errors"].([]any)[0].(map[string]any)["pointer"], got.text)
	}
}

// A person who could see a deleted account must not see a later account with its address.
func TestAccounts_AnAddressIsFreeOnceNobodyHoldsItsFormerAccount(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	again := func(status int, code, named string) {
		t.Helper()
		refused := d.wants(t, status, code, "POST", "/api/accounts", `{"esme_address":"4712","make_secrets":true}`, who...)
		require.Contains(t, refused.text, named)
	}
	for _, address := range []string{"4711", "4712"} {
		d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"`+address+`","make_secrets":true}`, who...)
	}
	member := d.member(t, people.Developer, "4711", "4712")
	me := d.wants(t, 200, "", "GET", "/api/auth/me", "", member...).member("id")
	service := d.wants(t, 201, "", "POST", "/api/service-accounts", `{"name":"deploys","role":"developer",
		"accounts":["4712"]}`, who...)
	late := d.wants(t, 201, "", "POST", "/api/people", `{"email":"late@shop.example","role":"auditor","accounts":["4712"]}`, who...)
	d.wants(t, 204, "", "DELETE", "/api/accounts/4712", `{"confirm":"4712"}`, who...)

	again(409, "ACCOUNT_EXISTS", "developer47114712@shop.example")
	tag := d.wants(t, 200, "", "GET", "/api/people/"+me, "", who...).header.Get("ETag")
	d.wants(t, 200, "", "PATCH", "/api/people/"+me, `{"accounts":["4711"]}`, append(who, "If-Match", tag)...)
	again(409, "ACCOUNT_EXISTS", "service account deploys")
	d.wants(t, 204, "", "DELETE", "/api/service-accounts/"+service.member("id"), "", who...)
	again(409, "ACCOUNT_EXISTS", "late@shop.example")
	d.wants(t, 204, "", "DELETE", "/api/people/invitations/"+late.member("id"), "", who...)
	again(201, "", "4712")
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/accounts/4712", "", bearer(d.wants(t, 200, "", "POST", "/api/auth/login",
		`{"email":"developer47114712@shop.example","password":"`+another+`"}`))...)
}
