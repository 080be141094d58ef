package engine

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

func TestUse_AddsUpWithoutAllocating(t *testing.T) {
	const noon = 20_000*otp.Day + 12*otp.Hour
	home, next := netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("192.0.2.200")
	abroad := netip.MustParseAddr("2001:db8::7%eth0")
	u := &uses{all: map[otp.ID]*use{}}
	one := u.of(otp.ID{1})
	require.Same(t, one, u.of(otp.ID{1}))
	_, used := one.take()
	require.False(t, used)
	for _, peer := range []netip.Addr{home, next, home} {
		one.call(peer, noon)
		one.permit(otp.PermitSend)
	}
	told, used := one.take()
	require.True(t, used)
	day := sql.KeyDay{ID: otp.ID{1}, Day: 20_000, Calls: 3, Permissions: 1, Network: "192.0.2.0/24"}
	require.Equal(t, sql.KeyUse{KeyDay: day, At: noon, Address: "192.0.2.7"}, told)
	_, used = one.take()
	require.False(t, used)

	one.call(abroad, noon+1)
	one.permit(otp.PermitVerify)
	one.back(&told) // it could not be written
	told, _ = one.take()
	day.Calls, day.Permissions, day.Network = 4, 3, sql.ManyNetworks
	require.Equal(t, sql.KeyUse{KeyDay: day, At: noon + 1, Address: "2001:db8::7"}, told)
	one.back(&told)
	told, _ = one.take()
	require.Equal(t, day, told.KeyDay, "nothing came between")

	require.Zero(t, testing.AllocsPerRun(1000, func() {
		one.call(home, noon)
		one.permit(otp.PermitRead)
	}))
	one.take()
	var running sync.WaitGroup
	for range 64 {
		running.Go(func() {
			for range 100 {
				one.call(home, noon)
			}
		})
	}
	running.Wait()
	told, _ = one.take()
	require.EqualValues(t, 6400, told.Calls)
}
