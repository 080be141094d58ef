package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// command runs the program without a server and returns its output.
func command(arguments ...string) (code int, stdout, stderr string) {
	var out, problems output
	code = run(arguments, process{stdout: &out, stderr: &problems})
	return code, out.String(), problems.String()
}

func TestParam_VectorsBothWays(t *testing.T) {
	raw, err := os.ReadFile("../crypto/testdata/otp_param.json")
	require.NoError(t, err)
	var file struct {
		KeyHex    string `json:"key_hex"`
		KeyBase64 string `json:"key_base64"`
		IVHex     string `json:"iv_hex"`
		IVBase64  string `json:"iv_base64"`
		Vectors   []struct{ Mode, Code, Hex, Base64 string }
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Vectors)
	for _, v := range file.Vectors {
		flags := []string{"--cipher", "aes-" + v.Mode, "--key", file.KeyHex}
		if v.Mode == "cbc" {
			flags = []string{"--key", file.IVBase64 + "~" + file.KeyBase64}
		}
		for encoding, value := range map[string]string{"hex": v.Hex, "base64": v.Base64} {
			code, out, problems := command(append([]string{"param", "encrypt", v.Code, "--encoding", encoding}, flags...)...)
			require.Equal(t, exitOK, code, problems)
			require.Equal(t, value+"\n", out)
			code, out, problems = command(append([]string{"param", "decrypt", value}, flags...)...)
			require.Equal(t, exitOK, code, problems)
			require.Equal(t, v.Code+"\n", out)
		}
	}
}

func TestParam_Errors(t *testing.T) {
	key, iv := []string{"--key", sampleKey}, []string{"--iv", sampleIV}
	join := func(first string, more ...[]string) []string {
		words := strings.Fields(first)
		for _, m := range more {
			words = append(words, m...)
		}
		return words
	}
	for _, tt := range []struct {
		name      string
		arguments []string
		code      int
		says      []string
	}{
		{"no key", join("param encrypt 123456"), exitUnusable, []string{"--key is missing", "/sandbox/credentials"}},
		{"no IV", join("param encrypt 123456", key), exitUnusable, []string{"--iv is missing"}},
		{"two IVs", join("param encrypt 123456", []string{"--key", sampleIV + "~" + sampleKey}, iv), exitUnusable,
			[]string{"which one is meant"}},
		{"key and IV the wrong way round", join("param encrypt 123456", []string{"--key", sampleKey + "~" + sampleIV}),
			exitUnusable, []string{"--key", "iv~key"}},
		{"unreadable key", join("param encrypt 123456 --key xyz", iv), exitUnusable, []string{"--key is 3 characters"}},
		{"long IV", join("param encrypt 123456", key, []string{"--iv", sampleKey}), exitUnusable,
			[]string{"--iv is 32 bytes: give 16"}},
		{"letters", join("param encrypt 12a456", key, iv), exitUnusable, []string{"CODE is not 4 to 10 digits"}},
		{"three digits", join("param encrypt 123", key, iv), exitUnusable, []string{"CODE"}},
		{"no code", join("param encrypt", key, iv), exitUnusable, []string{"<code>", "--help"}},
		{"unknown cipher", join("param encrypt 123456 --cipher des", key, iv), exitUnusable, []string{"aes-cbc"}},
		{"unknown command", join("param encode 123456"), exitUnusable, []string{"--help"}},
		{"unknown flag", join("serve --port 80"), exitUnusable, []string{"--port", "--help"}},
		{"another key's value", join("param decrypt AAAAAAAAAAAAAAAAAAAAAA==", key, iv), exitFailed,
			[]string{"VALUE is no code"}},
		{"wrong encoding", join("param decrypt Xrgn4bpX/4iYytICyC1wNg== --encoding hex", key, iv), exitFailed,
			[]string{"VALUE is no code"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, problems := command(tt.arguments...)
			require.Equal(t, tt.code, code, problems)
			require.Empty(t, out)
			for _, part := range tt.says {
				require.Contains(t, problems, part)
			}
			require.NotContains(t, problems, sampleKey)
			require.NotContains(t, problems, "12a456")
		})
	}
}

func TestCommandLine_Help(t *testing.T) {
	for _, tt := range []struct {
		arguments string
		says      []string
	}{
		{"--help", []string{"0  done", "1  failed", "2  refused", "serve", "health", "param", "version"}},
		{"serve --help", []string{"OTPBRIDGE_ADDR=127.0.0.1:9000", "OTPBRIDGE_SHUTDOWN_TIMEOUT", "15s"}},
		{"health --help", []string{"--url", "/readyz", `HEALTHCHECK CMD ["/otpbridge", "health"]`}},
		{"param encrypt --help", []string{"otpbridge param encrypt --key", "iv~key"}},
		{"param decrypt --help", []string{"otpbridge param decrypt --key"}},
	} {
		code, out, problems := command(strings.Fields(tt.arguments)...)
		require.Equal(t, exitOK, code, tt.arguments)
		require.Empty(t, problems)
		for _, part := range tt.says {
			require.Contains(t, out, part, tt.arguments)
		}
	}
}

func TestCommandLine_Version(t *testing.T) {
	code, out, _ := command("version")
	require.Equal(t, exitOK, code)
	require.Regexp(t, `^otpbridge \S+.* go1\.[0-9]+\S* \w+/\w+\n$`, out)
}

// The examples in the help work.
func TestParam_TheHelpsExamplesWork(t *testing.T) {
	for _, verb := range []string{"encrypt", "decrypt"} {
		_, help, _ := command("param", verb, "--help")
		_, example, found := strings.Cut(help, "otpbridge param "+verb+" --key")
		require.True(t, found)
		example, _, _ = strings.Cut(example, "\n")
		words := strings.Fields(strings.ReplaceAll("param "+verb+" --key"+example, "'", ""))
		code, out, problems := command(words...)
		require.Equal(t, exitOK, code, problems)
		require.Equal(t, map[string]string{"encrypt": "Xrgn4bpX/4iYytICyC1wNg==\n", "decrypt": "123456\n"}[verb], out)
	}
}

// Keys can come from files, because other users can see a command line.
func TestParam_KeyAndIVFromFiles(t *testing.T) {
	folder := t.TempDir()
	key, iv := filepath.Join(folder, "key"), filepath.Join(folder, "iv")
	require.NoError(t, os.WriteFile(key, []byte(sampleKey+"\n"), 0o600))
	require.NoError(t, os.WriteFile(iv, []byte(sampleIV+"\r\n"), 0o600))
	code, out, problems := command("param", "encrypt", "123456", "--key", "@"+key, "--iv", "@"+iv)
	require.Equal(t, exitOK, code, problems)
	require.Equal(t, "Xrgn4bpX/4iYytICyC1wNg==\n", out)
	code, _, problems = command("param", "encrypt", "123456", "--key", "@"+key+"x", "--iv", "@"+iv)
	require.Equal(t, exitUnusable, code)
	require.Contains(t, problems, key+"x")
}
