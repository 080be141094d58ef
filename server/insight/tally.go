package insight

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/phuslu/iploc"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The names of counts beside those of sends, which are counted under the kind of their event.
const (
	calls        = "call"        // by door and kind; the amount is microseconds
	latencies    = "latency"     // calls by how long they took
	keys         = "key"         // calls by key
	countries    = "country"     // calls by the country of the client's address
	keyCountries = "key_country" // the same by key, and by the day instead of the hour
	failures     = "failed"      // credentials and passwords that were refused, by door and kind
)

// sends are the kinds of event that are counted, by channel and range of numbers. The amount is what was paid.
var sends = []otp.EventKind{
	otp.EventSent, otp.EventResent, otp.EventUnsent, otp.EventVerified, otp.EventWrong, otp.EventDelivered,
	otp.EventUndelivered, otp.EventPrefixStop, otp.EventSpendCap,
}

// failing are the kinds of refusal that mean that somebody did not prove who they are.
var failing = namesOf(otp.UnknownCredential, otp.ExpiredCredential, otp.ForbiddenNetwork, otp.ForbiddenOrigin,
	otp.BadSignature, otp.WrongPassword, otp.FactorRequired, otp.PersonLocked)

// limiting are the kinds of refusal that mean that a limit was hit.
var limiting = namesOf(otp.RateLimited, otp.OverLimit, otp.RegenerationsExhausted, otp.Locked, otp.CostLimited)

func namesOf(kinds ...otp.Kind) (names []string) {
	for _, kind := range kinds {
		names = append(names, kind.String())
	}
	return names
}

// classes are the latency classes, each up to a duration.
var classes = []struct {
	name string
	up   time.Duration
}{
	{"5ms", 5 * time.Millisecond}, {"20ms", 20 * time.Millisecond}, {"100ms", 100 * time.Millisecond},
	{"500ms", 500 * time.Millisecond}, {"2s", 2 * time.Second}, {"5s", 5 * time.Second},
}

// slower is the class of what no other holds.
const slower = "slower"

const (
	// writeEvery is the pause between two writes, and what a server that is killed has not counted at most.
	writeEvery = 10 * time.Second
	// maxCounts bounds what is told apart between two writes. What would be new beyond it is not counted.
	maxCounts = 5000
	// maxRanges bounds the ranges of numbers that one server tells apart for an account in an hour. Sends to further ones
	// are counted without theirs, so that nobody fills the table by sending everywhere.
	maxRanges = 200
	// maxMembers bounds the keys and the recipients of a network that are told apart.
	maxMembers = 1000
	// maxAddresses bounds the networks that are watched in an hour.
	maxAddresses = 10_000
)

// Tally counts in memory, for somebody to take. It is safe for concurrent use.
type Tally struct {
	mu        sync.Mutex
	hour      otp.Millis
	counts    map[sql.StatisticKey]*sql.Statistic
	ranges    map[string]map[string]bool // by account, of this hour
	addresses map[netip.Prefix]*address  // the same
}

// address is what one network did within the hour.
type address struct {
	failed     int
	keys       map[otp.ID]bool
	recipients map[otp.ID]bool // that its client keys had codes sent to
}

// NewTally returns an empty tally.
func NewTally() *Tally {
	return &Tally{counts: map[sql.StatisticKey]*sql.Statistic{}, ranges: map[string]map[string]bool{},
		addresses: map[netip.Prefix]*address{}}
}

// Call is a request that a door has answered.
type Call struct {
	Door    string
	Kind    string // ok, fault, or the kind of the refusal
	Account string // empty for a stranger
	Key     otp.ID // zero for none
	Peer    netip.Addr
	Took    time.Duration
}

// Call counts a request that was answered at now.
func (t *Tally) Call(c Call, now otp.Millis) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(now)
	if slices.Contains(failing, c.Kind) {
		t.add(sql.StatisticKey{Name: failures, Account: c.Account, Part: c.Door + " " + c.Kind}, 0)
		if from := t.address(c.Peer); from != nil {
			from.failed++
		}
	}
	if c.Account == "" {
		return
	}
	t.add(sql.StatisticKey{Name: calls, Account: c.Account, Part: c.Door + " " + c.Kind}, c.Took.Microseconds())
	t.add(sql.StatisticKey{Name: latencies, Account: c.Account, Part: classOf(c.Took)}, 0)
	country := Country(c.Peer)
	t.add(sql.StatisticKey{Name: countries, Account: c.Account, Part: country}, 0)
	if c.Key.IsZero() {
		return
	}
	key := c.Key.Text("key")
	t.add(sql.StatisticKey{Name: keys, Account: c.Account, Part: key}, 0)
	t.add(sql.StatisticKey{Name: keyCountries, Account: c.Account, Part: key + " " + country,
		Hour: now - now%otp.Day}, 0)
	if from := t.address(c.Peer); from != nil {
		note(from.keys, c.Key)
	}
}

// Events counts what was committed at now, which no sandbox's clock moves. It keeps none of them.
func (t *Tally) Events(events []otp.Event, now otp.Millis) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(now)
	for i := range events {
		e := &events[i]
		if !slices.Contains(sends, e.Kind) {
			continue
		}
		t.add(sql.StatisticKey{Name: string(e.Kind), Account: e.Account, Environment: string(e.Environment),
			Part: t.part(e)}, e.Sending.Price)
		if from := t.address(e.Sending.Peer); from != nil {
			note(from.recipients, e.Recipient)
		}
	}
}

// begin forgets what was watched in an hour that is over.
func (t *Tally) begin(now otp.Millis) {
	if hour := now - now%otp.Hour; hour != t.hour {
		t.hour = hour
		clear(t.ranges)
		clear(t.addresses)
	}
}

func (t *Tally) add(key sql.StatisticKey, amount int64) {
	if key.Hour == 0 {
		key.Hour = t.hour
	}
	n := t.counts[key]
	if n == nil {
		if len(t.counts) >= maxCounts {
			return
		}
		n = &sql.Statistic{StatisticKey: key}
		t.counts[key] = n
	}
	n.Times++
	n.Amount += amount
}

// part is the channels of a send and the range of numbers that it went to.
func (t *Tally) part(e *otp.Event) string {
	channels, prefix := e.Sending.Channels.String(), e.Sending.Prefix
	known := t.ranges[e.Account]
	if known == nil {
		known = map[string]bool{}
		t.ranges[e.Account] = known
	}
	if !known[prefix] && len(known) >= maxRanges {
		return channels + " "
	}
	known[prefix] = true
	return channels + " " + prefix
}

// address is what is known of an address's network, nil for no address or one too many.
func (t *Tally) address(peer netip.Addr) *address {
	if !peer.IsValid() {
		return nil
	}
	network := otp.HostOf(peer)
	from := t.addresses[network]
	if from == nil && len(t.addresses) < maxAddresses {
		from = &address{keys: map[otp.ID]bool{}, recipients: map[otp.ID]bool{}}
		t.addresses[network] = from
	}
	return from
}

// eachAddress calls do for each network that did anything in an hour, if that is the present one. It must be quick.
func (t *Tally) eachAddress(hour otp.Millis, do func(netip.Prefix, *address)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hour != hour {
		return
	}
	for network, did := range t.addresses {
		do(network, did)
	}
}

func note(members map[otp.ID]bool, id otp.ID) {
	if len(members) < maxMembers {
		members[id] = true
	}
}

// take returns what was counted since the last time.
func (t *Tally) take() []sql.Statistic {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := make([]sql.Statistic, 0, len(t.counts))
	for _, n := range t.counts {
		counts = append(counts, *n)
	}
	clear(t.counts)
	return counts
}

// giveBack undoes take for what could not be written.
func (t *Tally) giveBack(counts []sql.Statistic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range counts {
		if n := t.counts[counts[i].StatisticKey]; n != nil {
			n.Times, n.Amount = n.Times+counts[i].Times, n.Amount+counts[i].Amount
		} else if len(t.counts) < maxCounts {
			t.counts[counts[i].StatisticKey] = &counts[i]
		}
	}
}

func classOf(took time.Duration) string {
	for _, class := range classes {
		if took <= class.up {
			return class.name
		}
	}
	return slower
}

// unlocated is the country of an address that is nobody's, such as one of a private network.
const unlocated = "ZZ"

// Country is the two-letter code of the country of an address, ZZ if it has none or that is not known. The data is
// IP2Location LITE's, which github.com/phuslu/iploc has in it.
func Country(peer netip.Addr) string {
	peer = peer.Unmap()
	if !peer.IsValid() || !peer.IsGlobalUnicast() || peer.IsPrivate() {
		return unlocated
	}
	if country := iploc.IPCountry(peer.WithZone("")); len(country) == 2 && country != "--" {
		return country
	}
	return unlocated
}
