package admin

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
)

// id returns the id of a credential's owner.
func (d *desk) id(t testing.TB, credential []string) string {
	t.Helper()
	return d.wants(t, 200, "", "GET", "/api/auth/me", "", credential...).member("id")
}

func TestStaff_AStoryFromAnInvitationToRemoval(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711")
	boss := bearer(d.owner(t))
	made := d.wants(t, 201, "", "POST", "/api/people",
		`{"email":"Dev@shop.example","role":"developer","accounts":["4711"]}`, boss...)
	require.Equal(t, "dev@shop.example", made.member("email"))
	require.Equal(t, base+"/console/register#invitation="+made.member("invitation"), made.member("link"))
	gone := d.wants(t, 201, "", "POST", "/api/people", `{"email":"gone@shop.example","role":"auditor"}`, boss...)
	open := d.wants(t, 200, "", "GET", "/api/people/invitations?limit=1", "", boss...)
	require.Equal(t, true, open.members["has_more"])
	require.NotContains(t, open.text, made.member("invitation"), "shown once")
	require.NotEmpty(t, open.header.Get("Link"))
	rest := d.wants(t, 200, "", "GET", "/api/people/invitations?cursor="+open.member("next_cursor"), "", boss...)
	require.Contains(t, rest.text, "gone@shop.example")
	d.wants(t, 204, "", "DELETE", "/api/people/invitations/"+gone.member("id"), "", boss...)
	d.wants(t, 404, "NOT_FOUND", "DELETE", "/api/people/invitations/"+gone.member("id"), "", boss...)

	joined := func(token, email string) reply {
		return d.ask(t, "POST", "/api/auth/register",
			`{"email":"`+email+`","password":"`+another+`","name":"Dev","invitation":"`+token+`"}`)
	}
	require.Equal(t, "REGISTRATION_CLOSED", joined(gone.member("invitation"), "gone@shop.example").member("code"))
	dev := joined(made.member("invitation"), "dev@shop.example")
	require.Equal(t, 201, dev.status, dev.text)
	require.Equal(t, "REGISTRATION_CLOSED", joined(made.member("invitation"), "dev@shop.example").member("code"))

	path := "/api/people/" + dev.members["user"].(map[string]any)["id"].(string)
	seen := d.wants(t, 200, "", "GET", path, "", boss...)
	require.Nil(t, seen.members["disabled_at"])
	tag := seen.header.Get("ETag")
	d.wants(t, 428, "PRECONDITION_REQUIRED", "PATCH", path, `{"role":"auditor"}`, boss...)
	changed := d.wants(t, 200, "", "PATCH", path, `{"role":"auditor","accounts":null,"permissions":["read:keys"]}`,
		append(boss, "If-Match", tag)...)
	require.Nil(t, changed.members["accounts"])
	require.Equal(t, []any{"read:keys"}, changed.members["permissions"])
	d.wants(t, 412, "PRECONDITION_FAILED", "PATCH", path, `{"name":"X"}`, append(boss, "If-Match", tag)...)
	d.wants(t, 412, "PRECONDITION_FAILED", "DELETE", path, "", append(boss, "If-Match", tag)...)
	d.wants(t, 403, "PERMISSION_DENIED", "GET", "/api/people", "", bearer(dev)...)

	d.wants(t, 204, "", "DELETE", path+"/sessions", "", boss...)
	d.wants(t, 401, "AUTH_002", "GET", "/api/auth/me", "", bearer(dev)...)
	link := d.wants(t, 201, "", "POST", path+"/recovery", "", boss...)
	d.wants(t, 204, "", "POST", "/api/auth/recover",
		`{"recovery_token":"`+link.member("recovery_token")+`","password":"`+password+`"}`)
	d.wants(t, 204, "", "DELETE", path+"/mfa", "", boss...)
	again := d.wants(t, 200, "", "POST", "/api/auth/login", `{"email":"dev@shop.example","password":"`+password+`"}`)
	d.wants(t, 204, "", "DELETE", path, "", append(boss, "If-Match",
		d.wants(t, 200, "", "GET", path, "", boss...).header.Get("ETag"))...)
	d.wants(t, 401, "AUTH_002", "GET", "/api/auth/me", "", bearer(again)...)
	d.wants(t, 404, "NOT_FOUND", "GET", path, "", boss...)
}

// Calls that an admin must not make, and calls of an admin of one account about another, change nothing.
func TestStaff_ForeignAndForbiddenThingsChangeNothing(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711", "4712")
	first := d.owner(t)
	boss := bearer(first)
	narrow, dev := d.member(t, "admin", "4711"), d.member(t, "developer", "4711")
	elsewhere := d.member(t, "developer", "4712")
	bossID, devID, otherID := d.id(t, boss), d.id(t, dev), d.id(t, elsewhere)
	wide := d.wants(t, 201, "", "POST", "/api/people", `{"email":"wide@shop.example","role":"admin"}`, boss...)
	list := d.wants(t, 200, "", "GET", "/api/people", "", narrow...)
	require.Len(t, list.members["data"], 2, "themselves and their developer")
	before := d.wants(t, 200, "", "GET", "/api/people", "", boss...).text
	own := d.wants(t, 200, "", "GET", "/api/auth/sessions", "", boss...).members["data"].([]any)[0].(map[string]any)["id"]
	d.wants(t, 200, "", "GET", "/api/auth/sessions/"+own.(string), "", boss...)

	for name, tt := range map[string]struct {
		who                []string
		method, path, body string
		status             int
	}{
		"the owner, seen by one account's admin": {narrow, "GET", "/" + bossID, "", 404},
		"the owner, changed":                     {narrow, "PATCH", "/" + bossID, `{"role":"auditor"}`, 404},
		"the owner, removed":                     {narrow, "DELETE", "/" + bossID, "", 404},
		"the owner, recovered":                   {narrow, "POST", "/" + bossID + "/recovery", "", 404},
		"another account's developer, recovered": {narrow, "POST", "/" + otherID + "/recovery", "", 404},
		"another account's developer, reset":     {narrow, "DELETE", "/" + otherID + "/mfa", "", 404},
		"another account's developer, ended":     {narrow, "DELETE", "/" + otherID + "/sessions", "", 404},
		"an invitation to more":                  {narrow, "DELETE", "/invitations/" + wide.member("id"), "", 404},
		"inviting for all accounts":              {narrow, "POST", "", `{"email":"a@b.example","role":"auditor"}`, 403},
		"inviting for another":                   {narrow, "POST", "", `{"email":"a@b.example","role":"admin","accounts":["4712"]}`, 403},
		"inviting an owner":                      {narrow, "POST", "", `{"email":"a@b.example","role":"owner"}`, 403},
		"giving a developer all accounts":        {narrow, "PATCH", "/" + devID, `{"accounts":null}`, 403},
		"making a developer an owner":            {narrow, "PATCH", "/" + devID, `{"role":"owner","accounts":null}`, 403},
		"a developer inviting":                   {dev, "POST", "", `{"email":"a@b.example","role":"developer"}`, 403},
		"a developer looking":                    {dev, "GET", "", "", 403},
		"recovering oneself":                     {boss, "POST", "/" + bossID + "/recovery", "", 403},
		"resetting one's own factors":            {boss, "DELETE", "/" + bossID + "/mfa", "", 403},
		"the last owner, demoted":                {boss, "PATCH", "/" + bossID, `{"role":"admin"}`, 409},
		"the last owner, switched off":           {boss, "PATCH", "/" + bossID, `{"disabled":true}`, 409},
		"the last owner, removed":                {boss, "DELETE", "/" + bossID, "", 409},
		"a session as person":                    {boss, "GET", "/" + own.(string), "", 404},
		"a person as invitation":                 {boss, "DELETE", "/invitations/" + devID, "", 404},
		"an id in capitals and longer":           {boss, "DELETE", "/" + strings.ToUpper(devID) + "0", "", 404},
		"an unknown role":                        {boss, "PATCH", "/" + devID, `{"role":"root"}`, 400},
		"a null role":                            {boss, "PATCH", "/" + devID, `{"role":null}`, 400},
		"an address of one's choice":             {boss, "PATCH", "/" + devID, `{"email":"x@y.example"}`, 400},
		"a password hash of one's choice":        {boss, "PATCH", "/" + devID, `{"password_hash":"x"}`, 400},
		"an id of one's choice":                  {boss, "POST", "", `{"id":"x","email":"a@b.example","role":"admin"}`, 400},
		"a version of one's choice":              {boss, "PATCH", "/" + devID, `{"version":9}`, 400},
		"accounts that are a text":               {boss, "PATCH", "/" + devID, `{"accounts":"4711"}`, 400},
		"an account that is no number":           {boss, "PATCH", "/" + devID, `{"accounts":["*"]}`, 400},
		"no account":                             {boss, "PATCH", "/" + devID, `{"accounts":[]}`, 400},
		"a permission beyond the role":           {boss, "PATCH", "/" + devID, `{"permissions":["write:owners"]}`, 400},
		"all permissions by a star":              {boss, "PATCH", "/" + devID, `{"permissions":["*"]}`, 400},
		"an address without an @":                {boss, "POST", "", `{"email":"a","role":"auditor"}`, 400},
		"an address that is taken":               {boss, "POST", "", `{"email":"` + ownerEmail + `","role":"admin"}`, 409},
		"no role":                                {boss, "POST", "", `{"email":"a@b.example"}`, 400},
		"a page of none":                         {boss, "GET", "?limit=0", "", 400},
		"a query that is not known":              {boss, "GET", "?name=Olga", "", 400},
		"a name that turns around":               {boss, "PATCH", "/" + devID, `{"name":"a\u202eb"}`, 400},
		"a name that is nothing":                 {boss, "PATCH", "/" + devID, `{"name":""}`, 400},
		"another admin's session, looked at":     {narrow, "GET", "/../auth/sessions/" + own.(string), "", 404},
		"a service account as person":            {boss, "GET", "/svc_00000000000000000000000000", "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			path := strings.Replace("/api/people"+tt.path, "/people/..", "", 1)
			got := d.ask(t, tt.method, path, tt.body, append(tt.who, "If-Match", "*")...)
			require.Equal(t, tt.status, got.status, got.text)
		})
	}
	require.Equal(t, before, d.wants(t, 200, "", "GET", "/api/people", "", boss...).text)
	d.wants(t, 200, "", "GET", "/api/people/invitations", "", boss...)
}

// Of 64 changes of one version through two servers only one is made.
func TestStaff_OneOfManyChangesOfAVersionCountsRace(t *testing.T) {
	folder, ring := t.TempDir(), crypto.NewKeyringText("k1")
	desks := []*desk{newDesk(t, folder, ring), newDesk(t, folder, ring)}
	boss := bearer(desks[0].owner(t))
	path := "/api/people/" + desks[0].id(t, desks[0].member(t, "auditor"))
	for round := range 3 {
		tag := desks[1].wants(t, 200, "", "GET", path, "", boss...).header.Get("ETag")
		var running sync.WaitGroup
		statuses := make([]int, 64)
		for i := range statuses {
			running.Go(func() {
				statuses[i] = desks[i%2].raw("PATCH", path, fmt.Sprintf(`{"name":"N%d-%d"}`, round, i),
					append(boss, "If-Match", tag)...).Code
			})
		}
		running.Wait()
		counts := map[int]int{}
		for _, status := range statuses {
			counts[status]++
		}
		require.Equal(t, map[int]int{200: 1, 412: 63}, counts)
	}
}

// When a person is switched off, gets fewer rights or is removed, their unused invitations end.
func TestStaff_WhatSomebodyGaveEndsWithThem(t *testing.T) {
	for name, change := range map[string]string{"switched off": `{"disabled":true}`, "narrowed": `{"accounts":["4711"]}`,
		"demoted": `{"role":"auditor"}`, "removed": ""} {
		t.Run(name, func(t *testing.T) {
			d := fresh(t)
			d.accounts(t, "4711")
			boss := bearer(d.owner(t))
			admin := d.member(t, "admin")
			path := "/api/people/" + d.id(t, admin)
			made := d.wants(t, 201, "", "POST", "/api/people", `{"email":"friend@shop.example","role":"admin"}`, admin...)
			method := "PATCH"
			if change == "" {
				method = "DELETE"
			}
			require.Less(t, d.ask(t, method, path, change, append(boss, "If-Match", "*")...).status, 300)
			d.wants(t, 403, "REGISTRATION_CLOSED", "POST", "/api/auth/register", `{"email":"friend@shop.example","password":"`+
				another+`","name":"F","invitation":"`+made.member("invitation")+`"}`)
		})
	}
}

func TestServiceAccounts_AreMadeShownAndEnded(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711")
	boss := d.proved(t)
	byKey := d.wants(t, 201, "", "POST", "/api/service-accounts",
		`{"name":"analytics-processor","description":"Reads","permissions":["read:statistics","read:audit"]}`, boss...)
	require.Contains(t, byKey.member("private_key"), "PRIVATE KEY")
	require.Equal(t, "auditor", byKey.member("role"), "the least that has the permissions")
	bySecret := d.wants(t, 201, "", "POST", "/api/service-accounts",
		`{"name":"rotation","role":"developer","accounts":["4711"],"token_endpoint_auth_method":"client_secret_post"}`,
		boss...)
	require.True(t, strings.HasPrefix(bySecret.member("client_secret"), "otps_"))
	list := d.wants(t, 200, "", "GET", "/api/service-accounts", "", boss...)
	var shown struct{ Data []service }
	require.NoError(t, json.Unmarshal([]byte(list.text), &shown))
	require.Len(t, shown.Data, 2)
	require.NotContains(t, list.text, bySecret.member("client_secret"))
	d.wants(t, 204, "", "DELETE", "/api/service-accounts/"+byKey.member("id"), "", boss...)
	d.wants(t, 404, "NOT_FOUND", "DELETE", "/api/service-accounts/"+byKey.member("id"), "", boss...)
	d.wants(t, 403, "REAUTHENTICATION_REQUIRED", "POST", "/api/service-accounts", `{"name":"x","role":"auditor"}`,
		d.member(t, "admin")...) // has no second factor
}
