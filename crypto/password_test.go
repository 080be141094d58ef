package crypto

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var cheap = PasswordCost{MemoryKiB: 8, Passes: 1}

func TestPasswords_TellRightFromWrong(t *testing.T) {
	ctx := context.Background()
	p := NewPasswords(cheap, 2)
	hash, err := p.Hash(ctx, "correct horse battery")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=8,t=1,p=1$"), "the parameters stand in the hash")
	again, err := p.Hash(ctx, "correct horse battery")
	require.NoError(t, err)
	require.NotEqual(t, hash, again, "each hash has a salt of its own")
	for _, tt := range []struct {
		password, hash string
		right          bool
	}{
		{"correct horse battery", hash, true},
		{"correct horse battery", again, true},
		{"correct horse batterY", hash, false},
		{"correct horse battery ", hash, false},
		{"", hash, false},
		{"correct horse battery", "", false}, // a person who does not exist
		{"", "", false},
	} {
		right, outdated, err := p.Check(ctx, tt.password, tt.hash)
		require.NoError(t, err)
		require.Equal(t, tt.right, right, "%q", tt.password)
		require.False(t, outdated)
	}
	stronger := NewPasswords(PasswordCost{MemoryKiB: 16, Passes: 1}, 1)
	right, outdated, err := stronger.Check(ctx, "correct horse battery", hash)
	require.NoError(t, err)
	require.True(t, right)
	require.True(t, outdated, "made for less")
}

func TestPasswords_RefuseHashesThatAreNone(t *testing.T) {
	p := NewPasswords(cheap, 1)
	good, err := p.Hash(context.Background(), "correct horse battery")
	require.NoError(t, err)
	for _, hash := range []string{
		"x", "correct horse battery", "$argon2id$", "$argon2i$v=19$m=8,t=1,p=1$YWJjZGVmZ2hpamtsbW5vcA$YWJj",
		strings.Replace(good, "m=8,", "m=4194304,", 1), // takes 4 GiB
		strings.Replace(good, "v=19", "v=18", 1),
		good + "!", strings.Replace(good, "m=8", "m=-8", 1), "$2a$10$abcdefghijklmnopqrstuv", strings.Repeat("$", 6),
	} {
		right, _, err := p.Check(context.Background(), "correct horse battery", hash)
		require.Error(t, err, hash)
		require.False(t, right)
		require.NotContains(t, err.Error(), "horse")
	}
}

func TestPasswords_WorkOnAFewAtATimeRace(t *testing.T) {
	p := NewPasswords(cheap, 1)
	p.slots <- struct{}{} // a password is being checked
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	for range 8 {
		waiting.Go(func() {
			if _, err := p.Hash(ctx, "x"); err == nil {
				t.Error("hashed beside another")
			}
		})
	}
	cancel()
	waiting.Wait()
	<-p.slots
	_, err := p.Hash(context.Background(), "x")
	require.NoError(t, err)
}
