package signing

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestPublicKey(t *testing.T) {
	k, other := newKey(t), newKey(t)
	var doc map[string]any
	change := func(f func()) []byte {
		must(t, json.Unmarshal(k.file, &doc))
		f()
		b, err := json.Marshal(doc)
		must(t, err)
		return b
	}
	for name, b := range map[string][]byte{
		"empty":         nil,
		"no JSON":       append([]byte("x"), k.file...),
		"cut":           k.file[:len(k.file)-2],
		"other public":  change(func() { doc["pub_key"].(map[string]any)["value"] = other.pub }),
		"other address": change(func() { doc["address"] = Address(other.pub) }),
		"short private": change(func() { doc["priv_key"].(map[string]any)["value"] = k.priv[:32] }),
		"mixed private": change(func() {
			doc["priv_key"].(map[string]any)["value"] = append(append([]byte{}, k.priv[:32]...), other.pub...)
		}),
		"secp256k1":      change(func() { doc["priv_key"].(map[string]any)["type"] = "tendermint/PrivKeySecp256k1" }),
		"key as type":    change(func() { doc["priv_key"].(map[string]any)["type"] = base64.StdEncoding.EncodeToString(k.priv) }),
		"bad base64":     change(func() { doc["priv_key"].(map[string]any)["value"] = "!" + base64.StdEncoding.EncodeToString(k.priv) }),
		"number for key": change(func() { doc["priv_key"].(map[string]any)["value"] = 12345 }),
	} {
		pub, err := PublicKey(b)
		if err == nil {
			t.Errorf("%s: accepted, %x", name, pub)
			continue
		}
		noKeyMaterial(t, err.Error(), k)
	}
	if pub, err := PublicKey(k.file); err != nil || !pub.Equal(k.pub) {
		t.Errorf("%x, %v", pub, err)
	}
}

func noKeyMaterial(t *testing.T, s string, k testKey) {
	t.Helper()
	for _, enc := range []string{base64.StdEncoding.EncodeToString(k.priv), fmt.Sprintf("%x", []byte(k.priv)), fmt.Sprint([]byte(k.priv)), string(k.priv.Seed())} {
		for i := 0; i+12 <= len(enc) && i < 40; i++ {
			if strings.Contains(s, enc[i:i+12]) {
				t.Fatalf("error holds key material: %s", s)
			}
		}
	}
}

func FuzzPublicKey(f *testing.F) {
	f.Add(newKey(f).file)
	f.Add([]byte(`{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":""}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		pub, err := PublicKey(b)
		if err == nil && len(pub) != ed25519.PublicKeySize {
			t.Errorf("a key of %d bytes", len(pub))
		}
	})
}
