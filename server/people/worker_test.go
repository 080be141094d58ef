package people_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/vault"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
)

// workerVariable makes a process of this test binary a second server. It contains the keyring and the database's URL.
const workerVariable = "OTPBRIDGE_TEST_WORKER"

func TestMain(m *testing.M) {
	if set := os.Getenv(workerVariable); set != "" {
		if err := work(set); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	sqltest.Main(m)
}

// order is a call that many make at once on one server, each from another network.
type order struct {
	Do                    string // the name of one of deeds
	Email, Password, Code string
	Token                 string // a refresh token, an access token, a ticket
	Name                  string
	Question              people.Answer
	ID                    otp.ID // of a session
	Version               int64
	Round                 int // each comes from other networks, where nothing was counted yet
	First, Count          int // the numbers of those who do it
}

// outcome is the result of an order.
type outcome struct {
	Answers map[string]int // by kind of refusal; empty for none
	Texts   []string       // what those got who were not refused
}

// deeds are the calls of orders, each as one of many callers.
var deeds = map[string]func(p *people.People, o order, from people.Client, i int) (string, error){
	"refresh": func(p *people.People, o order, from people.Client, _ int) (string, error) {
		tokens, err := p.Refresh(ctx, o.Token, from)
		return tokens.RefreshToken, err
	},
	"register": func(p *people.People, o order, from people.Client, i int) (string, error) {
		email := o.Email
		if email == "" {
			email = fmt.Sprintf("owner%d@shop.example", i)
		}
		in := people.Registration{Email: email, Password: password, Name: "A", Ticket: o.Token}
		tokens, err := p.Register(ctx, in, from)
		return tokens.Person.ID, err
	},
	"login": func(p *people.People, o order, from people.Client, _ int) (string, error) {
		tokens, err := p.Login(ctx, people.Login{Email: o.Email, Password: password, Code: o.Code}, from)
		return tokens.Session, err
	},
	"passkey": func(p *people.People, o order, from people.Client, _ int) (string, error) {
		tokens, err := p.Passkeys.Login(ctx, o.Question, from)
		return tokens.Session, err
	},
	"change": func(p *people.People, o order, _ people.Client, i int) (string, error) {
		name := fmt.Sprint("Name ", i)
		changed, err := p.Staff.Change(ctx, people.Operator(), o.Email, people.Patch{Name: &name}, o.Version)
		return changed.Name, err
	},
	"session": func(p *people.People, o order, from people.Client, _ int) (string, error) {
		who, err := p.Session(ctx, o.ID, from)
		return string(who.Grant.Role), err
	},
	"bearer": func(p *people.People, o order, from people.Client, _ int) (string, error) {
		who, err := p.Bearer(ctx, o.Token, from)
		return string(who.Grant.Role), err
	},
}

// carryOut carries out an order.
func carryOut(p *people.People, o order) outcome {
	texts := make([]string, o.Count)
	answers := atOnce(o.Count, func(i int) (err error) {
		i += o.First
		from := people.Client{Address: netip.AddrFrom4([4]byte{10, byte(i), byte(o.Round), 1})}
		texts[i-o.First], err = deeds[o.Do](p, o, from, i)
		return err
	})
	result := outcome{Answers: answers}
	for _, text := range texts {
		if text != "" {
			result.Texts = append(result.Texts, text)
		}
	}
	return result
}

// work is the second process: each line of JSON that it reads is an order, and each line that it writes is an outcome.
func work(set string) error {
	var settings [2]string
	if err := json.Unmarshal([]byte(set), &settings); err != nil {
		return err
	}
	store, err := sql.Open(ctx, settings[1], sql.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	keyring, err := crypto.ParseKeyring(settings[0])
	if err != nil {
		return err
	}
	opened, err := vault.Open(ctx, store, keyring, false)
	if err != nil {
		return err
	}
	p := people.New(options(store, opened))
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	if err := out.Encode(outcome{}); err != nil { // it is ready
		return err
	}
	for in.More() {
		var o order
		if err := in.Decode(&o); err != nil {
			return err
		}
		if err := out.Encode(carryOut(p, o)); err != nil {
			return err
		}
	}
	return nil
}

// pair is two processes on one database.
type pair struct {
	*people.People // of this process
	send           *json.Encoder
	receive        *json.Decoder
	t              testing.TB
}

func newPair(t testing.TB, url string) *pair {
	t.Helper()
	p := &pair{People: open(t, url), t: t}
	settings, err := json.Marshal([2]string{keyringText, url})
	require.NoError(t, err)
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), workerVariable+"="+string(settings))
	other.Stderr = os.Stderr
	in, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, other.Wait())
	})
	p.send, p.receive = json.NewEncoder(in), json.NewDecoder(out)
	p.other(nil)
	return p
}

// other lets the other process carry out an order. For nil it only waits until that process is ready.
func (p *pair) other(o *order) (result outcome) {
	p.t.Helper()
	if o != nil {
		require.NoError(p.t, p.send.Encode(*o))
	}
	require.NoError(p.t, p.receive.Decode(&result))
	return result
}

// race makes 64 concurrent calls, half of them in each process.
func (p *pair) race(o order) outcome {
	p.t.Helper()
	o.Count = 32
	there := o
	there.First = 32
	require.NoError(p.t, p.send.Encode(there))
	result, theirs := carryOut(p.People, o), p.other(nil)
	for answer, n := range theirs.Answers {
		result.Answers[answer] += n
	}
	result.Texts = append(result.Texts, theirs.Texts...)
	return result
}
