package deliver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMask_ShowsTooLittleToUse(t *testing.T) {
	require.Equal(t, "+91••••••2394", Mask("+919551492394"))
	require.Equal(t, "u•••@example.com", Mask("user@example.com"))
	require.Equal(t, "1234", Mask("1234"))
	require.Equal(t, "é•••@example.com", Mask("é@example.com"), "as older rows have them")
	require.Equal(t, "•••@example.com", Mask("@example.com"))
}
