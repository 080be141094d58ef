package crypto

// PublishedKey reports whether an access key is in the project's documents, examples or sandbox, and so is public. The
// list is kept by hand.
func PublishedKey(key string) bool { return publishedKeys[key] }

// PublishedKeys returns those keys, in no order, for searches where only hashes are stored.
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
	"the access key that your integration sends":          true, // in former editions
	"the-key-that-the-integration-sends":                  true, // account import --help
	"the key that the integration sends":                  true, // in former editions
	"otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijF": true, // the tests' sample
	"otpb_live_sk_SentinelAPIKey0123456789abcdefgh":       true,
	"kc_live_4eC39HqLyjWDarjtT1zdp7dc":                    true,
}

// publishedCipherKeys are the cipher keys in documents, besides SampleKey.
var publishedCipherKeys = map[string]bool{
	"cipher key of your integration!!": true, // README.md
}
