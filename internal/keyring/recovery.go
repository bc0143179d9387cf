package keyring

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// A recovery code is 26 random symbols of 5 bits and 4 of a checksum, in six
// groups. The alphabet is Crockford's: no letter looks like a digit.
const (
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeRandom   = 26
	codeCheck    = 4
	codeGroup    = 5
	codeDomain   = "pressenter/recovery-code/v1\x00"
)

// ErrRecoveryCode is the error for a code that was not typed as printed.
var ErrRecoveryCode = errors.New("the recovery code is mistyped")

// RecoveryCopy writes an armored copy of the keyring to w and returns the code
// that opens it: 130 random bits that nothing else keeps. The copy is an age
// file whose passphrase is the code as printed, so that age itself opens it
// too. Copy and code belong in different places.
func (k *Keyring) RecoveryCopy(w io.Writer) (code string, err error) {
	plain, err := k.encode("")
	if err != nil {
		return "", fmt.Errorf("write recovery copy: %w", err)
	}
	defer clear(plain)
	code = newCode()
	to, _, err := underPassphrase([]byte(code))
	if err != nil {
		return "", fmt.Errorf("write recovery copy: %w", err)
	}
	sealed, err := seal(plain, to)
	if err != nil {
		return "", fmt.Errorf("write recovery copy: %w", err)
	}
	a := armor.NewWriter(w)
	if _, err := a.Write(sealed); err != nil {
		return "", fmt.Errorf("write recovery copy: %w", err)
	}
	if err := a.Close(); err != nil {
		return "", fmt.Errorf("write recovery copy: %w", err)
	}
	return code, nil
}

// OpenRecovery reads a recovery copy. Case, spaces and dashes in the code do
// not matter, nor do the letters that are read as digits. The keyring belongs
// to no folder yet; Save gives it one.
func OpenRecovery(r io.Reader, code string) (*Keyring, error) {
	canonical, err := parseCode(code)
	if err != nil {
		return nil, fmt.Errorf("open recovery copy: %w", err)
	}
	_, by, err := underPassphrase([]byte(canonical))
	if err != nil {
		return nil, fmt.Errorf("open recovery copy: %w", err)
	}
	plain, err := unseal(armor.NewReader(io.LimitReader(r, 2*maxFile)), maxFile, by)
	if errors.As(err, new(*age.NoIdentityMatchError)) {
		return nil, fmt.Errorf("open recovery copy: the code is of another copy: %w", ErrPassphrase)
	} else if err != nil {
		return nil, fmt.Errorf("open recovery copy: %w", err)
	}
	defer clear(plain)
	k, err := decode(plain, "")
	if err != nil {
		return nil, fmt.Errorf("open recovery copy: %w", err)
	}
	return k, nil
}

func newCode() string {
	b := make([]byte, codeRandom)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = codeAlphabet[b[i]&31]
	}
	return grouped(string(b) + checksum(string(b)))
}

// parseCode returns code as it was printed.
func parseCode(code string) (string, error) {
	if len(code) > 4*(codeRandom+codeCheck) {
		return "", ErrRecoveryCode
	}
	s := strings.NewReplacer(" ", "", "-", "", "\t", "", "\n", "", "\r", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code))
	if len(s) != codeRandom+codeCheck || strings.Trim(s, codeAlphabet) != "" {
		return "", ErrRecoveryCode
	}
	if checksum(s[:codeRandom]) != s[codeRandom:] {
		return "", ErrRecoveryCode
	}
	return grouped(s), nil
}

// checksum tells 20 bits of a mistake, and nothing of use to a guesser.
func checksum(s string) string {
	h := sha256.Sum256([]byte(codeDomain + s))
	out := make([]byte, codeCheck)
	for i := range out {
		out[i] = codeAlphabet[h[i]&31]
	}
	return string(out)
}

func grouped(s string) string {
	var groups []string
	for ; s != ""; s = s[codeGroup:] {
		groups = append(groups, s[:codeGroup])
	}
	return strings.Join(groups, "-")
}
