package deliver

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sockets of Windows fail with numbers that no other system uses, so every system can read them.
func TestPhrase_KnowsTheErrorsOfWindows(t *testing.T) {
	for number, phrase := range map[syscall.Errno]string{
		10051: "there is no way to its network", 10065: "there is no way to its network",
		10053: "the connection was closed", 10054: "the connection was closed",
		10061: "the connection was refused",
		10060: "the connection failed or the answer is not understood",
	} {
		err := &net.OpError{Op: "dial", Err: os.NewSyscallError("connectex", number)}
		require.Equal(t, phrase, Phrase(err), uint(number))
	}
}
