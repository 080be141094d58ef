package admin

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/sql"
)

// shop makes an account.
func (d *desk) shop(t testing.TB, address string, who []string) {
	t.Helper()
	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"`+address+`","otp_cipher":"none"}`, who...)
}

// stored returns every key's row.
func (d *desk) stored(t testing.TB) []sql.Credential {
	t.Helper()
	rows, err := d.store.Credentials.List(t.Context(), "")
	require.NoError(t, err)
	return rows
}

func TestKeys_AStoryFromMakingToRevoking(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	made := d.wants(t, 201, "", "POST", "/api/keys",
		`{"name":"Production Server","expires_at":"2099-01-08T00:00:00Z","ip_whitelist":["127.0.0.1","::1"]}`, who...)
	require.Regexp(t, `^otpb_live_sk_[0-9A-Za-z]{38}$`, made.member("key"))
	require.Equal(t, "4711", made.member("account"), "the only one")
	require.Equal(t, "Production Server", made.member("name"))
	require.Equal(t, "2099-01-08T00:00:00Z", made.member("expires_at"))
	require.Equal(t, []any{"127.0.0.1", "::1"}, made.members["allowed_ips"])
	require.Equal(t, "otpb_live_sk_", made.member("prefix"))
	require.True(t, strings.HasSuffix(made.member("key"), made.member("last_four")))
	path := "/api/keys/" + made.member("id")

	got := d.wants(t, 200, "", "GET", path, "", who...)
	require.NotContains(t, got.members, "key")
	require.Equal(t, made.header.Get("ETag"), got.header.Get("ETag"))
	for member, want := range map[string]any{"age_days": 0.0, "calls_30d": 0.0, "last_used_at": nil, "last_used_ip": nil,
		"advice": []any{}, "status": "active", "successor": nil, "enabled": true, "permissions": nil, "signing": "off"} {
		require.Equal(t, want, got.members[member], member)
	}

	const change = `{"permissions":["send:otp"],"allowed_ips":null,"signing":"required"}`
	d.wants(t, 428, "PRECONDITION_REQUIRED", "PATCH", path, change, who...)
	tag := append(who, "If-Match", got.header.Get("ETag"))
	changed := d.wants(t, 200, "", "PATCH", path, change, tag...)
	require.Equal(t, []any{"send:otp"}, changed.members["permissions"])
	require.Nil(t, changed.members["allowed_ips"])
	require.Equal(t, "Production Server", changed.member("name"), "what is not named stays")
	require.Contains(t, changed.member("signing_secret"), "otpbsig_")
	d.wants(t, 412, "PRECONDITION_FAILED", "PATCH", path, change, tag...)
	same := d.wants(t, 200, "", "PATCH", path, `{}`, append(who, "If-Match", changed.header.Get("ETag"))...)
	require.Equal(t, changed.header.Get("ETag"), same.header.Get("ETag"))

	next := d.wants(t, 201, "", "POST", path+"/rotate", `{"grace":"1h"}`, who...)
	require.Equal(t, made.member("id"), next.member("predecessor"))
	require.NotEmpty(t, next.member("signing_secret"))
	old := d.wants(t, 200, "", "GET", path, "", who...)
	require.Equal(t, "rotated", old.member("status"))
	require.Equal(t, next.member("id"), old.member("successor"))
	ended := d.wants(t, 201, "", "POST", "/api/keys/"+next.member("id")+"/compromised", `{"ip_allowlist":["::1"]}`, who...)
	require.Equal(t, next.member("id"), ended.member("predecessor"))
	require.NotEmpty(t, ended.member("key"))
	require.Equal(t, "/api/audit?credential="+next.member("id"), ended.member("look_at"))
	require.Equal(t, "revoked", ended.members["compromised"].(map[string]any)["status"])
	d.wants(t, 204, "", "DELETE", path, "", who...)
	d.wants(t, 204, "", "DELETE", path, "", who...)
	require.Equal(t, "revoked", d.wants(t, 200, "", "GET", path, "", who...).member("status"))
	for kind, n := range map[string]int{"key.created": 1, "key.changed": 1, "key.rotated": 1, "key.compromised": 1,
		"key.revoked": 1} {
		require.Equal(t, n, d.recorded(t, kind), kind)
	}
	for _, secret := range []string{made.member("key"), next.member("key"), ended.member("key"),
		changed.member("signing_secret")} {
		require.NotContains(t, d.log.String(), secret)
	}
}

// Of many who report a key at once, one ends it and gets the successor; the others learn that it is ended.
func TestKeys_OneOfManyEndsACompromisedKeyRace(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	for range 5 {
		path := "/api/keys/" + d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4711"}`, who...).member("id")
		var mu sync.Mutex
		var all sync.WaitGroup
		answers := map[int]int{}
		for range 8 {
			all.Go(func() {
				got := d.raw("POST", path+"/compromised", "", who...)
				mu.Lock()
				defer mu.Unlock()
				answers[got.Code]++
			})
		}
		all.Wait()
		require.Equal(t, map[int]int{201: 1, 400: 7}, answers, d.log)
	}
}

func TestKeys_AreListedInPagesAndByWhatTheyAre(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	d.shop(t, "4712", who)
	var ids []string
	for _, body := range []string{`{"account":"4711"}`, `{"account":"4711","environment":"dev","kind":"read_only"}`,
		`{"account":"4712","environment":"test"}`} {
		ids = append(ids, d.wants(t, 201, "", "POST", "/api/keys", body, who...).member("id"))
	}
	d.wants(t, 204, "", "DELETE", "/api/keys/"+ids[2], "", who...)
	list := func(query string, who []string) (found []string, got reply) {
		got = d.wants(t, 200, "", "GET", "/api/keys"+query, "", who...)
		for _, k := range got.members["data"].([]any) {
			found = append(found, k.(map[string]any)["id"].(string))
		}
		return found, got
	}
	for query, want := range map[string][]string{
		"": ids, "?account=4712": ids[2:], "?environment=dev": ids[1:2], "?kind=secret": {ids[0], ids[2]},
		"?status=active": ids[:2], "?status=revoked&environment=test": ids[2:], "?kind=client": nil, "?limit=100": ids,
	} {
		found, got := list(query, who)
		require.Equal(t, want, found, query)
		require.Equal(t, false, got.members["has_more"])
		require.Nil(t, got.members["next_cursor"])
	}
	found, got := list("?limit=2&account=4711", who)
	require.Equal(t, ids[:2], found)
	require.Equal(t, false, got.members["has_more"])
	found, got = list("?limit=1&account=4711", who)
	require.Equal(t, ids[:1], found)
	require.Contains(t, got.header.Get("Link"), "account=4711")
	found, _ = list("?limit=1&account=4711&cursor="+got.member("next_cursor"), who)
	require.Equal(t, ids[1:2], found)

	dev := d.member(t, people.Developer, "4712")
	found, _ = list("", dev)
	require.Equal(t, ids[2:], found, "of their accounts alone")
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/keys?account=4711", "", dev...)
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/keys?account=4799", "", who...)
	for _, query := range []string{"?limit=0", "?limit=101", "?cursor=x", "?cursor=" +
		strings.Replace(ids[0], "key", "per", 1),
		"?status=good", "?environment=prod", "?kind=token", "?page=2", "?kind=secret&kind=client", "?environment="} {
		d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/keys"+query, "", who...)
	}
}

func TestKeys_ARefusalChangesNothing(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	d.shop(t, "4712", who)
	mine := d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4711","environment":"test"}`, who...)
	live := d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4711","permissions":["send:otp"]}`, who...)
	theirs := d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4712","environment":"test"}`, who...)
	debugs := d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4712","permissions":["debug"]}`, who...)
	dev, auditor := d.member(t, people.Developer, "4711"), d.member(t, people.Auditor)
	before, changes := d.stored(t), d.recorded(t, "key.created")
	id := "/api/keys/" + mine.member("id")
	refused := func(status int, code string, who []string, method, path, body string) {
		t.Helper()
		d.wants(t, status, code, method, path, body, append(who, "If-Match", mine.header.Get("ETag"))...)
		require.Equal(t, before, d.stored(t), "%s %s %s", method, path, body)
	}
	for pointer, body := range map[string]string{
		"/ip_whitelist":        `{"account":"4711","allowed_ips":["::1"],"ip_whitelist":["::1"]}`,
		"/ip_allowlist":        `{"account":"4711","ip_allowlist":["::1"],"ip_whitelist":["::1"]}`,
		"/allowed_ips/0":       `{"account":"4711","ip_whitelist":["52.44.123.456","52.44.123.457"]}`,
		"/permissions/0":       `{"account":"4711","permissions":["read:compression"]}`,
		"/account":             `{"name":"which account?"}`,
		"/environment":         `{"account":"4711","environment":"prod"}`,
		"/kind":                `{"account":"4711","kind":"token"}`,
		"/expires_at":          `{"account":"4711","expires_at":"2020-01-08T00:00:00Z"}`,
		"/allowed_origins":     `{"account":"4711","kind":"client"}`,
		"/burst":               `{"account":"4711","burst":0}`,
		"/requests_per_minute": `{"account":"4711","requests_per_minute":"9"}`,
		"/name":                `{"account":"4711","name":null}`,
		"/key":                 `{"account":"4711","key":"otpb_live_sk_of_my_own_choice"}`,
		"/import":              `{"account":"4711","import":"Vx83mQpL0zTt61nB"}`,
		"/created_at":          `{"account":"4711","created_at":"2020-01-08T00:00:00Z"}`,
	} {
		got := d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/keys", body, who...)
		require.Equal(t, pointer, got.members["errors"].([]any)[0].(map[string]any)["pointer"], body)
		require.Equal(t, before, d.stored(t), body)
	}
	for _, body := range []string{`{"kind":"service"}`, `{"environment":"live"}`, `{"account":"4712"}`, `{"id":"x"}`,
		`{"last_four":"aaaa"}`, `{"calls_30d":0}`, `{"permissions":[]}`, `{"name":null}`, `{"enabled":null}`, `[]`, `{"name":"x"`,
		`{"signing":"yes"}`, `{"ip_whitelist":["::1"],"allowed_ips":null}`, `{"denied_ips":["x"]}`} {
		refused(400, "INVALID_REQUEST", who, "PATCH", id, body)
	}
	for _, body := range []string{`{"grace":"x"}`, `{"grace":"-1s"}`, `{"grace":"2161h"}`, `{"grace":24}`, `{"grace":null}`,
		`{"until":"x"}`} {
		refused(400, "INVALID_REQUEST", who, "POST", id+"/rotate", body)
	}
	// An empty list would be no list: everything that the kind may, from everywhere.
	for _, body := range []string{`{"permissions":["debug"]}`, `{"permissions":["x"]}`, `{"allowed_ips":["x"]}`, `{"name":"x"}`,
		`{"permissions":[]}`, `{"allowed_ips":[]}`, `{"ip_allowlist":[]}`, `{"ip_whitelist":[]}`, `{"allowed_ips":[""]}`,
		`{"permissions":[""]}`, `{"permissions":["verify:otp"],"allowed_ips":[]}`, `{"allowed_ips":["::1"],"permissions":[]}`} {
		refused(400, "INVALID_REQUEST", who, "POST", id+"/compromised", body)
	}
	refused(400, "INVALID_REQUEST", who, "POST", "/api/keys/"+debugs.member("id")+"/compromised", `{}`)
	refused(400, "INVALID_REQUEST", who, "DELETE", id, `{"at":"once"}`)
	refused(404, "NOT_FOUND", who, "POST", "/api/keys", `{"account":"4799"}`)
	refused(404, "NOT_FOUND", dev, "POST", "/api/keys", `{"account":"4712"}`)
	strange := []string{theirs.member("id"), strings.Replace(mine.member("id"), "key_", "per_", 1), "x", "key_",
		strings.ToUpper(mine.member("id")), mine.member("id") + "0", "key_00000000000000000000000000"}
	for _, other := range strange {
		path := "/api/keys/" + other
		refused(404, "NOT_FOUND", dev, "GET", path, "")
		refused(404, "NOT_FOUND", dev, "PATCH", path, `{"name":"x"}`)
		refused(404, "NOT_FOUND", dev, "DELETE", path, "")
		refused(404, "NOT_FOUND", dev, "POST", path+"/rotate", `{}`)
		refused(404, "NOT_FOUND", dev, "POST", path+"/compromised", `{}`)
	}
	for _, call := range [][2]string{{"PATCH", ""}, {"DELETE", ""}, {"POST", "/rotate"}, {"POST", "/compromised"}} {
		refused(403, "PERMISSION_DENIED", auditor, call[0], id+call[1], "")
	}
	refused(403, "PERMISSION_DENIED", auditor, "POST", "/api/keys", `{"account":"4711"}`)

	// A person without a second factor may not make live keys, but may end them.
	liveID, tag := "/api/keys/"+live.member("id"), append(dev, "If-Match", live.header.Get("ETag"))
	refused(403, "REAUTHENTICATION_REQUIRED", dev, "POST", "/api/keys", `{"account":"4711"}`)
	refused(403, "REAUTHENTICATION_REQUIRED", dev, "POST", liveID+"/rotate", `{}`)
	refused(403, "REAUTHENTICATION_REQUIRED", dev, "POST", liveID+"/compromised", `{}`)
	d.wants(t, 403, "REAUTHENTICATION_REQUIRED", "PATCH", liveID, `{"permissions":null}`, tag...)
	require.Equal(t, before, d.stored(t))
	d.wants(t, 200, "", "PATCH", liveID, `{"allowed_ips":["::1"]}`, tag...)
	d.wants(t, 204, "", "DELETE", liveID, "", dev...)
	d.wants(t, 201, "", "POST", "/api/keys", `{"account":"4711","environment":"dev"}`, dev...)
	require.Equal(t, changes+1, d.recorded(t, "key.created"))
}

// A moment after the year 9999 cannot be written as JSON: an answer with it would be empty, and with it every list.
func TestKeys_EndInTheYear9999AtLast(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	for _, end := range []string{"9999-12-31T23:59:59-00:01", "9999-12-31T23:59:59-23:59", "9999-12-31T22:00:00-02:01"} {
		d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/keys", `{"expires_at":"`+end+`"}`, who...)
	}
	made := d.wants(t, 201, "", "POST", "/api/keys", `{"expires_at":"9999-12-31T23:59:59Z"}`, who...)
	next := d.wants(t, 201, "", "POST", "/api/keys/"+made.member("id")+"/rotate", `{}`, who...)
	require.NotEmpty(t, next.member("key"))
	require.LessOrEqual(t, next.member("expires_at"), "9999-12-31T23:59:59.999Z")
	require.Len(t, d.wants(t, 200, "", "GET", "/api/keys", "", who...).members["data"], 2)
}

func TestKeysRace_OneOf64ChangesWithOneETag(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	made := d.wants(t, 201, "", "POST", "/api/keys", `{}`, who...)
	var statuses [64]int
	var running sync.WaitGroup
	for i := range statuses {
		running.Go(func() {
			statuses[i] = d.raw("PATCH", "/api/keys/"+made.member("id"), `{"name":"`+strconv.Itoa(i)+`"}`,
				append(who, "If-Match", made.header.Get("ETag"))...).Code
		})
	}
	running.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusPreconditionFailed: 63}, count)
}

func TestKeys_NobodyGivesWhatTheyDoNotHold(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	wide := d.wants(t, 201, "", "POST", "/api/keys", `{"environment":"test"}`, who...)
	issued, err := d.people.Staff.Invite(t.Context(), people.Operator(), "narrow@shop.example", people.Grant{
		Role: people.Developer, Permissions: []string{people.ReadKeys, people.WriteKeys, people.SendCodes}})
	require.NoError(t, err)
	narrow := bearer(d.wants(t, 201, "", "POST", "/api/auth/register",
		`{"email":"narrow@shop.example","password":"`+another+`","name":"N","invitation":"`+issued.Token+`"}`))
	path := "/api/keys/" + wide.member("id")
	for _, permissions := range []string{`null`, `["*"]`, `["send:otp","verify:otp"]`, `["debug"]`} {
		d.wants(t, 403, "PERMISSION_DENIED", "POST", "/api/keys",
			`{"environment":"test","permissions":`+permissions+`}`, narrow...)
	}
	d.wants(t, 403, "PERMISSION_DENIED", "POST", path+"/rotate", `{}`, narrow...)
	d.wants(t, 403, "PERMISSION_DENIED", "POST", path+"/compromised", `{}`, narrow...)
	less := d.wants(t, 200, "", "PATCH", path, `{"permissions":["send:otp"]}`,
		append(narrow, "If-Match", wide.header.Get("ETag"))...)
	d.wants(t, 403, "PERMISSION_DENIED", "PATCH", path, `{"permissions":["send:otp","read:otp"]}`,
		append(narrow, "If-Match", less.header.Get("ETag"))...)
	d.wants(t, 201, "", "POST", path+"/rotate", `{}`, narrow...)
	d.wants(t, 201, "", "POST", "/api/keys", `{"environment":"test","permissions":["send:otp"]}`, narrow...)
}

func TestKeys_ShowHowTheyWereUsed(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	made := d.wants(t, 201, "", "POST", "/api/keys", `{}`, who...)
	id, ok := otp.ParseID("key", made.member("id"))
	require.True(t, ok)
	now := otp.Millis(d.stored(t)[0].CreatedAt)
	require.NoError(t, d.store.Credentials.AddUses(t.Context(), []sql.KeyUse{{
		KeyDay: sql.KeyDay{ID: id, Day: sql.DayOf(now), Calls: 3, Permissions: otp.PermissionBit("send:otp"),
			Network: "192.0.2.0/24"}, At: now, Address: "192.0.2.9",
	}}))
	next := d.wants(t, 201, "", "POST", "/api/keys/"+made.member("id")+"/rotate", `{}`, who...)
	successor, _ := otp.ParseID("key", next.member("id"))
	require.NoError(t, d.store.Credentials.AddUses(t.Context(), []sql.KeyUse{{
		KeyDay: sql.KeyDay{ID: successor, Day: sql.DayOf(now), Calls: 1, Permissions: otp.PermissionBit("send:otp"),
			Network: "192.0.2.0/24"}, At: now, Address: "192.0.2.9",
	}}))
	old := d.wants(t, 200, "", "GET", "/api/keys/"+made.member("id"), "", who...)
	require.Equal(t, 75.0, old.members["old_key_percent"])
	require.Equal(t, 3.0, old.members["calls_30d"])
	require.Equal(t, "192.0.2.9", old.members["last_used_ip"])
	require.NotNil(t, old.members["last_used_at"])
	got := d.wants(t, 200, "", "GET", "/api/keys/"+next.member("id"), "", who...)
	require.Nil(t, got.members["old_key_percent"])
	var codes []string
	for _, a := range got.members["advice"].([]any) {
		one := a.(map[string]any)
		codes = append(codes, one["code"].(string))
		method, rest, _ := strings.Cut(one["remedy"].(string), " ")
		path, body, _ := strings.Cut(rest, " ")
		tag := d.wants(t, 200, "", "GET", path, "", who...).header.Get("ETag")
		d.wants(t, 200, "", method, path, body, append(who, "If-Match", tag)...)
	}
	require.Equal(t, []string{"one_network", "unused_permissions"}, codes)
	require.Empty(t, d.wants(t, 200, "", "GET", "/api/keys/"+next.member("id"), "", who...).members["advice"],
		"the remedies help")
}
