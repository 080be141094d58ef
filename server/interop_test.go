package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"
)

// The clients of testclient/interop know the server only from outside, like existing integrations of the servlets.
// Each compares raw bytes itself. This file runs them and requires that they finish all steps.

const (
	interopFolder  = "../testclient/interop"
	interopTimeout = 60 * time.Second

	// The cipher of both demo accounts.
	interopCipherKey = sampleKey
	interopCipherIV  = sampleIV

	// The exact output of a client whose steps all succeeded.
	interopSuccess = "ok generate\nok regenerate\nok inbox\nok wrong code\nok right code\nok used code\n"
)

var interopClients = []struct {
	name    string
	needs   []string // commands that must be on PATH; the first runs the client
	program string
}{
	{"java", []string{"java"}, "Java/ServletClient.java"},
	{"node", []string{"node"}, "node/servlet_client.js"},
	{"php", []string{"php"}, "php/servlet_client.php"},
	{"python", []string{"python3", "openssl"}, "python/servlet_client.py"},
	{"openssl-curl", []string{"bash", "curl", "openssl"}, "openssl-curl/servlet_client.sh"},
}

var interopAccounts = []struct {
	profile, accessKey string
}{
	{"documented", documentedKey},
	{"live", liveKey},
}

func TestServlets_ExistingIntegrationsWork(t *testing.T) {
	target := boot(t, variables(t)...).URL()
	mobiles := newInteropMobiles()

	for _, client := range interopClients {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			needs(t, client.needs...)
			for _, account := range interopAccounts {
				for _, encoding := range []string{"base64", "hex"} {
					t.Run(account.profile+"/"+encoding, func(t *testing.T) {
						t.Parallel()
						runInteropClient(t, client.needs[0], client.program,
							"TARGET="+target,
							"CONTEXT_PATH=/otpauthapi",
							"ACCESS_KEY="+account.accessKey,
							"CIPHER_KEY="+interopCipherKey,
							"CIPHER_IV="+interopCipherIV,
							"MOBILE="+mobiles.next(),
							"PROFILE="+account.profile,
							"PARAM_ENCODING="+encoding,
							// Otherwise curl and Python would use the environment's proxy for loopback.
							"NO_PROXY=*", "no_proxy=*",
						)
					})
				}
			}
		})
	}
}

func runInteropClient(t *testing.T, runtime, program string, settings ...string) {
	t.Helper()
	runInteropProgram(t, runtime, program, interopSuccess, settings...)
}

func runInteropProgram(t *testing.T, runtime, program, success string, settings ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), interopTimeout)
	defer cancel()

	cmd := exec.CommandContext(ctx, runtime, program)
	cmd.Dir = interopFolder
	cmd.Env = append(os.Environ(), settings...)
	// The shell client's curl may outlive a killed shell and keep the pipes open.
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr

	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("%w after %s", context.Cause(ctx), interopTimeout)
	}
	if err != nil {
		t.Fatalf("%s %s: %v\nstdout:\n%s\nstderr:\n%s", runtime, program, err, &stdout, &stderr)
	}
	// A program that does nothing also exits with 0, so check the output.
	if stdout.String() != success {
		t.Fatalf("%s %s printed\n%s\nwant\n%s", runtime, program, &stdout, success)
	}
}

// interopMobiles returns Indian mobile numbers, none twice. They start at a random number, so that repeated runs
// against one database do not reach the send limits of the run before.
type interopMobiles struct {
	last atomic.Int64
}

func newInteropMobiles() *interopMobiles {
	mobiles := &interopMobiles{}
	mobiles.last.Store(rand.Int64N(900_000_000))
	return mobiles
}

func (m *interopMobiles) next() string {
	return fmt.Sprintf("917%09d", m.last.Add(1))
}
