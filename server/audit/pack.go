package audit

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// packedCalls is a page's calls, ready to be sealed.
type packedCalls struct {
	stubs []stub
	data  []byte // one JSON object a line, compressed; nil for no calls
	terms []otp.ID
}

// packer compresses calls: a line of theirs shrinks to a tenth.
type packer struct{ deflate *flate.Writer }

// calls packs calls. Each is hashed in the form in which it is stored.
func (p *packer) calls(calls []Call) (packed packedCalls, err error) {
	if len(calls) == 0 {
		return packed, nil
	}
	var data bytes.Buffer
	if p.deflate == nil {
		if p.deflate, err = flate.NewWriter(&data, flate.BestSpeed); err != nil {
			return packed, err
		}
	}
	p.deflate.Reset(&data)
	known := map[[2]string]bool{}
	for _, call := range calls {
		entry := call.entry()
		content := entry.encode()
		packed.stubs = append(packed.stubs, stubOf(CallEntry, otp.At(entry.At), content))
		if _, err := p.deflate.Write(append(content, '\n')); err != nil {
			return packed, err
		}
		for _, pair := range entry.pairs() {
			if pair[1] != "" && !known[pair] {
				known[pair] = true
				packed.terms = append(packed.terms, term(pair))
			}
		}
	}
	err = p.deflate.Close()
	packed.data = data.Bytes()
	return packed, err
}

// maxPage bounds what unpacking one page may take, whoever wrote it.
const maxPage = 64 << 20

// unpackCalls returns the contents of a page's calls, nil where there are none or they have been removed.
func unpackCalls(page sql.AuditPage) ([][]byte, error) {
	if page.Calls == nil {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(page.Calls)), maxPage))
	if err != nil {
		return nil, fmt.Errorf("the calls from place %d on cannot be unpacked: %w", page.Place, err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")), nil
}

func stubsOf(page sql.AuditPage) []stub {
	stubs := make([]stub, len(page.Stubs)/stubSize)
	for i := range stubs {
		copy(stubs[i][:], page.Stubs[i*stubSize:])
	}
	return stubs
}
