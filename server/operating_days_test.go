//go:build unix

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// integrationKey and integrationNumber are the key and number for calls of the page's account. The key on the page
// itself is refused, because it is published.
const (
	integrationKey    = "kd83-fresh-key-of-the-integration"
	integrationNumber = "919551492394"
)

// installation is the installation of operating.md: two machines, one MariaDB, nginx on the first machine, and two
// gateways.
type installation struct {
	t             *testing.T
	text          string
	database      *sqltest.Server
	first, second *machine
	front         client
	gateways      [2]*httptest.Server
	messages      [2]chan url.Values
	cipher        string
}

// The page works if a new operator follows it exactly and in order, with an empty MariaDB, a real nginx, and another
// folder instead of the root.
func TestOperating_TheInstallationWorks(t *testing.T) {
	needs(t, "openssl", "mariadb", "mariadb-dump", "tar")
	t.Parallel()
	o := newInstallation(t)
	o.database = sqltest.Own(t)
	o.prepareMachines()
	o.install()
	o.serve()
	o.putInFront()
	o.addSecond()
	o.restore()
	o.leak()
	o.unlock()
	o.upgrade()
	o.loseGateway()
	o.watch()
	o.limit()
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	o := &installation{t: t, text: page(t, "doc/operating.md")}
	o.cipher = regexp.MustCompile(`"cipher_key": +"([^"]+)"`).FindStringSubmatch(o.text)[1]
	for i := range o.gateways {
		messages := make(chan url.Values, 100)
		o.gateways[i] = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			messages <- r.URL.Query()
		}))
		t.Cleanup(o.gateways[i].Close)
		o.messages[i] = messages
	}
	return o
}

func sentCode(message url.Values) string {
	return regexp.MustCompile(`[0-9]{6}`).FindString(message.Get("text"))
}

func (o *installation) prepareMachines() {
	t := o.t
	database, err := url.Parse(o.database.SchemaTCP(t))
	require.NoError(t, err)
	local, err := url.Parse(o.database.Schema(t))
	require.NoError(t, err)
	replaced := []string{
		"127.0.0.1:3306", database.Host, "@10.0.0.11:", "@127.0.0.1:", "=10.0.0.11", "=127.0.0.1",
		"https://gateway.example", o.gateways[0].URL,
		// Two channels must not have the same name.
		"https://other.example", strings.Replace(o.gateways[1].URL, "127.0.0.1", "localhost", 1),
	}
	o.first = newMachine(t, "127.0.0.1", replaced...)
	o.second = newMachine(t, "127.0.0.1", append(replaced, "ssh root@10.0.0.11 tar -C /etc",
		"ssh root tar -C "+o.first.root+"/etc")...)
	o.first.replaced = append(o.first.replaced, "10.0.0.12", o.second.address, `10\.0\.0\.12`, o.second.address)
	client := fmt.Sprintf("[client]\nsocket=%s\nuser=root\n", local.Query().Get("socket"))
	for _, m := range []*machine{o.first, o.second} {
		require.NoError(t, os.WriteFile(filepath.Join(m.root, ".my.cnf"), []byte(client), 0o600))
	}
	var statements []string
	for statement := range strings.SplitSeq(blocks(t, o.text, "grants", "sql")[0], ";\n") {
		if strings.TrimSpace(statement) != "" {
			statements = append(statements, statement)
		}
	}
	require.NoError(t, o.database.Exec(statements...))
}

// install does the page's steps 1 to 7.
func (o *installation) install() {
	t, m := o.t, o.first
	m.do(o.text, "install")
	steps := blocks(t, o.text, "operator", "sh")
	require.Len(t, steps, 5)
	require.Contains(t, m.run(steps[0]), "Made a keyring with key")
	m.run(steps[1])
	for _, own := range []string{"METRICS_ADDR=127.0.0.1:9464", "SHUTDOWN_TIMEOUT=1s"} {
		m.run("echo OTPBRIDGE_" + own + " >> /etc/otpbridge/environment")
	}
	require.Contains(t, m.run(steps[2]), "is version")
	require.Contains(t, m.run(steps[3]), `Made account 4711 ("Shop"): texts live`)

	// It can serve before it can send.
	require.NoError(t, m.start())
	m.untilReady()
	require.Equal(t, "UNAUTHERISED USER", m.servlet("otpgenservlet", "another-key", person(integrationNumber)))
	require.Equal(t, "SMSEMAILFAIL\r\n", m.servlet("otpgenservlet", integrationKey, person(integrationNumber)))
	require.Equal(t, "Wrong PIN . No of Retries remaining # 2\r\n",
		m.servlet("otpvalidationservlet", integrationKey, person(integrationNumber, "otp", "AAAA")))
	m.stop()

	m.do(o.text, "channel")
	require.Equal(t, integrationNumber, (<-o.messages[0]).Get("to"), "send-test sends")
	checked := m.run(steps[4])
	for _, says := range []string{"pass  database ", "pass  grants", "pass  keyring ", "pass  state folder"} {
		require.Contains(t, checked, says)
	}
	require.NotContains(t, checked, "fail ")
	require.NotContains(t, checked, "service settings", "shell and service have the same")
	require.Contains(t, m.run("env -i PATH=$PATH OTPBRIDGE_MODE=production otpbridge doctor --env-file "+
		"/etc/otpbridge/environment || true"),
		"KEYRING", "it reads the file, which does not name the keyring")
}

// serve does step 8: it starts the service as the user that make install made.
func (o *installation) serve() {
	printed := o.first.do(o.text, "start")
	require.Contains(o.t, printed, "ready")
	require.Contains(o.t, printed, `"msg":`, "the last lines of the log")
	require.Equal(o.t, "ready\n", o.first.client.do("GET", "/readyz", "").body)
}

// putInFront does steps 9 and 10. It makes what a reader's machine already has: nginx's own file and a certificate.
// The port is one that needs no privileges.
func (o *installation) putInFront() {
	t, m := o.t, o.first
	address := freeAddress(t)
	folder := filepath.Join(m.root, "etc/nginx")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "conf.d"), 0o755))
	writeCertificate(t, folder+"/otp.shop.example.pem", folder+"/otp.shop.example.key", "otp.shop.example")
	whole := "pid " + folder + "/pid;\nevents {}\nhttp {\ninclude " + folder + "/conf.d/*.conf;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		whole += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, folder, kind)
	}
	if os.Getuid() == 0 {
		whole = "user root;\n" + whole
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "nginx.conf"), []byte(whole+"}\n"), 0o600))
	document := filepath.Join(m.root, "usr/local/share/doc/otpbridge/nginx.conf")
	text := strings.NewReplacer("listen 443 ssl", "listen "+address+" ssl", "/etc/nginx", folder, "/var/log/nginx", folder,
		"127.0.0.1:8080", m.address, "10.0.0.12:8080", o.second.address).Replace(page(t, document))
	require.NoError(t, os.WriteFile(document, []byte(text), 0o600))

	m.do(o.text, "front")
	m.untilReady()
	o.front = newClient(t, "https://"+address)
	o.front.agent.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // its own, just made
	require.Equal(t, "max-age=31536000", o.front.do("GET", "/v1/status/none", "").header.Get("Strict-Transport-Security"))
	code := o.generate(o.front, 0)
	require.Equal(t, "Verified successfully\r\n", o.verify(o.front, code))
	require.Equal(t, "OTPEXPIRED\r\n", o.verify(o.front, code))
	shown := m.run("otpbridge recipient show 4711 " + integrationNumber)
	require.Contains(t, shown, "not locked")
}

// generate sends a code through a door, and returns it from the gateway that accepted it.
func (o *installation) generate(door client, gateway int) (code string) {
	o.t.Helper()
	require.Equal(o.t, "OTP Generated Successfully\r\n", door.servlet("otpgenservlet", integrationKey,
		person(integrationNumber)))
	message := <-o.messages[gateway]
	require.Equal(o.t, integrationNumber, message.Get("to"))
	return sentCode(message)
}

func (o *installation) verify(door client, code string, number ...string) string {
	o.t.Helper()
	number = append(number, integrationNumber)
	exit, otp, stderr := command("param", "encrypt", code, "--key", o.cipher)
	require.Equal(o.t, exitOK, exit, stderr)
	return door.servlet("otpvalidationservlet", integrationKey, person(number[0], "otp", strings.TrimSpace(otp)))
}

// addSecond adds a second machine. nginx uses both, and continues with one when the other is down.
func (o *installation) addSecond() {
	t := o.t
	o.second.do(o.text, "install")
	o.second.run("true")
	o.second.do(o.text, "second")
	o.second.run("echo OTPBRIDGE_METRICS_ADDR=127.0.0.1:9464 >> /etc/otpbridge/environment; systemctl restart otpbridge")
	o.second.run(". /etc/otpbridge/shell")
	o.second.untilReady()
	o.first.do(o.text, "upstream")
	eventually(t, "nginx asks both", func() bool {
		_, err := o.front.try("GET", "/v1/status/none", "")
		return err == nil && strings.Contains(o.second.log.String(), `"route":"/v1/status/:id"`)
	})
	require.NoError(t, o.second.server.Process.Kill())
	o.second.stop()
	failed := 0
	for range 20 {
		if o.front.do("GET", "/v1/status/none", "").status == http.StatusBadGateway {
			failed++
		}
	}
	require.LessOrEqual(t, failed, 3, "a server that is gone is left out")
}

// restore restores a backup in which a used code is live and a revoked key is valid.
func (o *installation) restore() {
	t, m := o.t, o.first
	code := o.generate(m.client, 0)
	m.do(o.text, "backup")
	about, err := os.Stat(filepath.Join(m.root, "otpauthapi.sql"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), about.Mode().Perm())
	require.Equal(t, "Verified successfully\r\n", o.verify(m.client, code))

	leaked := regexp.MustCompile(`key_[0-9a-z]{26}`).FindString(m.run("otpbridge key list 4711"))
	require.Contains(t, m.do(o.text, "leak", "leaked="+leaked), "203.0.113.0/24")
	eventually(t, "the leaked key is of no use", func() bool {
		return o.verify(m.client, "0000", "919551492399") == "UNAUTHERISED USER" // nothing is sent while it is still good
	})

	require.Contains(t, m.do(o.text, "restore"), "warn  restored backup", "doctor says so before the start")
	m.untilReady()
	require.Contains(t, m.log.String(), "a backup was restored")
	require.NotEqual(t, "Verified successfully\r\n", o.verify(m.client, code), "what was used stays used")
	printed := m.do(o.text, "restored")
	require.Contains(t, printed, "Shop")
	require.Contains(t, printed, leaked, "which is good again, as the page says")
	o.generate(m.client, 0)
}

// leak replaces the database's password and the key of receipts, on both servers.
func (o *installation) leak() {
	t := o.t
	for _, m := range []*machine{o.first, o.second} {
		m.do(o.text, "password")
		m.untilReady()
	}
	out, err := exec.Command("mariadb", "--no-defaults", "--user=otpbridge", "--password=a password", "--host=127.0.0.1",
		"--port="+o.databasePort(), "-e", "SELECT 1").CombinedOutput()
	require.ErrorContains(t, err, "exit status 1", "the former password: %s", out)
	require.Contains(t, string(out), "Access denied")

	kid := regexp.MustCompile(`"kid": ?"([^"]+)"`)
	former := kid.FindStringSubmatch(o.first.client.do("GET", "/.well-known/jwks.json", "").body)
	require.NotNil(t, former)
	o.first.do(o.text, "receipts")
	for _, m := range []*machine{o.first, o.second} {
		eventually(t, "the former key of receipts is gone", func() bool {
			set := m.client.do("GET", "/.well-known/jwks.json", "").body
			return kid.MatchString(set) && !strings.Contains(set, former[1])
		})
	}
	o.second.stop()
}

func (o *installation) databasePort() string {
	_, port, _ := strings.Cut(o.first.replaced[1], ":")
	return port
}

// unlock gives the account another cipher key, and unlocks a recipient.
func (o *installation) unlock() {
	t, m := o.t, o.first
	m.run("otpbridge account set 4711 sends_per_minute=0 sends_per_hour=0 sends_per_day=0 max_attempts=100")
	m.do(o.text, "cipher")
	iv, _, _ := strings.Cut(o.cipher, "~")
	o.cipher = iv + "~" + strings.TrimSpace(page(t, filepath.Join(m.root, "cipher_key")))
	n := 0
	eventually(t, "the account has another cipher key", func() bool {
		n++
		another := fmt.Sprintf("9195514%05d", n)
		if m.servlet("otpgenservlet", integrationKey, person(another)) != "OTP Generated Successfully\r\n" {
			return false
		}
		return o.verify(m.client, sentCode(<-o.messages[0]), another) == "Verified successfully\r\n"
	})
	code := o.generate(m.client, 0)
	for range 20 {
		m.servlet("otpvalidationservlet", integrationKey, person(integrationNumber, "otp", "AAAA"))
	}
	require.NotEqual(t, "Verified successfully\r\n", o.verify(m.client, code), "the person is locked out")
	printed := m.do(o.text, "locked")
	require.NotContains(t, printed, "not locked")
	require.Contains(t, printed, "Unlocked")
	require.Equal(t, "Verified successfully\r\n", o.verify(m.client, o.generate(m.client, 0)))
}

func (o *installation) upgrade() {
	require.Contains(o.t, o.first.do(o.text, "upgrade"), "is version")
	o.first.untilReady()
	require.Contains(o.t, o.first.calls.String(),
		"make build\nmake install\nsystemctl daemon-reload\nsystemctl restart otpbridge\n")
}

// loseGateway stops the first gateway, and adds a second one after it.
func (o *installation) loseGateway() {
	o.gateways[0].Close()
	require.Equal(o.t, "SMSEMAILFAIL\r\n", o.first.servlet("otpgenservlet", integrationKey, person(integrationNumber)))
	o.first.do(o.text, "gateway")
	require.Equal(o.t, integrationNumber, (<-o.messages[1]).Get("to"), "send-test sends")
	o.first.untilReady()
	require.Equal(o.t, "Verified successfully\r\n", o.verify(o.first.client, o.generate(o.first.client, 1)))
}

// watch reads the log and the metrics.
func (o *installation) watch() {
	t, m := o.t, o.first
	request := m.client.do("GET", "/v1/status/none", "").header.Get("X-Request-Id")
	eventually(t, "the request is logged", func() bool { return strings.Contains(m.log.String(), request) })
	printed := m.do(o.text, "log", "request="+request)
	require.Contains(t, printed, "a backup was restored")
	require.Contains(t, printed, `"request_id":"`+request+`"`)
	for _, secret := range []string{integrationNumber, integrationKey, "otp=", "apikey"} {
		require.NotContains(t, m.log.String(), secret)
	}
	printed = m.do(o.text, "metrics")
	require.Contains(t, printed, "otpbridge_build_info{")
	require.Regexp(t, `otpbridge_events_total\{.*event="verified".*\} [1-9]`, printed)
}

// limit limits abuse and a flood, and stops the account.
func (o *installation) limit() {
	t, m := o.t, o.first
	m.do(o.text, "limits")
	const another = "919551492388"
	eventually(t, "one person is sent little", func() bool {
		return m.servlet("otpgenservlet", integrationKey, person(another)) != "OTP Generated Successfully\r\n"
	})
	m.do(o.text, "flood")
	eventually(t, "a flood is refused", func() bool {
		return m.servlet("otpvalidationservlet", integrationKey, person(another, "otp", "AAAA")) == "ERROR\r\n"
	})
	m.do(o.text, "stop")
	eventually(t, "the account is stopped", func() bool {
		return m.servlet("otpgenservlet", integrationKey, person(another)) == "UNAUTHERISED USER"
	})
}

// A copy of the SQLite file of a running server restores everything except live codes.
func TestOperating_TheCopyOfAFileIsABackup(t *testing.T) {
	needs(t, "sqlite3")
	o := newInstallation(t)
	m := newMachine(t, "127.0.0.1", "https://gateway.example", o.gateways[0].URL)
	o.first = m
	m.do(o.text, "install")
	steps := blocks(t, o.text, "operator", "sh")
	m.run(steps[0])
	m.run(steps[1])
	m.run("echo OTPBRIDGE_METRICS_ADDR= >> /etc/otpbridge/environment; echo OTPBRIDGE_SHUTDOWN_TIMEOUT=1s >> " +
		"/etc/otpbridge/environment")
	m.do(o.text, "sqlite")
	m.run(steps[3])
	m.do(o.text, "channel")
	require.Equal(t, "000000", sentCode(<-o.messages[0]))
	m.do(o.text, "start")
	code := o.generate(m.client, 0)
	m.do(o.text, "backup-sqlite")
	require.Equal(t, "Verified successfully\r\n", o.verify(m.client, code))
	m.stop()
	m.do(o.text, "restore-sqlite")
	require.NoError(t, m.start())
	m.untilReady()
	require.NotEqual(t, "Verified successfully\r\n", o.verify(m.client, code))
	require.Contains(t, m.log.String(), "a backup was restored")
	require.Equal(t, "Verified successfully\r\n", o.verify(m.client, o.generate(m.client, 0)))
}

// A server on a full disk is not ready. When there is room again it continues, and has lost nothing that it answered.
func TestOperating_AFullDiskIsGotOver(t *testing.T) {
	needs(t, "bash", "du", "mount", "umount")
	disk := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "none", disk).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted here: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", disk).Run()) })
	c := startChild(t, t.TempDir(), "OTPBRIDGE_DATABASE_URL=sqlite:"+filepath.Join(disk, "otp.db"))
	account := c.account(`{}`)
	require.Equal(t, "OTP Generated Successfully", c.servlet("otpgenservlet", documentedKey, person("919551492301")))
	code := encrypted(t, sampleKey, sampleIV, c.messages("")[0].Code)
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	require.NoError(t, err)
	_, err = io.Copy(ballast, zeros{})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, ballast.Close())

	answer := ""
	for n := 0; n < 1000 && answer != "ERROR"; n++ { // what room the database has in its files is used up first
		answer = c.servlet("otpgenservlet", account.AccessKey, person(fmt.Sprintf("9195514%05d", n)))
	}
	require.Equal(t, "ERROR", answer)
	eventually(t, "the server is not ready", func() bool { return c.do("GET", "/readyz", "").status == 503 })
	block := strings.ReplaceAll(blocks(t, page(t, "doc/operating.md"), "disk", "sh")[0], "/var/lib/mysql", disk)
	bash := exec.Command("bash", "-euo", "pipefail", "-c", block)
	bash.Env = []string{
		"PATH=" + filepath.Dir(program(t)) + ":" + os.Getenv("PATH"), "OTPBRIDGE_ADDR=" +
			strings.TrimPrefix(c.url, "http://"),
	}
	out, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), filepath.Join(disk, "ballast"))

	require.NoError(t, os.Remove(ballast.Name()))
	eventually(t, "the server is ready again", func() bool { return c.do("GET", "/readyz", "").status == 200 })
	require.Equal(t, "Verified successfully", c.servlet("otpvalidationservlet", documentedKey,
		person("919551492301", "otp", code)))
}

// zeros is a reader without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
