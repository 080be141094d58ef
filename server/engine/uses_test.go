package engine_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

func TestUses_AreWrittenOnceAMinuteAndAtTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := openWith(t, at, func(o *engine.Options) { o.TendOutbox = time.Hour })
			key, secret := newKey(t, h, manage.NewKey{DeniedIPs: []string{"192.0.2.1"}})
			found := func() manage.Use {
				found, err := h.Keys.Find(background, manage.Operator(), key.ID)
				require.NoError(t, err)
				require.Equal(t, key.Version, found.Version)
				return found.Use
			}
			call := func(from string) error {
				caller, err := h.Authenticate(background, otp.V1Door, secret, netip.MustParseAddr(from))
				if err == nil {
					require.NoError(t, caller.May(otp.PermitSend))
					require.Error(t, caller.May(otp.PermitDebug))
				}
				return err
			}
			for range 100 {
				require.NoError(t, call("192.0.2.7"))
			}
			require.Error(t, call("192.0.2.1"), "it is denied, and does not count")
			require.Equal(t, manage.Use{}, found(), "nothing is written while calls come")
			time.Sleep(61 * time.Second)
			synctest.Wait()
			use := found()
			require.EqualValues(t, 100, use.Calls)
			require.Equal(t, "192.0.2.7", use.Address)
			require.Equal(t, "192.0.2.0/24", use.Network)
			require.Equal(t, []string{"send:otp"}, use.Permissions)

			require.NoError(t, call("198.51.100.7"))
			h.Close()
			use = found()
			require.EqualValues(t, 101, use.Calls)
			require.Equal(t, "198.51.100.7", use.Address)
			require.Equal(t, "*", use.Network)
		})
	})
}
