package insight

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

var (
	ctx = context.Background()
	now = otp.At(time.Date(2026, 11, 29, 12, 30, 0, 0, time.UTC))
)

// open is one server's insight.
func open(t testing.TB, url string) *Insight {
	t.Helper()
	store, err := sql.Open(ctx, url, sql.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return Open(Options{Store: store, Tally: NewTally(), Log: slog.New(slog.DiscardHandler)})
}

func sent(account, prefix string) otp.Event {
	return otp.Event{Kind: otp.EventSent, Account: account, Environment: otp.Live,
		Sending: otp.Sending{Channels: otp.SMS, Prefix: prefix, Price: 10}}
}

func lines(t testing.TB, i *Insight, by string, accounts ...string) map[string]Line {
	t.Helper()
	found, err := i.Statistics(ctx, Query{Accounts: accounts, From: now - 8*otp.Day, To: now + otp.Hour, By: by})
	require.NoError(t, err)
	all := map[string]Line{}
	for _, line := range found {
		all[line.Of] = line
	}
	return all
}

func TestStatistics_SayWhatHappened(t *testing.T) {
	i := open(t, migrated.SQLite(t))
	tally := i.Tally
	event := func(account string, kind otp.EventKind, s otp.Sending) {
		tally.Events([]otp.Event{{Kind: kind, Account: account, Environment: otp.Live, Sending: s}}, now)
	}
	sms, gulf := otp.Sending{Channels: otp.SMS, Prefix: "919551"}, otp.Sending{Channels: otp.SMS, Prefix: "971501"}
	paid := sms
	paid.Price = 100
	for range 3 {
		event("1", otp.EventSent, paid)
	}
	event("1", otp.EventResent, paid)
	event("1", otp.EventUnsent, paid)
	event("1", otp.EventSent, gulf)
	event("1", otp.EventSent, otp.Sending{Channels: otp.SMS | otp.Email, Prefix: "919551"})
	event("1", otp.EventSent, otp.Sending{Channels: otp.Email})
	event("1", otp.EventVerified, sms)
	event("1", otp.EventWrong, sms)
	event("1", otp.EventPrefixStop, gulf)
	event("1", otp.EventSpendCap, sms)
	event("1", otp.EventDelivered, otp.Sending{Channels: otp.SMS})
	event("1", otp.EventReplaced, sms) // is no count
	event("2", otp.EventSent, sms)
	for kind, times := range map[string]int{"ok": 4, "wrong_code": 2, "rate_limited": 3, "fault": 1} {
		for range times {
			tally.Call(Call{Door: "servlet", Kind: kind, Account: "1", Key: otp.ID{7}, Took: 40 * time.Millisecond,
				Peer: netip.MustParseAddr("2606:4700::1"), Country: "US"}, now)
		}
	}
	tally.Call(Call{Door: "v1", Kind: "unknown_credential", Peer: netip.MustParseAddr("10.0.0.1")}, now)
	tally.Call(Call{Door: "api", Kind: "wrong_password"}, now)
	require.NoError(t, i.Write(ctx, now))
	require.NoError(t, i.Write(ctx, now), "nothing is counted twice")

	hour := lines(t, i, ByHour, "1")["2026-11-29T12:00:00Z"]
	require.Equal(t, []int64{7, 1, 1, 1, 1, 300, 1, 1, 10, 5, 1, 3, 0}, []int64{hour.Sent, hour.Unsent, hour.Delivered,
		hour.Verified, hour.Wrong, hour.Spend, hour.Stopped, hour.Capped, hour.Calls, hour.Refused, hour.Faults, hour.Limited,
		hour.Failed})
	require.EqualValues(t, 40, hour.AverageMS)
	require.InDelta(t, 16.6, *hour.Conversion, 0.01, "one of six that reached somebody")
	require.EqualValues(t, 2, lines(t, i, ByDay)["2026-11-29"].Failed, "strangers are in what is of all accounts")
	country := lines(t, i, ByCountry, "1")
	require.EqualValues(t, 5, country["IN"].Sent)
	require.EqualValues(t, 1, country["AE"].Stopped)
	require.EqualValues(t, 1, country[""].Sent, "the mailbox")
	require.EqualValues(t, 6, lines(t, i, ByPrefix)["919551"].Sent)
	require.EqualValues(t, 1, lines(t, i, ByChannel)["sms,email"].Sent)
	require.EqualValues(t, 10, lines(t, i, ByClientCountry)["US"].Calls)
	require.EqualValues(t, 10, lines(t, i, ByKey)[otp.ID{7}.Text("key")].Calls)
	require.EqualValues(t, 10, lines(t, i, ByLatency)["100ms"].Calls)
	require.EqualValues(t, 3, lines(t, i, ByReason)["servlet rate_limited"].Limited)
	require.EqualValues(t, 1, lines(t, i, ByReason)["api wrong_password"].Failed)
}

func TestTally_IsBounded(t *testing.T) {
	tally := NewTally()
	for n := range 3 * maxRanges {
		tally.Events([]otp.Event{sent("1", fmt.Sprint(100_000+n))}, now)
	}
	counts := tally.take()
	require.Equal(t, maxRanges+1, len(counts), "the ranges beyond are counted together")
	for n := range maxAddresses + 10 {
		tally.Call(Call{Door: "v1", Kind: "ok", Account: "1", Key: otp.ID{1, byte(n), byte(n >> 8)},
			Peer: netip.AddrFrom4([4]byte{1, 1, byte(n), byte(n >> 8)})}, now)
	}
	require.Equal(t, maxCounts, len(tally.take()))
	require.Equal(t, maxAddresses, len(tally.addresses))
}

func TestWrite_WhatCannotBeWrittenIsKept(t *testing.T) {
	i := open(t, migrated.SQLite(t))
	i.Tally.Events([]otp.Event{sent("1", "919551"), sent("1", "919551")}, now)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.Error(t, i.Write(ended, now))
	i.Tally.Events([]otp.Event{sent("1", "919551")}, now)
	require.NoError(t, i.Write(ctx, now))
	require.EqualValues(t, 3, lines(t, i, ByPrefix)["919551"].Sent)
}

func TestCountry_OfAnAddress(t *testing.T) {
	for address, country := range map[string]string{
		"1.1.1.1": "AU", "::ffff:1.1.1.1": "AU", "2606:4700::1": "US", "10.1.2.3": "ZZ", "127.0.0.1": "ZZ", "::1": "ZZ",
		"fe80::1%eth0": "ZZ", "192.168.0.1": "ZZ", "169.254.1.1": "ZZ", "::": "ZZ",
		"203.0.113.7": "ZZ", "100.64.0.1": "ZZ", "224.0.0.1": "ZZ", "fd00::1": "ZZ", "0.0.0.0": "ZZ",
	} {
		require.Equal(t, country, Country(netip.MustParseAddr(address)), address)
	}
	require.Equal(t, "ZZ", Country(netip.Addr{}))
}
