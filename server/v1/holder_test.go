package v1

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

// Access tokens of a person and of a service account work at /v1 by their role, and stop at once.
func TestHolders_SendAndVerifyByTheirRole(t *testing.T) {
	h := newHouse(t)
	one, two := h.newClient(t, nil), h.newClient(t, nil)
	boss, err := h.people.Register(t.Context(), people.Registration{Email: "owner@shop.example", Name: "Olga",
		Password: "tandem-marzipan-kayak-41"}, people.Client{Address: netip.MustParseAddr("192.0.2.1")})
	require.NoError(t, err)
	principal, err := h.people.Bearer(t.Context(), boss.AccessToken, people.Client{})
	require.NoError(t, err)
	service := func(grant people.Grant) (string, string) {
		made, secret, err := h.people.Services.Create(t.Context(), principal,
			people.NewService{Name: "bot", Grant: grant, Method: people.BySecret})
		require.NoError(t, err)
		token, err := h.people.Services.Token(t.Context(), people.Proof{Client: made.ID, Secret: string(secret.Bytes())})
		require.NoError(t, err)
		return made.ID, token.Text
	}
	robot, developer := service(people.Grant{Role: people.Developer, Accounts: []string{one.Address}})
	_, auditor := service(people.Grant{Role: people.Auditor, Accounts: []string{one.Address}})
	_, reader := service(people.Grant{Role: people.Developer, Accounts: []string{one.Address, two.Address},
		Permissions: []string{people.ReadCodes}})

	send := func(token string, headers ...string) answer {
		return one.post("/v1/send", sendBody, append([]string{"Authorization", "Bearer " + token}, headers...)...)
	}
	for name, tt := range map[string]struct {
		token   string
		headers []string
		status  int
		code    string
	}{
		"the owner, on an account":  {boss.AccessToken, []string{"X-Account", one.Address}, 201, ""},
		"the owner, on the other":   {boss.AccessToken, []string{"X-Account", two.Address}, 201, ""},
		"the owner, on none":        {boss.AccessToken, nil, 400, "INVALID_REQUEST"},
		"the owner, on what is not": {boss.AccessToken, []string{"X-Account", "999"}, 400, "INVALID_REQUEST"},
		"in dev":                    {boss.AccessToken, []string{"X-Account", one.Address, "X-Environment", "dev"}, 201, ""},
		"in no environment": {boss.AccessToken, []string{"X-Account", one.Address, "X-Environment", "prod"}, 400,
			"INVALID_REQUEST"},
		"a service, on its only account": {developer, nil, 201, ""},
		"a service, on another's":        {developer, []string{"X-Account", two.Address}, 400, "INVALID_REQUEST"},
		"an auditor":                     {auditor, nil, 403, "PERMISSION_DENIED"},
		"one that is narrowed":           {reader, []string{"X-Account", one.Address}, 403, "PERMISSION_DENIED"},
		"a refresh token":                {boss.RefreshToken, []string{"X-Account", one.Address}, 401, "AUTH_004"},
		"a token that was changed":       {boss.AccessToken + "x", []string{"X-Account", one.Address}, 401, "AUTH_004"},
		"a key that names another":       {one.APIKey, []string{"X-Account", two.Address}, 400, "INVALID_REQUEST"},
		"a key that names its own":       {one.APIKey, []string{"X-Account", one.Address}, 201, ""},
		"a key in another environment":   {one.APIKey, []string{"X-Environment", "live"}, 400, "INVALID_REQUEST"},
		"a token and a key":              {boss.AccessToken, []string{"access_key", one.APIKey}, 400, "INVALID_REQUEST"},
	} {
		t.Run(name, func(t *testing.T) {
			got := send(tt.token, tt.headers...)
			require.Equal(t, tt.status, got.status, got.text)
			if tt.code != "" {
				requireProblem(t, got, tt.status, tt.code)
			}
		})
	}

	// Environments and accounts separate sends and idempotency keys.
	again := func(headers ...string) string {
		got := send(boss.AccessToken, append(headers, "Idempotency-Key", "order-41")...)
		require.Equal(t, 201, got.status, got.text)
		return got.json["id"].(string)
	}
	first := again("X-Account", one.Address)
	require.Equal(t, first, again("X-Account", one.Address))
	require.NotEqual(t, first, again("X-Account", two.Address))
	require.NotEqual(t, first, again("X-Account", one.Address, "X-Environment", "dev"))

	require.Equal(t, 201, send(developer).status)
	require.NoError(t, h.people.Services.Revoke(t.Context(), principal, robot))
	requireProblem(t, send(developer), 401, "AUTH_004")
	require.NoError(t, h.people.Logout(t.Context(), principal))
	requireProblem(t, send(boss.AccessToken, "X-Account", one.Address), 401, "AUTH_002")
}

// What a person or service account does with an access token is recorded under their id: nobody could be held to
// account by the id of a key that does not exist.
func TestHolders_AreNamedWhereKeysAre(t *testing.T) {
	h := newHouse(t)
	c := h.newClient(t, nil)
	from := people.Client{Address: netip.MustParseAddr("192.0.2.1")}
	boss, err := h.people.Register(t.Context(), people.Registration{Email: "owner@shop.example", Name: "Olga",
		Password: "tandem-marzipan-kayak-41"}, from)
	require.NoError(t, err)
	who, err := h.people.Bearer(t.Context(), boss.AccessToken, from)
	require.NoError(t, err)
	as := []string{"Authorization", "Bearer " + boss.AccessToken, "X-Account", c.Address}
	require.Equal(t, 201, c.post("/v1/webhooks", `{"url":"http://127.0.0.1:9/hook"}`, as...).status)
	require.Equal(t, who.ID, h.told.Actor.ID)
	require.Equal(t, people.PersonKind, h.told.Actor.Kind)
	require.True(t, h.told.Key.IsZero(), "no key was used")
	debugged := c.get("/v1/webhooks", append(as, "X-Debug-Auth", "1")...).header
	require.Equal(t, "jwt", debugged.Get("X-Auth-Method"))
	require.Equal(t, who.Text(), debugged.Get("X-Auth-User-ID"))
	require.Empty(t, debugged.Get("X-Auth-Key-ID"))

	_, err = h.audit.Seal(t.Context())
	require.NoError(t, err)
	made := c.get("/v1/audit-logs?action=webhook.created", as...).json["data"].([]any)
	require.Len(t, made, 1)
	entry := made[0].(map[string]any)
	require.Equal(t, who.Text(), entry["actor"])
	require.Equal(t, "person", entry["actor_kind"])
	require.NotEmpty(t, entry["session"])
}
