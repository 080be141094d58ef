package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// loadIssuers returns the addresses of the accounts that accept tokens of each issuer, by the claim iss.
func (e *Engine) loadIssuers(ctx context.Context, _ string) (map[string][]string, error) {
	takers := map[string][]string{}
	err := e.store.Accounts.Each(ctx, func(account otp.Account, broken error) error {
		if broken != nil || !account.Enabled {
			return nil
		}
		for i := range account.JWTIssuers {
			name := account.JWTIssuers[i].Issuer
			if !slices.Contains(takers[name], account.Address) {
				takers[name] = append(takers[name], account.Address)
			}
		}
		return nil
	})
	return takers, err
}

// authenticateToken authenticates a customer's token. For a text that is not a token of a known issuer it returns
// neither a Caller nor an error: the text may be a key.
//
// Refusals: those of Authenticate, and Overloaded while the issuer's keys cannot be fetched.
func (e *Engine) authenticateToken(ctx context.Context, text string) (*Caller, error) {
	head, ok := crypto.ReadJWTHead(text)
	if !ok {
		return nil, nil
	}
	takers, err := e.issuers.value(ctx, "")
	if err != nil || len(takers[head.Issuer]) == 0 {
		return nil, err
	}
	refusal := error(otp.Refuse(otp.UnknownCredential, "no account takes this token"))
	var found *Caller
	for _, address := range takers[head.Issuer] {
		acc, err := e.accounts.value(ctx, address)
		if err != nil {
			return nil, err
		}
		for i := range acc.issuers {
			entry := &acc.issuers[i]
			if entry.Issuer != head.Issuer {
				continue
			}
			caller, err := e.verifyToken(ctx, text, head, acc, entry)
			switch {
			case err != nil && otp.KindOf(err) == 0:
				return nil, err
			case err != nil:
				refusal = graver(refusal, err)
			case found != nil && found.Account != caller.Account:
				e.log.WarnContext(ctx, "several accounts list one issuer and audience in jwt_issuers, and get none of its tokens",
					"accounts", []string{found.Account.Address, address})
				return nil, otp.Refuse(otp.UnknownCredential, "several accounts take this token").
					Because("give each account an audience of its own in jwt_issuers")
			default:
				found = caller
			}
		}
	}
	if found == nil {
		return nil, refusal
	}
	return found.opened()
}

// graver returns the more informative refusal: that a token is expired or its keys cannot be fetched, rather than that
// one of several entries does not accept it.
func graver(a, b error) error {
	if otp.KindOf(a) == otp.UnknownCredential {
		return b
	}
	return a
}

// verifyToken checks a token against one entry of an account.
func (e *Engine) verifyToken(
	ctx context.Context, text string, head crypto.JWTHead, acc *account, entry *vault.Issuer,
) (*Caller, error) {
	keys := entry.Keys
	if keys == nil {
		var err error
		if keys, err = e.keySets.find(ctx, entry.JWKSURL, head.KeyID); err != nil {
			return nil, err
		}
	}
	claims, err := entry.Rules.Verify(text, keys, time.Now())
	var subject string
	if err == nil {
		subject, err = claims.SubjectOf(entry.Subject())
	}
	switch {
	case errors.Is(err, crypto.ErrJWTExpired):
		return nil, otp.Refuse(otp.ExpiredCredential, "the token has expired")
	case err != nil:
		return nil, otp.Refuse(otp.UnknownCredential, "the account does not take this token").Because(err.Error())
	}
	row := sql.Credential{Kind: string(otp.TokenKey)}
	return &Caller{
		Account: &acc.row, Environment: e.usualEnvironment(), Door: otp.V1Door,
		Key: &KeyInfo{Subject: subject, Key: otp.Key{
			// Requests are counted, and matched for idempotency, per subject.
			ID: e.index.Sum("token", acc.row.Address, entry.Issuer, entry.Audience, subject), Kind: otp.TokenKey,
			Name: entry.Issuer, Permissions: entry.Permissions, Signing: otp.SigningOff,
			ExpiresAt: otp.At(claims.Expires()),
		}},
		cipher: acc.cipher, settings: acc, quota: quotaOf(&row, &acc.row),
	}, nil
}

// usualEnvironment returns the environment of credentials that name none.
func (e *Engine) usualEnvironment() otp.Environment {
	if e.options.Sandbox {
		return otp.Test
	}
	return otp.Live
}

// unknownToken returns the refusal of a text that looks like a token and is not a known key.
func unknownToken(text string) error {
	if _, readable := crypto.ReadJWTHead(text); !readable {
		return otp.Refuse(otp.MissingCredential, "the credential looks like a JSON Web Token and cannot be read as one")
	}
	return otp.Refuse(otp.UnknownCredential,
		"no account takes tokens of this issuer").Because("iss is in no account's jwt_issuers")
}

// looksLikeToken reports whether a text that cannot be read as a token was meant as one.
func looksLikeToken(text string) bool {
	return strings.HasPrefix(text, "ey") && strings.Count(text, ".") >= 2
}
