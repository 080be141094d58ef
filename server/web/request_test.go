package web

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoggedID_HoldsNoNumberOrKey(t *testing.T) {
	for id, logged := range map[string]string{
		"order-4711":                           "order-4711",
		"find-me-1":                            "find-me-1",
		"550e8400-e29b-41d4-a716-446655440000": "550e8400-e29b-41d4-a716-446655440000",
		"4bf92f3577b34da6a3ce929d0e0e4736":     "4bf92f3577b34da6a3ce929d0e0e4736",
		"00f067aa0ba902b7":                     "00f067aa0ba902b7",
		"919551492394":                         "[12 digits]",
		"otp-919551492394":                     "otp-[12 digits]",
		"91-9551-492394":                       "[14 digits]",
		"9551492394.1":                         "[12 digits]",
		"00919551492394:send":                  "[14 digits]:send",
		"1234567890123456":                     "[16 digits]",
		"91955149239412345678901234567890":     "[32 digits]",
		"user_9876543210_x":                    "user_[10 digits]_x",
		"otpb_live_sk_abcdefghijklmnop":        "[redacted]",
		"x-otpb_test_ro_abc":                   "[redacted]",
		"code-123456":                          "code-123456",
	} {
		require.Equal(t, logged, loggedID(id), id)
	}
}
