package web

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

func TestIfMatch_TakesTheTagOfTheVersionAlone(t *testing.T) {
	for _, tt := range []struct {
		given []string
		kind  otp.Kind
	}{
		{[]string{`"7"`}, 0},
		{[]string{`*`}, 0},
		{[]string{`"6", "7"`}, 0},
		{[]string{`"6"`, `"7"`}, 0},
		{[]string{"\t\"7\" "}, 0},
		{[]string{`"6"`}, otp.Outdated},
		{[]string{`"8"`}, otp.Outdated},
		{[]string{`W/"7"`}, otp.Outdated},
		{[]string{`7`}, otp.Outdated},
		{[]string{`"07"`}, otp.Outdated},
		{[]string{`'7'`}, otp.Outdated},
		{[]string{``}, otp.Outdated},
		{[]string{`"6", *`}, otp.Outdated},
		{[]string{`"77"`}, otp.Outdated},
	} {
		require.Equal(t, tt.kind, otp.KindOf(IfMatch(http.Header{"If-Match": tt.given}, 7)), "%q", tt.given)
	}
	missing, _ := errors.AsType[*Problem](IfMatch(http.Header{}, 7))
	require.Equal(t, http.StatusPreconditionRequired, missing.Status)
}
