package audit

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// packedCalls is a page's calls, ready to be sealed.
type packedCalls struct {
	stubs []stub
	data  []byte // one JSON object a line, compressed; nil for no calls
	terms []otp.ID
}

// packer compresses calls, to about a tenth of their size.
type packer struct {
	deflate *flate.Writer
	entry   Entry
	line    bytes.Buffer
	encoder *json.Encoder
}

// calls packs calls. Each call's hash is of its line as it is stored.
func (p *packer) calls(calls []Call) (packed packedCalls, err error) {
	if len(calls) == 0 {
		return packed, nil
	}
	var data bytes.Buffer
	if p.deflate == nil {
		if p.deflate, err = flate.NewWriter(&data, flate.BestSpeed); err != nil {
			return packed, err
		}
		p.encoder = json.NewEncoder(&p.line)
	}
	p.deflate.Reset(&data)
	known := map[[2]string]bool{}
	keys, addresses := map[otp.ID]string{}, map[netip.Addr]string{}
	for _, call := range calls {
		p.entry = call.entry()
		if !call.Key.IsZero() {
			p.entry.Credential = once(keys, call.Key, func(id otp.ID) string { return id.Text("key") })
			p.entry.ActorKind, p.entry.Actor = "key", p.entry.Credential
		}
		if call.Address.IsValid() {
			p.entry.Address = once(addresses, call.Address, netip.Addr.String)
		}
		p.line.Reset()
		if err := p.encoder.Encode(&p.entry); err != nil { // the same JSON as Entry.encode, and a newline
			return packed, err
		}
		line := p.line.Bytes()
		packed.stubs = append(packed.stubs, stubOf(CallEntry, otp.At(p.entry.At), line[:len(line)-1]))
		if _, err := p.deflate.Write(line); err != nil {
			return packed, err
		}
		for _, pair := range p.entry.pairs() {
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

// once returns the text of a value, and computes it only once for all calls with that value.
func once[K comparable](made map[K]string, value K, text func(K) string) string {
	if _, known := made[value]; !known {
		made[value] = text(value)
	}
	return made[value]
}

// maxPage is the unpacked size of a page at most, in bytes. It protects against a page that somebody forged.
const maxPage = 64 << 20

// unpackCalls returns the contents of a page's calls, nil if it has none or they have been removed.
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
