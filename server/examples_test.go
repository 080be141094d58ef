package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// examples are the clients in doc/examples: how to run each, and how to check that this machine can.
var examples = []struct {
	name  string
	run   []string
	probe []string
}{
	{"java", []string{"java", "java/OtpClient.java"}, []string{"javac", "-version"}},
	{"node", []string{"node", "node/otp_client.js"}, nil},
	{"php", []string{"php", "php/otp_client.php"}, nil},
	{"python", []string{"python3", "python/otp_client.py"}, []string{"python3", "-c", "import cryptography"}},
	{"csharp", []string{"dotnet", "run", "--project", "csharp", "--"}, []string{"dotnet", "--version"}},
	{"go", []string{"go"}, nil},
}

// required are the runtimes that the tests' setup installs or that every test needs. The other examples run only if
// their runtime is installed.
var required = []string{"php", "go"}

func TestExamples_EachSendsAndVerifies(t *testing.T) {
	s := boot(t, variables(t)...)
	mobiles := newInteropMobiles()
	for _, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			runner := example.run
			available(t, example.name, runner[0], example.probe)
			// Compile a client only once, because compiling takes longer than all its calls.
			switch folder := t.TempDir(); example.name {
			case "go":
				runner = []string{filepath.Join(folder, "example")}
				compiled(t, "go", "build", "-o", runner[0], "./doc/examples/go")
			case "java":
				runner = []string{"java", "-XX:TieredStopAtLevel=1", "-cp", folder, "OtpClient"}
				compiled(t, "javac", "-d", folder, "doc/examples/java/OtpClient.java")
			}
			for _, account := range interopAccounts {
				client := func(want string, arguments ...string) {
					t.Helper()
					command := exec.CommandContext(t.Context(), runner[0], append(append([]string{}, runner[1:]...), arguments...)...)
					command.Dir, command.WaitDelay = "doc/examples", 5*time.Second
					command.Env = append(os.Environ(), "OTP_URL="+s.URL()+"/otpauthapi", "OTP_ACCESS_KEY="+account.accessKey,
						"OTP_CIPHER_KEY="+sampleKey, "OTP_CIPHER_IV="+sampleIV, "NO_PROXY=*", "no_proxy=*")
					out, err := command.Output()
					require.Equal(t, want+"\n", string(out), "%v: %v", arguments, err)
					if want == "sent" || want == "verified" {
						require.NoError(t, err)
					} else {
						require.Error(t, err, "anything but success is seen by the exit code")
					}
				}
				mobile, ip := mobiles.next(), "203.0.113.7"
				client("failed", "verify", mobile, ip, "123456")
				client("sent", "send", mobile, ip)
				client("sent", "resend", mobile, ip)
				code := s.messages("to=" + mobile)[0].Code
				client("wrong 2", "verify", mobile, ip, another(code))
				client("verified", "verify", mobile, ip, code)
				client("expired", "verify", mobile, ip, code)
			}
		})
	}
}

func compiled(t *testing.T, compiler string, arguments ...string) {
	t.Helper()
	out, err := exec.Command(compiler, arguments...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// another returns a different code.
func another(code string) string {
	if code[0] == '9' {
		return "0" + code[1:]
	}
	return string(code[0]+1) + code[1:]
}

// available skips an example whose runtime is missing, unless it is required in CI.
func available(t *testing.T, name, program string, probe []string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		if probe == nil || exec.Command(probe[0], probe[1:]...).Run() == nil {
			return
		}
	}
	for _, must := range required {
		if must == name && os.Getenv("CI") == "true" {
			t.Fatalf("the runtime of the %s example is not here", name)
		}
	}
	t.Skipf("the runtime of the %s example is not here", name)
}
