package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/schollz/croc/v10/src/mnemonicode"
)

const (
	minCode = 6 // croc's
	maxCode = 128
)

// NewCode returns a code as croc v10 makes them: four digits, which choose the room and are public, and three words,
// which hold 32 bits.
func NewCode() (string, error) {
	pin, err := rand.Int(rand.Reader, big.NewInt(10000))
	if err != nil {
		return "", err
	}
	var bits [4]byte
	rand.Read(bits[:])
	words := mnemonicode.EncodeWordList(nil, bits[:])
	return fmt.Sprintf("%04d-%s", pin, strings.Join(words, "-")), nil
}

// CheckCode refuses what cannot be a code.
func CheckCode(code string) error {
	if len(code) < minCode || len(code) > maxCode {
		return fmt.Errorf("the code has %d characters, want %d to %d", len(code), minCode, maxCode)
	}
	for _, c := range []byte(code) {
		if c <= ' ' || c > '~' {
			return errors.New("the code has characters that none has")
		}
	}
	return nil
}

// split returns the name of a code's room and the password in it.
func split(code string) (room string, password []byte) {
	sum := sha256.Sum256([]byte(code[:4] + "croc"))
	return hex.EncodeToString(sum[:]), []byte(code[5:])
}
