package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
)

// These tests start the compose file's parts without docker: a MariaDB with the user that the script makes, two
// servers with its variables, and nginx with its configuration, if it is installed.

// databaseScript returns the statements that compose runs on an empty database.
func databaseScript(t *testing.T) []string {
	t.Helper()
	script := composeContent(t, compose(t), "mysql", "/docker-entrypoint-initdb.d/otpbridge.sql")
	var statements []string
	for statement := range strings.SplitSeq(script, ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	require.Len(t, statements, 3)
	return statements
}

// privileges returns the privileges that the script grants.
func privileges(t *testing.T) []string {
	t.Helper()
	found := regexp.MustCompile(`^GRANT (.*) ON otpauthapi\.\* TO 'otpbridge'@'%'$`).FindStringSubmatch(databaseScript(t)[2])
	require.NotNil(t, found)
	return strings.Split(found[1], ", ")
}

// prepared makes the database as compose does, again if it exists already. It returns the servers' variables for it,
// with this machine's address instead of the container's name.
func prepared(t *testing.T, server *sqltest.Server) (environ []string) {
	t.Helper()
	require.NoError(t, server.Exec("DROP DATABASE IF EXISTS otpauthapi", "DROP USER IF EXISTS 'otpbridge'@'%'"))
	require.NoError(t, server.Exec(databaseScript(t)...))
	here, err := url.Parse(server.SchemaTCP(t))
	require.NoError(t, err)
	environ = append(containerEnviron(t, composeServers(t, compose(t))[0]), "OTPBRIDGE_STATE_DIR="+t.TempDir())
	for i, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		switch name {
		case "OTPBRIDGE_ADDR":
			environ[i] = name + "=127.0.0.1:0"
		case "OTPBRIDGE_DATABASE_URL":
			require.Contains(t, text, "@mysql:3306/")
			environ[i] = name + "=" + strings.Replace(text, "mysql:3306", here.Host, 1)
		}
	}
	return environ
}

// bootBoth starts two servers at the same time on a database without a schema, as compose does, and runs them until
// the test ends.
func bootBoth(t *testing.T, environ []string) (first, second *booted) {
	t.Helper()
	settings, err := config.Load(environ)
	require.NoError(t, err)
	var servers [2]*booted
	started := make(chan error)
	for i := range servers {
		log := new(output)
		s := New(settings, slog.New(slog.NewTextHandler(log, nil)))
		servers[i] = &booted{Server: s, log: log}
		go func() { started <- s.Start(context.Background()) }()
	}
	require.NoError(t, errors.Join(<-started, <-started))
	for _, s := range servers {
		s.client = newClient(t, s.URL())
		t.Cleanup(func() { require.NoError(t, s.Shutdown(context.Background())) })
	}
	return servers[0], servers[1]
}

func TestStack_TwoServersAreOneService(t *testing.T) {
	t.Parallel()
	first, second := bootBoth(t, prepared(t, sqltest.Own(t)))

	require.Equal(t, "OTP Generated Successfully", first.servlet("otpgenservlet", documentedKey, person("919876543210")))
	messages := second.messages("to=919876543210")
	require.Len(t, messages, 1, "one inbox")
	otp := encrypted(t, sampleKey, sampleIV, messages[0].Code)
	require.Equal(t, "Verified successfully", second.servlet("otpvalidationservlet", documentedKey,
		person("919876543210", "otp", otp)))
	require.Equal(t, "OTPEXPIRED", first.servlet("otpvalidationservlet", documentedKey,
		person("919876543210", "otp", otp)), "used is used on both")
}

// serves starts a server, calls between, generates and verifies a code, moves the clock, resets, and stops. It returns
// the first error, with the log.
func serves(t *testing.T, environ []string, between func()) error {
	settings, err := config.Load(environ)
	require.NoError(t, err)
	log := new(output)
	s := New(settings, slog.New(slog.NewTextHandler(log, nil)))
	if err := s.Start(t.Context()); err != nil {
		return err
	}
	between()
	c := newClient(t, s.URL())
	failed := func() error {
		if answer := c.servlet("otpgenservlet", documentedKey,
			person("919876543210")); answer != "OTP Generated Successfully" {
			return fmt.Errorf("generate: %s\n%s", answer, log)
		}
		otp := encrypted(t, sampleKey, sampleIV, c.messages("to=919876543210")[0].Code)
		if answer := c.servlet("otpvalidationservlet", documentedKey,
			person("919876543210", "otp", otp)); answer != "Verified successfully" {
			return fmt.Errorf("verify: %s\n%s", answer, log)
		}
		if answer := c.do("PUT", "/sandbox/clock", `{"offset":"2h"}`); answer.status >= 300 {
			return fmt.Errorf("move the clock: %s\n%s", answer.body, log)
		}
		if answer := c.do("POST", "/sandbox/reset", `{}`); answer.status >= 300 {
			return fmt.Errorf("reset: %s\n%s", answer.body, log)
		}
		return nil
	}()
	return errors.Join(failed, s.Shutdown(context.Background()))
}

func nothing() {}

// The user that compose and the page on databases make has exactly the privileges that a server needs: without any one
// of them something fails.
func TestStack_TheDatabaseUserHasWhatItNeedsAndNoMore(t *testing.T) {
	t.Parallel()
	database := sqltest.Own(t)
	revoke := func(privilege string) {
		require.NoError(t, database.Exec("REVOKE "+privilege+" ON otpauthapi.* FROM 'otpbridge'@'%'"))
	}
	require.NoError(t, serves(t, prepared(t, database), nothing))
	for _, privilege := range privileges(t) {
		environ := prepared(t, database)
		switch privilege {
		case "CREATE", "ALTER", "INDEX": // the schema's, at the start
			revoke(privilege)
			require.Error(t, serves(t, environ, nothing), privilege)
		default: // new connections have what is left
			err := serves(t, environ, func() {
				revoke(privilege)
				require.NoError(t, database.Exec("KILL USER 'otpbridge'@'%'"))
			})
			require.ErrorContains(t, err, privilege+" command denied", privilege)
		}
	}
}

// The page and compose make the same user.
func TestDatabasePage_TheDatabaseIsMadeAsComposeMakesIt(t *testing.T) {
	_, block, found := strings.Cut(page(t, "doc/database.md"), "```sql\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	require.Equal(t, strings.Join(databaseScript(t), ";\n"),
		strings.Replace(strings.TrimSuffix(block, ";\n"), "a password", "0123456789abcdef", 1))
}

func TestDatabasePage_TheOptionsAreAllThereAre(t *testing.T) {
	_, err := sql.Open(t.Context(), "mysql://user@127.0.0.1/otpauthapi?charset=utf8", sql.Options{})
	_, known, found := strings.Cut(err.Error(), "known are ")
	require.True(t, found, err)
	var documented []string
	options := regexp.MustCompile("(?m)^\\| `([a-z-]+)`\\s+\\|").FindAllStringSubmatch(page(t, "doc/database.md"), -1)
	for _, row := range options {
		documented = append(documented, row[1])
	}
	require.Equal(t, strings.Split(strings.Replace(known, " and ", ", ", 1), ", "), documented)
}

// When the schema exists, a server starts and serves without the privilege to change it, until an upgrade has a
// migration.
func TestStack_TheSchemaCanBeChangedByAnotherUser(t *testing.T) {
	t.Parallel()
	database := sqltest.Own(t)
	environ := prepared(t, database)
	require.NoError(t, serves(t, environ, nothing))
	require.NoError(t, database.Exec("REVOKE CREATE, ALTER, INDEX ON otpauthapi.* FROM 'otpbridge'@'%'"))
	require.NoError(t, serves(t, environ, nothing))
}

// startNginx runs nginx with compose's configuration in front of two servers. Instead of the containers' addresses it
// uses loopback addresses: nginx is 127.0.0.10 instead of 172.30.57.10.
func startNginx(t *testing.T, first, second string) (address string) {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err != nil {
		// CI does not need it either: Debian's package starts a web server when it is installed.
		t.Skip("nginx is not on PATH")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = free.Addr().String()
	require.NoError(t, free.Close())

	folder := t.TempDir()
	configuration := strings.NewReplacer(
		"otpbridge-1:8080", first, "otpbridge-2:8080", second, "listen 8080", "listen "+address,
		"/tmp/", folder+"/", "/dev/stdout", folder+"/access", "/dev/stderr", folder+"/error",
		"proxy_http_version", "proxy_bind 127.0.0.10; proxy_http_version",
	).Replace(nginxConfig(t))
	runNginx(t, folder, configuration, address)
	return address
}

func TestStack_NginxInFront(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8 to stand for the containers")
	}
	environ := variables(t, "OTPBRIDGE_TRUSTED_PROXIES=127.0.0.10")
	servers := []*booted{boot(t, environ...), boot(t, environ...)}
	address := startNginx(t, servers[0].Addr(), servers[1].Addr())
	c := newClient(t, "http://"+address)

	for range 4 {
		require.Equal(t, "OTP Generated Successfully", c.servlet("otpgenservlet", documentedKey, person("919876543210")),
			"the key comes through")
	}
	for _, s := range servers {
		require.Contains(t, s.do("GET", "/sandbox/requests", "").body, "otpgenservlet", "both servers are asked")
	}

	// A client that came through the network's gateway, which is not trusted, has the address that nginx saw.
	require.Equal(t, 201, c.do("POST", "/sandbox/accounts",
		`{"access_keys":[{"key":"a-key-from-here-only","allowed_ips":["127.0.0.1"]}]}`).status)
	require.Equal(t, 201, c.do("POST", "/sandbox/accounts",
		`{"access_keys":[{"key":"a-key-from-there-only","allowed_ips":["203.0.113.9"]}]}`).status)
	generate := func(key string) string {
		return c.do("GET", "/otpauthapi/otpgenservlet?"+person("919551492394").Encode(), "", "access_key", key,
			"X-Forwarded-For", "203.0.113.9").body
	}
	require.Equal(t, "OTP Generated Successfully", generate("a-key-from-here-only"))
	require.Equal(t, "UNAUTHERISED USER", generate("a-key-from-there-only"), "a client does not choose its address")

	for _, tt := range []struct {
		host, path string
		status     int
	}{
		{address, "/sandbox/messages", 200},
		{"localhost:8080", "/sandbox/messages", 200},
		{"otp.localhost:8080", "/sandbox/messages", 200},
		{"evil.example:8080", "/sandbox/messages", 421},
		{"evil.example:8080", "/", 421},
		{"localhost.evil.example", "/sandbox/messages", 421},
		{"otp.vendor.example", "/otpauthapi/otpgenservlet", 200},
	} {
		require.Equal(t, tt.status, c.do("GET", tt.path, "", "Host", tt.host).status, tt.host+tt.path)
	}
	// The sandbox recognises its own pages behind nginx, because nginx passes the Host on.
	require.Equal(t, 200, c.do("PUT", "/sandbox/clock", `{"offset":"1m"}`, "Origin", "http://"+address).status)
	require.Equal(t, 403, c.do("PUT", "/sandbox/clock", `{"offset":"1m"}`, "Origin", "http://evil.example").status)
}
