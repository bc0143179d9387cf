package comet

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/btcsuite/btcd/btcutil/bech32"
	"google.golang.org/protobuf/encoding/protowire"
)

// Routes of the chain application's queries.
const (
	routeSigningInfo = "/cosmos.slashing.v1beta1.Query/SigningInfo"
	routeSlashing    = "/cosmos.slashing.v1beta1.Query/Params"
	routePlan        = "/cosmos.upgrade.v1beta1.Query/CurrentPlan"
)

// ABCIInfo is what the chain application says about itself.
type ABCIInfo struct {
	Name       string // the SDK's app name
	Version    string // the chain binary's version
	AppVersion int64
	Height     int64
	AppHash    []byte
}

// ABCIInfo asks for /abci_info.
func (c *Client) ABCIInfo(ctx context.Context) (ABCIInfo, error) {
	var j struct {
		Response struct {
			Data       string `json:"data"`
			Version    string `json:"version"`
			AppVersion Int    `json:"app_version"`
			Height     Int    `json:"last_block_height"`
			AppHash    []byte `json:"last_block_app_hash"`
		} `json:"response"`
	}
	if err := c.get(ctx, "/abci_info", maxBody, &j); err != nil {
		return ABCIInfo{}, fmt.Errorf("read application info of node at %q: %w", c.URL, err)
	}
	r := j.Response
	return ABCIInfo{
		Name: r.Data, Version: r.Version, AppVersion: int64(r.AppVersion), Height: int64(r.Height), AppHash: r.AppHash,
	}, nil
}

// QueryError is the chain application's refusal of a query.
type QueryError struct {
	Code      int64
	Codespace string
	Log       string
}

// Error is the application's own word.
func (e *QueryError) Error() string { return fmt.Sprintf("%s (%s %d)", e.Log, e.Codespace, e.Code) }

type queryJSON struct {
	Response struct {
		Code      Int    `json:"code"`
		Codespace string `json:"codespace"`
		Log       string `json:"log"`
		Value     []byte `json:"value"`
		Height    Int    `json:"height"`
	} `json:"response"`
}

// ABCIQuery asks the chain application's gRPC route path with an encoded request.
func (c *Client) ABCIQuery(ctx context.Context, path string, request []byte) ([]byte, error) {
	q := url.Values{"path": {`"` + path + `"`}}
	if len(request) > 0 {
		q.Set("data", "0x"+hex.EncodeToString(request))
	}
	var j queryJSON
	if err := c.get(ctx, "/abci_query?"+q.Encode(), maxBody, &j); err != nil {
		return nil, fmt.Errorf("query %q of node at %q: %w", path, c.URL, err)
	}
	if r := j.Response; r.Code != 0 {
		err := &QueryError{Code: int64(r.Code), Codespace: r.Codespace, Log: r.Log}
		return nil, fmt.Errorf("query %q of node at %q: %w", path, c.URL, err)
	}
	return j.Response.Value, nil
}

// SigningInfo is the slashing module's account of one validator.
type SigningInfo struct {
	Address     string // bech32 consensus address
	StartHeight int64  // when it joined the set, or came back
	IndexOffset int64  // blocks counted since, modulo the window on some lines
	JailedUntil time.Time
	Tombstoned  bool // convicted of double-signing; for ever
	Missed      int64
}

// Jailed says whether the sentence still runs. After it, the validator stays out until somebody unjails it.
func (s SigningInfo) Jailed(now time.Time) bool { return s.JailedUntil.After(now) }

// SigningInfo asks for the missed blocks of the validator with this bech32 consensus address. A validator that was never
// in the set has none: the error is a *QueryError.
func (c *Client) SigningInfo(ctx context.Context, address string) (SigningInfo, error) {
	request := protowire.AppendTag(nil, 1, protowire.BytesType)
	request = protowire.AppendString(request, address)
	b, err := c.ABCIQuery(ctx, routeSigningInfo, request)
	if err != nil {
		return SigningInfo{}, err
	}
	info, err := decodeSigningInfo(b)
	if err != nil {
		return SigningInfo{}, fmt.Errorf("read signing info of %q: %w", address, err)
	}
	return info, nil
}

func decodeSigningInfo(b []byte) (SigningInfo, error) {
	m, err := submessage(b)
	if err != nil {
		return SigningInfo{}, err
	}
	until, err := timestamp(m.bytes[4])
	if err != nil {
		return SigningInfo{}, err
	}
	return SigningInfo{
		Address: string(m.bytes[1]), StartHeight: int64(m.numbers[2]), IndexOffset: int64(m.numbers[3]),
		JailedUntil: until, Tombstoned: m.numbers[5] != 0, Missed: int64(m.numbers[6]),
	}, nil
}

// SlashingParams are a chain's rules about missing blocks.
type SlashingParams struct {
	Window       int64         // blocks looked back on
	MinSigned    float64       // share of the window that must be signed
	JailDuration time.Duration // for missing too many
}

// MaxMissed is how many blocks of the window may be missed; one more jails.
func (p SlashingParams) MaxMissed() int64 {
	return p.Window - int64(math.RoundToEven(p.MinSigned*float64(p.Window)))
}

// SlashingParams asks for the chain's rules about missing blocks.
func (c *Client) SlashingParams(ctx context.Context) (SlashingParams, error) {
	b, err := c.ABCIQuery(ctx, routeSlashing, nil)
	if err != nil {
		return SlashingParams{}, err
	}
	p, err := decodeSlashingParams(b)
	if err != nil {
		return SlashingParams{}, fmt.Errorf("read slashing parameters of node at %q: %w", c.URL, err)
	}
	return p, nil
}

func decodeSlashingParams(b []byte) (SlashingParams, error) {
	m, err := submessage(b)
	if err != nil {
		return SlashingParams{}, err
	}
	share, err := decimal(m.bytes[2])
	if err != nil {
		return SlashingParams{}, err
	}
	jail, err := fields(m.bytes[3])
	if err != nil {
		return SlashingParams{}, err
	}
	seconds := int64(jail.numbers[1])
	if seconds < 0 || seconds > int64(math.MaxInt64/time.Second) {
		seconds = int64(math.MaxInt64 / time.Second)
	}
	return SlashingParams{
		Window: int64(m.numbers[1]), MinSigned: share, JailDuration: time.Duration(seconds) * time.Second,
	}, nil
}

// Plan is an upgrade that the chain has agreed on.
type Plan struct {
	Name   string
	Height int64
	Info   string
}

// UpgradePlan asks for the upgrade that the chain has agreed on; nil when there is none.
func (c *Client) UpgradePlan(ctx context.Context) (*Plan, error) {
	b, err := c.ABCIQuery(ctx, routePlan, nil)
	if err != nil {
		return nil, err
	}
	plan, err := decodePlan(b)
	if err != nil {
		return nil, fmt.Errorf("read upgrade plan of node at %q: %w", c.URL, err)
	}
	return plan, nil
}

func decodePlan(b []byte) (*Plan, error) {
	outer, err := fields(b)
	if err != nil {
		return nil, err
	}
	inner, ok := outer.bytes[1]
	if !ok {
		return nil, nil
	}
	m, err := fields(inner)
	if err != nil {
		return nil, err
	}
	return &Plan{Name: string(m.bytes[1]), Height: int64(m.numbers[3]), Info: string(m.bytes[4])}, nil
}

// Address is the address of an ed25519 consensus key: upper-case hex, as in commits.
func Address(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return strings.ToUpper(hex.EncodeToString(sum[:20]))
}

// ConsAddress is the bech32 consensus address of an ed25519 key. Prefix is the whole human part, e.g. cosmosvalcons.
func ConsAddress(prefix string, key ed25519.PublicKey) (string, error) {
	if len(key) != ed25519.PublicKeySize {
		return "", fmt.Errorf("encode consensus address: key has %d bytes", len(key))
	}
	sum := sha256.Sum256(key)
	s, err := bech32.EncodeFromBase256(prefix, sum[:20])
	if err != nil {
		return "", fmt.Errorf("encode consensus address: %w", err)
	}
	return s, nil
}

// decimal reads the SDK's fixed-point number: 18 places, without the point.
func decimal(b []byte) (float64, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(b) > 100 {
		return 0, fmt.Errorf("decode decimal: %d digits", len(b))
	}
	n, ok := new(big.Int).SetString(string(b), 10)
	if !ok {
		return 0, fmt.Errorf("decode decimal %q", b)
	}
	f, _ := new(big.Rat).SetFrac(n, big.NewInt(1e18)).Float64()
	return f, nil
}
