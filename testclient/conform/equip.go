package conform

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"sync"
	"time"
)

// story prepares the story of one case.
func (r *runner) story(ctx context.Context, j job) *Story {
	n := r.numbers.Add(1)
	s := &Story{
		ctx: ctx, target: r.Target, settings: j.test.Settings, codes: r.Codes, slow: r.Slow,
		id: "c" + randomHex(8), mobile: r.mobile(n),
		// 198.18.0.0/15 is reserved for tests by RFC 2544.
		ip:  fmt.Sprintf("198.%d.%d.%d", 18+n>>16&1, n>>8&255, n&255),
		log: &journal{}, offset: new(time.Duration), mu: new(sync.Mutex),
	}
	s.bind()
	if !r.throwaway() {
		s.given = r.Mobiles
		s.account = &account{
			AccessKey: r.AccessKey, CipherKey: r.CipherKey, CipherIV: r.CipherIV, Profile: j.profile,
			APIKey: r.APIKey, SigningSecret: r.SigningSecret, OtherAPIKey: r.OtherAPIKey,
		}
		if err := s.account.prepare(""); err != nil {
			panic(broken{&Trouble{Tried: "read the keys given", Err: err, Remedy: "Look at --cipher-key and --cipher-iv."}})
		}
		return s
	}
	if j.test.Needs&NeedsUpstream != 0 {
		s.upstream = newUpstream()
	}
	r.equip(s, j.profile, s.id)
	s.again = func() (*Story, error) {
		other := *s
		other.bind()
		other.again, other.others, other.offset = nil, nil, new(time.Duration)
		other.id = "c" + randomHex(8)
		r.equip(&other, j.profile, other.id)
		return &other, nil
	}
	return s
}

// equip gives a story a throwaway account.
func (r *runner) equip(s *Story, profile Profile, id string) {
	asked := s.settings.named(id)
	if asked == nil {
		asked = Settings{}
	}
	if _, chosen := asked["message_profile"]; !chosen {
		asked["message_profile"] = string(profile)
	}
	if s.upstream != nil {
		asked["upstream_url"], asked["bridge_mode"] = "http://"+s.upstream.addr+upstreamPath, "forward"
	}
	made, err := r.Target.makeAccount(s.ctx, asked)
	if err != nil {
		panic(broken{err})
	}
	made.Profile = profile
	s.account = made
	s.log.made(s, asked)
}

// mobile returns a number that no other case of this run has; if numbers are given, the next of those.
func (r *runner) mobile(n int64) string {
	if len(r.Mobiles) > 0 && !r.throwaway() {
		// The first has had a message already, if the profile had to be found out.
		rest := r.Mobiles[min(1, len(r.Mobiles)-1):]
		return rest[n%int64(len(rest))]
	}
	return fmt.Sprintf("917%09d", n%1_000_000_000)
}

func randomHex(digits int) string {
	bytes := make([]byte, digits/2)
	_, _ = rand.Read(bytes) // never fails, by crypto/rand's documentation
	return hex.EncodeToString(bytes)
}
