package main

import (
	"errors"
	"fmt"
	"strings"

	"otpbridge/crypto"
)

type paramCommand struct {
	Encrypt encryptCommand `cmd:"" help:"Make the otp parameter of otpvalidationservlet from a code."`
	Decrypt decryptCommand `cmd:"" help:"Read the code in an otp parameter."`
}

// cipherFlags are the flags of an account's cipher. The key has no default: a parameter made with the
// wrong key looks right.
type cipherFlags struct {
	Key    string `placeholder:"TEXT" help:"The account's cipher key, 16, 24 or 32 bytes in base64 or hex; or IV and key in one as 'iv~key'. @FILE takes it from a file, @- from the standard input."`
	IV     string `name:"iv" placeholder:"TEXT" help:"The account's IV, 16 bytes in base64 or hex, or @FILE; for aes-cbc only."`
	Cipher string `enum:"aes-cbc,aes-ecb,none" default:"aes-cbc" help:"The account's otp_cipher: ${enum}."`
}

type encryptCommand struct {
	cipherFlags
	Encoding string `enum:"base64,hex" default:"base64" help:"How the parameter is written: ${enum}."`
	Code     string `arg:"" help:"4 to 10 digits."`
}

type decryptCommand struct {
	cipherFlags
	Encoding string `enum:"auto,base64,hex" default:"auto" help:"How the parameter is written: ${enum}; auto tells the other two apart."`
	Value    string `arg:"" help:"The parameter, percent-decoded. Put one that starts with a dash after --."`
}

const paramExample = `
The demo accounts of a sandbox use the published sample key, for example:

    otpbridge param %s --key AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= --iv 8PHy8/T19vf4+fr7/P3+/w== %s

Other users of the machine can see a command line while it runs, so give a key of your own
as --key @FILE.`

// Help implements kong.HelpProvider.
func (encryptCommand) Help() string { return fmt.Sprintf(paramExample, "encrypt", "123456") }

// Help implements kong.HelpProvider.
func (decryptCommand) Help() string {
	return fmt.Sprintf(paramExample, "decrypt", "'Xrgn4bpX/4iYytICyC1wNg=='")
}

// Run prints the parameter, not percent-encoded.
func (e encryptCommand) Run(p process) error {
	cipher, err := e.open(p, crypto.ParamEncoding(e.Encoding))
	if err != nil {
		return unusable{err}
	}
	value, err := cipher.Encrypt(e.Code)
	if err != nil {
		return unusable{errors.New("CODE is not 4 to 10 digits")}
	}
	return p.say("%s\n", value)
}

// Run prints the code.
func (d decryptCommand) Run(p process) error {
	cipher, err := d.open(p, crypto.ParamEncoding(d.Encoding))
	if err != nil {
		return unusable{err}
	}
	code, ok := cipher.Decrypt(d.Value)
	if !ok {
		return fmt.Errorf("VALUE is no code of 4 to 10 digits under this key, IV, cipher and encoding: %s",
			cipher.Reason(d.Value))
	}
	return p.say("%s\n", code)
}

// open makes the cipher. Its error names the flag that is missing or unreadable.
func (f cipherFlags) open(p process, encoding crypto.ParamEncoding) (*crypto.ServletCipher, error) {
	for _, text := range []*string{&f.Key, &f.IV} {
		if path, isFile := strings.CutPrefix(*text, "@"); isFile {
			var err error
			if *text, err = p.readSecret(path); err != nil {
				return nil, err
			}
		}
	}
	mode := crypto.CipherMode(f.Cipher)
	key, iv, err := f.keys(mode)
	if err != nil {
		return nil, err
	}
	return crypto.NewServletCipher(mode, encoding, key, iv)
}

func (f cipherFlags) keys(mode crypto.CipherMode) (key, iv crypto.Secret, err error) {
	if mode == crypto.CipherNone {
		return key, iv, nil
	}
	if f.Key == "" {
		return key, iv, fmt.Errorf("--key is missing: give the account's key in base64 or hex, or 'iv~key'; " +
			"a sandbox shows those of its demo accounts at /sandbox/credentials")
	}
	if strings.Contains(f.Key, "~") {
		if f.IV != "" {
			return key, iv, errors.New("--key holds an IV of its own, and --iv is given too: which one is meant? Leave one out")
		}
		if key, iv, err = crypto.ParseKeyPair(f.Key); err != nil {
			return key, iv, fmt.Errorf("--key %w", err)
		}
		return key, iv, nil
	}
	if key, err = crypto.ParseKeyText(f.Key); err != nil {
		return key, iv, fmt.Errorf("--key %w", err)
	}
	if mode == crypto.AESECB {
		return key, iv, nil
	}
	if f.IV == "" {
		return key, iv, errors.New("--iv is missing: give the account's IV in base64 or hex, or --key 'iv~key'; only " +
			"aes-ecb and none need no IV")
	}
	if iv, err = crypto.ParseKeyText(f.IV); err != nil {
		return key, iv, fmt.Errorf("--iv %w", err)
	}
	if iv.Len() != 16 {
		return key, iv, fmt.Errorf("--iv is %d bytes: give 16", iv.Len())
	}
	return key, iv, nil
}
