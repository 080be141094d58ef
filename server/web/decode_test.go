package web

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecode_AnswersWhatIsWrong(t *testing.T) {
	var target struct {
		Offset string `json:"offset"`
	}
	refused, ok := errors.AsType[*Problem](Decode([]byte(`{"offset":7,"zone":"x"}`), &target))
	require.True(t, ok)
	require.Equal(t, &Problem{
		Status: 400, Code: "INVALID_REQUEST", Detail: "/offset must be a string (and 1 more, see errors)",
		Faults: []Fault{{Pointer: "/offset", Detail: "must be a string"}, {Pointer: "/zone", Detail: "is not known here"}},
	}, refused)
}

func TestDecode_NoBodyIsTheEmptyObject(t *testing.T) {
	target := struct {
		Offset string `json:"offset"`
	}{"10m"}
	for _, body := range []string{"", " \n", "{}"} {
		require.NoError(t, Decode([]byte(body), &target), body)
	}
	require.Equal(t, "10m", target.Offset)
}
