package engine

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// usesEvery is the interval at which key use is written.
const usesEvery = time.Minute

// uses holds how keys were used since the last write. It contains existing keys only, so it cannot be filled by
// strangers.
type uses struct {
	mu  sync.Mutex
	all map[otp.ID]*use
}

// use is the use of one key. Counting a call neither asks the database nor allocates.
type use struct {
	mu          sync.Mutex
	id          otp.ID
	calls       int64
	permissions int64
	at          otp.Millis
	peer        netip.Addr
	network     netip.Prefix
	several     bool // networks
}

// of returns a key's use, for callers to keep.
func (u *uses) of(id otp.ID) *use {
	u.mu.Lock()
	defer u.mu.Unlock()
	one := u.all[id]
	if one == nil {
		one = &use{id: id}
		u.all[id] = one
	}
	return one
}

// call counts an authenticated call.
func (u *use) call(peer netip.Addr, now otp.Millis) {
	network := otp.NetworkOf(peer)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.several = u.several || u.calls > 0 && u.network != network
	u.calls++
	u.at, u.peer, u.network = now, peer, network
}

// permit records a permission that was used; on nil it does nothing.
func (u *use) permit(permission string) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.permissions |= otp.PermissionBit(permission)
}

// take returns the counts and resets them. It reports false if there were none.
func (u *use) take() (told sql.KeyUse, used bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls == 0 {
		return told, false
	}
	told = sql.KeyUse{
		KeyDay: sql.KeyDay{ID: u.id, Day: sql.DayOf(u.at), Calls: u.calls, Permissions: u.permissions}, At: u.at,
	}
	if u.peer.IsValid() {
		told.Network, told.Address = u.network.String(), u.peer.Unmap().WithZone("").String()
	}
	if u.several {
		told.Network = sql.ManyNetworks
	}
	u.calls, u.permissions, u.several = 0, 0, false
	return told, true
}

// back undoes take.
func (u *use) back(told *sql.KeyUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls == 0 {
		u.several = told.Network == sql.ManyNetworks
	} else {
		u.several = u.several || told.Network != u.network.String()
	}
	u.calls, u.permissions = u.calls+told.Calls, u.permissions|told.Permissions
}

// usesAtOnce bounds what one transaction writes.
const usesAtOnce = 500

// tellUses writes the key use since the last write. What cannot be written is kept for the next time.
func (e *Engine) tellUses(ctx context.Context) {
	e.uses.mu.Lock()
	all := make([]*use, 0, len(e.uses.all))
	for _, one := range e.uses.all {
		all = append(all, one)
	}
	e.uses.mu.Unlock()
	var from []*use
	var told []sql.KeyUse
	tell := func() {
		if err := e.store.Credentials.AddUses(ctx, told); err != nil && len(told) > 0 {
			e.log.WarnContext(ctx, "how keys were used was not written", "error", err)
			for i := range told {
				from[i].back(&told[i])
			}
		}
		from, told = from[:0], told[:0]
	}
	for _, one := range all {
		if use, used := one.take(); used {
			from, told = append(from, one), append(told, use)
		}
		if len(told) == usesAtOnce {
			tell()
		}
	}
	if len(told) > 0 {
		tell()
	}
}

// keepUses writes key use until the engine closes; Close writes the rest.
func (e *Engine) keepUses() {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.tellUses(e.cut)
		case <-e.closing.Done():
			return
		}
	}
}
