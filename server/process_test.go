package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The curl commands after make run work one after the other.
func TestWelcome_TheCurlsWork(t *testing.T) {
	needs(t, "sh", "curl")
	c := startChild(t, t.TempDir())
	var curls []string
	for line := range strings.Lines(c.banner) {
		if strings.HasPrefix(line, "  ") && strings.Contains(line, "curl -sS") {
			curls = append(curls, line)
		}
	}
	require.Len(t, curls, 3, c.banner)
	require.Less(t, strings.Index(c.banner, "/console/"), strings.Index(c.banner, "curl"), "the console comes first")
	out, err := exec.Command("sh", "-c", curls[0]).Output()
	require.NoError(t, err)
	require.Equal(t, "OTP Generated Successfully", string(out))
	out, err = exec.Command("sh", "-c", curls[1]).Output()
	require.NoError(t, err)
	require.Contains(t, string(out), `"to":"+919876543210"`)
	require.Contains(t, string(out), c.messages("")[0].Text)
	out, err = exec.Command("sh", "-c", curls[2]).Output()
	require.NoError(t, err)
	require.Contains(t, string(out), `"role":"owner"`)
	_, quoted, _ := strings.Cut(curls[2], `"password":"`)
	password, _, _ := strings.Cut(quoted, `"`)
	require.NotEmpty(t, password)
	require.NotContains(t, curls[2][strings.Index(curls[2], "curl"):], password, "others see what is on a command line")
	require.NotContains(t, c.log.String(), password)
}

func TestFrontPage_TheCurlsWorkAndEveryCallExists(t *testing.T) {
	needs(t, "sh", "curl")
	s := boot(t, variables(t, "OTPBRIDGE_CONTEXT_PATH=/a/b")...)
	page := s.do("GET", "/", "")
	require.Equal(t, 200, page.status)
	calls := 0
	for line := range strings.Lines(page.body) {
		words := strings.Fields(line)
		switch {
		case len(words) > 1 && words[0] == "curl":
			out, err := exec.Command("sh", "-c", line).Output()
			require.NoError(t, err)
			require.NotContains(t, string(out), "ERROR")
			require.NotEqual(t, `{"data":[]}`, strings.TrimSpace(string(out)))
		case len(words) > 1 && strings.HasPrefix(words[1], "/sandbox/"):
			if strings.HasSuffix(words[1], "/stream") {
				continue // it does not end
			}
			calls++
			a := s.do(words[0], words[1], "")
			require.NotContains(t, []int{404, 405, 500}, a.status, line)
		}
	}
	require.Equal(t, 13, calls)
}

func TestServe_StopsOnSignals(t *testing.T) {
	for _, told := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		c := startChild(t, t.TempDir(), "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s")
		require.NoError(t, c.command.Process.Signal(told))
		require.Equal(t, exitOK, c.exitCode(), c.log)
		require.Contains(t, c.log.String(), "msg=stopping")
		require.Contains(t, c.log.String(), "msg=stopped")
	}
}

// A second signal, such as a second Ctrl-C, ends the process at once. The program does that itself, because the kernel
// ignores a signal without a handler for process 1.
func TestServe_ASecondSignalEndsAtOnce(t *testing.T) {
	for _, told := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := startChild(t, t.TempDir(), "OTPBRIDGE_DELIVERY_WAIT=20s")
		c.do("PUT", "/sandbox/faults", `{"faults":[{"target":"inbox","kind":"delay","delay":"60s","count":1}]}`)
		generated := make(chan error, 1)
		go func() {
			_, err := c.try("GET", "/otpauthapi/otpgenservlet?"+person("919551492394").Encode(), "", "access_key", documentedKey)
			generated <- err
		}()
		c.untilFaultsStruck()
		require.NoError(t, c.command.Process.Signal(told))
		eventually(t, "stopping", func() bool { return strings.Contains(c.log.String(), "msg=stopping") })
		require.NoError(t, c.command.Process.Signal(told))
		require.Equal(t, 128+int(told), c.exitCode())
		require.NotContains(t, c.log.String(), "msg=stopped")
		require.Error(t, <-generated)
	}
}

// After kill -9 the inbox shows the same messages: it is computed from committed rows.
func TestKill_TheInboxIsTheSameAfterwards(t *testing.T) {
	folder := t.TempDir()
	c := startChild(t, folder)
	accounts := []string{
		c.account(`{"otp_length":10,"sms_enabled":true,"email_enabled":true}`).AccessKey,
		c.account(`{"otp_length":4,"sends_per_minute":0,"sends_per_hour":0,"sends_per_day":0}`).AccessKey,
		documentedKey, liveKey,
	}
	for i := range 40 {
		number := "9195514920" + string(rune('0'+i/10)) + string(rune('0'+i%10))
		text := c.servlet("otpgenservlet", accounts[i%4], person(number, "email", "someone@mail.example"))
		require.Equal(t, "OTP Generated Successfully", strings.TrimSpace(text))
	}
	require.Equal(t, "OTP Generated Successfully", c.servlet("otpregenservlet", accounts[1], person("919551492001")))
	before := c.messages("limit=500")
	require.Len(t, before, 40+3*10+1, "all accounts but the second send two each")

	c.kill()
	again := startChild(t, folder)
	require.Equal(t, before, again.messages("limit=500"))

	code := ""
	for _, m := range before {
		if m.To == "+919551492002" {
			code = m.Code
		}
	}
	require.Equal(t, "Verified successfully",
		again.servlet("otpvalidationservlet", documentedKey, person("919551492002", "otp",
			encrypted(t, sampleKey, sampleIV, code))))
}
