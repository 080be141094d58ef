package servlet_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/servlet"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

var update = flag.Bool("update", false, "rewrite the responses in testdata with what the server answers")

// TestTranscripts plays the stories in testdata against a whole server: the engine over SQLite, the servlets, and HTTP
// over a loopback socket. A story is a txtar archive with a separate account; its files, in the order in which they
// are played, are:
//
//	server        JSON: profile, strict_http, content_type, context_path, fixed_code; first if at all
//	settings      JSON: columns of otp_auth_config, and access_keys, cipher_key, cipher_iv; likewise
//	N.request     an HTTP request; Host and Content-Length are added where they are missing
//	N.response    what it must be answered with: the status line, the headers by name without
//	              Date, a blank line, and the body with \r and \n spelled out; without an \n at
//	              its end the body ends with its last letter
//	clock +301s   the account's clock goes forward by so much
//	fault A B     the sandbox injects a fault of kind B at target A from here on
//	fault none    and no longer
//	cancel M IP   the challenge of a mobile and ipaddress is called off, which no servlet can do
//	sql           a statement that an operator runs on the database
//	inbox         all messages so far, oldest first, one a line: a letter for the code, equal
//	              for equal codes, the channel, and where it went
//
// A request or a statement may contain {account}, {key} (the account's first access key) and values made from a code
// in the inbox: {code}, {right} and {right_hex} (encrypted by the account's settings, as base64 escaped for a query
// and as hex), {wrong_code}, {wrong} and {wrong_hex} (the same for another code). They refer to the last code; {right
// of 3} refers to the one that request 3 had sent.
//
// With -update the responses are rewritten. Those in the repository were typed from the protocol page; every change by
// an update is a change of the protocol.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	houses := map[string]*house{} // by fixed code
	houseFor := func(fixedCode string) *house {
		if houses[fixedCode] == nil {
			houses[fixedCode] = newHouse(t, fixedCode)
		}
		return houses[fixedCode]
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			s := begin(t, archive, houseFor)
			for i := range archive.Files {
				s.play(t, &archive.Files[i])
			}
			if *update {
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o644))
			}
		})
	}
}

// house is an engine with a database; stories share it, each with its own account.
type house struct {
	engine *engine.Engine
	manage *manage.Manager
	path   string
}

func newHouse(t testing.TB, fixedCode string) *house {
	path := filepath.Join(t.TempDir(), "otpbridge.db")
	h := newHouseOn(t, migrated.At(t, path), crypto.NewKeyringText("k1"), fixedCode)
	h.path = path
	require.NoError(t, h.manage.Sandbox.SeedDemo(t.Context()))
	return h
}

// newHouseOn returns one of the houses on a database, all of which have the same keyring.
func newHouseOn(t testing.TB, database, keyringText, fixedCode string) *house {
	ctx := context.Background()
	h := &house{}
	store, err := sql.Open(ctx, database, sql.Options{Sandbox: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	keyring, err := crypto.ParseKeyring(keyringText)
	require.NoError(t, err)
	inbox, faults := deliver.NewInbox(), &deliver.Faults{}
	channels := []deliver.Channel{deliver.Faulty{Channel: inbox, Faults: faults}}
	h.engine, err = engine.New(ctx, engine.Options{
		Store: store, Keyring: keyring, SMS: channels, Email: channels,
		DeliveryWait: time.Minute, Log: slog.New(slog.DiscardHandler),
		Sandbox: true, Inbox: inbox, Faults: faults, FixedCode: fixedCode,
	})
	require.NoError(t, err)
	t.Cleanup(h.engine.Close)
	h.manage, err = manage.Open(ctx, manage.Options{Store: store, Keyring: keyring, Sandbox: true,
		Changed: h.engine.Forget})
	require.NoError(t, err)
	return h
}

// story is a story in progress.
type story struct {
	house       *house
	server      *httptest.Server
	credentials manage.Credentials
	cipher      string
	clock       time.Duration
	seen        map[string]bool   // messages, by id
	codes       map[string]string // by the number of the request that had them sent; "" for the last
	got         map[string]string // responses, by number
}

// begin starts a story's server and creates its account.
func begin(t *testing.T, archive *txtar.Archive, houseFor func(fixedCode string) *house) *story {
	serverSettings := struct {
		Profile     otp.Profile `json:"profile"`
		StrictHTTP  bool        `json:"strict_http"`
		ContentType string      `json:"content_type"`
		ContextPath string      `json:"context_path"`
		FixedCode   string      `json:"fixed_code"`
	}{ContextPath: "/otpauthapi"}
	account := struct {
		otp.Account
		CipherKey  string                `json:"cipher_key"`
		CipherIV   string                `json:"cipher_iv"`
		AccessKeys []manage.NewAccessKey `json:"access_keys"`
	}{Account: otp.DefaultAccount("")}
	for _, file := range archive.Files {
		switch file.Name {
		case "server":
			decode(t, file, &serverSettings)
		case "settings":
			decode(t, file, &account)
		}
	}

	s := &story{
		house: houseFor(serverSettings.FixedCode), cipher: account.Cipher,
		seen: map[string]bool{}, codes: map[string]string{}, got: map[string]string{},
	}
	var err error
	_, s.credentials, err = s.house.manage.Sandbox.CreateAccount(context.Background(), manage.NewAccount{
		Account: account.Account, CipherKey: account.CipherKey, CipherIV: account.CipherIV, AccessKeys: account.AccessKeys,
	})
	require.NoError(t, err)

	router := gin.New()
	servlet.Mount(router, serverSettings.ContextPath, servlet.Options{
		Engine: s.house.engine, Profile: serverSettings.Profile, StrictHTTP: serverSettings.StrictHTTP,
		ContentType: serverSettings.ContentType, Log: slog.New(slog.DiscardHandler),
	})
	s.server = httptest.NewServer(router)
	t.Cleanup(s.server.Close)
	t.Cleanup(func() { s.house.engine.Faults.Set(nil) })
	return s
}

func decode(t *testing.T, file txtar.File, into any) {
	decoder := json.NewDecoder(bytes.NewReader(file.Data))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(into), file.Name)
}

// play executes one file of a story.
func (s *story) play(t *testing.T, file *txtar.File) {
	ctx := context.Background()
	verb, argument, _ := strings.Cut(file.Name, " ")
	number, isRequest := strings.CutSuffix(verb, ".request")
	answered, isResponse := strings.CutSuffix(verb, ".response")
	switch {
	case verb == "server", verb == "settings":
	case isRequest:
		s.got[number] = s.exchange(t, s.fill(t, string(file.Data)))
		s.readInbox(t, number)
	case isResponse:
		got, asked := s.got[answered]
		require.True(t, asked, "%s answers no request", file.Name)
		if *update {
			file.Data = []byte(got + "\n")
			return
		}
		require.Equal(t, strings.TrimRight(string(file.Data), "\n"), strings.TrimRight(got, "\n"), file.Name)
	case verb == "clock":
		forward, err := time.ParseDuration(strings.TrimPrefix(argument, "+"))
		require.NoError(t, err)
		s.clock += forward
		require.NoError(t, s.house.manage.Sandbox.SetClock(ctx, s.credentials.Address, s.clock))
	case verb == "fault":
		var rules []deliver.Fault
		if target, kind, found := strings.Cut(argument, " "); found {
			rules = []deliver.Fault{{Target: target, Kind: kind, Account: s.credentials.Address}}
		}
		s.house.engine.Faults.Set(rules)
	case verb == "cancel":
		mobile, ipaddress, _ := strings.Cut(argument, " ")
		caller, err := s.house.engine.Authenticate(ctx, otp.ServletDoor, s.credentials.AccessKey, netip.Addr{})
		require.NoError(t, err)
		target, err := caller.Target(mobile, ipaddress, "")
		require.NoError(t, err)
		_, err = s.house.engine.CancelNamed(ctx, caller, engine.Named{Target: target})
		require.NoError(t, err)
	case verb == "sql":
		s.runSQL(t, s.fill(t, string(file.Data)))
	case verb == "inbox":
		require.Equal(t, string(file.Data), s.inbox(t))
	default:
		t.Fatalf("a story has no file %q", file.Name)
	}
}

// exchange sends a request unchanged and returns the response as text.
func (s *story) exchange(t *testing.T, text string) string {
	head, body, _ := strings.Cut(strings.TrimRight(text, "\n"), "\n\n")
	lines := strings.Split(head, "\n")
	names := strings.ToLower(head)
	if !strings.Contains(names, "\nhost:") {
		lines = slices.Insert(lines, 1, "Host: otpbridge.example")
	}
	if body != "" && !strings.Contains(names, "\ncontent-length:") && !strings.Contains(names, "\ntransfer-encoding:") {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}

	connection, err := net.Dial("tcp", s.server.Listener.Addr().String())
	require.NoError(t, err)
	defer connection.Close()
	require.NoError(t, connection.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(connection, strings.Join(lines, "\r\n")+"\r\n\r\n"+body)
	require.NoError(t, err)

	method, _, _ := strings.Cut(lines[0], " ")
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", response.Proto, response.Status)
	response.Header.Del("Date")
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		for _, value := range response.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	b.WriteString("\n" + strings.NewReplacer(`\`, `\\`, "\r", `\r`, "\n", `\n`).Replace(string(answer)))
	return b.String()
}

// messages returns the account's messages, oldest first.
func (s *story) messages(t *testing.T) []engine.Message {
	messages, err := s.house.engine.Inbox.List(context.Background(),
		engine.MessageQuery{Account: s.credentials.Address, Limit: 500})
	require.NoError(t, err)
	slices.Reverse(messages)
	return messages
}

// readInbox finds the code that a request had sent.
func (s *story) readInbox(t *testing.T, number string) {
	for _, message := range s.messages(t) {
		if !s.seen[message.ID] {
			s.seen[message.ID] = true
			s.codes[number], s.codes[""] = message.Code, message.Code
		}
	}
}

// inbox returns the account's messages as text.
func (s *story) inbox(t *testing.T) string {
	var b strings.Builder
	letters := map[string]string{}
	for _, message := range s.messages(t) {
		require.Contains(t, message.Text, message.Code)
		if letters[message.Code] == "" {
			letters[message.Code] = string(rune('A' + len(letters)))
		}
		fmt.Fprintf(&b, "%s %s %s\n", letters[message.Code], message.Channel, message.To)
	}
	return b.String()
}

var placeholder = regexp.MustCompile(`\{(account|key|code|right|right_hex|wrong_code|wrong|wrong_hex)(?: of (\d+))?\}`)

// fill replaces placeholders with values.
func (s *story) fill(t *testing.T, text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		match := placeholder.FindStringSubmatch(found)
		code, sent := s.codes[match[2]]
		if !sent {
			require.Empty(t, match[2], "request %s had no code sent", match[2])
			code = "135790" // nothing was sent yet, and every code is wrong
		}
		other := code[:len(code)-1] + string('0'+(code[len(code)-1]-'0'+1)%10)
		switch match[1] {
		case "account":
			return s.credentials.Address
		case "key":
			return s.credentials.AccessKey
		case "code":
			return code
		case "right":
			return s.base64(t, code)
		case "right_hex":
			return hex.EncodeToString(s.encrypt(t, code))
		case "wrong_code":
			return other
		case "wrong":
			return s.base64(t, other)
		default:
			return hex.EncodeToString(s.encrypt(t, other))
		}
	})
}

func (s *story) base64(t *testing.T, code string) string {
	if s.cipher == "none" {
		return code
	}
	return url.QueryEscape(base64.StdEncoding.EncodeToString(s.encrypt(t, code)))
}

// encrypt does what a client does, written independently of the product.
func (s *story) encrypt(t *testing.T, code string) []byte {
	key, err := base64.StdEncoding.DecodeString(s.credentials.CipherKey)
	require.NoError(t, err)
	iv, err := base64.StdEncoding.DecodeString(s.credentials.CipherIV)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	padding := aes.BlockSize - len(code)
	padded := append([]byte(code), bytes.Repeat([]byte{byte(padding)}, padding)...)
	if s.cipher == "aes-ecb" {
		block.Encrypt(padded, padded)
	} else {
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	}
	return padded
}

// runSQL does what an operator does with the database's own tools, beside the running server.
func (s *story) runSQL(t *testing.T, statement string) {
	result, err := sqltest.Connect(t, "sqlite:"+s.house.path).Exec(statement)
	require.NoError(t, err)
	changed, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, changed, "rows changed by the statement")
}
