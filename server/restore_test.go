package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// After a backup one code is used and another is exhausted by guesses; then the server is killed and the backup
// restored. None of the codes in the backup verifies afterwards, also not an untouched one; a new code does. The state
// folder is the default.
func TestKill_ARestoredBackupBringsNoCodeBack(t *testing.T) {
	t.Parallel()
	onEach := map[string]func(t *testing.T, folder string) (databaseURL string){
		"sqlite":  func(_ *testing.T, folder string) string { return "sqlite:" + filepath.Join(folder, "data", "otp.db") },
		"mariadb": func(t *testing.T, _ string) string { return sqltest.Shared(t).Schema(t) },
	}
	for name, databaseIn := range onEach {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			databaseURL := databaseIn(t, folder)
			c := startChild(t, folder, "OTPBRIDGE_DATABASE_URL="+databaseURL)
			numbers := []string{"919551492301", "919551492302", "919551492303"} // used, exhausted, untouched
			codes := map[string]string{}
			for _, number := range numbers {
				require.Equal(t, "OTP Generated Successfully", c.servlet("otpgenservlet", documentedKey, person(number)))
			}
			for _, m := range c.messages("") {
				codes[m.To[1:]] = m.Code
			}
			guess := func(c *child, number, code string) string {
				return c.servlet("otpvalidationservlet", documentedKey,
					person(number, "otp", encrypted(t, sampleKey, sampleIV, code)))
			}
			c.kill()
			restore := sqltest.Backup(t, databaseURL)

			c = startChild(t, folder, "OTPBRIDGE_DATABASE_URL="+databaseURL)
			require.NotContains(t, c.log.String(), "restored", "a kill restores nothing")
			require.Equal(t, "Verified successfully", guess(c, numbers[0], codes[numbers[0]]))
			wrong := "000000"
			if codes[numbers[1]] == wrong {
				wrong = "000001"
			}
			for range 5 {
				require.NotEqual(t, "Verified successfully", guess(c, numbers[1], wrong))
			}
			require.NotEqual(t, "Verified successfully", guess(c, numbers[1], codes[numbers[1]]), "its attempts are spent")
			c.kill()
			restore()

			c = startChild(t, folder, "OTPBRIDGE_DATABASE_URL="+databaseURL)
			for _, number := range numbers {
				require.NotEqual(t, "Verified successfully", guess(c, number, codes[number]), number)
			}
			require.Contains(t, c.log.String(), "a backup was restored")
			require.Contains(t, c.log.String(), "codes_ended=3")
			require.Equal(t, "OTP Generated Successfully", c.servlet("otpgenservlet", documentedKey, person(numbers[0])))
			require.Equal(t, "Verified successfully", guess(c, numbers[0], c.messages("to=%2B" + numbers[0])[0].Code))
		})
	}
}

// A restore under a running server ends the process with a failure, so that its supervisor restarts it. Nothing is
// verified in between.
func TestServe_EndsWhenABackupIsRestoredUnderIt(t *testing.T) {
	t.Parallel()
	databaseURL, folder := sqltest.Shared(t).Schema(t), t.TempDir()
	c := startChild(t, folder, "OTPBRIDGE_DATABASE_URL="+databaseURL)
	require.Equal(t, "OTP Generated Successfully", c.servlet("otpgenservlet", documentedKey, person("919551492301")))
	code := c.messages("")[0].Code
	restore := sqltest.Backup(t, databaseURL)
	right := person("919551492301", "otp", encrypted(t, sampleKey, sampleIV, code))
	require.Equal(t, "Verified successfully", c.servlet("otpvalidationservlet", documentedKey, right))
	restore()
	a, err := c.try("GET", "/otpauthapi/otpvalidationservlet?"+right.Encode(), "", "access_key", documentedKey)
	if err == nil {
		require.NotEqual(t, "Verified successfully", a.body)
	}
	require.Equal(t, exitFailed, c.exitCode())
	require.Contains(t, c.log.String(), "a backup was restored")
	again := startChild(t, folder, "OTPBRIDGE_DATABASE_URL="+databaseURL)
	require.NotEqual(t, "Verified successfully", again.servlet("otpvalidationservlet", documentedKey, right))
}
