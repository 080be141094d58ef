package crypto

import "testing"

func BenchmarkDecrypt(b *testing.B) {
	for name, param := range map[string]string{
		"base64":  "Xrgn4bpX/4iYytICyC1wNg==",
		"hex":     "5eb827e1ba57ff8898cad202c82d7036",
		"refused": "c3a9daed429d26f237bced0a20367b20",
	} {
		b.Run(name, func(b *testing.B) {
			c := sampleCipher(b, AESCBC, EncodingAuto)
			b.ReportAllocs()
			for b.Loop() {
				c.Decrypt(param)
			}
		})
	}
}

func BenchmarkEncrypt(b *testing.B) {
	c := sampleCipher(b, AESCBC, EncodingAuto)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = c.Encrypt("123456")
	}
}

func BenchmarkCode(b *testing.B) {
	ring := parseKeyring(b, "k1 "+keyText(100))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ring.Code("k1", [16]byte{1}, [16]byte{2}, [16]byte{3}, 6)
	}
}

func BenchmarkSum(b *testing.B) {
	index := NewIndexKey(RandomIndexKey())
	b.ReportAllocs()
	for b.Loop() {
		index.Sum("recipient", "7000000001", "live", "+919551492394")
	}
}

func BenchmarkSumParallel(b *testing.B) {
	index := NewIndexKey(RandomIndexKey())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			index.Sum("recipient", "7000000001", "live", "+919551492394")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	ring := parseKeyring(b, "k1 "+keyText(100))
	aad, plaintext := []byte("recipient/0123456789abcdef"), []byte("+919551492394")
	b.ReportAllocs()
	for b.Loop() {
		ring.Seal(aad, plaintext)
	}
}

func BenchmarkOpen(b *testing.B) {
	ring := parseKeyring(b, "k1 "+keyText(100))
	aad := []byte("recipient/0123456789abcdef")
	sealed := ring.Seal(aad, []byte("+919551492394"))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ring.Open(aad, sealed)
	}
}
