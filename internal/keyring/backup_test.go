package keyring

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// keyFile returns a priv_validator_key.json as CometBFT writes it.
func keyFile(t testing.TB, priv ed25519.PrivateKey, change func(map[string]any)) []byte {
	t.Helper()
	doc := map[string]any{
		"address":  "0123456789ABCDEF0123456789ABCDEF01234567",
		"pub_key":  map[string]any{"type": "tendermint/PubKeyEd25519", "value": []byte(priv.Public().(ed25519.PublicKey))},
		"priv_key": map[string]any{"type": "tendermint/PrivKeyEd25519", "value": []byte(priv)},
	}
	if change != nil {
		change(doc)
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testBackup(t testing.TB) (b Backup, priv ed25519.PrivateKey) {
	priv = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, ed25519.SeedSize))
	return Backup{
		Deployment: "hub-1",
		Host:       "v1",
		PubKey:     priv.Public().(ed25519.PublicKey),
		Created:    time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		KeyFile:    NewSecret(keyFile(t, priv, nil)),
	}, priv
}

func TestBackup(t *testing.T) {
	k := newKeyring(t)
	b, priv := testBackup(t)
	sealed, err := SealBackup(k.Recipient(), b)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("hub-1")) || bytes.Contains(sealed, priv.Seed()) {
		t.Error("the sealed backup can be read")
	}
	got, err := k.OpenBackup(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if got.Deployment != b.Deployment || got.Host != b.Host || !got.PubKey.Equal(b.PubKey) || !got.Created.Equal(b.Created) ||
		!bytes.Equal(got.KeyFile.Bytes(), b.KeyFile.Bytes()) {
		t.Errorf("got %+v, want %+v", got, b)
	}
	if _, err := newKeyring(t).OpenBackup(sealed); err == nil {
		t.Error("another keyring opens it")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.OpenBackup(bad); err == nil {
			t.Fatalf("with byte %d changed, it opens", i)
		}
		if _, err := k.OpenBackup(sealed[:i]); err == nil {
			t.Fatalf("cut to %d bytes, it opens", i)
		}
	}
}

// A backup that would be of no use is refused where it is made, and again
// where it is opened.
func TestBackupRefuses(t *testing.T) {
	k := newKeyring(t)
	_, priv := testBackup(t)
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{6}, ed25519.SeedSize))
	set := func(half, field string, v any) func(map[string]any) {
		return func(doc map[string]any) { doc[half].(map[string]any)[field] = v }
	}
	mixed := append(bytes.Clone(priv[:32]), other[32:]...)
	for name, change := range map[string]func(*Backup){
		"no deployment":      func(b *Backup) { b.Deployment = "" },
		"control characters": func(b *Backup) { b.Host = "v1\x1b[2J" },
		"no key":             func(b *Backup) { b.KeyFile = Secret{} },
		"huge key":           func(b *Backup) { b.KeyFile = NewSecret(make([]byte, maxKeyFile+1)) },
		"not a key":          func(b *Backup) { b.KeyFile = NewSecret([]byte(`{"height":"0"}`)) },
		"two documents":      func(b *Backup) { b.KeyFile = NewSecret(append(b.KeyFile.Bytes(), "{}"...)) },
		"labelled otherwise": func(b *Backup) { b.PubKey = other.Public().(ed25519.PublicKey) },
		"no label":           func(b *Backup) { b.PubKey = nil },
		"other halves":       func(b *Backup) { b.KeyFile = NewSecret(keyFile(t, priv, set("priv_key", "value", []byte(other)))) },
		"mixed halves":       func(b *Backup) { b.KeyFile = NewSecret(keyFile(t, priv, set("priv_key", "value", mixed))) },
		"short key":          func(b *Backup) { b.KeyFile = NewSecret(keyFile(t, priv, set("priv_key", "value", priv.Seed()))) },
		"other type": func(b *Backup) {
			b.KeyFile = NewSecret(keyFile(t, priv, set("priv_key", "type", "tendermint/PrivKeySecp256k1")))
		},
	} {
		b, _ := testBackup(t)
		change(&b)
		if _, err := SealBackup(k.Recipient(), b); err == nil {
			t.Errorf("%s: SealBackup succeeds", name)
		} else if strings.Contains(err.Error(), string(b.KeyFile.Bytes())) && len(b.KeyFile.Bytes()) > 0 {
			t.Errorf("%s: the error quotes the key file", name)
		}
		plain, err := json.Marshal(backupDocument{format, backupKind, b.Deployment, b.Host, b.PubKey, b.Created, b.KeyFile.Bytes()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeBackup(plain); err == nil {
			t.Errorf("%s: decodeBackup succeeds", name)
		}
	}
	b, _ := testBackup(t)
	for _, recipient := range []string{"", "age1", "age1qqqq", "ssh-ed25519 AAAA"} {
		if _, err := SealBackup(recipient, b); err == nil {
			t.Errorf("SealBackup to %q succeeds", recipient)
		}
	}
	sealed, err := Seal(k.Recipient(), []byte(`{"format":1,"kind":"something else"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.OpenBackup(sealed); err == nil {
		t.Error("something else passes for a backup")
	}
}

func TestSealLimits(t *testing.T) {
	k := newKeyring(t)
	if _, err := Seal(k.Recipient(), make([]byte, maxSealed+1)); err == nil {
		t.Error("too much is sealed")
	}
	largest := make([]byte, maxSealed)
	sealed, err := Seal(k.Recipient(), largest)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Unseal(sealed); err != nil || !bytes.Equal(got, largest) {
		t.Errorf("the largest: %d bytes, %v", len(got), err)
	}
	identity, err := k.identity()
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err = seal(make([]byte, maxSealed+1), identity.Recipient()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Unseal(sealed); err == nil {
		t.Error("too much is unsealed")
	}
}

func FuzzDecodeBackup(f *testing.F) {
	b, _ := testBackup(f)
	plain, err := json.Marshal(backupDocument{format, backupKind, b.Deployment, b.Host, b.PubKey, b.Created, b.KeyFile.Bytes()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, plain []byte) {
		b, err := decodeBackup(plain)
		if err != nil {
			return
		}
		if err := checkKeyFile(b.KeyFile.Bytes(), b.PubKey); err != nil {
			t.Error(err)
		}
	})
}

func FuzzOpenBackup(f *testing.F) {
	k := newKeyring(f)
	b, _ := testBackup(f)
	sealed, err := SealBackup(k.Recipient(), b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if got, err := k.OpenBackup(sealed); err == nil && !got.PubKey.Equal(b.PubKey) {
			t.Error("a forgery opens")
		}
	})
}
