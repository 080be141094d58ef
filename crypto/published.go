package crypto

// PublishedKey reports whether a key for access stands in the project's documents, examples or
// sandbox, so that all the world knows it. The list is kept by hand.
func PublishedKey(key string) bool { return publishedKeys[key] }

// PublishedKeys returns those keys, in no order, to look for them where only hashes are kept.
func PublishedKeys() []string {
	keys := make([]string, 0, len(publishedKeys))
	for key := range publishedKeys {
		keys = append(keys, key)
	}
	return keys
}

var publishedKeys = map[string]bool{
	"ZGVtby1hY2Nlc3Mta2V5MQ==":                            true, // the demo accounts'
	"ZGVtby1hY2Nlc3Mta2V5Mg==":                            true,
	"otpb_test_sk_3S59TEkdOgZ8jjhSxuHwbQrpyXxII3v72aEZ2o": true,
	"otpb_test_sk_xyWKBcjhZ3UgaDW2yXkaid5K5AAnDKP51p7gmM": true,
	"the-access-key-that-your-integration-sends":          true, // README.md
	"the access key that your integration sends":          true, // and in former editions
	"the-key-that-the-integration-sends":                  true, // account import --help
	"the key that the integration sends":                  true, // and in former editions
	"otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijF": true, // the tests' sample
	"otpb_live_sk_SentinelAPIKey0123456789abcdefgh":       true,
	"kc_live_4eC39HqLyjWDarjtT1zdp7dc":                    true,
}

// publishedCipherKeys are the cipher keys in documents, beside the sample key that counts.
var publishedCipherKeys = map[string]bool{
	"cipher key of your integration!!": true, // README.md
}
