package comet

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

func queryAnswer(value []byte) string {
	b, _ := json.Marshal(value) // bytes always encode
	return fmt.Sprintf(`{"result":{"response":{"code":0,"log":"","index":"0","key":null,"value":%s,"height":"33","codespace":""}}}`, b)
}

func TestSlashingParams(t *testing.T) {
	value, err := base64.StdEncoding.DecodeString(paramsValue) // a real chain's answer
	if err != nil {
		t.Fatal(err)
	}
	got, err := serve(t, 200, queryAnswer(value)).SlashingParams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(SlashingParams{Window: 100, MinSigned: 0.5, JailDuration: 10 * time.Minute}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMaxMissed(t *testing.T) {
	for _, tt := range []struct {
		window int64
		share  float64
		want   int64
	}{{100, 0.5, 50}, {10000, 0.05, 9500}, {10000, 0.95, 500}, {35000, 0.05, 33250}, {0, 0, 0}} {
		if got := (SlashingParams{Window: tt.window, MinSigned: tt.share}).MaxMissed(); got != tt.want {
			t.Errorf("%d at %v: %d, want %d", tt.window, tt.share, got, tt.want)
		}
	}
}

// message1 wraps b as field 1, as answers have it.
func message1(b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b)
}

func appendInt(b []byte, field protowire.Number, n int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func TestSigningInfo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := SigningInfo{
			Address:     rapid.String().Draw(rt, "address"),
			StartHeight: rapid.Int64().Draw(rt, "start"),
			IndexOffset: rapid.Int64().Draw(rt, "offset"),
			JailedUntil: time.Unix(rapid.Int64Range(0, 1<<40).Draw(rt, "jailed"), 0).UTC(),
			Tombstoned:  rapid.Bool().Draw(rt, "tombstoned"),
			Missed:      rapid.Int64().Draw(rt, "missed"),
		}
		var b []byte
		b = appendText(b, 1, want.Address)
		b = appendInt(b, 2, want.StartHeight)
		b = appendInt(b, 3, want.IndexOffset)
		b = appendText(b, 4, string(appendInt(nil, 1, want.JailedUntil.Unix())))
		if want.Tombstoned {
			b = appendInt(b, 5, 1)
		}
		b = appendInt(b, 6, want.Missed)
		b = protowire.AppendFixed64(protowire.AppendTag(b, 99, protowire.Fixed64Type), 7) // a field of a later line
		got, err := decodeSigningInfo(message1(b))
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Error(diff)
		}
	})
}

func TestSigningInfoOfNobody(t *testing.T) {
	body := `{"result":{"response":{"code":22,"codespace":"sdk","log":"SigningInfo not found for validator x: key not found","value":null}}}`
	_, err := serve(t, 200, body).SigningInfo(t.Context(), "x")
	if q := (*QueryError)(nil); !errors.As(err, &q) || q.Code != 22 {
		t.Errorf("%v, want a QueryError", err)
	}
}

func TestUpgradePlan(t *testing.T) {
	if plan, err := serve(t, 200, queryAnswer(nil)).UpgradePlan(t.Context()); plan != nil || err != nil {
		t.Errorf("no plan: %+v, %v", plan, err)
	}
	inner := appendText(appendInt(appendText(nil, 1, "v2"), 3, 30), 4, "{}")
	plan, err := serve(t, 200, queryAnswer(message1(inner))).UpgradePlan(t.Context())
	if diff := cmp.Diff(&Plan{Name: "v2", Height: 30, Info: "{}"}, plan); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestConsAddress(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MICZ55F/TnczzIHCliQFqfil89otqqwLZd0pShhgAOY=")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ConsAddress("practicevalcons", ed25519.PublicKey(key))
	if want := "practicevalcons1pgsfe5u2c25rxp577tstdvg4kgxt6auj9cspcv"; got != want || err != nil { // the chain's own word
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := ConsAddress("x", key[:31]); err == nil {
		t.Error("half a key has an address")
	}
}

func FuzzQueries(f *testing.F) {
	value, err := base64.StdEncoding.DecodeString(paramsValue)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add(message1(appendText(nil, 1, "v2")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decodeSlashingParams(b); err == nil && (math.IsNaN(p.MinSigned) || p.JailDuration < 0) {
			t.Errorf("%+v", p)
		}
		_, _ = decodeSigningInfo(b)
		_, _ = decodePlan(b)
	})
}
