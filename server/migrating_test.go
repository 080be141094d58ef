package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// migratingPrograms are the programs on the page on migrating, in its order, with how to run each.
var migratingPrograms = []struct {
	language, file string
	run            []string
	compile        []string // nil for what needs none
	probe          []string // that all it takes is here; nil for the first word of run on PATH
}{
	{"bash", "calls.sh", []string{"bash", "calls.sh"}, nil, []string{"openssl", "version"}},
	{"java", "Calls.java", []string{"java", "-XX:TieredStopAtLevel=1", "Calls"}, []string{"javac", "Calls.java"},
		[]string{"javac", "-version"}},
	{"js", "calls.mjs", []string{"node", "calls.mjs"}, nil, nil},
	{"php", "calls.php", []string{"php", "calls.php"}, nil, nil},
	{"python", "calls.py", []string{"python3", "calls.py"}, nil, []string{"python3", "-c", "import cryptography"}},
	{"csharp", "Program.cs", []string{"dotnet", "run", "--no-build", "--"}, []string{"dotnet", "build"},
		[]string{"dotnet", "--version"}},
	{"go", "main.go", []string{"./calls"}, []string{"go", "build", "-o", "calls", "main.go"}, []string{"go", "version"}},
}

var migratingBlock = regexp.MustCompile("(?s)\n```([a-z]+)\n(.*?)\n```\n")

// The servlet calls and their successors on the page work in every language: a code that one door sends, the other
// verifies.
func TestMigrating_EachCallAndItsSuccessorWork(t *testing.T) {
	_, section, found := strings.Cut(page(t, "doc/migrating.md"), "\n## The calls\n")
	require.True(t, found)
	section, _, found = strings.Cut(section, "\n### The end of the servlets\n")
	require.True(t, found)
	blocks := migratingBlock.FindAllStringSubmatch(section, -1)
	require.Len(t, blocks, len(migratingPrograms))
	s, mobiles := boot(t, variables(t)...), newInteropMobiles()
	for i, program := range migratingPrograms {
		require.Equal(t, program.language, blocks[i][1])
		mobile := mobiles.next()
		t.Run(program.language, func(t *testing.T) {
			t.Parallel()
			needed := program.run[0]
			if program.compile != nil {
				needed = program.compile[0]
			}
			available(t, program.language, needed, program.probe)
			folder := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(folder, program.file), []byte(blocks[i][2]), 0o600))
			if program.language == "csharp" {
				require.NoError(t, os.WriteFile(filepath.Join(folder, "calls.csproj"),
					[]byte(page(t, "doc/examples/csharp/otp-client.csproj")), 0o600))
			}
			if program.compile != nil {
				_, err := ran(t, folder, nil, program.compile[0], program.compile[1:]...)
				require.NoError(t, err)
			}
			says := func(expected string, calls ...string) {
				t.Helper()
				code := ""
				if sent := s.messages("to=" + mobile); len(sent) > 0 {
					code = sent[0].Code
				}
				out, err := ran(t, folder, []string{"OTP_URL=" + s.URL(), "OTP_KEY=" + documentedKey, "MOBILE=" + mobile,
					"OTP_CIPHER_KEY=" + sampleKey, "OTP_CIPHER_IV=" + sampleIV, "CODE=" + code}, program.run[0],
					append(program.run[1:len(program.run):len(program.run)], calls...)...)
				require.NoError(t, err)
				require.Regexp(t, "^"+expected+"\n$", out)
			}
			const sent, queued = "OTP Generated Successfully", `\{.*"status":"queued".*\}`
			says(sent+"\n"+queued+"\n"+sent, "generate", "resend", "regenerate")
			says(`\{"valid":true.*\}`+"\n"+queued, "verify", "send")
			says("Verified successfully", "validate")
		})
	}
}
