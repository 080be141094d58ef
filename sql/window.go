package sql

import (
	"encoding/binary"
	"fmt"

	"otpbridge/server/otp"
)

// encodeWindow stores a window as its first moment and the differences between its moments, each as a varint: a day's
// forty sends take about 150 bytes. An empty window is NULL.

func encodeWindow(w otp.Window) []byte {
	if len(w) == 0 {
		return nil
	}
	encoded := make([]byte, 0, 8+4*len(w))
	last := otp.Millis(0)
	for _, at := range w {
		encoded = binary.AppendVarint(encoded, int64(at-last))
		last = at
	}
	return encoded
}

func decodeWindow(encoded []byte) (otp.Window, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	var w otp.Window
	last := otp.Millis(0)
	for len(encoded) > 0 {
		distance, n := binary.Varint(encoded)
		if n <= 0 {
			return nil, fmt.Errorf("window is damaged after %d entries", len(w))
		}
		last += otp.Millis(distance)
		w, encoded = append(w, last), encoded[n:]
	}
	return w, nil
}
