package keyring

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

func TestRecovery(t *testing.T) {
	k := newKeyring(t)
	var out bytes.Buffer
	code, err := k.RecoveryCopy(&out)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^([0-9A-Z]{5}-){5}[0-9A-Z]{5}$`).MatchString(code) {
		t.Errorf("the code is %q", code)
	}
	if !strings.HasPrefix(out.String(), armor.Header) {
		t.Errorf("the copy starts with %.40q", out.String())
	}
	leaks(t, k, out.String())
	for _, typed := range []string{
		code, strings.ToLower(code), strings.ReplaceAll(code, "-", ""), "  " + strings.ReplaceAll(code, "-", " ") + "\n",
		strings.NewReplacer("0", "o", "1", "l").Replace(code),
	} {
		got, err := OpenRecovery(bytes.NewReader(out.Bytes()), typed)
		if err != nil {
			t.Fatalf("typed %q: %v", typed, err)
		}
		same(t, k, got)
	}
	if err := func() error { k, _ := OpenRecovery(bytes.NewReader(out.Bytes()), code); return k.Save(folder(t), pass) }(); err != nil {
		t.Errorf("saving what was recovered: %v", err)
	}

	// With age itself, should this program be lost.
	by, err := age.NewScryptIdentity(code)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(out.Bytes())), by)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(plain); err != nil {
		t.Fatal(err)
	}

	var other bytes.Buffer
	if again, err := k.RecoveryCopy(&other); err != nil || again == code {
		t.Errorf("the next code is %q, %v", again, err)
	}
	if _, err := OpenRecovery(&other, code); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another copy: %v", err)
	}
	for i := 0; i < out.Len(); i += 97 {
		b := bytes.Clone(out.Bytes())
		b[i] ^= 1
		if _, err := OpenRecovery(bytes.NewReader(b), code); err == nil {
			t.Errorf("with byte %d changed, the copy opens", i)
		}
	}
	if _, err := k.RecoveryCopy(fullWriter{}); !errors.Is(err, errFull) {
		t.Errorf("to a full disk: %v", err)
	}
}

var errFull = errors.New("disk is full")

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }

// One wrong symbol, or two exchanged, is told apart from a wrong copy.
// goldenChecksum is that of the code in TestMistypedCode.
const goldenChecksum = "YJQQ"

func TestMistypedCode(t *testing.T) {
	random := "7ZQ0XK4M2P9RT6VWAB3CDEFGHJ"
	code := grouped(random + checksum(random))
	if got, err := parseCode(code); err != nil || got != code {
		t.Fatalf("parseCode: %q, %v", got, err)
	}
	const golden = "7ZQ0X-K4M2P-9RT6V-WAB3C-DEFGH-J" // the checksum is part of the format
	if !strings.HasPrefix(code, golden) || code[len(golden):] != goldenChecksum {
		t.Errorf("the code is %q", code)
	}
	symbols := strings.ReplaceAll(code, "-", "")
	for i := range symbols {
		for _, c := range codeAlphabet + "U!é" {
			if s := symbols[:i] + string(c) + symbols[i+1:]; s != symbols {
				if _, err := parseCode(s); !errors.Is(err, ErrRecoveryCode) {
					t.Errorf("%q passes for %q", s, symbols)
				}
			}
		}
		if i > 0 && symbols[i] != symbols[i-1] {
			s := symbols[:i-1] + symbols[i:i+1] + symbols[i-1:i] + symbols[i+1:]
			if _, err := parseCode(s); !errors.Is(err, ErrRecoveryCode) {
				t.Errorf("%q passes for %q", s, symbols)
			}
		}
	}
	for _, s := range []string{"", code[1:], code + "0", strings.Repeat("-", 1000), strings.Repeat(code, 3)} {
		if _, err := OpenRecovery(strings.NewReader(""), s); !errors.Is(err, ErrRecoveryCode) {
			t.Errorf("OpenRecovery with %.40q: %v", s, err)
		}
	}
}

func FuzzOpenRecovery(f *testing.F) {
	k := newKeyring(f)
	var out bytes.Buffer
	code, err := k.RecoveryCopy(&out)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes(), code)
	f.Add([]byte(armor.Header+"\n"), "x")
	f.Fuzz(func(t *testing.T, b []byte, typed string) {
		if s, err := parseCode(typed); err == nil {
			if again, err := parseCode(s); err != nil || again != s {
				t.Errorf("%q is not how %q is printed", s, typed)
			}
		}
		if k, err := OpenRecovery(bytes.NewReader(b), code); err == nil && k.Name() != "hub-1" {
			t.Error("a forgery opens")
		}
	})
}
