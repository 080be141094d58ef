package v1

import (
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
)

var many = 1_000_000

// unlimitedKey is a key whose limit no test reaches.
var unlimitedKey = engine.NewKey{Name: "test", RequestsPerMinute: &many}

func TestKeys_Placeholder(t *testing.T) { require.True(t, true) }
