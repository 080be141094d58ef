package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The command line, as a program, and the sandbox, over HTTP, refuse a bad key with the same words. The admin door's
// test checks the functions behind both, and the API.
func TestKeys_CommandLineAndSandboxRefuseWithTheSameWords(t *testing.T) {
	t.Parallel()
	type settings struct {
		Name              string   `json:"name,omitempty"`
		Permissions       []string `json:"permissions,omitempty"`
		AllowedIPs        []string `json:"allowed_ips,omitempty"`
		DeniedIPs         []string `json:"denied_ips,omitempty"`
		AllowedOrigins    []string `json:"allowed_origins,omitempty"`
		RequestsPerMinute *int     `json:"requests_per_minute,omitempty"`
		Burst             *int     `json:"burst,omitempty"`
	}
	inputs := []settings{
		{Name: "a\nb"}, {Name: "\u202egnp.exe"}, {Name: "a\u200bb"}, {Name: "\u0007"}, {Name: strings.Repeat("é", 201)},
		{Name: "a\u2028b"}, {Permissions: []string{"send:money"}}, {Permissions: []string{"SEND:OTP"}},
		{Permissions: []string{"read:compression"}}, {Permissions: []string{"send:otp", "write:people"}},
		{AllowedIPs: []string{"52.44.123.456"}}, {AllowedIPs: []string{"10.0.0.0/8", "10.0.0.0/33"}},
		{AllowedIPs: []string{"localhost"}}, {AllowedIPs: []string{"fe80::1%eth0"}}, {AllowedIPs: []string{"::1/129"}},
		{AllowedIPs: strings.Split(strings.Repeat("::1,", 100)+"::1", ",")}, {AllowedIPs: []string{"010.0.0.1"}},
		{DeniedIPs: []string{"10.0.0.0/-1"}}, {DeniedIPs: []string{"1.2.3"}}, {DeniedIPs: []string{"0x7f.1"}},
		{AllowedOrigins: []string{"*"}}, {AllowedOrigins: []string{"null"}},
		{AllowedOrigins: []string{"https://a.example/path"}}, {AllowedOrigins: []string{"https://*.example"}},
		{AllowedOrigins: []string{"ftp://a.example"}}, {AllowedOrigins: []string{"https://a.example", "a.example"}},
		{RequestsPerMinute: new(0)}, {RequestsPerMinute: new(1_000_001)}, {RequestsPerMinute: new(-5)},
		{Burst: new(0)}, {Burst: new(-1)}, {Burst: new(1_000_001)},
	}
	require.GreaterOrEqual(t, len(inputs), 30)
	environ := variables(t)
	s := boot(t, environ...)
	keys := func() string {
		var out, problems bytes.Buffer
		require.Zero(t, run([]string{"key", "list", "--json"}, process{environ: environ, stdout: &out, stderr: &problems}))
		return out.String()
	}
	before := keys()
	for _, in := range inputs {
		body, err := json.Marshal(map[string]any{"access_keys": []any{in}})
		require.NoError(t, err)
		a := s.do("POST", "/sandbox/accounts", string(body))
		refused(t, a, 400, "INVALID_REQUEST")
		words, ours := strings.CutPrefix(decoded(t, a)["detail"].(string), "access_keys[0].")
		require.True(t, ours, a.body)

		arguments := []string{"key", "create", "10000000000001", "--kind=access_key"}
		for flag, value := range map[string]string{
			"name": in.Name, "permissions": strings.Join(in.Permissions, ","), "allowed-ips": strings.Join(in.AllowedIPs, ","),
			"denied-ips": strings.Join(in.DeniedIPs, ","), "allowed-origins": strings.Join(in.AllowedOrigins, ","),
			"requests-per-minute": number(in.RequestsPerMinute), "burst": number(in.Burst),
		} {
			if value != "" {
				arguments = append(arguments, "--"+flag+"="+value)
			}
		}
		var out, problems bytes.Buffer
		code := run(arguments, process{environ: environ, stdout: &out, stderr: &problems})
		require.Equal(t, exitUnusable, code, "%s", body)
		require.Equal(t, "otpbridge: "+words+"\n", problems.String(), "%s", body)
		require.Empty(t, out.String())
	}
	require.Equal(t, before, keys())
}

// number returns n as a flag's value, empty for nil.
func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}
