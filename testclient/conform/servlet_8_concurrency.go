package conform

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// crowd is the number of concurrent requests. Counts must be exact, and a code verifies once. These cases find a
// server that checks first and counts later.

const crowd = 64

func servletConcurrency() []Case {
	return []Case{
		{
			Requirement: "Of 64 wrong guesses at once against three attempts, three are evaluated: 2, 1 and 0 are told once " +
				"each.",
			Run: func(s *Story) {
				wrong := rotated(s.generated())
				s.expectCounts(s.Concurrently(crowd, func(int) Answer { return s.Validate(wrong) }), 3, Exhausted)
			},
		},
		{
			Requirement: "Of 64 right guesses at once, one verifies.",
			Source:      Article,
			Run: func(s *Story) {
				code := s.generated()
				s.expectTally(s.Concurrently(crowd, func(int) Answer { return s.Validate(code) }),
					map[Text]int{Verified: 1, Expired: crowd - 1})
			},
		},
		{
			Requirement: "Of 64 generates at once for one number, ten succeed.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				answers := s.Concurrently(crowd, func(i int) Answer { return s.Generate(IP("192.0.2." + strconv.Itoa(i))) })
				s.expectTally(answers, map[Text]int{Generated: 10, ErrorText: crowd - 10})
				s.expectSent(10)
			},
		},
		{
			Requirement: "Of 64 regenerations at once, three succeed.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				answers := s.Concurrently(crowd, func(int) Answer { return s.Regenerate() })
				s.expectTally(answers, map[Text]int{Generated: 3, Regenerations: crowd - 3})
				s.expectSent(4)
			},
		},
		{
			Requirement: "Of 64 wrong guesses at once against a hundred attempts, twenty are evaluated: 19 to 0 are told " +
				"once each.",
			Settings: Settings{"max_attempts": 100},
			Run: func(s *Story) {
				wrong := rotated(s.generated())
				s.expectCounts(s.Concurrently(crowd, func(int) Answer { return s.Validate(wrong) }), 20, Exhausted)
			},
		},
		{
			Requirement: "Of eight generates at once for one ipaddress, one code is live, and it alone.",
			Source:      Article, Settings: unlimited(Settings{"otp_length": 10, "max_attempts": 100}), Needs: NeedsInbox,
			Run: func(s *Story) {
				answers := s.Concurrently(8, func(int) Answer { return s.Generate() })
				s.expectTally(answers, map[Text]int{Generated: 8})
				verified := 0
				for _, m := range s.Sandbox.Messages() {
					if a := s.Validate(m.Code); a.Body == s.Text(Verified) {
						verified++
					}
				}
				s.Require(verified == 1, "1 of 8 codes to verify", strconv.Itoa(verified))
			},
		},
	}
}

// expectTally requires each text exactly as often as given, and no other.
func (s *Story) expectTally(answers []Answer, expected map[Text]int) {
	counts := make(map[string]int)
	for _, a := range answers {
		counts[a.Body]++
	}
	wanted := make(map[string]int)
	for text, n := range expected {
		wanted[s.Text(text)] = n
	}
	s.Require(maps.Equal(counts, wanted), counted(wanted), counted(counts))
}

// expectCounts requires the text of a wrong code with n-1 to 0 attempts left once each, and rest for all other
// answers.
func (s *Story) expectCounts(answers []Answer, n int, rest Text) {
	counts := make(map[string]int)
	for _, a := range answers {
		counts[a.Body]++
	}
	wanted := map[string]int{s.Text(rest): len(answers) - n}
	for left := range n {
		wanted[wrongPIN(s.Profile(), left)+s.LineEnd()] = 1
	}
	s.Require(maps.Equal(counts, wanted), counted(wanted), counted(counts))
}

// counted lists how often there was each answer.
func counted(counts map[string]int) string {
	var parts []string
	for _, body := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d times %q", counts[body], body))
	}
	return strings.Join(parts, ", ")
}
