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

// The names of counts. Sends are counted under the kind of their event.
const (
	calls        = "call"        // by door and kind; the amount is microseconds
	latencies    = "latency"     // calls by how long they took
	keys         = "key"         // calls by key
	countries    = "country"     // calls by the country of the client's address
	keyCountries = "key_country" // the same by key, and by day instead of hour
	pages        = "page"        // calls by key and day that came from a web page
	failures     = "failed"      // credentials and passwords that were refused, by door and kind
)

// sends are the kinds of event that are counted by channel and range of numbers. The amount is the price.
var sends = []otp.EventKind{
	otp.EventSent, otp.EventResent, otp.EventUnsent, otp.EventVerified, otp.EventWrong, otp.EventDelivered,
	otp.EventUndelivered, otp.EventPrefixStop, otp.EventSpendCap,
}

// failing are the kinds of refusal of a credential or password.
var failing = namesOf(otp.UnknownCredential, otp.ExpiredCredential, otp.ForbiddenNetwork, otp.ForbiddenOrigin,
	otp.BadSignature, otp.WrongPassword, otp.FactorRequired, otp.PersonLocked)

// limiting are the kinds of refusal by a limit.
var limiting = namesOf(otp.RateLimited, otp.OverLimit, otp.RegenerationsExhausted, otp.Locked, otp.CostLimited)

func namesOf(kinds ...otp.Kind) (names []string) {
	for _, kind := range kinds {
		names = append(names, kind.String())
	}
	return names
}

// classes are the latency classes, each with its upper bound.
var classes = []struct {
	name string
	up   time.Duration
}{
	{"5ms", 5 * time.Millisecond}, {"20ms", 20 * time.Millisecond}, {"100ms", 100 * time.Millisecond},
	{"500ms", 500 * time.Millisecond}, {"2s", 2 * time.Second}, {"5s", 5 * time.Second},
}

// slower is the class of calls above all bounds.
const slower = "slower"

const (
	// writeEvery is the pause between two writes. A server that is killed loses the counts of this time at most.
	writeEvery = 10 * time.Second
	// maxCounts is how many separate counts are kept between two writes. Further ones are not counted.
	maxCounts = 5000
	// maxRanges is how many ranges of numbers one server counts separately for an account in an hour. Sends to others
	// are counted without their range, so that nobody fills the table by sending everywhere.
	maxRanges = 200
	// maxMembers is how many keys, and how many recipients, of a network are remembered.
	maxMembers = 1000
	// maxAddresses is how many networks are watched in an hour.
	maxAddresses = 10_000
)

// Tally counts in memory; Insight writes its counts to the database. It is safe for concurrent use.
type Tally struct {
	mu        sync.Mutex
	hour      otp.Millis
	counts    map[sql.StatisticKey]*sql.Statistic
	ranges    map[string]map[string]bool // of this hour, by account
	addresses map[netip.Prefix]*address  // of this hour
}

// address is what one network did within the hour.
type address struct {
	failed     int
	keys       map[otp.ID]bool
	recipients map[otp.ID]bool // to whom codes were sent with client keys
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
	// Environment is the key's; empty without a key.
	Environment otp.Environment
	Peer        netip.Addr
	Country     string // of the peer, see Country
	Took        time.Duration
	Page        bool // it came from a web page
}

// Call counts a request that was answered at now.
func (t *Tally) Call(c Call, now otp.Millis) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(now)
	count := func(name, part string, hour otp.Millis, amount int64) {
		t.add(sql.StatisticKey{Name: name, Account: c.Account, Environment: string(c.Environment), Part: part, Hour: hour},
			amount)
	}
	if slices.Contains(failing, c.Kind) {
		count(failures, c.Door+" "+c.Kind, 0, 0)
		if from := t.address(c.Peer); from != nil {
			from.failed++
		}
	}
	if c.Account == "" {
		return
	}
	count(calls, c.Door+" "+c.Kind, 0, c.Took.Microseconds())
	count(latencies, classOf(c.Took), 0, 0)
	count(countries, c.Country, 0, 0)
	if c.Key.IsZero() {
		return
	}
	key, day := c.Key.Text("key"), now-now%otp.Day
	count(keys, key, 0, 0)
	count(keyCountries, key+" "+c.Country, day, 0)
	if c.Page {
		count(pages, key, day, 0)
	}
	if from := t.address(c.Peer); from != nil {
		note(from.keys, c.Key)
	}
}

// Events counts events that were committed at now, the real time: a sandbox's clock does not move it. It does not keep
// the events.
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

// begin forgets the ranges and networks of an earlier hour.
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

// part returns the channels of a send and the range of its number.
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

// address returns the counts of an address's network, nil without an address or if too many networks are watched.
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

// eachAddress calls do for each network of an hour, if that is the current hour. do must be quick.
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

// take returns the counts since the last time.
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

// giveBack undoes take for counts that could not be written.
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

// Unlocated is the country of an address without one, such as a private address.
const Unlocated = "ZZ"

// Country returns the two-letter code of an address's country, ZZ if it has none or it is unknown. The data is
// IP2Location LITE's, which is part of github.com/phuslu/iploc.
func Country(peer netip.Addr) string {
	peer = peer.Unmap()
	if !peer.IsValid() || !peer.IsGlobalUnicast() || peer.IsPrivate() {
		return Unlocated
	}
	if country := iploc.IPCountry(peer.WithZone("")); len(country) == 2 && country != "--" {
		return country
	}
	return Unlocated
}
