package deliver

import (
	"strings"
	"unicode/utf16"
)

// Segments is the size of a text as SMS, and so its price: operators charge per segment.
type Segments struct {
	Encoding string // GSM-7 or UCS-2
	Units    int    // septets or UTF-16 units, in total
	Count    int    // segments
	Left     int    // units that still fit into the last segment
}

// The alphabet of 3GPP TS 23.038, section 6.2.1, and its extension table, whose characters take two septets. One
// character outside both makes the whole text UCS-2.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "\f^{}\\[~]|€"
)

// The capacity of a single-segment message, and of each segment of a longer one, which has a header of six bytes with
// the number of the part.
const (
	gsmAlone, gsmJoined = 160, 153
	ucsAlone, ucsJoined = 70, 67
)

// CountSegments counts the segments of a text. A character is never split between segments, so one place at the end of
// a segment may stay empty.
func CountSegments(text string) Segments {
	width, encoding, alone, joined := gsmWidth, "GSM-7", gsmAlone, gsmJoined
	if strings.ContainsFunc(text, func(r rune) bool { return gsmWidth(r) == 0 }) {
		width, encoding, alone, joined = utf16.RuneLen, "UCS-2", ucsAlone, ucsJoined
	}
	s := Segments{Encoding: encoding, Count: 1}
	filled := 0 // of the last segment, if the text needs several
	for _, r := range text {
		w := width(r)
		s.Units += w
		if filled+w > joined {
			s.Count++
			filled = 0
		}
		filled += w
	}
	s.Left = joined - filled
	if s.Units <= alone {
		s.Count, s.Left = 1, alone-s.Units
	}
	return s
}

// gsmWidth returns how many septets a character takes, 0 if the alphabet lacks it.
func gsmWidth(r rune) int {
	switch {
	case strings.ContainsRune(gsmBasic, r):
		return 1
	case strings.ContainsRune(gsmExtension, r):
		return 2
	}
	return 0
}
