package crypto

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// counting returns 16 bytes counting up from start.
func counting(start byte) (b [16]byte) {
	for i := range b {
		b[i] = start + byte(i)
	}
	return b
}

// The codes were computed by another implementation (Python's hmac). Challenges that are live during an upgrade depend
// on them.
func TestCode_StaysWhatItWas(t *testing.T) {
	ring := parseKeyring(t, "2026-01 "+keyText(100))
	for digits, want := range map[int]string{
		4: "5235", 5: "75235", 6: "675235", 7: "2675235", 8: "32675235", 9: "132675235", 10: "0132675235",
	} {
		code, err := ring.Code("2026-01", counting(0), counting(16), counting(32), digits)
		require.NoError(t, err)
		require.Equal(t, want, code)
	}
}

func TestCode_KeepsLeadingZeros(t *testing.T) {
	ring := parseKeyring(t, "2026-01 "+keyText(100))
	var challenge [16]byte
	binary.BigEndian.PutUint64(challenge[8:], 15814)
	code, err := ring.Code("2026-01", challenge, counting(16), counting(32), 6)
	require.NoError(t, err)
	require.Equal(t, "000087", code)
}

func TestCode_DependsOnEveryInput(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100), "k2 "+keyText(101))
	derive := func(id string, challenge, nonce, slot [16]byte) string {
		code, err := ring.Code(id, challenge, nonce, slot, 10)
		require.NoError(t, err)
		return code
	}
	a, b, c := counting(0), counting(16), counting(32)
	require.Equal(t, derive("k1", a, b, c), derive("k1", a, b, c))

	codes := map[string]bool{}
	for _, code := range []string{
		derive("k1", a, b, c), derive("k2", a, b, c),
		derive("k1", b, a, c), derive("k1", a, c, b), derive("k1", c, b, a),
	} {
		codes[code] = true
	}
	require.Len(t, codes, 5)
	for i := range 16 {
		for _, changed := range []*[16]byte{&a, &b, &c} {
			changed[i] ^= 1
			codes[derive("k1", a, b, c)] = true
			changed[i] ^= 1
		}
	}
	require.Len(t, codes, 5+3*16)
}

func TestCode_RefusesAnUnknownKeyAndNamesIt(t *testing.T) {
	_, err := parseKeyring(t, "k1 "+keyText(100)).Code("k7", [16]byte{}, [16]byte{}, [16]byte{}, 6)
	require.ErrorIs(t, err, ErrUnknownKey)
	require.ErrorContains(t, err, `"k7"`)
}

func TestCode_RefusesOtherLengthsThan4To10(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	for _, digits := range []int{math.MinInt, -1, 0, 3, 11, math.MaxInt} {
		_, err := ring.Code("k1", [16]byte{}, [16]byte{}, [16]byte{}, digits)
		require.ErrorContains(t, err, "digits")
	}
}

// For each modulus the accepted words are a whole number of rounds, and no round that fits is skipped. So every number
// has equally many words.
func TestSample_AcceptsOnlyWholeRounds(t *testing.T) {
	for digits := minDigits; digits <= maxDigits; digits++ {
		modulus := powersOfTen[digits]
		require.Equal(t, uint64(math.Pow10(digits)), modulus)

		// 2^64 divided by the modulus, by 128-bit division.
		rounds, surplus := bits.Div64(1, 0, modulus)
		limit := rounds * modulus
		require.NotZero(t, surplus)
		require.Equal(t, -surplus, limit)

		var sum [32]byte
		word := func(at int, value uint64) { binary.BigEndian.PutUint64(sum[8*at:], value) }
		for at := range 4 {
			word(at, math.MaxUint64)
		}
		_, ok := sample(&sum, modulus)
		require.False(t, ok, "four surplus words")

		for at := 3; at >= 0; at-- { // the first usable word counts
			word(at, limit)
			_, ok = sample(&sum, modulus)
			require.Equal(t, at < 3, ok, "the first surplus word")
			word(at, limit-1)
			n, ok := sample(&sum, modulus)
			require.True(t, ok)
			require.Equal(t, modulus-1, n, "the last good word")
			word(at, uint64(at)+modulus)
			n, ok = sample(&sum, modulus)
			require.True(t, ok)
			require.Equal(t, uint64(at), n)
		}
	}
}

// A MAC without a usable word is too rare to find, so this test makes one. The expected numbers are those of HMAC(code
// key, 32 bytes of ff), by Python's hmac.
func TestNumber_HashesAgainWhenEveryWordIsRejected(t *testing.T) {
	ring := parseKeyring(t, "2026-01 "+keyText(100))
	state := ring.keys["2026-01"].code.take()
	for modulus, want := range map[uint64]uint64{1e4: 1269, 1e6: 641269, 1e10: 2218641269} {
		copy(state.sum[:], strings.Repeat("\xff", 32))
		require.Equal(t, want, number(state, modulus))
	}
}

// Critical values of χ² at p = 10^-6, by the incomplete gamma function. The codes come from fixed keys and counted
// challenges, so the result is always the same.
const (
	chiSquared9    = 44.811
	chiSquared61   = 128.524
	chiSquared9999 = 10685.66
)

// chiSquared compares counts with a uniform distribution.
func chiSquared(counts []int) (statistic float64) {
	total := 0
	for _, count := range counts {
		total += count
	}
	expected := float64(total) / float64(len(counts))
	for _, count := range counts {
		statistic += (float64(count) - expected) * (float64(count) - expected) / expected
	}
	return statistic
}

// FULL=1 draws 10^7 codes of each length instead of 10^5.
func TestCode_DistributionIsEvenInEveryPlace(t *testing.T) {
	draws := 100_000
	if os.Getenv("FULL") == "1" {
		draws = 10_000_000
	}
	ring := parseKeyring(t, "k1 "+keyText(100))
	for digits := minDigits; digits <= maxDigits; digits++ {
		t.Run(fmt.Sprintf("%d digits", digits), func(t *testing.T) {
			var places [maxDigits][10]int
			cells := make([]int, 10_000) // the last four digits; for a code of four, the code
			challenge := [16]byte{15: byte(digits)}
			for i := range draws {
				binary.BigEndian.PutUint64(challenge[:], uint64(i))
				code, err := ring.Code("k1", challenge, counting(16), counting(32), digits)
				if err != nil || len(code) != digits {
					t.Fatalf("code %q, %v", code, err)
				}
				for place := range digits {
					places[place][code[place]-'0']++
				}
				cell := 0
				for _, c := range []byte(code[digits-4:]) {
					cell = 10*cell + int(c-'0')
				}
				cells[cell]++
			}

			for place := range digits {
				statistic := chiSquared(places[place][:])
				t.Logf("place %2d: χ² = %6.2f with 9 degrees of freedom over %d codes (limit %.2f)", place+1, statistic, draws,
					chiSquared9)
				require.Less(t, statistic, chiSquared9)
			}
			statistic := chiSquared(cells)
			t.Logf("last four: χ² = %8.1f with 9999 degrees of freedom over %d codes (limit %.1f)", statistic, draws,
				chiSquared9999)
			require.Less(t, statistic, chiSquared9999)
			require.NotZero(t, cells[0], "0000 comes up")
			require.NotZero(t, cells[9999], "9999 comes up")
		})
	}
}

// A test of uniformity proves nothing until it has refused a biased source. This one makes four digits from 16 bits by
// plain remainder, which favours the numbers below 5536.
func TestDistribution_ModuloBiasIsFound(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	state := ring.keys["k1"].code.take()
	cells, places := make([]int, 10_000), make([]int, 10)
	for i := range 400_000 {
		state.message = binary.BigEndian.AppendUint64(state.message[:0], uint64(i))
		state.compute()
		n := binary.BigEndian.Uint16(state.sum[:]) % 10_000
		cells[n]++
		places[n/1000]++
	}
	require.Greater(t, chiSquared(cells), chiSquared9999)
	require.Greater(t, chiSquared(places), chiSquared9)
}
